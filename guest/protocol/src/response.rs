//! What the authority's answer means.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::cloud::is_derived_mtls_host;
use crate::error::{Classification, Error, ErrorClass, ErrorKind};
use crate::identity::present_text;
use crate::json::{Object, Value};

/// An answer of the token endpoint.
#[derive(Clone)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The `retry-after` header, where [`wants_retry_after`] asks for it.
    pub retry_after: Option<String>,
    /// The `www-authenticate` header, where [`wants_challenge`] asks for it.
    pub challenge: Option<String>,
    /// The `date` header, where [`wants_date`] asks for it.
    pub date: Option<String>,
    /// The `server` header of an answer that came without TLS.
    pub server: Option<String>,
    /// The body, at most [`MAX_BODY_BYTES`].
    pub body: Vec<u8>,
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse")
            .field("status", &self.status)
            .field("retry_after", &self.retry_after)
            .field("challenge", &self.challenge)
            .field("body", &self.body.len())
            .finish()
    }
}

/// The longest body that is read, in bytes. A longer one is [`TransportErrorKind::ResponseTooLarge`].
pub const MAX_BODY_BYTES: u64 = 1024 * 1024;

/// Whether an answer's `retry-after` header is of interest. Every header that isn't read saves calls to the host.
pub fn wants_retry_after(status: u16) -> bool {
    status != SUCCESS
}

/// Whether an answer's `date` header is of interest: a clock that is wrong explains many a refusal.
pub fn wants_date(status: u16) -> bool {
    status != SUCCESS
}

/// Whether an answer's `www-authenticate` header is of interest.
pub fn wants_challenge(status: u16) -> bool {
    status == UNAUTHORIZED
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportErrorKind {
    /// The host name couldn't be resolved.
    NameResolution,
    /// No connection came about, or it broke before the answer was complete.
    Connection,
    /// The TLS handshake failed.
    Tls,
    /// The server's certificate isn't trusted, or isn't for its name.
    ServerCertificate,
    /// The authority took too long.
    Timeout,
    /// The host's policy forbids the authority, or the credential can't be presented.
    Denied,
    /// The answer is longer than allowed.
    ResponseTooLarge,
    /// The answer breaks the rules of HTTP.
    Protocol,
    /// The host couldn't make the request.
    Internal,
}

/// Why there is no answer, in the host's words.
#[derive(Clone, Debug)]
pub struct TransportError {
    /// What happened.
    pub kind: TransportErrorKind,
    /// The details, such as `TLS-certificate-error`. Holds no secret.
    pub detail: String,
    /// Whether the authority may have got the request.
    pub may_be_sent: bool,
}

/// The request that an answer belongs to: what is expected of the answer, and what errors name.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    /// The type that the token must have, compared without case: `Bearer`, `mtls_pop`, `PoP`.
    pub token_type: &'a str,
    /// The client.
    pub client_id: &'a str,
    /// The client's blueprint, where it is an agent: it has no credential of its own.
    pub blueprint: Option<&'a str>,
    /// The host that was asked.
    pub host: &'a str,
    /// Whether the client's certificate was presented in the TLS handshake.
    pub bound: bool,
    /// Whether the authority may have used up what was sent, so that it must not be sent again.
    pub single_use: bool,
    /// The request's own correlation id.
    pub correlation_id: &'a str,
    /// The time now, in Unix milliseconds.
    pub now: u64,
}

