//! Pauses that an authority asks for.

use serde_json::{Map, Value, json};
use symbolon_protocol::acquisition::FactKind;

use super::{
    requests::{answer, refused},
    scenario::Scenario,
};
use crate::{
    checks::Checks,
    input::{Input, Read, Uncovered},
};

/// Members that aren't about the first call.
const OWN: [&str; 5] =
    ["client", "first_response", "second_call", "second_call_after_seconds", "second_response"];

/// A call that is refused, and what becomes of the next.
pub(super) fn throttling(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    match input.text("client")? {
        // Every client is a confidential one.
        None | Some("any" | "all" | "confidential" | "public") => {}
        Some(other) => return Err(Uncovered(format!("there are no clients of the kind {other}"))),
    }
    let after = input.number("second_call_after_seconds")?.and_then(|seconds| u64::try_from(seconds).ok());
    let mut members = input.rest();
    OWN.iter().for_each(|name| drop(members.remove(*name)));
    let mut first = scenario(&members)?;
    let pause = json!({ "status": 429, "retry_after": 10 });
    let asked = if checks.expected("key_length").is_some() { &pause } else { &Value::Null };
    // Two where the refusal is one that is tried again.
    let refusal = answer(input.any("first_response").unwrap_or(asked))?;
    first.host.answers.extend([refusal.clone(), refusal]);
    let refusal = match first.acquire(checks) {
        Some(Err(error)) => error,
        Some(Ok(_)) => {
            checks.broken("the refusal was none");
            return Ok(());
        }
        None => return Ok(()),
    };
    let marks = first.host.facts.iter().filter(|(fact, ..)| fact.kind == FactKind::Throttle);
    let is_named = |key: &&str| *key != first.host.application.client_id;
    let key = marks.map(|(fact, ..)| fact.key.as_str()).find(is_named);
    checks.check("key_length", key.map(str::len));
    checks.check("throttle_seconds", refusal.retry_after_ms.map(|milliseconds| milliseconds / 1000));
    if checks.expected("second_call").is_none() {
        return Ok(());
    }
    if let Some(Value::Object(second)) = input.any("second_call") {
        members.extend(second.clone());
    }
    let mut second = scenario(&members)?;
    second.host.follow(first.host);
    second.host.now += (after.unwrap_or(1) * 1000).saturating_sub(1000);
    let result = second.acquire(checks);
    checks.check("second_call", if second.host.sent.is_empty() { "throttled" } else { "sent" });
    match result {
        Some(Err(error)) => {
            checks.check("status", error.status);
            // What is sent may be refused for another reason.
            if ["error_code", "error"].iter().any(|name| checks.expected(name).is_some()) {
                refused(&error, checks);
            }
        }
        _ => checks.succeeded(),
    }
    Ok(())
}

fn scenario(members: &Map<String, Value>) -> Read<Scenario> {
    let input = Input::new(members);
    let scenario = Scenario::read(&input)?;
    input.finish()?;
    Ok(scenario)
}
