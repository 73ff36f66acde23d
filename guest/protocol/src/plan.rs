//! A request that was understood: everything about it that doesn't change while it is served.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::authority::{Authority, AuthorityKind};
use crate::cache::{AccessTokenClass, Components};
use crate::claims;
use crate::error::Error;
use crate::random;
use crate::region::Region;
use crate::request::{Application, CacheRefreshReason, ClientFlow, Context, Flow, Options, Request, Scheme};
use crate::scopes::Scopes;

/// What is asked for, checked and in the form in which it is used.
pub(crate) struct Plan {
    /// The registration.
    pub(crate) application: Application,
    /// The authority as the application is configured.
    pub(crate) configured_authority: Authority,
    /// The authority with the request's own tenant. Look-ups go by this one; its host may not be the one that is asked.
    pub(crate) authority: Authority,
    /// The region whose endpoints are used.
    pub(crate) region: Option<Region>,
    /// What the token is for.
    pub(crate) scopes: Scopes,
    /// What it is bound to.
    pub(crate) scheme: Scheme,
    /// The `claims` parameter.
    pub(crate) claims: Option<String>,
    /// The parameters that the flow adds, in their order.
    pub(crate) flow_parameters: Vec<(&'static str, String)>,
    /// Parameters for the query.
    pub(crate) query: Vec<(String, String)>,
    /// Parameters for the body.
    pub(crate) body: Vec<(String, String)>,
    /// Headers.
    pub(crate) headers: Vec<(String, String)>,
    /// The library on whose behalf the request is made.
    pub(crate) caller_sdk_id: Option<String>,
    /// The version of that library.
    pub(crate) caller_sdk_version: Option<String>,
    /// Whether the certificate is managed for that library, in its words.
    pub(crate) managed_certificate: Option<String>,
    /// A GUID.
    pub(crate) correlation_id: String,
    /// Why the cache is looked past, where it is.
    pub(crate) bypass: Option<CacheRefreshReason>,
    /// Whether the same question may be answered with the same token.
    pub(crate) is_repeatable: bool,
    /// What sets the token apart, in MSAL's names.
    pub(crate) components: Components,
    /// The same with a mark on each parameter of where it goes: a parameter of the query isn't one of the body.
    marked_components: Components,
    /// The digest that tells flights past the cache apart.
    bypass_digest: Option<String>,
}

impl Plan {
    /// Checks a request.
    ///
    /// # Errors
    ///
    /// Everything that can be known to be wrong before a credential is looked at.
    pub(crate) fn new(request: Request, context: &Context) -> Result<Plan, Error> {
        let correlation_id = correlation_id(request.options.correlation_id.as_deref(), context)?;
        Plan::with_correlation_id(request, context, correlation_id.clone())
            .map_err(|error| Error { correlation_id, ..error })
    }

    fn with_correlation_id(
        request: Request,
        context: &Context,
        correlation_id: String,
    ) -> Result<Plan, Error> {
        let Request { flow: Flow::ForClient(flow), scopes, scheme, options } = request;
        let application = context.application.clone();
        let configured_authority = Authority::parse(&application.authority)
            .map_err(|error| Error::invalid_request("invalid_authority", error.to_string()))?;
        let authority = with_tenant(&configured_authority, options.tenant_id.as_deref())?;
        let region = region(&application, &authority)?;
        let scopes = required_scopes(scopes)?;
        let challenge = present(options.claims.as_deref());
        let client_claims = present(options.client_claims.as_deref());
        let claims = claims::merge(&application.client_capabilities, challenge, client_claims)
            .map_err(|error| Error::invalid_request("invalid_json_claims_format", error.to_string()))?;

        let Options { extra_query_parameters, extra_body_parameters, extra_headers, .. } = &options;
        let mut query = query_parameters(extra_query_parameters)?;
        let caller_sdk_id = take(&mut query, "caller-sdk-id");
        let caller_sdk_version = take(&mut query, "caller-sdk-ver");
        let managed_certificate = take(&mut query, "ManagedCert");
        let body = body_parameters(extra_body_parameters, &query)?;
        let headers = headers(extra_headers)?;

        let flow_parameters = flow_parameters(flow)?;
        let components = |marks| components(&flow_parameters, client_claims, marks, [&query, &body]);
        let (components, marked_components) = (components(["", ""]), components(["?", "="]));
        let bypass = if options.force_refresh || challenge.is_some() {
            Some(CacheRefreshReason::ForceRefreshOrClaims)
        } else {
            context.proactive_refresh.then_some(CacheRefreshReason::ProactivelyRefreshed)
        };
        let bypass_digest = bypass.map(|_| digest([challenge.unwrap_or_default()]));
        Ok(Plan {
            is_repeatable: challenge.is_none(),
            application,
            configured_authority,
            authority,
            region,
            scopes,
            scheme,
            claims,
            flow_parameters,
            query,
            body,
            headers,
            caller_sdk_id,
            caller_sdk_version,
            managed_certificate,
            correlation_id,
            bypass,
            components,
            marked_components,
            bypass_digest,
        })
    }

