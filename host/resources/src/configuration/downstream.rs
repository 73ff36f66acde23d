//! The section `DownstreamApis`: how other APIs are called.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use url::Url;
use uuid::Uuid;

use super::error::{Place, Warning, quoted};
use super::reader::{Findings, Located, Section, nearest};

/// An API as the configuration describes it: `DownstreamApis:{name}` in Microsoft.Identity.Web's words, and what only we
/// know of it in `Symbolon:DownstreamApis:{name}`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DownstreamApiSettings {
    /// Its name.
    pub name: String,
    /// Where it is configured.
    pub place: Place,
    /// `BaseUrl`: an absolute URL without query, fragment and user information.
    pub base_url: Option<String>,
    /// `RelativePath`.
    pub relative_path: String,
    /// `HttpMethod`.
    pub http_method: Method,
    /// `Scopes`. Empty for calls without a token.
    pub scopes: Vec<String>,
    /// `RequestAppToken`.
    pub request_app_token: bool,
    /// `ProtocolScheme`.
    pub protocol_scheme: ProtocolScheme,
    /// `AcceptHeader`. Empty for none; absent for `application/json`.
    pub accept_header: Option<String>,
    /// `ContentType`.
    pub content_type: Option<String>,
    /// `ExtraHeaderParameters`.
    pub extra_header_parameters: Vec<(String, String)>,
    /// `ExtraQueryParameters`, not encoded.
    pub extra_query_parameters: Vec<(String, String)>,
    /// `AcquireTokenOptions`.
    pub acquire_token_options: AcquireTokenSettings,
    /// What only we know of it.
    pub limits: DownstreamApiLimits,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Warning>,
}

/// What is presented to an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ProtocolScheme {
    /// A bearer token (RFC 6750). The default.
    #[default]
    Bearer,
    /// A token in the header, and on the connection the certificate that it is bound to.
    MtlsPop,
    /// A certificate on the connection, and no token.
    Mtls,
}

impl ProtocolScheme {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bearer, Self::MtlsPop, Self::Mtls];

    /// The scheme of that name, case ignored. The empty name stands for the default.
    pub fn parse(name: &str) -> Option<Self> {
        if name.is_empty() {
            return Some(Self::default());
        }
        Self::ALL.into_iter().find(|scheme| scheme.as_str().eq_ignore_ascii_case(name))
    }

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::MtlsPop => "MTLS_POP",
            Self::Mtls => "MTLS",
        }
    }

    /// Whether a certificate is presented on the connection.
    pub fn presents_certificate(self) -> bool {
        self != Self::Bearer
    }
}

/// `AcquireTokenOptions` as configured. Empty strings count as absent, but for the tenant.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct AcquireTokenSettings {
    /// `AuthenticationOptionsName`.
    pub authentication_options_name: Option<String>,
    /// `CorrelationId`.
    pub correlation_id: Option<Uuid>,
    /// `Claims`.
    pub claims: Option<String>,
    /// `Tenant`.
    pub tenant: Option<String>,
    /// `ForceRefresh`.
    pub force_refresh: bool,
    /// `FmiPath`.
    pub fmi_path: Option<String>,
    /// `LongRunningWebApiSessionKey`.
    pub long_running_session_key: Option<String>,
    /// `PopPublicKey`.
    pub pop_public_key: Option<String>,
    /// `ManagedIdentity`, with its `UserAssignedClientId` where it has one.
    pub managed_identity: Option<Option<String>>,
    /// `ExtraQueryParameters` of the token request.
    pub extra_query_parameters: Vec<(String, String)>,
    /// `ExtraHeadersParameters` of the token request.
    pub extra_http_headers: Vec<(String, String)>,
    /// `ExtraParameters:EXTRA_BODY_PARAMETERS`.
    pub extra_body_parameters: Vec<(String, String)>,
    /// `ExtraParameters:IDWEB_FMI_PATH_FOR_CLIENT_ASSERTION`.
    pub fmi_path_for_client_assertion: Option<String>,
    /// `ExtraParameters:IDWEB_AGENT_IDENTITY`.
    pub agent_identity: Option<String>,
    /// `ExtraParameters:IDWEB_USERNAME`.
    pub agent_username: Option<String>,
    /// `ExtraParameters:IDWEB_USER_ID`.
    pub agent_user_id: Option<Uuid>,
}

impl std::fmt::Debug for AcquireTokenSettings {
    /// Leaves out session keys, names and what may hold a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AcquireTokenSettings")
            .field("authentication_options_name", &self.authentication_options_name)
            .field("tenant", &self.tenant)
            .field("agent_identity", &self.agent_identity)
            .field("managed_identity", &self.managed_identity)
            .finish_non_exhaustive()
    }
}

