//! The token request: what goes to the authority, in which order.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::assertion::{JWT_BEARER, JWT_POP};
use crate::credential::{Authentication, Place, Presentation, Proof};
use crate::error::Error;
use crate::form::{CONTENT_TYPE, Form};
use crate::grant::Grant;
use crate::plan::{Plan, TokenBinding};
use crate::region::Region;
use crate::request::{CacheRefreshReason, Names};
use crate::telemetry::{CacheInfo, CurrentTelemetry, RegionOutcome, RegionSource};
use crate::url::push_percent_encoded;

/// What is done with a resource (RFC 9110 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`; the request has no body.
    Get,
    /// `POST`.
    Post,
}

/// How the server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlScheme {
    /// In the clear: only the platform's own endpoints, on this machine or beside it.
    Http,
    /// Over TLS.
    Https,
}

/// A request to the authority, or to the platform.
#[derive(Clone)]
pub struct HttpRequest {
    /// What is done.
    pub method: Method,
    /// How the server is spoken to.
    pub scheme: UrlScheme,
    /// The host that is asked, with its port when it isn't the scheme's own.
    pub authority: String,
    /// Path and query.
    pub path_with_query: String,
    /// The headers. `content-length` isn't among them: the host sets it.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// How the credential is presented.
    pub presentation: Presentation,
    /// How long connecting may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long the answer may take to begin, in milliseconds.
    pub answer_timeout_ms: u64,
}

impl HttpRequest {
    /// The same with its time limits, where so much time is left, in milliseconds.
    pub(crate) fn within(self, remaining_ms: u64) -> HttpRequest {
        HttpRequest {
            connect_timeout_ms: remaining_ms.min(CONNECT_TIMEOUT_MS),
            answer_timeout_ms: remaining_ms.min(ANSWER_TIMEOUT_MS),
            ..self
        }
    }
}

impl fmt::Debug for HttpRequest {
    /// Shows no value that may be a token or an assertion.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path_with_query.split('?').next().unwrap_or_default();
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("scheme", &self.scheme)
            .field("authority", &self.authority)
            .field("path", &path)
            .field("headers", &Names(&self.headers))
            .field("body", &self.body.len())
            .field("presentation", &self.presentation)
            .finish_non_exhaustive()
    }
}

/// What one attempt adds to the plan.
pub(crate) struct Attempt<'a> {
    /// What is exchanged for the token.
    pub(crate) grant: &'a Grant,
    /// How the client authenticates.
    pub(crate) authentication: Authentication,
    /// The client as the authority knows it.
    pub(crate) client_id: &'a str,
    /// The token endpoint, without a query.
    pub(crate) endpoint: &'a str,
    /// The region whose endpoint that is.
    pub(crate) region: Option<&'a Region>,
    /// Where the region came from, and what became of it.
    pub(crate) region_telemetry: (Option<RegionSource>, Option<RegionOutcome>),
    /// The client assertion, where one is sent.
    pub(crate) assertion: Option<&'a str>,
    /// Why the cache didn't serve.
    pub(crate) reason: CacheRefreshReason,
    /// What is left of the time, in milliseconds.
    pub(crate) remaining_ms: u64,
}

/// Builds the request.
///
/// # Errors
///
/// `invalid_authority` for an endpoint that isn't an `https` URL.
pub(crate) fn build(plan: &Plan, attempt: &Attempt<'_>) -> Result<HttpRequest, Error> {
    let (authority, path) = attempt
        .endpoint
        .strip_prefix("https://")
        .and_then(|rest| rest.split_at_checked(rest.find('/')?))
        .ok_or_else(|| {
            Error::invalid_request(
                "invalid_authority",
                format!("The token endpoint {:?} isn't an https URL.", attempt.endpoint),
            )
        })?;
    let mut path_with_query = String::from(path);
    push_query(&mut path_with_query, &plan.query, &plan.encoded_query);
    let secret = match attempt.authentication.proof {
        Proof::Secret => Some(Place::FormField(CLIENT_SECRET.into())),
        Proof::BasicSecret => Some(Place::BasicAuthorization(attempt.client_id.into())),
        _ => None,
    };
    Ok(HttpRequest {
        method: Method::Post,
        scheme: UrlScheme::Https,
        authority: authority.into(),
        path_with_query,
        headers: headers(plan, attempt),
        body: form(plan, attempt).encode(),
        presentation: Presentation { certificate: attempt.authentication.mtls, secret },
        connect_timeout_ms: 0,
        answer_timeout_ms: 0,
    }
    .within(attempt.remaining_ms))
}

