use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::error::TransportErrorKind;
use crate::credentials::{Binding, ClientSecret};

/// How a credential is presented with a request. The default presents nothing.
#[derive(Clone, Debug, Default)]
pub struct Presentation {
    /// Present this certificate in the TLS handshake; where that is impossible, nothing is sent.
    pub certificate: Option<Arc<Binding>>,
    /// Put this secret into this place.
    pub secret: Option<(Place, ClientSecret)>,
}

/// Where in a request the value of a client secret goes. The caller leaves the place empty, but for a header's scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The value of this field of an `application/x-www-form-urlencoded` body.
    FormField(String),
    /// The value of this request header, behind the authentication scheme and the space that it may hold already.
    Header(String),
    /// The password of HTTP Basic authorization with this user name (RFC 6749 §2.3.1). The request has no
    /// `authorization` header.
    BasicAuthorization(String),
}

impl Place {
    /// Puts the secret into its place, and nowhere else: every other byte stays as it is.
    pub(super) fn fill(
        &self,
        secret: &ClientSecret,
        headers: &mut HeaderMap,
        body: Bytes,
    ) -> Result<Bytes, Misplaced> {
        match self {
            Self::FormField(name) => fill_form_field(name, secret, headers, &body),
            Self::Header(name) => fill_header(name, secret, headers).map(|()| body),
            Self::BasicAuthorization(user) => authorize(user, secret, headers).map(|()| body),
        }
        .map_err(|kind| Misplaced { kind, place: self.to_string() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FormField(name) => write!(f, "form field `{name}`"),
            Self::Header(name) => write!(f, "header `{name}`"),
            Self::BasicAuthorization(_) => f.write_str("header `authorization`"),
        }
    }
}

/// A place that can't take the secret. The request is not sent.
#[derive(Debug)]
pub(super) struct Misplaced {
    pub(super) kind: TransportErrorKind,
    place: String,
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrong = match self.kind {
            TransportErrorKind::SecretPlaceMissing => "is not in the request",
            TransportErrorKind::SecretPlaceNotEmpty => "is not empty",
            TransportErrorKind::SecretPlaceRepeated => "is in the request more than once",
            _ => "can't carry the secret's characters",
        };
        write!(f, "not sent: the place for the client secret, {}, {wrong}", self.place)
    }
}

fn fill_form_field(
    name: &str,
    secret: &ClientSecret,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Bytes, TransportErrorKind> {
    if !is_form(headers) {
        return Err(TransportErrorKind::SecretPlaceMissing);
    }
    let at = empty_field(body, name.as_bytes())?;
    let mut filled = Zeroizing::new(Vec::with_capacity(body.len() + 3 * secret.expose().len()));
    filled.extend_from_slice(&body[..at]);
    form_encode(secret.expose(), &mut filled);
    filled.extend_from_slice(&body[at..]);
    Ok(wiped_on_drop(filled))
}

/// The position behind the `=` of the field, which must be there once and be empty.
fn empty_field(body: &[u8], name: &[u8]) -> Result<usize, TransportErrorKind> {
    let mut found = None;
    let mut start = 0;
    for field in body.split(|byte| *byte == b'&') {
        let end_of_name = field.iter().position(|byte| *byte == b'=').unwrap_or(field.len());
        if decodes_to(&field[..end_of_name], name) {
            match (found, field.len().checked_sub(end_of_name + 1)) {
                (Some(_), _) => return Err(TransportErrorKind::SecretPlaceRepeated),
                (None, Some(0)) => found = Some(Ok(start + field.len())),
                (None, Some(_)) => found = Some(Err(TransportErrorKind::SecretPlaceNotEmpty)),
                // A name without `=` is no place to write behind.
                (None, None) => found = Some(Err(TransportErrorKind::SecretPlaceMissing)),
            }
        }
        start += field.len() + 1;
    }
    found.unwrap_or(Err(TransportErrorKind::SecretPlaceMissing))
}

fn fill_header(name: &str, secret: &ClientSecret, headers: &mut HeaderMap) -> Result<(), TransportErrorKind> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| TransportErrorKind::SecretPlaceMissing)?;
    let mut values = headers.get_all(&name).iter();
    let scheme = match (values.next(), values.next()) {
        (None, _) => return Err(TransportErrorKind::SecretPlaceMissing),
        (Some(_), Some(_)) => return Err(TransportErrorKind::SecretPlaceRepeated),
        (Some(value), None) if is_scheme(value.as_bytes()) => value.as_bytes(),
        (Some(_), None) => return Err(TransportErrorKind::SecretPlaceNotEmpty),
    };
    let mut value = Vec::with_capacity(scheme.len() + secret.expose().len());
    value.extend_from_slice(scheme);
    value.extend_from_slice(secret.expose().as_bytes());
    headers.insert(name, sensitive(value)?);
    Ok(())
}

