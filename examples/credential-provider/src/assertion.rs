//! What is signed: JWT client assertions, so that the key is no oracle. The host knows the time and where the application
//! may go, and has looked at those already.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::bindings::exports::symbolon::credentials::provider::SignatureAlgorithm;

pub(crate) fn check(algorithm: SignatureAlgorithm, signing_input: &[u8]) -> Result<(), &'static str> {
    let (header, payload) = segments(signing_input).ok_or(
        "found something other than a client assertion; accepted: base64url(header).base64url(payload)",
    )?;
    let is =
        |name: &str, expected: &str| header[name].as_str().is_some_and(|v| v.eq_ignore_ascii_case(expected));
    let algorithm = match algorithm {
        SignatureAlgorithm::Rs256 => "RS256",
        SignatureAlgorithm::Ps256 => "PS256",
        SignatureAlgorithm::Es256 => "ES256",
    };
    if !is("typ", "JWT") || !is("alg", algorithm) || !header["crit"].is_null() || !header["b64"].is_null() {
        return Err(
            "found another header than that of a client assertion; accepted: typ JWT, alg as asked, no crit",
        );
    }
    let lifetime = payload["exp"].as_u64().and_then(|end| end.checked_sub(payload["nbf"].as_u64()?));
    if lifetime.is_none_or(|seconds| seconds > 600) {
        return Err("found a client assertion without end; accepted: nbf, and exp within 600 seconds of it");
    }
    match payload["aud"].as_str() {
        Some(audience) if audience.starts_with("https://") => Ok(()),
        _ => Err("found another audience than a token endpoint; accepted: an https URL"),
    }
}

fn segments(signing_input: &[u8]) -> Option<(Value, Value)> {
    let dot = signing_input.iter().position(|byte| *byte == b'.')?;
    let (header, payload) = (signing_input.get(..dot)?, signing_input.get(dot + 1..)?);
    let object = |segment| {
        let json = BASE64_URL_SAFE_NO_PAD.decode(segment).ok()?;
        serde_json::from_slice(&json).ok().filter(Value::is_object)
    };
    Some((object(header)?, object(payload)?))
}
