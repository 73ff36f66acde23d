//! Certificates with their keys in Azure Key Vault, through its REST API.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use base64::{alphabet, engine};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Deserializer};
use tokio::time::{Instant, sleep};
use url::Url;
use zeroize::Zeroizing;

use super::assertion::SignedAssertion;
use super::binding::Binding;
use super::egress::EgressPolicy;
use super::error::{KeyVaultProblem, LoadError};
use super::secret::ClientSecret;
use crate::configuration::ApplicationOptions;
use crate::transport::{
    Place, Presentation, Transport, TransportOptions, TransportOptionsError, TransportShared,
};

/// Which certificate of which vault is meant, and who opens it.
#[derive(Debug, Clone)]
pub(crate) struct KeyVaultCertificate {
    vault: Url,
    name: String,
    version: Option<String>,
    pub(crate) identity: VaultIdentity,
}

/// Whose token opens a vault.
#[derive(Debug, Clone)]
pub(crate) enum VaultIdentity {
    /// That of a managed identity; `None` is the system-assigned one.
    ManagedIdentity(Option<String>),
    /// That of the application of a section of the same configuration.
    Section(String),
    /// That of the workload that the environment describes.
    Workload(Arc<ApplicationOptions>),
}

impl KeyVaultCertificate {
    /// `None` when the URL isn't `https://host` or the name isn't `name` or `name/version`, of letters, digits and hyphens.
    pub(crate) fn new(url: &str, certificate: &str, identity: VaultIdentity) -> Option<Self> {
        let vault = Url::parse(url).ok()?;
        let bare = vault.username().is_empty()
            && vault.password().is_none()
            && vault.query().is_none()
            && vault.fragment().is_none()
            && vault.path() == "/";
        let (name, version) = match certificate.split_once('/') {
            Some((name, version)) => (name, Some(version)),
            None => (certificate, None),
        };
        let names_are_good = is_name(name) && version.is_none_or(is_name);
        (vault.scheme() == "https" && bare && names_are_good).then(|| Self {
            vault,
            name: name.to_owned(),
            version: version.map(str::to_owned),
            identity,
        })
    }

    /// What a token for the vault is for: the service that the vault's host is in.
    pub(super) fn resource(&self) -> String {
        let host = self.vault.host_str().unwrap_or_default();
        let service = SERVICES.iter().find(|service| {
            host.strip_suffix(*service).is_some_and(|vault| vault.ends_with('.') && vault.len() > 1)
        });
        let parent = || host.split_once('.').map_or(host, |(_, parent)| parent);
        format!("https://{}", service.copied().unwrap_or_else(parent))
    }

    fn certificate_url(&self) -> String {
        let version = self.version.as_deref().map(|version| format!("/{version}")).unwrap_or_default();
        format!("{}certificates/{}{version}?api-version={API_VERSION}", self.vault, self.name)
    }

    /// The secret's place is the certificate's own, whatever host the identifier names: the token goes to this vault only.
    fn secret_url(&self, identifier: &str) -> Result<String, KeyVaultProblem> {
        let identifier = Url::parse(identifier).map_err(|_| KeyVaultProblem::SecretId)?;
        let segments: Vec<_> = identifier.path_segments().into_iter().flatten().collect();
        match segments.as_slice() {
            ["secrets", name, version]
                if identifier.host_str() == self.vault.host_str() && is_name(name) && is_name(version) =>
            {
                Ok(format!("{}secrets/{name}/{version}?api-version={API_VERSION}", self.vault))
            }
            _ => Err(KeyVaultProblem::SecretId),
        }
    }
}

impl fmt::Display for KeyVaultCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.vault, self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, "/{version}"))
    }
}

/// The way to one vault, and nowhere else.
pub(super) struct Vault<'a> {
    certificate: &'a KeyVaultCertificate,
    transport: Transport,
}

/// What a look into the vault gave.
pub(super) enum Look {
    /// The version that was known already.
    Same,
    New {
        version: String,
        certificate: Arc<Binding>,
    },
}

/// Why a look gave nothing.
pub(super) enum LookError {
    /// The token was refused, with these claims to satisfy.
    Unauthorized(Option<String>),
    Other(LoadError),
}

