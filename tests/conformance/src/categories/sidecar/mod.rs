//! The sidecar: what its callers may say, and what they are answered.

mod exchange;
mod scene;

use std::net::SocketAddr;

use serde_json::{Map, Value, json};
use symbolon::{DownstreamApiOptions, ManagedIdentityId, Settings, User};
use symbolon_sidecar::{Caller, Ignored, Parameters, effective_options as merge, is_allowed};

use super::calls::broken;
use crate::{
    checks::{Checks, alike},
    input::{Input, Read, Uncovered},
};

pub(super) use self::exchange::{http_exchange, override_gate};

/// What a query makes of the options of an API.
pub(super) fn effective_options(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let config = given.object("config")?.map(|config| config.rest()).unwrap_or_default();
    let is_open = gate(&given)?;
    let mut options = options(config)?;
    let parameters = Parameters::parse(when.text("query")?.unwrap_or_default());
    match merge(&mut options, &parameters, is_open, false) {
        Ok(ignored) => {
            checks.succeeded();
            checks.check("warning_event_ids", event_ids(&ignored));
            if let Some(Value::Object(expected)) = checks.expected("effective") {
                let member = |(path, expected): (&String, &Value)| {
                    let unknown = || Uncovered(format!("the option {path} isn't understood here"));
                    Ok((path.clone(), option(&options, path, expected).ok_or_else(unknown)?))
                };
                let got = expected.iter().map(member).collect::<Read<Map<_, _>>>()?;
                checks.check("effective", got);
            }
        }
        Err(problem) => checks.check("status", problem.status().as_u16()),
    }
    given.finish().and_then(|()| when.finish())
}

/// For whom an agent acts, as a query says.
pub(super) fn agent_precedence(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let is_open = gate(&given)?;
    let mut options = DownstreamApiOptions::default();
    let parameters = Parameters::parse(when.required("query")?);
    match merge(&mut options, &parameters, is_open, false) {
        Ok(ignored) => {
            checks.succeeded();
            checks.check("warning_event_ids", event_ids(&ignored));
            let agent = options.acquire_token_options.agent;
            let user = agent.as_ref().and_then(|agent| agent.user());
            let (mode, name) = match (&agent, user) {
                (None, _) => ("none", None),
                (Some(_), None) => ("agent-app", None),
                (Some(_), Some(User::Username(name))) => ("agent-user-upn", Some(name.clone())),
                (Some(_), Some(User::ObjectId(id))) => ("agent-user-oid", Some(id.to_string())),
                (Some(_), Some(_)) => ("?", None),
            };
            checks.check("mode", mode);
            checks.check("agent", agent.map(|agent| agent.agent_app_id().to_owned()));
            // An id may be written in other ways.
            checks.check_part("user", |expected| {
                let same =
                    |name: &String| guid(name).is_some() && guid(name) == expected.as_str().and_then(guid);
                if name.as_ref().is_some_and(same) { expected.clone() } else { name.clone().into() }
            });
        }
        Err(_) => checks.refused("invalid_user_id", false),
    }
    given.finish().and_then(|()| when.finish())
}

/// Who may have which path.
pub(super) fn caller_allowed(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let path = given.required("path")?;
    // Nothing is otherwise where programs are developed.
    given.text("environment")?;
    let caller = match given.text("remote_ip")? {
        None => Caller::Local,
        Some(address) => caller_from(address)?,
    };
    let is_allowed = is_allowed(caller, path);
    checks.check("allowed", is_allowed);
    if checks.expected("status_if_blocked").is_some() {
        let (status, is_refused) = exchange::knock(caller, path).map_err(broken)?;
        if is_refused == is_allowed {
            checks.broken("the server isn't of the same opinion");
        }
        checks.check("status_if_blocked", (!is_allowed).then_some(status));
    }
    given.finish().and_then(|()| when.finish())
}

/// Callers by the words that vectors have for them.
fn caller_from(text: &str) -> Read<Caller> {
    let address = match text {
        "loopback" | "localhost" | "local" => "127.0.0.1",
        "remote" | "non-loopback" | "foreign" | "external" => "203.0.113.5",
        "unix" | "unix-socket" | "unix socket" | "pipe" | "none" => return Ok(Caller::Local),
        address => address.trim_matches(['[', ']']),
    };
    let unknown = |_| Uncovered(format!("the caller {text} isn't understood"));
    let address = address.parse().map_err(unknown)?;
    Ok(Caller::Address(SocketAddr::new(address, 4711)))
}