/// Whether it is nothing, or the name of an authentication scheme and a space (RFC 9110 §11.4).
fn is_scheme(value: &[u8]) -> bool {
    match value.strip_suffix(b" ") {
        Some(name) => {
            !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
        }
        None => value.is_empty(),
    }
}

/// HTTP Basic with both parts form-encoded first, as OAuth 2.0 asks (RFC 6749 §2.3.1).
fn authorize(user: &str, secret: &ClientSecret, headers: &mut HeaderMap) -> Result<(), TransportErrorKind> {
    if headers.contains_key(AUTHORIZATION) {
        return Err(TransportErrorKind::SecretPlaceNotEmpty);
    }
    let mut pair = Zeroizing::new(Vec::with_capacity(3 * (user.len() + secret.expose().len()) + 1));
    form_encode(user, &mut pair);
    pair.push(b':');
    form_encode(secret.expose(), &mut pair);
    headers.insert(AUTHORIZATION, sensitive(basic(&pair))?);
    Ok(())
}

/// `Basic` and the encoded pair (RFC 7617 §2), in one buffer that is never grown.
pub(super) fn basic(pair: &[u8]) -> Vec<u8> {
    let mut value = String::with_capacity(6 + pair.len().div_ceil(3) * 4);
    value.push_str("Basic ");
    BASE64_STANDARD.encode_string(pair, &mut value);
    value.into_bytes()
}

/// A header value that is wiped on drop, shown by no `Debug` and indexed by no header compression (RFC 7541 §7.1.3).
fn sensitive(value: Vec<u8>) -> Result<HeaderValue, TransportErrorKind> {
    let mut value = HeaderValue::from_maybe_shared(wiped_on_drop(Zeroizing::new(value)))
        .map_err(|_| TransportErrorKind::SecretNotRepresentable)?;
    value.set_sensitive(true);
    Ok(value)
}

fn wiped_on_drop(bytes: Zeroizing<Vec<u8>>) -> Bytes {
    struct Wiped(Zeroizing<Vec<u8>>);
    impl AsRef<[u8]> for Wiped {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Wiped(bytes))
}

fn is_form(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Appends `value` as the form serialisation of the URL standard writes it (§5.2): what any reader of forms decodes.
fn form_encode(value: &str, out: &mut Vec<u8>) {
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => out.push(byte),
            b' ' => out.push(b'+'),
            _ => out.extend_from_slice(&[b'%', hex(byte >> 4), hex(byte & 15)]),
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        0..=9 => b'0' + digit,
        _ => b'A' + digit - 10,
    }
}

