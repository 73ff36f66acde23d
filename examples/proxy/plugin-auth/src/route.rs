//! What the route asks for, and what upstream asks for beside.

use alloc::string::String;
use alloc::vec::Vec;

use crate::Failure;
use crate::bindings::symbolon::token::acquisition::{
    self, ApiAnswer, AssertionKind, ClientFlow, Flow, Options, Presented, Refusal, Request, Scheme,
    UserAssertion, Verdict,
};
use crate::bindings::symbolon::token::send_authorized;
use crate::bindings::symbolon::token::types::{Authorization, Error, ErrorKind, Token};
use crate::bindings::wasi::config::store;
use crate::bindings::wasi::http::types::{Fields, IncomingResponse};

/// What is presented on a route.
pub(crate) enum Route {
    /// A token.
    Token { scheme: Scheme, scopes: Vec<String>, flow: Flow },
    /// The certificate alone.
    Certificate,
}

impl Route {
    /// The route of a request with these headers.
    pub(crate) fn read(headers: &Fields) -> Result<Self, Failure> {
        let scheme = match setting("scheme").as_str() {
            "MTLS" => return Ok(Self::Certificate),
            "MTLS_POP" => Scheme::MtlsPop,
            _ => Scheme::Bearer,
        };
        let flow = match setting("flow").as_str() {
            "on-behalf-of" => Flow::OnBehalfOf(user(headers).ok_or_else(|| {
                refused(ErrorKind::InteractionRequired, "the request brings no user's token")
            })?),
            _ => {
                Flow::ForClient(ClientFlow { fmi_path: None, attributes: None, attribute_tokens: Vec::new() })
            }
        };
        let scopes = setting("scopes").split_ascii_whitespace().map(Into::into).collect();
        Ok(Self::Token { scheme, scopes, flow })
    }

    /// What is to be presented; with the claims of a challenge, if it was one.
    pub(crate) fn authorize(&self, claims: Option<String>) -> Result<Authorization, Failure> {
        let Self::Token { scheme, scopes, flow } = self else {
            return send_authorized::certificate().map_err(Failure::Authorization);
        };
        let request = Request {
            flow: flow.clone(),
            scopes: scopes.clone(),
            scheme: *scheme,
            options: claims.map(challenged),
        };
        match acquisition::acquire(&request, None).map_err(Failure::Authorization)?.token {
            Token::Sealed(authorization) => Ok(authorization),
            Token::Raw(_) => Err(refused(ErrorKind::InvalidRequest, "the host seals no tokens")),
        }
    }

    /// The claims that a token must have for upstream to accept it.
    pub(crate) fn claims_demanded_by(&self, answer: &IncomingResponse, attempt: u32) -> Option<String> {
        if answer.status() != 401 || matches!(self, Self::Certificate) {
            return None;
        }
        let challenges = answer.headers().get("www-authenticate");
        let challenges = challenges.into_iter().filter_map(|value| String::from_utf8(value).ok()).collect();
        let verdict = acquisition::review(&Refusal {
            presented: Presented::Token,
            answer: ApiAnswer::Status(answer.status()),
            challenges,
            attempt,
            bad_request_rejects: false,
        });
        match verdict {
            Verdict::AcquireWithClaims(claims) => Some(claims),
            _ => None,
        }
    }
}

fn setting(name: &str) -> String {
    store::get(name).ok().flatten().unwrap_or_default()
}

/// The user of a request.
fn user(headers: &Fields) -> Option<UserAssertion> {
    let header = headers.get("authorization").into_iter().next()?;
    let (scheme, token) = core::str::from_utf8(&header).ok()?.split_once(' ')?;
    let assertion = token.trim().into();
    scheme.eq_ignore_ascii_case("bearer").then_some(UserAssertion { assertion, kind: AssertionKind::Jwt })
}

fn challenged(claims: String) -> Options {
    Options {
        tenant_id: None,
        authority: None,
        claims: Some(claims),
        client_claims: None,
        force_refresh: false,
        access_token_sha256_to_refresh: None,
        pop_public_key: None,
        client_assertion_fmi_path: None,
        extra_client_assertion_claims: None,
        send_x5c: None,
        cache_partitions: Vec::new(),
        correlation_id: None,
        extra_query_parameters: Vec::new(),
        encoded_query_parameters: Vec::new(),
        extra_body_parameters: Vec::new(),
        extra_headers: Vec::new(),
    }
}

fn refused(kind: ErrorKind, message: &str) -> Failure {
    Failure::Authorization(Error {
        kind,
        code: "invalid_request".into(),
        message: message.into(),
        retryable: false,
        retry_after_ms: None,
        status: None,
        aadsts_codes: Vec::new(),
        suberror: None,
        claims: None,
        correlation_id: String::new(),
        trace_id: None,
        timestamp: None,
    })
}
