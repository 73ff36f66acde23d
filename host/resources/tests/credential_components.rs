//! Components that have credentials, as the provider sees them: by a name of the configuration, through whoever runs them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::SignatureScheme;
use serde_json::{Value, json};
use symbolon_resources::clock::ManualClock;
use symbolon_resources::configuration::ApplicationOptions;
use symbolon_resources::credentials::{
    Acquisition, AssertionContext, ClientSecret, ComponentAssertion, ComponentConfiguration,
    ComponentCredential, ComponentDescription, ComponentError, ComponentProblem, ComponentRunner,
    CredentialError, CredentialKind, CredentialProvider, CredentialServices, Outcome, RunningComponent,
    SelectedCredential, SignatureAlgorithm,
};
use tempfile::TempDir;

/// Runs no WebAssembly: what it gives is in what it is given.
#[derive(Default)]
struct Runner {
    configurations: Mutex<Vec<ComponentConfiguration>>,
    selections: Arc<AtomicUsize>,
    reports: Arc<Mutex<Vec<Outcome>>>,
}

impl ComponentRunner for Runner {
    fn start(
        &self,
        component: &[u8],
        configuration: ComponentConfiguration,
    ) -> Result<Arc<dyn RunningComponent>, ComponentError> {
        if component != b"component" {
            return Err(unavailable("found another component"));
        }
        self.configurations.lock().unwrap().push(configuration.clone());
        let (selections, reports) = (Arc::clone(&self.selections), Arc::clone(&self.reports));
        Ok(Arc::new(Running { configuration, selections, reports }))
    }
}

struct Running {
    configuration: ComponentConfiguration,
    selections: Arc<AtomicUsize>,
    reports: Arc<Mutex<Vec<Outcome>>>,
}

impl RunningComponent for Running {
    fn select(&self) -> Result<Arc<dyn ComponentCredential>, ComponentError> {
        let number = self.selections.fetch_add(1, Ordering::Relaxed);
        let (_, secret) = self.configuration.files.first().ok_or_else(|| unavailable("found no file"))?;
        let secret = format!("{}-{number}", String::from_utf8_lossy(secret));
        let description = ComponentDescription::new(CredentialKind::ClientSecret);
        Ok(Arc::new(Secret { secret, description, reports: Arc::clone(&self.reports) }))
    }
}

