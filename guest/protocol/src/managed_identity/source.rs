//! The sources of managed identities: how each is recognised, and how it is asked.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Question;
use crate::credential::{Place, Presentation};
use crate::error::{Error, ErrorKind};
use crate::form::{CONTENT_TYPE, Form};
use crate::platform::{
    AZURE_POD_IDENTITY_AUTHORITY_HOST, DEFAULT_IDENTITY_CLIENT_ID, IDENTITY_ENDPOINT, IDENTITY_HEADER,
    IDENTITY_SERVER_THUMBPRINT, IMDS_ENDPOINT, MSI_ENDPOINT, MSI_SECRET, Platform,
};
use crate::request::ManagedIdentityId;
use crate::token_request::{HttpRequest, Method, UrlScheme, push_parameter, push_query};
use crate::url::push_percent_encoded;

/// Who gives the platform's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    AppService,
    ServiceFabric,
    MachineLearning,
    CloudShell,
    AzureArc,
    /// The instance metadata service of virtual machines.
    Imds,
}

impl Source {
    /// The first that the platform looks like, in MSAL's order. Without any sign it is the instance metadata service.
    pub(super) fn detect(platform: &Platform) -> Source {
        let has = |name| platform.has(name);
        match (has(IDENTITY_ENDPOINT), has(MSI_ENDPOINT)) {
            (true, _) if has(IDENTITY_HEADER) && has(IDENTITY_SERVER_THUMBPRINT) => Source::ServiceFabric,
            (true, _) if has(IDENTITY_HEADER) => Source::AppService,
            (_, true) if has(MSI_SECRET) => Source::MachineLearning,
            (_, true) => Source::CloudShell,
            (true, _) if has(IMDS_ENDPOINT) => Source::AzureArc,
            _ if platform.has_arc_agent => Source::AzureArc,
            _ => Source::Imds,
        }
    }

