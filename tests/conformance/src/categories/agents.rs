//! Agents: the requests of their chains, and how they are told from others.

use serde_json::{Map, Value, json};
use symbolon_protocol::{
    cloud, identity,
    request::{AgentFlow, AgentSubject, Flow, NamedUser, Request},
    user::User,
};

use super::{
    names::members_of,
    scenario::{DEFAULT_USER, Scenario},
};
use crate::{
    authority::object_id,
    checks::Checks,
    host::{Answer, Sent, optional},
    input::{Input, Read, Uncovered},
};

/// The requests of an agent's acquisition, or how many the last of several takes.
pub(super) fn token_requests(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    match when.text("call")? {
        Some(call) => count_requests(&given, call, checks)?,
        None => forms(&given, checks)?,
    }
    given.finish().and_then(|()| when.finish())
}

fn count_requests(given: &Input<'_>, call: &str, checks: &mut Checks<'_>) -> Read<()> {
    let mut scenario = Scenario::read(&Input::new(&Map::new()))?;
    let sequence = given.texts("sequence")?.unwrap_or_default();
    let calls =
        sequence.iter().map(String::as_str).chain([call]).map(Call::read).collect::<Read<Vec<_>>>()?;
    scenario.host.authority.users = calls.iter().filter_map(|call| call.user.clone()).collect();
    let mut requests = 0;
    for call in &calls {
        scenario.request = call.request(&scenario.request);
        let before = scenario.host.sent.len();
        match scenario.acquire(checks) {
            Some(Ok(_)) => requests = scenario.host.sent.len() - before,
            Some(Err(error)) => {
                checks.refused(&error.code, false);
                return Ok(());
            }
            None => return Ok(()),
        }
    }
    checks.succeeded();
    checks.check("http_requests", requests);
    Ok(())
}

/// A call such as `A1`, `A1/app`, `A1/u1(upn)` or `A1/u1(oid)`; with ` force` behind it, one that takes no token from the
/// cache.
pub(crate) struct Call {
    agent: String,
    /// The name of the user.
    pub(crate) user: Option<String>,
    pub(crate) by_object_id: bool,
    force_refresh: bool,
}

impl Call {
    pub(crate) fn read(text: &str) -> Read<Self> {
        let unknown = || Uncovered(format!("the call {text:?} isn't understood"));
        let is_name =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let (call, force_refresh) = match text.split_once(' ') {
            None => (text, false),
            Some((call, "force")) => (call, true),
            Some(_) => return Err(unknown()),
        };
        let (agent, user) = call.split_once('/').unwrap_or((call, "app"));
        let agent = Some(agent).filter(|agent| is_name(agent)).ok_or_else(unknown)?.to_owned();
        if user == "app" {
            return Ok(Self { agent, user: None, by_object_id: false, force_refresh });
        }
        let (name, form) =
            user.strip_suffix(')').and_then(|user| user.split_once('(')).ok_or_else(unknown)?;
        let by_object_id = match form {
            "upn" => false,
            "oid" => true,
            _ => return Err(unknown()),
        };
        let name = Some(name).filter(|name| is_name(name)).ok_or_else(unknown)?;
        Ok(Self { agent, user: Some(format!("{name}@contoso.com")), by_object_id, force_refresh })
    }

    /// Whether it is for the same user of the same agent.
    pub(crate) fn is_for_the_same(&self, other: &Self) -> bool {
        self.user.is_some() && self.user == other.user && self.agent == other.agent
    }

    pub(crate) fn takes_from_cache(&self) -> bool {
        !self.force_refresh
    }

    fn request(&self, template: &Request) -> Request {
        let subject = match &self.user {
            None => AgentSubject::App,
            Some(name) if self.by_object_id => AgentSubject::User(NamedUser::ObjectId(object_id(name))),
            Some(name) => AgentSubject::User(NamedUser::Username(name.clone())),
        };
        let mut request = template.clone();
        request.flow = Flow::ForAgent(AgentFlow { agent: self.agent.clone(), subject });
        request.options.force_refresh = self.force_refresh;
        request
    }
}