/// Whether a form-encoded name stands for `name`, so that a field hidden behind another spelling is found as well.
fn decodes_to(encoded: &[u8], name: &[u8]) -> bool {
    let mut rest = encoded;
    let mut expected = name.iter();
    while let Some((first, tail)) = rest.split_first() {
        let (byte, tail) = match (first, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (nibble(*high) << 4 | nibble(*low), tail)
            }
            (other, _) => (*other, tail),
        };
        if expected.next() != Some(&byte) {
            return false;
        }
        rest = tail;
    }
    expected.next().is_none()
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a b+c&d=e%f~g*h\u{e9}/?";
    const ENCODED: &str = "a+b%2Bc%26d%3De%25f%7Eg*h%C3%A9%2F%3F";

    fn form_headers() -> HeaderMap {
        let value = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
        HeaderMap::from_iter([(CONTENT_TYPE, value)])
    }

    fn fill_body(body: &'static str) -> Result<Bytes, TransportErrorKind> {
        let place = Place::FormField("client_secret".to_owned());
        let body = Bytes::from_static(body.as_bytes());
        place.fill(&ClientSecret::new(SECRET), &mut form_headers(), body).map_err(|misplaced| misplaced.kind)
    }

    fn fill_header_map(
        place: Place,
        secret: &str,
        headers: &mut HeaderMap,
    ) -> Result<(), TransportErrorKind> {
        match place.fill(&ClientSecret::new(secret), headers, Bytes::from_static(b"kept")) {
            Ok(body) => {
                assert_eq!(body, "kept");
                Ok(())
            }
            Err(misplaced) => Err(misplaced.kind),
        }
    }

    #[test]
    fn a_form_field_is_filled_where_it_stands() {
        let cases = [
            ("client_secret=", format!("client_secret={ENCODED}")),
            ("a=%7e&client_secret=&b=+", format!("a=%7e&client_secret={ENCODED}&b=+")),
            ("a=1&client_secret=", format!("a=1&client_secret={ENCODED}")),
            ("client%5fsecret=&a", format!("client%5fsecret={ENCODED}&a")),
        ];
        for (body, expected) in cases {
            assert_eq!(fill_body(body), Ok(Bytes::from(expected)), "{body}");
        }
    }

    #[test]
    fn a_form_field_that_cannot_take_the_secret_is_an_error() {
        use TransportErrorKind as Kind;
        let cases = [
            ("", Kind::SecretPlaceMissing),
            ("a=1", Kind::SecretPlaceMissing),
            ("client_secret", Kind::SecretPlaceMissing),
            ("client_secrets=", Kind::SecretPlaceMissing),
            ("a=client_secret=", Kind::SecretPlaceMissing),
            ("client_secret=x", Kind::SecretPlaceNotEmpty),
            ("client_secret==", Kind::SecretPlaceNotEmpty),
            ("client_secret=&a=1&client_secret=", Kind::SecretPlaceRepeated),
            ("client_secret=&client%5Fsecret=", Kind::SecretPlaceRepeated),
            ("client_secret=x&client_secret=", Kind::SecretPlaceRepeated),
        ];
        for (body, expected) in cases {
            assert_eq!(fill_body(body), Err(expected), "{body}");
        }
    }

    #[test]
    fn only_a_form_has_form_fields() {
        let place = Place::FormField("client_secret".to_owned());
        let json = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        for mut headers in [HeaderMap::new(), json] {
            let body = Bytes::from_static(b"client_secret=");
            let misplaced = place.fill(&ClientSecret::new("s"), &mut headers, body).unwrap_err();
            assert_eq!(misplaced.kind, TransportErrorKind::SecretPlaceMissing);
        }
    }

    #[test]
    fn a_header_is_filled_and_marked_sensitive() {
        let place = Place::Header("X-Identity-Header".to_owned());
        let mut headers = HeaderMap::from_iter([(
            HeaderName::from_static("x-identity-header"),
            HeaderValue::from_static(""),
        )]);
        fill_header_map(place, "p@ss word", &mut headers).unwrap();
        let value = &headers["x-identity-header"];
        assert_eq!(value.as_bytes(), b"p@ss word");
        assert!(value.is_sensitive());
    }

    #[test]
    fn a_scheme_stays_before_the_secret() {
        let mut headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Basic "))]);
        fill_header_map(Place::Header("authorization".to_owned()), "a1b2==", &mut headers).unwrap();
        assert_eq!(headers[AUTHORIZATION], "Basic a1b2==");
        assert!(headers[AUTHORIZATION].is_sensitive());
    }

    #[test]
    fn a_header_that_cannot_take_the_secret_is_an_error() {
        use TransportErrorKind as Kind;
        let cases: [(&[&'static str], &str, Kind); 8] = [
            (&[], "s", Kind::SecretPlaceMissing),
            (&["x"], "s", Kind::SecretPlaceNotEmpty),
            (&[" "], "s", Kind::SecretPlaceNotEmpty),
            (&["Basic  "], "s", Kind::SecretPlaceNotEmpty),
            (&["Basic x "], "s", Kind::SecretPlaceNotEmpty),
            (&["x", "Basic "], "s", Kind::SecretPlaceRepeated),
            (&["", ""], "s", Kind::SecretPlaceRepeated),
            (&[""], "line\nbreak", Kind::SecretNotRepresentable),
        ];
        for (values, secret, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-secret", HeaderValue::from_static(value));
            }
            let place = Place::Header("x-secret".to_owned());
            assert_eq!(fill_header_map(place, secret, &mut headers), Err(expected), "{values:?}");
        }
    }

    #[test]
    fn basic_authorization_encodes_both_parts_first() {
        let mut headers = HeaderMap::new();
        let place = Place::BasicAuthorization("id:1".to_owned());
        fill_header_map(place, "p w:\u{e9}", &mut headers).unwrap();
        let value = headers[AUTHORIZATION].as_bytes();
        let pair = BASE64_STANDARD.decode(value.strip_prefix(b"Basic ").unwrap()).unwrap();
        assert_eq!(pair, b"id%3A1:p+w%3A%C3%A9");
        assert!(headers[AUTHORIZATION].is_sensitive());
        let again = Place::BasicAuthorization("id".to_owned());
        assert_eq!(fill_header_map(again, "s", &mut headers), Err(TransportErrorKind::SecretPlaceNotEmpty));
    }

    #[test]
    fn no_debug_and_no_error_shows_the_secret() {
        let presentation = Presentation {
            certificate: None,
            secret: Some((Place::Header("x-secret".to_owned()), ClientSecret::new("canary"))),
        };
        assert!(!format!("{presentation:?}").contains("canary"));
        let (place, secret) = presentation.secret.unwrap();
        let misplaced = place.fill(&secret, &mut HeaderMap::new(), Bytes::new()).unwrap_err();
        assert_eq!(
            misplaced.to_string(),
            "not sent: the place for the client secret, header `x-secret`, is not in the request"
        );
        let mut headers =
            HeaderMap::from_iter([(HeaderName::from_static("x-secret"), HeaderValue::from_static(""))]);
        place.fill(&secret, &mut headers, Bytes::new()).unwrap();
        assert!(!format!("{headers:?}").contains("canary"));
    }
}
