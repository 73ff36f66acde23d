//! What observers, counters and metrics learn of certificates, and what a herd of refusals costs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod certificates;

use std::path::Path;
use std::sync::{Arc, Mutex};

use certificates::{Identity, fresh_rsa_key, rsa_key, write};
use serde_json::{Value, json};
use symbolon_resources::clock::ManualClock;
use symbolon_resources::configuration::ApplicationOptions;
use symbolon_resources::credentials::{
    Acquisition, Binding, CertificateAction, CertificateEvent, CredentialProvider, CredentialServices,
    Outcome, Purpose, SelectedCredential, SigningBudget,
};
use tempfile::TempDir;
use tracing_subscriber::layer::SubscriberExt as _;

const NOW: u64 = 1_700_000_000_000;

const DAY: u64 = 86_400_000;

struct Setup {
    provider: Arc<CredentialProvider>,
    clock: Arc<ManualClock>,
    events: Arc<Mutex<Vec<String>>>,
}

impl Setup {
    fn new(credentials: Value) -> Self {
        let azure_ad =
            json!({ "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": credentials });
        let options = ApplicationOptions::from_value(json!({ "AzureAd": azure_ad })).unwrap();
        let (clock, events) = (Arc::new(ManualClock::new(NOW)), Arc::new(Mutex::new(Vec::new())));
        let log = events.clone();
        let observer = move |event: &CertificateEvent<'_>| {
            let subject = event.certificate.subject().trim_start_matches("CN=");
            let event = match event.action {
                CertificateAction::Selected => format!("Selected({subject})"),
                CertificateAction::SuccessfullyUsed => format!("SuccessfullyUsed({subject})"),
                CertificateAction::Deselected(reason) => format!("Deselected({subject}, {reason})"),
                _ => "unknown".to_owned(),
            };
            log.lock().unwrap().push(event);
        };
        let services = CredentialServices::new().with_observer(Arc::new(observer));
        let provider = Arc::new(CredentialProvider::with_services(&options, clock.clone(), services));
        Self { provider, clock, events }
    }

    async fn select(&self) -> SelectedCredential {
        self.select_for(Purpose::Authenticate).await
    }

    async fn select_for(&self, purpose: Purpose) -> SelectedCredential {
        let acquisition = Acquisition::new(SigningBudget::new()).with_purpose(purpose);
        self.provider.select_for(&acquisition).await.unwrap()
    }

    fn report(&self, credential: &SelectedCredential, outcome: Outcome) {
        self.provider.report(credential, outcome);
    }

    /// What observers learned since the last look.
    fn events(&self) -> Vec<String> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }
}

fn path(file: &Path) -> Value {
    json!({ "SourceType": "Path", "CertificateDiskPath": file })
}

#[tokio::test]
async fn a_certificate_is_selected_once_and_used_often() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::rsa("C1").pem());
    let setup = Setup::new(json!([path(&file)]));
    for expected in [&["Selected(C1)", "SuccessfullyUsed(C1)"][..], &["SuccessfullyUsed(C1)"]] {
        setup.report(&setup.select().await, Outcome::Used);
        assert_eq!(setup.events(), expected);
    }
    let statistics = setup.provider.statistics();
    assert_eq!((statistics.selections, statistics.uses, statistics.loads), (2, 2, 1));
    assert_eq!((statistics.rejections, statistics.rotations, statistics.load_failures), (0, 0, 0));
}

#[tokio::test]
async fn a_refused_certificate_gives_way_to_the_one_that_its_file_has_now() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::rsa("C1").pem());
    let setup = Setup::new(json!([path(&file)]));
    let (first, late) = (setup.select().await, setup.select().await);
    write(&directory, "daemon.pem", Identity::new("C2", fresh_rsa_key()).pem());
    setup.report(&first, Outcome::Rejected);
    setup.report(&setup.select().await, Outcome::Used);
    // Those who had the old one tell no news.
    setup.report(&late, Outcome::Rejected);
    setup.report(&setup.select().await, Outcome::Used);
    assert_eq!(
        setup.events(),
        [
            "Selected(C1)",
            "Deselected(C1, rejected)",
            "Selected(C2)",
            "SuccessfullyUsed(C2)",
            "SuccessfullyUsed(C2)"
        ]
    );
}

