//! Proof of possession by signed HTTP requests: the token is bound to a public key whose private half signs them.
//!
//! The key is the application's, and so is the signing: the authority learns the key's thumbprint alone.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::json::Object;

/// A public key that a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PopKey {
    key_id: String,
}

impl PopKey {
    /// Takes a public key as a JSON Web Key (RFC 7517): RSA of 2048 bits or more, or EC on P-256, P-384 or P-521.
    /// Members that don't make up the key are passed over.
    ///
    /// # Errors
    ///
    /// `invalid_pop_public_key` for anything else, and for a key with private members. The error doesn't show the key.
    pub fn parse(jwk: &str) -> Result<PopKey, Error> {
        let members = Object::parse(jwk.as_bytes()).ok_or_else(|| refused("it isn't a JSON object"))?;
        if PRIVATE_MEMBERS.iter().any(|name| members.get(name).is_some()) {
            return Err(refused("it has private members, which must stay where the key is"));
        }
        let canonical = match text(&members, "kty")?.as_str() {
            "RSA" => rsa(&members)?,
            "EC" => ec(&members)?,
            _ => return Err(refused("it is neither RSA nor EC")),
        };
        Ok(PopKey { key_id: URL_SAFE_NO_PAD.encode(Sha256::digest(canonical)) })
    }

