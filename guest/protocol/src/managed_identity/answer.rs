//! What a source's answer means.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use super::source::Source;
use super::timestamp::lifetime_seconds;
use super::{REQUEST_FAILED, Result};
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::json::{Object, Value};
use crate::response::{
    Exchange, HttpResponse, MAX_DESCRIPTION_BYTES, SUCCESS, TEN_YEARS_SECONDS, TokenResponse, TransportError,
    TransportErrorKind, aadsts_codes, not_an_object, retry_after_ms, shortened, transport_error,
};

/// What an answer says.
///
/// # Errors
///
/// The source's refusal; a violation of the protocol by an answer that is neither that nor an object.
pub(super) fn members<'a>(
    response: &'a HttpResponse,
    source: Source,
    exchange: &Exchange<'_>,
) -> Result<Object<'a>> {
    let mut error = match response.status {
        SUCCESS => match Object::parse(&response.body) {
            Some(members) => return Ok(members),
            None => violation("managed_identity_response_parse_failure", not_an_object(exchange.host)),
        },
        _ => refusal(response, source, exchange),
    };
    error.class = ErrorClass::Service;
    error.status = Some(response.status);
    Err(error)
}

/// What a missing answer means.
pub(super) fn unreachable(cause: &TransportError, exchange: &Exchange<'_>) -> Box<Error> {
    use TransportErrorKind as Kind;
    let mut error = Box::new(transport_error(cause, exchange));
    if let Kind::NameResolution | Kind::Connection | Kind::Tls | Kind::ServerCertificate = cause.kind {
        error.code = "managed_identity_unreachable_network".into();
    }
    error
}

/// Reads a token.
///
/// # Errors
///
/// A violation of the protocol.
pub(super) fn token(members: &Object<'_>, exchange: &Exchange<'_>) -> Result<TokenResponse> {
    let host = exchange.host;
    let invalid = |name| invalid(name, exchange);
    let access_token = members.text("access_token").filter(|token| !token.is_empty());
    let access_token = access_token.ok_or_else(|| invalid("access_token"))?;
    let token_type = members.text("token_type");
    if let Some(other) = token_type.filter(|found| !found.eq_ignore_ascii_case("Bearer")) {
        let other = shortened(&other, 32);
        let message =
            format!("The answer of {host} holds a token of type {other:?}, which isn't a bearer token.");
        return Err(violation("token_type_mismatch", message));
    }
    let given = |name| members.get(name).filter(|value| !matches!(value.0, "null" | "\"\""));
    let expiry = given("expires_on").or_else(|| given("expires_in")).ok_or_else(|| invalid("expires_on"))?;
    let expires_in = lifetime_seconds(expiry, exchange.now / 1000).ok_or_else(|| {
        let message = format!("The answer of {host} says when the token expires in a form that isn't known.");
        violation("invalid_timestamp_format", message)
    })?;
    if !(1..=TEN_YEARS_SECONDS).contains(&expires_in) {
        return Err(invalid("expires_on"));
    }
    Ok(TokenResponse {
        access_token,
        expires_in,
        extended_expires_in: None,
        refresh_in: (expires_in > LONG_LIFETIME_SECONDS).then_some(expires_in / 2),
        scope: None,
        refresh_token: None,
        id_token: None,
        client_info: None,
        spa_code: None,
    })
}

fn refusal(response: &HttpResponse, source: Source, exchange: &Exchange<'_>) -> Box<Error> {
    let status = response.status;
    let members = Object::parse(&response.body).unwrap_or_default();
    // Cloud Shell puts both into an object.
    let nested = members.get("error").and_then(Value::object);
    let said = nested.as_ref().unwrap_or(&members);
    let code = said.text(if nested.is_some() { "code" } else { "error" }).unwrap_or_default();
    // Machine Learning writes its names with capitals.
    let names = ["error_description", "message", "Message"];
    let description = names.iter().find_map(|name| said.text(name)).unwrap_or_default();
    let hint = match (source, status) {
        (Source::Imds, 400) => "; is the identity assigned to this resource?",
        (Source::AzureArc, 401) => "; its challenge (WWW-Authenticate) can't be met",
        (Source::Imds, 502 | 504) => "; a gateway in between failed",
        _ => "",
    };
    let words = [shortened(&code, 64), shortened(description.trim(), MAX_DESCRIPTION_BYTES)].join(" ");
    let message = format!("{} gives no token (status {status}{hint}): {}", exchange.host, words.trim());
    let kind = match status {
        429 => ErrorKind::Throttled,
        404 | 408 | 410 | 500..=599 => ErrorKind::TemporarilyUnavailable,
        _ => ErrorKind::Refused,
    };
    let correlation_id =
        ["correlationId", "correlation_id", "CorrelationId"].iter().find_map(|name| said.text(name));
    let mut error = Box::new(Error::new(kind, REQUEST_FAILED, message.trim_end()));
    error.retryable = matches!(status, 404 | 408 | 429 | 500 | 503 | 504);
    error.retry_after_ms =
        response.retry_after.as_deref().and_then(|value| retry_after_ms(value, exchange.now));
    error.aadsts_codes = aadsts_codes(&members, &description);
    error.correlation_id = correlation_id.unwrap_or_default();
    error
}

/// The error for an answer without something that it must say.
pub(super) fn invalid(name: &str, exchange: &Exchange<'_>) -> Box<Error> {
    let message = format!("The answer of {} holds no {name} that can be used.", exchange.host);
    violation("invalid_token_provider_response_value", message)
}

fn violation(code: &str, message: String) -> Box<Error> {
    Error::new(ErrorKind::ProtocolViolation, code, message).into()
}

/// Tokens that live longer than this are renewed at half of their lifetime.
const LONG_LIFETIME_SECONDS: u64 = 7200;