#[tokio::test]
async fn a_certificate_without_a_successor_is_selected_again() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::rsa("C1").pem());
    let setup = Setup::new(json!([path(&file)]));
    setup.report(&setup.select().await, Outcome::Rejected);
    setup.report(&setup.select().await, Outcome::Rejected);
    assert_eq!(
        setup.events(),
        ["Selected(C1)", "Deselected(C1, rejected)", "Selected(C1)", "Deselected(C1, rejected)"]
    );
}

#[tokio::test]
async fn replacements_and_expiry_deselect_too() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::valid("C1", rsa_key(), 2023, 2024).pem());
    let setup = Setup::new(json!([path(&file)]));
    setup.select().await;
    write(&directory, "daemon.pem", Identity::rsa("C2").pem());
    setup.clock.advance(60 * DAY);
    setup.select().await;
    let given = Binding::from_bytes(Identity::rsa("C3").pem().as_bytes(), None).unwrap();
    setup.provider.replace_certificate(0, given).unwrap();
    setup.select().await;
    assert_eq!(
        setup.events(),
        [
            "Selected(C1)",
            "Deselected(C1, expired)",
            "Selected(C2)",
            "Deselected(C2, replaced)",
            "Selected(C3)"
        ]
    );
    assert_eq!(setup.provider.statistics().rotations, 2);
}

#[tokio::test]
async fn secrets_make_no_certificate_events() {
    let setup = Setup::new(json!([{ "SourceType": "ClientSecret", "ClientSecret": "s" }]));
    for outcome in [Outcome::Used, Outcome::Rejected] {
        setup.report(&setup.select().await, outcome);
    }
    assert!(setup.events().is_empty());
}

#[tokio::test]
async fn every_certificate_for_an_api_is_told() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::rsa("C1").pem());
    let setup = Setup::new(json!([path(&file)]));
    for _ in 0..2 {
        setup.report(&setup.select_for(Purpose::PresentToApi).await, Outcome::Used);
    }
    assert_eq!(
        setup.events(),
        ["Selected(C1)", "SuccessfullyUsed(C1)", "Selected(C1)", "SuccessfullyUsed(C1)"]
    );
}

#[tokio::test]
async fn an_event_says_whose_certificate_it_is() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::rsa("C1").pem());
    let azure_ad =
        json!({ "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": [path(&file)] });
    let options = ApplicationOptions::from_value(json!({ "AzureAd": azure_ad })).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let observer = move |event: &CertificateEvent<'_>| {
        let thumbprint = event.certificate.thumbprint_hex().to_owned();
        let facts = [event.application.as_str(), event.credential, event.credential_id].map(str::to_owned);
        log.lock().unwrap().push((facts, thumbprint));
    };
    let services = CredentialServices::new().with_observer(Arc::new(observer));
    let provider = CredentialProvider::with_services(&options, Arc::new(ManualClock::new(NOW)), services);
    provider.select(&SigningBudget::new()).await.unwrap();
    let seen = seen.lock().unwrap();
    let ([application, credential, id], thumbprint) = &seen[0];
    assert_eq!(application, "app@login.microsoftonline.com/contoso.com");
    assert_eq!(credential, "ClientCredentials[0] (Path)");
    assert_eq!(*id, format!("CertificateFromPath={};Thumbprint={thumbprint}", file.display()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_herd_of_refusals_costs_one_reading() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::rsa("C1").pem());
    let setup = Arc::new(Setup::new(json!([path(&file)])));
    let refused = setup.select().await;
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let (setup, refused) = (setup.clone(), refused.clone());
            tokio::spawn(async move {
                setup.report(&refused, Outcome::Rejected);
                setup.select().await;
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let statistics = setup.provider.statistics();
    assert_eq!((statistics.loads, statistics.rejections), (2, 100));
    // Ten seconds after the last reading, the next.
    setup.clock.advance(10_000);
    setup.report(&refused, Outcome::Rejected);
    setup.select().await;
    assert_eq!(setup.provider.statistics().loads, 3);
}

#[tokio::test]
async fn a_changed_file_is_read_without_waiting() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::rsa("C1").pem());
    let setup = Setup::new(json!([path(&file)]));
    setup.report(&setup.select().await, Outcome::Rejected);
    let same = setup.select().await;
    write(&directory, "daemon.pem", Identity::rsa("C2").pem());
    setup.report(&same, Outcome::Rejected);
    assert_eq!(setup.select().await.binding().unwrap().subject(), "CN=C2");
}

