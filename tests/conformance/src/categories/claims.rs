//! Claims, scopes, and what is too little for a module of its own.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use symbolon_protocol::{
    acquisition::Action,
    claims::{self, InvalidClaims},
    identity::ClientInfo,
    pop::PopKey,
    request::{Context, SignIn},
    scopes::Scopes,
    sign_in,
};

use super::scenario::Scenario;
use crate::{
    checks::Checks,
    host::optional,
    input::{Input, Read, Uncovered},
};

pub(super) fn claims_merge(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let capabilities = input.texts("capabilities")?.unwrap_or_default();
    match claims::merge(&capabilities, input.text("claims")?, input.text("client_claims")?) {
        Ok(merged) => {
            checks.succeeded();
            checks.check("claims", optional(merged.as_deref()));
        }
        Err(_) => checks.refused(InvalidClaims::CODE, false),
    }
    Ok(())
}

pub(super) fn misc(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    if let Some(bytes) = input.number("random_bytes")? {
        return verifier(bytes, checks);
    }
    if let Some(key) = input.any_of(&["jwk", "pop_public_key"]) {
        let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
        match PopKey::parse(&key) {
            Ok(key) => {
                checks.succeeded();
                checks.check("kid", key.key_id());
                checks.check("req_cnf", key.req_cnf());
            }
            Err(error) => checks.refused(&error.code, true),
        }
        return Ok(());
    }
    if let Some(info) = input.any("client_info") {
        let info =
            info.as_str().map_or_else(|| BASE64_URL_SAFE_NO_PAD.encode(info.to_string()), str::to_owned);
        let id = ClientInfo::parse(&info).map(|info| info.home_account_id());
        checks.check("home_account_id", optional(id.as_deref()));
        return Ok(());
    }
    match checks.expected("scope") {
        Some(Value::String(_)) => {
            let scopes = Scopes::new(input.texts("scopes")?.unwrap_or_default());
            checks.check("scope", scopes.with_reserved_sorted());
            Ok(())
        }
        _ => Err(Uncovered("nothing runs it yet".into())),
    }
}

/// The verifier of a sign-in and the method of its challenge.
fn verifier(bytes: i64, checks: &mut Checks<'_>) -> Read<()> {
    let scenario = Scenario::read(&Input::new(&Map::new()))?;
    let context = Context {
        application: scenario.host.application,
        now: scenario.host.now,
        deadline: scenario.host.now,
        seed: [1, 2, 3, 4],
        proactive_refresh: false,
    };
    let sign_in = SignIn { redirect_uri: "https://app.example/signin".into(), ..SignIn::default() };
    let begun = match sign_in::start(sign_in, &context) {
        Ok((_, Action::SignIn(begun))) => begun,
        Ok((_, action)) => return Err(Uncovered(format!("{action:?} comes first"))),
        Err(error) => return Err(Uncovered(error.to_string())),
    };
    let verifier = BASE64_URL_SAFE_NO_PAD.decode(&begun.code_verifier).unwrap_or_default();
    if i64::try_from(verifier.len()) != Ok(bytes) {
        return Err(Uncovered(format!("a verifier has {} random bytes", verifier.len())));
    }
    let query = begun.url.split_once('?').map_or("", |(_, query)| query);
    let parameter = |name: &str| {
        url::form_urlencoded::parse(query.as_bytes()).find(|(other, _)| other == name).map(|(_, value)| value)
    };
    checks.check("verifier_length", begun.code_verifier.len());
    checks.check("challenge_method", optional(parameter("code_challenge_method").as_deref()));
    Ok(())
}
