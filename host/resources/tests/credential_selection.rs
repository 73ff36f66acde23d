//! Which credential is selected, what becomes of one that fails, and how one is replaced.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod certificates;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use certificates::{Identity, fresh_rsa_key, rsa_key, write};
use serde_json::{Value, json};
use symbolon_resources::clock::{ManualClock, SystemClock};
use symbolon_resources::configuration::ApplicationOptions;
use symbolon_resources::credentials::{
    Binding, ClientSecret, CredentialDescription, CredentialError, CredentialKind, CredentialProvider,
    CredentialStatus, Outcome, SelectedCredential, SigningBudget, SourceType,
};
use tempfile::TempDir;

const NOW: u64 = 1_700_000_000_000;

struct Setup {
    provider: CredentialProvider,
    clock: Arc<ManualClock>,
}

impl Setup {
    fn new(credentials: Value) -> Self {
        let azure_ad =
            json!({ "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": credentials });
        Self::of(&ApplicationOptions::from_value(json!({ "AzureAd": azure_ad })).unwrap())
    }

    fn built(descriptions: impl IntoIterator<Item = CredentialDescription>) -> Self {
        let builder = ApplicationOptions::builder("app").tenant_id("contoso.com");
        let builder = descriptions.into_iter().fold(builder, |builder, d| builder.credential(d));
        Self::of(&builder.build().unwrap())
    }

    fn of(options: &ApplicationOptions) -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        Self { provider: CredentialProvider::new(options, clock.clone()), clock }
    }

    async fn select(&self) -> SelectedCredential {
        self.try_select().await.unwrap()
    }

    async fn try_select(&self) -> Result<SelectedCredential, CredentialError> {
        self.provider.select(&SigningBudget::new()).await
    }

    async fn reject(&self) -> SelectedCredential {
        let rejected = self.select().await;
        self.provider.report(&rejected, Outcome::Rejected);
        rejected
    }
}

fn path(file: &Path) -> Value {
    json!({ "SourceType": "Path", "CertificateDiskPath": file })
}

fn secret(value: &str) -> Value {
    json!({ "SourceType": "ClientSecret", "ClientSecret": value })
}

fn in_memory(identity: &Identity) -> CredentialDescription {
    CredentialDescription::from_certificate(binding(identity))
}

fn binding(identity: &Identity) -> Binding {
    Binding::from_bytes(identity.pem().as_bytes(), None).unwrap()
}

fn thumbprint(credential: &SelectedCredential) -> &str {
    credential.binding().unwrap().thumbprint_sha256()
}

fn generation(credential: &SelectedCredential) -> u64 {
    credential.binding().unwrap().generation()
}

#[tokio::test]
async fn the_first_usable_entry_is_selected() {
    let directory = TempDir::new().unwrap();
    let good = write(&directory, "good.pem", Identity::rsa("daemon").pem());
    let setup = Setup::new(json!([
        { "SourceType": "ClientSecret", "ClientSecret": "skipped", "Skip": true },
        { "SourceType": "KeyVault", "KeyVaultUrl": "https://v.test", "KeyVaultCertificateName": "c" },
        path(&directory.path().join("missing.pem")),
        path(&good),
        secret("last"),
    ]));
    let selected = setup.select().await;
    assert_eq!(selected.name(), "ClientCredentials[3] (Path)");
    assert_eq!(selected.kind(), CredentialKind::Certificate);
    assert_eq!(selected.binding().unwrap().subject(), "CN=daemon");
    assert!(selected.secret().is_none());
}

#[tokio::test]
async fn a_loaded_certificate_is_kept() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::rsa("daemon").pem());
    let setup = Setup::new(json!([path(&file)]));
    let first = generation(&setup.select().await);
    std::fs::remove_file(&file).unwrap();
    setup.clock.advance(3_600_000);
    assert_eq!(generation(&setup.select().await), first);
}

#[tokio::test]
async fn an_entry_that_failed_is_looked_at_again_after_thirty_seconds() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("late.pem");
    let setup = Setup::new(json!([path(&file)]));
    let error = setup.try_select().await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(30)));
    write(&directory, "late.pem", Identity::rsa("daemon").pem());
    setup.clock.advance(29_999);
    assert_eq!(setup.try_select().await.unwrap_err().retry_after(), Some(Duration::from_millis(1)));
    setup.clock.advance(1);
    assert_eq!(setup.select().await.kind(), CredentialKind::Certificate);
}

