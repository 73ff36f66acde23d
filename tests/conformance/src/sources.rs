//! The sources of credentials, arranged so that each gives what a vector says.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::{Map, Value, json};
use symbolon_resources::{
    clock::SystemClock,
    configuration::ApplicationOptions,
    credentials::{
        Acquisition, ApplicationTokenRequest, AssertionBinding, AssertionRequest, Binding, BoxFuture,
        CertificateAction, CertificateEvent, CredentialError, CredentialProvider, CredentialServices,
        ManagedIdentityTokenRequest, Purpose, SignedAssertion, SignedAssertionProvider, SigningBudget,
        SourceType, TokenSource, TokenSourceError,
    },
    transport::TransportShared,
};
use tempfile::TempDir;

use crate::{certificates::Identity, vault};

/// What becomes of the loading of a credential.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loading {
    /// It gives a credential.
    Succeeds,
    /// It gives nothing, and no error.
    GivesNothing,
    Fails,
}

/// One entry of `ClientCredentials`.
pub(crate) struct Source {
    pub(crate) source_type: SourceType,
    pub(crate) skip: bool,
    pub(crate) loading: Loading,
    /// The secret, where it is one.
    pub(crate) secret: String,
}

/// What came of a selection.
pub(crate) struct Selection {
    pub(crate) outcome: Result<usize, Failure>,
    /// Such as `Selected#0`.
    pub(crate) events: Vec<String>,
}

/// Why no credential was selected.
pub(crate) enum Failure {
    /// The configuration was refused.
    Configuration,
    Credential(CredentialError),
}

/// Selects among real sources that are arranged like this.
pub(crate) async fn select(sources: &[Source], purpose: Purpose) -> Result<Selection> {
    let mut stage = Stage::new()?;
    let entries: Vec<Value> = sources
        .iter()
        .enumerate()
        .map(|(index, source)| stage.entry(index, source))
        .collect::<Result<_>>()?;
    let Ok(options) = ApplicationOptions::from_value(stage.configuration(entries).await?) else {
        return Ok(Selection { outcome: Err(Failure::Configuration), events: Vec::new() });
    };
    let events = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&events);
    let observer = move |event: &CertificateEvent<'_>| {
        if let Ok(mut log) = log.lock() {
            log.push(described(event));
        }
    };
    let tokens = Tokens { certificate: Arc::new(stage.identity.binding()?), identities: stage.identities };
    let services = CredentialServices::new()
        .with_token_source(Arc::new(tokens))
        .with_transport(TransportShared::new(|_| None)?)
        .with_assertion_provider(PROVIDER, Arc::new(Assertions))
        .with_observer(Arc::new(observer));
    let provider = CredentialProvider::with_services(&options, Arc::new(SystemClock), services);
    for index in stage.given {
        provider.replace_certificate(index, stage.identity.binding()?)?;
    }
    let acquisition = Acquisition::new(SigningBudget::new()).with_purpose(purpose);
    let selected = provider.select_for(&acquisition).await;
    let outcome = selected.map(|selected| selected.index()).map_err(Failure::Credential);
    let events = events.lock().map(|events| events.clone()).unwrap_or_default();
    Ok(Selection { outcome, events })
}

/// The indices of the entries that an error names, each with its reason.
pub(crate) fn unusable(error: &CredentialError) -> Value {
    let CredentialError::Unavailable(unavailable) = error else { return Value::Null };
    let index = |place: &str| place.rsplit(':').next().and_then(|index| index.parse::<u64>().ok());
    unavailable.entries().iter().map(|entry| index(&entry.place)).collect()
}

/// `Action#index`.
fn described(event: &CertificateEvent<'_>) -> String {
    let action = match event.action {
        CertificateAction::Selected => "Selected",
        CertificateAction::SuccessfullyUsed => "SuccessfullyUsed",
        CertificateAction::Deselected(_) => "Deselected",
        _ => "?",
    };
    let index = event.credential.split(['[', ']']).nth(1).unwrap_or_default();
    format!("{action}#{index}")
}

/// Files, stores, vaults and identities that hold what is configured.
struct Stage {
    directory: TempDir,
    identity: Arc<Identity>,
    expired: Identity,
    /// The certificates of the vault, by name.
    vault: Vec<(String, String)>,
    stores: Map<String, Value>,
    /// The entries for certificates that the program gives, where it gives them.
    given: Vec<usize>,
    /// The managed identities of the platform, by client id, beside the one that opens vaults.
    identities: Vec<String>,
}

impl Stage {
    fn new() -> Result<Self> {
        Ok(Self {
            directory: tempfile::tempdir()?,
            identity: Arc::new(Identity::new(vault::HOST)?),
            expired: Identity::expired(vault::HOST)?,
            vault: Vec::new(),
            stores: Map::new(),
            given: Vec::new(),
            identities: Vec::new(),
        })
    }

