//! What the sidecar reads: the section `Sidecar` of Microsoft.Identity.Web's sidecar, our own settings for it in
//! `Symbolon:Sidecar`, and what an application's section says of the tokens that it is called with.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderName;

use crate::credentials::{CertificatePassword, DecryptionKey, LoadError};

use super::error::quoted;
use super::reader::{Findings, Section, nearest};
use super::server;

/// How the sidecar answers. The default is what the fields say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SidecarSettings {
    /// `Sidecar:AllowOverrides`.
    pub allow_overrides: AllowOverrides,
    /// `Sidecar:AllowOutboundRedirects`: whether calls of APIs follow redirects. The default is no.
    pub allow_outbound_redirects: bool,
    /// `Symbolon:Sidecar:ResponseHeaders`: headers of an API's answer that callers are given beside the usual ones. The
    /// default is none.
    pub response_headers: Vec<HeaderName>,
    /// How much callers may ask for.
    pub limits: CallLimits,
}

/// How much the callers of an application may ask of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallLimits {
    /// `Symbolon:Sidecar:RateLimit`. The default is none.
    pub rate: Option<RateLimit>,
    /// `Symbolon:Sidecar:MaxInFlight`: how many requests may be under way at once. The default is 1,024.
    pub max_in_flight: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self { rate: None, max_in_flight: 1024 }
    }
}

/// How often each caller may ask: as often as it wants until the burst is used up, which fills up again steadily.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// `RequestsPerSecond`.
    pub requests_per_second: usize,
    /// `Burst`. The default is the requests of one second.
    pub burst: usize,
}

/// Which routes let their callers change how an API is called, and name an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllowOverrides {
    /// `GetAuthorizationHeader`. The default is yes.
    pub authorization_header: bool,
    /// `GetAuthorizationHeaderUnauthenticated`. The default is no: nobody knows who asks.
    pub authorization_header_unauthenticated: bool,
    /// `CallDownstreamApi`. The default is yes.
    pub downstream_api: bool,
    /// `CallDownstreamApiUnauthenticated`. The default is no.
    pub downstream_api_unauthenticated: bool,
}

impl Default for AllowOverrides {
    fn default() -> Self {
        Self {
            authorization_header: true,
            authorization_header_unauthenticated: false,
            downstream_api: true,
            downstream_api_unauthenticated: false,
        }
    }
}

/// What an application's section says of the tokens that it is called with.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct WebApiSettings {
    /// `Audience` and `Audiences`. Where there is none, the application's id and `api://{id}` are meant.
    pub audiences: Vec<String>,
    /// `Scopes`, separated by white space: one of them is to be among the token's, where there are any. The default is none.
    pub scopes: Vec<String>,
    /// `AllowWebApiToBeAuthorizedByACL`: whether a token may have neither scopes nor roles. The default is no.
    pub allow_acl: bool,
    /// `TokenDecryptionCredentials` and `TokenDecryptionCertificates`: what opens tokens that are encrypted. The default is
    /// none, and no such token is accepted.
    pub decryption_keys: Vec<DecryptionKey>,
}

/// Reads `Sidecar`, and `Symbolon:Sidecar`.
pub(super) fn read(
    section: Option<&Section<'_>>,
    own: Option<&Section<'_>>,
    findings: &mut Findings,
) -> SidecarSettings {
    let mut settings = SidecarSettings::default();
    if let Some(section) = section {
        refuse_unknown(section, &["AllowOverrides", "AllowOutboundRedirects"], findings);
        settings.allow_outbound_redirects =
            section.flag("AllowOutboundRedirects", findings).unwrap_or_default();
        if let Some(gates) = section.object("AllowOverrides", findings) {
            settings.allow_overrides = allow_overrides(&gates, findings);
        }
    }
    if let Some(own) = own {
        refuse_unknown(own, &[&OWN[..], &server::KEYS].concat(), findings);
        settings.limits = limits(own, findings);
        for name in own.texts("ResponseHeaders", findings) {
            match HeaderName::try_from(name.value.as_str()) {
                Ok(name) => settings.response_headers.push(name),
                Err(_) => findings.problem(name.place, quoted(&name.value), "the name of a header"),
            }
        }
    }
    settings
}

fn limits(own: &Section<'_>, findings: &mut Findings) -> CallLimits {
    let mut limits = CallLimits::default();
    if let Some(rate) = own.object("RateLimit", findings) {
        refuse_unknown(&rate, &["RequestsPerSecond", "Burst"], findings);
        let burst = rate.count("Burst", findings);
        match rate.count("RequestsPerSecond", findings) {
            Some(requests_per_second) => {
                let burst = burst.unwrap_or(requests_per_second);
                limits.rate = Some(RateLimit { requests_per_second, burst });
            }
            None if !rate.has("RequestsPerSecond") => {
                findings.problem(
                    rate.place(),
                    "no RequestsPerSecond",
                    "RequestsPerSecond, a whole number above zero",
                );
            }
            None => {}
        }
    }
    limits.max_in_flight = own.count("MaxInFlight", findings).unwrap_or(limits.max_in_flight);
    limits
}

