//! Puts a secret into its place in a request, and nowhere else. The rules are those of the native host's transport.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

/// Where the secret goes. The caller leaves the place empty, but for a header's scheme.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// The value of this field of an `application/x-www-form-urlencoded` body.
    FormField(&'a str),
    /// The value of this header, behind the authentication scheme and the space that it may hold already.
    Header(&'a str),
    /// The password of HTTP Basic authorization with this user name (RFC 6749 §2.3.1).
    BasicAuthorization(&'a str),
}

/// The headers of a request, in order.
pub type Headers = Vec<(String, Vec<u8>)>;

impl Place<'_> {
    /// Puts the secret there.
    ///
    /// # Errors
    ///
    /// What is wrong with the place: it must be there once, and empty.
    pub fn fill(self, secret: &str, headers: &mut Headers, body: &mut Vec<u8>) -> Result<(), &'static str> {
        match self {
            Self::FormField(name) => fill_form_field(name, secret, headers, body),
            Self::Header(name) => fill_header(name, secret, headers),
            Self::BasicAuthorization(user) => authorize(user, secret, headers),
        }
    }
}

const MISSING: &str = "not sent: the place for the client secret is not in the request";
const NOT_EMPTY: &str = "not sent: the place for the client secret is not empty";
const REPEATED: &str = "not sent: the place for the client secret is in the request more than once";
const NOT_REPRESENTABLE: &str = "not sent: the place for the client secret can't carry its characters";

fn fill_form_field(
    name: &str,
    secret: &str,
    headers: &Headers,
    body: &mut Vec<u8>,
) -> Result<(), &'static str> {
    if !headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("content-type") && is_form(value)) {
        return Err(MISSING);
    }
    let at = empty_field(body, name.as_bytes())?;
    let mut filled = Vec::with_capacity(body.len() + 3 * secret.len());
    filled.extend_from_slice(body.get(..at).unwrap_or_default());
    form_encode(secret, &mut filled);
    filled.extend_from_slice(body.get(at..).unwrap_or_default());
    *body = filled;
    Ok(())
}

/// The position behind the `=` of the field, which must be there once and be empty.
fn empty_field(body: &[u8], name: &[u8]) -> Result<usize, &'static str> {
    let (mut found, mut end) = (None, 0);
    for field in body.split(|byte| *byte == b'&') {
        end += field.len();
        let mut parts = field.splitn(2, |byte| *byte == b'=');
        if parts.next().is_some_and(|written| decodes_to(written, name)) {
            let place = match parts.next() {
                Some([]) => Ok(end),
                Some(_) => Err(NOT_EMPTY),
                // A name without `=` is no place to write behind.
                None => Err(MISSING),
            };
            if found.replace(place).is_some() {
                return Err(REPEATED);
            }
        }
        end += 1;
    }
    found.unwrap_or(Err(MISSING))
}

fn fill_header(name: &str, secret: &str, headers: &mut Headers) -> Result<(), &'static str> {
    let mut values = headers.iter_mut().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    let (_, value) = values.next().ok_or(MISSING)?;
    if values.next().is_some() {
        return Err(REPEATED);
    }
    if !is_scheme(value) {
        return Err(NOT_EMPTY);
    }
    // What a header may hold (RFC 9110 §5.5).
    if secret.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
        return Err(NOT_REPRESENTABLE);
    }
    value.extend_from_slice(secret.as_bytes());
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
fn authorize(user: &str, secret: &str, headers: &mut Headers) -> Result<(), &'static str> {
    if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
        return Err(NOT_EMPTY);
    }
    let mut pair = Zeroizing::new(Vec::with_capacity(3 * (user.len() + secret.len()) + 1));
    form_encode(user, &mut pair);
    pair.push(b':');
    form_encode(secret, &mut pair);
    headers.push(("authorization".into(), format!("Basic {}", BASE64_STANDARD.encode(&*pair)).into_bytes()));
    Ok(())
}

