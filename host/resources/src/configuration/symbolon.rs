//! The section `Symbolon`: our own settings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::credentials::{CredentialComponent, StoreDirectories, StorePath, StorePathError};
use crate::second_level::TokenCacheOptions;
use crate::transport::{ConnectTo, Proxy, TransportOptions};

use super::components;
use super::error::quoted;
use super::reader::{Findings, Located, Section, nearest};
use super::token_cache;

/// What becomes of `UseBoundCredential` on a credential that can't be bound, such as a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum UnsupportedBoundCredential {
    /// An error before the first request. The default: a connection that silently isn't bound is no protection.
    #[default]
    Error,
    /// The credential is used unbound, with a `tracing` event, as Microsoft.Identity.Web does (without the event).
    IgnoreWithEvent,
}

/// A flow whose requests go over a connection that is bound to the application's certificate only where it is asked for,
/// in `Symbolon:BoundFlows`: authorities enable it one registration at a time. Most flows need no such leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BoundFlow {
    /// A user, by a token of the application that is trusted to name users.
    ByUserFederatedIdentityCredential,
    /// A user, by name and password.
    ByUsernamePassword,
    /// An agent, in all of its requests.
    ForAgent,
}

impl BoundFlow {
    /// All of them.
    pub const ALL: [Self; 3] =
        [Self::ByUserFederatedIdentityCredential, Self::ByUsernamePassword, Self::ForAgent];

    /// The flow of that name, case ignored.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flow| flow.as_str().eq_ignore_ascii_case(name))
    }

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ByUserFederatedIdentityCredential => "by-user-federated-identity-credential",
            Self::ByUsernamePassword => "by-username-password",
            Self::ForAgent => "for-agent",
        }
    }
}

/// What kind of server an authority is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthorityType {
    /// Microsoft Entra ID.
    Aad,
    /// Azure AD B2C.
    B2c,
    /// Microsoft Entra External ID.
    Ciam,
    /// Active Directory Federation Services.
    Adfs,
    /// The datacenter security token service.
    Dsts,
    /// Any OpenID Connect provider, by its issuer. Never guessed.
    Oidc,
}

impl AuthorityType {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Aad, Self::B2c, Self::Ciam, Self::Adfs, Self::Dsts, Self::Oidc];

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aad => "Aad",
            Self::B2c => "B2C",
            Self::Ciam => "Ciam",
            Self::Adfs => "Adfs",
            Self::Dsts => "Dsts",
            Self::Oidc => "Oidc",
        }
    }
}

/// How a client may authenticate to an OpenID Connect provider (RFC 7591 §2, RFC 8705 §2, OpenID Connect Core 1.0 §9).
pub(super) const AUTH_METHODS: [&str; 5] = [
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
    "self_signed_tls_client_auth",
    "tls_client_auth",
];

/// Whom client assertions to an OpenID Connect provider are addressed to. The first is the default.
const AUDIENCES: [&str; 2] = ["Issuer", TOKEN_ENDPOINT];

const TOKEN_ENDPOINT: &str = "TokenEndpoint";

/// The settings of the section `Symbolon`.
#[derive(Debug, Clone, Default)]
pub(super) struct HostSettings {
    pub(super) transport: TransportOptions,
    pub(super) unsupported_bound_credential: UnsupportedBoundCredential,
    pub(super) allowed_authorities: Vec<Located<String>>,
    pub(super) authority_type: Option<AuthorityType>,
    pub(super) validate_authority: Option<bool>,
    pub(super) instance_metadata: Option<Located<String>>,
    pub(super) instance_discovery_uri: Option<Located<String>>,
    pub(super) token_endpoint_auth_method: Option<String>,
    pub(super) assertions_for_token_endpoint: bool,
    pub(super) bound_flows: BTreeSet<BoundFlow>,
    pub(super) certificate_stores: StoreDirectories,
    pub(super) credential_providers: BTreeMap<String, CredentialComponent>,
    pub(super) token_exchange_url: Option<Located<String>>,
    pub(super) strict: bool,
    pub(super) allow_unattested_keys: bool,
    pub(super) token_cache: Option<TokenCacheOptions>,
}