/// The section `Symbolon:DownstreamApis:{name}`. The default is what the fields say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DownstreamApiLimits {
    /// `TimeoutSeconds`: how long a call may take in all, its token, a second attempt and the last byte of the answer
    /// included. The default is no limit, because streams have none.
    pub timeout: Option<Duration>,
    /// `IdleTimeoutSeconds`: how long nothing may come and nothing go. The default is 100 s, what .NET's `HttpClient`
    /// gives a call.
    pub idle_timeout: Duration,
    /// `FollowRedirects`. The default is no. Nothing that proves anything is sent to another origin.
    pub follow_redirects: bool,
    /// `RejectedByBadRequest`: whether the status 400 means, as 401 and 403 do, that the API rejected the certificate of a
    /// call without token. The default is no.
    pub rejected_by_bad_request: bool,
    /// `ReplayLimitBytes`: up to which length a body is kept, to be sent a second time. The default is 1 MiB. What is
    /// longer goes out as it comes, and once.
    pub replay_limit: usize,
    /// `MaxResponseBytes`: how long an answer may be that is read into memory. The default is 4 MiB. Streams have no
    /// limit.
    pub max_response_bytes: usize,
}

impl Default for DownstreamApiLimits {
    fn default() -> Self {
        Self {
            timeout: None,
            idle_timeout: Duration::from_secs(100),
            follow_redirects: false,
            rejected_by_bad_request: false,
            replay_limit: 1024 * 1024,
            max_response_bytes: 4 * 1024 * 1024,
        }
    }
}

/// Checks the URL that an API's paths are appended to. Gives it as it was, without white space around it.
///
/// # Errors
///
/// What is accepted.
pub fn check_base_url(url: &str, scheme: ProtocolScheme) -> Result<String, &'static str> {
    let secure = scheme.presents_certificate();
    let accepted = match secure {
        true => {
            "an absolute https URL without query, fragment and user information: a certificate is presented"
        }
        false => "an absolute URL of https (or http) without query, fragment and user information",
    };
    let url = url.trim();
    let parsed = Url::parse(url).map_err(|_| accepted)?;
    let is_clean = parsed.query().is_none()
        && parsed.fragment().is_none()
        && parsed.username().is_empty()
        && parsed.password().is_none()
        && parsed.host_str().is_some_and(|host| !host.is_empty());
    match parsed.scheme() {
        "https" if is_clean => Ok(url.to_owned()),
        "http" if is_clean && !secure => Ok(url.to_owned()),
        _ => Err(accepted),
    }
}

/// The method of that name. Those that everybody knows are found in any case, as `Get`.
pub fn parse_method(name: &str) -> Option<Method> {
    let known = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
    ];
    match known.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(name)) {
        Some(method) => Some(method),
        None if name.is_empty() => Some(Method::GET),
        None => Method::from_bytes(name.as_bytes()).ok().filter(|method| *method != Method::CONNECT),
    }
}

/// Reads one API.
pub(super) fn read(
    name: &str,
    section: &Section<'_>,
    limits: DownstreamApiLimits,
    findings: &mut Findings,
) -> DownstreamApiSettings {
    check_keys(section, KEYS, &[], findings);
    let scheme = section.text("ProtocolScheme", findings).map_or_else(ProtocolScheme::default, |written| {
        ProtocolScheme::parse(&written.value).unwrap_or_else(|| {
            let accepted = ProtocolScheme::ALL.map(ProtocolScheme::as_str).join(", ");
            findings.problem(written.place, quoted(&written.value), accepted);
            ProtocolScheme::default()
        })
    });
    let method = section.text("HttpMethod", findings).map_or(Method::GET, |written| {
        parse_method(&written.value).unwrap_or_else(|| {
            findings.problem(
                written.place,
                quoted(&written.value),
                "an HTTP method, such as \"Get\" or \"Post\"",
            );
            Method::GET
        })
    });
    DownstreamApiSettings {
        name: name.to_owned(),
        place: section.place(),
        base_url: base_url(section, scheme, findings),
        relative_path: text(section, "RelativePath", findings).unwrap_or_default(),
        http_method: method,
        scopes: scopes(section, findings),
        request_app_token: section.flag("RequestAppToken", findings).unwrap_or(false),
        protocol_scheme: scheme,
        accept_header: header_value(section, "AcceptHeader", findings),
        content_type: header_value(section, "ContentType", findings).filter(|value| !value.is_empty()),
        extra_header_parameters: headers(section, "ExtraHeaderParameters", findings),
        extra_query_parameters: pairs(section, "ExtraQueryParameters", findings),
        acquire_token_options: section
            .object("AcquireTokenOptions", findings)
            .map(|section| acquire_token_options(&section, findings))
            .unwrap_or_default(),
        limits,
        warnings: Vec::new(),
    }
}

