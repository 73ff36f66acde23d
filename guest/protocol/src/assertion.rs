//! Client assertions: JSON Web Tokens signed with the certificate's key (RFC 7521, RFC 7523).
//!
//! The host signs; what is signed is decided here. Header and payload keep MSAL's order, with the deviations that make
//! them conform to RFC 7519: times are numbers, `x5c` is an array, every request has a `jti` of its own.

use alloc::format;
use alloc::string::String;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::authority::SignatureAlgorithm;
use crate::credential::Certificate;
use crate::error::{Error, ErrorKind};
use crate::json::push_string;

/// For how long an assertion is valid, in seconds.
pub const LIFETIME_SECONDS: u64 = 600;

/// The longest signing input, in bytes; MSAL's limit.
pub const MAX_SIGNING_INPUT: usize = 65_536;

/// `client_assertion_type` of an assertion that whoever holds it may present (RFC 7523 §2.2).
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// `client_assertion_type` of an assertion that is bound to the certificate of the TLS connection.
pub const JWT_POP: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";

/// What an assertion says.
#[derive(Clone, Debug)]
pub struct Claims<'a> {
    /// The client: issuer and subject.
    pub client_id: &'a str,
    /// The token endpoint that is really called.
    pub audience: &'a str,
    /// The time now, in Unix seconds.
    pub now: u64,
    /// The assertion's own id.
    pub id: &'a str,
}

/// What the certificate's key signs: `base64url(header) "." base64url(payload)`.
///
/// # Errors
///
/// `encoded_token_too_long` when it has more than [`MAX_SIGNING_INPUT`] bytes.
pub fn signing_input(
    claims: &Claims<'_>,
    certificate: &Certificate,
    algorithm: SignatureAlgorithm,
    chain: bool,
) -> Result<String, Error> {
    let mut input = String::new();
    URL_SAFE_NO_PAD.encode_string(header(certificate, algorithm, chain), &mut input);
    input.push('.');
    URL_SAFE_NO_PAD.encode_string(payload(claims), &mut input);
    if input.len() > MAX_SIGNING_INPUT {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            "encoded_token_too_long",
            format!(
                "The client assertion has {} bytes and at most {MAX_SIGNING_INPUT} are allowed; a shorter certificate \
                 chain helps.",
                input.len()
            ),
        ));
    }
    Ok(input)
}

/// The assertion in compact form (RFC 7515 §7.1).
pub fn compact(signing_input: &str, signature: &[u8]) -> String {
    let mut assertion = String::with_capacity(signing_input.len() + signature.len() * 4 / 3 + 4);
    assertion.push_str(signing_input);
    assertion.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut assertion);
    assertion
}

/// How to sign: as the authority expects, else as the certificate's key can.
///
/// # Errors
///
/// `certificate_not_rsa` for a certificate whose key makes no signature that is known here.
pub fn choose_algorithm(
    expected: SignatureAlgorithm,
    certificate: &Certificate,
    credential: &str,
) -> Result<SignatureAlgorithm, Error> {
    [expected, SignatureAlgorithm::Rs256, SignatureAlgorithm::Es256]
        .into_iter()
        .find(|algorithm| certificate.algorithms.contains(algorithm))
        .ok_or_else(|| {
            Error::new(
                ErrorKind::CredentialUnsupported,
                "certificate_not_rsa",
                format!(
                    "The certificate of {credential} can't sign a client assertion: its key makes neither PS256 nor \
                     RS256 nor ES256 signatures; use a certificate with an RSA key."
                ),
            )
        })
}