/// What a successful answer says.
#[derive(Clone)]
#[non_exhaustive]
pub struct TokenResponse {
    /// The access token.
    pub access_token: String,
    /// For how many seconds it is valid; at most ten years. 0 where the authority doesn't say.
    pub expires_in: u64,
    /// For how many seconds it may be used while the authority is down.
    pub extended_expires_in: Option<u64>,
    /// In how many seconds a renewal is due.
    pub refresh_in: Option<u64>,
    /// What the token is for, where it isn't what was asked.
    pub scope: Option<String>,
    /// What brings the next token without the user.
    pub refresh_token: Option<String>,
    /// What the authority says about the user.
    pub id_token: Option<String>,
    /// The user's home, base64url of a JSON object.
    pub client_info: Option<String>,
    /// The code for the single-page application.
    pub spa_code: Option<String>,
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("expires_in", &self.expires_in)
            .field("extended_expires_in", &self.extended_expires_in)
            .field("refresh_in", &self.refresh_in)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// Reads an answer of the token endpoint.
///
/// # Errors
///
/// The authority's refusal; a violation of the protocol by an answer that is neither that nor a token.
pub fn parse(response: &HttpResponse, exchange: &Exchange<'_>) -> Result<TokenResponse, Error> {
    let result = match response.status {
        SUCCESS => token(&response.body, exchange),
        _ => Err(refusal(response, exchange)),
    };
    result.map_err(|error| Error {
        status: Some(response.status),
        correlation_id: Some(error.correlation_id)
            .filter(|id| !id.is_empty())
            .unwrap_or_else(|| exchange.correlation_id.into()),
        retryable: error.retryable && !exchange.single_use,
        message: error.message + &clock_skew(response.date.as_deref(), exchange).unwrap_or_default(),
        ..error
    })
}

/// What the server's clock says beside ours, where they are more than a minute apart.
fn clock_skew(date: Option<&str>, exchange: &Exchange<'_>) -> Option<String> {
    let date = date?.trim();
    let (theirs, ours) = (http_date(date)?, exchange.now / 1000);
    let order = if theirs > ours { "behind" } else { "ahead of" };
    let seconds = theirs.abs_diff(ours);
    (seconds > MAX_CLOCK_SKEW_SECONDS).then(|| {
        format!(" The clock here is {seconds} s {order} that of {} ({date}); set it right.", exchange.host)
    })
}

/// What a missing answer means.
pub fn transport_error(cause: &TransportError, exchange: &Exchange<'_>) -> Error {
    let (kind, code, what, retryable) = match cause.kind {
        TransportErrorKind::NameResolution => {
            (ErrorKind::TransportFailed, "name_resolution_failed", "its name can't be resolved", true)
        }
        TransportErrorKind::Connection => {
            (ErrorKind::TransportFailed, "connection_failed", "the connection failed", true)
        }
        TransportErrorKind::Tls => {
            (ErrorKind::TransportFailed, TLS_FAILED, "the TLS handshake failed", false)
        }
        TransportErrorKind::ServerCertificate => (
            ErrorKind::TransportFailed,
            TLS_FAILED,
            "its TLS certificate isn't trusted or isn't for this name; if its CA is a private one, trust that CA",
            false,
        ),
        TransportErrorKind::Timeout => {
            (ErrorKind::TransportFailed, REQUEST_TIMEOUT, "no answer came in time", true)
        }
        TransportErrorKind::Denied => (
            ErrorKind::InvalidRequest,
            "request_denied",
            "the host's policy forbids the request, or the credential can't be presented",
            false,
        ),
        TransportErrorKind::ResponseTooLarge => {
            (ErrorKind::ProtocolViolation, "response_too_large", "the answer is longer than allowed", false)
        }
        TransportErrorKind::Protocol => (
            ErrorKind::ProtocolViolation,
            "http_protocol_error",
            "the answer breaks the rules of HTTP",
            false,
        ),
        TransportErrorKind::Internal => {
            (ErrorKind::TransportFailed, "http_request_failed", "the request couldn't be made", false)
        }
    };
    let is_derived =
        exchange.bound && kind == ErrorKind::TransportFailed && is_derived_mtls_host(exchange.host);
    let hint = if is_derived { DERIVED_HOST } else { "" };
    let message = format!("No answer from {}: {what} ({}).{hint}", exchange.host, cause.detail);
    let error = Error {
        class: ErrorClass::Service,
        retryable,
        correlation_id: exchange.correlation_id.into(),
        ..Error::new(kind, code, message)
    };
    if exchange.single_use && cause.may_be_sent { used_up(error) } else { error }
}

/// The authority may have used up what was sent, though nobody got anything for it.
fn used_up(error: Error) -> Error {
    Error {
        kind: ErrorKind::OutcomeUnknown,
        retryable: false,
        message: format!(
            "{} What was exchanged for a token may be used up, and must not be sent again; the user must sign in anew.",
            error.message
        ),
        ..error
    }
}

/// The pause that a `retry-after` header asks for, in milliseconds from `now` (Unix milliseconds); at most an hour.
///
/// Seconds and dates of RFC 9110 §5.6.7 in the preferred form; anything else counts as absent.
pub fn retry_after_ms(value: &str, now: u64) -> Option<u64> {
    let value = value.trim();
    let ms = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1000)
    } else {
        http_date(value)?.saturating_mul(1000).saturating_sub(now)
    };
    Some(ms.min(MAX_RETRY_AFTER_MS))
}

