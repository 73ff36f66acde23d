//! Where the values of a configuration come from.

use std::path::{Path, PathBuf};

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

/// Everything that is written in a configuration, or in a part of it.
pub(super) fn whole(section: &Section<'_>) -> Vec<ValueOrigin> {
    let mut values = Vec::new();
    let path = section.place().path().to_owned();
    let steps: Vec<_> = path.split(':').filter(|step| !step.is_empty()).collect();
    walk_whole(section.node(), &path, &steps, &mut values);
    values
}

fn walk_whole(node: &Node, path: &str, steps: &[&str], values: &mut Vec<ValueOrigin>) {
    let value = match &node.value {
        Value::Null => return,
        Value::Members(members) => {
            for (step, member) in members {
                walk_whole(member, &join(path, step), &[steps, &[step]].concat(), values);
            }
            return;
        }
        Value::Boolean(value) => value.to_string(),
        Value::Number(digits) => digits.clone(),
        Value::Text(text) => text.to_string(),
    };
    let place = Place::new(node.source.clone(), path);
    let value = Some(value).filter(|value| is_public(steps, value));
    values.push(ValueOrigin { key: path.to_owned(), value, place });
}

/// Whether a value, by the way to it, can't be a secret. What nobody has thought of may be one.
fn is_public(steps: &[&str], value: &str) -> bool {
    let is = |step: &str, name: &str| step.eq_ignore_ascii_case(name);
    let among = |names: &[&str], step: &str| names.iter().any(|name| is(step, name));
    let is_index = |step: &str| step.bytes().all(|byte| byte.is_ascii_digit());
    let leaf = steps.iter().rev().find(|step| !is_index(step)).copied().unwrap_or_default();
    match steps {
        [section, _, rest @ ..] if is(section, "Applications") => is_public(rest, value),
        [section, key, ..] if is(section, "Symbolon") => among(SHOWN_OF_HOST, key),
        [section, ..] if is(section, "Sidecar") => true,
        // The URL of an API may have a password or a key in it.
        [section, ..] if is(section, "DownstreamApis") => {
            among(SHOWN_OF_APIS, leaf) && !value.contains(['@', '?'])
        }
        _ => among(SHOWN, leaf) || among(SHOWN_OF_WEB_APIS, leaf),
    }
}

/// The values of keys that name files or directories. Relative ones start at `directory`.
pub(super) fn paths(node: &Node, directory: &Path, found: &mut Vec<PathBuf>) {
    for (name, member) in node.members() {
        let names_files = PATHS.iter().any(|end| {
            let start = name.len().checked_sub(end.len());
            start.and_then(|start| name.get(start..)).is_some_and(|rest| rest.eq_ignore_ascii_case(end))
        });
        match names_files {
            true => texts(member, &mut |text| found.push(directory.join(text))),
            false => paths(member, directory, found),
        }
    }
}

fn texts(node: &Node, take: &mut impl FnMut(&str)) {
    match &node.value {
        Value::Text(text) => take(text),
        Value::Members(members) => members.iter().for_each(|(_, member)| texts(member, take)),
        _ => {}
    }
}

/// What the names of keys end in that name files or directories.
const PATHS: &[&str] =
    &["DiskPath", "File", "TrustedRoots", "CertificateStores", "Component", "Files", "Keys"];

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

/// The keys of `Symbolon` whose values can't be secrets.
const SHOWN_OF_HOST: &[&str] = &[
    "AllowUnattestedKeys",
    "AllowedAuthorities",
    "AuthorityType",
    "BoundFlows",
    "CertificateStores",
    "ClientAssertionAudience",
    "ConnectTo",
    "DownstreamApis",
    "InstanceDiscoveryUri",
    "InstanceMetadataFile",
    "MaxResponseBytes",
    "Sidecar",
    "Strict",
    "TokenEndpointAuthMethod",
    "TokenExchangeUrl",
    "TrustedRoots",
    "UnsupportedBoundCredential",
    "ValidateAuthority",
];

/// Those of an API.
const SHOWN_OF_APIS: &[&str] = &[
    "AcceptHeader",
    "AuthenticationOptionsName",
    "BaseUrl",
    "ContentType",
    "FmiPath",
    "ForceRefresh",
    "HttpMethod",
    "ProtocolScheme",
    "RelativePath",
    "RequestAppToken",
    "Scopes",
    "Tenant",
    "UserAssignedClientId",
];

/// Those that say what an application is called with.
const SHOWN_OF_WEB_APIS: &[&str] = &["AllowWebApiToBeAuthorizedByACL", "Audience", "Audiences", "Scopes"];

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