fn header(certificate: &Certificate, algorithm: SignatureAlgorithm, chain: bool) -> String {
    let (name, thumbprint_name, thumbprint) = match algorithm {
        SignatureAlgorithm::Rs256 => ("RS256", "x5t", &certificate.thumbprint_sha1),
        SignatureAlgorithm::Ps256 => ("PS256", "x5t#S256", &certificate.thumbprint_sha256),
        SignatureAlgorithm::Es256 => ("ES256", "x5t#S256", &certificate.thumbprint_sha256),
    };
    let mut header = format!(r#"{{"alg":"{name}","typ":"JWT","{thumbprint_name}":{}"#, json(thumbprint));
    if chain {
        header.push_str(r#","x5c":["#);
        for (index, der) in certificate.chain.iter().enumerate() {
            header.push_str(if index == 0 { "\"" } else { ",\"" });
            STANDARD.encode_string(der, &mut header);
            header.push('"');
        }
        header.push(']');
    }
    header.push('}');
    header
}

fn payload(claims: &Claims<'_>) -> String {
    let client_id = json(claims.client_id);
    format!(
        r#"{{"aud":{},"iss":{client_id},"sub":{client_id},"nbf":{now},"exp":{},"jti":{},"iat":{now}}}"#,
        json(claims.audience),
        claims.now + LIFETIME_SECONDS,
        json(claims.id),
        now = claims.now,
    )
}

fn json(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    push_string(&mut json, text);
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;

    fn certificate(algorithms: &[SignatureAlgorithm]) -> Certificate {
        Certificate {
            chain: vec![vec![0x30, 0x82, 0xfb], vec![0x30, 0xff]],
            thumbprint_sha256: "bmQeK7jALQuzsm3zZhXskUB41iAU0lyzzX2AKJAtiZ8".into(),
            thumbprint_sha1: "5wxQ2k6mb5QimllLwRLLS0_ynrQ".into(),
            not_after: 0,
            algorithms: algorithms.into(),
        }
    }

    fn decoded(algorithm: SignatureAlgorithm, chain: bool) -> Vec<String> {
        let claims = Claims { client_id: "client\"1", audience: "https://h/t", now: 1000, id: "j" };
        signing_input(&claims, &certificate(&[]), algorithm, chain)
            .unwrap()
            .split('.')
            .map(|part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn header_and_payload_have_their_order_and_escape_what_they_carry() {
        let payload = r#"{"aud":"https://h/t","iss":"client\"1","sub":"client\"1","nbf":1000,"exp":1600,"jti":"j","iat":1000}"#;
        assert_eq!(
            decoded(SignatureAlgorithm::Ps256, false),
            [
                r#"{"alg":"PS256","typ":"JWT","x5t#S256":"bmQeK7jALQuzsm3zZhXskUB41iAU0lyzzX2AKJAtiZ8"}"#,
                payload
            ]
        );
        assert_eq!(
            decoded(SignatureAlgorithm::Rs256, false)[0],
            r#"{"alg":"RS256","typ":"JWT","x5t":"5wxQ2k6mb5QimllLwRLLS0_ynrQ"}"#
        );
    }

    #[test]
    fn the_chain_is_an_array_of_standard_base64() {
        assert_eq!(
            decoded(SignatureAlgorithm::Es256, true)[0],
            r#"{"alg":"ES256","typ":"JWT","x5t#S256":"bmQeK7jALQuzsm3zZhXskUB41iAU0lyzzX2AKJAtiZ8","x5c":["MIL7","MP8="]}"#
        );
    }

    #[test]
    fn a_signature_completes_the_compact_form() {
        assert_eq!(compact("a.b", &[0xfb, 0xff]), "a.b.-_8");
    }

    #[test]
    fn an_input_beyond_the_limit_is_refused() {
        let client_id = "x".repeat(MAX_SIGNING_INPUT).to_string();
        let claims = Claims { client_id: &client_id, audience: "a", now: 0, id: "j" };
        let error = signing_input(&claims, &certificate(&[]), SignatureAlgorithm::Ps256, false).unwrap_err();
        assert_eq!(error.code, "encoded_token_too_long");
    }

    #[test]
    fn the_key_decides_where_it_cannot_do_what_the_authority_expects() {
        use SignatureAlgorithm::{Es256, Ps256, Rs256};
        let choose = |expected, able: &[_]| choose_algorithm(expected, &certificate(able), "c").ok();
        assert_eq!(choose(Ps256, &[Rs256, Ps256]), Some(Ps256));
        assert_eq!(choose(Rs256, &[Rs256, Ps256]), Some(Rs256));
        assert_eq!(choose(Ps256, &[Rs256]), Some(Rs256));
        assert_eq!(choose(Ps256, &[Es256]), Some(Es256));
        assert_eq!(choose(Ps256, &[]), None);
    }
}
