//! What is in a vault: certificates with their keys, secrets, each in versions.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex},
};

use p12_keystore::{KeyStore, KeyStoreEntry};
use serde_json::{Value, json};

use crate::{
    Certificate, ClientCertificate, StartError,
    encoding::{base64, random},
    lock,
    state::State,
};

/// A key vault: `https://{name}.vault.azure.net`. Clones are the same vault.
#[derive(Clone)]
pub struct Vault {
    name: String,
    contents: Arc<Contents>,
    state: Arc<State>,
}

impl Vault {
    pub(crate) fn open(state: &Arc<State>, name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let contents = lock(&state.vaults.0).entry(name.clone()).or_default().clone();
        Self { name, contents, state: state.clone() }
    }

    /// `https://{name}.vault.azure.net`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        url(&self.name)
    }

    /// Imports a certificate with its key, as the newest version of `name`, and gives the version. The key and the
    /// chain are the secret of the same name and version.
    ///
    /// # Errors
    /// When the secret's PFX can't be built.
    pub fn import(
        &self,
        name: &str,
        certificate: &ClientCertificate,
        policy: CertificatePolicy,
    ) -> Result<String, StartError> {
        let public = certificate.certificate().clone();
        let value = policy.secret(certificate)?;
        Ok(self.add(name, value, policy.content_type(), Some((public, policy))))
    }

    /// Sets a secret that belongs to no certificate, as the newest version of `name`, and gives the version.
    pub fn set_secret(&self, name: &str, value: &str, content_type: &str) -> String {
        self.add(name, value.to_owned(), content_type, None)
    }

    /// Enables or disables a version; whether there is such a version.
    pub fn set_enabled(&self, name: &str, version: &str, enabled: bool) -> bool {
        let mut items = lock(&self.contents.items);
        let versions = items.get_mut(&name.to_ascii_lowercase());
        let found = versions.and_then(|versions| versions.iter_mut().find(|own| own.version == version));
        found.map(|item| item.enabled = enabled).is_some()
    }

    /// Removes what has this name, with all versions; whether there was something.
    pub fn delete(&self, name: &str) -> bool {
        lock(&self.contents.items).remove(&name.to_ascii_lowercase()).is_some()
    }

    /// The versions of `name`, oldest first.
    #[must_use]
    pub fn versions(&self, name: &str) -> Vec<String> {
        let items = lock(&self.contents.items);
        let versions = items.get(&name.to_ascii_lowercase());
        versions.into_iter().flatten().map(|item| item.version.clone()).collect()
    }

    /// Lets the service principal or user with this object id read; repeat it for more. As long as none is named,
    /// whoever has a token for Key Vault may.
    pub fn allow(&self, object_id: &str) {
        lock(&self.contents.readers).push(object_id.to_ascii_lowercase());
    }

    /// Puts the vault into this tenant (id), whose tokens it then takes. The default is [`CONTOSO`](crate::CONTOSO).
    pub fn set_tenant(&self, tenant: &str) {
        *lock(&self.contents.tenant) = Some(tenant.to_ascii_lowercase());
    }

    fn add(
        &self,
        name: &str,
        value: String,
        content_type: &str,
        certificate: Option<(Certificate, CertificatePolicy)>,
    ) -> String {
        let version = crate::encoding::hex(&random::<16>()).to_ascii_lowercase();
        let item = Item {
            name: name.to_owned(),
            version: version.clone(),
            value,
            content_type: content_type.to_owned(),
            created_unix: self.state.clock.now_unix(),
            enabled: true,
            certificate,
        };
        lock(&self.contents.items).entry(name.to_ascii_lowercase()).or_default().push(item);
        version
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("url", &self.url()).finish_non_exhaustive()
    }
}

/// How a certificate's key is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct CertificatePolicy {
    pem: bool,
    exportable: bool,
}

impl CertificatePolicy {
    /// As PKCS#12 without password, in base64: `application/x-pkcs12`.
    pub fn pkcs12() -> Self {
        Self { pem: false, exportable: true }
    }

    /// As PEM, the key first: `application/x-pem-file`.
    pub fn pem() -> Self {
        Self { pem: true, ..Self::pkcs12() }
    }

    /// Whether the secret has the key. The default is yes; without, it has the certificates alone.
    pub fn exportable(mut self, exportable: bool) -> Self {
        self.exportable = exportable;
        self
    }

