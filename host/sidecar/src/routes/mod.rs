//! The routes.

mod answer;
mod call;
mod forward;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, Request, State as Injected};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use http::header::{AUTHORIZATION, CACHE_CONTROL, EXPIRES, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};

use self::call::{Call, Failure, Gate};
use crate::State;
use crate::caller::PeerCertificate;
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
        .route("/ForwardAuth/{api}", any(forward_auth))
        .route("/ForwardAuth/{api}/", any(forward_auth))
        .route("/ForwardAuth/{api}/{*path}", any(forward_auth))
        .route("/ForwardAuthUnauthenticated/{api}", any(forward_auth_unauthenticated))
        .route("/ForwardAuthUnauthenticated/{api}/", any(forward_auth_unauthenticated))
        .route("/ForwardAuthUnauthenticated/{api}/{*path}", any(forward_auth_unauthenticated))
        .route("/openapi/v1.json", get(async || axum::Json(crate::openapi::description())))
        .with_state(state)
}

async fn validate(Injected(state): Shared, request: Request) -> Result<Response, Refusal> {
    let principal = authenticate(&state, &request).await?;
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
    request: Request,
) -> Result<Response, Refusal> {
    let principal = authenticate(&state, &request).await?;
    let gate = Gate::AuthorizationHeader;
    let call = Call::new(&state, &api, parameters(query), gate, Some(principal))?;
    Ok(answer::authorization_header(&call.authorization_header().await?))
}

async fn authorization_header_unauthenticated(
    Injected(state): Shared,
    Path(api): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let gate = Gate::AuthorizationHeaderUnauthenticated;
    let call = Call::new(&state, &api, parameters(query), gate, None)?;
    Ok(answer::authorization_header(&call.authorization_header().await?))
}

async fn downstream_api(
    Injected(state): Shared,
    Path(api): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let principal = authenticate(&state, &request).await?;
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

/// For proxies, whatever the path behind the API is: some of them append that of the request. Its query is its sender's, and
/// changes nothing.
async fn forward_auth(
    Injected(state): Shared,
    Path(names): Path<Vec<(String, String)>>,
    request: Request,
) -> Response {
    let principal = match authenticate(&state, &request).await {
        Ok(principal) => principal,
        Err(refusal) => return refusal.into_response(),
    };
    if !state.validator.has_accepted_scope(&principal) {
        return StatusCode::FORBIDDEN.into_response();
    }
    forward(&state, &names, Some(principal)).await
}

/// The same with the application's own token.
async fn forward_auth_unauthenticated(
    Injected(state): Shared,
    Path(names): Path<Vec<(String, String)>>,
) -> Response {
    forward(&state, &names, None).await
}

async fn forward(state: &State, names: &[(String, String)], principal: Option<Principal>) -> Response {
    let api = names.first().map(|(_, api)| api.as_str()).unwrap_or_default();
    let header = match Call::as_configured(state, api, principal) {
        Ok(call) => call.authorization_header().await,
        Err(problem) => Err(problem.into()),
    };
    header.map_or_else(forward::refused, |header| forward::allowed(&header))
}

fn parameters(query: Option<String>) -> Parameters {
    Parameters::parse(query.as_deref().unwrap_or_default())
}

/// Whose token the request has.
fn authenticate<'a>(
    state: &'a State,
    request: &Request,
) -> impl Future<Output = Result<Principal, Refusal>> + Send + use<'a> {
    let presented = presented(request.headers()).map(str::to_owned);
    let certificate = request.extensions().get::<PeerCertificate>().cloned();
    async move {
        let token = presented.ok_or(Refusal::NoToken)?;
        state.validator.validate(&token, certificate.as_ref()).await.map_err(Refusal::Token)
    }
}

/// The token of a request. `mtls_pop` is how Entra ID's clients present one that is bound to a certificate.
fn presented(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let is_known = ["Bearer", "mtls_pop"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    Some(token.trim()).filter(|token| is_known && !token.is_empty())
}

/// Why a request isn't done.
enum Refusal {
    NoToken,
    Token(Rejection),
    Problem(Problem),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Problem(failure.problem)
    }
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