fn gate(given: &Input<'_>) -> Read<bool> {
    match given.any("gate") {
        None => Ok(true),
        Some(Value::Bool(is_open)) => Ok(*is_open),
        Some(Value::String(word)) => match word.as_str() {
            "allowed" | "open" | "on" | "enabled" => Ok(true),
            "blocked" | "denied" | "disallowed" | "closed" | "off" | "disabled" | "not-allowed" => Ok(false),
            other => Err(Uncovered(format!("nothing here makes the gate {other}"))),
        },
        Some(other) => Err(Uncovered(format!("nothing here makes the gate {other}"))),
    }
}

fn event_ids(ignored: &[Ignored]) -> Vec<u32> {
    ignored.iter().map(|ignored| ignored.event_id()).collect()
}

/// The options of an API as they are written.
fn options(config: Map<String, Value>) -> Read<DownstreamApiOptions> {
    let settings = Settings::from_value(json!({ "DownstreamApis": { "api": config } }));
    let settings = settings.downstream_api("api").map_err(|error| broken(error.into()))?;
    Ok(DownstreamApiOptions::from(&settings))
}

/// An option, by the names on the way to it. Nothing where there is none of that name.
fn option(options: &DownstreamApiOptions, path: &str, expected: &Value) -> Option<Value> {
    let dictionary = |pairs: &[(String, String)]| {
        Value::Object(pairs.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect())
    };
    let of_dictionary = |pairs: &[(String, String)], name: &str| {
        let found = pairs.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or(Value::Null, |(_, value)| value.as_str().into())
    };
    if let Some(name) = path.strip_prefix("ExtraHeaderParameters.") {
        return Some(of_dictionary(&options.extra_header_parameters, name));
    }
    if let Some(name) = path.strip_prefix("ExtraQueryParameters.") {
        return Some(of_dictionary(&options.extra_query_parameters, name));
    }
    if let Some(path) = path.strip_prefix("AcquireTokenOptions.") {
        return acquire_option(options, path);
    }
    let path_of = || Some(options.relative_path.clone()).filter(|path| !path.is_empty());
    Some(match path {
        "Scopes" => options.scopes.clone().into(),
        "RequestAppToken" => options.request_app_token.into(),
        "BaseUrl" => options.base_url.clone().into(),
        "RelativePath" => path_of().into(),
        // On the wire methods are in capitals, however they are configured.
        "HttpMethod" => match expected.as_str() {
            Some(name) if name.eq_ignore_ascii_case(options.http_method.as_str()) => name.into(),
            _ => options.http_method.as_str().into(),
        },
        "ContentType" => options.content_type.as_deref().unwrap_or(JSON).into(),
        "AcceptHeader" => options.accept_header.as_deref().unwrap_or(JSON).into(),
        "ProtocolScheme" => options.protocol_scheme.as_str().into(),
        "ExtraHeaderParameters" => dictionary(&options.extra_header_parameters),
        "ExtraQueryParameters" => dictionary(&options.extra_query_parameters),
        _ => return None,
    })
}

fn acquire_option(options: &DownstreamApiOptions, path: &str) -> Option<Value> {
    let options = &options.acquire_token_options;
    let managed = options.managed_identity.as_ref().map(|identity| match identity {
        ManagedIdentityId::ClientId(id) => Value::from(id.as_str()),
        _ => Value::Null,
    });
    let session_key = options.long_running_session_key.as_ref();
    Some(match path {
        "Tenant" => options.tenant.clone().into(),
        "Claims" => options.claims.clone().into(),
        "FmiPath" => options.fmi_path.clone().into(),
        "PopPublicKey" => options.pop_public_key.clone().into(),
        "AuthenticationOptionsName" => options.authentication_options_name.clone().into(),
        "ForceRefresh" => options.force_refresh.into(),
        "CorrelationId" => options.correlation_id.map(|id| id.to_string()).into(),
        "LongRunningWebApiSessionKey" => session_key.map(|key| key.get().unwrap_or("AllocateForMe")).into(),
        "ManagedIdentity" => managed.map(|id| json!({ "UserAssignedClientId": id })).into(),
        "ManagedIdentity.UserAssignedClientId" => managed.unwrap_or_default(),
        _ => return None,
    })
}

/// The digits of a GUID, however it is written.
fn guid(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|letter| !"-{}()".contains(*letter)).collect();
    (digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .then(|| digits.to_ascii_lowercase())
}

/// Compares what is expected of a part with it, where the expectation may leave things open.
fn check_like(checks: &mut Checks<'_>, name: &str, got: Value) {
    checks.check_part(name, |expected| if alike(expected, &got) { expected.clone() } else { got });
}

const JSON: &str = "application/json";
