//! What an input asks for: an application, its credential, a flow and what goes with it.

use serde_json::Value;
use symbolon_protocol::{
    error::Error,
    request::{
        AccessToken, AgentFlow, AgentSubject, Application, AssertionKind, AuthorizationCode, CachePartition,
        ClientFlow, FederatedUser, Flow, NamedUser, Options, RefreshToken, Request, Scheme, SessionStart,
        UserAssertion, UsernamePassword,
    },
};

use crate::{
    authority::{HOME, object_id},
    checks::Checks,
    host::{Answer, Credential, Host, Sent, own_certificate},
    input::{Input, Read, Uncovered},
};

/// A host and what it is asked for.
pub(super) struct Scenario {
    pub(super) host: Host,
    pub(super) request: Request,
    /// The one of an agent's requests that is meant: 1, 2, or the last.
    leg: Option<i64>,
}

impl Scenario {
    pub(super) fn read(input: &Input<'_>) -> Read<Self> {
        let kind = Kind::read(input)?;
        let mut host = Host::new(application(input)?, credential(input, kind)?);
        if input.flag("send_certificate_over_mtls")? {
            host.use_bound = symbolon_protocol::credential::BoundUse::Required;
        }
        let leg = if kind == Kind::Agent { leg(input, &mut host)? } else { None };
        let flow = flow(kind, input, &mut host)?;
        let scheme = if input.flag("mtls_pop")? { Scheme::MtlsPop } else { Scheme::Bearer };
        let scopes =
            input.texts("scopes")?.unwrap_or_else(|| vec!["https://graph.microsoft.com/.default".into()]);
        Ok(Self { host, request: Request { flow, scopes, scheme, options: options(input)? }, leg })
    }

    /// Acquires the token once.
    pub(super) fn acquire(&mut self, checks: &mut Checks<'_>) -> Option<Result<AccessToken, Error>> {
        let result = self.host.acquire(self.request.clone());
        result.map_err(|broken| checks.broken(&format!("{broken:#}"))).ok()
    }

    /// Makes the user or the process known that the flow goes on with, where it is one that does. The tokens that are
    /// there then are for these scopes.
    pub(super) fn prepare(&mut self, scopes: Vec<String>, checks: &mut Checks<'_>) {
        let flow = match &self.request.flow {
            Flow::Silent(_) => Flow::ByAuthorizationCode(AuthorizationCode {
                code: "code".into(),
                offline_access: true,
                ..AuthorizationCode::default()
            }),
            Flow::AcquireInLongRunningProcess(key) => Flow::InitiateLongRunningProcess(SessionStart {
                assertion: assertion_of("the user's token"),
                session_key: Some(key.clone()),
                search_in_cache: false,
            }),
            _ => return,
        };
        let options = Options { claims: None, force_refresh: false, ..self.request.options.clone() };
        let before = Request { flow, scopes, scheme: Scheme::Bearer, options };
        if !matches!(self.host.acquire(before), Ok(Ok(_))) {
            checks.broken("the user couldn't be made known");
        }
        self.host.sent.clear();
    }

