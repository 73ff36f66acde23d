//! What an API asks for that answers no: a token with other claims, or another certificate.

use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::json::Object;

/// An answer of an API that may ask for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was presented.
    pub presented: Presented,
    /// How the API said no, if it did.
    pub answer: Answer,
    /// The values of all `WWW-Authenticate` headers.
    pub challenges: Vec<String>,
    /// Which attempt it is, counted from 1.
    pub attempt: u32,
    /// Whether the status 400 rejects a certificate.
    pub bad_request_rejects: bool,
}

/// What was presented to an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented {
    /// A token, by whatever scheme.
    Token,
    /// A certificate in the place of a token.
    Certificate,
}

/// How an API answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With this status.
    Status(u16),
    /// By ending the connection with this TLS alert (RFC 8446 §6).
    Alert(u8),
}

/// What is to be done about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it is the answer.
    Accept,
    /// Acquire a token with these claims, JSON, and ask again.
    AcquireWithClaims(String),
    /// The certificate was rejected: ask again with another one, if there is one.
    ReselectCertificate,
}

/// Judges an answer. A challenge is answered once; where no token is presented, there is none to answer it with.
pub fn review(refusal: &Refusal) -> Verdict {
    match (refusal.presented, refusal.answer) {
        (Presented::Token, Answer::Status(401)) if refusal.attempt == 1 => {
            claims(&refusal.challenges).map_or(Verdict::Accept, Verdict::AcquireWithClaims)
        }
        (Presented::Certificate, Answer::Status(400)) if refusal.bad_request_rejects => {
            Verdict::ReselectCertificate
        }
        (Presented::Certificate, Answer::Status(401 | 403 | 495 | 496)) => Verdict::ReselectCertificate,
        (Presented::Certificate, Answer::Alert(alert)) if REJECTIONS.contains(&alert) => {
            Verdict::ReselectCertificate
        }
        _ => Verdict::Accept,
    }
}

/// The claims of the first challenge with the error `insufficient_claims`, JSON: written as base64url, base64 or JSON.
pub fn claims<S: AsRef<str>>(challenges: &[S]) -> Option<String> {
    challenges.iter().find_map(|value| Scanner { text: value.as_ref(), at: 0 }.claims())
}