/// Reads the section, for the application of that section, if it is for one. Relative paths start at `directory`.
pub(super) fn read(
    section: &Section<'_>,
    application: Option<&str>,
    directory: &Path,
    findings: &mut Findings,
) -> HostSettings {
    check_keys(section, findings);
    let mut transport = TransportOptions::default();
    if let Some(rules) = section.object("ConnectTo", findings) {
        transport.connect_to = connect_to(&rules, findings);
    }
    transport.proxy = proxy(section, findings);
    for file in section.texts("TrustedRoots", findings) {
        let path = directory.join(&file.value);
        if let Some(found) = not_trusted_roots(&path) {
            let accepted = "a PEM file with one or more certificates";
            findings.problem(file.place, format!("{}, {found}", path.display()), accepted);
        }
        transport.trusted_roots.push(path);
    }
    if let Some(bytes) = section.count("MaxResponseBytes", findings) {
        transport.max_response_bytes = bytes;
    }
    let token_cache = token_cache::read(section, application, directory, &transport.trusted_roots, findings);
    HostSettings {
        transport,
        unsupported_bound_credential: unsupported_bound_credential(section, findings),
        allowed_authorities: section.texts("AllowedAuthorities", findings),
        authority_type: authority_type(section, findings),
        validate_authority: section.flag("ValidateAuthority", findings),
        instance_metadata: instance_metadata(section, directory, findings),
        instance_discovery_uri: section.text("InstanceDiscoveryUri", findings),
        token_endpoint_auth_method: one_of("TokenEndpointAuthMethod", &AUTH_METHODS, section, findings)
            .map(ToOwned::to_owned),
        assertions_for_token_endpoint: one_of("ClientAssertionAudience", &AUDIENCES, section, findings)
            == Some(TOKEN_ENDPOINT),
        bound_flows: bound_flows(section, findings),
        certificate_stores: certificate_stores(section, directory, findings),
        credential_providers: components::read(section, directory, findings),
        token_exchange_url: section.text("TokenExchangeUrl", findings),
        strict: section.flag("Strict", findings).unwrap_or(false),
        allow_unattested_keys: section.flag("AllowUnattestedKeys", findings).unwrap_or(false),
        token_cache,
    }
}

fn check_keys(section: &Section<'_>, findings: &mut Findings) {
    for name in section.names().filter(|name| !KEYS.iter().any(|key| key.eq_ignore_ascii_case(name))) {
        let hint = nearest(name, KEYS).map(|key| format!(" (did you mean {key}?)")).unwrap_or_default();
        findings.problem(section.place_of(name), format!("an unknown key{hint}"), KEYS.join(", "));
    }
}

/// Reads rule by rule, so that each problem has its place, then all together.
fn connect_to(rules: &Section<'_>, findings: &mut Findings) -> ConnectTo {
    let mut good = Vec::new();
    for (from, to) in rules.entries(findings) {
        match ConnectTo::parse([(from, to.value.as_str())]) {
            Ok(_) => good.push((from, to.value)),
            Err(_) => findings.problem(
                to.place,
                quoted(&to.value),
                "\"host[:port]\" or \"*.suffix[:port]\" as key, \"host[:port]\" or \"address[:port]\" as value (IPv6 in brackets)",
            ),
        }
    }
    ConnectTo::parse(good.iter().map(|(from, to)| (*from, to.as_str()))).unwrap_or_default()
}

/// The URL may hold a password and is never shown.
fn proxy(section: &Section<'_>, findings: &mut Findings) -> Option<Proxy> {
    let url = section.secret("Proxy", findings)?;
    match Proxy::parse(&url.value, &url.place.to_string()) {
        Ok(proxy) => Some(proxy),
        Err(_) => {
            let accepted = "http://[user:password@]host[:port], user and password percent-encoded";
            findings.problem(url.place, "something other than the URL of an HTTP proxy", accepted);
            None
        }
    }
}

fn not_trusted_roots(path: &Path) -> Option<String> {
    let pem = match std::fs::read(path) {
        Ok(pem) => pem,
        Err(error) => return Some(format!("which can't be read ({})", error.kind())),
    };
    let mut certificates = CertificateDer::pem_slice_iter(&pem);
    match certificates.next() {
        Some(Ok(_)) if certificates.all(|certificate| certificate.is_ok()) => None,
        Some(_) => Some("which has a damaged PEM section".to_owned()),
        None => Some("which has no certificate in PEM".to_owned()),
    }
}

