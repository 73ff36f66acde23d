//! The region in which a client runs: configured, or found out.

use serde_json::{Map, Value, json};
use symbolon_protocol::error::Error;
use symbolon_resources::configuration::Settings;

use super::{
    requests::{answer, refused, values},
    scenario::Scenario,
};
use crate::{
    checks::Checks,
    host::{Answer, Sent, optional},
    input::{Input, Read, Uncovered},
};

/// How the region is found that a configuration names, or says to find out.
pub(super) fn region_discovery(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let variables = input.pairs("env")?.unwrap_or_default();
    let Some(region) = configured(input.text("configured")?, &variables) else {
        checks.refused("invalid_region", false);
        return Ok(());
    };
    let mut scenario = Scenario::read(&Input::new(&Map::new()))?;
    scenario.host.application.azure_region = region;
    scenario.host.variables = variables;
    scenario.host.metadata = match input.any("imds") {
        None => vec![Answer::Response { status: 404, retry_after: None, body: String::new() }],
        Some(Value::Array(answers)) => answers.iter().map(metadata).collect::<Read<_>>()?,
        Some(one) => vec![metadata(one)?],
    }
    .into();
    let Some(result) = scenario.acquire(checks) else { return Ok(()) };
    let is_metadata = |sent: &&Sent| sent.url.contains("//169.254.169.254/");
    let asked: Vec<&Sent> = scenario.host.sent.iter().filter(is_metadata).collect();
    let sent = scenario.host.sent.iter().find(|sent| !is_metadata(sent));
    match (result, sent) {
        (Ok(token), Some(sent)) => {
            checks.succeeded();
            checks.check("region", optional(token.region.as_deref()));
            checks.check("host", sent.url.split('/').nth(2));
            check_telemetry(sent, checks);
        }
        (Err(error), None) => refused(&error, checks),
        _ => checks.broken("neither an error before the request nor a request"),
    }
    checks.check("imds_calls", asked.len());
    if let Some(asked) = asked.first() {
        checks.check("method", asked.method);
        checks.check("url", asked.url.as_str());
        checks.check("timeout_ms", asked.timeout_ms);
        checks.check_part("headers", |expected| values(expected, |name| asked.header(name)));
    }
    Ok(())
}

/// What the configuration makes of a region and of the environment; none where it refuses the region.
fn configured(region: Option<&str>, variables: &[(String, String)]) -> Option<Option<String>> {
    let azure_ad = json!({ "ClientId": "app", "TenantId": "contoso.com", "AzureRegion": region });
    let settings = Settings::from_value(json!({ "AzureAd": azure_ad }));
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    let options = settings.with_environment(variables).application(None).ok()?;
    Some(options.azure_region().map(str::to_owned))
}

/// An answer of the metadata service; an object may have its body as JSON or as text.
fn metadata(value: &Value) -> Read<Answer> {
    let Value::Object(members) = value else {
        return match answer(value)? {
            Answer::Token => Err(Uncovered("a status isn't all that the metadata service answers".into())),
            other => Ok(other),
        };
    };
    let input = Input::new(members);
    if input.flag("timeout")? {
        return Ok(Answer::Timeout);
    }
    let status = input.number("status")?.and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
    let body = match input.any("body") {
        Some(Value::String(text)) => text.clone(),
        other => other.map(Value::to_string).unwrap_or_default(),
    };
    input.finish()?;
    Ok(Answer::Response { status, retry_after: None, body })
}

/// Where the region comes from, and what came of looking for it, as the request says.
fn check_telemetry(sent: &Sent, checks: &mut Checks<'_>) {
    let telemetry = sent.header("x-client-current-telemetry").unwrap_or_default();
    let fields: Vec<&str> = telemetry.split(['|', ',']).collect();
    let source = match fields.get(4) {
        Some(&"1") => Some("FailedAutoDiscovery"),
        Some(&"2") => Some("Cache"),
        Some(&"3") => Some("EnvVariable"),
        Some(&"4") => Some("Imds"),
        _ => None,
    };
    let outcome = match fields.get(5) {
        Some(&"4") => Some("AutodetectSuccess"),
        Some(&"5") => Some("FallbackToGlobal"),
        Some(&"6") => Some("UserProvided"),
        _ => None,
    };
    checks.check_part("source", |expected| named(source, expected));
    checks.check_part("outcome", |expected| named(outcome, expected));
}

/// A name, in the longer of its spellings where that is the expected one.
fn named(got: Option<&str>, expected: &Value) -> Value {
    let longer = match got {
        Some("EnvVariable") => Some("EnvironmentVariable"),
        Some("UserProvided") => Some("UserProvidedValid"),
        None => Some("None"),
        _ => None,
    };
    if longer.is_some_and(|longer| expected == longer) { expected.clone() } else { got.into() }
}

/// How often the metadata service is asked that answers so.
pub(super) fn retries(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let responses = match (input.any("responses"), input.any("status")) {
        (Some(Value::Array(responses)), None) => responses.iter().map(metadata).collect::<Read<Vec<_>>>()?,
        (None, Some(status)) => vec![metadata(status)?],
        _ => return Err(Uncovered("there are neither responses nor a status".into())),
    };
    let mut scenario = Scenario::read(&Input::new(&Map::new()))?;
    scenario.host.application.azure_region = Some("TryAutoDetect".into());
    scenario.host.metadata = responses.into();
    let Some(result): Option<Result<_, Error>> = scenario.acquire(checks) else { return Ok(()) };
    let attempts = scenario.host.sent.iter().filter(|sent| sent.url.contains("//169.254.169.254/")).count();
    checks.check("attempts", attempts);
    checks.check("retry", attempts > 1);
    checks.check("delays_ms", scenario.host.delays.clone());
    checks.check("success", result.is_ok_and(|token| token.region.is_some()));
    Ok(())
}