    /// The class of access tokens that answer the request.
    pub(crate) fn class<'a>(&'a self, environment: &'a str, key_id: Option<&'a str>) -> AccessTokenClass<'a> {
        AccessTokenClass {
            home_account_id: "",
            environment,
            client_id: &self.application.client_id,
            realm: self.authority.tenant().unwrap_or_default(),
            token_type: self.scheme.token_type(),
            key_id,
            user_assertion_hash: None,
            components: &self.marked_components,
        }
    }

    /// The name of the flight that brings the token: requests share it when the same answer serves them.
    ///
    /// `keys` are those under which the token is looked for; `again` sets apart what looks past the cache because what
    /// the cache holds can't be used.
    pub(crate) fn flight(&self, keys: &[String], again: bool) -> String {
        let bypass = self.bypass_digest.as_deref().unwrap_or(if again { "again" } else { "" });
        digest(core::iter::once(bypass).chain(keys.iter().map(String::as_str)))
    }
}

fn correlation_id(given: Option<&str>, context: &Context) -> Result<String, Error> {
    let Some(id) = present(given) else {
        return Ok(random::uuid(&context.seed, random::Purpose::CorrelationId, 0));
    };
    let dashes = [8, 13, 18, 23];
    let is_guid = id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match dashes.contains(&at) {
            true => byte == b'-',
            false => byte.is_ascii_hexdigit(),
        });
    if is_guid {
        return Ok(id.to_ascii_lowercase());
    }
    Err(Error::invalid_request(
        "invalid_correlation_id",
        format!("{id:?} is no correlation id; a GUID such as 6347d33d-941a-4c35-9912-a9cf54fb1b3e is."),
    ))
}

fn with_tenant(authority: &Authority, tenant: Option<&str>) -> Result<Authority, Error> {
    let Some(tenant) = present(tenant) else { return Ok(authority.clone()) };
    let tenant = tenant.trim();
    let is_name = tenant.len() <= MAX_TENANT_BYTES
        && tenant.starts_with(|c: char| c.is_ascii_alphanumeric())
        && tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    if is_name {
        return Ok(authority.with_tenant(&tenant.to_ascii_lowercase(), true));
    }
    Err(Error::invalid_request(
        "invalid_tenant",
        format!("{tenant:?} is no tenant; its id (a GUID) or one of its domains is."),
    ))
}

/// The explicit region. Only Entra ID's own authorities have regional endpoints.
fn region(application: &Application, authority: &Authority) -> Result<Option<Region>, Error> {
    let Some(name) = present(application.azure_region.as_deref()) else { return Ok(None) };
    if authority.kind() != AuthorityKind::Aad || name.eq_ignore_ascii_case("DisableMsalForceRegion") {
        return Ok(None);
    }
    if name.eq_ignore_ascii_case("TryAutoDetect") {
        return Err(Error::invalid_request(
            "region_detection_not_supported",
            "AzureRegion is TryAutoDetect, and detecting the region isn't supported; name the region, such as \
             westeurope.",
        ));
    }
    Region::parse(name)
        .map(Some)
        .map_err(|error| Error::invalid_request("invalid_region", format!("AzureRegion: {error}.")))
}

fn required_scopes(scopes: Vec<String>) -> Result<Scopes, Error> {
    let scopes = Scopes::new(scopes);
    if scopes.is_empty() {
        return Err(Error::invalid_request(
            "scopes_required_client_credentials",
            "No scope is given; client credentials ask for one resource, such as \
             https://graph.microsoft.com/.default.",
        ));
    }
    Ok(scopes)
}

fn flow_parameters(flow: ClientFlow) -> Result<Vec<(&'static str, String)>, Error> {
    let attribute_tokens = attribute_tokens(&flow.attribute_tokens)?;
    let parameters = [
        ("fmi_path", flow.fmi_path),
        ("attributes", flow.attributes),
        ("attribute_tokens", Some(attribute_tokens)),
    ];
    let given =
        |(name, value): (_, Option<String>)| Some((name, value.filter(|value| !value.trim().is_empty())?));
    Ok(parameters.into_iter().filter_map(given).collect())
}

