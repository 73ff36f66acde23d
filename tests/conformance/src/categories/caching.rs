//! When the cache answers.

use serde_json::{Map, Value, json};
use symbolon_protocol::{
    accounts,
    acquisition::{Entry, Saved},
    cache::{AccessTokenClass, Subject},
    credential::Certificate,
    request::{AccessToken, Scheme},
    scopes::Scopes,
};

use super::scenario::{SESSION_KEYS, Scenario, certificate};
use crate::{
    checks::Checks,
    host::Credential,
    input::{Input, Read, Uncovered},
};

type Members = Map<String, Value>;

/// Members that a request has in common with the entry, where they stand beside it.
const SHARED: [&str; 4] = ["flow", "user_assertion", "username", "home_account_id"];

/// The flows that end a long-running process.
const STOPS: [&str; 3] = ["long_running_obo_stop", "stop_long_running", "stop"];

/// A cache entry and a request, calls in a row, or a request whose cache components are wanted.
pub(super) fn cache_behaviour(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    if input.any("at").is_some() {
        return entry_and_request(input, checks);
    }
    if checks.expected("components").is_some() {
        return components(input, checks);
    }
    if let Some(calls) = input.any("calls") {
        return calls_in_a_row(input, calls, checks);
    }
    if input.any("flow").is_some() {
        return calls_in_a_row(input, &json!(1), checks);
    }
    Err(Uncovered("neither an entry nor calls".into()))
}

/// Acquires the token that the entry describes, changes its times as the entry says, and makes the request.
fn entry_and_request(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let mut entry = input.rest();
    let Some(Value::Object(mut stored)) = entry.remove("at") else {
        return Err(Uncovered("the entry isn't an object".into()));
    };
    for name in SHARED.into_iter().chain(SESSION_KEYS) {
        if let (Some(value), false) = (entry.get(name), stored.contains_key(name)) {
            stored.insert(name.to_owned(), value.clone());
        }
    }
    let times = Times::take(&mut stored)?;
    let environment = stored.remove("environment");
    let wanted = wanted(&stored, entry)?;

    let mut store = scenario(stored)?;
    store.prepare(store.request.scopes.clone(), checks);
    let Some(Ok(_)) = store.acquire(checks) else {
        checks.broken("the token for the cache couldn't be acquired");
        return Ok(());
    };
    let mut request = scenario(wanted)?;
    request.host.follow(store.host);
    let now = request.host.now / 1000;
    for saved in request.host.cache.entries_mut() {
        times.apply(saved, now);
        if let Some(environment) = environment.as_ref().and_then(Value::as_str) {
            move_to(environment, saved)?;
        }
    }
    match request.acquire(checks) {
        Some(Ok(token)) => check_answer(&request, &token, checks),
        Some(Err(error)) => checks.refused(&error.code, false),
        None => {}
    }
    Ok(())
}

fn check_answer(scenario: &Scenario, token: &AccessToken, checks: &mut Checks<'_>) {
    let sent = &scenario.host.sent;
    checks.succeeded();
    checks.check("hit", sent.is_empty());
    checks.check("source", if sent.is_empty() { "cache" } else { "network" });
    checks.check("network_calls", sent.len());
    checks.check("cache_refresh_reason", format!("{:?}", token.refresh_reason));
    let telemetry =
        sent.last().and_then(|sent| sent.header("x-client-current-telemetry")).unwrap_or_default();
    let cache_info = telemetry.split(['|', ',']).nth(2).and_then(|info| info.parse::<u64>().ok());
    checks.check("cache_info", cache_info);
}

/// What the request wants: as the entry, but for the members that begin with `request_`, are in `request`, or stand
/// beside the entry.
fn wanted(stored: &Members, beside: Members) -> Read<Members> {
    let mut wanted = stored.clone();
    let mut own = Members::new();
    for (name, value) in beside {
        match (name.as_str(), name.strip_prefix("request_"), value) {
            ("request", _, Value::Object(members)) => own.extend(members),
            (_, Some(name), value) => drop(own.insert(name.to_owned(), value)),
            (_, None, value) => drop(own.insert(name, value)),
        }
    }
    // Components are those of the request alone, or none.
    wanted.remove("components");
    if let Some(environment) = own.remove("environment") {
        let host = environment.as_str().ok_or_else(|| Uncovered("the environment isn't a string".into()))?;
        own.insert("authority".to_owned(), format!("https://{host}/contoso.com").into());
    }
    wanted.extend(own);
    Ok(wanted)
}

