//! A request on its way to the API, and the answer on its way back.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use symbolon_wasi::settings::Settings;

use crate::Refused;
use crate::bindings::symbolon::token::acquisition::{ApiAnswer, Presented, Refusal, Verdict, review};
use crate::bindings::wasi::http::outgoing_handler;
use crate::bindings::wasi::http::types::{
    Fields, IncomingBody, IncomingRequest, IncomingResponse, OutgoingBody, OutgoingRequest, OutgoingResponse,
    ResponseOutparam, Scheme,
};
use crate::bindings::wasi::io::streams::InputStream;
use crate::headers::{Headers, end_to_end};
use crate::stream;
use crate::token::Token;

/// Where requests go.
pub(crate) struct Api {
    scheme: Scheme,
    authority: String,
    /// Without `/` at the end.
    path: String,
}

impl Api {
    /// The API of the configuration.
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let url = settings.required("DownstreamApi:BaseUrl")?;
        let (scheme, rest) = match url.split_once("://") {
            Some(("https", rest)) => (Scheme::Https, rest),
            // A token in the clear goes no further than this machine.
            Some(("http", rest)) if is_loopback(rest) => (Scheme::Http, rest),
            _ => {
                return Err(
                    "DownstreamApi:BaseUrl: found no https URL; accepted: https, http on loopback".into()
                );
            }
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Ok(Self { scheme, authority: authority.into(), path: path.trim_end_matches('/').into() })
    }

    /// Sends a request with the token in the place of whatever the caller was known by.
    pub(crate) fn send(&self, incoming: &mut Incoming<'_>, token: &Token) -> Result<Response, Refused> {
        let unsent = |()| Refused::new(400, "invalid_request");
        let mut headers = incoming.headers();
        headers.push(("authorization".into(), token.authorization.clone()));
        let outgoing = OutgoingRequest::new(
            Fields::from_list(&headers).map_err(|_| Refused::new(400, "invalid_headers"))?,
        );
        let target = [self.path.as_str(), &incoming.request.path_with_query().unwrap_or_default()].concat();
        outgoing
            .set_method(&incoming.request.method())
            .and_then(|()| outgoing.set_scheme(Some(&self.scheme)))
            .and_then(|()| outgoing.set_authority(Some(&self.authority)))
            .and_then(|()| outgoing.set_path_with_query(Some(&target)))
            .map_err(unsent)?;
        let content = outgoing.body().map_err(unsent)?;
        let failed = |_| Refused::new(502, "upstream_failed");
        let future = outgoing_handler::handle(outgoing, None).map_err(failed)?;
        let copied = match &incoming.body {
            Some(body) => stream::copy(&content, &body.first, &body.rest).is_ok(),
            None => true,
        };
        // An API may answer before it has read everything; its answer counts.
        if copied {
            OutgoingBody::finish(content, None).map_err(failed)?;
        }
        future.subscribe().block();
        match future.get() {
            Some(Ok(Ok(response))) => Ok(Response { response }),
            _ => Err(Refused::new(502, "upstream_failed")),
        }
    }
}

fn is_loopback(authority_and_path: &str) -> bool {
    let authority = authority_and_path.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    ["127.0.0.1", "localhost", "[::1]"].contains(&host)
}

/// A request to be forwarded.
pub(crate) struct Incoming<'a> {
    request: &'a IncomingRequest,
    body: Option<Body>,
}

/// What of a body was read to see whether there is one, and the rest.
struct Body {
    first: Vec<u8>,
    rest: InputStream,
    _content: IncomingBody,
}

impl<'a> Incoming<'a> {
    pub(crate) fn new(request: &'a IncomingRequest) -> Result<Self, Refused> {
        let broken = || Refused::new(400, "invalid_body");
        let content = request.consume().map_err(|()| broken())?;
        let rest = content.stream().map_err(|()| broken())?;
        let first = stream::read(&rest).map_err(|_| broken())?;
        Ok(Self { request, body: first.map(|first| Body { first, rest, _content: content }) })
    }

    pub(crate) fn has_body(&self) -> bool {
        self.body.is_some()
    }

    /// Without what the caller is known by. That there is no body is said: some hosts send one of unknown length otherwise.
    fn headers(&self) -> Headers {
        let headers = self.request.headers().entries();
        if self.has_body() {
            return end_to_end(headers, &["authorization"]);
        }
        let mut headers = end_to_end(headers, &["authorization", "content-length"]);
        headers.push(("content-length".into(), b"0".to_vec()));
        headers
    }
}

/// The API's answer.
pub(crate) struct Response {
    response: IncomingResponse,
}

impl Response {
    /// The claims that the API wants in the token, where it refused this one for their lack.
    pub(crate) fn claims_wanted(&self) -> Option<String> {
        const UNAUTHORIZED: u16 = 401;
        if self.response.status() != UNAUTHORIZED {
            return None;
        }
        let challenges = self.response.headers().get(&"www-authenticate".to_string());
        let refusal = Refusal {
            presented: Presented::Token,
            answer: ApiAnswer::Status(UNAUTHORIZED),
            challenges: challenges.into_iter().filter_map(|value| String::from_utf8(value).ok()).collect(),
            attempt: 1,
            bad_request_rejects: false,
        };
        match review(&refusal) {
            Verdict::AcquireWithClaims(claims) => Some(claims),
            _ => None,
        }
    }

    /// Gives the answer to the caller, whose connection is cut where the API's was.
    pub(crate) fn pass_on(self, answer: ResponseOutparam) {
        let headers = end_to_end(self.response.headers().entries(), &[]);
        let outgoing = OutgoingResponse::new(Fields::from_list(&headers).unwrap_or_else(|_| Fields::new()));
        // Only a status that isn't one is refused.
        let _ = outgoing.set_status_code(self.response.status());
        let content = outgoing.body();
        ResponseOutparam::set(answer, Ok(outgoing));
        let (Ok(content), Ok(body)) = (content, self.response.consume()) else { return };
        let Ok(stream) = body.stream() else { return };
        if stream::copy(&content, &[], &stream).is_ok() {
            let _ = OutgoingBody::finish(content, None);
        }
    }
}