#[tokio::test]
async fn a_pause_begins_when_the_reading_has_ended() {
    let description = CredentialDescription::from_path("/nonexistent/daemon.pem", None);
    let options = ApplicationOptions::builder("app").tenant_id("contoso.com").credential(description);
    let provider = CredentialProvider::new(&options.build().unwrap(), Arc::new(SystemClock));
    for _ in 0..2 {
        let error = provider.select(&SigningBudget::new()).await.unwrap_err();
        let left = error.retry_after().unwrap();
        assert!((Duration::from_secs(20)..=Duration::from_secs(30)).contains(&left), "{left:?}");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_prolongs_nothing() {
    let directory = TempDir::new().unwrap();
    let setup = Setup::new(json!([path(&directory.path().join("late.pem"))]));
    setup.try_select().await.unwrap_err();
    write(&directory, "late.pem", Identity::rsa("daemon").pem());
    setup.clock.set(NOW - 86_400_000);
    setup.select().await;
}

#[tokio::test]
async fn none_usable_lists_each_with_its_reason() {
    let directory = TempDir::new().unwrap();
    let expired = write(&directory, "old.pem", Identity::valid("old", rsa_key(), 2000, 2001).pem());
    let early = write(&directory, "early.pem", Identity::valid("early", rsa_key(), 2090, 2091).pem());
    let missing = directory.path().join("missing.pem");
    let setup = Setup::new(json!([
        path(&missing),
        path(&expired),
        { "SourceType": "ClientSecret", "ClientSecret": "canary", "Skip": true },
        path(&early),
        { "SourceType": "StoreWithSubjectName", "CertificateStorePath": "currentuser/my", "CertificateSubjectName": "x" },
        { "SourceType": "Certificate" },
    ]));
    let at = "the given configuration: AzureAd:ClientCredentials";
    let now = "accepted: a certificate that is valid now";
    let expected = format!(
        "no client credential can be used\n  \
         {at}:0 (Path {}): found no file there; accepted: a PEM or PKCS#12 (PFX) file\n  \
         {at}:1 (Path {}): found a certificate (CN=old) that expired at 2001-01-01T00:00:00Z; {now}\n  \
         {at}:3 (Path {}): found a certificate (CN=early) that isn't valid before 2090-01-01T00:00:00Z; {now}\n  \
         {at}:4 (StoreWithSubjectName CurrentUser/My, \"x\" in the subject): found no directory that plays the \
         certificate store CurrentUser/My; accepted: Symbolon:CertificateStores with \"CurrentUser/My\" and a directory\n  \
         {at}:5 (Certificate): found no certificate given through the API; accepted: one given when the application \
         is built, or later with replace_certificate",
        missing.display(),
        expired.display(),
        early.display()
    );
    assert_eq!(setup.try_select().await.unwrap_err().to_string(), expected);
}

#[tokio::test]
async fn nothing_configured_is_an_error_of_its_own() {
    let accepted = "accepted: at least one of SourceType Path, Base64Encoded, Certificate or ClientSecret";
    let at = "the given configuration: AzureAd:ClientCredentials";
    let skipped = json!({ "SourceType": "ClientSecret", "ClientSecret": "x", "Skip": true });
    let decrypts = json!({ "SourceType": "AutoDecryptKeys" });
    let others = "only client secrets with Skip and keys that decrypt tokens";
    for (credentials, found) in [
        (json!([]), "no client credential"),
        (json!([skipped]), others),
        (json!([decrypts, skipped]), others),
    ] {
        let error = Setup::new(credentials).try_select().await.unwrap_err();
        assert!(matches!(error, CredentialError::NotConfigured(_)));
        assert_eq!(error.to_string(), format!("{at}: found {found}; {accepted}"));
    }
}

#[tokio::test]
async fn certificates_that_are_left_out_are_named() {
    let skipped = json!({ "SourceType": "Path", "CertificateDiskPath": "daemon.pem", "Skip": true });
    let secret = json!({ "SourceType": "ClientSecret", "ClientSecret": "x", "Skip": true });
    let error = Setup::new(json!([secret, skipped])).try_select().await.unwrap_err();
    assert_eq!((error.identity_web_code(), error.retry_after()), (Some("IDW10109"), None));
    assert_eq!(
        error.to_string(),
        "no client credential can be used\n  the given configuration: AzureAd:ClientCredentials:1 (Path daemon.pem): found \
         Skip; accepted: an entry without it"
    );
}

#[tokio::test]
async fn unsupported_sources_are_not_worth_waiting_for() {
    let setup = Setup::new(json!([{ "SourceType": "ManagedCertificate" }]));
    assert_eq!(setup.try_select().await.unwrap_err().retry_after(), None);
}

#[tokio::test]
async fn a_refused_certificate_is_loaded_again() {
    let directory = TempDir::new().unwrap();
    let (old, new) = (Identity::rsa("old"), Identity::new("new", fresh_rsa_key()));
    let file = write(&directory, "daemon.pem", old.pem());
    let setup = Setup::new(json!([path(&file), secret("fallback")]));
    let before = setup.select().await;
    write(&directory, "daemon.pem", new.pem());
    assert_eq!(thumbprint(&setup.select().await), thumbprint(&before));
    setup.reject().await;
    let after = setup.select().await;
    assert_eq!(after.binding().unwrap().subject(), "CN=new");
    assert!(generation(&after) > generation(&before));
    // What was selected before is still what it was.
    assert_eq!(before.binding().unwrap().subject(), "CN=old");
}

#[tokio::test]
async fn a_refused_certificate_that_did_not_change_gives_way_for_thirty_seconds() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::rsa("daemon").pem());
    let setup = Setup::new(json!([path(&file), secret("fallback")]));
    let before = setup.reject().await;
    assert_eq!(setup.select().await.kind(), CredentialKind::ClientSecret);
    setup.clock.advance(30_000);
    let after = setup.select().await;
    // The same file is the same binding: its connections and tokens stay good.
    assert_eq!(generation(&after), generation(&before));
}