    /// The variable with the secret that the source wants to see.
    pub(super) fn secret(self) -> Option<&'static str> {
        match self {
            Source::AppService | Source::ServiceFabric => Some(IDENTITY_HEADER),
            Source::MachineLearning => Some(MSI_SECRET),
            Source::CloudShell | Source::AzureArc | Source::Imds => None,
        }
    }

    /// The request, without its time limits.
    ///
    /// # Errors
    ///
    /// An endpoint that isn't a URL, an identity that the source doesn't give tokens for.
    pub(super) fn request(self, question: &Question, platform: &Platform) -> Result<HttpRequest, Error> {
        let Endpoint { scheme, authority, path } = self.endpoint(platform)?;
        let mut path_with_query = path.to_owned();
        let mut form = Form::new();
        let mut set =
            |name: &str, value: &str| push_parameter(&mut path_with_query, name, value, push_percent_encoded);
        match self.api_version() {
            Some(version) => {
                set("api-version", version);
                set("resource", &question.resource);
            }
            None => form.set("resource", &question.resource),
        }
        if let Some((name, id)) = self.identity(&question.identity, platform)? {
            set(name, id);
        }
        if self == Source::ServiceFabric {
            if !question.capabilities.is_empty() {
                set("xms_cc", &question.capabilities.join(","));
            }
            if let Some(hash) = &question.refused_token {
                set("token_sha256_to_refresh", hash);
            }
        }
        push_query(&mut path_with_query, &question.query, &question.encoded_query);
        let secret = self.secret_header().map(|name| Place::Header(name.to_string()));
        Ok(HttpRequest {
            method: if self == Source::CloudShell { Method::Post } else { Method::Get },
            scheme,
            authority: authority.into(),
            path_with_query,
            headers: self.headers(question),
            body: form.encode(),
            presentation: Presentation { certificate: false, secret },
            connect_timeout_ms: 0,
            answer_timeout_ms: 0,
        })
    }

    /// The request for what a certificate's request must say, without its time limits.
    ///
    /// # Errors
    ///
    /// As [`Source::request`]; and a source that gives no certificates.
    pub(super) fn metadata_request(
        self,
        question: &Question,
        platform: &Platform,
    ) -> Result<HttpRequest, Error> {
        if self != Source::Imds {
            return Err(Error::new(
                ErrorKind::CredentialUnsupported,
                "mtls_not_supported_for_managed_identity",
                format!(
                    "{} gives tokens that are bound to no certificate; ask for a bearer token.",
                    self.name()
                ),
            ));
        }
        let Endpoint { scheme, authority, .. } = self.endpoint(platform)?;
        let mut path_with_query = METADATA_PATH.to_owned();
        if let Some((name, id)) = self.identity(&question.identity, platform)? {
            push_parameter(&mut path_with_query, name, id, push_percent_encoded);
        }
        Ok(HttpRequest {
            method: Method::Get,
            scheme,
            authority: authority.into(),
            path_with_query,
            headers: self.headers(question),
            body: String::new(),
            presentation: Presentation::default(),
            connect_timeout_ms: 0,
            answer_timeout_ms: 0,
        })
    }

    /// The version of the source's interface; Cloud Shell's has none, and takes a form.
    fn api_version(self) -> Option<&'static str> {
        match self {
            Source::AppService => Some("2019-08-01"),
            Source::ServiceFabric => Some("2020-05-01"),
            Source::MachineLearning => Some("2017-09-01"),
            Source::AzureArc => Some("2020-06-01"),
            Source::Imds => Some("2018-02-01"),
            Source::CloudShell => None,
        }
    }

    /// The parameter that names the identity.
    fn identity<'a>(
        self,
        identity: &'a ManagedIdentityId,
        platform: &'a Platform,
    ) -> Result<Option<(&'static str, &'a str)>, Error> {
        use ManagedIdentityId as Id;
        let (name, id) = match (self, identity) {
            (Source::MachineLearning, Id::SystemAssigned) => match platform.value(DEFAULT_IDENTITY_CLIENT_ID)
            {
                Some(id) => ("clientid", id),
                None => return Err(self.wrong_id("DEFAULT_IDENTITY_CLIENT_ID isn't set")),
            },
            (_, Id::SystemAssigned) => return Ok(None),
            (Source::CloudShell | Source::AzureArc, _) => {
                return Err(Error::invalid_request(
                    "user_assigned_managed_identity_not_supported",
                    format!("{} has the system-assigned identity alone; ask for that one.", self.name()),
                ));
            }
            (Source::ServiceFabric, Id::ObjectId(id)) => ("principalId", id.as_str()),
            (Source::ServiceFabric, _) => {
                return Err(Error::invalid_request(
                    "user_assigned_managed_identity_not_configurable_at_runtime",
                    "Service Fabric knows user-assigned identities by their object ids alone, or by the application's own \
                     configuration.",
                ));
            }
            (Source::MachineLearning, Id::ClientId(id)) => ("clientid", id.as_str()),
            (Source::MachineLearning, _) => {
                return Err(self.wrong_id("it knows user-assigned identities by their client ids alone"));
            }
            (_, Id::ClientId(id)) => ("client_id", id.as_str()),
            (_, Id::ObjectId(id)) => ("object_id", id.as_str()),
            (Source::Imds, Id::ResourceId(id)) => ("msi_res_id", id.as_str()),
            (_, Id::ResourceId(id)) => ("mi_res_id", id.as_str()),
        };
        Ok(Some((name, id)))
    }

    fn wrong_id(self, problem: &str) -> Error {
        Error::invalid_request(
            "invalid_managed_identity_id_type",
            format!("{} can't give a token for this identity: {problem}.", self.name()),
        )
    }

    fn headers(self, question: &Question) -> Vec<(String, String)> {
        let metadata = ("Metadata", "true");
        let own: &[(&str, &str)] = match self {
            Source::Imds => &[
                metadata,
                ("x-client-SKU", "Symbolon"),
                ("x-client-Ver", env!("CARGO_PKG_VERSION")),
                ("x-ms-client-request-id", &question.correlation_id),
            ],
            // The second is how MSAL spells it; it is a header of its own beside the right one.
            Source::CloudShell => &[("content-type", CONTENT_TYPE), ("ContentType", CONTENT_TYPE), metadata],
            Source::AzureArc | Source::MachineLearning => &[metadata],
            Source::AppService | Source::ServiceFabric => &[],
        };
        let secret = self.secret_header().map(|name| (name, ""));
        own.iter().copied().chain(secret).map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    /// The header whose value is the secret; the host fills it in.
    fn secret_header(self) -> Option<&'static str> {
        match self {
            Source::AppService => Some("X-IDENTITY-HEADER"),
            Source::ServiceFabric | Source::MachineLearning => Some("secret"),
            Source::CloudShell | Source::AzureArc | Source::Imds => None,
        }
    }

    fn endpoint(self, platform: &Platform) -> Result<Endpoint<'_>, Error> {
        let (variable, usual) = match self {
            Source::AppService | Source::ServiceFabric => (IDENTITY_ENDPOINT, ""),
            Source::MachineLearning | Source::CloudShell => (MSI_ENDPOINT, ""),
            Source::AzureArc => (IDENTITY_ENDPOINT, ARC_ENDPOINT),
            Source::Imds => (AZURE_POD_IDENTITY_AUTHORITY_HOST, IMDS_HOST),
        };
        let url = platform.value(variable).unwrap_or(usual);
        let endpoint = Endpoint::parse(url).ok_or_else(|| {
            Error::invalid_request(
                "invalid_managed_identity_endpoint",
                format!("{variable} is {url:?}, which isn't the URL of {}'s endpoint.", self.name()),
            )
        })?;
        // That variable says where the service is, not its path.
        let path = if self == Source::Imds { TOKEN_PATH } else { endpoint.path };
        Ok(Endpoint { path, ..endpoint })
    }

    fn name(self) -> &'static str {
        match self {
            Source::AppService => "App Service",
            Source::ServiceFabric => "Service Fabric",
            Source::MachineLearning => "Machine Learning",
            Source::CloudShell => "Cloud Shell",
            Source::AzureArc => "Azure Arc",
            Source::Imds => "the instance metadata service",
        }
    }
}