fn token(body: &[u8], exchange: &Exchange<'_>) -> Result<TokenResponse, Error> {
    let members =
        Object::parse(body).ok_or_else(|| violation("json_parse_failed", not_an_object(exchange.host)))?;
    require_token_type(&members, exchange)?;
    let access_token = members.text("access_token").filter(|token| !token.is_empty()).ok_or_else(|| {
        violation("access_token_missing", format!("The answer of {} holds no access_token.", exchange.host))
    })?;
    Ok(TokenResponse {
        access_token,
        expires_in: seconds(&members, "expires_in", exchange)?.unwrap_or(0),
        extended_expires_in: seconds(&members, "ext_expires_in", exchange)?,
        refresh_in: seconds(&members, "refresh_in", exchange)?,
        scope: present_text(&members, "scope"),
        refresh_token: present_text(&members, "refresh_token"),
        id_token: present_text(&members, "id_token"),
        client_info: present_text(&members, "client_info"),
        spa_code: present_text(&members, "spa_code"),
    })
}

pub(crate) fn not_an_object(host: &str) -> String {
    format!("The answer of {host} isn't a JSON object.")
}

/// A token of another type than was asked for is no token: whoever asked for a bound one must not get a bearer token.
fn require_token_type(members: &Object<'_>, exchange: &Exchange<'_>) -> Result<(), Error> {
    let expected = exchange.token_type;
    match members.text("token_type").filter(|found| !found.is_empty()) {
        None => Err(violation(
            "token_type_missing",
            format!("The answer of {} holds no token_type; {expected} was asked for.", exchange.host),
        )),
        Some(found) if found.eq_ignore_ascii_case(expected) => Ok(()),
        Some(found) => Err(violation(
            "token_type_mismatch",
            format!(
                "The answer of {} holds a token of type {:?} where {expected} was asked for.",
                exchange.host,
                shortened(&found, 32)
            ),
        )),
    }
}

/// A number of seconds, written as a number or as a string of digits.
fn seconds(members: &Object<'_>, name: &str, exchange: &Exchange<'_>) -> Result<Option<u64>, Error> {
    let Some(value) = members.get(name).filter(|value| value.0 != "null") else { return Ok(None) };
    match number(value) {
        Some(seconds) if seconds <= TEN_YEARS_SECONDS => Ok(Some(seconds)),
        _ => Err(violation(
            "invalid_token_lifetime",
            format!("{name} in the answer of {} isn't a number of seconds up to ten years.", exchange.host),
        )),
    }
}

/// A number, written as one or as a string of digits.
fn number(value: Value<'_>) -> Option<u64> {
    value.number().or_else(|| value.text()?.parse().ok())
}