/// Reads what only we know of an API.
pub(super) fn read_limits(section: &Section<'_>, findings: &mut Findings) -> DownstreamApiLimits {
    for name in section.names().filter(|name| !LIMITS.iter().any(|key| key.eq_ignore_ascii_case(name))) {
        let hint = nearest(name, LIMITS.iter().copied());
        let hint = hint.map(|key| format!(" (did you mean {key}?)")).unwrap_or_default();
        findings.problem(section.place_of(name), format!("an unknown key{hint}"), LIMITS.join(", "));
    }
    let mut seconds = |name| {
        let seconds = section.count(name, findings)?;
        Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)))
    };
    let default = DownstreamApiLimits::default();
    DownstreamApiLimits {
        timeout: seconds("TimeoutSeconds"),
        idle_timeout: seconds("IdleTimeoutSeconds").unwrap_or(default.idle_timeout),
        follow_redirects: section.flag("FollowRedirects", findings).unwrap_or(false),
        rejected_by_bad_request: section.flag("RejectedByBadRequest", findings).unwrap_or(false),
        replay_limit: section.count("ReplayLimitBytes", findings).unwrap_or(default.replay_limit),
        max_response_bytes: section.count("MaxResponseBytes", findings).unwrap_or(default.max_response_bytes),
    }
}

fn acquire_token_options(section: &Section<'_>, findings: &mut Findings) -> AcquireTokenSettings {
    check_keys(section, ACQUIRE_KEYS, &["UserFlow"], findings);
    not_supported(section, "PopClaim", "the key itself, as PopPublicKey", findings);
    let mut settings = AcquireTokenSettings {
        authentication_options_name: given(section, "AuthenticationOptionsName", findings),
        correlation_id: guid(section, "CorrelationId", findings),
        claims: given(section, "Claims", findings),
        tenant: text(section, "Tenant", findings),
        force_refresh: section.flag("ForceRefresh", findings).unwrap_or(false),
        fmi_path: given(section, "FmiPath", findings),
        long_running_session_key: given(section, "LongRunningWebApiSessionKey", findings),
        pop_public_key: given(section, "PopPublicKey", findings),
        managed_identity: section.object("ManagedIdentity", findings).map(|identity| {
            check_keys(&identity, &["UserAssignedClientId"], &[], findings);
            given(&identity, "UserAssignedClientId", findings)
        }),
        extra_query_parameters: pairs(section, "ExtraQueryParameters", findings),
        extra_http_headers: headers(section, "ExtraHeadersParameters", findings),
        ..AcquireTokenSettings::default()
    };
    if let Some(extra) = section.object("ExtraParameters", findings) {
        extra_parameters(&extra, &mut settings, findings);
    }
    settings
}

fn extra_parameters(section: &Section<'_>, settings: &mut AcquireTokenSettings, findings: &mut Findings) {
    check_keys(section, EXTRA_KEYS, &[], findings);
    let instead = "an entry of ClientCredentials that gives the assertion";
    not_supported(section, "IDWEB_CLIENT_ASSERTION", instead, findings);
    not_supported(section, "IDWEB_CLIENT_ASSERTION_CLAIMS", instead, findings);
    not_supported(
        section,
        "IDWEB_FMI_MICROSOFT_IDENTITY_OPTIONS",
        "the agent, as IDWEB_AGENT_IDENTITY",
        findings,
    );
    settings.extra_body_parameters = pairs(section, "EXTRA_BODY_PARAMETERS", findings);
    settings.fmi_path_for_client_assertion = given(section, "IDWEB_FMI_PATH_FOR_CLIENT_ASSERTION", findings);
    settings.agent_identity = given(section, "IDWEB_AGENT_IDENTITY", findings);
    settings.agent_username = given(section, "IDWEB_USERNAME", findings);
    settings.agent_user_id = guid(section, "IDWEB_USER_ID", findings);
    let names_user = settings.agent_username.is_some() || settings.agent_user_id.is_some();
    if names_user && settings.agent_identity.is_none() {
        findings.problem(section.place(), "a user without an agent", "IDWEB_AGENT_IDENTITY beside the user");
    }
}

fn base_url(section: &Section<'_>, scheme: ProtocolScheme, findings: &mut Findings) -> Option<String> {
    let written = section.text("BaseUrl", findings).filter(|url| !url.value.trim().is_empty())?;
    match check_base_url(&written.value, scheme) {
        Ok(url) => {
            let is_plain = url.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://"));
            if is_plain && !is_loopback(&url) {
                findings
                    .warning(written.place, "is not https: whoever listens can take the token and use it");
            }
            Some(url)
        }
        Err(accepted) => {
            findings.problem(written.place, quoted(&written.value), accepted);
            None
        }
    }
}