#[tokio::test]
async fn a_refusal_whose_reading_fails_leaves_the_certificate() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::rsa("C1").pem());
    let setup = Setup::new(json!([path(&file)]));
    let refused = setup.select().await;
    std::fs::remove_file(&file).unwrap();
    setup.report(&refused, Outcome::Rejected);
    assert_eq!(setup.select().await.binding().unwrap().subject(), "CN=C1");
    assert_eq!(setup.provider.statistics().load_failures, 1);
}

#[tokio::test]
async fn the_revision_changes_with_what_is_selected() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::rsa("C1").pem());
    let setup = Setup::new(json!([path(&file)]));
    let selected = setup.select().await;
    let mut last = setup.provider.revision();
    let mut changed =
        |setup: &Setup| std::mem::replace(&mut last, setup.provider.revision()) != setup.provider.revision();
    setup.select().await;
    setup.report(&selected, Outcome::Used);
    assert!(!changed(&setup));
    setup.report(&selected, Outcome::Rejected);
    assert!(changed(&setup));
    let given = Binding::from_bytes(Identity::rsa("C2").pem().as_bytes(), None).unwrap();
    setup.provider.replace_certificate(0, given).unwrap();
    assert!(changed(&setup));
}

#[tokio::test]
async fn ends_are_told_of_and_warned_of_once_each() {
    let directory = TempDir::new().unwrap();
    // Until 2024-01-01T00:00:00Z, 47 days and two hours from now.
    let file = write(&directory, "daemon.pem", Identity::valid("C1", rsa_key(), 2023, 2024).pem());
    let setup = Setup::new(json!([path(&file)]));
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.layer()));
    assert!(setup.provider.certificate_expiries().is_empty());
    let expected =
        [(0, None), (17, None), (18, Some("30 days")), (30, None), (41, Some("7 days")), (47, Some("1 day"))];
    let mut passed = 0;
    for (day, warning) in expected {
        setup.clock.advance((day - passed) * DAY);
        passed = day;
        setup.select().await;
        setup.select().await;
        let warnings = log.take("the certificate expires within");
        assert_eq!(warnings.iter().map(String::as_str).next_back(), warning, "day {day}: {warnings:?}");
        assert!(warnings.len() <= 1);
    }
    let expiry = setup.provider.certificate_expiries().remove(0);
    assert_eq!(
        (expiry.credential.as_str(), expiry.not_after_unix),
        ("ClientCredentials[0] (Path)", 1_704_067_200)
    );
    assert_eq!(expiry.left_seconds, 1_704_067_200 - (NOW + 47 * DAY) / 1000);
}

/// Keeps the messages of events.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn layer<S>(&self) -> impl tracing_subscriber::Layer<S>
    where
        S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    {
        let log = self.clone();
        tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || log.clone())
    }

    /// What follows this text in the lines that have it.
    fn take(&self, text: &str) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        let lines = String::from_utf8(bytes).unwrap();
        let rest = |line: &str| {
            let (_, rest) = line.split_once(text)?;
            let words: Vec<_> = rest.split_whitespace().take(2).collect();
            Some(words.join(" "))
        };
        lines.lines().filter_map(rest).collect()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