/// A scenario with members that only entries have.
fn scenario(mut members: Members) -> Read<Scenario> {
    if let Some(Value::Object(components)) = members.remove("components") {
        add_components(&mut members, components)?;
    }
    for name in ["scopes", "target"] {
        if let Some(Value::String(scopes)) = members.get(name) {
            let scopes: Value = scopes.split_ascii_whitespace().collect();
            members.remove(name);
            members.insert("scopes".to_owned(), scopes);
        }
    }
    let key_id = members.remove("kid").filter(|kid| !kid.is_null());
    let token_type = members.remove("token_type").filter(|token_type| !token_type.is_null());
    let input = Input::new(&members);
    let mut scenario = Scenario::read(&input)?;
    input.finish()?;
    match (token_type.as_ref().and_then(Value::as_str).unwrap_or_default(), key_id) {
        (_, Some(Value::String(thumbprint_sha256))) => {
            bind(&mut scenario, Certificate { thumbprint_sha256, ..certificate()? });
        }
        ("mtls_pop", None) => bind(&mut scenario, certificate()?),
        ("" | "Bearer" | "bearer", None) => {}
        (other, _) => return Err(Uncovered(format!("there are no tokens of type {other}"))),
    }
    Ok(scenario)
}

fn bind(scenario: &mut Scenario, certificate: Certificate) {
    scenario.host.credential = Credential::Certificate(certificate);
    scenario.request.scheme = Scheme::MtlsPop;
}

/// Asks for what has these components. One without a meaning of its own is that of a parameter of the body.
fn add_components(members: &mut Members, components: Members) -> Read<()> {
    let mut body = Members::new();
    for (name, value) in components {
        match name.as_str() {
            "fmi_path" | "attributes" | "client_claims" | "credential_fmi_path" => {
                drop(members.insert(name, value));
            }
            "attribute_tokens" => {
                let tokens: Value = value.as_str().unwrap_or_default().split(' ').collect();
                members.insert(name, tokens);
            }
            "cert_sn" | "extra_client_assertion_claims" | "mi_att" | "mi_minstrength" => {
                return Err(Uncovered(format!("nothing makes the component {name} yet")));
            }
            _ => drop(body.insert(name, value)),
        }
    }
    members.insert("extra_body_parameters".to_owned(), body.into());
    Ok(())
}

/// The times of an entry, in seconds from now.
struct Times {
    expires: Option<i64>,
    refresh: Option<i64>,
}

impl Times {
    fn take(stored: &mut Members) -> Read<Self> {
        let mut take = |name: &str| match stored.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                value.as_i64().map(Some).ok_or_else(|| Uncovered(format!("{name} isn't a number")))
            }
        };
        Ok(Self {
            expires: take("expires_in_seconds_from_now")?,
            refresh: take("refresh_in_seconds_from_now")?,
        })
    }

    fn apply(&self, saved: &mut Saved, now: u64) {
        if let Entry::AccessToken(item) = &mut saved.entry {
            item.expires_on =
                self.expires.map_or(item.expires_on, |seconds| now.saturating_add_signed(seconds));
            item.refresh_on =
                self.refresh.map_or(item.refresh_on, |seconds| Some(now.saturating_add_signed(seconds)));
        }
    }
}

/// Puts a token under another name of its cloud.
fn move_to(environment: &str, saved: &mut Saved) -> Read<()> {
    let Entry::AccessToken(item) = &mut saved.entry else { return Ok(()) };
    let keys_at = |environment: &str| {
        let class = AccessTokenClass {
            subject: Subject::Application,
            for_agent: false,
            environment,
            client_id: &item.client_id,
            realm: &item.realm,
            token_type: &item.token_type,
            key_id: item.key_id.as_deref(),
            components: &item.components,
        };
        class.keys(&Scopes::from_response(&item.target))
    };
    if !item.home_account_id.is_empty() || keys_at(&item.environment) != saved.keys {
        return Err(Uncovered("an entry of a user or with components isn't moved here".into()));
    }
    saved.keys = keys_at(environment);
    saved.item_key = item.item_key();
    item.environment = environment.to_owned();
    Ok(())
}

/// Makes calls one after the other, a second apart: a number of equal ones, or each with its own members.
fn calls_in_a_row(input: &Input<'_>, calls: &Value, checks: &mut Checks<'_>) -> Read<()> {
    let calls: Vec<Members> = match calls {
        Value::Number(number) => {
            vec![Members::new(); number.as_u64().map_or(0, |number| number.min(100) as usize)]
        }
        Value::Array(calls) => calls.iter().map(call).collect::<Read<_>>()?,
        other => return Err(Uncovered(format!("the calls {other} aren't understood"))),
    };
    let mut shared = input.rest();
    shared.remove("calls");
    let mut row = Row::default();
    for call in calls {
        let mut members = shared.clone();
        members.extend(call);
        if !row.call(members, checks)? {
            break;
        }
    }
    row.check(checks);
    Ok(())
}

