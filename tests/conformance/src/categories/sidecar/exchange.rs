//! Requests to the sidecar's routes, and what becomes of them.

use anyhow::Result;
use serde_json::{Map, Value, json};
use symbolon::{DownstreamApiOptions, Settings};
use symbolon_authority::Fault;
use symbolon_resources::configuration::AllowOverrides;
use symbolon_sidecar::{Caller, Parameters, effective_options as merge};

use super::scene::{Answered, Asked, Bearer, Downstream, Scene, now_unix};
use super::{caller_from, check_like};
use crate::{
    categories::{calls::broken, sequences::GRAPH},
    checks::Checks,
    events,
    input::{Input, Read, Uncovered},
    runtime::block_on,
};

/// One request and its answer.
pub(crate) fn http_exchange(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    // Nothing is otherwise where programs are developed.
    given.text("environment")?;
    let mut scene = Scene {
        caller: caller(&given)?,
        bearer: bearer(&given)?,
        apis: apis(&given)?,
        config: config(&given)?,
        refusal: None,
        downstream: downstream(&given)?,
        agent: None,
    };
    let (method, path) = when.required("request")?.split_once(' ').ok_or_else(no_request)?;
    let mut path = with_query(path, when.text("query")?);
    scene.agent = agent_of(&path);
    match given.text("acquisition_error")? {
        None => {}
        // It is the error of those who bring no user's token: the key alone is to tell the user.
        Some(error) if error.contains(UNKNOWN_KEY) => {
            path = unauthenticated(&path);
            scene.bearer = Bearer::Nothing;
            scene
                .config
                .insert("Sidecar:AllowOverrides:GetAuthorizationHeaderUnauthenticated".into(), true.into());
            scene
                .config
                .insert("Sidecar:AllowOverrides:CallDownstreamApiUnauthenticated".into(), true.into());
        }
        Some(error) => scene.fails_with(error, checks.expected("problem_detail"))?,
    }
    let mut headers = when.pairs("headers")?.unwrap_or_default();
    if let Some(media_type) = when.text("content_type")? {
        headers.push(("content-type".to_owned(), media_type.to_owned()));
    }
    let asked = Asked { method, path: &path, headers, body: when.text("body")?.map(str::to_owned) };
    let (answered, events) = events::capture(|| block_on(scene.ask(asked)));
    check_answer(&answered.map_err(broken)?, events, checks);
    given.finish().and_then(|()| when.finish())
}

fn check_answer(answered: &Answered, events: Vec<u64>, checks: &mut Checks<'_>) {
    let Answered { head, body, calls } = answered;
    let text = String::from_utf8_lossy(body).into_owned();
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    checks.check("status", head.status.as_u16());
    check_like(checks, "problem_detail", json["detail"].clone());
    checks.check_part("headers", |expected| match expected {
        Value::Object(names) => {
            let got: Map<_, _> = names.keys().map(|name| (name.clone(), header(name).into())).collect();
            if crate::checks::alike(expected, &got.clone().into()) { expected.clone() } else { got.into() }
        }
        _ => Value::Null,
    });
    checks.check_part("www_authenticate", |expected| match (expected, header("www-authenticate")) {
        (Value::Bool(_), challenge) => challenge.is_some().into(),
        (expected, Some(challenge)) if crate::checks::alike(expected, &challenge.into()) => expected.clone(),
        (_, challenge) => challenge.into(),
    });
    check_like(checks, "content_type", header("content-type").into());
    checks.check("warning_event_ids", events);
    let text = Some(text).filter(|text| !text.is_empty());
    for name in ["body", "text"] {
        let text = match checks.expected(name) {
            Some(Value::String(expected)) if expected.is_empty() => Some(text.clone().unwrap_or_default()),
            _ => text.clone(),
        };
        check_like(checks, name, text.into());
    }
    check_like(checks, "json", json);
    let call = calls.last();
    checks.check("api_calls", calls.len());
    let sent = call.map(|call| String::from_utf8_lossy(&call.body).into_owned());
    checks.check("forwarded_body", sent.filter(|body| !body.is_empty()));
    checks.check("forwarded_content_type", call.and_then(|call| call.header("content-type")));
}