fn form(plan: &Plan, attempt: &Attempt<'_>) -> Form {
    let mut form = Form::new();
    // Whoever is named in a header isn't named again (RFC 6749 §2.3.1).
    if attempt.authentication.proof != Proof::BasicSecret {
        form.set("client_id", attempt.client_id);
    }
    set_proof(&mut form, plan, attempt);
    form.set("scope", &attempt.grant.scope(&plan.scopes));
    form.set_some("claims", plan.claims.as_deref());
    attempt.grant.set_parameters(&mut form);
    if !plan.authority.supports_client_info() {
        form.remove("client_info");
    }
    match &plan.binding {
        TokenBinding::Bearer | TokenBinding::CertificateIfBound => {}
        // A provider binds tokens to the certificate of the handshake without being asked (RFC 8705 §3).
        TokenBinding::Certificate if plan.is_at_provider() => {}
        TokenBinding::Certificate => form.set("token_type", "mtls_pop"),
        TokenBinding::SigningKey(key) => {
            form.set("token_type", "pop");
            form.set("req_cnf", &key.req_cnf());
        }
    }
    for (name, value) in &plan.flow_parameters {
        form.set(name, value);
    }
    for (name, value) in &plan.body {
        form.set(name, value);
    }
    form
}

fn set_proof(form: &mut Form, plan: &Plan, attempt: &Attempt<'_>) {
    let assertion_type = match attempt.authentication {
        Authentication { proof: Proof::Handshake | Proof::BasicSecret, .. } => return,
        Authentication { proof: Proof::Secret, .. } => return form.set_empty(CLIENT_SECRET),
        Authentication { proof: Proof::SignedAssertion, mtls: true } if !plan.is_at_provider() => JWT_POP,
        Authentication { proof: Proof::SignedAssertion | Proof::CertificateAssertion { .. }, .. } => {
            JWT_BEARER
        }
    };
    form.set("client_assertion_type", assertion_type);
    form.set_some("client_assertion", attempt.assertion);
}

fn headers(plan: &Plan, attempt: &Attempt<'_>) -> Vec<(String, String)> {
    let own = [
        ("content-type", CONTENT_TYPE.to_string()),
        ("x-client-SKU", "Symbolon".to_string()),
        ("x-client-Ver", env!("CARGO_PKG_VERSION").to_string()),
        ("client-request-id", plan.correlation_id.clone()),
        ("return-client-request-id", "true".to_string()),
        ("x-client-current-telemetry", telemetry(plan, attempt).to_string()),
        ("x-ms-lib-capability", "retry-after, h429".to_string()),
    ];
    let mailbox = attempt.grant.anchor_mailbox(&plan.authority).map(|mailbox| ("x-anchormailbox", mailbox));
    let is_replaced = |name: &str| plan.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    own.into_iter()
        .chain(mailbox)
        .filter(|(name, _)| !is_replaced(name))
        .map(|(name, value)| (name.to_string(), value))
        .chain(plan.headers.iter().cloned())
        .collect()
}

fn telemetry(plan: &Plan, attempt: &Attempt<'_>) -> CurrentTelemetry {
    CurrentTelemetry {
        cache_info: match attempt.reason {
            CacheRefreshReason::NotApplicable => CacheInfo::NotApplicable,
            CacheRefreshReason::ForceRefreshOrClaims => CacheInfo::ForceRefreshOrClaims,
            CacheRefreshReason::NoCachedAccessToken => CacheInfo::NoCachedAccessToken,
            CacheRefreshReason::Expired => CacheInfo::Expired,
            CacheRefreshReason::ProactivelyRefreshed => CacheInfo::ProactivelyRefreshed,
        },
        region_used: attempt.region.map(|region| region.as_str().into()),
        region_source: attempt.region_telemetry.0,
        region_outcome: attempt.region_telemetry.1,
        token_type: plan.binding.telemetry(),
        caller_sdk_id: plan.caller_sdk_id.clone(),
        caller_sdk_version: plan.caller_sdk_version.clone(),
        managed_certificate: plan.managed_certificate.clone(),
        ..CurrentTelemetry::new(plan.api_id)
    }
}

/// Adds parameters to a path, percent-encoded unless they are already.
pub(crate) fn push_query(path: &mut String, query: &[(String, String)], encoded: &[(String, String)]) {
    for (name, value) in query {
        push_parameter(path, name, value, push_percent_encoded);
    }
    for (name, value) in encoded {
        push_parameter(path, name, value, String::push_str);
    }
}

/// Adds a parameter to a path, name and value by `push`.
pub(crate) fn push_parameter(path: &mut String, name: &str, value: &str, push: fn(&mut String, &str)) {
    path.push(if path.contains('?') { '&' } else { '?' });
    push(path, name);
    path.push('=');
    push(path, value);
}

const CLIENT_SECRET: &str = "client_secret";

/// The host's own limits are the same; saying them lets another host keep them too.
const CONNECT_TIMEOUT_MS: u64 = 10_000;

const ANSWER_TIMEOUT_MS: u64 = 14_000;