fn refusal(response: &HttpResponse, exchange: &Exchange<'_>) -> Error {
    let retry_after_ms =
        response.retry_after.as_deref().and_then(|value| retry_after_ms(value, exchange.now));
    let error = match Object::parse(&response.body) {
        Some(members) => oauth_error(&members, response.status, exchange),
        None if response.body.trim_ascii().is_empty() => without_oauth_error(response.status, exchange),
        None => not_json(response.status, exchange),
    };
    let error = Error { retry_after_ms, ..error };
    match response.status {
        500..=599 => unavailable(error, response.status, exchange),
        408 => Error { kind: ErrorKind::TemporarilyUnavailable, retryable: true, ..error },
        429 => Error { kind: ErrorKind::Throttled, retryable: true, ..error },
        _ => error,
    }
}

/// An error of the authority's in the form of RFC 6749 §5.2, with what Entra adds to it.
fn oauth_error(members: &Object<'_>, status: u16, exchange: &Exchange<'_>) -> Error {
    let present = |name| members.text(name).filter(|text| !text.is_empty());
    let Some(code) = present("error") else { return without_oauth_error(status, exchange) };
    let (suberror, claims) = (present("suberror"), present("claims"));
    let description = members.text("error_description").unwrap_or_default();
    let class = class(&code, suberror.as_deref(), claims.is_some());
    let error = Error {
        class,
        classification: match class {
            ErrorClass::UiRequired | ErrorClass::ClaimsChallenge => {
                Classification::from_suberror(suberror.as_deref().unwrap_or_default())
            }
            _ => Classification::None,
        },
        retryable: code == TEMPORARILY_UNAVAILABLE,
        aadsts_codes: aadsts_codes(members, &description),
        suberror,
        claims,
        correlation_id: members.text("correlation_id").unwrap_or_default(),
        trace_id: members.text("trace_id"),
        timestamp: members.text("timestamp"),
        ..Error::new(kind(class, &code), code.as_str(), message(&code, &description, exchange))
    };
    if exchange.bound && error.is_bound_transport_refusal() { not_enabled(error, exchange) } else { error }
}

fn class(code: &str, suberror: Option<&str>, has_claims: bool) -> ErrorClass {
    let not_for_people = ["client_mismatch", "protection_policy_required"];
    let ui_required = match code {
        "invalid_grant" => {
            !suberror.is_some_and(|found| not_for_people.iter().any(|name| name.eq_ignore_ascii_case(found)))
        }
        "interaction_required" => true,
        _ => false,
    };
    match (ui_required, has_claims) {
        (true, true) => ErrorClass::ClaimsChallenge,
        (true, false) => ErrorClass::UiRequired,
        (false, _) => ErrorClass::Service,
    }
}

fn kind(class: ErrorClass, code: &str) -> ErrorKind {
    match (class, code) {
        (ErrorClass::UiRequired | ErrorClass::ClaimsChallenge, _) => ErrorKind::InteractionRequired,
        (_, "invalid_client" | "unauthorized_client") => ErrorKind::InvalidClient,
        (_, TEMPORARILY_UNAVAILABLE) => ErrorKind::TemporarilyUnavailable,
        _ => ErrorKind::Refused,
    }
}

fn message(code: &str, description: &str, exchange: &Exchange<'_>) -> String {
    let said = match description.trim() {
        "" => "and gave no description",
        description => shortened(description, MAX_DESCRIPTION_BYTES),
    };
    match code {
        _ if description.starts_with("AADSTS50196") => format!(
            "{} is asked for the same token over and over and refuses for a while; use the token that it gave: {said}",
            exchange.host
        ),
        "invalid_client" => match exchange.blueprint {
            Some(blueprint) => format!(
                "{} doesn't accept {} as an agent of {blueprint}; check that it is one: {said}",
                exchange.host, exchange.client_id
            ),
            None => format!(
                "{} doesn't accept the credential of client {}; check that it is the one registered and hasn't expired: \
             {said}",
                exchange.host, exchange.client_id
            ),
        },
        _ => format!("{} refused the request: {said}", exchange.host),
    }
}

