//! Files that change are noticed, by a watch and by a look at all of them; what isn't complete isn't taken.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod certificates;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certificates::{Identity, fresh_rsa_key, rsa_key, write};
use rcgen::KeyPair;
use serde_json::{Value, json};
use symbolon_resources::clock::SystemClock;
use symbolon_resources::configuration::ApplicationOptions;
use symbolon_resources::credentials::{
    Binding, CertificateEvent, CredentialProvider, CredentialServices, Rotation, SelectedCredential,
    SigningBudget,
};
use tempfile::TempDir;
use tokio::time::Instant;

/// So long that only a watch notices anything.
const NEVER: Duration = Duration::from_secs(3600);

/// For what happens soon, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(20);

struct Setup {
    provider: CredentialProvider,
    events: Arc<Mutex<Vec<String>>>,
}

impl Setup {
    fn new(credentials: Value, rotation: &Rotation) -> Self {
        let azure_ad =
            json!({ "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": credentials });
        let options = ApplicationOptions::from_value(json!({ "AzureAd": azure_ad })).unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let log = events.clone();
        let observer = move |event: &CertificateEvent<'_>| {
            log.lock().unwrap().push(format!("{:?} {}", event.action, event.certificate.subject()));
        };
        let services =
            CredentialServices::new().with_rotation(rotation.clone()).with_observer(Arc::new(observer));
        Self {
            provider: CredentialProvider::with_services(&options, Arc::new(SystemClock), services),
            events,
        }
    }

    async fn select(&self) -> SelectedCredential {
        self.provider.select(&SigningBudget::new()).await.unwrap()
    }

    async fn subject(&self) -> String {
        self.select().await.binding().unwrap().subject().to_owned()
    }

    async fn until(&self, subject: &str) -> Duration {
        let began = Instant::now();
        while self.subject().await != subject {
            assert!(began.elapsed() < PATIENCE, "still {}", self.subject().await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        began.elapsed()
    }
}

fn path(file: &Path) -> Value {
    json!([{ "SourceType": "Path", "CertificateDiskPath": file }])
}

/// A volume as Kubernetes projects it: files that are links through `..data`, which is replaced in one step.
struct Volume {
    directory: TempDir,
    generation: u32,
}

impl Volume {
    fn new(files: &[(&str, String)]) -> Self {
        let mut volume = Self { directory: TempDir::new().unwrap(), generation: 0 };
        volume.publish(files);
        for (name, _) in files {
            symlink(Path::new("..data").join(name), volume.file(name)).unwrap();
        }
        volume
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn publish(&mut self, files: &[(&str, String)]) {
        let old = self.file(&format!("..generation-{}", self.generation));
        self.generation += 1;
        let name = format!("..generation-{}", self.generation);
        std::fs::create_dir(self.file(&name)).unwrap();
        for (file, content) in files {
            std::fs::write(self.file(&name).join(file), content).unwrap();
        }
        symlink(&name, self.file("..data_tmp")).unwrap();
        std::fs::rename(self.file("..data_tmp"), self.file("..data")).unwrap();
        let _ = std::fs::remove_dir_all(old);
    }
}

#[tokio::test]
async fn a_file_that_is_written_anew_is_noticed() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::rsa("C1").pem());
    let setup = Setup::new(path(&file), &Rotation::with_poll_interval(NEVER));
    let old = setup.select().await;
    write(&directory, "daemon.pem", Identity::new("C2", fresh_rsa_key()).pem());
    setup.until("CN=C2").await;
    // What was selected before is still what it was.
    assert_eq!(old.binding().unwrap().subject(), "CN=C1");
    let events = setup.events.lock().unwrap().clone();
    assert_eq!(events, ["Selected CN=C1", "Deselected(Rotated) CN=C1", "Selected CN=C2"]);
    assert_eq!(setup.provider.statistics().rotations, 1);
}

