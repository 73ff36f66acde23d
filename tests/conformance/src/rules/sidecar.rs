//! What the sidecar does otherwise.

use serde_json::{Map, Value};
use symbolon_protocol::user::User;

use super::{Members, Rule};

pub(super) static RULES: [Rule; 10] = [
    Rule {
        name: "overrides-merge-by-presence",
        about: "`effective_options`: `HttpMethod`, `ContentType`, `AcceptHeader`, `RequestAppToken`, `AcquireTokenOptions.ForceRefresh`, `AcquireTokenOptions.CorrelationId`",
        when: "a query says something else, or nothing that can be read, or says false",
        instead: "what the query says, else what is configured",
        reason: "who asks for another scope doesn't ask for another method, and who says false means it",
        apply: |category, input, expect| {
            if category != "effective_options" {
                return;
            }
            let given = input.get("given").cloned().unwrap_or_default();
            let query = input.get("when").and_then(|when| when.get("query")?.as_str()).unwrap_or_default();
            let is_open = given.get("gate").is_none_or(|gate| gate == "allowed" || gate == true);
            let effective = expect.get_mut("effective").and_then(Value::as_object_mut).into_iter().flatten();
            for (path, expected) in effective {
                let Some((_, default)) = defaults().into_iter().find(|(known, _)| known == path) else {
                    continue;
                };
                let configured = given
                    .get("config")
                    .and_then(|config| path.split('.').try_fold(config, |place, name| place.get(name)));
                let configured = configured.cloned().unwrap_or_else(|| default.clone());
                let named = last(query, &format!("optionsOverride.{path}")).filter(|_| is_open);
                let named = named.and_then(|text| read(&default, path, &text));
                let elsewhere = match (path.as_str(), is_open && overrides(query)) {
                    (_, false) => configured.clone(),
                    ("RequestAppToken", _) if configured == true => configured.clone(),
                    _ => named.clone().unwrap_or(default),
                };
                if *expected == elsewhere {
                    *expected = named.unwrap_or(configured);
                }
            }
        },
    },
    Rule {
        name: "agents-keep-their-users",
        about: "`http_exchange`: all members",
        when: "an agent's user is named by an id that is none, and by nothing else",
        instead: "the status 400",
        reason: "a token of the agent itself isn't what was asked for",
        apply: |category, input, expect| {
            let Some(request) = request(category, input) else { return };
            let given = |name: &str| last(&request, name).filter(|value| !value.trim().is_empty());
            let (agent, name, id) = (given("AgentIdentity"), given("AgentUsername"), given("AgentUserId"));
            if let (Some(_), None, Some(id)) = (agent, name, id)
                && User::object_id(&id).is_err()
            {
                *expect = Map::from_iter([("status".to_owned(), 400.into())]);
            }
        },
    },
    Rule {
        name: "unknown-session-keys-are-told",
        about: "`http_exchange`: `status`, `problem_detail`",
        when: "there is no long-running process of the session key",
        instead: "401, and that there is none",
        reason: "the caller can do something about it: bring the user's token, or have the user sign in",
        apply: |category, input, expect| {
            let error = input.get("given").and_then(|given| given.get("acquisition_error")?.as_str());
            let is_unknown = error.is_some_and(|error| error.contains("obo_cache_key_not_in_cache_error"));
            if category == "http_exchange" && is_unknown {
                replace(expect, "status", 401.into());
                replace(expect, "problem_detail", NO_PROCESS.into());
            }
        },
    },
    Rule {
        name: "callers-mistakes-are-theirs",
        about: "`http_exchange`: `status`, `problem_detail`",
        when: "a query asks for the application's own token and for scopes of users",
        instead: "400, and what is wrong",
        reason: "the caller can mend it; an unexpected error is the server's",
        apply: |category, input, expect| {
            let Some(request) = request(category, input) else { return };
            let api = input.get("given").and_then(|given| given.get("api"));
            let configured = api.and_then(|api| api.get("Scopes")?.get(0)?.as_str()).map(str::to_owned);
            let scope = last(&request, "optionsOverride.Scopes").or(configured);
            let is_users = scope.is_some_and(|scope| !scope.ends_with("/.default"));
            let wants_own = last(&request, "optionsOverride.RequestAppToken");
            let wants_own = wants_own.is_some_and(|wanted| wanted.eq_ignore_ascii_case("true"));
            if is_users && wants_own && expect.get("status") == Some(&500.into()) {
                replace(expect, "status", 400.into());
                replace(expect, "problem_detail", "…/.default…".into());
            }
        },
    },
    Rule {
        name: "problems-say-who-refused",
        about: "`http_exchange`: `problem_detail`",
        when: "the authority refused",
        instead: "who refused what, and then what the authority said",
        reason: "with several authorities and applications, its words alone don't tell",
        apply: |category, input, expect| {
            let error = input.get("given").and_then(|given| given.get("acquisition_error")?.as_str());
            let is_refusal = error.is_some_and(|error| {
                ["Service", "UiRequired", "Challenge"].iter().any(|class| error.contains(class))
            });
            let detail =
                expect.get_mut("problem_detail").filter(|_| category == "http_exchange" && is_refusal);
            if let Some(Value::String(detail)) = detail
                && !detail.contains(['…', '<'])
            {
                *detail = format!("…: {detail}");
            }
        },
    },
    Rule {
        name: "contents-need-no-length",
        about: "`http_exchange`: `json`",
        when: "an API answers with a body that doesn't say how long it is",
        instead: "the body",
        reason: "most APIs compress or stream",
        apply: |category, input, expect| {
            let Some(answer) = input.get("given").and_then(|given| given.get("downstream")) else { return };
            let is_chunked = answer.get("transfer_encoding").is_some_and(|encoding| encoding == "chunked");
            let content = expect.get_mut("json").and_then(|json| json.get_mut("content"));
            if let ("http_exchange", true, Some(content)) = (category, is_chunked, content) {
                *content = answer.get("body").cloned().unwrap_or_default();
            }
        },
    },
    Rule {
        name: "descriptions-are-for-every-caller",
        about: "`http_exchange`: `status`",
        when: "the description of the routes is asked for, outside of development",
        instead: "200",
        reason: "it holds no secret, and clients are made from it",
        apply: |category, input, expect| {
            let is_asked = request(category, input).is_some_and(|request| request == "GET /openapi/v1.json");
            if is_asked && expect.get("status") == Some(&404.into()) {
                *expect = Map::from_iter([("status".to_owned(), 200.into())]);
            }
        },
    },
    Rule {
        name: "foreigners-are-refused-everywhere",
        about: "`caller_allowed`, `http_exchange`: all members",
        when: "somebody calls from another machine, in development",
        instead: "403, as everywhere",
        reason: "a variable of the environment doesn't open a server to the network",
        apply: |category, input, expect| {
            let Some(given) = input.get("given") else { return };
            let text = |name: &str| given.get(name).and_then(Value::as_str).unwrap_or_default();
            if text("environment") != "Development" {
                return;
            }
            match category {
                "caller_allowed" if is_foreign(text("remote_ip")) && !is_health(text("path")) => {
                    replace(expect, "allowed", false.into());
                    replace(expect, "status_if_blocked", 403.into());
                }
                "http_exchange" if is_foreign(text("caller")) => {
                    let request = request(category, input).unwrap_or_default();
                    if !is_health(request.split(' ').nth(1).unwrap_or_default()) {
                        *expect = Map::from_iter([("status".to_owned(), 403.into())]);
                    }
                }
                _ => {}
            }
        },
    },
    Rule {
        name: "accepted-scopes-are-a-set",
        about: "`http_exchange`: all members",
        when: "`AzureAd:Scopes` has several, one of which the token has",
        instead: "200",
        reason: "no token has a scope with a space in it",
        apply: |category, input, expect| {
            let accepts = configured(input, "AzureAd:Scopes").is_some_and(|scopes| {
                scopes.split_whitespace().count() > 1
                    && scopes
                        .split_whitespace()
                        .any(|scope| token_scopes(input).iter().any(|own| own == scope))
            });
            if category == "http_exchange" && accepts && expect.get("status") == Some(&403.into()) {
                *expect = Map::from_iter([("status".to_owned(), 200.into())]);
            }
        },
    },
    Rule {
        name: "open-gates-promise-no-token",
        about: "`override_gate`: `status`",
        when: "nobody is signed in, and a scope of users is asked for in an open gate",
        instead: "400: the application's own tokens are for `/.default`",
        reason: "the acquisition is a real one here, and nothing stands in for it",
        apply: |category, input, expect| {
            let request =
                input.get("when").and_then(|when| when.get("request")?.as_str()).unwrap_or_default();
            let query = input.get("when").and_then(|when| when.get("query")?.as_str()).unwrap_or_default();
            let gate = match request.split('/').nth(1) {
                Some("AuthorizationHeaderUnauthenticated") => "GetAuthorizationHeaderUnauthenticated",
                Some("DownstreamApiUnauthenticated") => "CallDownstreamApiUnauthenticated",
                _ => return,
            };
            let config = input.get("given").and_then(|given| given.get("config"));
            let is_open = config.and_then(|config| config.get(format!("Sidecar:AllowOverrides:{gate}")));
            let scope = last(query, "optionsOverride.Scopes").filter(|scope| !scope.ends_with("/.default"));
            if category == "override_gate" && is_open == Some(&true.into()) && scope.is_some() {
                replace(expect, "status", 400.into());
            }
        },
    },
];