struct Secret {
    secret: String,
    description: ComponentDescription,
    reports: Arc<Mutex<Vec<Outcome>>>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl ComponentCredential for Secret {
    fn description(&self) -> &ComponentDescription {
        &self.description
    }

    fn sign_assertion(&self, _: SignatureAlgorithm, _: &[u8]) -> Result<Vec<u8>, ComponentError> {
        Err(unavailable("it is a secret"))
    }

    fn sign_handshake(&self, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, ComponentError> {
        Err(unavailable("it is a secret"))
    }

    fn assertion(&self, _: &AssertionContext) -> Result<ComponentAssertion, ComponentError> {
        Err(unavailable("it is a secret"))
    }

    fn secret(&self) -> Result<ClientSecret, ComponentError> {
        Ok(ClientSecret::new(&*self.secret))
    }

    fn report(&self, outcome: Outcome) {
        self.reports.lock().unwrap().push(outcome);
    }
}

fn unavailable(message: &str) -> ComponentError {
    ComponentError::new(ComponentProblem::Unavailable, message)
}

struct Setup {
    directory: TempDir,
    clock: Arc<ManualClock>,
    runner: Arc<Runner>,
    provider: CredentialProvider,
}

impl Setup {
    fn new(entry: Value) -> Self {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("a.wasm"), "component").unwrap();
        std::fs::write(directory.path().join("secret"), "canary").unwrap();
        let path = |name: &str| directory.path().join(name);
        let options = ApplicationOptions::from_value(json!({
            "AzureAd": { "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": [entry] },
            "Symbolon": { "CredentialProviders": { "mine": {
                "Component": path("a.wasm"), "Files": { "secret": path("secret") },
                "Settings": { "colour": "red", "size": 1 },
            } } },
        }));
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let runner = Arc::new(Runner::default());
        let services = CredentialServices::new().with_component_runner(runner.clone());
        let provider = CredentialProvider::with_services(&options.unwrap(), clock.clone(), services);
        Self { directory, clock, runner, provider }
    }

    async fn select(&self) -> Result<SelectedCredential, CredentialError> {
        self.provider.select_for(&Acquisition::default()).await
    }

    async fn secret(&self) -> String {
        self.select().await.unwrap().secret().unwrap().expose().to_owned()
    }

    fn reports(&self) -> Vec<Outcome> {
        self.runner.reports.lock().unwrap().clone()
    }
}

fn entry(data: Value) -> Value {
    json!({
        "SourceType": "CustomSignedAssertion", "CustomSignedAssertionProviderName": "mine",
        "CustomSignedAssertionProviderData": data,
    })
}

#[tokio::test]
async fn a_component_gets_what_the_configuration_names() {
    let setup = Setup::new(entry(json!({ "Colour": "blue", "flag": true })));
    assert_eq!(setup.secret().await, "canary-0");
    let configurations = setup.runner.configurations.lock().unwrap();
    let [configuration] = configurations.as_slice() else { panic!("{configurations:?}") };
    let settings: Vec<_> =
        configuration.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    // The entry's data win.
    assert_eq!(settings, [("size", "1"), ("Colour", "blue"), ("flag", "true")]);
    assert_eq!(configuration.files[0].0, "secret");
    let shown = format!("{configurations:?}{:?}", setup.provider);
    assert!(!shown.contains("canary") && !shown.contains("blue"), "{shown}");
}

#[tokio::test]
async fn what_became_of_a_credential_is_reported_and_a_refusal_asks_again() {
    let setup = Setup::new(entry(json!({})));
    let selected = setup.select().await.unwrap();
    setup.provider.report(&selected, Outcome::Used);
    assert_eq!((setup.secret().await.as_str(), setup.reports()), ("canary-0", vec![Outcome::Used]));
    setup.provider.report(&selected, Outcome::Rejected);
    assert_eq!(setup.reports(), [Outcome::Used, Outcome::Rejected]);
    assert_eq!(setup.secret().await, "canary-1");
    // The same instance was asked again.
    assert_eq!(setup.runner.configurations.lock().unwrap().len(), 1);
    // What isn't in use any more can't be refused.
    setup.provider.report(&selected, Outcome::Rejected);
    assert_eq!(setup.reports().len(), 2);
}

#[tokio::test]
async fn a_changed_file_makes_another_instance_and_a_bad_one_none() {
    let setup = Setup::new(entry(json!({})));
    let selected = setup.select().await.unwrap();
    std::fs::write(setup.directory.path().join("secret"), "new").unwrap();
    setup.provider.report(&selected, Outcome::Rejected);
    assert_eq!(setup.secret().await, "new-1");
    assert_eq!(setup.runner.configurations.lock().unwrap().len(), 2);

    std::fs::write(setup.directory.path().join("a.wasm"), "another").unwrap();
    setup.clock.advance(60_000);
    setup.provider.report(&setup.select().await.unwrap(), Outcome::Rejected);
    assert_eq!(setup.secret().await, "new-1", "what is there stays in use");
}

#[tokio::test]
async fn names_of_components_are_among_those_that_are_accepted() {
    let setup = Setup::new(json!({
        "SourceType": "CustomSignedAssertion", "CustomSignedAssertionProviderName": "yours",
    }));
    let error = setup.select().await.unwrap_err().to_string();
    assert!(error.contains("found the provider \"yours\", which isn't registered"), "{error}");
    assert!(error.contains("\"mine\" (component), \"OidcIdpSignedAssertion\" (built in)"), "{error}");
}

#[tokio::test]
async fn without_anybody_to_run_it_a_component_is_of_no_use() {
    let directory = TempDir::new().unwrap();
    let component = directory.path().join("a.wasm");
    std::fs::write(&component, "component").unwrap();
    let options = ApplicationOptions::from_value(json!({
        "AzureAd": { "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": [entry(json!({}))] },
        "Symbolon": { "CredentialProviders": { "mine": { "Component": component } } },
    }));
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let provider = CredentialProvider::new(&options.unwrap(), clock);
    let error = provider.select_for(&Acquisition::default()).await.unwrap_err().to_string();
    assert!(error.contains("found a component, and a program that runs none"), "{error}");
}
