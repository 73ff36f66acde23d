//! Where the values of a configuration come from.

use crate::credentials::{CredentialDescription, CredentialSource};

use super::document::{Node, Value};
use super::error::{Place, join};
use super::reader::{Located, Section};

/// A value of the configuration, and where it comes from. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValueOrigin {
    /// The key, such as `AzureAd:ClientId`.
    pub key: String,
    /// The value; nothing where it is a secret, or may hold one.
    pub value: Option<String>,
    /// The file, environment variable or code that it comes from, or the default.
    pub place: Place,
}

impl ValueOrigin {
    /// A value that is no secret.
    pub(super) fn new(key: &Place, value: Located<String>) -> Self {
        Self { key: key.path().to_owned(), value: Some(value.value), place: value.place }
    }

    /// What holds where nobody says anything.
    pub(super) fn default(key: &Place, value: impl Into<String>) -> Self {
        Self::new(key, Located { value: value.into(), place: Place::default() })
    }
}

/// The values of a section as they are written, of the keys that are `read`.
pub(super) fn written(section: &Section<'_>, read: &[&str]) -> Vec<ValueOrigin> {
    let mut values = Vec::new();
    for (name, node) in section.node().members() {
        if read.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            let path = section.place().child(name).path().to_owned();
            walk(node, &path, name, &mut values);
        }
    }
    values
}

/// `name` is the last one on the way, which the elements of an array have none of.
fn walk(node: &Node, path: &str, name: &str, values: &mut Vec<ValueOrigin>) {
    let value = match &node.value {
        Value::Null => return,
        Value::Members(members) => {
            for (step, member) in members {
                let is_index = step.bytes().all(|byte| byte.is_ascii_digit());
                walk(member, &join(path, step), if is_index { name } else { step }, values);
            }
            return;
        }
        Value::Boolean(value) => value.to_string(),
        Value::Number(digits) => digits.clone(),
        Value::Text(text) => text.to_string(),
    };
    let is_shown = SHOWN.iter().any(|known| known.eq_ignore_ascii_case(name));
    let place = Place::new(node.source.clone(), path);
    values.push(ValueOrigin { key: path.to_owned(), value: is_shown.then_some(value), place });
}

/// What an entry does where it says nothing. `audience` is that of all entries that exchange tokens.
pub(super) fn defaults(
    entry: &Place,
    description: &CredentialDescription,
    audience: Option<&Located<String>>,
) -> Vec<ValueOrigin> {
    use CredentialSource as Source;
    let default = |key: &str, value: &str| ValueOrigin::default(&entry.child(key), value);
    let (source, mut values) = (&description.source, Vec::new());
    if !matches!(source, Source::ClientSecret(_) | Source::ClientSecretFile(_)) {
        values.push(default("UseBoundCredential", "not set"));
    }
    if matches!(source, Source::ManagedIdentity(_)) {
        values.push(default("ManagedIdentityClientId", "the system-assigned identity"));
    }
    if matches!(source, Source::ManagedIdentity(_) | Source::OtherApplication(_)) {
        let audience = audience.cloned();
        values.extend(audience.map(|audience| ValueOrigin::new(&entry.child("TokenExchangeUrl"), audience)));
    }
    values
}

/// In the order of the configuration, each key once: what was said first counts.
pub(super) fn ordered(values: impl IntoIterator<Item = ValueOrigin>) -> Vec<ValueOrigin> {
    let mut ordered: Vec<ValueOrigin> = Vec::new();
    for value in values {
        if !ordered.iter().any(|known| known.key.eq_ignore_ascii_case(&value.key)) {
            ordered.push(value);
        }
    }
    // The application's own come before those of its credentials.
    ordered.sort_by_key(|value| {
        let (_, entry) = value.key.split_once(":ClientCredentials:")?;
        entry.split(':').next()?.parse::<usize>().ok()
    });
    ordered
}

/// The keys whose values can't be secrets.
const SHOWN: &[&str] = &[
    "AppHomeTenantId",
    "Authority",
    "AzureRegion",
    "CertificateDiskPath",
    "CertificateDistinguishedName",
    "CertificateKeyDiskPath",
    "CertificateStorePath",
    "CertificateSubjectName",
    "CertificateThumbprint",
    "ClientCapabilities",
    "ClientId",
    "ClientSecretFile",
    "ConfigurationSection",
    "CustomSignedAssertionProviderName",
    "EnablePiiLogging",
    "Instance",
    "KeyId",
    "KeyVaultCertificateName",
    "KeyVaultUrl",
    "ManagedIdentityClientId",
    "OmitAssertionWhenBound",
    "PreferBoundCredential",
    "RequiresSignedAssertionFmiPath",
    "SendX5C",
    "SignedAssertionFileDiskPath",
    "Skip",
    "SourceType",
    "TenantId",
    "TokenExchangeUrl",
    "UseBoundCredential",
];