fn not_enabled(error: Error, exchange: &Exchange<'_>) -> Error {
    Error {
        kind: ErrorKind::BoundTransportNotEnabled,
        message: format!(
            "{} doesn't let application {} bind its connection to a certificate; have mutual TLS enabled for it, or set \
             UseBoundCredential to false. It said: {}",
            exchange.host, exchange.client_id, error.message
        ),
        ..error
    }
}

fn without_oauth_error(status: u16, exchange: &Exchange<'_>) -> Error {
    let code = if status == 404 { "not_found" } else { "http_status_not_200" };
    service(code, format!("{} answered with status {status} and no error of the protocol.", exchange.host))
}

fn not_json(status: u16, exchange: &Exchange<'_>) -> Error {
    if status == 429 {
        let message = format!("{} asks for a pause (status 429).", exchange.host);
        return Error { class: ErrorClass::ThrottledService, ..service("request_throttled", message) };
    }
    service(
        "non_parsable_oauth_error",
        format!("{} answered with status {status} and a body that isn't a JSON object.", exchange.host),
    )
}

/// The status outweighs the body's `error`, but not what the body says a person must do.
fn unavailable(error: Error, status: u16, exchange: &Exchange<'_>) -> Error {
    Error {
        kind: ErrorKind::TemporarilyUnavailable,
        code: "service_not_available".into(),
        message: format!("{} can't answer now (status {status}).", exchange.host),
        retryable: true,
        ..error
    }
}

fn service(code: &str, message: String) -> Error {
    Error { class: ErrorClass::Service, ..Error::new(ErrorKind::ProtocolViolation, code, message) }
}

fn violation(code: &str, message: String) -> Error {
    Error::new(ErrorKind::ProtocolViolation, code, message)
}

/// The codes of `error_codes`, then those that only the description names.
pub(crate) fn aadsts_codes(members: &Object<'_>, description: &str) -> Vec<u32> {
    let listed = members.get("error_codes").map(Value::items).unwrap_or_default();
    let mut codes: Vec<u32> = Vec::new();
    let numbers = listed
        .into_iter()
        .filter_map(|code| u32::try_from(number(code)?).ok())
        .chain(described_codes(description));
    for code in numbers.take(MAX_CODES) {
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes
}

fn described_codes(description: &str) -> impl Iterator<Item = u32> {
    description.split("AADSTS").skip(1).filter_map(|rest| {
        let digits =
            rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| rest.get(..end).unwrap_or_default());
        digits.parse().ok()
    })
}

/// At most `length` bytes of a text, cut between characters.
pub(crate) fn shortened(text: &str, length: usize) -> &str {
    text.get(..text.floor_char_boundary(length)).unwrap_or(text)
}

/// A date in the form `Sun, 06 Nov 1994 08:49:37 GMT`, in Unix seconds.
fn http_date(value: &str) -> Option<u64> {
    let mut parts = value.split(' ');
    let (_weekday, day, month, year) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (time, zone) = (parts.next()?, parts.next()?);
    if zone != "GMT" || parts.next().is_some() {
        return None;
    }
    let day: u64 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let year: u64 = year.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut time = time.splitn(3, ':').map(|part| part.parse::<u64>().ok().filter(|part| *part <= 60));
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that the leap day is
/// their last.
pub(crate) fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    const DAYS_TO_1970: u64 = 719_468;
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - DAYS_TO_1970
}

pub(crate) const SUCCESS: u16 = 200;

pub(crate) const UNAUTHORIZED: u16 = 401;

/// MSAL's code for an authority that takes too long.
pub(crate) const REQUEST_TIMEOUT: &str = "request_timeout";

/// The code where the TLS handshake failed.
pub(crate) const TLS_FAILED: &str = "tls_failed";

/// What errors add about a host that nobody has seen live.
const DERIVED_HOST: &str = " The name of this host was made from the authority's, and isn't known to be in service; without a \
                            connection that is bound to the certificate the authority itself is asked.";

const TEMPORARILY_UNAVAILABLE: &str = "temporarily_unavailable";

const MAX_CLOCK_SKEW_SECONDS: u64 = 60;