/// Whether a route lets its callers say something, and what it says where it doesn't.
pub(crate) fn override_gate(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let (method, path) = when.required("request")?.split_once(' ').ok_or_else(no_request)?;
    let is_anonymous = path.contains("Unauthenticated");
    let config = config(&given)?;
    let query = when.text("query")?.unwrap_or_default();
    let is_open = is_open(&config, path)?;
    let mut options = DownstreamApiOptions::default();
    let parameters = Parameters::parse(query);
    let merged = merge(&mut options, &parameters, is_open, false);
    checks.check("overrides_applied", merged.is_ok() && parameters.has_overrides() && is_open);
    checks.check("agent_applied", merged.is_ok() && options.acquire_token_options.agent.is_some());
    let path = with_query(path, Some(query));
    let name = path.split(['/', '?']).nth(2).unwrap_or_default().to_owned();
    // What there is a token for, whoever asks.
    let api = match is_anonymous {
        true => json!({ "Scopes": [GRAPH], "RequestAppToken": true }),
        false => json!({ "Scopes": ["User.Read"] }),
    };
    let scene = Scene {
        caller: caller(&given)?,
        bearer: if is_anonymous { Bearer::Nothing } else { Bearer::User(Map::new()) },
        apis: Map::from_iter([(name, api)]),
        config,
        refusal: None,
        downstream: Downstream { status: 200, ..Downstream::default() },
        agent: agent_of(&path),
    };
    let asked = Asked { method, path: &path, headers: Vec::new(), body: None };
    let (answered, events) = events::capture(|| block_on(scene.ask(asked)));
    checks.check("status", answered.map_err(broken)?.head.status.as_u16());
    checks.check("warning_event_ids", events);
    given.finish().and_then(|()| when.finish())
}

/// The gate of a route, by what the sidecar reads.
fn is_open(config: &Map<String, Value>, path: &str) -> Read<bool> {
    let mut settings = json!({});
    for (path, value) in config {
        let place = path.split(':').fold(&mut settings, |place, name| &mut place[name]);
        *place = value.clone();
    }
    let settings = Settings::from_value(settings).sidecar().map_err(|error| broken(error.into()))?;
    let AllowOverrides {
        authorization_header,
        authorization_header_unauthenticated,
        downstream_api,
        downstream_api_unauthenticated,
        ..
    } = settings.allow_overrides;
    match path.trim_start_matches('/').split('/').next().unwrap_or_default() {
        "AuthorizationHeader" => Ok(authorization_header),
        "AuthorizationHeaderUnauthenticated" => Ok(authorization_header_unauthenticated),
        "DownstreamApi" => Ok(downstream_api),
        "DownstreamApiUnauthenticated" => Ok(downstream_api_unauthenticated),
        other => Err(Uncovered(format!("the route {other} has no gate"))),
    }
}

/// What somebody is answered who just asks: the status, and whether it is for being a foreigner.
pub(super) fn knock(caller: Caller, path: &str) -> Result<(u16, bool)> {
    let scene = Scene {
        caller,
        bearer: Bearer::Nothing,
        apis: Map::new(),
        config: Map::new(),
        refusal: None,
        downstream: Downstream::default(),
        agent: None,
    };
    let asked = Asked { method: "GET", path, headers: Vec::new(), body: None };
    let answered = block_on(scene.ask(asked))?;
    let status = answered.head.status.as_u16();
    Ok((status, status == 403 && answered.body.is_empty()))
}

impl Scene {
    /// Makes acquisitions fail as an exception of .NET says. `detail` is what its message becomes, where nothing else says
    /// what the authority does.
    fn fails_with(&mut self, error: &str, detail: Option<&Value>) -> Read<()> {
        let (class, rest) = error.split_once('(').unwrap_or((error, ""));
        let (code, message) =
            rest.trim_end_matches(')').split_once(',').unwrap_or((rest.trim_end_matches(')'), ""));
        let said = detail.and_then(Value::as_str).unwrap_or_default().trim_start_matches("…: ");
        let message = Some(message.trim_matches([' ', '\'', '"'])).filter(|message| !message.is_empty());
        let message = message.unwrap_or(said);
        let refusal = |status, code: &str| {
            let body = json!({ "error": code, "error_description": message, "error_codes": [] });
            Some(Fault::Status { status, retry_after: None, body: Some(body.to_string()) })
        };
        match (class, code.trim()) {
            (class, code) if class.contains("UiRequired") || class.contains("Challenge") => {
                self.refusal = refusal(400, if code.is_empty() { "invalid_grant" } else { code });
            }
            ("MsalServiceException", code) => {
                let status = if code == "invalid_client" { 401 } else { 400 };
                self.refusal = refusal(status, if code.is_empty() { "invalid_request" } else { code });
            }
            ("HttpRequestException", _) => self.refusal = Some(Fault::ResetBeforeHeaders),
            (_, "IDW10109") => {
                let missing = json!([{ "SourceType": "Path", "CertificateDiskPath": "missing.pem" }]);
                self.config.insert("AzureAd:ClientCredentials".to_owned(), missing);
            }
            (_, "IDW10404") | ("ArgumentException", "") => {
                for api in self.apis.values_mut() {
                    api["RequestAppToken"] = true.into();
                }
            }
            ("MsalClientException", _) => {
                for api in self.apis.values_mut() {
                    api["AcquireTokenOptions"]["Claims"] = "{".into();
                }
                // What is sent along is merged with the claims, which can't be read.
                self.config.insert("AzureAd:ClientCapabilities".to_owned(), json!(["cp1"]));
            }
            _ => return Err(Uncovered(format!("nothing here fails with {error}"))),
        }
        Ok(())
    }
}

