//! Following redirects, where that is wanted.

use std::sync::Arc;
use std::time::Duration;

use ::url::Url;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, LOCATION, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use symbolon_resources::credentials::Binding;
use symbolon_resources::transport::{Body, RequestBody, Transport, TransportError};
use tokio::time::Instant;

use super::body::Content;

/// How requests of one attempt are sent.
pub(super) struct Sending<'a> {
    pub(super) transport: &'a Transport,
    pub(super) certificate: Option<&'a Arc<Binding>>,
    pub(super) deadline: Option<Instant>,
    pub(super) idle: Duration,
}

impl Sending<'_> {
    /// Sends a request, and goes where its answers point, ten steps at most. From https to http never, and nothing that
    /// proves anything goes to another origin than the first. Where a step can't be taken, its redirect is the answer.
    ///
    /// And whether what gave the answer was presented anything.
    pub(super) async fn follow(
        &self,
        parts: Parts,
        body: RequestBody,
        content: &Content,
    ) -> (Result<Response<Body>, TransportError>, bool) {
        let mut is_presented = true;
        let outcome = self.steps(parts, body, content, &mut is_presented).await;
        (outcome, is_presented)
    }

    async fn steps(
        &self,
        mut parts: Parts,
        mut body: RequestBody,
        content: &Content,
        is_presented: &mut bool,
    ) -> Result<Response<Body>, TransportError> {
        let mut certificate = self.certificate;
        for _ in 0..MAX_STEPS {
            let request = Request::from_parts(parts.clone(), body);
            let response = self.transport.exchange(request, certificate, self.deadline, self.idle).await?;
            let Some(step) = step(&parts, &response) else { return Ok(response) };
            body = match (step.method == parts.method, content) {
                // A method that changes has no body any more (RFC 9110 §15.4).
                (false, _) => RequestBody::empty(),
                (true, Content::Kept(bytes)) => RequestBody::whole(bytes.clone()),
                (true, Content::Once(_)) => return Ok(response),
            };
            if step.method != parts.method {
                parts.headers.remove(CONTENT_TYPE);
            }
            if !is_same_origin(&parts.uri, &step.uri) {
                certificate = None;
                *is_presented = false;
                parts.headers = harmless(&parts.headers);
            }
            tracing::debug!(host = step.uri.host().unwrap_or_default(), "following a redirect");
            (parts.method, parts.uri) = (step.method, step.uri);
        }
        let request = Request::from_parts(parts, body);
        self.transport.exchange(request, certificate, self.deadline, self.idle).await
    }
}

struct Step {
    method: Method,
    uri: Uri,
}

/// Where an answer points, if that is a step to take.
fn step(from: &Parts, response: &Response<Body>) -> Option<Step> {
    let method = match (response.status(), &from.method) {
        (StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND, &Method::POST) => Method::GET,
        (StatusCode::SEE_OTHER, &Method::HEAD) => Method::HEAD,
        (StatusCode::SEE_OTHER, _) => Method::GET,
        (
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT,
            method,
        ) => method.clone(),
        _ => return None,
    };
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let mut target = Url::parse(&from.uri.to_string()).ok()?.join(location).ok()?;
    target.set_fragment(None);
    let is_step_down = from.uri.scheme_str() == Some("https") && target.scheme() != "https";
    let has_user = !target.username().is_empty() || target.password().is_some();
    if is_step_down || has_user || !matches!(target.scheme(), "https" | "http") {
        return None;
    }
    Some(Step { method, uri: Uri::try_from(String::from(target)).ok()? })
}

pub(super) fn is_same_origin(one: &Uri, other: &Uri) -> bool {
    let port = |uri: &Uri| {
        uri.port_u16().or(match uri.scheme_str() {
            Some("https") => Some(443),
            _ => Some(80),
        })
    };
    let same = |a: Option<&str>, b: Option<&str>| match (a, b) {
        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
        _ => false,
    };
    same(one.scheme_str(), other.scheme_str()) && same(one.host(), other.host()) && port(one) == port(other)
}

/// Any other may be a key.
fn harmless(headers: &HeaderMap) -> HeaderMap {
    let keep = [ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, USER_AGENT];
    headers
        .iter()
        .filter(|(name, _)| keep.contains(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

const MAX_STEPS: usize = 10;