/// Reads the value of a `WWW-Authenticate` header: challenges one after the other (RFC 9110 §11.6.1).
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn claims(mut self) -> Option<String> {
        let (mut claims, mut lacks_claims) = (None, false);
        loop {
            self.skip(b" \t,");
            let name = self.take(is_token);
            if name.is_empty() {
                return claims.filter(|_| lacks_claims);
            }
            let after_name = self.at;
            self.skip(b" \t");
            if self.peek() == Some(b'=') {
                self.at += 1;
                self.skip(b" \t");
                let value = self.value();
                if name.eq_ignore_ascii_case("claims") {
                    claims = decoded(&value);
                } else if name.eq_ignore_ascii_case("error") {
                    lacks_claims = value.eq_ignore_ascii_case("insufficient_claims");
                }
                continue;
            }
            // The scheme of the next challenge.
            if lacks_claims && claims.is_some() {
                return claims;
            }
            (claims, lacks_claims) = (None, false);
            if self.at > after_name {
                self.skip_token68();
            }
        }
    }

    /// A quoted string, unescaped, or whatever there is up to the next comma or space.
    fn value(&mut self) -> String {
        if self.peek() != Some(b'"') {
            return self.take(|byte| !matches!(byte, b',' | b' ' | b'\t')).into();
        }
        self.at += 1;
        let mut value = Vec::new();
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    value.extend(self.peek());
                    self.at += 1;
                }
                byte => value.push(byte),
            }
        }
        String::from_utf8(value).unwrap_or_default()
    }

    /// The credentials that some schemes have in the place of parameters.
    fn skip_token68(&mut self) {
        let start = self.at;
        self.take(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte));
        self.skip(b"=");
        let end = self.at;
        self.skip(b" \t");
        if end == start || !matches!(self.peek(), None | Some(b',')) {
            self.at = start;
        }
    }

    fn take(&mut self, is_part: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(&is_part) {
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn skip(&mut self, bytes: &[u8]) {
        while self.peek().is_some_and(|byte| bytes.contains(&byte)) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// The characters of a token (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn decoded(written: &str) -> Option<String> {
    let written = written.trim();
    let json = match written.starts_with('{') {
        true => written.into(),
        false => {
            let in_url_alphabet = |byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                byte => byte,
            };
            let text: Vec<u8> = written.trim_end_matches('=').bytes().map(in_url_alphabet).collect();
            String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?
        }
    };
    Object::parse(json.as_bytes()).is_some().then_some(json)
}

/// The alerts by which a server rejects a client certificate: `bad_certificate`, `certificate_revoked`,
/// `certificate_expired`, `certificate_unknown`, `unknown_ca`, `certificate_required` (RFC 8446 §6.2).
const REJECTIONS: [u8; 6] = [42, 44, 45, 46, 48, 116];

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::{format, vec};

    use proptest::prelude::*;

    use super::*;

    const JSON: &str = r#"{"access_token":{"nbf":{"essential":true, "value":"1702682181"}}}"#;
    const ENCODED: &str =
        "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwgInZhbHVlIjoiMTcwMjY4MjE4MSJ9fX0=";

    fn found(values: &[&str]) -> Option<String> {
        claims(values)
    }

    #[test]
    fn claims_are_found_in_whatever_form() {
        let escaped = JSON.replace('"', "\\\"");
        for header in [
            format!(r#"Bearer realm="", error="insufficient_claims", claims="{ENCODED}""#),
            format!(r#"Bearer error=insufficient_claims,claims={ENCODED}"#),
            format!(r#"Bearer claims="{}" , ERROR = "Insufficient_Claims""#, ENCODED.trim_end_matches('=')),
            format!(r#"Bearer error="insufficient_claims", claims="{escaped}""#),
            format!(r#"mtls_pop error="insufficient_claims" claims="{ENCODED}""#),
            format!(
                r#"Negotiate, Basic realm="a, b=\"c\"", Bearer error="insufficient_claims", claims="{ENCODED}""#
            ),
            format!(r#"Negotiate YWJj/+==, Bearer error="insufficient_claims", claims="{ENCODED}""#),
            format!(
                r#"Bearer error="insufficient_claims", claims="{ENCODED}", Basic error="other", claims="e30""#
            ),
            format!(r#",, Bearer , error="insufficient_claims",, claims="{ENCODED}","#),
        ] {
            assert_eq!(found(&[&header]).as_deref(), Some(JSON), "{header}");
        }
        let split = format!(r#"Bearer error="insufficient_claims", claims="{ENCODED}""#);
        assert_eq!(found(&[r#"Basic realm="x""#, &split]).as_deref(), Some(JSON));
    }

    #[test]
    fn both_alphabets_are_read() {
        // Bytes whose encodings differ between the two.
        let json = r#"{"a":"?>~~>?"}"#;
        for encoded in ["eyJhIjoiPz5-fj4_In0", "eyJhIjoiPz5+fj4/In0="] {
            let header = format!(r#"Bearer error="insufficient_claims", claims="{encoded}""#);
            assert_eq!(found(&[&header]).as_deref(), Some(json), "{encoded}");
        }
    }

    #[test]
    fn no_claims_are_found_where_none_are_demanded() {
        for header in [
            "",
            "Bearer",
            "Bearer error=\"insufficient_claims\"",
            &format!(r#"Bearer claims="{ENCODED}""#),
            &format!(r#"Bearer error="invalid_token", claims="{ENCODED}""#),
            &format!(r#"Basic error="insufficient_claims", Bearer claims="{ENCODED}""#),
            &format!(r#"Bearer realm="error=\"insufficient_claims\"", claims="{ENCODED}""#),
            r#"Bearer error="insufficient_claims", claims="not base64!""#,
            r#"Bearer error="insufficient_claims", claims="bm90IEpTT04""#,
            r#"Bearer error="insufficient_claims", claims="{broken""#,
            r#"Bearer error="insufficient_claims", claims="[]""#,
        ] {
            assert_eq!(found(&[header]), None, "{header}");
        }
    }

    fn reviewed(presented: Presented, answer: Answer, attempt: u32, bad_request_rejects: bool) -> Verdict {
        let challenges = vec![format!(r#"Bearer error="insufficient_claims", claims="{ENCODED}""#)];
        review(&Refusal { presented, answer, challenges, attempt, bad_request_rejects })
    }

    #[test]
    fn a_challenge_is_answered_once_and_with_a_token() {
        use Answer::{Alert, Status};
        use Presented::{Certificate, Token};
        let acquire = || Verdict::AcquireWithClaims(JSON.to_string());
        assert_eq!(reviewed(Token, Status(401), 1, false), acquire());
        assert_eq!(reviewed(Token, Status(401), 2, false), Verdict::Accept);
        assert_eq!(reviewed(Token, Status(403), 1, true), Verdict::Accept);
        assert_eq!(reviewed(Token, Alert(42), 1, false), Verdict::Accept);
        assert_eq!(reviewed(Certificate, Status(401), 1, false), Verdict::ReselectCertificate);
    }

    #[test]
    fn a_certificate_is_rejected_by_some_statuses_and_alerts() {
        use Answer::{Alert, Status};
        use Presented::Certificate;
        for status in [200, 302, 400, 401, 402, 403, 404, 429, 494, 495, 496, 497, 500] {
            let rejects = matches!(status, 401 | 403 | 495 | 496);
            for (bad_request_rejects, rejects) in [(false, rejects), (true, rejects || status == 400)] {
                let verdict = reviewed(Certificate, Status(status), 2, bad_request_rejects);
                let expected = if rejects { Verdict::ReselectCertificate } else { Verdict::Accept };
                assert_eq!(verdict, expected, "{status}");
            }
        }
        for alert in 0..=u8::MAX {
            let rejects = [42, 44, 45, 46, 48, 116].contains(&alert);
            let verdict = reviewed(Certificate, Alert(alert), 1, false);
            assert_eq!(verdict == Verdict::ReselectCertificate, rejects, "{alert}");
        }
    }

    proptest! {
        #[test]
        fn any_header_ends_in_an_answer(header in r#"([ ,="\\a-zé{}]|Bearer |error=|"insufficient_claims"|claims=){0,30}"#) {
            if let Some(claims) = found(&[&header]) {
                prop_assert!(Object::parse(claims.as_bytes()).is_some());
            }
        }
    }
}