fn unsupported_bound_credential(
    section: &Section<'_>,
    findings: &mut Findings,
) -> UnsupportedBoundCredential {
    let Some(written) = section.text("UnsupportedBoundCredential", findings) else {
        return UnsupportedBoundCredential::default();
    };
    match written.value.to_ascii_lowercase().as_str() {
        "error" => UnsupportedBoundCredential::Error,
        "ignore-with-event" => UnsupportedBoundCredential::IgnoreWithEvent,
        _ => {
            findings.problem(written.place, quoted(&written.value), "\"error\", \"ignore-with-event\"");
            UnsupportedBoundCredential::default()
        }
    }
}

fn authority_type(section: &Section<'_>, findings: &mut Findings) -> Option<AuthorityType> {
    let names = AuthorityType::ALL.map(AuthorityType::as_str);
    let name = one_of("AuthorityType", &names, section, findings)?;
    AuthorityType::ALL.into_iter().find(|kind| kind.as_str() == name)
}

/// A setting that has one of these values, case ignored.
pub(super) fn one_of<'a>(
    key: &str,
    values: &[&'a str],
    section: &Section<'_>,
    findings: &mut Findings,
) -> Option<&'a str> {
    let written = section.text(key, findings)?;
    let value = values.iter().find(|value| value.eq_ignore_ascii_case(&written.value)).copied();
    if value.is_none() {
        let accepted: Vec<_> = values.iter().map(|value| quoted(value)).collect();
        findings.problem(written.place, quoted(&written.value), accepted.join(", "));
    }
    value
}

/// The content of a file of the form of an answer of instance discovery.
fn instance_metadata(
    section: &Section<'_>,
    directory: &Path,
    findings: &mut Findings,
) -> Option<Located<String>> {
    let file = section.text("InstanceMetadataFile", findings)?;
    let path = directory.join(&file.value);
    let content = std::fs::read_to_string(&path).map_err(|error| format!("can't be read ({})", error.kind()));
    let checked = content.and_then(|content| {
        let json = serde_json::from_str::<serde_json::Value>(&content);
        match json.is_ok_and(|json| json["metadata"].is_array()) {
            true => Ok(content),
            false => Err("is no answer of instance discovery".to_owned()),
        }
    });
    match checked {
        Ok(value) => Some(Located { value, place: file.place }),
        Err(problem) => {
            let accepted =
                "a JSON file with \"metadata\", an array of preferred_network, preferred_cache and aliases";
            findings.problem(file.place, format!("{}, which {problem}", path.display()), accepted);
            None
        }
    }
}

fn bound_flows(section: &Section<'_>, findings: &mut Findings) -> BTreeSet<BoundFlow> {
    let mut flows = BTreeSet::new();
    for name in section.texts("BoundFlows", findings) {
        match BoundFlow::parse(&name.value) {
            Some(flow) => {
                flows.insert(flow);
            }
            None => {
                let accepted = BoundFlow::ALL.map(|flow| quoted(flow.as_str())).join(", ");
                findings.problem(name.place, quoted(&name.value), accepted);
            }
        }
    }
    flows
}

/// Which directories play which certificate stores.
fn certificate_stores(section: &Section<'_>, directory: &Path, findings: &mut Findings) -> StoreDirectories {
    let mut stores = StoreDirectories::new();
    let Some(written) = section.object("CertificateStores", findings) else { return stores };
    for (store, path) in written.entries(findings) {
        match StorePath::parse(store) {
            Ok(store) => {
                stores.insert(store, directory.join(path.value));
            }
            Err(_) => {
                findings.problem(path.place, quoted(store), format!("as key, {}", StorePathError::ACCEPTED))
            }
        }
    }
    stores
}

const KEYS: [&str; 21] = [
    "AllowUnattestedKeys",
    "AllowedAuthorities",
    "AuthorityType",
    "BoundFlows",
    "CertificateStores",
    "ClientAssertionAudience",
    "ConnectTo",
    "CredentialProviders",
    "DownstreamApis",
    "InstanceDiscoveryUri",
    "InstanceMetadataFile",
    "MaxResponseBytes",
    "Proxy",
    "Sidecar",
    "Strict",
    "TokenCache",
    "TokenEndpointAuthMethod",
    "TokenExchangeUrl",
    "TrustedRoots",
    "UnsupportedBoundCredential",
    "ValidateAuthority",
];