#[tokio::test]
async fn a_volume_of_kubernetes_is_replaced_in_one_step_and_again() {
    let pair = |identity: &Identity| {
        [("tls.crt", identity.certificate.pem()), ("tls.key", identity.key.serialize_pem())]
    };
    let mut volume = Volume::new(&pair(&Identity::rsa("C0")));
    let entry = json!([{
        "SourceType": "Path",
        "CertificateDiskPath": volume.file("tls.crt"),
        "CertificateKeyDiskPath": volume.file("tls.key"),
    }]);
    let setup = Setup::new(entry, &Rotation::with_poll_interval(NEVER));
    assert_eq!(setup.subject().await, "CN=C0");
    for round in 1..=5 {
        let name = format!("C{round}");
        // Every second renewal keeps the key.
        let key = if round % 2 == 0 { rsa_key() } else { KeyPair::generate().unwrap() };
        volume.publish(&pair(&Identity::new(&name, key)));
        setup.until(&format!("CN={name}")).await;
    }
    assert_eq!(setup.provider.statistics().load_failures, 0);
}

#[tokio::test]
async fn a_link_from_elsewhere_is_followed() {
    let mut volume = Volume::new(&[("daemon.pem", Identity::rsa("C1").pem())]);
    let elsewhere = TempDir::new().unwrap();
    let link = elsewhere.path().join("app.pem");
    symlink(volume.file("daemon.pem"), &link).unwrap();
    let setup = Setup::new(path(&link), &Rotation::with_poll_interval(NEVER));
    assert_eq!(setup.subject().await, "CN=C1");
    for name in ["C2", "C3"] {
        volume.publish(&[("daemon.pem", Identity::rsa(name).pem())]);
        setup.until(&format!("CN={name}")).await;
    }
}

