//! Token requests, driven through the protocol's machine.

use serde_json::{Map, Value};
use symbolon_protocol::{
    credential::{BoundUse, CredentialErrorKind},
    error::{Error, ErrorKind},
    request::{Options, Request, Scheme},
    telemetry::{ApiId, CacheInfo, CurrentTelemetry, RegionOutcome, RegionSource},
};

use super::{
    assertions::members_in,
    platform, regions,
    scenario::{Scenario, certificate, owned},
};
use crate::{
    checks::Checks,
    host::{Answer, Credential, Sent, optional, token_part},
    input::{Input, Read, Uncovered},
};

pub(super) fn token_request(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let mut scenario = Scenario::read(input)?;
    scenario.prepare(vec!["another/scope".into()], checks);
    let Some(result) = scenario.acquire(checks) else { return Ok(()) };
    match (result, scenario.sent()) {
        (Err(error), _) if scenario.host.sent.is_empty() => refused(&error, checks),
        (Ok(_), Some(sent)) => {
            checks.succeeded();
            check_request(sent, checks);
            if checks.expected("expected_token_type").is_some() {
                let accepted = accepted_token_type(input, scenario.host.sent.len(), checks)?;
                checks.check("expected_token_type", accepted);
            }
        }
        (Err(error), _) => checks.broken(&format!("a token was refused: {error}")),
        (Ok(_), None) => checks.broken("no request was sent"),
    }
    Ok(())
}

pub(super) fn refused(error: &Error, checks: &mut Checks<'_>) {
    checks.refused(&error.code, error.kind == ErrorKind::InvalidRequest);
}

fn check_request(sent: &Sent, checks: &mut Checks<'_>) {
    let field = |name: &Value| name.as_str().and_then(|name| sent.field(name));
    let header = |name: &Value| name.as_str().and_then(|name| sent.header(name));
    checks.check("url", sent.url.as_str());
    checks.check("host", sent.url.split('/').nth(2));
    checks.check("tls_client_cert", sent.certificate);
    checks.check("body_order", sent.body.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
    checks.check_part("body", |expected| values(expected, |name| sent.field(name)));
    checks.check_part("headers", |expected| values(expected, |name| sent.header(name)));
    checks.check_part("required_body", |expected| {
        those(expected, |name| field(name).is_some_and(|v| !v.is_empty()))
    });
    checks.check_part("absent_body", |expected| those(expected, |name| field(name).is_none()));
    checks.check_part("required_headers", |expected| those(expected, |name| header(name).is_some()));
    checks.check_part("absent_headers", |expected| those(expected, |name| header(name).is_none()));
    let part =
        |part| sent.field("client_assertion").and_then(|token| token_part(token, part)).unwrap_or_default();
    checks.check_part("assertion_header_has", |expected| members_in(&part(0), expected));
    checks.check_part("absent_assertion_header", |expected| {
        let has = members_in(&part(0), expected);
        those(expected, |name| has.as_array().is_some_and(|has| !has.contains(name)))
    });
    let member = |part: &str, name: &str| {
        serde_json::from_str::<Value>(part).ok().and_then(|part| part.get(name).cloned()).unwrap_or_default()
    };
    checks.check("assertion_alg", member(&part(0), "alg"));
    checks.check("assertion_aud", member(&part(1), "aud"));
}

/// The expected members with the values that were got.
pub(super) fn values<'a>(expected: &Value, got: impl Fn(&str) -> Option<&'a str>) -> Value {
    let Value::Object(expected) = expected else { return Value::Null };
    expected.keys().map(|name| (name.clone(), optional(got(name)))).collect()
}

/// Of the expected names those for which `holds` is true.
fn those(expected: &Value, holds: impl Fn(&Value) -> bool) -> Value {
    expected
        .as_array()
        .map_or(Value::Null, |names| names.iter().filter(|name| holds(name)).cloned().collect())
}

/// The one type of token that is accepted in answer to the last of the requests.
fn accepted_token_type(input: &Input<'_>, requests: usize, checks: &mut Checks<'_>) -> Read<Value> {
    for token_type in ["bearer", "mtls_pop", "pop"] {
        let mut scenario = Scenario::read(input)?;
        let asked_before = scenario.host.answers.len();
        scenario.prepare(vec!["another/scope".into()], checks);
        scenario.host.answers.resize(requests.saturating_sub(1).max(asked_before), Answer::Token);
        scenario.host.answers.push_back(Answer::TokenOfType(token_type.into()));
        if matches!(scenario.host.acquire(scenario.request), Ok(Ok(_))) {
            return Ok(token_type.into());
        }
    }
    Ok(Value::Null)
}