/// The options that a query without a word on them used to change, and what they are where nothing is configured.
fn defaults() -> [(&'static str, Value); 6] {
    [
        ("HttpMethod", "Get".into()),
        ("ContentType", "application/json".into()),
        ("AcceptHeader", "application/json".into()),
        ("RequestAppToken", false.into()),
        ("AcquireTokenOptions.ForceRefresh", false.into()),
        ("AcquireTokenOptions.CorrelationId", Value::Null),
    ]
}

/// Whether a query says anything on options but the base URL.
fn overrides(query: &str) -> bool {
    let mut names = url::form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name.to_ascii_lowercase());
    names.any(|name| name.starts_with("optionsoverride.") && name != "optionsoverride.baseurl")
}

/// What a parameter says, where it is of the option's type.
fn read(default: &Value, path: &str, text: &str) -> Option<Value> {
    let text = text.trim();
    match default {
        Value::Bool(_) => text.to_ascii_lowercase().parse::<bool>().ok().map(Value::from),
        _ if path.ends_with("CorrelationId") => {
            let is_nil = text.bytes().all(|byte| matches!(byte, b'0' | b'-'));
            let id = User::object_id(text).ok().filter(|_| !is_nil);
            id.map(|_| text.to_ascii_lowercase().into())
        }
        _ => Some(text).filter(|text| !text.is_empty()).map(Value::from),
    }
}