/// Calls that were made.
#[derive(Default)]
struct Row {
    last: Option<Scenario>,
    sources: Vec<&'static str>,
    /// What each call gave for a session key.
    session_keys: Vec<Option<String>>,
    /// The user of the last call that had one.
    account: Option<String>,
    stopped: Option<bool>,
    error: Option<String>,
}

impl Row {
    /// Makes one more call. Whether it gave what was asked for.
    fn call(&mut self, mut members: Members, checks: &mut Checks<'_>) -> Read<bool> {
        self.resolve(&mut members)?;
        if members.get("flow").and_then(Value::as_str).is_some_and(|flow| STOPS.contains(&flow)) {
            return self.stop(&members);
        }
        let mut next = scenario(members)?;
        if let Some(before) = self.last.take() {
            next.host.follow(before.host);
        }
        let result = next.acquire(checks);
        let source = if next.host.sent.is_empty() { "cache" } else { "network" };
        self.last = Some(next);
        match result {
            Some(Ok(token)) => {
                self.sources.push(source);
                self.session_keys.push(token.session_key);
                self.account = token.account.map(|account| account.home_account_id).or(self.account.take());
                Ok(true)
            }
            Some(Err(error)) => {
                self.error = Some(error.code);
                Ok(false)
            }
            None => Ok(false),
        }
    }

    /// Puts in what earlier calls gave: `from call 1` for a session key, and the last user.
    fn resolve(&self, members: &mut Members) -> Read<()> {
        for name in SESSION_KEYS {
            let Some(number) =
                members.get(name).and_then(Value::as_str).and_then(|key| key.strip_prefix("from call "))
            else {
                continue;
            };
            let index = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let key = index.and_then(|index| self.session_keys.get(index)?.as_deref());
            let key = key.ok_or_else(|| Uncovered(format!("call {number} gave no key")))?;
            members.insert(name.to_owned(), key.into());
        }
        let is_silent = members.get("flow").is_some_and(|flow| flow == "silent");
        if let (true, false, Some(account)) =
            (is_silent, members.contains_key("home_account_id"), &self.account)
        {
            members.insert("home_account_id".to_owned(), account.as_str().into());
        }
        Ok(())
    }

    fn stop(&mut self, members: &Members) -> Read<bool> {
        let key = SESSION_KEYS.iter().find_map(|name| members.get(*name)?.as_str());
        let given = || self.session_keys.last()?.as_deref();
        let key =
            key.or_else(given).ok_or_else(|| Uncovered("nobody says which process is stopped".into()))?;
        let last =
            self.last.as_mut().ok_or_else(|| Uncovered("nothing was begun that could be stopped".into()))?;
        let group = accounts::of_long_running_process(&last.host.application, key)
            .map_err(|error| Uncovered(error.to_string()))?;
        self.stopped = Some(last.host.cache.remove_group(&group));
        Ok(true)
    }

    fn check(self, checks: &mut Checks<'_>) {
        let Some(last) = &self.last else { return };
        let cache = &last.host.cache;
        checks.check("cached_tokens", cache.access_tokens().count());
        checks.check("cached_refresh_tokens", cache.refresh_tokens().count());
        checks.check("stopped", self.stopped);
        checks.check("hit", self.error.is_none() && self.sources.last() == Some(&"cache"));
        checks.check("network_calls", self.sources.iter().filter(|source| **source == "network").count());
        checks.check("sources", json!(self.sources));
        checks.check("session_keys", json!(self.session_keys));
        match &self.error {
            Some(code) => checks.refused(code, false),
            None => checks.succeeded(),
        }
    }
}

/// One call: its members, or the name of its flow.
fn call(value: &Value) -> Read<Members> {
    match value {
        Value::Object(members) => Ok(members.clone()),
        Value::String(flow) => Ok(Members::from_iter([("flow".to_owned(), flow.as_str().into())])),
        other => Err(Uncovered(format!("the call {other} isn't understood"))),
    }
}

/// The components under which a request's token is kept.
fn components(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let mut scenario = Scenario::read(input)?;
    match scenario.acquire(checks) {
        Some(Ok(_)) => {
            let items: Vec<_> = scenario.host.cache.access_tokens().collect();
            let [item] = items.as_slice() else {
                checks.broken("it isn't one token that is kept");
                return Ok(());
            };
            let components: Members =
                item.components.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            checks.succeeded();
            checks.check("components", components);
            checks.check(
                "partition_key",
                scenario.host.cache.entries().next().map(|saved| saved.partition_key.as_str()),
            );
        }
        Some(Err(error)) => checks.refused(&error.code, false),
        None => {}
    }
    Ok(())
}
