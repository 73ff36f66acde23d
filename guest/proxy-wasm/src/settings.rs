//! The plugin's configuration: `AzureAd` and `DownstreamApis` in Microsoft.Identity.Web's words, `Symbolon` in our own.
//!
//! There is no place for a secret in it, and none for a key.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use symbolon_protocol::acquisition::{Absence, Acquisition, Action, Event, Found};
use symbolon_protocol::authority::{Authority, AuthorityKind};
use symbolon_protocol::cloud;
use symbolon_protocol::credential::{
    BoundUse, Certificate, CredentialError, CredentialErrorKind, CredentialKind, Description, SignedAssertion,
};
use symbolon_protocol::platform::Platform;
use symbolon_protocol::request::{
    Application, ClientFlow, Context, Flow, ManagedIdentityFlow, ManagedIdentityId, Options, Request, Scheme,
};
use x509_cert::der::Decode as _;

/// What the filter does, and for whom.
pub(crate) struct Settings {
    application: Application,
    credential: Option<Credential>,
    /// What is asked for, by the name of the API.
    apis: BTreeMap<String, Request>,
    /// Patterns of hosts, and the clusters that lead there.
    clusters: BTreeMap<String, String>,
    /// Tells this configuration from others that share the same data.
    digest: String,
}

/// How the application authenticates.
enum Credential {
    /// By a certificate that a cluster presents.
    Certificate(Description),
    /// By a token of a managed identity.
    ManagedIdentity(Description, Box<Request>),
}

/// Why a configuration can't work.
#[derive(Debug)]
pub(crate) struct ConfigurationError {
    /// Where, such as `AzureAd.ClientCredentials[0]`.
    place: String,
    /// What was found there, and what is accepted.
    problem: String,
}

impl Settings {
    /// Reads a configuration, JSON, and rehearses a request for each API: what can be known to fail fails now.
    pub(crate) fn read(json: &[u8]) -> Result<Settings, ConfigurationError> {
        let document = document(json)?;
        let credential = document.azure_ad.credential()?;
        let apis = document.downstream_apis.iter().map(|(name, api)| Ok((name.clone(), api.request(name)?)));
        let settings = Settings {
            credential,
            apis: apis.collect::<Result<_, ConfigurationError>>()?,
            application: application(document.azure_ad, &document.symbolon),
            clusters: document.symbolon.clusters,
            digest: URL_SAFE_NO_PAD.encode(Sha256::digest(json)),
        };
        if settings.apis.is_empty() {
            return Err(error(
                "DownstreamApis",
                "no API is configured; the token of each route is that of one",
            ));
        }
        for (name, request) in &settings.apis {
            settings.rehearse(request).map_err(|problem| error(format!("DownstreamApis.{name}"), problem))?;
        }
        Ok(settings)
    }

    /// What is asked for an API, if there is one of that name.
    pub(crate) fn request(&self, api: &str) -> Option<Request> {
        self.apis.get(api).cloned()
    }

    /// The registration.
    pub(crate) fn application(&self) -> Application {
        self.application.clone()
    }

    /// The credential, if there is one.
    pub(crate) fn describe(&self) -> Result<Description, CredentialError> {
        match &self.credential {
            Some(Credential::Certificate(description) | Credential::ManagedIdentity(description, _)) => {
                Ok(description.clone())
            }
            None => Err(credential_error(
                CredentialErrorKind::NotConfigured,
                "AzureAd.ClientCredentials is empty; give the certificate that a cluster presents, or a managed identity.",
            )),
        }
    }

    /// What brings the token that stands in for the credential's assertion.
    pub(crate) fn assertion_request(&self) -> Option<Request> {
        match &self.credential {
            Some(Credential::ManagedIdentity(_, request)) => Some((**request).clone()),
            _ => None,
        }
    }