/// The last value of a parameter of a query, or of a request with one.
fn last(query: &str, name: &str) -> Option<String> {
    let query = query.split_once('?').map_or(query, |(_, query)| query);
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let named = pairs.filter(|(known, _)| known.eq_ignore_ascii_case(name));
    named.last().map(|(_, value)| value.into_owned())
}

fn request(category: &str, input: &Members) -> Option<String> {
    let when = input.get("when").filter(|_| category == "http_exchange")?;
    let query = when.get("query").and_then(Value::as_str);
    let request = when.get("request")?.as_str()?;
    Some(query.map_or_else(|| request.to_owned(), |query| format!("{request}?{query}")))
}

/// A setting, by its whole path.
fn configured<'a>(input: &'a Members, path: &str) -> Option<&'a str> {
    let given = input.get("given")?;
    let config = given.get("config");
    let nested = || path.split(':').try_fold(config?, |place, name| place.get(name));
    given.get(path).or(config.and_then(|config| config.get(path))).or_else(nested)?.as_str()
}

/// The scopes of the caller's token.
fn token_scopes(input: &Members) -> Vec<String> {
    let given = input.get("given");
    let claims =
        ["claims", "token_claims", "bearer_claims", "bearer"].iter().find_map(|name| given?.get(*name));
    let scopes = claims.and_then(|claims| claims.get("scp")?.as_str()).unwrap_or("access_as_user");
    scopes.split_whitespace().map(str::to_owned).collect()
}

fn is_foreign(caller: &str) -> bool {
    let address = caller.trim_start_matches("::ffff:");
    let is_local = address.is_empty() || address.starts_with("127.") || address == "::1";
    !is_local && !["loopback", "localhost", "local", "unix", "pipe"].contains(&address)
}

fn is_health(path: &str) -> bool {
    path.eq_ignore_ascii_case("/healthz")
}

fn replace(expect: &mut Members, name: &str, value: Value) {
    expect.get_mut(name).into_iter().for_each(|expected| *expected = value.clone());
}

const NO_PROCESS: &str = "The long-running process of this session key isn't known, or was stopped; initiate it with the user's token.";