/// The forms of the requests, in their order.
fn forms(given: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let mut scenario = Scenario::read(&Input::new(&Map::new()))?;
    let text = |names: &[&str]| given.text_of(names);
    if let Some(blueprint) = text(&["blueprint", "blueprint_client_id", "ClientId"])? {
        scenario.host.application.client_id = blueprint.into();
    }
    if let Some(url) = text(&["TokenExchangeUrl"])? {
        scenario.host.application.token_exchange_url = Some(url.into());
    }
    scenario.request.options.tenant_id = text(&["tenant", "Tenant", "TenantId"])?.map(str::to_owned);
    let scopes = given.texts("scopes")?;
    let scope = text(&["scope"])?.map(|scope| vec![scope.to_owned()]);
    scenario.request.scopes = scopes.or(scope).unwrap_or(scenario.request.scopes);
    let agent = text(&["agent", "agent_id", "agent_app_id", "AgentIdentity"])?.unwrap_or("agent");
    let user = match (text(&["upn", "username"])?, text(&["oid", "user_id"])?) {
        (None, None) => None,
        (Some(name), None) => Some(NamedUser::Username(name.into())),
        (None, Some(id)) => Some(NamedUser::ObjectId(id.into())),
        _ => return Err(Uncovered("a user has one name here".into())),
    };
    let subject = match (text(&["flow", "kind", "mode"])?, user) {
        (None, None) | (Some("app" | "agent-app" | "app-only"), None) => AgentSubject::App,
        (None | Some("user" | "agent-user"), Some(user)) => AgentSubject::User(user),
        (Some("user" | "agent-user"), None) => AgentSubject::User(NamedUser::Username(DEFAULT_USER.into())),
        (flow, _) => return Err(Uncovered(format!("nothing runs the flow {flow:?} of an agent"))),
    };
    scenario.request.flow = Flow::ForAgent(AgentFlow { agent: agent.into(), subject });
    scenario.host.answers.extend(["T1", "T2"].map(|token| Answer::AccessToken(token.into())));
    let Some(result) = scenario.acquire(checks) else { return Ok(()) };
    if let Err(error) = result {
        checks.refused(&error.code, false);
        return Ok(());
    }
    checks.succeeded();
    checks.check("http_requests", scenario.host.sent.len());
    for name in ["requests", "legs", "forms"] {
        checks.check_part(name, |expected| those_fields(expected, &scenario.host.sent));
    }
    Ok(())
}

/// Of each request the expected fields. A name in angle brackets stands for any value.
fn those_fields(expected: &Value, sent: &[Sent]) -> Value {
    let none = Vec::new();
    let expected = expected.as_array().unwrap_or(&none);
    let request = |(index, sent): (usize, &Sent)| -> Value {
        let Some(Value::Object(fields)) = expected.get(index) else { return form(sent) };
        let field = |(name, value): (&String, &Value)| {
            let got = sent.field(name);
            let is_any = value.as_str().is_some_and(|value| value.starts_with('<') && value.ends_with('>'));
            let got = if is_any && got.is_some() { value.clone() } else { optional(got) };
            (name.clone(), got)
        };
        fields.iter().map(field).collect()
    };
    sent.iter().enumerate().map(request).collect()
}

/// All fields of a request.
fn form(sent: &Sent) -> Value {
    sent.body.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect()
}

/// Whether options are those of an agent's user, and of whom.
pub(super) fn detect_agent_user_flow(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let parameters = given.object("ExtraParameters")?;
    let nothing = Map::new();
    let parameters = parameters.unwrap_or_else(|| Input::new(&nothing));
    let agent = parameters.text("IDWEB_AGENT_IDENTITY")?.filter(|agent| !agent.trim().is_empty());
    let (name, id) = (parameters.text("IDWEB_USERNAME")?, parameters.text("IDWEB_USER_ID")?);
    check_user(agent, name, id, checks, |user, checks| {
        checks.check("agentic", user.is_some());
        checks.check("identifier", user.map(identifier));
    });
    parameters.finish().and_then(|()| given.finish()).and_then(|()| when.finish())
}

