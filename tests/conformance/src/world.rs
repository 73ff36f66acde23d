//! A local authority and an engine in front of it, which the vectors of whole acquisitions share.
//!
//! Each vector has a client of its own there, so that none sees what another does.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use symbolon::{
    AcquisitionForApp, AcquisitionForTestUser, AcquisitionOnBehalfOf, ApplicationOptions, CertificateAction,
    CertificateEvent, Clock as _, ManualClock, OnBehalfOfInitialized, Symbolon, SystemClock,
    TokenAcquisitionHooks,
};
use symbolon_authority::{
    Authority, CertificatePolicy, CertificateRequest, ClientCertificate, Clock, Fault, FaultRule, LogEntry,
    ManagedIdentity, Platform, REDIRECT_URI, Registration, Source, Vault,
};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// The authority, the platform and the engine.
pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) engine: Symbolon,
    pub(crate) clock: Arc<ManualClock>,
    scenes: Arc<Scenes>,
    directory: TempDir,
    _platform: Platform,
}

/// The one of this run.
///
/// # Errors
///
/// It can't be started.
pub(crate) async fn world() -> Result<&'static World> {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD.get_or_try_init(World::start).await
}

impl World {
    async fn start() -> Result<Self> {
        let clock = Arc::new(ManualClock::new(SystemClock.now_unix_ms()));
        let theirs = Arc::clone(&clock);
        let authority = Authority::builder().clock(Clock::new(move || theirs.now_unix_ms())).start().await?;
        let identity = ManagedIdentity::new(MANAGED_IDENTITY, MANAGED_IDENTITY);
        let platform = Platform::builder().system_assigned(identity).start(&authority).await?;
        let variables = platform.environment(Source::AppService);
        let variable = move |name: &str| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        let scenes = Arc::new(Scenes::default());
        let engine = Symbolon::builder()
            .clock(clock.clone())
            .environment(variable)
            .certificate_observer(scenes.clone())
            .hooks(scenes.clone())
            .build()?;
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join("ca.pem"), authority.ca_pem())?;
        Ok(Self { authority, engine, clock, scenes, directory, _platform: platform })
    }

    /// A client that nobody else has: its id.
    pub(crate) fn client(&self) -> String {
        let mut scenes = self.scenes.lock();
        let id = format!("66666666-0000-4000-8000-{:012}", scenes.len());
        scenes.insert(id.clone(), Scene::default());
        id
    }

    /// Registers a client, for everything that an application may do.
    pub(crate) fn register(&self, registration: Registration) {
        self.authority.register(registration.redirect_uri(REDIRECT_URI).mtls(true).pop(true));
    }

    /// The settings of an application with these credentials, and of what opens vaults for it.
    pub(crate) fn settings(&self, client_id: &str, credentials: &Value) -> Result<Value> {
        let reader = format!("{client_id}-reader");
        self.register(Registration::new(&reader).secret(SECRET));
        let connect_to: HashMap<String, String> =
            self.authority.connect_to().into_iter().map(|(host, at)| (host, at.to_string())).collect();
        let roots = self.directory.path().join("ca.pem");
        let section = |client_id: &str, credentials: &Value| json!({ "TenantId": TENANT, "ClientId": client_id, "ClientCredentials": credentials });
        Ok(json!({
            "AzureAd": section(client_id, credentials),
            "Reader": section(&reader, &json!([secret()])),
            "Symbolon": {
                "ConnectTo": connect_to,
                "TrustedRoots": [roots.to_str().context("the directory has no name")?],
            },
        }))
    }

    /// An application with these credentials.
    pub(crate) fn application(&self, client_id: &str, credentials: &Value) -> Result<symbolon::Application> {
        let options = ApplicationOptions::from_value(self.settings(client_id, credentials)?)?;
        Ok(self.engine.application(options)?)
    }

    /// A certificate that the authority's time makes valid.
    pub(crate) fn certificate(&self, name: &str) -> Result<ClientCertificate> {
        let now = self.authority.clock().now_unix();
        Ok(CertificateRequest::new(name, now).self_signed()?)
    }

    /// The credential whose certificate a vault has; each time one of them is selected, the vault gets the next.
    pub(crate) fn in_vault(
        &self,
        client_id: &str,
        name: &str,
        certificates: Vec<ClientCertificate>,
    ) -> Result<Value> {
        let vault = self.authority.vault(VAULT);
        let name = format!("{name}-{client_id}");
        let mut certificates = VecDeque::from(certificates);
        let first = certificates.pop_front().context("there is no certificate")?;
        vault.import(&name, &first, CertificatePolicy::pem())?;
        let credential = json!({
            "SourceType": "KeyVault",
            "KeyVaultUrl": vault.url(),
            "KeyVaultCertificateName": name,
            "ConfigurationSection": "Reader",
        });
        if let Some(scene) = self.scenes.lock().get_mut(client_id) {
            scene.reloads.extend(certificates.into_iter().map(|next| (vault.clone(), name.clone(), next)));
        }
        Ok(credential)
    }

    /// A file that credentials can be read from: its path.
    pub(crate) fn file(&self, name: &str, content: &str) -> Result<String> {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content)?;
        Ok(path.to_str().context("the file has no name")?.to_owned())
    }

    /// The authority's answers to a client, in turn: a fault, or what it would say by itself.
    pub(crate) fn script(&self, client_id: &str, answers: Vec<Option<Fault>>) {
        let mut untroubled = 0;
        for answer in answers {
            match answer {
                Some(fault) => {
                    let rule = FaultRule::once(fault).client(client_id).skip(untroubled);
                    self.authority.faults().add(rule);
                }
                None => untroubled += 1,
            }
        }
    }

    /// The token requests of a client.
    pub(crate) fn token_requests(&self, client_id: &str) -> Vec<LogEntry> {
        let is_of = |entry: &LogEntry| entry.form_text("client_id") == Some(client_id);
        self.authority.log().into_iter().filter(is_of).collect()
    }

    /// What observers and hooks learned of a client so far.
    pub(crate) fn notes(&self, client_id: &str) -> Vec<String> {
        self.scenes.lock().get(client_id).map(|scene| scene.notes.clone()).unwrap_or_default()
    }

    /// Lets time pass, for everybody.
    pub(crate) fn advance(&self, milliseconds: u64) {
        self.clock.advance(milliseconds);
    }
}