impl From<KeyVaultProblem> for LookError {
    fn from(problem: KeyVaultProblem) -> Self {
        Self::Other(LoadError::KeyVault(problem))
    }
}

impl<'a> Vault<'a> {
    pub(super) fn new(
        certificate: &'a KeyVaultCertificate,
        shared: &TransportShared,
        options: &TransportOptions,
    ) -> Result<Self, TransportOptionsError> {
        let host = certificate.vault.host_str().unwrap_or_default();
        let port = certificate.vault.port_or_known_default().unwrap_or(443);
        let policy = Arc::new(EgressPolicy::new([(host, port)], None));
        Ok(Self { certificate, transport: Transport::new(shared, policy, options)? })
    }

    /// Fetches the certificate, and its key where the version isn't the `known` one.
    pub(super) async fn look(
        &self,
        token: &SignedAssertion,
        known: Option<&str>,
        deadline: Instant,
    ) -> Result<Look, LookError> {
        let answer = self.get(self.certificate.certificate_url(), CERTIFICATE, token, deadline).await?;
        let bundle: Bundle = parse(&answer, "not the certificate's JSON")?;
        if bundle.attributes.enabled == Some(false) {
            return Err(KeyVaultProblem::Disabled.into());
        }
        if bundle.policy.key_props.exportable == Some(false) {
            return Err(KeyVaultProblem::NotExportable.into());
        }
        if known == Some(bundle.id.as_str()) {
            return Ok(Look::Same);
        }
        let url = self.certificate.secret_url(&bundle.sid)?;
        let answer = self.get(url, KEY, token, deadline).await?;
        let secret: Secret = parse(&answer, "not the secret's JSON")?;
        let certificate = secret.certificate().map_err(LookError::Other)?;
        Ok(Look::New { version: bundle.id, certificate: Arc::new(certificate) })
    }

    /// Fetches a secret of the certificate's name, as it is.
    #[cfg_attr(
        not(any(feature = "redis", feature = "redb")),
        allow(unused, reason = "of use to stores only")
    )]
    pub(super) async fn secret(
        &self,
        token: &SignedAssertion,
        deadline: Instant,
    ) -> Result<Zeroizing<String>, LookError> {
        let KeyVaultCertificate { vault, name, version, .. } = self.certificate;
        let version = version.as_deref().map(|version| format!("/{version}")).unwrap_or_default();
        let url = format!("{vault}secrets/{name}{version}?api-version={API_VERSION}");
        let answer = self.get(url, SECRET, token, deadline).await?;
        let secret: Secret = parse(&answer, "not the secret's JSON")?;
        Ok(secret.value)
    }

    /// The body of a good answer, after up to two more attempts.
    async fn get(
        &self,
        url: String,
        what: &'static str,
        token: &SignedAssertion,
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, LookError> {
        let mut pauses = RETRY_PAUSES.into_iter();
        loop {
            let problem = match self.attempt(&url, what, token, deadline).await {
                Err(LookError::Other(LoadError::KeyVault(problem))) => problem,
                other => return other,
            };
            let asked = match &problem {
                KeyVaultProblem::Unreachable(_) => None,
                KeyVaultProblem::Answer { status, retry_after, .. } if is_temporary(*status) => *retry_after,
                _ => return Err(problem.into()),
            };
            let pause = pauses.next().map(|pause| asked.unwrap_or(pause));
            match pause.filter(|pause| *pause <= MAX_PAUSE && Instant::now() + *pause < deadline) {
                Some(pause) => sleep(pause).await,
                None => return Err(problem.into()),
            }
        }
    }

    async fn attempt(
        &self,
        url: &str,
        what: &'static str,
        token: &SignedAssertion,
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, LookError> {
        let request = Request::get(url)
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(AUTHORIZATION, HeaderValue::from_static(""))
            .body(Bytes::new())
            .map_err(|_| KeyVaultProblem::Malformed("not a URL"))?;
        let authorization = ClientSecret::new(format!("Bearer {}", token.expose()));
        let secret = Some((Place::Header(AUTHORIZATION.as_str().to_owned()), authorization));
        let unreachable = |error: &dyn fmt::Display| KeyVaultProblem::Unreachable(error.to_string());
        let response = self
            .transport
            .send(request, Presentation { certificate: None, secret }, deadline)
            .await
            .map_err(|error| unreachable(&error))?;
        let (head, mut body) = response.into_parts();
        let mut bytes = Zeroizing::new(Vec::with_capacity(EXPECTED_BODY));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| unreachable(&error))?;
            bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
        match head.status.as_u16() {
            200 => Ok(bytes),
            401 => Err(LookError::Unauthorized(claims(&head.headers))),
            status => {
                let retry_after = retry_after(&head.headers);
                let code = error_code(&bytes);
                Err(KeyVaultProblem::Answer { what, status, code, retry_after }.into())
            }
        }
    }
}