fn attribute_tokens(tokens: &[String]) -> Result<String, Error> {
    let mut tokens: Vec<&str> =
        tokens.iter().map(|token| token.trim()).filter(|token| !token.is_empty()).collect();
    if tokens.iter().any(|token| token.contains(char::is_whitespace)) {
        return Err(Error::invalid_request(
            "invalid_attribute_token",
            "An attribute token holds white space; give each token on its own.",
        ));
    }
    tokens.sort_unstable();
    tokens.dedup();
    Ok(tokens.join(" "))
}

/// Of parameters whose names differ in case alone the last counts.
fn query_parameters(given: &[(String, String)]) -> Result<Vec<(String, String)>, Error> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    for (name, value) in given.iter().filter(|(name, _)| !name.trim().is_empty()) {
        if contains(&COMPONENT_NAMES, name) {
            return Err(reserved("query parameter", name));
        }
        take(&mut parameters, name);
        parameters.push((name.clone(), value.clone()));
    }
    Ok(parameters)
}

fn body_parameters(
    given: &[(String, String)],
    query: &[(String, String)],
) -> Result<Vec<(String, String)>, Error> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    let given = given.iter().filter(|(name, value)| !name.trim().is_empty() && !value.trim().is_empty());
    for (name, value) in given {
        let name_of_query = query.iter().any(|(other, _)| other == name);
        if contains(&BODY_NAMES, name) || contains(&COMPONENT_NAMES, name) || name_of_query {
            return Err(reserved("body parameter", name));
        }
        parameters.retain(|(other, _)| other != name);
        parameters.push((name.clone(), value.clone()));
    }
    Ok(parameters)
}

fn headers(given: &[(String, String)]) -> Result<Vec<(String, String)>, Error> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in given.iter().filter(|(name, value)| !name.is_empty() && !value.is_empty()) {
        let is_token =
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
        let is_text = value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
        if !is_token || !is_text {
            return Err(Error::invalid_request(
                "invalid_extra_header",
                format!(
                    "The extra header {name:?} isn't a header: its name or value has characters that none may have."
                ),
            ));
        }
        if contains(&HEADER_NAMES, name) || name.to_ascii_lowercase().starts_with("proxy-") {
            return Err(reserved("header", name));
        }
        take(&mut headers, name);
        headers.push((name.clone(), value.clone()));
    }
    Ok(headers)
}

fn reserved(what: &str, name: &str) -> Error {
    Error::invalid_request(
        "reserved_parameter",
        format!(
            "The extra {what} {name:?} is one that the protocol sets or keys its cache by; take it away."
        ),
    )
}

/// Takes a pair out by its name, without regard to case.
fn take(pairs: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let at = pairs.iter().position(|(other, _)| other.eq_ignore_ascii_case(name))?;
    Some(pairs.remove(at).1)
}

/// What sets the token apart. The marks go before the names of the parameters, of the query and of the body.
fn components(
    flow_parameters: &[(&'static str, String)],
    client_claims: Option<&str>,
    marks: [&str; 2],
    parameters: [&[(String, String)]; 2],
) -> Components {
    let mut components = Components::new();
    for (name, value) in flow_parameters {
        components.insert(*name, value.as_str());
    }
    if let Some(claims) = client_claims {
        components.insert("client_claims", claims);
    }
    for (mark, parameters) in marks.into_iter().zip(parameters) {
        for (name, value) in parameters {
            components.insert(format!("{mark}{name}"), value.as_str());
        }
    }
    components
}

/// What is there and says something.
fn present(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.trim().is_empty())
}

fn contains(names: &[&str], name: &str) -> bool {
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// Base64url of the SHA-256 of the parts, each with its length before it.
fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

/// A domain name has at most 253 characters (RFC 1035 §2.3.4).
const MAX_TENANT_BYTES: usize = 253;

/// Names of cache-key components that have a meaning of their own.
const COMPONENT_NAMES: [&str; 9] = [
    "attribute_tokens",
    "attributes",
    "cert_sn",
    "client_claims",
    "credential_fmi_path",
    "extra_client_assertion_claims",
    "fmi_path",
    "mi_att",
    "mi_minstrength",
];

/// Parameters of a token request that the protocol sets in one flow or another.
const BODY_NAMES: [&str; 22] = [
    "assertion",
    "claims",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_info",
    "client_secret",
    "code",
    "code_verifier",
    "grant_type",
    "password",
    "redirect_uri",
    "refresh_token",
    "req_cnf",
    "requested_token_use",
    "resource",
    "return_spa_code",
    "scope",
    "token_type",
    "user_federated_identity_credential",
    "user_id",
    "username",
];

/// Headers that the host or the transport sets, or that would change what is understood of the answer.
const HEADER_NAMES: [&str; 14] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