fn is_loopback(url: &str) -> bool {
    let host = Url::parse(url).ok();
    match host.as_ref().and_then(Url::host) {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

/// One string with a space between scopes, or a list.
fn scopes(section: &Section<'_>, findings: &mut Findings) -> Vec<String> {
    let written = match section.peek("Scopes") {
        Some(text) => text.split_whitespace().map(str::to_owned).collect(),
        None => section.texts("Scopes", findings).into_iter().map(|scope| scope.value).collect::<Vec<_>>(),
    };
    written.into_iter().filter(|scope| !scope.trim().is_empty()).collect()
}

fn headers(section: &Section<'_>, name: &str, findings: &mut Findings) -> Vec<(String, String)> {
    let place = section.place_of(name);
    let headers = pairs(section, name, findings);
    for (header, value) in &headers {
        let is_name = HeaderName::try_from(header.as_str()).is_ok();
        if !is_name || HeaderValue::try_from(value.as_str()).is_err() {
            let found = if is_name { "a value that no header can hold" } else { "a name that no header has" };
            findings.problem(place.child(header), found, "the name and value of a header (RFC 9110 §5)");
        }
    }
    headers
}

fn header_value(section: &Section<'_>, name: &str, findings: &mut Findings) -> Option<String> {
    let written = section.text(name, findings)?;
    if HeaderValue::try_from(written.value.as_str()).is_err() {
        findings.problem(written.place, quoted(&written.value), "the value of a header (RFC 9110 §5.5)");
        return None;
    }
    Some(written.value)
}

fn pairs(section: &Section<'_>, name: &str, findings: &mut Findings) -> Vec<(String, String)> {
    section.object(name, findings).map(|pairs| pairs.scalars(findings)).unwrap_or_default()
}

fn text(section: &Section<'_>, name: &str, findings: &mut Findings) -> Option<String> {
    section.text(name, findings).map(|written| written.value)
}

fn given(section: &Section<'_>, name: &str, findings: &mut Findings) -> Option<String> {
    text(section, name, findings).filter(|value| !value.is_empty())
}

fn guid(section: &Section<'_>, name: &str, findings: &mut Findings) -> Option<Uuid> {
    let Located { value, place } =
        section.text(name, findings).filter(|written| !written.value.is_empty())?;
    let parsed = Uuid::try_parse(&value).ok();
    if parsed.is_none() {
        findings.problem(place, "another string", "a GUID");
    }
    parsed
}

fn not_supported(section: &Section<'_>, name: &str, instead: &str, findings: &mut Findings) {
    if section.has(name) {
        findings.problem(section.place_of(name), "a key that is known and not supported", instead);
    }
}

/// Unknown keys that look like a misspelt one are errors, others warnings.
fn check_keys(section: &Section<'_>, read: &[&str], without_effect: &[&str], findings: &mut Findings) {
    for name in section.names().filter(|name| section.has(name)) {
        let is = |key: &&str| key.eq_ignore_ascii_case(name);
        if read.iter().any(&is) {
            continue;
        }
        match nearest(name, read.iter().copied()) {
            _ if without_effect.iter().any(&is) => {
                findings.warning(section.place_of(name), "is known and has no effect");
            }
            Some(meant) => findings.problem(
                section.place_of(name),
                format!("an unknown key (did you mean {meant}?)"),
                read.join(", "),
            ),
            None => findings.warning(section.place_of(name), "is an unknown key and has no effect"),
        }
    }
}

const KEYS: &[&str] = &[
    "AcceptHeader",
    "AcquireTokenOptions",
    "BaseUrl",
    "ContentType",
    "ExtraHeaderParameters",
    "ExtraQueryParameters",
    "HttpMethod",
    "ProtocolScheme",
    "RelativePath",
    "RequestAppToken",
    "Scopes",
];
const ACQUIRE_KEYS: &[&str] = &[
    "AuthenticationOptionsName",
    "Claims",
    "CorrelationId",
    "ExtraHeadersParameters",
    "ExtraParameters",
    "ExtraQueryParameters",
    "FmiPath",
    "ForceRefresh",
    "LongRunningWebApiSessionKey",
    "ManagedIdentity",
    "PopClaim",
    "PopPublicKey",
    "Tenant",
];
const EXTRA_KEYS: &[&str] = &[
    "EXTRA_BODY_PARAMETERS",
    "IDWEB_AGENT_IDENTITY",
    "IDWEB_CLIENT_ASSERTION",
    "IDWEB_CLIENT_ASSERTION_CLAIMS",
    "IDWEB_FMI_MICROSOFT_IDENTITY_OPTIONS",
    "IDWEB_FMI_PATH_FOR_CLIENT_ASSERTION",
    "IDWEB_USERNAME",
    "IDWEB_USER_ID",
];
const LIMITS: &[&str] = &[
    "FollowRedirects",
    "IdleTimeoutSeconds",
    "MaxResponseBytes",
    "RejectedByBadRequest",
    "ReplayLimitBytes",
    "TimeoutSeconds",
];
