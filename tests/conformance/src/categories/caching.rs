//! When the cache answers.

use serde_json::{Map, Value, json};

use super::requests::Scenario;
use crate::{
    checks::Checks,
    input::{Input, Read, Uncovered},
};

/// A cache entry and a request, calls in a row, or a request whose cache components are wanted.
pub(super) fn cache_behaviour(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    if let Some(entry) = input.object("at")? {
        return entry_and_request(input, &entry, checks);
    }
    if let Some(calls) = input.any("calls") {
        return calls_in_a_row(input, calls, checks);
    }
    if checks.expected("components").is_some() {
        return components(input, checks);
    }
    Err(Uncovered("neither an entry nor calls".into()))
}

/// Acquires a token as the entry says and asks for one as the request says.
fn entry_and_request(input: &Input<'_>, entry: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    // What the request doesn't say otherwise is as in the entry.
    let mut stored = Map::new();
    let mut wanted = Map::new();
    for (name, in_request) in [
        ("scopes", "request_scopes"),
        ("tenant", "request_tenant"),
        ("region", "request_region"),
        ("client_id", "request_client_id"),
        ("authority", "request_authority"),
    ] {
        let of_entry = entry.any(name);
        let of_request = input.any(in_request).or(input.any(name)).or(of_entry);
        stored.extend(of_entry.map(|value| (name.to_owned(), value.clone())));
        wanted.extend(of_request.map(|value| (name.to_owned(), value.clone())));
    }
    // Any component serves: that of an extra parameter of the body is named freely.
    for (members, components) in
        [(&mut stored, entry.any("components")), (&mut wanted, input.any("request_components"))]
    {
        members.extend(components.map(|value| ("extra_body_parameters".to_owned(), value.clone())));
    }
    let lifetime = entry.number("expires_in_seconds_from_now")?;
    let environment = entry.text("environment")?;
    entry.finish()?;

    let mut store = Scenario::read(&Input::new(&stored))?;
    let Some(Ok(_)) = store.acquire(checks) else {
        checks.broken("the token for the cache couldn't be acquired");
        return Ok(());
    };
    let mut request = Scenario::read(&Input::new(&wanted))?;
    request.host.cache = store.host.cache;
    let now = i64::try_from(request.host.now / 1000).unwrap_or_default();
    for saved in &mut request.host.cache {
        if let symbolon_protocol::acquisition::Entry::AccessToken(item) = &mut saved.entry {
            if let Some(lifetime) = lifetime {
                item.expires_on = u64::try_from(now + lifetime).unwrap_or_default();
            }
            if environment.is_some_and(|environment| environment != item.environment) {
                return Err(Uncovered("nothing stores an entry under that environment".into()));
            }
        }
    }
    let Some(result) = request.acquire(checks) else { return Ok(()) };
    match result {
        Ok(_) => {
            checks.succeeded();
            checks.check("hit", request.host.sent.is_empty());
            checks.check("network_calls", request.host.sent.len());
        }
        Err(error) => checks.refused(&error.code, false),
    }
    Ok(())
}

fn calls_in_a_row(input: &Input<'_>, calls: &Value, checks: &mut Checks<'_>) -> Read<()> {
    let mut scenario = Scenario::read(input)?;
    let options: Vec<Map<String, Value>> = match calls {
        Value::Number(number) => {
            vec![Map::new(); number.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0)]
        }
        Value::Array(calls) => calls.iter().map(call).collect::<Read<_>>()?,
        other => return Err(Uncovered(format!("the calls {other} aren't understood"))),
    };
    let mut sources = Vec::new();
    for options in &options {
        let input = Input::new(options);
        let mut request = Scenario::read(&input)?.request;
        input.finish()?;
        if !options.contains_key("scopes") {
            request.scopes.clone_from(&scenario.request.scopes);
        }
        let before = scenario.host.sent.len();
        scenario.request = request;
        match scenario.acquire(checks) {
            Some(Ok(_)) => {
                sources.push(if scenario.host.sent.len() > before { "network" } else { "cache" });
                scenario.host.now += 1000;
            }
            Some(Err(error)) => {
                checks.refused(&error.code, false);
                return Ok(());
            }
            None => return Ok(()),
        }
    }
    checks.succeeded();
    checks.check("hit", sources.last() == Some(&"cache"));
    checks.check("sources", json!(sources));
    checks.check("network_calls", scenario.host.sent.len());
    Ok(())
}

/// One call: its options, or the name of its flow.
fn call(value: &Value) -> Read<Map<String, Value>> {
    match value {
        Value::Object(options) => Ok(options.clone()),
        Value::String(flow) => Ok(Map::from_iter([("flow".to_owned(), Value::from(flow.as_str()))])),
        other => Err(Uncovered(format!("the call {other} isn't understood"))),
    }
}

/// The components under which a request's token is kept.
fn components(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let mut scenario = Scenario::read(input)?;
    let Some(result) = scenario.acquire(checks) else { return Ok(()) };
    match result {
        Ok(_) => {
            let items: Vec<_> = scenario.host.access_tokens().collect();
            let [item] = items.as_slice() else {
                checks.broken("it isn't one token that is kept");
                return Ok(());
            };
            let components: Map<String, Value> =
                item.components.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            checks.succeeded();
            checks.check("components", components);
        }
        Err(error) => checks.refused(&error.code, false),
    }
    Ok(())
}