fn allow_overrides(gates: &Section<'_>, findings: &mut Findings) -> AllowOverrides {
    refuse_unknown(gates, &GATES, findings);
    let default = AllowOverrides::default();
    let [header, header_unauthenticated, call, call_unauthenticated] =
        GATES.map(|gate| gates.flag(gate, findings));
    AllowOverrides {
        authorization_header: header.unwrap_or(default.authorization_header),
        authorization_header_unauthenticated: header_unauthenticated
            .unwrap_or(default.authorization_header_unauthenticated),
        downstream_api: call.unwrap_or(default.downstream_api),
        downstream_api_unauthenticated: call_unauthenticated
            .unwrap_or(default.downstream_api_unauthenticated),
    }
}

/// Reads what an application's section says of the tokens that it is called with.
pub(super) fn read_web_api(
    section: &Section<'_>,
    directory: &Path,
    findings: &mut Findings,
) -> WebApiSettings {
    let credentials = ["TokenDecryptionCredentials", "TokenDecryptionCertificates"];
    let credentials: Vec<_> = credentials.iter().flat_map(|name| section.array(name, findings)).collect();
    let keys = credentials.iter().filter_map(|entry| decryption_key(entry, directory, findings)).collect();
    let mut audiences = Vec::new();
    audiences.extend(section.text("Audience", findings).map(|audience| audience.value));
    if section.has("Audiences") {
        audiences.extend(section.texts("Audiences", findings).into_iter().map(|audience| audience.value));
    }
    audiences.retain(|audience| !audience.trim().is_empty());
    let scopes = section.text("Scopes", findings).map(|scopes| scopes.value).unwrap_or_default();
    WebApiSettings {
        audiences,
        scopes: scopes.split_whitespace().map(str::to_owned).collect(),
        allow_acl: section.flag("AllowWebApiToBeAuthorizedByACL", findings).unwrap_or_default(),
        decryption_keys: keys,
    }
}

/// Reads an entry, and the key that it names.
fn decryption_key(entry: &Section<'_>, directory: &Path, findings: &mut Findings) -> Option<DecryptionKey> {
    const ACCEPTED: &str = "Path, Base64Encoded";
    let source = entry.text("SourceType", findings);
    let password = entry.secret("CertificatePassword", findings);
    let password = password.map(|password| CertificatePassword::new(password.value.as_str()));
    let member = match source.as_ref().map(|source| source.value.as_str()) {
        Some(name) if name.eq_ignore_ascii_case("Path") => "CertificateDiskPath",
        Some(name) if name.eq_ignore_ascii_case("Base64Encoded") => "Base64EncodedValue",
        found => {
            let found = found.map_or_else(|| "nothing".to_owned(), quoted);
            findings.problem(entry.place_of("SourceType"), found, ACCEPTED);
            return None;
        }
    };
    let Some(value) = entry.secret(member, findings) else {
        findings.problem(
            entry.place_of(member),
            "nothing",
            "a certificate with its RSA key (PEM or PKCS#12)",
        );
        return None;
    };
    let key = match member {
        "CertificateDiskPath" => {
            DecryptionKey::from_file(&directory.join(value.value.as_str()), password.as_ref())
        }
        _ => BASE64_STANDARD
            .decode(value.value.as_bytes())
            .map_err(|_| LoadError::Damaged("base64 text"))
            .and_then(|bytes| DecryptionKey::from_bytes(&bytes, password.as_ref())),
    };
    key.map_err(|error| findings.problem(value.place, "no key that decrypts", error.to_string())).ok()
}

/// What holds where nobody says anything, by key.
pub(super) fn defaults(settings: &SidecarSettings) -> Vec<(&'static str, String)> {
    let gates = &settings.allow_overrides;
    let rate = settings.limits.rate.map_or("none".to_owned(), |_| String::new());
    vec![
        ("Sidecar:AllowOverrides:GetAuthorizationHeader", gates.authorization_header.to_string()),
        (
            "Sidecar:AllowOverrides:GetAuthorizationHeaderUnauthenticated",
            gates.authorization_header_unauthenticated.to_string(),
        ),
        ("Sidecar:AllowOverrides:CallDownstreamApi", gates.downstream_api.to_string()),
        (
            "Sidecar:AllowOverrides:CallDownstreamApiUnauthenticated",
            gates.downstream_api_unauthenticated.to_string(),
        ),
        ("Sidecar:AllowOutboundRedirects", settings.allow_outbound_redirects.to_string()),
        ("Symbolon:Sidecar:RateLimit", rate),
        ("Symbolon:Sidecar:MaxInFlight", settings.limits.max_in_flight.to_string()),
    ]
}

/// A gate under a misspelt name would silently stay as it is.
pub(super) fn refuse_unknown(section: &Section<'_>, keys: &[&str], findings: &mut Findings) {
    for name in section.names().filter(|name| !keys.iter().any(|key| key.eq_ignore_ascii_case(name))) {
        let hint = nearest(name, keys.iter().copied());
        let hint = hint.map(|key| format!(" (did you mean {key}?)")).unwrap_or_default();
        findings.problem(section.place_of(name), format!("an unknown key{hint}"), keys.join(", "));
    }
}

/// The keys of `Symbolon:Sidecar` that an application may have of its own.
pub(super) const OWN: [&str; 3] = ["MaxInFlight", "RateLimit", "ResponseHeaders"];

const GATES: [&str; 4] = [
    "GetAuthorizationHeader",
    "GetAuthorizationHeaderUnauthenticated",
    "CallDownstreamApi",
    "CallDownstreamApiUnauthenticated",
];
