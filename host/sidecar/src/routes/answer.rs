//! What callers are answered with.

use std::collections::BTreeMap;

use axum::Json;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{
    ALLOW, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION,
    CONTENT_RANGE, CONTENT_TYPE, EXPIRES, HeaderName, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value};
use symbolon::{AuthorizationHeader, DownstreamResponse};

use crate::validation::Principal;

#[derive(Serialize)]
struct Validated<'a> {
    protocol: &'static str,
    token: &'a str,
    claims: &'a Map<String, Value>,
}

/// A token that is what it should be, and what is in it.
pub(super) fn validated(principal: &Principal) -> Response {
    let Principal { token, claims } = principal;
    Json(Validated { protocol: "Bearer", token, claims }).into_response()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Header<'a> {
    authorization_header: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    long_running_web_api_session_key: Option<&'a str>,
}

/// What a call of an API presents.
pub(super) fn authorization_header(header: &AuthorizationHeader) -> Response {
    let value = header.value().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let key = header.long_running_session_key();
    let body = Header { authorization_header: value, long_running_web_api_session_key: key };
    with_session_key(Json(body).into_response(), key)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Called<'a> {
    status_code: u16,
    headers: BTreeMap<String, Vec<String>>,
    content: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    content_is_base64: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    long_running_web_api_session_key: Option<&'a str>,
}

/// What an API answered, whatever its status.
pub(super) async fn called(response: DownstreamResponse, extra: &[HeaderName]) -> symbolon::Result<Response> {
    let status_code = response.status().as_u16();
    let headers = shown(response.headers(), extra);
    let key = response.long_running_session_key().map(str::to_owned);
    let bytes = response.bytes().await?;
    let text = std::str::from_utf8(&bytes);
    let content_is_base64 = text.is_err();
    let content = text.map_or_else(|_| BASE64_STANDARD.encode(&bytes), str::to_owned);
    let body = Called {
        status_code,
        headers,
        content: Some(content).filter(|content| !content.is_empty()),
        content_is_base64,
        long_running_web_api_session_key: key.as_deref(),
    };
    Ok(with_session_key(Json(body).into_response(), key.as_deref()))
}

/// The headers that say what the content is, and the configured ones.
fn shown(headers: &HeaderMap, extra: &[HeaderName]) -> BTreeMap<String, Vec<String>> {
    let wanted = headers.keys().filter(|name| CONTENT_HEADERS.contains(name) || extra.contains(name));
    let values = |name| headers.get_all(name).iter();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    wanted.map(|name| (title_case(name.as_str()), values(name).map(text).collect())).collect()
}

/// A header's name as .NET writes it: `Content-Type`.
fn title_case(name: &str) -> String {
    let mut is_first = true;
    let mut write = |letter: char| {
        let written = if is_first { letter.to_ascii_uppercase() } else { letter };
        is_first = letter == '-';
        written
    };
    name.chars().map(&mut write).collect()
}

/// For callers who don't read the body.
fn with_session_key(mut response: Response, key: Option<&str>) -> Response {
    if let Some(key) = key.and_then(|key| HeaderValue::try_from(key).ok()) {
        response.headers_mut().insert(SESSION_KEY, key);
    }
    response
}

/// What .NET calls the headers of content.
const CONTENT_HEADERS: [HeaderName; 10] = [
    ALLOW,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
    CONTENT_RANGE,
    CONTENT_TYPE,
    EXPIRES,
    LAST_MODIFIED,
];
const SESSION_KEY: HeaderName = HeaderName::from_static("long-running-web-api-session-key");