    /// The SHA-256 thumbprint of the key, base64url (RFC 7638).
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The `req_cnf` parameter of the token request: base64url of `{"kid":"…"}`.
    pub fn req_cnf(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!(r#"{{"kid":"{}"}}"#, self.key_id))
    }
}

/// The members that make up an RSA key, in lexicographic order (RFC 7638 §3.2).
fn rsa(members: &Object<'_>) -> Result<String, Error> {
    let (exponent, exponent_bytes) = base64url(members, "e")?;
    let (modulus, modulus_bytes) = base64url(members, "n")?;
    // Leading zeros are another thumbprint for the same key (RFC 7518 §6.3.1).
    if matches!(exponent_bytes.first(), None | Some(0)) || matches!(modulus_bytes.first(), None | Some(0)) {
        return Err(refused("its n or e is empty or begins with zeros"));
    }
    if modulus_bytes.len() < MIN_MODULUS_BYTES {
        return Err(refused("it is too short"));
    }
    Ok(format!(r#"{{"e":"{exponent}","kty":"RSA","n":"{modulus}"}}"#))
}

/// The members that make up an EC key, in lexicographic order (RFC 7638 §3.2).
fn ec(members: &Object<'_>) -> Result<String, Error> {
    let curve = text(members, "crv")?;
    let Some((_, length)) = CURVES.iter().find(|(name, _)| *name == curve) else {
        return Err(refused("its curve is another"));
    };
    let (x, x_bytes) = base64url(members, "x")?;
    let (y, y_bytes) = base64url(members, "y")?;
    if x_bytes.len() != *length || y_bytes.len() != *length {
        return Err(refused("its coordinates don't have the length of the curve"));
    }
    Ok(format!(r#"{{"crv":"{curve}","kty":"EC","x":"{x}","y":"{y}"}}"#))
}

fn text(members: &Object<'_>, name: &str) -> Result<String, Error> {
    members.text(name).ok_or_else(|| refused(&format!("it has no {name}")))
}

/// A member that is base64url, and its bytes.
fn base64url(members: &Object<'_>, name: &str) -> Result<(String, Vec<u8>), Error> {
    let text = text(members, name)?;
    let bytes = URL_SAFE_NO_PAD
        .decode(&text)
        .map_err(|_| refused(&format!("its {name} isn't base64url without padding")))?;
    Ok((text, bytes))
}

fn refused(reason: &str) -> Error {
    Error::invalid_request(
        "invalid_pop_public_key",
        format!(
            "The PoP public key can't be used: {reason}. Accepted is a public JSON Web Key: RSA with n and e and at \
             least 2048 bits, or EC with crv P-256, P-384 or P-521, x and y."
        ),
    )
}

/// What private and symmetric keys have (RFC 7518 §6.2.2, §6.3.2, §6.4).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The curves (RFC 7518 §6.2.1.1), and the length of a coordinate on each, in bytes.
const CURVES: [(&str, usize); 3] = [("P-256", 32), ("P-384", 48), ("P-521", 66)];

const MIN_MODULUS_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// The key of RFC 7638 §3.1, with the members that don't count.
    const RSA: &str = r#"{
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29"
    }"#;

    /// The public half of the P-256 key of RFC 7517 §A.1.
    fn p256() -> Value {
        json!({
            "kty": "EC",
            "crv": "P-256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
            "use": "enc",
            "kid": "1"
        })
    }

    fn rsa() -> Value {
        serde_json::from_str(RSA).expect("JSON")
    }

    fn with(mut key: Value, name: &str, value: Value) -> String {
        key[name] = value;
        key.to_string()
    }

    #[test]
    fn the_key_id_is_that_of_rfc_7638() {
        let key = PopKey::parse(RSA).expect("a key");
        assert_eq!(key.key_id(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(key.req_cnf(), "eyJraWQiOiJOemJMc1hoOHVEQ2NkLTZNTndYRjRXXzdub1dYRlpBZkhreFpzUkdDOVhzIn0");
    }

    #[test]
    fn an_elliptic_curve_key_has_one_too() {
        let key = PopKey::parse(&p256().to_string()).expect("a key");
        assert_eq!(key.key_id(), "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
        for (curve, length) in [("P-384", 48), ("P-521", 66)] {
            let coordinate = URL_SAFE_NO_PAD.encode(alloc::vec![7; length]);
            let jwk = json!({"kty": "EC", "crv": curve, "x": coordinate, "y": coordinate});
            assert!(PopKey::parse(&jwk.to_string()).is_ok(), "{curve}");
        }
    }

    #[test]
    fn a_private_key_is_refused_and_not_shown() {
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            for key in [rsa(), p256()] {
                let error = PopKey::parse(&with(key, name, json!("canary"))).expect_err(name);
                assert_eq!(error.code, "invalid_pop_public_key");
                assert!(error.message.contains("private members"), "{error}");
                assert!(!error.message.contains("canary") && !error.message.contains("0vx7"), "{error}");
            }
        }
    }

    #[test]
    fn what_is_no_public_key_is_refused_with_what_is_accepted() {
        let (short, zero) = (URL_SAFE_NO_PAD.encode([1; 255]), URL_SAFE_NO_PAD.encode([0; 257]));
        for (jwk, said) in [
            (String::new(), "isn't a JSON object"),
            ("[]".into(), "isn't a JSON object"),
            ("{}".into(), "has no kty"),
            (r#"{"kty":"oct"}"#.into(), "neither RSA nor EC"),
            (r#"{"kty":"RSA","e":"AQAB"}"#.into(), "has no n"),
            (with(rsa(), "n", json!(1)), "has no n"),
            (with(rsa(), "n", json!(short)), "too short"),
            (with(rsa(), "n", json!(zero)), "begins with zeros"),
            (with(rsa(), "e", json!("AAEAAQ")), "begins with zeros"),
            (with(rsa(), "e", json!("")), "empty"),
            (with(rsa(), "e", json!("AQAB=")), "isn't base64url"),
            (with(rsa(), "e", json!("\"}+")), "isn't base64url"),
            (with(p256(), "crv", json!("secp256k1")), "curve"),
            (with(p256(), "crv", json!("P-384")), "length of the curve"),
            (with(p256(), "y", json!("AQAB")), "length of the curve"),
        ] {
            let error = PopKey::parse(&jwk).expect_err(said);
            assert_eq!(error.code, "invalid_pop_public_key");
            assert!(error.message.contains(said) && error.message.contains("at least 2048 bits"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_given_panics(text in "\\PC*", name in "kty|crv|n|e|x|y", value in "[A-Za-z0-9_=-]{0,48}") {
            let _ = PopKey::parse(&text);
            for key in [rsa(), p256()] {
                if let Ok(key) = PopKey::parse(&with(key, &name, json!(value))) {
                    prop_assert_eq!(key.key_id().len(), 43);
                }
            }
        }
    }
}
