//! What proxies ask before they let a request through: a header for it.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use symbolon::{AuthorizationHeader, Error, ErrorKind};

use super::call::Failure;
use crate::problem::Problem;

/// The header that the proxy puts on the request, as a header of the answer.
pub(super) fn allowed(header: &AuthorizationHeader) -> Response {
    match header.value() {
        Some(value) => (StatusCode::OK, [(AUTHORIZATION, value.clone())]).into_response(),
        // Without it the request would go on as it came.
        None => StatusCode::FORBIDDEN.into_response(),
    }
}

/// Proxies know three refusals: 401 where the caller can do something about it, 503 where another attempt may help, and 403
/// for all others. None lets the request through.
pub(super) fn refused(failure: Failure) -> Response {
    let Failure { problem, error } = failure;
    let status = match error.as_ref() {
        Some(error) if needs_a_person(error) => StatusCode::UNAUTHORIZED,
        Some(error) if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
        None if problem.status() == StatusCode::UNAUTHORIZED => StatusCode::UNAUTHORIZED,
        _ => StatusCode::FORBIDDEN,
    };
    let challenge = error.as_ref().and_then(Error::www_authenticate);
    let detail = problem.detail().unwrap_or_default().to_owned();
    let mut response = Problem::new(status, detail).into_response();
    if status == StatusCode::UNAUTHORIZED {
        let challenge = challenge.unwrap_or(HeaderValue::from_static("Bearer"));
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

fn needs_a_person(error: &Error) -> bool {
    error.acquisition().is_some_and(|decision| decision.kind == ErrorKind::InteractionRequired)
}