fn is_form(content_type: &[u8]) -> bool {
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// Appends `value` as the form serialisation of the URL standard writes it (§5.2).
fn form_encode(value: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => out.push(byte),
            b' ' => out.push(b'+'),
            _ => out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

/// Whether a form-encoded name stands for `name`, so that a field hidden behind another spelling is found as well.
fn decodes_to(encoded: &[u8], name: &[u8]) -> bool {
    let (mut rest, mut expected) = (encoded, name.iter());
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, tail) = match (first, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (nibble(*high) << 4 | nibble(*low), tail)
            }
            _ => (first, tail),
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
    use alloc::vec;

    const SECRET: &str = "a b+c&d=e%f~g*h\u{e9}/?";
    const ENCODED: &str = "a+b%2Bc%26d%3De%25f%7Eg*h%C3%A9%2F%3F";

    fn fill_body(content_type: &str, body: &str) -> Result<String, &'static str> {
        let mut headers = vec![("Content-Type".into(), content_type.into())];
        let mut body = body.as_bytes().to_vec();
        Place::FormField("client_secret").fill(SECRET, &mut headers, &mut body)?;
        Ok(String::from_utf8(body).unwrap())
    }

    #[test]
    fn a_form_field_is_filled_where_it_stands() {
        const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
        for (body, expected) in [
            ("client_secret=", Ok(format!("client_secret={ENCODED}"))),
            ("a=%7e&client_secret=&b=+", Ok(format!("a=%7e&client_secret={ENCODED}&b=+"))),
            ("client%5fsecret=&a", Ok(format!("client%5fsecret={ENCODED}&a"))),
            ("", Err(MISSING)),
            ("client_secret", Err(MISSING)),
            ("client_secrets=", Err(MISSING)),
            ("a=client_secret=", Err(MISSING)),
            ("client_secret=x", Err(NOT_EMPTY)),
            ("client_secret==", Err(NOT_EMPTY)),
            ("client_secret=&client%5Fsecret=", Err(REPEATED)),
            ("client_secret=x&client_secret=", Err(REPEATED)),
        ] {
            assert_eq!(fill_body(FORM, body), expected, "{body}");
        }
        assert_eq!(fill_body("application/json", "client_secret="), Err(MISSING));
    }

    #[test]
    fn a_header_is_filled_behind_its_scheme() {
        for (values, secret, expected) in [
            (&[""][..], "s e", Ok("s e")),
            (&["Basic "], "a1b2==", Ok("Basic a1b2==")),
            (&[], "s", Err(MISSING)),
            (&["x"], "s", Err(NOT_EMPTY)),
            (&[" "], "s", Err(NOT_EMPTY)),
            (&["Basic  "], "s", Err(NOT_EMPTY)),
            (&["", ""], "s", Err(REPEATED)),
            (&[""], "line\nbreak", Err(NOT_REPRESENTABLE)),
        ] {
            let mut headers: Headers =
                values.iter().map(|value| ("x-secret".into(), (*value).into())).collect();
            let seen = Place::Header("X-Secret").fill(secret, &mut headers, &mut Vec::new());
            assert_eq!(seen.map(|()| &*headers[0].1), expected.map(str::as_bytes), "{values:?}");
        }
    }

    #[test]
    fn basic_authorization_encodes_both_parts_first() {
        let (mut headers, place) = (Headers::new(), Place::BasicAuthorization("id:1"));
        place.fill("p w:\u{e9}", &mut headers, &mut Vec::new()).unwrap();
        let expected = format!("Basic {}", BASE64_STANDARD.encode("id%3A1:p+w%3A%C3%A9"));
        assert_eq!(headers, [("authorization".into(), expected.into_bytes())]);
        assert_eq!(place.fill("s", &mut headers, &mut Vec::new()), Err(NOT_EMPTY));
    }
}