    /// The cluster that leads to a host, with its port where it isn't the scheme's own: that of the host, or of its domain.
    pub(crate) fn cluster(&self, host: &str) -> Option<&str> {
        let host = host.to_ascii_lowercase();
        let of_domain = || self.clusters.get(&format!("*.{}", host.split_once('.')?.1));
        self.clusters.get(&host).or_else(of_domain).map(String::as_str)
    }

    /// Tells this configuration from every other one.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// Goes through an acquisition up to its first request.
    fn rehearse(&self, request: &Request) -> Result<(), String> {
        let context = Context {
            application: self.application(),
            now: 0,
            deadline: 1,
            seed: [0; 4],
            proactive_refresh: false,
        };
        let (mut acquisition, mut action) =
            Acquisition::start(request.clone(), &context).map_err(|error| error.to_string())?;
        loop {
            action = acquisition.handle(match action {
                Action::Find(_) => Event::Found(Found::Lead { absence: Absence::Absent, now: 0 }),
                Action::Recall(_) => Event::Recalled(None),
                Action::DescribePlatform => Event::Platform(Platform::default()),
                Action::Select(_) => Event::Selected(self.describe()),
                Action::Assert(_) => {
                    if let Some(request) = self.assertion_request() {
                        self.rehearse(&request)?;
                    }
                    Event::Asserted(Ok(SignedAssertion { assertion: "rehearsed".into(), bound: false }))
                }
                Action::Sign { .. } => Event::Signed(Err(no_key())),
                Action::SelectIssued => Event::Issued(None),
                Action::RequestCertificate(_) => Event::CertificateRequested(Err(no_key())),
                Action::Fail(_) => Event::Failed,
                Action::Send(request) => {
                    return self
                        .cluster(&request.authority)
                        .map(|_| ())
                        .ok_or_else(|| no_cluster(&request.authority));
                }
                Action::Finish(Err(error)) => return Err(error.to_string()),
                _ => return Ok(()),
            });
        }
    }
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// What is said where the core asks for a key, or for what only a secret opens.
pub(crate) fn no_key() -> CredentialError {
    credential_error(
        CredentialErrorKind::Unsupported,
        "The filter holds no key and no secret; what needs one can't be done here.",
    )
}

/// What is said of a host that no cluster leads to.
pub(crate) fn no_cluster(host: &str) -> String {
    format!("no cluster leads to {host}; name one in Symbolon.Clusters")
}

fn document(json: &[u8]) -> Result<Document, ConfigurationError> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let document =
        serde_path_to_error::deserialize(&mut reader).map_err(|found| match found.path().to_string() {
            path if path == "." => error(WHOLE, found.inner().to_string()),
            path => error(path, found.inner().to_string()),
        })?;
    reader.end().map_err(|found| error(WHOLE, found.to_string()))?;
    Ok(document)
}

fn application(azure_ad: AzureAd, symbolon: &Symbolon) -> Application {
    let join = |instance: &str| {
        let tenant = azure_ad.tenant_id.as_deref().unwrap_or("organizations");
        format!("{}/{tenant}", instance.trim_end_matches('/'))
    };
    let authority = azure_ad.authority.clone().or_else(|| azure_ad.instance.as_deref().map(join));
    Application {
        client_id: azure_ad.client_id.unwrap_or_default(),
        authority: authority.unwrap_or_default(),
        azure_region: azure_ad.azure_region,
        client_capabilities: azure_ad.client_capabilities,
        authority_type: symbolon.authority_type.map(AuthorityType::kind),
        token_endpoint_auth_method: symbolon.token_endpoint_auth_method.clone(),
        ..Application::default()
    }
}

