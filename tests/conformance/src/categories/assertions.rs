//! Client assertions.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;
use symbolon_protocol::{
    assertion::{self, Claims},
    authority::{Authority, SignatureAlgorithm},
};

use crate::{
    checks::Checks,
    host::{certificate, own_certificate, token_part},
    input::{Input, Read, Uncovered},
    rules::requests::EXTRA_CLAIMS,
};

pub(super) fn client_assertion(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let algorithm = algorithm(input)?;
    let certificate = match input.text("cert_der_base64")? {
        Some(der) => {
            let der = BASE64_STANDARD
                .decode(der)
                .map_err(|error| Uncovered(format!("cert_der_base64: {error}")))?;
            certificate(der, &[SignatureAlgorithm::Ps256, SignatureAlgorithm::Rs256])
        }
        None => own_certificate().map_err(|error| Uncovered(error.to_string()))?,
    };
    let expected = expected_payload(checks);
    let text = |names: &[&str], claim: &str| -> Read<String> {
        let given = input.text_of(names)?.map(str::to_owned);
        Ok(given.or_else(|| expected.get(claim)?.as_str().map(str::to_owned)).unwrap_or_default())
    };
    let now = input.number("now")?.or(input.number("nbf")?).or_else(|| seconds(expected.get("nbf")?));
    let extra = extra_claims(input)?;
    let claims = Claims {
        client_id: &text(&["client_id"], "iss")?,
        audience: &text(&["audience", "aud", "token_endpoint"], "aud")?,
        now: now.and_then(|now| u64::try_from(now).ok()).unwrap_or_default(),
        // Random in MSAL, so that a vector may leave it to its expectation.
        id: &text(&["jti"], "jti")?,
        extra: extra.as_deref(),
    };
    let send_x5c = input.flag("send_x5c")?;
    if let Some(error) = extra.as_deref().and_then(|extra| assertion::check_extra(extra).err()) {
        checks.refused(&error.code, false);
        return Ok(());
    }
    match assertion::signing_input(&claims, &certificate, algorithm, send_x5c) {
        Ok(signing_input) => {
            checks.succeeded();
            checks.check("header_json", token_part(&signing_input, 0));
            checks.check("payload_json", token_part(&signing_input, 1));
            checks.check("alg", name(algorithm));
            checks.check_part("header_has", |expected| {
                let header = token_part(&signing_input, 0).unwrap_or_default();
                members_in(&header, expected)
            });
        }
        Err(error) => checks.refused(&error.code, false),
    }
    Ok(())
}

/// Claims of the caller's, as an object or as JSON, beside the standard ones.
fn extra_claims(input: &Input<'_>) -> Read<Option<String>> {
    for name in ["merge_with_default_claims", "merge_default_claims", "merge_with_default", "merge"] {
        if input.any(name).is_some() && !input.flag(name)? {
            return Err(Uncovered("assertions have the standard claims in any case".into()));
        }
    }
    Ok(match input.any_of(&EXTRA_CLAIMS) {
        None => None,
        Some(Value::String(json)) => Some(json.clone()),
        Some(object) => Some(object.to_string()),
    })
}

/// The algorithm: named, or that of an authority's kind.
fn algorithm(input: &Input<'_>) -> Read<SignatureAlgorithm> {
    let unknown = |what: &str| Uncovered(format!("{what} isn't a known way to sign"));
    let by_family = match input.text("alg_family")? {
        Some("pkcs1" | "rsa" | "RS256") => Some(SignatureAlgorithm::Rs256),
        Some("pss" | "PS256") => Some(SignatureAlgorithm::Ps256),
        Some(other) => return Err(unknown(other)),
        None => None,
    };
    let by_type = match input.text("authority_type")? {
        Some(kind) => {
            let authority = authority_of(kind).ok_or_else(|| unknown(kind))?;
            Some(authority.signature_algorithm())
        }
        None => None,
    };
    Ok(by_family.or(by_type).unwrap_or(SignatureAlgorithm::Ps256))
}

/// An authority of a kind.
fn authority_of(kind: &str) -> Option<Authority> {
    let url = match kind {
        "aad" => "https://login.microsoftonline.com/contoso.com",
        "b2c" => "https://contoso.b2clogin.com/tfp/contoso.onmicrosoft.com/policy",
        "ciam" => "https://contoso.ciamlogin.com",
        "adfs" => "https://fs.contoso.com/adfs",
        "dsts" => "https://contoso.dsts.core.windows.net/dstsv2/contoso",
        "oidc" | "generic" | "generic_oidc" => return Authority::oidc("https://idp.contoso.com").ok(),
        _ => return None,
    };
    Authority::parse(url).ok()
}

fn name(algorithm: SignatureAlgorithm) -> &'static str {
    match algorithm {
        SignatureAlgorithm::Rs256 => "RS256",
        SignatureAlgorithm::Ps256 => "PS256",
        _ => "ES256",
    }
}

fn expected_payload(checks: &Checks<'_>) -> Value {
    let payload = checks.expected("payload_json").and_then(Value::as_str).unwrap_or_default();
    serde_json::from_str(payload).unwrap_or_default()
}

fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// Of the expected names those that are members of the JSON object.
pub(super) fn members_in(json: &str, expected: &Value) -> Value {
    let object: Value = serde_json::from_str(json).unwrap_or_default();
    let has = |name: &&Value| name.as_str().is_some_and(|name| object.get(name).is_some());
    expected.as_array().map_or(Value::Null, |names| names.iter().filter(has).cloned().collect())
}