/// A URL, in its parts.
struct Endpoint<'a> {
    scheme: UrlScheme,
    authority: &'a str,
    /// With the query, if there is one.
    path: &'a str,
}

impl<'a> Endpoint<'a> {
    fn parse(url: &'a str) -> Option<Endpoint<'a>> {
        let (scheme, rest) = url.trim().split_once(':')?;
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => UrlScheme::Http,
            _ if scheme.eq_ignore_ascii_case("https") => UrlScheme::Https,
            _ => return None,
        };
        let rest = rest.strip_prefix("//")?;
        let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
        let is_authority = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        let is_path = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        let is_url =
            !authority.is_empty() && authority.bytes().all(is_authority) && path.bytes().all(is_path);
        is_url.then_some(Endpoint { scheme, authority, path: if path.is_empty() { "/" } else { path } })
    }
}

/// The file that Azure Arc's challenge names: `Basic realm=` and a path. Whether it may be read is the host's to say.
pub(super) fn challenge_file(challenge: &str) -> Option<&str> {
    let (start, path) = challenge.split_once('=')?;
    let path = path.trim().trim_matches('"');
    Some(path).filter(|path| start.trim().eq_ignore_ascii_case("Basic realm") && !path.is_empty())
}

/// Makes of the request for the machine's metadata the one for the certificate.
pub(super) fn ask_for_certificate(request: &mut HttpRequest, body: String) {
    request.method = Method::Post;
    request.path_with_query = String::from(CREDENTIAL_PATH)
        + request.path_with_query.strip_prefix(METADATA_PATH).unwrap_or_default();
    request.headers.push(("content-type".into(), "application/json".into()));
    request.body = body;
}

/// Whether it is a URL of https, without a query.
pub(super) fn is_https(url: &str) -> bool {
    Endpoint::parse(url).is_some_and(|url| url.scheme == UrlScheme::Https && !url.path.contains('?'))
}

const METADATA_PATH: &str = "/metadata/identity/getplatformmetadata?cred-api-version=2.0";

const CREDENTIAL_PATH: &str = "/metadata/identity/issuecredential?cred-api-version=2.0";

const ARC_ENDPOINT: &str = "http://127.0.0.1:40342/metadata/identity/oauth2/token";

const IMDS_HOST: &str = "http://169.254.169.254";

const TOKEN_PATH: &str = "/metadata/identity/oauth2/token";
