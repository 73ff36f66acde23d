//! [`AcquireTokenOptions`] from JSON, by Microsoft.Identity.Web's names.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use symbolon_resources::configuration::nearest;
use uuid::Uuid;

use super::options::AcquireTokenOptions;
use crate::agent::{AgentIdentity, User};
use crate::managed_identity::ManagedIdentityId;
use crate::session_key::SessionKey;

/// What is wrong: where, what was found, what is accepted. Holds no value, which may be a token.
type Result<T> = std::result::Result<T, String>;

impl<'de> Deserialize<'de> for AcquireTokenOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        read(Map::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn read(members: Map<String, Value>) -> Result<AcquireTokenOptions> {
    let mut options = AcquireTokenOptions::default();
    for (name, value) in known("", members, NAMES)? {
        match name {
            "AuthenticationOptionsName" => options.authentication_options_name = text(name, value)?,
            "CorrelationId" => options.correlation_id = guid(name, value)?,
            "Claims" => options.claims = text(name, value)?,
            // Empty, it stands for the configured one.
            "Tenant" => options.tenant = Some(string(name, value)?),
            "ForceRefresh" => options.force_refresh = flag(name, value)?,
            "FmiPath" => options.fmi_path = text(name, value)?,
            "LongRunningWebApiSessionKey" => {
                options.long_running_session_key = text(name, value)?.map(SessionKey::from);
            }
            "PopPublicKey" => options.pop_public_key = text(name, value)?,
            "ExtraQueryParameters" => options.extra_query_parameters = pairs(name, value)?,
            "ExtraHeadersParameters" => options.extra_http_headers = pairs(name, value)?,
            "ExtraParameters" => read_extra(members_of(name, value)?, &mut options)?,
            "PopClaim" => return Err(not_supported(name, "the key itself, as PopPublicKey")),
            "ManagedIdentity" => options.managed_identity = Some(managed_identity(members_of(name, value)?)?),
            _ => tracing::warn!(key = name, "is known and has no effect"),
        }
    }
    Ok(options)
}

fn managed_identity(members: Map<String, Value>) -> Result<ManagedIdentityId> {
    let mut identity = ManagedIdentityId::SystemAssigned;
    for (name, value) in known("ManagedIdentity", members, &["UserAssignedClientId"])? {
        if let Some(client_id) = text(&join("ManagedIdentity", name), value)? {
            identity = ManagedIdentityId::ClientId(client_id);
        }
    }
    Ok(identity)
}

/// The reserved parameters of Microsoft.Identity.Web's helpers.
fn read_extra(members: Map<String, Value>, options: &mut AcquireTokenOptions) -> Result<()> {
    let (mut agent, mut username, mut user_id) = (None, None, None);
    for (name, value) in known(EXTRA, members, EXTRA_NAMES)? {
        let path = join(EXTRA, name);
        match name {
            "IDWEB_AGENT_IDENTITY" => agent = text(&path, value)?,
            "IDWEB_USERNAME" => username = text(&path, value)?,
            "IDWEB_USER_ID" => user_id = guid(&path, value)?,
            "IDWEB_FMI_PATH_FOR_CLIENT_ASSERTION" => {
                options.fmi_path_for_client_assertion = text(&path, value)?;
            }
            "EXTRA_BODY_PARAMETERS" => options.extra_body_parameters = pairs(&path, value)?,
            "IDWEB_FMI_MICROSOFT_IDENTITY_OPTIONS" => {
                return Err(not_supported(&path, "the agent, as IDWEB_AGENT_IDENTITY"));
            }
            "IDWEB_CLIENT_ASSERTION" | "IDWEB_CLIENT_ASSERTION_CLAIMS" => {
                return Err(not_supported(&path, "an entry of ClientCredentials that gives the assertion"));
            }
            _ => return Err(not_supported(&path, EXTRA_READ)),
        }
    }
    options.names_two_users = username.is_some() && user_id.is_some();
    let user = username.map(User::Username).or(user_id.map(User::ObjectId));
    options.agent = match (agent, user) {
        (Some(agent), Some(user)) => Some(AgentIdentity::with_user(agent, user)),
        (Some(agent), None) => Some(AgentIdentity::app_only(agent)),
        (None, None) => None,
        (None, Some(_)) => {
            return Err(format!(
                "{EXTRA}: found a user without an agent; accepted: IDWEB_AGENT_IDENTITY beside the user"
            ));
        }
    };
    Ok(())
}

/// The members by their known names. Null counts as absent.
fn known(
    path: &str,
    members: Map<String, Value>,
    names: &[&'static str],
) -> Result<Vec<(&'static str, Value)>> {
    let mut found: Vec<(&'static str, Value)> = Vec::with_capacity(members.len());
    for (written, value) in members {
        let Some(name) = names.iter().find(|name| name.eq_ignore_ascii_case(&written)) else {
            let hint = nearest(&written, names.iter().copied());
            let hint = hint.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default();
            let (place, names) = (join(path, &written), names.join(", "));
            return Err(format!("{place}: found an unknown key{hint}; accepted: {names}"));
        };
        if found.iter().any(|(known, _)| known == name) {
            let place = join(path, &written);
            return Err(format!(
                "{place}: found the key a second time; accepted: each key once, in whatever case"
            ));
        }
        found.push((name, value));
    }
    found.retain(|(_, value)| !value.is_null());
    Ok(found)
}

fn string(path: &str, value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(unexpected(path, &other, "a string")),
    }
}

/// A string that says something.
fn text(path: &str, value: Value) -> Result<Option<String>> {
    Ok(Some(string(path, value)?).filter(|text| !text.is_empty()))
}

fn guid(path: &str, value: Value) -> Result<Option<Uuid>> {
    let parse = |text: String| {
        Uuid::try_parse(&text).map_err(|_| format!("{path}: found another string; accepted: a GUID"))
    };
    text(path, value)?.map(parse).transpose()
}

/// A boolean, or the same as a string, as environment variables have it.
fn flag(path: &str, value: Value) -> Result<bool> {
    match &value {
        Value::Bool(flag) => return Ok(*flag),
        Value::String(text) if text.trim().eq_ignore_ascii_case("true") => return Ok(true),
        Value::String(text) if text.trim().eq_ignore_ascii_case("false") => return Ok(false),
        _ => {}
    }
    Err(unexpected(path, &value, "true or false"))
}

fn pairs(path: &str, value: Value) -> Result<Vec<(String, String)>> {
    let members = members_of(path, value)?.into_iter().filter(|(_, value)| !value.is_null());
    members
        .map(|(name, value)| {
            let value = string(&join(path, &name), value)?;
            Ok((name, value))
        })
        .collect()
}

fn members_of(path: &str, value: Value) -> Result<Map<String, Value>> {
    match value {
        Value::Object(members) => Ok(members),
        other => Err(unexpected(path, &other, "an object")),
    }
}

fn unexpected(path: &str, value: &Value, accepted: &str) -> String {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "another string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    format!("{path}: found {found}; accepted: {accepted}")
}

fn not_supported(path: &str, instead: &str) -> String {
    format!("{path}: found a key that is known and not supported; accepted: {instead}")
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}:{name}") }
}

const NAMES: &[&str] = &[
    "AuthenticationOptionsName",
    "Claims",
    "CorrelationId",
    "ExtraHeadersParameters",
    "ExtraParameters",
    "ExtraQueryParameters",
    "FmiPath",
    "ForceRefresh",
    "LongRunningWebApiSessionKey",
    "ManagedIdentity",
    "PopClaim",
    "PopPublicKey",
    "Tenant",
    "UserFlow",
];
const EXTRA: &str = "ExtraParameters";
const EXTRA_READ: &str = "IDWEB_AGENT_IDENTITY, IDWEB_USERNAME, IDWEB_USER_ID, IDWEB_FMI_PATH_FOR_CLIENT_ASSERTION, \
                          EXTRA_BODY_PARAMETERS";
const EXTRA_NAMES: &[&str] = &[
    "EXTRA_BODY_PARAMETERS",
    "IDWEB_AGENT_IDENTITY",
    "IDWEB_CLIENT_ASSERTION",
    "IDWEB_CLIENT_ASSERTION_CLAIMS",
    "IDWEB_FMI_MICROSOFT_IDENTITY_OPTIONS",
    "IDWEB_FMI_PATH_FOR_CLIENT_ASSERTION",
    "IDWEB_OTEL_TAGS_ENRICHER",
    "IDWEB_USERNAME",
    "IDWEB_USER_ID",
    "ID_WEB_INTERNAL_SERVICE_PROVIDER",
    "IsTokenBinding",
    "Microsoft.Identity.Abstractions.HttpRequestMessage",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const AGENT: &str = "11111111-2222-3333-4444-555555555555";
    const USER: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";

    fn options(json: Value) -> AcquireTokenOptions {
        serde_json::from_value(json).expect("options")
    }

    fn problem(json: Value) -> String {
        serde_json::from_value::<AcquireTokenOptions>(json).expect_err("a problem").to_string()
    }

    fn pair(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn every_name_is_read_in_whatever_case() {
        let read = options(json!({
            "authenticationOptionsName": "Blueprint",
            "CORRELATIONID": USER.to_uppercase(),
            "Claims": "{}",
            "tenant": "contoso.com",
            "ForceRefresh": "True",
            "FmiPath": "a/b",
            "LongRunningWebApiSessionKey": "AllocateForMe",
            "PopPublicKey": "jwk",
            "ExtraQueryParameters": { "dc": "1", "absent": null },
            "ExtraHeadersParameters": { "x-header": "2" },
            "ExtraParameters": {
                "extra_body_parameters": { "p": "3" },
                "IDWEB_FMI_PATH_FOR_CLIENT_ASSERTION": "path",
            },
            "UserFlow": "B2C_1",
            "PopClaim": null,
            "ManagedIdentity": null,
        }));
        assert_eq!(read.authentication_options_name.as_deref(), Some("Blueprint"));
        assert_eq!(read.correlation_id.map(|id| id.to_string()).as_deref(), Some(USER));
        assert_eq!((read.claims.as_deref(), read.tenant.as_deref()), (Some("{}"), Some("contoso.com")));
        assert_eq!((read.force_refresh, read.fmi_path.as_deref()), (true, Some("a/b")));
        assert_eq!(read.long_running_session_key, Some(SessionKey::AllocateForMe));
        assert_eq!(read.pop_public_key.as_deref(), Some("jwk"));
        assert_eq!(read.extra_query_parameters, pair("dc", "1"));
        assert_eq!(read.extra_http_headers, pair("x-header", "2"));
        assert_eq!(read.extra_body_parameters, pair("p", "3"));
        assert_eq!(read.fmi_path_for_client_assertion.as_deref(), Some("path"));
        assert_eq!(read.agent, None);
    }

    #[test]
    fn empty_strings_say_nothing_but_as_the_tenant() {
        let read = options(json!({
            "AuthenticationOptionsName": "", "CorrelationId": "", "Claims": "", "Tenant": "", "FmiPath": "",
            "LongRunningWebApiSessionKey": "", "PopPublicKey": "", "ExtraParameters": { "IDWEB_AGENT_IDENTITY": "" },
        }));
        assert_eq!(read.tenant.as_deref(), Some(""));
        assert_eq!(read.long_running_session_key, None);
        assert_eq!((read.agent, read.correlation_id, read.claims), (None, None, None));
    }

    #[test]
    fn a_managed_identity_is_named_or_is_the_only_one() {
        let read = options(json!({ "ManagedIdentity": {} }));
        assert_eq!(read.managed_identity, Some(ManagedIdentityId::SystemAssigned));
        let read = options(json!({ "ManagedIdentity": { "userAssignedClientId": "id" } }));
        assert_eq!(read.managed_identity, Some(ManagedIdentityId::ClientId("id".into())));
    }

    #[test]
    fn an_agent_has_one_user_at_most_and_the_username_wins() {
        let agent = |extra: Value| options(json!({ "ExtraParameters": extra }));
        let read = agent(json!({ "IDWEB_AGENT_IDENTITY": AGENT }));
        assert_eq!(read.agent, Some(AgentIdentity::app_only(AGENT)));

        let (name, id) =
            (User::Username("u@contoso.com".into()), User::ObjectId(USER.parse().expect("a GUID")));
        for (username, user_id, expected, twice) in [
            ("u@contoso.com", "", &name, false),
            ("", USER, &id, false),
            ("u@contoso.com", USER, &name, true),
        ] {
            let read = agent(json!({
                "IDWEB_AGENT_IDENTITY": AGENT, "IDWEB_USERNAME": username, "IDWEB_USER_ID": user_id,
            }));
            assert_eq!(read.agent, Some(AgentIdentity::with_user(AGENT, expected.clone())));
            assert_eq!(read.names_two_users, twice);
        }
    }

    #[test]
    fn problems_say_where_what_and_what_instead() {
        for (json, expected) in [
            (
                json!({ "ForcRefresh": true }),
                "ForcRefresh: found an unknown key (did you mean ForceRefresh?)",
            ),
            (
                json!({ "Scopes": [] }),
                "Scopes: found an unknown key; accepted: AuthenticationOptionsName, Claims,",
            ),
            (json!({ "Claims": "", "claims": "" }), "found the key a second time"),
            (json!({ "Claims": {} }), "Claims: found an object; accepted: a string"),
            (
                json!({ "ForceRefresh": "canary" }),
                "ForceRefresh: found another string; accepted: true or false",
            ),
            (json!({ "CorrelationId": "canary" }), "CorrelationId: found another string; accepted: a GUID"),
            (
                json!({ "PopClaim": "canary" }),
                "PopClaim: found a key that is known and not supported; accepted: the key",
            ),
            (
                json!({ "ManagedIdentity": { "ClientId": "canary" } }),
                "ManagedIdentity:ClientId: found an unknown key",
            ),
            (json!({ "ExtraQueryParameters": { "a": 1 } }), "ExtraQueryParameters:a: found a number"),
            (json!({ "ExtraParameters": { "IDWEB_USERID": "" } }), "(did you mean IDWEB_USER_ID?)"),
            (
                json!({ "ExtraParameters": { "IDWEB_AGENT_IDENTITY": AGENT, "IDWEB_USER_ID": "canary" } }),
                "ExtraParameters:IDWEB_USER_ID: found another string; accepted: a GUID",
            ),
            (json!({ "ExtraParameters": { "IDWEB_USERNAME": "canary" } }), "found a user without an agent"),
            (
                json!({ "ExtraParameters": { "IDWEB_CLIENT_ASSERTION": "canary" } }),
                "ExtraParameters:IDWEB_CLIENT_ASSERTION: found a key that is known and not supported",
            ),
            (json!({ "ExtraParameters": { "IsTokenBinding": true } }), "accepted: IDWEB_AGENT_IDENTITY,"),
        ] {
            let found = problem(json);
            assert!(found.contains(expected) && !found.contains("canary"), "{found}");
        }
    }

    #[test]
    fn debug_shows_no_key_and_no_name() {
        let shown = format!(
            "{:?}",
            options(json!({
                "LongRunningWebApiSessionKey": "canary", "Claims": "canary", "ExtraHeadersParameters": { "a": "canary" },
                "ExtraParameters": { "IDWEB_AGENT_IDENTITY": AGENT, "IDWEB_USERNAME": "canary" },
            }))
        );
        assert!(shown.contains(AGENT) && !shown.contains("canary"), "{shown}");
    }
}