#[tokio::test]
async fn a_refused_credential_is_better_than_none() {
    for description in [
        in_memory(&Identity::rsa("daemon")),
        CredentialDescription::from_client_secret(ClientSecret::new("only")),
    ] {
        let setup = Setup::built([description]);
        let before = setup.reject().await;
        assert_eq!(setup.select().await.kind(), before.kind());
    }
}

#[tokio::test]
async fn an_accepted_credential_is_preferred_again() {
    let setup = Setup::built([
        in_memory(&Identity::rsa("first")),
        CredentialDescription::from_client_secret(ClientSecret::new("second")),
    ]);
    let first = setup.reject().await;
    assert_eq!(setup.select().await.kind(), CredentialKind::ClientSecret);
    setup.provider.report(&first, Outcome::Used);
    assert_eq!(setup.select().await.kind(), CredentialKind::Certificate);
}

#[tokio::test]
async fn a_late_refusal_of_a_replaced_certificate_changes_nothing() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::rsa("old").pem());
    let setup = Setup::new(json!([path(&file), secret("fallback")]));
    let old = setup.select().await;
    setup.provider.replace_certificate(0, binding(&Identity::rsa("new"))).unwrap();
    setup.provider.report(&old, Outcome::Rejected);
    assert_eq!(setup.select().await.binding().unwrap().subject(), "CN=new");
}

/// A pipe in the place of the file gives its content when the test does.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_was_overtaken_by_a_replacement_changes_nothing() {
    use std::io::Write as _;

    let directory = TempDir::new().unwrap();
    let pipe = directory.path().join("daemon.pem");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let provider = Arc::new(Setup::new(json!([path(&pipe)])).provider);
    let selecting = tokio::spawn({
        let provider = provider.clone();
        async move { provider.select(&SigningBudget::new()).await.unwrap() }
    });
    // Opens when the reader is there.
    let opening = move || std::fs::File::options().write(true).open(pipe).unwrap();
    let mut writer = tokio::task::spawn_blocking(opening).await.unwrap();
    provider.replace_certificate(0, binding(&Identity::rsa("new"))).unwrap();
    writer.write_all(Identity::rsa("old").pem().as_bytes()).unwrap();
    drop(writer);
    assert_eq!(selecting.await.unwrap().binding().unwrap().subject(), "CN=new");
    assert_eq!(provider.select(&SigningBudget::new()).await.unwrap().binding().unwrap().subject(), "CN=new");
}

#[tokio::test]
async fn an_expired_certificate_is_loaded_again() {
    let directory = TempDir::new().unwrap();
    // 2023-11-14 is now; it ends with the year.
    let file = write(&directory, "daemon.pem", Identity::valid("old", rsa_key(), 2023, 2024).pem());
    let setup = Setup::new(json!([path(&file)]));
    let before = generation(&setup.select().await);
    write(&directory, "daemon.pem", Identity::valid("new", rsa_key(), 2023, 2030).pem());
    setup.clock.advance(60 * 86_400_000);
    let after = setup.select().await;
    assert_eq!(after.binding().unwrap().subject(), "CN=new");
    assert!(generation(&after) > before);
}