/// The configuration as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Document {
    #[serde(default)]
    azure_ad: AzureAd,
    downstream_apis: BTreeMap<String, Api>,
    symbolon: Symbolon,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct AzureAd {
    instance: Option<String>,
    tenant_id: Option<String>,
    authority: Option<String>,
    client_id: Option<String>,
    azure_region: Option<String>,
    client_capabilities: Vec<String>,
    client_credentials: Vec<ClientCredential>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ClientCredential {
    source_type: SourceType,
    base64_encoded_value: Option<String>,
    #[serde(default)]
    use_bound_credential: bool,
    #[serde(default)]
    omit_assertion_when_bound: bool,
    managed_identity_client_id: Option<String>,
    token_exchange_url: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
enum SourceType {
    Base64Encoded,
    SignedAssertionFromManagedIdentity,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Api {
    scopes: Vec<String>,
    #[serde(default)]
    protocol_scheme: ProtocolScheme,
    request_app_token: Option<bool>,
    #[serde(default)]
    acquire_token_options: AcquireTokenOptions,
}

#[derive(Clone, Copy, Default, Deserialize)]
enum ProtocolScheme {
    #[default]
    Bearer,
    #[serde(rename = "MTLS_POP")]
    MtlsPop,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct AcquireTokenOptions {
    tenant: Option<String>,
    fmi_path: Option<String>,
    managed_identity: Option<ManagedIdentity>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct ManagedIdentity {
    user_assigned_client_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Symbolon {
    clusters: BTreeMap<String, String>,
    authority_type: Option<AuthorityType>,
    token_endpoint_auth_method: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
enum AuthorityType {
    Aad,
    B2C,
    Ciam,
    Adfs,
    Dsts,
    Oidc,
}

impl AzureAd {
    fn credential(&self) -> Result<Option<Credential>, ConfigurationError> {
        match self.client_credentials.as_slice() {
            [] => Ok(None),
            [credential] => credential.read(self).map(Some).map_err(|problem| error(CREDENTIAL, problem)),
            several => {
                let found = format!("{} credentials; the filter takes one", several.len());
                Err(error("AzureAd.ClientCredentials", found))
            }
        }
    }

    fn host(&self) -> Option<String> {
        let url = self.authority.as_deref().or(self.instance.as_deref())?;
        let authority = Authority::parse(&format!("{}/x", url.trim_end_matches('/'))).ok()?;
        Some(authority.host().to_owned())
    }
}

impl ClientCredential {
    fn read(&self, azure_ad: &AzureAd) -> Result<Credential, String> {
        match self.source_type {
            SourceType::Base64Encoded => self.certificate().map(Credential::Certificate),
            SourceType::SignedAssertionFromManagedIdentity => {
                let known = || cloud::token_exchange_audience(&azure_ad.host()?).map(str::to_owned);
                let audience = self.token_exchange_url.clone().or_else(known).ok_or(
                    "TokenExchangeUrl is missing, and no cloud is known by the authority; such as \
                     api://AzureADTokenExchange",
                )?;
                let identity = identity(self.managed_identity_client_id.clone());
                let request = request(identity, vec![cloud::exchange_scope(&audience)]);
                Ok(Credential::ManagedIdentity(
                    self.description(CredentialKind::SignedAssertion, None),
                    Box::new(request),
                ))
            }
        }
    }

    /// The public half alone: the private key is the cluster's.
    fn certificate(&self) -> Result<Description, String> {
        if !(self.use_bound_credential && self.omit_assertion_when_bound) {
            return Err(
                "a certificate signs nothing here, for the filter has no key; set UseBoundCredential and \
                        OmitAssertionWhenBound, and let a cluster present it"
                    .into(),
            );
        }
        let text =
            self.base64_encoded_value.as_deref().ok_or("Base64EncodedValue is missing: the certificate")?;
        let der = STANDARD
            .decode(text.trim())
            .map_err(|found| format!("Base64EncodedValue isn't base64: {found}"))?;
        let certificate = x509_cert::Certificate::from_der(&der).map_err(|found| {
            format!(
                "Base64EncodedValue isn't a certificate in DER ({found}); give it without its key, which stays with the \
                 cluster"
            )
        })?;
        let certificate = Certificate {
            thumbprint_sha256: URL_SAFE_NO_PAD.encode(Sha256::digest(&der)),
            // Only assertions name it.
            thumbprint_sha1: String::new(),
            not_after: certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs(),
            algorithms: Vec::new(),
            chain: vec![der],
        };
        Ok(self.description(CredentialKind::Certificate, Some(certificate)))
    }

    fn description(&self, kind: CredentialKind, certificate: Option<Certificate>) -> Description {
        Description {
            name: CREDENTIAL.into(),
            kind,
            use_bound: if self.use_bound_credential { BoundUse::Required } else { BoundUse::Unspecified },
            omit_assertion_when_bound: self.omit_assertion_when_bound,
            certificate,
        }
    }
}

impl Api {
    fn request(&self, name: &str) -> Result<Request, ConfigurationError> {
        if self.request_app_token == Some(false) {
            let problem = "false: a user's token; the filter gets the application's own";
            return Err(error(format!("DownstreamApis.{name}.RequestAppToken"), problem));
        }
        let options = &self.acquire_token_options;
        let flow = match &options.managed_identity {
            Some(of) => identity(of.user_assigned_client_id.clone()),
            None => {
                Flow::ForClient(ClientFlow { fmi_path: options.fmi_path.clone(), ..ClientFlow::default() })
            }
        };
        Ok(Request {
            scheme: match self.protocol_scheme {
                ProtocolScheme::Bearer => Scheme::Bearer,
                ProtocolScheme::MtlsPop => Scheme::MtlsPop,
            },
            options: Options { tenant_id: options.tenant.clone(), ..Options::default() },
            ..request(flow, self.scopes.clone())
        })
    }
}

impl AuthorityType {
    fn kind(self) -> AuthorityKind {
        match self {
            AuthorityType::Aad => AuthorityKind::Aad,
            AuthorityType::B2C => AuthorityKind::B2c,
            AuthorityType::Ciam => AuthorityKind::Ciam,
            AuthorityType::Adfs => AuthorityKind::Adfs,
            AuthorityType::Dsts => AuthorityKind::Dsts,
            AuthorityType::Oidc => AuthorityKind::Oidc,
        }
    }
}

fn identity(client_id: Option<String>) -> Flow {
    let identity = client_id.map_or(ManagedIdentityId::SystemAssigned, ManagedIdentityId::ClientId);
    Flow::ForManagedIdentity(ManagedIdentityFlow { identity })
}

fn request(flow: Flow, scopes: Vec<String>) -> Request {
    Request { flow, scopes, scheme: Scheme::Bearer, options: Options::default() }
}

fn credential_error(kind: CredentialErrorKind, message: &str) -> CredentialError {
    CredentialError { kind, message: message.into(), retry_after_ms: None }
}

fn error(place: impl Into<String>, problem: impl Into<String>) -> ConfigurationError {
    ConfigurationError { place: place.into(), problem: problem.into() }
}

const WHOLE: &str = "the configuration";

const CREDENTIAL: &str = "AzureAd.ClientCredentials[0]";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Of an application that proves itself by a certificate, for one API.
    fn configuration() -> Value {
        json!({
            "AzureAd": {
                "Instance": "https://login.microsoftonline.com/",
                "TenantId": "contoso.com",
                "ClientId": "6731de76-14a6-49ae-97bc-6eba6914391e",
                "ClientCredentials": [{
                    "SourceType": "Base64Encoded",
                    "Base64EncodedValue": CERTIFICATE,
                    "UseBoundCredential": true,
                    "OmitAssertionWhenBound": true,
                }],
            },
            "DownstreamApis": { "orders": { "Scopes": ["https://graph.microsoft.com/.default"] } },
            "Symbolon": { "Clusters": { "mtlsauth.microsoft.com": "entra_mtls" } },
        })
    }

    fn read(change: impl FnOnce(&mut Value)) -> Result<Settings, String> {
        let mut configuration = configuration();
        change(&mut configuration);
        Settings::read(configuration.to_string().as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_certificate_is_known_by_its_digest() {
        let settings = read(|_| ()).unwrap();
        let description = settings.describe().unwrap();
        assert_eq!(description.thumbprint(), Some("2Gl2NF-EoRG8QyGpCiNGvkUSVqrjknPLXVjVWoGUjrc"));
        assert!(description.binds_connections() && description.omit_assertion_when_bound);
        let request = settings.request("orders").unwrap();
        assert_eq!(request.scopes, ["https://graph.microsoft.com/.default"]);
        assert!(settings.request("invoices").is_none());
        let other = read(|it| it["AzureAd"]["ClientCapabilities"] = json!(["cp1"])).unwrap();
        assert_ne!(settings.digest(), other.digest(), "they share no tokens");
    }

    #[test]
    fn a_cluster_leads_to_a_host_or_to_all_of_a_domain() {
        let settings = read(|it| {
            it["Symbolon"]["Clusters"] = json!({ "MTLSauth.microsoft.com": "upper", "mtlsauth.microsoft.com": "one", "*.mtlsauth.microsoft.com": "all" });
        });
        let settings = settings.unwrap();
        assert_eq!(settings.cluster("MtlsAuth.microsoft.com"), Some("one"));
        assert_eq!(settings.cluster("westus2.mtlsauth.microsoft.com"), Some("all"));
        assert_eq!(settings.cluster("a.westus2.mtlsauth.microsoft.com"), None);
        assert_eq!(settings.cluster("microsoft.com"), None);
        assert_eq!(settings.cluster("localhost"), None);
    }

    #[test]
    fn a_managed_identity_needs_no_application() {
        let settings = read(|it| {
            it["AzureAd"] = json!({});
            it["DownstreamApis"]["orders"]["AcquireTokenOptions"] = json!({ "ManagedIdentity": {} });
            it["Symbolon"]["Clusters"] = json!({ "169.254.169.254": "imds" });
        });
        assert!(settings.is_ok(), "{:?}", settings.err());
    }

    #[test]
    fn a_managed_identity_vouches_for_an_application_of_a_known_cloud() {
        let change = |instance: &'static str| {
            move |it: &mut Value| {
                it["AzureAd"]["Instance"] = instance.into();
                it["AzureAd"]["ClientCredentials"] =
                    json!([{ "SourceType": "SignedAssertionFromManagedIdentity" }]);
                it["Symbolon"]["Clusters"] = json!({
                    "169.254.169.254": "imds",
                    "login.microsoftonline.us": "entra",
                    "login.contoso.test": "other",
                });
            }
        };
        let settings = read(change("https://login.microsoftonline.us")).unwrap();
        let request = settings.assertion_request().unwrap();
        assert_eq!(request.scopes, ["api://AzureADTokenExchangeUSGov/.default"]);
        let error = read(change("https://login.contoso.test")).err().unwrap();
        assert!(error.starts_with("AzureAd.ClientCredentials[0]: TokenExchangeUrl is missing"), "{error}");
    }

    #[test]
    fn what_cannot_work_is_said_with_its_place() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str); 15] = [
            (|it| *it = json!(1), "the configuration: invalid type: integer `1`"),
            (
                |it| it["AzureAD"] = json!({}),
                "AzureAD: unknown field `AzureAD`, expected one of `AzureAd`, `DownstreamApis`",
            ),
            (
                |it| it["AzureAd"]["ClientSecret"] = "s".into(),
                "AzureAd.ClientSecret: unknown field `ClientSecret`, expected one of",
            ),
            (
                |it| it["AzureAd"]["ClientCredentials"][0]["SourceType"] = "ClientSecret".into(),
                "AzureAd.ClientCredentials[0].SourceType: unknown variant `ClientSecret`, expected `Base64Encoded` or",
            ),
            (
                |it| {
                    it["AzureAd"]["ClientCredentials"] =
                        json!([it["AzureAd"]["ClientCredentials"][0], it["AzureAd"]["ClientCredentials"][0]])
                },
                "AzureAd.ClientCredentials: 2 credentials; the filter takes one",
            ),
            (
                |it| it["AzureAd"]["ClientCredentials"][0]["UseBoundCredential"] = false.into(),
                "AzureAd.ClientCredentials[0]: a certificate signs nothing here",
            ),
            (
                |it| it["AzureAd"]["ClientCredentials"][0]["Base64EncodedValue"] = "%".into(),
                "AzureAd.ClientCredentials[0]: Base64EncodedValue isn't base64",
            ),
            // What a PKCS#12 file begins with.
            (
                |it| it["AzureAd"]["ClientCredentials"][0]["Base64EncodedValue"] = "MIIKJAIBAzCC".into(),
                "AzureAd.ClientCredentials[0]: Base64EncodedValue isn't a certificate in DER",
            ),
            (|it| it["DownstreamApis"] = json!({}), "DownstreamApis: no API is configured"),
            (
                |it| it["DownstreamApis"]["orders"]["Scopes"] = json!([]),
                "DownstreamApis.orders: No scope is given",
            ),
            (
                |it| it["DownstreamApis"]["orders"]["Scopes"] = "s".into(),
                "DownstreamApis.orders.Scopes: invalid type: string",
            ),
            (
                |it| it["DownstreamApis"]["orders"]["RequestAppToken"] = false.into(),
                "DownstreamApis.orders.RequestAppToken: false: a user's token",
            ),
            (|it| it["AzureAd"]["Instance"] = "login".into(), "DownstreamApis.orders: "),
            (
                |it| it["AzureAd"]["ClientCredentials"] = json!([]),
                "DownstreamApis.orders: AzureAd.ClientCredentials is empty",
            ),
            (
                |it| it["Symbolon"]["Clusters"] = json!({}),
                "DownstreamApis.orders: no cluster leads to mtlsauth.microsoft.com; name one in Symbolon.Clusters",
            ),
        ];
        for (change, expected) in cases {
            let error = read(change).err().unwrap_or_default();
            assert!(error.starts_with(expected), "{error:?} instead of {expected:?}");
        }
    }

    #[test]
    fn a_bound_token_needs_a_directory() {
        let error = read(|it| {
            it["AzureAd"]["TenantId"] = "organizations".into();
            it["DownstreamApis"]["orders"]["ProtocolScheme"] = "MTLS_POP".into();
        });
        assert!(
            error.err().unwrap().contains("Tokens bound to a certificate need an authority with a tenant")
        );
    }

    /// A certificate on P-256, CN=envoy.
    const CERTIFICATE: &str = concat!(
        "MIIBdjCCAR2gAwIBAgIUNmFax6kdbGEPM6t/g5VtlLT7ZMIwCgYIKoZIzj0EAwIwEDEOMAwGA1UEAwwFZW52b3kwIBcNMjYxMTIy",
        "MTIzODA4WhgPMjEyNjEwMjkxMjM4MDhaMBAxDjAMBgNVBAMMBWVudm95MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAv/DGvcO",
        "45TjRizIqyR4eumlXISKaggTGupTR2EpM+drhcMu+trodP4LmdX2AfXBRfWdvQw/TeTil4z/iWBM/KNTMFEwHQYDVR0OBBYEFLPg",
        "VpOUMsG9x123mQk801fmD9/cMB8GA1UdIwQYMBaAFLPgVpOUMsG9x123mQk801fmD9/cMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZI",
        "zj0EAwIDRwAwRAIgMTqLfA0RfCVrOJ3+1TqokvoxoSnxoLfL1rzP5Bg24HsCICe9VPivzT7+m6QWFDBznpjeccjjRoWbd1vrbed4",
        "lwDB",
    );
}