#[tokio::test]
async fn a_look_at_all_files_finds_what_no_watch_reports() {
    // The name is that of a directory which comes later, so nothing can be watched.
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("later/daemon.pem");
    let setup = Setup::new(path(&file), &Rotation::with_poll_interval(Duration::from_millis(100)));
    assert!(setup.provider.select(&SigningBudget::new()).await.is_err());
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    std::fs::write(&file, Identity::rsa("C1").pem()).unwrap();
    let began = Instant::now();
    // The pause of 30 seconds ends with the change.
    while setup.provider.select(&SigningBudget::new()).await.is_err() {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(setup.subject().await, "CN=C1");
}

#[tokio::test]
async fn what_is_not_complete_is_not_taken() {
    let (one, two) = (Identity::rsa("C1"), Identity::new("C2", fresh_rsa_key()));
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", one.pem());
    let setup = Setup::new(path(&file), &Rotation::with_poll_interval(NEVER));
    assert_eq!(setup.subject().await, "CN=C1");
    let whole = two.pem();
    let expired = Identity::valid("C0", rsa_key(), 2000, 2001).pem();
    let early = Identity::valid("C9", rsa_key(), 4000, 4001).pem();
    for (expected_failures, half) in
        [&whole[..whole.len() / 2], &(one.key.serialize_pem() + &two.certificate.pem()), "", &expired, &early]
            .into_iter()
            .enumerate()
    {
        write(&directory, "daemon.pem", half);
        let began = Instant::now();
        // A look is over when it has been counted.
        while setup.provider.statistics().load_failures <= u64::try_from(expected_failures).unwrap() {
            assert!(began.elapsed() < PATIENCE, "{half}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(setup.subject().await, "CN=C1");
    }
    write(&directory, "daemon.pem", whole);
    setup.until("CN=C2").await;
    assert_eq!(setup.provider.statistics().rotations, 1);
}

#[tokio::test]
async fn a_certificate_with_the_same_key_is_another_binding() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::valid("C", rsa_key(), 2020, 4000).pem());
    let setup = Setup::new(path(&file), &Rotation::with_poll_interval(NEVER));
    let before = setup.select().await.binding().unwrap().clone();
    let renewed = Identity::valid("C", rsa_key(), 2020, 4001);
    write(&directory, "daemon.pem", renewed.pem());
    let began = Instant::now();
    let after = loop {
        let binding = setup.select().await.binding().unwrap().clone();
        if binding.generation() != before.generation() {
            break binding;
        }
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(after.generation() > before.generation());
    assert_ne!(after.thumbprint_sha256(), before.thumbprint_sha256());
    // The same bytes once more are the same binding.
    write(&directory, "daemon.pem", renewed.pem());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(setup.select().await.binding().unwrap().generation(), after.generation());
}

#[tokio::test]
async fn what_the_program_replaced_stays() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::rsa("C1").pem());
    let rotation = Rotation::with_poll_interval(Duration::from_millis(50));
    let setup = Setup::new(path(&file), &rotation);
    assert_eq!(setup.subject().await, "CN=C1");
    let given = Binding::from_bytes(Identity::rsa("given").pem().as_bytes(), None).unwrap();
    setup.provider.replace_certificate(0, given).unwrap();
    write(&directory, "daemon.pem", Identity::rsa("C2").pem());
    // Another application sees the look at all of them go by.
    let other = write(&directory, "other.pem", Identity::rsa("O1").pem());
    let witness = Setup::new(path(&other), &rotation);
    assert_eq!(witness.subject().await, "CN=O1");
    write(&directory, "other.pem", Identity::rsa("O2").pem());
    witness.until("CN=O2").await;
    assert_eq!(setup.subject().await, "CN=given");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_newer_certificate_in_a_store_is_noticed() {
    let directory = TempDir::new().unwrap();
    write(&directory, "old.pem", Identity::valid("daemon old", rsa_key(), 2020, 4000).pem());
    let azure_ad = json!({ "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": [{
        "SourceType": "StoreWithSubjectName",
        "CertificateStorePath": "CurrentUser/My",
        "CertificateSubjectName": "daemon",
    }] });
    let stores = json!({ "CertificateStores": { "CurrentUser/My": directory.path() } });
    let options = ApplicationOptions::from_value(json!({ "AzureAd": azure_ad, "Symbolon": stores })).unwrap();
    let services = CredentialServices::new().with_rotation(Rotation::with_poll_interval(NEVER));
    let provider = CredentialProvider::with_services(&options, Arc::new(SystemClock), services);
    let setup = Setup { provider, events: Arc::default() };
    assert_eq!(setup.subject().await, "CN=daemon old");
    write(&directory, "new.pem", Identity::valid("daemon new", rsa_key(), 2021, 4000).pem());
    setup.until("CN=daemon new").await;
    std::fs::remove_file(directory.path().join("new.pem")).unwrap();
    setup.until("CN=daemon old").await;
}

/// The threads of this process by that name.
#[cfg(target_os = "linux")]
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|found| name.starts_with(found.trim_end())).count()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_hundred_applications_share_two_threads_which_end_with_them() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::rsa("C1").pem());
    // Others in this process watch as well; this one has a thread more while it lives.
    let rotation = Rotation::with_poll_interval(Duration::from_millis(50));
    let setups: Vec<_> = (0..100).map(|_| Setup::new(path(&file), &rotation)).collect();
    for setup in &setups {
        assert_eq!(setup.subject().await, "CN=C1");
    }
    assert!((1..20).contains(&threads("symbolon-rotation")), "{}", threads("symbolon-rotation"));
    write(&directory, "daemon.pem", Identity::rsa("C2").pem());
    for setup in &setups {
        setup.until("CN=C2").await;
    }
    let weak: Vec<_> = setups.iter().map(|setup| Arc::downgrade(&setup.events)).collect();
    drop((setups, rotation));
    let began = Instant::now();
    // The observers go with the entries that nobody keeps.
    while weak.iter().any(|events| events.strong_count() > 0) {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
