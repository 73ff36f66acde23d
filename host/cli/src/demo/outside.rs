//! What flows begin with and Symbolon has no part in: a browser, and a library that is being moved away from.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::BodyExt as _;
use serde_json::Value;
use symbolon::ApplicationOptions;
use symbolon_resources::transport::{Body, Presentation, Transport, TransportShared};
use tokio::time::Instant;
use url::{Url, form_urlencoded};

use crate::failure::Failure;

/// Where the browser is sent at the end of a sign-in: the code that the redirect brings.
pub(super) async fn sign_in(options: &ApplicationOptions, url: &str) -> Result<String, Failure> {
    let response = send(options, Request::get(url).body(Bytes::new())).await?;
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let redirect = location.and_then(|location| Url::parse(location).ok());
    redirect
        .and_then(|url| url.query_pairs().find(|(name, _)| name == "code").map(|(_, code)| code.into_owned()))
        .ok_or_else(|| Failure::internal("the local authority redirected without a code"))
}

/// The refresh token that another library got for a user by this grant.
pub(super) async fn refresh_token(
    options: &ApplicationOptions,
    fields: &[(&str, &str)],
) -> Result<String, Failure> {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = Request::post(format!("{}/oauth2/v2.0/token", options.authority()))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Bytes::from(form));
    let body = send(options, request).await?.into_body().collect().await;
    let body = body.map_err(|error| Failure::internal(error.to_string()))?.to_bytes();
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    let token = answer.get("refresh_token").and_then(Value::as_str).map(str::to_owned);
    token.ok_or_else(|| Failure::internal("the local authority gave no refresh token"))
}

async fn send(
    options: &ApplicationOptions,
    request: http::Result<Request<Bytes>>,
) -> Result<Response<Body>, Failure> {
    let request = request.map_err(|error| Failure::internal(error.to_string()))?;
    let transport = TransportShared::new(|_| None)
        .and_then(|shared| Transport::new(&shared, options.egress().clone(), options.transport()))
        .map_err(|error| Failure::internal(error.to_string()))?;
    let deadline = Instant::now() + PATIENCE;
    let response = transport.send(request, Presentation::default(), deadline).await;
    response.map_err(|error| Failure::internal(error.to_string()))
}

const PATIENCE: Duration = Duration::from_secs(10);