/// What parameters of a request make of it.
/// The user of an agent, as options name it. Without an agent nobody looks.
fn check_user(
    agent: Option<&str>,
    name: Option<&str>,
    id: Option<&str>,
    checks: &mut Checks<'_>,
    check: impl FnOnce(Option<User>, &mut Checks<'_>),
) {
    let user = match agent {
        Some(_) => User::from_options(name, id),
        None => Ok(None),
    };
    match user {
        Ok(user) => {
            checks.succeeded();
            check(user, checks);
        }
        Err(error) => checks.refused(&error.code, false),
    }
}

fn identifier(user: User) -> String {
    match user {
        User::ObjectId(id) => format!("oid:{id}"),
        User::Username(name) => format!("upn:{name}"),
    }
}

/// What calls of the option helpers make of a request, by what goes to the authority.
pub(super) fn apply_agent_helpers(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    given.text("AuthenticationOptionsName")?;
    let calls = when.any("calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let identities = calls.iter().map(identity_of).collect::<Read<Vec<_>>>()?;
    // A request has one agent: who names another puts it in the place of the one before.
    let Some((agent, subject)) = identities.into_iter().last() else {
        return Err(Uncovered("nobody names an agent".into()));
    };
    let is_app = matches!(subject, AgentSubject::App);
    let mut scenario = Scenario::read(&Input::new(&Map::new()))?;
    scenario.request.flow = Flow::ForAgent(AgentFlow { agent, subject });
    let Some(Ok(_)) = scenario.acquire(checks) else {
        checks.broken("the agent got no token");
        return Ok(());
    };
    let (Some(first), Some(last)) = (scenario.host.sent.first(), scenario.host.sent.last()) else {
        checks.broken("no request was sent");
        return Ok(());
    };
    let path = first.field("fmi_path").filter(|_| is_app);
    let agent = last.field("client_id");
    let got = Map::from_iter([
        ("IDWEB_AGENT_IDENTITY".to_owned(), optional(agent.filter(|_| !is_app))),
        ("IDWEB_USERNAME".to_owned(), optional(last.field("username"))),
        ("IDWEB_USER_ID".to_owned(), optional(last.field("user_id"))),
        ("IDWEB_FMI_PATH_FOR_CLIENT_ASSERTION".to_owned(), optional(path)),
        // Of the agent's own options only its id can be seen.
        ("IDWEB_FMI_MICROSOFT_IDENTITY_OPTIONS".to_owned(), json!({ "ClientId": agent })),
    ]);
    let members =
        |value: &Value| value.as_object().map(|members| members.keys().cloned().collect::<Vec<_>>());
    let expected = checks.expected("ExtraParameters").unwrap_or(&Value::Null);
    for (name, value) in expected.as_object().into_iter().flatten() {
        let is_seen = got.get(name).is_some_and(|got| !value.is_object() || members(value) == members(got));
        if !is_seen {
            return Err(Uncovered(format!("nothing shows what becomes of {name}")));
        }
    }
    checks.check_part("ExtraParameters", |expected| members_of(expected, &got.into()));
    given.finish().and_then(|()| when.finish())
}

/// The agent that a call of a helper names, and for whom it acts.
fn identity_of(call: &Value) -> Read<(String, AgentSubject)> {
    let words: Option<Vec<&str>> =
        call.as_array().map(|words| words.iter().filter_map(Value::as_str).collect());
    match words.as_deref() {
        Some(["WithAgentIdentity", agent]) => Ok(((*agent).to_owned(), AgentSubject::App)),
        Some(["WithAgentUserIdentity", agent, user]) => {
            let is_id = User::object_id(user).is_ok();
            let user = (*user).to_owned();
            let named = if is_id { NamedUser::ObjectId(user) } else { NamedUser::Username(user) };
            Ok(((*agent).to_owned(), AgentSubject::User(named)))
        }
        _ => Err(Uncovered(format!("the call {call} isn't understood"))),
    }
}

pub(super) fn is_agent_user_identity(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let facets = given.text("xms_sub_fct")?;
    checks.check("result", facets.is_some_and(identity::is_agent_user_identity));
    given.finish().and_then(|()| when.finish())
}

/// The scope of the tokens that agents exchange, as it goes to the authority.
pub(super) fn exchange_scope(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let mut scenario = Scenario::read(&Input::new(&Map::new()))?;
    scenario.host.application.token_exchange_url = given.text("TokenExchangeUrl")?.map(str::to_owned);
    if let Some(instance) = given.text("Instance")? {
        scenario.host.application.authority = format!("{}/contoso.com", instance.trim_end_matches('/'));
    }
    let subject = AgentSubject::App;
    scenario.request.flow = Flow::ForAgent(AgentFlow { agent: "agent".into(), subject });
    match scenario.acquire(checks) {
        Some(Ok(_)) => {
            checks.succeeded();
            checks.check("scope", scenario.host.sent.first().and_then(|sent| sent.field("scope")));
        }
        Some(Err(error)) => checks.refused(&error.code, false),
        None => {}
    }
    given.finish().and_then(|()| when.finish())
}

/// The audience of the tokens that workloads exchange in a cloud.
pub(super) fn exchange_audience(cloud: &str, checks: &mut Checks<'_>) -> Read<()> {
    let host = match cloud {
        "public" => "login.microsoftonline.com",
        "usgov" => "login.microsoftonline.us",
        "china" => "login.partner.microsoftonline.cn",
        "france" => "login.sovcloud-identity.fr",
        "germany" => "login.sovcloud-identity.de",
        "singapore" => "login.sovcloud-identity.sg",
        other => return Err(Uncovered(format!("there is no cloud {other}"))),
    };
    checks.check("audience", optional(cloud::token_exchange_audience(host)));
    Ok(())
}
