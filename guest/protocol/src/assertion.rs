//! Client assertions: JSON Web Tokens signed with the certificate's key (RFC 7521, RFC 7523).
//!
//! The host signs; what is signed is decided here. Header and payload keep MSAL's order, with the deviations that make
//! them conform to RFC 7519: times are numbers, `x5c` is an array, every request has a `jti` of its own.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::authority::SignatureAlgorithm;
use crate::claims;
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
    /// The token endpoint that is really called; of an OpenID Connect provider its issuer.
    pub audience: &'a str,
    /// The time now, in Unix seconds.
    pub now: u64,
    /// The assertion's own id.
    pub id: &'a str,
    /// Claims of the caller's own: a JSON object without the names above, or nothing.
    pub extra: Option<&'a str>,
}

/// How the header of an assertion names the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Naming {
    /// By its id (`kid`), and not by the certificate, unless that is carried.
    pub by_id: bool,
    /// Whether the certificate and its chain are carried (`x5c`).
    pub chain: bool,
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
    naming: Naming,
) -> Result<String, Error> {
    let mut input = String::new();
    URL_SAFE_NO_PAD.encode_string(header(certificate, algorithm, naming), &mut input);
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

/// How to sign: in the first way that the certificate's key can.
///
/// # Errors
///
/// `certificate_not_rsa` for a certificate whose key makes none of these signatures.
pub fn choose_algorithm(
    expected: &[SignatureAlgorithm],
    certificate: &Certificate,
    credential: &str,
) -> Result<SignatureAlgorithm, Error> {
    common_algorithm(expected, certificate).ok_or_else(|| {
        let expected: Vec<_> = expected.iter().map(|algorithm| algorithm.name()).collect();
        Error::new(
            ErrorKind::CredentialUnsupported,
            "certificate_not_rsa",
            format!(
                "The certificate of {credential} can't sign a client assertion: its key makes no signatures that are \
                 accepted, which are {}; use a certificate with another key, such as RSA.",
                expected.join(", ")
            ),
        )
    })
}

/// The first of the signatures that the certificate's key can make.
pub(crate) fn common_algorithm(
    expected: &[SignatureAlgorithm],
    certificate: &Certificate,
) -> Option<SignatureAlgorithm> {
    expected.iter().copied().find(|algorithm| certificate.algorithms.contains(algorithm))
}

fn header(certificate: &Certificate, algorithm: SignatureAlgorithm, naming: Naming) -> String {
    let mut header = format!(r#"{{"alg":"{}","typ":"JWT""#, algorithm.name());
    let mut member = |name, value| {
        header.push_str(name);
        push_string(&mut header, value);
    };
    if let Some(id) = certificate.key_id.as_deref().filter(|_| naming.by_id) {
        member(r#","kid":"#, id);
    }
    if !naming.by_id || naming.chain {
        match algorithm {
            SignatureAlgorithm::Rs256 => member(r#","x5t":"#, &certificate.thumbprint_sha1),
            _ => member(r#","x5t#S256":"#, &certificate.thumbprint_sha256),
        }
    }
    if naming.chain {
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
    let mut payload = format!(
        r#"{{"aud":{},"iss":{client_id},"sub":{client_id},"nbf":{now},"exp":{},"jti":{},"iat":{now}"#,
        json(claims.audience),
        claims.now + LIFETIME_SECONDS,
        json(claims.id),
        now = claims.now,
    );
    // As MSAL does: what is between the braces, as it was written.
    if let Some(extra) = claims.extra.and_then(members).filter(|extra| !extra.is_empty()) {
        payload.push(',');
        payload.push_str(extra);
    }
    payload.push('}');
    payload
}

fn members(object: &str) -> Option<&str> {
    Some(object.trim().strip_prefix('{')?.strip_suffix('}')?.trim())
}

/// Checks claims of the caller's own for an assertion.
///
/// # Errors
///
/// `invalid_json_claims_format` for anything but a JSON object, and `reserved_claim` for one with a claim that every
/// assertion has: a name that appears twice means something else to each reader (RFC 7519 §4).
pub fn check_extra(claims: &str) -> Result<(), Error> {
    let names = claims::names(claims).map_err(|error| {
        let message = format!("The extra claims for the client assertion: {error}.");
        Error::invalid_request("invalid_json_claims_format", message)
    })?;
    let is_taken = |(at, name): &(usize, &String)| {
        CLAIMS.contains(&name.as_str()) || names.iter().take(*at).any(|other| other == *name)
    };
    match names.iter().enumerate().find(is_taken) {
        None => Ok(()),
        Some((_, name)) => Err(Error::invalid_request(
            "reserved_claim",
            format!("The client assertion has the claim {name:?} already; take it out of the extra claims."),
        )),
    }
}

const CLAIMS: [&str; 7] = ["aud", "iss", "sub", "nbf", "exp", "jti", "iat"];

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

    fn certificate(algorithms: &[SignatureAlgorithm]) -> Certificate {
        Certificate {
            chain: vec![vec![0x30, 0x82, 0xfb], vec![0x30, 0xff]],
            thumbprint_sha256: "bmQeK7jALQuzsm3zZhXskUB41iAU0lyzzX2AKJAtiZ8".into(),
            thumbprint_sha1: "5wxQ2k6mb5QimllLwRLLS0_ynrQ".into(),
            key_id: Some("key\"1".into()),
            not_after: 0,
            algorithms: algorithms.into(),
        }
    }

    fn decoded(algorithm: SignatureAlgorithm, by_id: bool, chain: bool) -> Vec<String> {
        let naming = Naming { by_id, chain };
        let claims =
            Claims { client_id: "client\"1", audience: "https://h/t", now: 1000, id: "j", extra: None };
        signing_input(&claims, &certificate(&[]), algorithm, naming)
            .unwrap()
            .split('.')
            .map(|part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn header_and_payload_have_their_order_and_escape_what_they_carry() {
        let payload = r#"{"aud":"https://h/t","iss":"client\"1","sub":"client\"1","nbf":1000,"exp":1600,"jti":"j","iat":1000}"#;
        assert_eq!(
            decoded(SignatureAlgorithm::Ps256, false, false),
            [
                r#"{"alg":"PS256","typ":"JWT","x5t#S256":"bmQeK7jALQuzsm3zZhXskUB41iAU0lyzzX2AKJAtiZ8"}"#,
                payload
            ]
        );
        assert_eq!(
            decoded(SignatureAlgorithm::Rs256, false, false)[0],
            r#"{"alg":"RS256","typ":"JWT","x5t":"5wxQ2k6mb5QimllLwRLLS0_ynrQ"}"#
        );
    }

    #[test]
    fn the_chain_is_an_array_of_standard_base64() {
        assert_eq!(
            decoded(SignatureAlgorithm::Es256, false, true)[0],
            r#"{"alg":"ES256","typ":"JWT","x5t#S256":"bmQeK7jALQuzsm3zZhXskUB41iAU0lyzzX2AKJAtiZ8","x5c":["MIL7","MP8="]}"#
        );
    }

    #[test]
    fn a_key_that_is_named_by_its_id_needs_no_certificate() {
        assert_eq!(
            decoded(SignatureAlgorithm::Ps256, true, false)[0],
            r#"{"alg":"PS256","typ":"JWT","kid":"key\"1"}"#
        );
        assert_eq!(
            decoded(SignatureAlgorithm::Rs256, true, true)[0],
            r#"{"alg":"RS256","typ":"JWT","kid":"key\"1","x5t":"5wxQ2k6mb5QimllLwRLLS0_ynrQ","x5c":["MIL7","MP8="]}"#
        );
    }

    #[test]
    fn extra_claims_follow_the_others_as_they_were_written() {
        let payload = |extra| payload(&Claims { client_id: "c", audience: "a", now: 1, id: "j", extra });
        let plain = payload(None);
        assert_eq!(payload(Some(" { } ")), plain);
        let standard = plain.strip_suffix('}').unwrap();
        assert_eq!(payload(Some(" {\"x\": {\"y\": [1]}} ")), format!("{standard},\"x\": {{\"y\": [1]}}}}"));
    }

    #[test]
    fn extra_claims_are_an_object_of_names_that_are_free() {
        let code = |claims| check_extra(claims).map_err(|error| error.code);
        assert_eq!(code(r#"{"x":{"aud":1},"y":2}"#), Ok(()));
        for other in ["[1]", "{", "\"x\"", r#"{"x":1} {"y":2}"#] {
            assert_eq!(code(other), Err("invalid_json_claims_format".into()), "{other}");
        }
        for taken in [r#"{"x":1,"aud":"a"}"#, r#"{"\u0065xp":1}"#, r#"{"x":1,"x":2}"#] {
            assert_eq!(code(taken), Err("reserved_claim".into()), "{taken}");
        }
    }

    #[test]
    fn a_signature_completes_the_compact_form() {
        assert_eq!(compact("a.b", &[0xfb, 0xff]), "a.b.-_8");
    }

    #[test]
    fn an_input_beyond_the_limit_is_refused() {
        let client_id = "x".repeat(MAX_SIGNING_INPUT).to_string();
        let claims = Claims { client_id: &client_id, audience: "a", now: 0, id: "j", extra: None };
        let error = {
            let naming = Naming { by_id: false, chain: false };
            signing_input(&claims, &certificate(&[]), SignatureAlgorithm::Ps256, naming).unwrap_err()
        };
        assert_eq!(error.code, "encoded_token_too_long");
    }

    #[test]
    fn the_key_decides_where_it_cannot_do_what_the_authority_expects() {
        use SignatureAlgorithm::{Es256, Ps256, Rs256};
        let choose =
            |expected, able: &[_]| choose_algorithm(&[expected, Rs256, Es256], &certificate(able), "c").ok();
        assert_eq!(choose(Ps256, &[Rs256, Ps256]), Some(Ps256));
        assert_eq!(choose(Rs256, &[Rs256, Ps256]), Some(Rs256));
        assert_eq!(choose(Ps256, &[Rs256]), Some(Rs256));
        assert_eq!(choose(Ps256, &[Es256]), Some(Es256));
        assert_eq!(choose(Ps256, &[]), None);
    }
}