    /// The entry for a source, which is there from now on.
    fn entry(&mut self, index: usize, source: &Source) -> Result<Value> {
        let Source { source_type, skip, loading, secret } = source;
        let pem = match loading {
            Loading::Succeeds => Some(self.identity.pem()),
            Loading::GivesNothing => Some(self.expired.pem()),
            Loading::Fails => None,
        };
        let mut entry = match source_type {
            SourceType::Path => json!({ "CertificateDiskPath": self.file(&format!("{index}.pem"), pem)? }),
            SourceType::Base64Encoded => {
                json!({ "Base64EncodedValue": BASE64_STANDARD.encode(pem.unwrap_or_else(|| "nothing".into())) })
            }
            SourceType::KeyVault => {
                let name = format!("certificate-{index}");
                self.vault.extend(pem.map(|pem| (name.clone(), pem)));
                json!({ "KeyVaultUrl": format!("https://{}", vault::HOST), "KeyVaultCertificateName": name })
            }
            SourceType::StoreWithThumbprint => {
                let thumbprint = self.identity.binding()?.thumbprint_hex().to_owned();
                self.store(index, "CertificateThumbprint", &thumbprint, pem)?
            }
            SourceType::StoreWithDistinguishedName => {
                let name = format!("CN={}", vault::HOST);
                self.store(index, "CertificateDistinguishedName", &name, pem)?
            }
            SourceType::StoreWithSubjectName => {
                self.store(index, "CertificateSubjectName", vault::HOST, pem)?
            }
            SourceType::Certificate => {
                self.given.extend((*loading == Loading::Succeeds).then_some(index));
                json!({})
            }
            SourceType::ClientSecret => json!({ "ClientSecret": secret }),
            SourceType::SignedAssertionFilePath => {
                let token = pem.map(|_| token());
                json!({ "SignedAssertionFileDiskPath": self.file(&format!("{index}.jwt"), token)? })
            }
            SourceType::SignedAssertionFromManagedIdentity => {
                let client_id = format!("identity-{index}");
                self.identities.extend((*loading == Loading::Succeeds).then(|| client_id.clone()));
                json!({ "ManagedIdentityClientId": client_id })
            }
            SourceType::CustomSignedAssertion => {
                let name = if *loading == Loading::Succeeds { PROVIDER } else { "Nobody" };
                json!({ "CustomSignedAssertionProviderName": name })
            }
            _ => json!({}),
        };
        entry["SourceType"] = source_type.as_str().into();
        entry["Skip"] = (*skip).into();
        Ok(entry)
    }

    /// A store of its own for each entry: there are as many as names.
    fn store(&mut self, index: usize, field: &str, criterion: &str, pem: Option<String>) -> Result<Value> {
        const NAMES: [&str; 4] = ["My", "TrustedPeople", "AuthRoot", "AddressBook"];
        let store = format!("CurrentUser/{}", NAMES.get(index).context("there are too many stores")?);
        let directory = format!("store-{index}");
        // Nothing is in a store that fails: it isn't there.
        if let Some(pem) = pem {
            let path = self.directory.path().join(&directory);
            std::fs::create_dir(&path)?;
            std::fs::write(path.join("one.pem"), pem)?;
            self.stores.insert(store.clone(), path.to_str().context("the directory has no name")?.into());
        }
        Ok(json!({ "CertificateStorePath": store, field: criterion }))
    }

    /// The path of a file, which is there if it has a content.
    fn file(&self, name: &str, content: Option<String>) -> Result<Value> {
        let path = self.directory.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content)?;
        }
        Ok(path.to_str().context("the file has no name")?.into())
    }

    async fn configuration(&self, entries: Vec<Value>) -> Result<Value> {
        let address = vault::serve(&self.identity, self.vault.clone()).await?;
        let roots = self.file("roots.pem", Some(self.identity.certificate().pem()))?;
        Ok(json!({
            "AzureAd": { "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": entries },
            "Symbolon": {
                "ConnectTo": { vault::HOST: address.to_string() },
                "TrustedRoots": [roots],
                "CertificateStores": self.stores,
            },
        }))
    }
}

/// A token that is no secret of anybody, for a long time.
fn token() -> String {
    let part = |json: &str| BASE64_URL_SAFE_NO_PAD.encode(json);
    format!("{}.{}.c2ln", part(r#"{"alg":"none"}"#), part(r#"{"exp":4000000000}"#))
}

/// A platform that gives tokens to its identities, bound ones where they are asked for.
struct Tokens {
    certificate: Arc<Binding>,
    identities: Vec<String>,
}

impl TokenSource for Tokens {
    fn managed_identity_token(
        &self,
        request: ManagedIdentityTokenRequest,
    ) -> BoxFuture<'_, Result<SignedAssertion, TokenSourceError>> {
        let ManagedIdentityTokenRequest { client_id, binding, .. } = request;
        let result = match client_id {
            Some(id) if !self.identities.contains(&id) => {
                Err(TokenSourceError::new("the platform has no such identity"))
            }
            _ => Ok(SignedAssertion::new(token(), None)),
        };
        let result = result.map(|token| match binding {
            AssertionBinding::Unbound => token,
            _ => token.with_binding(Arc::clone(&self.certificate)),
        });
        Box::pin(std::future::ready(result))
    }

    fn application_token(
        &self,
        _: ApplicationTokenRequest,
    ) -> BoxFuture<'_, Result<SignedAssertion, TokenSourceError>> {
        Box::pin(std::future::ready(Err(TokenSourceError::new("there is no other application"))))
    }
}

/// A provider that a program registers.
struct Assertions;

impl SignedAssertionProvider for Assertions {
    fn assertion<'a>(
        &'a self,
        _: AssertionRequest<'a>,
    ) -> BoxFuture<'a, Result<SignedAssertion, Box<dyn std::error::Error + Send + Sync>>> {
        Box::pin(std::future::ready(Ok(SignedAssertion::new(token(), None))))
    }
}

/// Its name.
const PROVIDER: &str = "Registered";
