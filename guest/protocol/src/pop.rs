//! Proof of possession by signed HTTP requests: the token is bound to a public key whose private half signs them.
//!
//! The key is the application's, and so is the signing: the authority learns the key's thumbprint alone.

use alloc::format;
use alloc::string::String;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::Error;

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
        let members: Map<String, Value> =
            serde_json::from_str(jwk).map_err(|_| refused("it isn't a JSON object"))?;
        if PRIVATE_MEMBERS.iter().any(|name| members.contains_key(*name)) {
            return Err(refused("it has private members, which must stay where the key is"));
        }
        let canonical = match text(&members, "kty")? {
            "RSA" => rsa(&members)?,
            "EC" => ec(&members)?,
            _ => return Err(refused("its kty is another")),
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
fn rsa(members: &Map<String, Value>) -> Result<String, Error> {
    let (exponent, exponent_bytes) = base64url(members, "e")?;
    let (modulus, modulus_bytes) = base64url(members, "n")?;
    if modulus_bytes < MIN_MODULUS_BYTES || exponent_bytes > MAX_EXPONENT_BYTES {
        return Err(refused("its size is another"));
    }
    Ok(format!(r#"{{"e":"{exponent}","kty":"RSA","n":"{modulus}"}}"#))
}

/// The members that make up an EC key, in lexicographic order (RFC 7638 §3.2).
fn ec(members: &Map<String, Value>) -> Result<String, Error> {
    let curve = text(members, "crv")?;
    let Some((_, length)) = CURVES.iter().find(|(name, _)| *name == curve) else {
        return Err(refused("its crv is another"));
    };
    let (x, x_bytes) = base64url(members, "x")?;
    let (y, y_bytes) = base64url(members, "y")?;
    if x_bytes != *length || y_bytes != *length {
        return Err(refused("its coordinates don't have the length of the curve"));
    }
    Ok(format!(r#"{{"crv":"{curve}","kty":"EC","x":"{x}","y":"{y}"}}"#))
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, Error> {
    members.get(name).and_then(Value::as_str).ok_or_else(|| refused(&format!("it has no {name}")))
}

/// A member that is base64url, and its length in bytes.
fn base64url<'a>(members: &'a Map<String, Value>, name: &str) -> Result<(&'a str, usize), Error> {
    let text = text(members, name)?;
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| refused(&format!("its {name} isn't base64url without padding")))?;
    Ok((text, bytes.len()))
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

const MAX_EXPONENT_BYTES: usize = 8;