/// When to look for a new version, in milliseconds from now: every hour, more often where certificates don't live long.
/// Vaults renew with a good part of a certificate's life left.
pub(super) fn look_again_after_ms(certificate: &Binding) -> u64 {
    let lifetime_ms =
        certificate.not_after_unix().saturating_sub(certificate.not_before_unix()).saturating_mul(1000);
    (lifetime_ms / 20).clamp(60_000, 3_600_000)
}

#[derive(Deserialize)]
struct Bundle {
    id: String,
    sid: String,
    #[serde(default)]
    attributes: Attributes,
    #[serde(default)]
    policy: Policy,
}

#[derive(Deserialize, Default)]
struct Attributes {
    enabled: Option<bool>,
}

#[derive(Deserialize, Default)]
struct Policy {
    #[serde(default)]
    key_props: KeyProperties,
}

#[derive(Deserialize, Default)]
struct KeyProperties {
    exportable: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Secret {
    #[serde(deserialize_with = "wiped_on_drop")]
    value: Zeroizing<String>,
    #[serde(default)]
    content_type: String,
}

fn wiped_on_drop<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

impl Secret {
    fn certificate(&self) -> Result<Binding, LoadError> {
        match self.content_type.as_str() {
            "application/x-pkcs12" => {
                let malformed = |_| LoadError::KeyVault(KeyVaultProblem::Malformed("a key not in base64"));
                let bytes =
                    BASE64_STANDARD.decode(self.value.trim()).map(Zeroizing::new).map_err(malformed)?;
                Binding::from_bytes(&bytes, None)
            }
            "application/x-pem-file" => Binding::from_bytes(self.value.as_bytes(), None),
            other => Err(LoadError::KeyVault(KeyVaultProblem::ContentType(other.chars().take(80).collect()))),
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &'static str) -> Result<T, KeyVaultProblem> {
    serde_json::from_slice(bytes).map_err(|_| KeyVaultProblem::Malformed(what))
}

fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=504)
}

/// `Retry-After` in seconds; Key Vault sends no dates.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn error_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Envelope {
        error: Problem,
    }
    #[derive(Deserialize)]
    struct Problem {
        code: String,
    }
    let Envelope { error } = serde_json::from_slice(body).ok()?;
    Some(error.code).filter(|code| is_name(code))
}

/// The claims challenge of a `WWW-Authenticate` header, decoded.
fn claims(headers: &HeaderMap) -> Option<String> {
    const ANY: GeneralPurposeConfig = engine::general_purpose::NO_PAD
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    headers.get_all(WWW_AUTHENTICATE).iter().find_map(|challenge| {
        let challenge = challenge.to_str().ok()?;
        let start = challenge.to_ascii_lowercase().find("claims=\"")? + "claims=\"".len();
        let encoded = challenge.get(start..)?.split('"').next()?;
        let decoded = GeneralPurpose::new(&alphabet::STANDARD, ANY)
            .decode(encoded.replace('-', "+").replace('_', "/"))
            .ok()?;
        String::from_utf8(decoded).ok()
    })
}