#[tokio::test]
async fn certificates_are_replaced_by_index_and_by_name() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::rsa("file").pem());
    let setup = Setup::new(json!([path(&file), { "SourceType": "Certificate" }]));
    let before = setup.select().await;
    for (name, entry) in [("one", 0.into()), ("two", "ClientCredentials[0] (Path)".into())] {
        let given = binding(&Identity::rsa(name));
        let generation_given = given.generation();
        let entry: symbolon_resources::credentials::EntryName = entry;
        let replaced = setup.provider.replace_certificate(entry, given).unwrap();
        let selected = setup.select().await;
        assert_eq!(generation(&selected), generation_given);
        assert_eq!(generation(&selected), replaced.generation());
        assert_eq!(selected.binding().unwrap().subject(), format!("CN={name}"));
    }
    assert_eq!(before.binding().unwrap().subject(), "CN=file");
    // The file is read again when the replacement is refused.
    setup.reject().await;
    assert_eq!(setup.select().await.binding().unwrap().subject(), "CN=file");
}

#[tokio::test]
async fn a_place_for_a_certificate_waits_for_one() {
    let setup = Setup::new(json!([{ "SourceType": "Certificate" }]));
    setup.try_select().await.unwrap_err();
    setup.provider.replace_certificate(0, binding(&Identity::rsa("given"))).unwrap();
    setup.reject().await;
    assert_eq!(setup.select().await.binding().unwrap().subject(), "CN=given");
}

#[tokio::test]
async fn what_can_not_be_replaced_says_so_and_stays() {
    let setup = Setup::built([
        in_memory(&Identity::rsa("good")),
        CredentialDescription::from_client_secret(ClientSecret::new("s")),
    ]);
    let names = "accepted: an entry for a certificate among ClientCredentials[0] (Certificate), ClientCredentials[1] (ClientSecret)";
    let error = setup.provider.replace_certificate(1, binding(&Identity::rsa("x"))).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("ClientCredentials[1] (ClientSecret) has no certificate to replace; {names}")
    );
    let error = setup.provider.replace_certificate("other", binding(&Identity::rsa("x"))).unwrap_err();
    assert_eq!(error.to_string(), format!("there is no credential \"other\"; {names}"));
    let expired = binding(&Identity::valid("old", rsa_key(), 2000, 2001));
    let error = setup.provider.replace_certificate(0, expired).unwrap_err();
    assert!(matches!(error, CredentialError::Unavailable(_)), "{error}");
    assert_eq!(setup.select().await.binding().unwrap().subject(), "CN=good");
}

#[tokio::test]
async fn use_bound_credential_is_absent_true_or_false() {
    let content = base64(Identity::rsa("daemon").pem());
    for (written, expected) in [(json!(null), None), (json!(true), Some(true)), (json!("false"), Some(false))]
    {
        let entry = json!({ "SourceType": "base64encoded", "Base64EncodedValue": content, "UseBoundCredential": written });
        assert_eq!(Setup::new(json!([entry])).select().await.use_bound(), expected);
    }
}

#[tokio::test]
async fn check_reports_every_entry() {
    let directory = TempDir::new().unwrap();
    let identity = Identity::rsa("daemon");
    let pfx = write(&directory, "daemon.pfx", identity.pkcs12("pw"));
    let setup = Setup::new(json!([
        { "SourceType": "Path", "CertificateDiskPath": pfx, "CertificatePassword": "pw", "UseBoundCredential": true },
        path(&directory.path().join("missing.pem")),
        secret("canary"),
        { "SourceType": "ClientSecret", "ClientSecret": "canary", "Skip": true },
    ]));
    let reports = setup.provider.check().await;
    assert_eq!(reports.len(), 4);
    assert_eq!(reports[0].place, "the given configuration: AzureAd:ClientCredentials:0");
    assert_eq!((reports[0].source_type, reports[0].use_bound), (SourceType::Path, Some(true)));
    let CredentialStatus::Usable {
        kind: CredentialKind::Certificate, certificate: Some(certificate), ..
    } = &reports[0].status
    else {
        panic!("{:?}", reports[0])
    };
    assert_eq!(certificate.subject, "CN=daemon");
    assert_eq!(certificate.thumbprint_sha256, binding(&identity).thumbprint_sha256());
    assert_eq!(certificate.not_after_unix, binding(&identity).not_after_unix());
    assert_eq!((certificate.chain_length, certificate.algorithms.len()), (1, 2));
    assert!(matches!(reports[1].status, CredentialStatus::Unusable(_)));
    let usable = CredentialStatus::Usable {
        kind: CredentialKind::ClientSecret,
        certificate: None,
        expires_on_unix: None,
    };
    assert_eq!(format!("{:?}", reports[2].status), format!("{usable:?}"));
    assert!(matches!(reports[3].status, CredentialStatus::Skipped));
    assert!(!format!("{reports:?}").contains("canary"));
}

fn base64(text: impl AsRef<[u8]>) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(text)
}