/// What happens to the clients.
#[derive(Default)]
struct Scenes(Mutex<HashMap<String, Scene>>);

#[derive(Default)]
struct Scene {
    notes: Vec<String>,
    /// What vaults get, one for each certificate that is selected.
    reloads: VecDeque<(Vault, String, ClientCertificate)>,
}

impl Scenes {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Scene>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, client_id: &str, note: String) {
        if let Some(scene) = self.lock().get_mut(client_id) {
            scene.notes.push(note);
        }
    }
}

impl symbolon::CertificateObserver for Scenes {
    fn observe(&self, event: &CertificateEvent<'_>) {
        let client_id = event.application.as_str().split('@').next().unwrap_or_default();
        let name = event.certificate.subject().trim_start_matches("CN=");
        let action = match event.action {
            CertificateAction::Selected => "Selected",
            CertificateAction::SuccessfullyUsed => "SuccessfullyUsed",
            CertificateAction::Deselected(_) => "Deselected",
            _ => "?",
        };
        self.note(client_id, format!("{action}({name})"));
        if event.action == CertificateAction::Selected
            && let Some(scene) = self.lock().get_mut(client_id)
            && let Some((vault, name, certificate)) = scene.reloads.pop_front()
            && vault.import(&name, &certificate, CertificatePolicy::pem()).is_err()
        {
            scene.notes.push(format!("the vault doesn't take the next {name}"));
        }
    }
}

impl TokenAcquisitionHooks for Scenes {
    fn before_acquisition_for_app(&self, acquisition: &mut AcquisitionForApp<'_>) {
        self.note(acquisition.application.client_id(), "OnBeforeTokenAcquisitionForApp".into());
    }

    fn on_behalf_of_initialized(&self, initialized: &mut OnBehalfOfInitialized<'_>) {
        self.note(initialized.application.client_id(), "OnBeforeOnBehalfOfInitialized".into());
    }

    fn before_on_behalf_of(&self, acquisition: &mut AcquisitionOnBehalfOf<'_>) {
        self.note(acquisition.application.client_id(), "OnBeforeTokenAcquisitionForOnBehalfOf".into());
    }

    fn before_test_user(&self, acquisition: &mut AcquisitionForTestUser<'_>) {
        self.note(acquisition.application.client_id(), "OnBeforeTokenAcquisitionForTestUser".into());
    }
}

/// A credential that is a secret.
pub(crate) fn secret() -> Value {
    json!({ "SourceType": "ClientSecret", "ClientSecret": SECRET })
}

/// The secret of every client that has one.
pub(crate) const SECRET: &str = "a secret of no worth";

const TENANT: &str = "contoso.onmicrosoft.com";
const VAULT: &str = "conformance";
const MANAGED_IDENTITY: &str = "77777777-0000-4000-8000-000000000001";
