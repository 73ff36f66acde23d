//! Session keys of long-running processes, as callers see them.

use serde_json::{Map, Value};
use symbolon_protocol::{
    cache::user_assertion_hash,
    error::ErrorClass,
    request::{AssertionKind, Flow, SessionStart, UserAssertion},
};

use super::scenario::Scenario;
use crate::{
    checks::Checks,
    input::{Input, Read, Uncovered},
};

/// The session key that asks for one.
const ALLOCATE: &str = "AllocateForMe";

const USER_TOKEN: &str = "the user's token";

/// The key that a caller has after a call: the one that the result tells, where it tells one.
pub(super) fn user_token_call(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let api = given.required("api")?;
    if !APIS.contains(&api) {
        return Err(Uncovered(format!("there is no API {api}")));
    }
    let (caller, configured) = (given.text("caller_key")?, given.text("config_key")?);
    let effective = given.text("effective_key")?.unwrap_or_default();
    let asked = caller.or(configured).filter(|_| !effective.is_empty());
    let mut scenario = Scenario::read(&Input::new(&Map::new()))?;
    scenario.request.flow = match asked {
        Some(_) if api == "GetTokenForApp" => scenario.request.flow,
        Some(key) => initiate(key),
        None => Flow::OnBehalfOf(user_assertion()),
    };
    let Some(Ok(token)) = scenario.acquire(checks) else {
        checks.broken("there was no token");
        return Ok(());
    };
    // What the library made up has a name of its own in the expectation.
    let own = user_assertion_hash(USER_TOKEN);
    let told = token.session_key.map(|key| if key == own { effective.to_owned() } else { key });
    checks.check("caller_key_after", told.or_else(|| caller.map(str::to_owned)));
    checks.check("config_key_after", configured);
    given.finish().and_then(|()| when.finish())
}

/// Which request is made of an incoming token and a key, and how it ends.
pub(super) fn long_running_mode(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let key = given.text("key")?.filter(|key| !key.is_empty());
    let has_token = given.flag("incoming_token")?;
    let mut scenario = Scenario::read(&Input::new(&Map::new()))?;
    scenario.request.flow = match (has_token, key) {
        (true, None) => Flow::OnBehalfOf(user_assertion()),
        (true, Some(key)) => initiate(key),
        (false, Some(key)) => Flow::AcquireInLongRunningProcess(key.into()),
        (false, None) => return Err(Uncovered("nothing here goes on to another flow".into())),
    };
    let mode = match &scenario.request.flow {
        Flow::OnBehalfOf(_) => ["obo", "on_behalf_of", "ordinary"],
        Flow::InitiateLongRunningProcess(_) => ["initiate", "initiate", "initiate"],
        _ => ["continue", "acquire", "continue"],
    };
    fill(&mut scenario, given.text("cache")?, checks)?;
    let result = scenario.acquire(checks);
    // One of the names that the mode goes by.
    checks.check_part("mode", |expected| {
        mode.into_iter().find(|name| expected == name).unwrap_or(mode[0]).into()
    });
    let sent = &scenario.host.sent;
    checks.check("http_requests", sent.len());
    checks.check("grant_type", sent.last().and_then(|sent| sent.field("grant_type")));
    match result {
        Some(Ok(token)) => {
            checks.succeeded();
            checks.check("error_type", Value::Null);
            checks.check("source", if sent.is_empty() { "cache" } else { "network" });
            checks.check("refresh_token_cached", scenario.host.cache.refresh_tokens().next().is_some());
            checks.check("key_after", token.session_key.or(key.map(str::to_owned)));
        }
        Some(Err(error)) => {
            let class = match error.class {
                ErrorClass::Client => "MsalClientException",
                ErrorClass::UiRequired | ErrorClass::ClaimsChallenge => "MsalUiRequiredException",
                _ => "MsalServiceException",
            };
            checks.check("error_type", class);
            checks.refused(&error.code, false);
        }
        None => {}
    }
    given.finish().and_then(|()| when.finish())
}

/// Puts what the process had into the cache: an access token, a refresh token, or both.
fn fill(scenario: &mut Scenario, state: Option<&str>, checks: &mut Checks<'_>) -> Read<()> {
    let scopes = match state.map(str::to_ascii_lowercase).as_deref() {
        None | Some("empty" | "none") => return Ok(()),
        Some("at" | "access_token" | "at+rt") => scenario.request.scopes.clone(),
        Some("rt" | "refresh_token") => vec!["another/scope".into()],
        Some(other) => return Err(Uncovered(format!("nothing puts the cache into the state {other}"))),
    };
    scenario.prepare(scopes, checks);
    Ok(())
}

/// A process is initiated with this key, or with one that is made up.
fn initiate(key: &str) -> Flow {
    Flow::InitiateLongRunningProcess(SessionStart {
        assertion: user_assertion(),
        session_key: Some(key).filter(|key| *key != ALLOCATE).map(str::to_owned),
        search_in_cache: false,
    })
}

fn user_assertion() -> UserAssertion {
    UserAssertion { assertion: USER_TOKEN.into(), kind: AssertionKind::Jwt }
}

/// Where a session key may come from. All of them read the one result.
const APIS: [&str; 6] = [
    "ITokenAcquirer",
    "IAuthorizationHeaderProvider",
    "IDownstreamApi",
    "IDownstreamApi(delegate)",
    "IDownstreamApi(options)",
    "GetTokenForApp",
];