/// What names and versions in a vault are made of, and so a segment of a path that needs no encoding.
fn is_name(text: &str) -> bool {
    (1..=127).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

const API_VERSION: &str = "7.4";

const CERTIFICATE: &str = "the certificate";
#[cfg_attr(not(any(feature = "redis", feature = "redb")), allow(unused, reason = "of use to stores only"))]
const SECRET: &str = "the secret";

const KEY: &str = "its key";

/// The hosts under which clouds keep their vaults, which are also what tokens for them are for.
const SERVICES: [&str; 4] =
    ["vault.azure.net", "vault.azure.cn", "vault.usgovcloudapi.net", "vault.microsoftazure.de"];

/// A certificate with its chain and key in base64 is about this long, in bytes.
const EXPECTED_BODY: usize = 16 * 1024;

const RETRY_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// Who asks for a longer pause gets it from the entry, which others can stand in for meanwhile.
const MAX_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(url: &str, name: &str) -> Option<KeyVaultCertificate> {
        KeyVaultCertificate::new(url, name, VaultIdentity::ManagedIdentity(None))
    }

    #[test]
    fn a_vault_is_an_https_host_and_a_certificate_a_name() {
        for (url, name, shown) in [
            ("https://v.vault.azure.net", "daemon", Some("https://v.vault.azure.net/daemon")),
            ("https://V.vault.azure.net/", "daemon/0a1b", Some("https://v.vault.azure.net/daemon/0a1b")),
            ("http://v.vault.azure.net", "daemon", None),
            ("https://v.vault.azure.net/certificates", "daemon", None),
            ("https://u@v.vault.azure.net", "daemon", None),
            ("https://v.vault.azure.net?x", "daemon", None),
            ("v.vault.azure.net", "daemon", None),
            ("https://v.vault.azure.net", "", None),
            ("https://v.vault.azure.net", "a/b/c", None),
            ("https://v.vault.azure.net", "../secrets/x", None),
            ("https://v.vault.azure.net", "a/", None),
        ] {
            assert_eq!(certificate(url, name).map(|c| c.to_string()).as_deref(), shown, "{url} {name}");
        }
    }

    #[test]
    fn a_token_is_for_the_service_that_the_vault_is_in() {
        for (url, resource) in [
            ("https://v.vault.azure.net", "https://vault.azure.net"),
            ("https://v.vault.azure.cn", "https://vault.azure.cn"),
            ("https://a.b.vault.usgovcloudapi.net", "https://vault.usgovcloudapi.net"),
            ("https://evilvault.azure.net", "https://azure.net"),
            ("https://v.vaults.contoso.test", "https://vaults.contoso.test"),
        ] {
            assert_eq!(certificate(url, "c").unwrap().resource(), resource);
        }
    }

    #[test]
    fn a_key_is_fetched_from_the_same_vault_only() {
        let certificate = certificate("https://v.vault.azure.net", "c").unwrap();
        assert_eq!(
            certificate.secret_url("https://v.vault.azure.net/secrets/c/01").unwrap(),
            "https://v.vault.azure.net/secrets/c/01?api-version=7.4"
        );
        for identifier in [
            "https://w.vault.azure.net/secrets/c/01",
            "https://v.vault.azure.net/secrets/c",
            "https://v.vault.azure.net/secrets/c/01/x",
            "https://v.vault.azure.net/keys/c/01",
            "https://v.vault.azure.net/secrets/c%2f/01",
            "secrets/c/01",
        ] {
            let error = certificate.secret_url(identifier).unwrap_err();
            assert_eq!(LoadError::KeyVault(error).identity_web_code(), Some("IDW10702"), "{identifier}");
        }
    }

    #[test]
    fn claims_are_read_from_a_challenge() {
        let header = |value: &str| {
            let value = HeaderValue::from_str(value).unwrap();
            claims(&HeaderMap::from_iter([(WWW_AUTHENTICATE, value)]))
        };
        let encoded = BASE64_STANDARD.encode(r#"{"access_token":{"nbf":{"essential":true}}}"#);
        let challenge = format!("Bearer error=\"insufficient_claims\", Claims=\"{encoded}\"");
        assert_eq!(header(&challenge).as_deref(), Some(r#"{"access_token":{"nbf":{"essential":true}}}"#));
        assert_eq!(header("Bearer resource=\"https://vault.azure.net\""), None);
        assert_eq!(header("Bearer claims=\"%%\""), None);
    }
}