fn caller(given: &Input<'_>) -> Read<Caller> {
    caller_from(given.text_of(&["caller", "remote_ip"])?.unwrap_or("loopback"))
}

fn bearer(given: &Input<'_>) -> Read<Bearer> {
    let claims = ["claims", "token_claims", "bearer_claims"].map(|name| given.object(name));
    for claims in claims {
        if let Some(claims) = claims? {
            given.any("bearer");
            return Ok(Bearer::User(claims.rest()));
        }
    }
    match given.any("bearer") {
        None => Ok(Bearer::Nothing),
        Some(Value::String(word)) => {
            block_on(async { Bearer::read(word, now_unix().await?) }).map_err(broken)
        }
        Some(Value::Object(claims)) => Ok(Bearer::User(claims.clone())),
        Some(other) => Err(Uncovered(format!("the bearer token {other} isn't understood"))),
    }
}

fn apis(given: &Input<'_>) -> Read<Map<String, Value>> {
    let mut apis = given.object("apis")?.map(|apis| apis.rest()).unwrap_or_default();
    if let Some(api) = given.object("api")? {
        let mut api = api.rest();
        let name = api.remove("name").and_then(|name| Some(name.as_str()?.to_owned()));
        apis.insert(name.unwrap_or_else(|| "a".to_owned()), api.into());
    }
    Ok(apis)
}

/// What is configured, by whole paths.
fn config(given: &Input<'_>) -> Read<Map<String, Value>> {
    let mut config = Map::new();
    for name in ["config", "settings"] {
        flatten("", given.object(name)?.map(|members| members.rest()).unwrap_or_default(), &mut config);
    }
    for name in given.names().filter(|name| name.contains(':')) {
        config.insert(name.to_owned(), given.any(name).cloned().unwrap_or_default());
    }
    Ok(config)
}

fn flatten(path: &str, members: Map<String, Value>, into: &mut Map<String, Value>) {
    for (name, value) in members {
        let path = if path.is_empty() { name } else { format!("{path}:{name}") };
        match value {
            Value::Object(members) => flatten(&path, members, into),
            value => drop(into.insert(path, value)),
        }
    }
}

fn downstream(given: &Input<'_>) -> Read<Downstream> {
    let Some(answer) = given.object("downstream")? else {
        return Ok(Downstream { status: 200, ..Downstream::default() });
    };
    let status = answer.number("status")?.and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
    let mut headers = answer.pairs("headers")?.unwrap_or_default();
    for (member, name) in [("content_type", "content-type"), ("location", "location")] {
        headers.extend(answer.text(member)?.map(|value| (name.to_owned(), value.to_owned())));
    }
    let is_chunked = answer.text("transfer_encoding")?.is_some_and(|encoding| encoding == "chunked");
    let body = answer.text("body")?.map(str::to_owned);
    answer.finish()?;
    Ok(Downstream { status, headers, body, is_chunked })
}

fn with_query(path: &str, query: Option<&str>) -> String {
    match query.filter(|query| !query.is_empty()) {
        Some(query) => format!("{path}{}{query}", if path.contains('?') { '&' } else { '?' }),
        None => path.to_owned(),
    }
}

fn unauthenticated(path: &str) -> String {
    let path = path.replacen("/AuthorizationHeader/", "/AuthorizationHeaderUnauthenticated/", 1);
    path.replacen("/DownstreamApi/", "/DownstreamApiUnauthenticated/", 1)
}

/// The agent that a request names.
fn agent_of(path: &str) -> Option<String> {
    let query = path.split_once('?')?.1;
    let mut parameters = url::form_urlencoded::parse(query.as_bytes());
    let (_, agent) = parameters.find(|(name, _)| name.eq_ignore_ascii_case("AgentIdentity"))?;
    Some(agent.into_owned()).filter(|agent| !agent.trim().is_empty())
}

fn no_request() -> Uncovered {
    Uncovered("the request is no method and path".into())
}

const UNKNOWN_KEY: &str = "obo_cache_key_not_in_cache_error";
