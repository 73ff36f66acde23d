//! What a caller is told where something went wrong (RFC 9457).

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use symbolon::{DownstreamErrorKind, Error, ErrorKind};

/// An answer of `application/problem+json`, with what the authority said where it is the one who refused.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The section of RFC 9110 on the status.
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[serde(serialize_with = "number")]
    status: StatusCode,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    refusal: Option<Box<Refusal>>,
    #[serde(skip)]
    challenge: Option<HeaderValue>,
}

/// What the authority said.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Refusal {
    error: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    error_codes: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suberror: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<String>,
    scopes: Vec<String>,
    correlation_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

impl Problem {
    /// A problem of that status, in words.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::of(status) }
    }

    fn of(status: StatusCode) -> Self {
        let (kind, title) = match status {
            StatusCode::BAD_REQUEST => ("https://tools.ietf.org/html/rfc9110#section-15.5.1", "Bad Request"),
            StatusCode::UNAUTHORIZED => {
                ("https://tools.ietf.org/html/rfc9110#section-15.5.2", "Unauthorized")
            }
            StatusCode::FORBIDDEN => ("https://tools.ietf.org/html/rfc9110#section-15.5.4", "Forbidden"),
            StatusCode::NOT_FOUND => ("https://tools.ietf.org/html/rfc9110#section-15.5.5", "Not Found"),
            StatusCode::TOO_MANY_REQUESTS => {
                ("https://tools.ietf.org/html/rfc6585#section-4", "Too Many Requests")
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                ("https://tools.ietf.org/html/rfc9110#section-15.6.4", "Service Unavailable")
            }
            _ => (
                "https://tools.ietf.org/html/rfc9110#section-15.6.1",
                "An error occurred while processing your request.",
            ),
        };
        Self { kind, title, status, detail: None, refusal: None, challenge: None }
    }

    /// No token came of it. What the authority refused, and what only a person can mend, is 401, with all that the caller
    /// needs to know; the rest is 500 and stands in the log. `is_callers` says whether the call is as the caller has it:
    /// then what can't be done as it is asked is 400.
    pub(crate) fn of_acquisition(error: &Error, scopes: &[String], is_callers: bool) -> Self {
        if let Some(detail) = mistake(error).filter(|_| is_callers) {
            return Self::new(StatusCode::BAD_REQUEST, detail);
        }
        let Some(decision) = error.acquisition().filter(|_| is_for_the_caller(error)) else {
            tracing::error!(code = error.code(), "a request failed: {error}");
            return Self::new(StatusCode::INTERNAL_SERVER_ERROR, "An unexpected error occurred.");
        };
        Self {
            refusal: Some(Box::new(Refusal {
                error: decision.code.clone(),
                error_codes: decision.aadsts_codes.clone(),
                suberror: decision.suberror.clone(),
                claims: decision.claims.clone(),
                scopes: scopes.to_vec(),
                correlation_id: decision.correlation_id.clone(),
                trace_id: decision.trace_id.clone(),
            })),
            challenge: error.www_authenticate(),
            ..Self::new(StatusCode::UNAUTHORIZED, decision.message.clone())
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What went wrong, in words.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }
}

/// What is wrong with the request itself, before anything was sent.
fn mistake(error: &Error) -> Option<String> {
    match (error.acquisition(), error.downstream()) {
        (Some(decision), _) if decision.kind == ErrorKind::InvalidRequest && decision.status.is_none() => {
            Some(decision.message.clone())
        }
        (_, Some(error)) if error.kind == DownstreamErrorKind::InvalidRequest => Some(error.message.clone()),
        _ => None,
    }
}

/// Whether the caller can do something about it: the authority answered and refused, or a person is needed.
fn is_for_the_caller(error: &Error) -> bool {
    error.acquisition().is_some_and(|decision| {
        decision.status.is_some()
            || matches!(decision.kind, ErrorKind::InteractionRequired | ErrorKind::Throttled)
    })
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status;
        let challenge = self.challenge.clone();
        let mut response = (status, axum::Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

fn number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}