pub(super) fn credential_matrix(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let mut scenario = Scenario::read(&Input::new(&Map::new()))?;
    scenario.host.credential = matrix_credential(input)?;
    if input.text("credential")? == Some("certificate_with_claims") {
        scenario.request.options.extra_client_assertion_claims = Some(r#"{"claim":"value"}"#.into());
    }
    match input.text("mode")?.unwrap_or("bearer") {
        "bearer" | "normal" => {}
        "bearer_over_mtls" => scenario.host.use_bound = BoundUse::Required,
        "mtls_pop" => scenario.request.scheme = Scheme::MtlsPop,
        other => return Err(Uncovered(format!("there is no mode {other}"))),
    }
    if let Some(authority) = input.text("authority")? {
        scenario.host.application.authority = authority.into();
    }
    scenario.request.options.tenant_id = owned(input.text_of(&["request_tenant", "tenant"])?);
    match input.texts("requests")? {
        Some(requests) => count_assertions(scenario, &requests, checks),
        None => check_cell(scenario, checks),
    }
}

fn matrix_credential(input: &Input<'_>) -> Read<Credential> {
    let assertion = |certificate| -> Read<Credential> {
        Ok(Credential::Assertion { token: input.text("assertion")?.unwrap_or("a.b.c").into(), certificate })
    };
    let is_null = input.flag("provider_returns_null")?;
    match input.required("credential")? {
        "secret" | "client_secret" => Ok(Credential::Secret("secret".into())),
        "certificate_provider" | "certificate_callback" if is_null => {
            Ok(Credential::None(CredentialErrorKind::Unavailable))
        }
        "certificate" | "certificate_with_claims" | "certificate_provider" | "certificate_callback" => {
            Ok(Credential::Certificate(certificate()?))
        }
        "static_assertion"
        | "assertion"
        | "assertion_string"
        | "assertion_callback"
        | "string_callback"
        | "signed_assertion_callback"
        | "assertion_callback_without_cert"
        | "signed_assertion_callback_without_cert" => assertion(None),
        "assertion_callback_with_cert"
        | "assertion_callback_with_optional_cert"
        | "signed_assertion_callback_with_cert" => assertion(Some(certificate()?)),
        "none" => Ok(Credential::None(CredentialErrorKind::NotConfigured)),
        other => Err(Uncovered(format!("there is no credential {other}"))),
    }
}

fn check_cell(mut scenario: Scenario, checks: &mut Checks<'_>) -> Read<()> {
    let Some(result) = scenario.acquire(checks) else { return Ok(()) };
    match (result, scenario.host.sent.first()) {
        (Err(error), None) => {
            refused(&error, checks);
            checks.check("when", "acquisition");
        }
        (Ok(_), Some(sent)) => {
            checks.succeeded();
            check_request(sent, checks);
            checks.check("assertion_type", optional(sent.field("client_assertion_type")));
            checks.check("client_assertion_type", optional(sent.field("client_assertion_type")));
            checks.check("token_type", optional(sent.field("token_type")));
            checks.check("assertion", sent.field("client_assertion").is_some());
        }
        _ => checks.broken("neither an error before the request nor a request"),
    }
    Ok(())
}

/// Runs requests that are answered by the network or by the cache, and counts how often the assertion was asked for.
fn count_assertions(mut scenario: Scenario, requests: &[String], checks: &mut Checks<'_>) -> Read<()> {
    let mut counts = Vec::new();
    for (index, source) in requests.iter().enumerate() {
        scenario.request.options.force_refresh = match source.as_str() {
            "network" => index > 0,
            "cache" => false,
            other => return Err(Uncovered(format!("there is no source {other}"))),
        };
        let before = scenario.host.sent.len();
        let Some(_) = scenario.acquire(checks) else { return Ok(()) };
        if (scenario.host.sent.len() > before) != (source == "network") {
            checks.broken(&format!("request {index} wasn't answered by the {source}"));
        }
        counts.push(match scenario.host.credential {
            Credential::Assertion { .. } => scenario.host.assertions,
            _ => scenario.host.selections,
        });
    }
    checks.check("callback_calls_cumulative", counts);
    Ok(())
}

pub(super) fn http_retry(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let mut scenario = Scenario::read(&Input::new(&Map::new()))?;
    match input.text("policy")? {
        None | Some("sts") => {}
        Some("managed_identity_default") => {
            platform::asks(&mut scenario.host, &mut scenario.request, "app_service")?
        }
        Some("imds") => platform::asks(&mut scenario.host, &mut scenario.request, "imds")?,
        Some("region_discovery") => return regions::retries(input, checks),
        Some(other) => return Err(Uncovered(format!("nothing runs the policy {other}"))),
    }
    // A single status stands for an authority that always answers so.
    let answers = match (input.any("responses"), input.any("status")) {
        (Some(Value::Array(responses)), None) => responses.iter().map(answer).collect::<Read<Vec<_>>>()?,
        (None, Some(status)) => vec![answer(status)?; 8],
        _ => return Err(Uncovered("there are neither responses nor a status".into())),
    };
    scenario.host.answers.extend(answers);
    let Some(result) = scenario.acquire(checks) else { return Ok(()) };
    let attempts = scenario.host.sent.len();
    checks.check("attempts", attempts);
    checks.check("retry", attempts > 1);
    checks.check("delays_ms", scenario.host.delays.clone());
    checks.check("success", result.is_ok());
    checks.check("error_code", result.err().map(|error| error.code));
    Ok(())
}

/// An answer: a status, `timeout`, or an object.
pub(super) fn answer(value: &Value) -> Read<Answer> {
    let unknown = || Uncovered(format!("the response {value} isn't understood"));
    let status =
        |value: &Value| value.as_u64().and_then(|status| u16::try_from(status).ok()).ok_or_else(unknown);
    match value {
        Value::String(timeout) if timeout == "timeout" => Ok(Answer::Timeout),
        Value::Number(_) if status(value)? == 200 => Ok(Answer::Token),
        Value::Number(_) => {
            Ok(Answer::Response { status: status(value)?, retry_after: None, body: String::new() })
        }
        Value::Object(members) => {
            let input = Input::new(members);
            let retry_after = match input.any("retry_after") {
                Some(Value::String(text)) => Some(text.clone()),
                other => other.map(Value::to_string),
            };
            let status = status(input.any("status").unwrap_or(&Value::Null))?;
            let body = input.any("body").map(Value::to_string).unwrap_or_default();
            input.finish()?;
            Ok(if status == 200 { Answer::Token } else { Answer::Response { status, retry_after, body } })
        }
        _ => Err(unknown()),
    }
}

pub(super) fn telemetry_header(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let source = input.text("region_source")?;
    let cache = input.text("cache")?.unwrap_or("empty");
    let region = input.text("region")?;
    let header = match source {
        None | Some("user" | "user_provided" | "explicit") => {
            let mut scenario = Scenario::read(input)?;
            if input.text("token_type")?.is_some_and(|token_type| token_type == "mtls_pop") {
                scenario.request.scheme = Scheme::MtlsPop;
                scenario.host.credential = Credential::Certificate(certificate()?);
            }
            let scopes = match cache {
                "empty" | "miss" | "none" => vec!["another/scope".into()],
                _ => scenario.request.scopes.clone(),
            };
            scenario.prepare(scopes, checks);
            if source.is_some() && region.is_none() {
                scenario.host.application.azure_region = Some("centralus".into());
            }
            match sent_telemetry(scenario, cache, checks)? {
                Some(header) => header,
                None => return Ok(()),
            }
        }
        Some(source) => detected_telemetry(input, source, cache)?,
    };
    checks.check("x-client-current-telemetry", header);
    Ok(())
}

/// The header of a request whose token was, or wasn't, in the cache.
fn sent_telemetry(mut scenario: Scenario, cache: &str, checks: &mut Checks<'_>) -> Read<Option<String>> {
    let later = match cache {
        "empty" | "miss" | "none" => None,
        "valid" | "present" | "warm" => Some(1000),
        "expired" => Some(3_600_000),
        "refresh_due" | "needs_refresh" | "proactive" => {
            scenario.host.proactive_refresh = true;
            Some(1000)
        }
        other => return Err(Uncovered(format!("nothing puts the cache into the state {other}"))),
    };
    if let Some(later) = later {
        let is_there = scenario.host.cache.access_tokens().next().is_some();
        let options = Options { claims: None, force_refresh: false, ..scenario.request.options.clone() };
        let before = Request { options, ..scenario.request.clone() };
        if !is_there && !matches!(scenario.host.acquire(before), Ok(Ok(_))) {
            checks.broken("the token for the cache couldn't be acquired");
            return Ok(None);
        }
        scenario.host.now += later;
        scenario.host.sent.clear();
    }
    let Some(result) = scenario.acquire(checks) else { return Ok(None) };
    match (result, scenario.host.sent.last()) {
        (Err(error), None) => {
            refused(&error, checks);
            Ok(None)
        }
        (_, Some(sent)) => Ok(sent.header("x-client-current-telemetry").map(str::to_owned)),
        (Ok(_), None) => {
            checks.broken("no request was sent");
            Ok(None)
        }
    }
}

/// The header with a detected region. Detecting regions is for whoever runs the machine; what the header then says isn't.
fn detected_telemetry(input: &Input<'_>, source: &str, cache: &str) -> Read<String> {
    if input.required("flow")? != "client_credentials" || cache != "empty" {
        return Err(Uncovered("only client credentials with an empty cache have a region here".into()));
    }
    let (source, outcome) = match source {
        "failed" => (RegionSource::Failed, RegionOutcome::FallbackToGlobal),
        "cache" => (RegionSource::Cache, RegionOutcome::AutodetectSuccess),
        "env" | "environment" | "environment_variable" => {
            (RegionSource::EnvironmentVariable, RegionOutcome::AutodetectSuccess)
        }
        "imds" => (RegionSource::Imds, RegionOutcome::AutodetectSuccess),
        other => return Err(Uncovered(format!("there is no source of regions {other}"))),
    };
    let cache_info = if input.flag("force_refresh")? {
        CacheInfo::ForceRefreshOrClaims
    } else {
        CacheInfo::NoCachedAccessToken
    };
    let telemetry = CurrentTelemetry {
        cache_info,
        region_used: owned(input.text("region")?),
        region_source: Some(source),
        region_outcome: Some(outcome),
        ..CurrentTelemetry::new(ApiId::Client)
    };
    Ok(telemetry.to_string())
}
