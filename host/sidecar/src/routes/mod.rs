//! The routes.

mod answer;
mod call;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, Request, State as Injected};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{AUTHORIZATION, CACHE_CONTROL, EXPIRES, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};

use self::call::{Call, Gate};
use crate::State;
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::validation::{Principal, Rejection};

type Shared = Injected<Arc<State>>;

pub(crate) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/Validate", get(validate))
        .route("/AuthorizationHeader/{api}", get(authorization_header))
        .route("/AuthorizationHeaderUnauthenticated/{api}", get(authorization_header_unauthenticated))
        .route("/DownstreamApi/{api}", post(downstream_api))
        .route("/DownstreamApiUnauthenticated/{api}", post(downstream_api_unauthenticated))
        .route("/openapi/v1.json", get(async || axum::Json(crate::openapi::description())))
        .with_state(state)
}

async fn validate(Injected(state): Shared, headers: HeaderMap) -> Result<Response, Refusal> {
    let principal = authenticate(&state, &headers).await?;
    if !state.validator.has_accepted_scope(&principal) {
        let accepted = state.validator.accepted_scopes().join(" ");
        let text = format!(
            "IDW10203: The 'scope' or 'scp' claim does not contain scopes '{accepted}' or was not found."
        );
        return Ok((StatusCode::FORBIDDEN, text).into_response());
    }
    Ok(answer::validated(&principal))
}

async fn authorization_header(
    Injected(state): Shared,
    Path(api): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let principal = authenticate(&state, &headers).await?;
    let gate = Gate::AuthorizationHeader;
    let call = Call::new(&state, &api, parameters(query), gate, Some(principal))?;
    Ok(call.authorization_header().await?)
}

async fn authorization_header_unauthenticated(
    Injected(state): Shared,
    Path(api): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let gate = Gate::AuthorizationHeaderUnauthenticated;
    let call = Call::new(&state, &api, parameters(query), gate, None)?;
    Ok(call.authorization_header().await?)
}

async fn downstream_api(
    Injected(state): Shared,
    Path(api): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let principal = authenticate(&state, request.headers()).await?;
    let gate = Gate::DownstreamApi;
    let call = Call::new(&state, &api, parameters(query), gate, Some(principal))?;
    Ok(call.send(request).await?)
}

async fn downstream_api_unauthenticated(
    Injected(state): Shared,
    Path(api): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let gate = Gate::DownstreamApiUnauthenticated;
    let call = Call::new(&state, &api, parameters(query), gate, None)?;
    Ok(call.send(request).await?)
}

fn parameters(query: Option<String>) -> Parameters {
    Parameters::parse(query.as_deref().unwrap_or_default())
}

/// Whose token the request has.
async fn authenticate(state: &State, headers: &HeaderMap) -> Result<Principal, Refusal> {
    let token = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
    });
    let token = token.filter(|token| !token.is_empty()).ok_or(Refusal::NoToken)?;
    state.validator.validate(token).await.map_err(Refusal::Token)
}

/// Why a request isn't done.
enum Refusal {
    NoToken,
    Token(Rejection),
    Problem(Problem),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let challenge = match self {
            Self::Problem(problem) => return problem.into_response(),
            Self::Token(Rejection::KeysUnavailable) => {
                let detail = "The authority's keys can't be had, so the token can't be checked.";
                return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
            }
            Self::NoToken => "Bearer".to_owned(),
            Self::Token(Rejection::Invalid(why)) => {
                format!(r#"Bearer error="invalid_token", error_description="{why}""#)
            }
        };
        let challenge = HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Bearer"));
        (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)]).into_response()
    }
}

/// What succeeds may hold a token.
pub(crate) async fn forbid_storing(mut response: Response) -> Response {
    if response.status().is_success() {
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
        headers.insert(EXPIRES, HeaderValue::from_static("0"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    }
    response
}