const MAX_RETRY_AFTER_MS: u64 = 3_600_000;

pub(crate) const TEN_YEARS_SECONDS: u64 = 315_360_000;

pub(crate) const MAX_DESCRIPTION_BYTES: usize = 2048;

const MAX_CODES: usize = 16;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;
    use serde_json::Value as Json;

    const NOW: u64 = 1_700_000_000_000;

    fn exchange(token_type: &'static str, bound: bool) -> Exchange<'static> {
        Exchange {
            token_type,
            client_id: "client-1",
            host: "login.test",
            bound,
            blueprint: None,
            single_use: false,
            correlation_id: "own",
            now: NOW,
        }
    }

    fn answer(status: u16, body: &str) -> HttpResponse {
        HttpResponse {
            status,
            retry_after: None,
            challenge: None,
            date: None,
            server: None,
            body: body.as_bytes().to_vec(),
        }
    }

    fn bearer(status: u16, body: &str) -> Result<TokenResponse, Error> {
        parse(&answer(status, body), &exchange("Bearer", false))
    }

    fn code(status: u16, body: &str) -> String {
        bearer(status, body).unwrap_err().code
    }

    #[test]
    fn numbers_may_be_strings() {
        let token = bearer(
            200,
            r#"{"token_type":"BEARER","access_token":"at","expires_in":"3599","ext_expires_in":7200,"refresh_in":"1800","scope":" "}"#,
        )
        .unwrap();
        assert_eq!(token.access_token, "at");
        assert_eq!(
            (token.expires_in, token.extended_expires_in, token.refresh_in),
            (3599, Some(7200), Some(1800))
        );
        assert_eq!(token.scope, None);
    }

    #[test]
    fn an_answer_that_is_no_token_violates_the_protocol() {
        for (body, expected) in [
            ("", "json_parse_failed"),
            ("[]", "json_parse_failed"),
            (r#"{"access_token":"at","token_type":"Bearer"} x"#, "json_parse_failed"),
            (r#"{"access_token":"at"}"#, "token_type_missing"),
            (r#"{"access_token":"at","token_type":"pop"}"#, "token_type_mismatch"),
            (r#"{"token_type":"Bearer"}"#, "access_token_missing"),
            (r#"{"access_token":1,"token_type":"Bearer"}"#, "access_token_missing"),
            (r#"{"access_token":"at","token_type":"Bearer","expires_in":-1}"#, "invalid_token_lifetime"),
            (r#"{"access_token":"at","token_type":"Bearer","expires_in":"1h"}"#, "invalid_token_lifetime"),
            (r#"{"access_token":"at","token_type":"Bearer","expires_in":1e30}"#, "invalid_token_lifetime"),
            (
                r#"{"access_token":"at","token_type":"Bearer","expires_in":999999999}"#,
                "invalid_token_lifetime",
            ),
        ] {
            let error = bearer(200, body).unwrap_err();
            assert_eq!(error.code, expected, "{body}");
            assert_eq!(error.kind, ErrorKind::ProtocolViolation);
            assert_eq!(error.class, ErrorClass::Client);
            assert!(!error.message.contains("\"at\""), "{error}");
        }
    }

    #[test]
    fn a_bearer_token_is_no_bound_token() {
        let body = r#"{"access_token":"at","token_type":"Bearer"}"#;
        let error = parse(&answer(200, body), &exchange("mtls_pop", true)).unwrap_err();
        assert_eq!(error.code, "token_type_mismatch");
    }

    #[test]
    fn only_status_200_is_success() {
        for status in [100, 201, 204, 302, 307] {
            let error = bearer(status, r#"{"access_token":"at","token_type":"Bearer"}"#).unwrap_err();
            assert_eq!((error.code.as_str(), error.status), ("http_status_not_200", Some(status)));
        }
    }

    #[test]
    fn people_are_asked_for_what_people_can_do() {
        let grant = |extra: &str| bearer(400, &format!(r#"{{"error":"invalid_grant"{extra}}}"#)).unwrap_err();
        assert_eq!(grant("").class, ErrorClass::UiRequired);
        assert_eq!(
            grant(r#","suberror":"consent_required""#).classification,
            Classification::ConsentRequired
        );
        assert_eq!(grant(r#","suberror":"client_mismatch""#).class, ErrorClass::Service);
        assert_eq!(grant(r#","suberror":"client_mismatch""#).kind, ErrorKind::Refused);
        let challenge = grant(r#","claims":"{}""#);
        assert_eq!(challenge.class, ErrorClass::ClaimsChallenge);
        assert_eq!(challenge.claims.as_deref(), Some("{}"));
        assert_eq!(challenge.kind, ErrorKind::InteractionRequired);
    }

    #[test]
    fn the_details_of_a_refusal_are_kept() {
        let error = bearer(
            401,
            r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid. See AADSTS700027.","error_codes":[7000215],
                "timestamp":"2024-01-01 00:00:00Z","trace_id":"t","correlation_id":"theirs"}"#,
        )
        .unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidClient);
        assert_eq!(error.aadsts_codes, [7_000_215, 700_027]);
        assert_eq!(error.correlation_id, "theirs");
        assert_eq!(error.trace_id.as_deref(), Some("t"));
        assert_eq!(error.timestamp.as_deref(), Some("2024-01-01 00:00:00Z"));
        assert!(error.message.contains("client-1") && error.message.contains("AADSTS7000215"), "{error}");
        assert!(!error.retryable);
    }

    #[test]
    fn answers_without_an_oauth_error_have_codes_of_their_own() {
        assert_eq!(code(404, "{}"), "not_found");
        assert_eq!(code(400, ""), "http_status_not_200");
        assert_eq!(code(400, "<html>"), "non_parsable_oauth_error");
        let throttled = bearer(429, "slow down").unwrap_err();
        assert_eq!(
            (throttled.code.as_str(), throttled.class),
            ("request_throttled", ErrorClass::ThrottledService)
        );
        assert_eq!(throttled.kind, ErrorKind::Throttled);
        assert!(throttled.retryable);
    }

    #[test]
    fn a_server_error_outweighs_its_body() {
        for status in [500, 503, 599] {
            let error = bearer(status, r#"{"error":"invalid_grant"}"#).unwrap_err();
            assert_eq!((error.code.as_str(), error.class), ("service_not_available", ErrorClass::UiRequired));
            assert_eq!(error.kind, ErrorKind::TemporarilyUnavailable);
            assert!(error.retryable);
            assert_eq!(error.correlation_id, "own");
        }
    }

    #[test]
    fn a_refused_binding_names_application_and_host() {
        let body = r#"{"error":"invalid_client","error_description":"AADSTS392189: no"}"#;
        let error = parse(&answer(401, body), &exchange("Bearer", true)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::BoundTransportNotEnabled);
        assert!(error.message.contains("client-1") && error.message.contains("login.test"), "{error}");
        assert_eq!(bearer(401, body).unwrap_err().kind, ErrorKind::InvalidClient);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_at_most_an_hour() {
        assert_eq!(retry_after_ms("2", NOW), Some(2000));
        assert_eq!(retry_after_ms(" 99999999999999999999 ", NOW), Some(3_600_000));
        assert_eq!(retry_after_ms("Tue, 14 Nov 2023 22:13:25 GMT", NOW), Some(5000));
        assert_eq!(retry_after_ms("Sun, 06 Nov 1994 08:49:37 GMT", NOW), Some(0));
        assert_eq!(retry_after_ms("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_799_000), Some(1000));
        for other in
            ["", "-1", "1.5", "soon", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Foo 1994 08:49:37 GMT"]
        {
            assert_eq!(retry_after_ms(other, NOW), None, "{other}");
        }
    }

    #[test]
    fn every_failure_of_the_transport_says_what_to_think_of_it() {
        use TransportErrorKind::*;
        for (kind, expected, retryable) in [
            (NameResolution, ErrorKind::TransportFailed, true),
            (Connection, ErrorKind::TransportFailed, true),
            (Tls, ErrorKind::TransportFailed, false),
            (ServerCertificate, ErrorKind::TransportFailed, false),
            (Timeout, ErrorKind::TransportFailed, true),
            (Denied, ErrorKind::InvalidRequest, false),
            (ResponseTooLarge, ErrorKind::ProtocolViolation, false),
            (Protocol, ErrorKind::ProtocolViolation, false),
            (Internal, ErrorKind::TransportFailed, false),
        ] {
            let error = TransportError { kind, detail: "the-detail".into(), may_be_sent: true };
            let error = transport_error(&error, &exchange("Bearer", false));
            assert_eq!(
                (error.kind, error.retryable, error.class),
                (expected, retryable, ErrorClass::Service)
            );
            assert!(error.message.contains("login.test") && error.message.contains("the-detail"), "{error}");
            assert_eq!(error.code == REQUEST_TIMEOUT, kind == Timeout);
        }
    }

    #[test]
    fn what_may_be_used_up_is_not_sent_again() {
        let once = Exchange { single_use: true, ..exchange("Bearer", false) };
        for (may_be_sent, expected) in
            [(true, ErrorKind::OutcomeUnknown), (false, ErrorKind::TransportFailed)]
        {
            let kind = TransportErrorKind::Connection;
            let error = TransportError { kind, detail: "the-detail".into(), may_be_sent };
            let error = transport_error(&error, &once);
            assert_eq!((error.kind, error.retryable), (expected, !may_be_sent));
            assert_eq!(error.code, "connection_failed");
        }
        for status in [408, 429, 503] {
            assert!(!parse(&answer(status, ""), &once).unwrap_err().retryable);
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let body = r#"{"access_token":"canary","token_type":"Bearer"}"#;
        assert!(!format!("{:?}{:?}", answer(200, body), bearer(200, body).unwrap()).contains("canary"));
    }

    #[test]
    fn a_long_description_is_cut_between_characters() {
        let body = format!(r#"{{"error":"x","error_description":"{}"}}"#, "ü".repeat(3000));
        assert!(bearer(400, &body).unwrap_err().message.len() < 2200);
    }

    proptest! {
        #[test]
        fn any_bytes_mean_something(status in 100u16..600, retry_after: Option<String>, body: Vec<u8>, bound: bool) {
            let response = HttpResponse { status, retry_after, challenge: None, date: None, server: None, body };
            if let Err(error) = parse(&response, &exchange("Bearer", bound)) {
                prop_assert!(!error.code.is_empty() && !error.message.is_empty());
                prop_assert_eq!(error.status, Some(status));
            }
        }

        #[test]
        fn any_members_mean_something(
            status in prop::sample::select(alloc::vec![200u16, 400, 401, 429, 503]),
            members in prop::collection::btree_map(
                prop::sample::select(alloc::vec![
                    "access_token", "token_type", "expires_in", "refresh_in", "scope", "error", "error_codes",
                    "error_description", "suberror", "claims", "correlation_id",
                ]),
                prop_oneof![
                    any::<String>().prop_map(Json::from),
                    any::<i64>().prop_map(Json::from),
                    Just(Json::from("Bearer")),
                    Just(Json::Null),
                    prop::collection::vec(any::<u64>(), 0..20).prop_map(Json::from),
                    any::<u32>().prop_map(|code| Json::from(format!("AADSTS{code}: AADSTS AADSTSx{code}"))),
                ],
                0..11,
            ),
        ) {
            let body: serde_json::Map<String, Json> =
                members.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
            let response = answer(status, &Json::from(body).to_string());
            match parse(&response, &exchange("Bearer", true)) {
                Ok(token) => prop_assert!(!token.access_token.is_empty() && token.expires_in <= TEN_YEARS_SECONDS),
                Err(error) => prop_assert!(!error.code.is_empty()),
            }
        }
    }
}