    fn content_type(self) -> &'static str {
        if self.pem { "application/x-pem-file" } else { "application/x-pkcs12" }
    }

    fn secret(self, certificate: &ClientCertificate) -> Result<String, StartError> {
        match (self.pem, self.exportable) {
            (true, true) => Ok(certificate.pem()),
            (true, false) => Ok(certificate.certificate_pem()),
            (false, true) => Ok(base64(&certificate.pfx("")?)),
            (false, false) => public_pfx(certificate).map(|pfx| base64(&pfx)),
        }
    }

    fn describe(self, certificate: &Certificate) -> Value {
        let mut key = json!({ "exportable": self.exportable, "reuse_key": false });
        if certificate.is_elliptic() {
            key["kty"] = json!("EC");
            key["crv"] = json!("P-256");
        } else {
            key["kty"] = json!("RSA");
            key["key_size"] = json!(2048);
        }
        json!({
            "key_props": key,
            "secret_props": { "contentType": self.content_type() },
            "x509_props": { "subject": certificate.subject(), "validity_months": 12 },
            "issuer": { "name": "Unknown" },
        })
    }
}

/// A PFX with the certificates alone.
fn public_pfx(certificate: &ClientCertificate) -> Result<Vec<u8>, StartError> {
    let failed = |error: p12_keystore::error::Error| StartError::Certificate(format!("PFX: {error}"));
    let mut store = KeyStore::new();
    for (at, der) in certificate.chain().iter().enumerate() {
        let one = p12_keystore::Certificate::from_der(der).map_err(failed)?;
        store.add_entry(&format!("certificate{at}"), KeyStoreEntry::Certificate(one));
    }
    store.writer("").write().map_err(failed)
}

/// Every vault by its name.
#[derive(Default)]
pub(crate) struct Vaults(Mutex<HashMap<String, Arc<Contents>>>);

impl Vaults {
    pub(super) fn find(&self, name: &str) -> Option<Arc<Contents>> {
        lock(&self.0).get(name).cloned()
    }
}

#[derive(Default)]
pub(super) struct Contents {
    pub(super) tenant: Mutex<Option<String>>,
    pub(super) readers: Mutex<Vec<String>>,
    /// By name in lower case, oldest version first.
    items: Mutex<HashMap<String, Vec<Item>>>,
}

impl Contents {
    /// The version, or the newest where none is named.
    pub(super) fn find(&self, name: &str, version: Option<&str>) -> Option<Item> {
        let items = lock(&self.items);
        let versions = items.get(&name.to_ascii_lowercase())?;
        match version {
            None => versions.last().cloned(),
            Some(version) => versions.iter().find(|item| item.version == version).cloned(),
        }
    }
}

/// One version of a secret, of a certificate too where there is one.
#[derive(Clone)]
pub(super) struct Item {
    name: String,
    version: String,
    value: String,
    content_type: String,
    created_unix: u64,
    pub(super) enabled: bool,
    pub(super) certificate: Option<(Certificate, CertificatePolicy)>,
}

impl Item {
    /// A secret bundle, as in the REST reference of Key Vault.
    pub(super) fn secret(&self, vault: &str) -> Value {
        let mut secret = json!({
            "value": self.value,
            "contentType": self.content_type,
            "id": self.id(vault, "secrets"),
            "attributes": self.attributes(),
        });
        if self.certificate.is_some() {
            secret["kid"] = json!(self.id(vault, "keys"));
            secret["managed"] = json!(true);
        }
        secret
    }

    /// A certificate bundle; nothing where it is a mere secret.
    pub(super) fn certificate(&self, vault: &str) -> Option<Value> {
        let (certificate, policy) = self.certificate.as_ref()?;
        let mut policy = policy.describe(certificate);
        policy["id"] = json!(format!("{}/certificates/{}/policy", url(vault), self.name));
        Some(json!({
            "id": self.id(vault, "certificates"),
            "kid": self.id(vault, "keys"),
            "sid": self.id(vault, "secrets"),
            "x5t": certificate.x5t(),
            "cer": base64(certificate.der()),
            "attributes": self.attributes(),
            "policy": policy,
        }))
    }

    fn id(&self, vault: &str, kind: &str) -> String {
        format!("{}/{kind}/{}/{}", url(vault), self.name, self.version)
    }

    fn attributes(&self) -> Value {
        let mut attributes = json!({
            "enabled": self.enabled,
            "created": self.created_unix,
            "updated": self.created_unix,
            "recoveryLevel": "Recoverable+Purgeable",
            "recoverableDays": 90,
        });
        if let Some((certificate, _)) = &self.certificate {
            attributes["nbf"] = json!(certificate.not_before_unix());
            attributes["exp"] = json!(certificate.not_after_unix());
        }
        attributes
    }
}

fn url(vault: &str) -> String {
    format!("https://{vault}{}", super::key_vault::SUFFIX)
}