    /// The request that is meant.
    pub(super) fn sent(&self) -> Option<&Sent> {
        match self.leg {
            Some(leg) => self.host.sent.get(usize::try_from(leg - 1).ok()?),
            None => self.host.sent.last(),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Client,
    OnBehalfOf,
    Initiate,
    GoOn,
    Silent,
    RefreshToken,
    Code,
    Password,
    Federated,
    Agent,
}

impl Kind {
    fn read(input: &Input<'_>) -> Read<Self> {
        Ok(match input.text("flow")?.unwrap_or("client_credentials") {
            "client_credentials" | "client" | "for_client" | "app" => Self::Client,
            "obo" | "on_behalf_of" => Self::OnBehalfOf,
            "silent" => Self::Silent,
            "refresh_token" | "by_refresh_token" => Self::RefreshToken,
            "auth_code" | "authorization_code" => Self::Code,
            "ropc" | "password" | "username_password" => Self::Password,
            "user_fic" => Self::Federated,
            "agent" => Self::Agent,
            name if name.contains("long_running") && name.contains("initiate") => Self::Initiate,
            name if name.contains("long_running") && name.contains("acquire") => Self::GoOn,
            other => return Err(Uncovered(format!("nothing runs the flow {other}"))),
        })
    }
}

fn flow(kind: Kind, input: &Input<'_>, host: &mut Host) -> Read<Flow> {
    let text = |name: &str, otherwise: &str| Ok(input.text(name)?.unwrap_or(otherwise).to_owned());
    Ok(match kind {
        Kind::Client => Flow::ForClient(ClientFlow {
            fmi_path: owned(input.text("fmi_path")?),
            attributes: owned(input.text("attributes")?),
            attribute_tokens: input.texts("attribute_tokens")?.unwrap_or_default(),
        }),
        Kind::OnBehalfOf => Flow::OnBehalfOf(user_assertion(input)?),
        Kind::Initiate => Flow::InitiateLongRunningProcess(SessionStart {
            assertion: user_assertion(input)?,
            session_key: owned(input.text_of(&SESSION_KEYS)?),
            search_in_cache: input.flag("search_in_cache")?,
        }),
        Kind::GoOn => {
            // It is what a process goes on without.
            input.any("user_assertion");
            host.authority.account = account(input)?;
            host.authority.refresh_token = owned(input.text("refresh_token")?);
            Flow::AcquireInLongRunningProcess(input.text_of(&SESSION_KEYS)?.unwrap_or("session").into())
        }
        Kind::Silent => {
            host.authority.account = account(input)?;
            host.authority.refresh_token = owned(input.text("refresh_token")?);
            let (uid, utid) = host.authority.account.clone().unwrap_or_else(default_account);
            Flow::Silent(format!("{uid}.{utid}"))
        }
        Kind::RefreshToken => Flow::ByRefreshToken(RefreshToken(text("refresh_token", "rt")?)),
        Kind::Code => Flow::ByAuthorizationCode(AuthorizationCode {
            code: text("code", "code")?,
            redirect_uri: input.text("redirect_uri")?.unwrap_or_default().into(),
            code_verifier: owned(input.text_of(&["code_verifier", "pkce_code_verifier", "pkce_verifier"])?),
            spa_code: flag_of(input, &["spa_code", "with_spa_code", "return_spa_code"])?.unwrap_or(false),
            offline_access: flag_of(input, &["offline_access", "offline_access_scope"])?.unwrap_or(true),
        }),
        Kind::Password => Flow::ByUsernamePassword(UsernamePassword {
            username: text("username", DEFAULT_USER)?,
            password: text("password", "password")?,
        }),
        Kind::Federated => Flow::ByUserFederatedIdentityCredential(FederatedUser {
            user: named_user(input)?.unwrap_or_else(|| NamedUser::Username(DEFAULT_USER.into())),
            assertion: input
                .text_of(&["assertion", "user_federated_identity_credential", "user_assertion"])?
                .unwrap_or("assertion")
                .into(),
        }),
        Kind::Agent => Flow::ForAgent(AgentFlow {
            agent: text("agent_app_id", "agent")?,
            subject: agent_subject(input)?,
        }),
    })
}

fn user_assertion(input: &Input<'_>) -> Read<UserAssertion> {
    let given = input.text("user_assertion")?;
    let assertion = if given.is_some() { given } else { input.text("assertion")? };
    let kind = match input.text_of(&["assertion_type", "user_assertion_type"])? {
        None => AssertionKind::Jwt,
        Some(name) if name.contains("jwt") => AssertionKind::Jwt,
        Some(name) if name.contains("saml1") => AssertionKind::Saml11,
        Some(name) if name.contains("saml2") => AssertionKind::Saml2,
        Some(other) => return Err(Uncovered(format!("there are no assertions of type {other}"))),
    };
    Ok(UserAssertion { kind, ..assertion_of(assertion.unwrap_or("the user's token")) })
}

fn assertion_of(assertion: &str) -> UserAssertion {
    UserAssertion { assertion: assertion.into(), kind: AssertionKind::Jwt }
}

/// The user, by object id or by name.
fn named_user(input: &Input<'_>) -> Read<Option<NamedUser>> {
    let id = input.text_of(&["user_id", "user_object_id", "oid"])?;
    let name = input.text_of(&["username", "upn"])?;
    Ok(match (id, name) {
        (Some(_), Some(_)) => return Err(Uncovered("a user has one name here".into())),
        (Some(id), None) => Some(NamedUser::ObjectId(id.into())),
        (None, name) => name.map(|name| NamedUser::Username(name.into())),
    })
}

/// For whom an agent asks: the leg says so, where no user does.
fn agent_subject(input: &Input<'_>) -> Read<AgentSubject> {
    let named = named_user(input)?;
    let has_assertion = input.any("user_assertion").is_some();
    Ok(match (named, input.any("leg").unwrap_or(&Value::Null)) {
        (Some(user), _) => AgentSubject::User(user),
        (None, _) if has_assertion => AgentSubject::Assertion(user_assertion(input)?),
        (None, Value::Number(leg)) if leg.as_u64() > Some(1) => {
            AgentSubject::User(NamedUser::Username(DEFAULT_USER.into()))
        }
        (None, _) => AgentSubject::App,
    })
}

/// The leg that is meant, with the tokens of the legs before it.
fn leg(input: &Input<'_>, host: &mut Host) -> Read<Option<i64>> {
    for name in ["t1", "t2"] {
        if let Some(token) = input.text(name)? {
            host.answers.push_back(Answer::AccessToken(token.into()));
        }
    }
    match input.any("leg") {
        None => Ok(None),
        Some(Value::Number(leg)) if leg.as_i64() == Some(3) => Ok(None),
        Some(Value::Number(leg)) => Ok(leg.as_i64()),
        Some(Value::String(name)) if ["app", "user", "obo"].contains(&name.as_str()) => Ok(None),
        Some(other) => Err(Uncovered(format!("there is no leg {other}"))),
    }
}

/// The account that the authority answers for, by its home account id.
pub(super) fn account(input: &Input<'_>) -> Read<Option<(String, String)>> {
    let Some(id) = input.text_of(&["home_account_id", "account"])? else { return Ok(None) };
    let (uid, utid) = id.split_once('.').ok_or_else(|| Uncovered(format!("{id:?} is no home account id")))?;
    Ok(Some((uid.into(), utid.into())))
}

fn default_account() -> (String, String) {
    (object_id(DEFAULT_USER), HOME.into())
}

fn application(input: &Input<'_>) -> Read<Application> {
    let authority = match (input.text("authority")?, input.text("authority_type")?) {
        (Some(authority), None) => authority,
        (None, None) => "https://login.microsoftonline.com/contoso.com",
        _ => return Err(Uncovered("the kind of authority is given apart from it".into())),
    };
    Ok(Application {
        client_id: input.text_of(&["client_id", "blueprint_client_id"])?.unwrap_or(DEFAULT_CLIENT).into(),
        authority: authority.into(),
        azure_region: owned(input.text("region")?),
        authority_type: None,
        skip_authority_validation: false,
        instance_metadata: None,
        instance_discovery_uri: None,
        token_endpoint_auth_method: None,
        client_capabilities: texts_of(input, &["capabilities", "client_capabilities"])?,
        send_x5c: input.flag("send_x5c")?,
        token_exchange_url: owned(input.text_of(&["token_exchange_url", "TokenExchangeUrl"])?),
        bound_flows: Vec::new(),
    })
}

/// The credential; where none is named, a secret, or a certificate if the connection needs one. An assertion may be the
/// flow's own.
fn credential(input: &Input<'_>, kind: Kind) -> Read<Credential> {
    let secret = input.text("client_secret")?;
    let is_flows_own = match kind {
        Kind::Federated => true,
        Kind::OnBehalfOf | Kind::Initiate => input.any("user_assertion").is_none(),
        _ => false,
    };
    let names = if is_flows_own { &["client_assertion"][..] } else { &["client_assertion", "assertion"] };
    let assertion = input.text_of(names)?;
    let is_bound = input.flag("binding_certificate")?;
    let is_over_mtls = input.flag("send_certificate_over_mtls")?;
    if input.flag("certificate")? {
        return Ok(Credential::Certificate(certificate()?));
    }
    Ok(match (assertion, secret) {
        (Some(token), None) => Credential::Assertion {
            token: token.into(),
            certificate: if is_bound { Some(certificate()?) } else { None },
        },
        (None, None) if is_over_mtls => Credential::Certificate(certificate()?),
        (None, secret) if !is_bound => Credential::Secret(secret.unwrap_or("secret").into()),
        _ => return Err(Uncovered("it isn't clear which credential is meant".into())),
    })
}

pub(super) fn certificate() -> Read<symbolon_protocol::credential::Certificate> {
    own_certificate().map_err(|error| Uncovered(format!("no certificate could be made: {error:#}")))
}

fn options(input: &Input<'_>) -> Read<Options> {
    let partition = |(name, value)| CachePartition { name, value, refresh_tokens: false };
    Ok(Options {
        authority: owned(input.text_of(&["request_authority", "with_authority"])?),
        tenant_id: owned(input.text_of(&["tenant", "tenant_id"])?),
        claims: owned(input.text("claims")?),
        client_claims: owned(input.text("client_claims")?),
        force_refresh: input.flag("force_refresh")?,
        access_token_sha256_to_refresh: owned(input.text_of(&[
            "access_token_sha256_to_refresh",
            "token_hash",
            "sha256_to_refresh",
        ])?),
        pop_public_key: owned(input.text("pop_public_key")?),
        client_assertion_fmi_path: owned(input.text_of(&[
            "client_assertion_fmi_path",
            "fmi_path_for_client_assertion",
            "credential_fmi_path",
        ])?),
        extra_client_assertion_claims: owned(input.text("extra_client_assertion_claims")?),
        send_x5c: flag_of(input, &["request_send_x5c"])?,
        cache_partitions: pairs_of(input, &["cache_partition", "cache_partitions", "partition_key"])?
            .into_iter()
            .map(partition)
            .collect(),
        correlation_id: owned(input.text("correlation_id")?),
        extra_query_parameters: query(input)?,
        extra_body_parameters: pairs_of(input, &["extra_body_parameters", "extra_body"])?,
        extra_headers: pairs_of(input, &["extra_headers", "headers"])?,
        ..Options::default()
    })
}

/// Parameters for the query: values, or pairs of a value and whether it is part of the cache's keys.
fn query(input: &Input<'_>) -> Read<Vec<(String, String)>> {
    let Some(Value::Object(parameters)) = input.any_of(&["extra_query_parameters", "extra_query", "eqp"])
    else {
        return Ok(Vec::new());
    };
    let value = |value: &Value| value.as_str().or_else(|| value.get(0)?.as_str()).map(str::to_owned);
    let pair = |(name, given): (&String, &Value)| Some((name.clone(), value(given)?));
    let pairs: Option<Vec<_>> = parameters.iter().map(pair).collect();
    pairs.ok_or_else(|| Uncovered("a parameter of the query is no string".into()))
}

fn pairs_of(input: &Input<'_>, names: &[&str]) -> Read<Vec<(String, String)>> {
    names.iter().try_fold(Vec::new(), |mut all, name| {
        all.extend(input.pairs(name)?.unwrap_or_default());
        Ok(all)
    })
}

fn texts_of(input: &Input<'_>, names: &[&str]) -> Read<Vec<String>> {
    names.iter().try_fold(Vec::new(), |mut all, name| {
        all.extend(input.texts(name)?.unwrap_or_default());
        Ok(all)
    })
}

/// Whether a member under one of these names is true, where there is one.
fn flag_of(input: &Input<'_>, names: &[&str]) -> Read<Option<bool>> {
    names.iter().try_fold(None, |found, name| {
        Ok(if input.any(name).is_some() { Some(input.flag(name)?) } else { found })
    })
}

pub(super) fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

pub(super) const SESSION_KEYS: [&str; 3] = ["key", "session_key", "obo_cache_key"];

pub(super) const DEFAULT_USER: &str = "user@contoso.com";

const DEFAULT_CLIENT: &str = "d3adb33f-c0de-ed0c-c0de-deadb33fc0d3";
