//! What each flow asks for.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::cache::user_assertion_hash;
use crate::error::Error;
use crate::grant::Grant;
use crate::identity::AssertionSubject;
use crate::parameters::present;
use crate::plan::{Agent, Chain, Owner, ProofSource, Reads, Session, Start, ui_required};
use crate::request::{
    AgentFlow, AgentSubject, Application, AssertionKind, AuthorizationCode, BoundFlow, ClientFlow,
    FederatedUser, Flow, ManagedIdentityFlow, ManagedIdentityId, NamedUser, RefreshToken, SessionStart,
    SignIn, UserAssertion, UsernamePassword,
};
use crate::scopes::{Scopes, sorted};
use crate::telemetry::ApiId;
use crate::user::User;

/// The part of a plan that the flow decides.
pub(crate) struct Asked {
    pub(crate) scopes: Scopes,
    pub(crate) flow_parameters: Vec<(&'static str, String)>,
    pub(crate) grant: Option<Grant>,
    pub(crate) reads: Reads,
    pub(crate) owner: Owner,
    pub(crate) proof: ProofSource,
    pub(crate) sign_in: Option<Box<SignIn>>,
    pub(crate) api_id: ApiId,
}

impl Asked {
    pub(crate) fn new(flow: Flow, scopes: Scopes, application: &Application) -> Result<Asked, Error> {
        match flow {
            Flow::ForClient(flow) => for_client(flow, scopes),
            Flow::OnBehalfOf(assertion) => on_behalf_of(assertion, scopes),
            Flow::InitiateLongRunningProcess(start) => initiate(start, scopes),
            Flow::AcquireInLongRunningProcess(key) => go_on(key, scopes),
            Flow::Silent(account) => silent(account, scopes),
            Flow::ByRefreshToken(token) => by_refresh_token(token, scopes, application),
            Flow::ByAuthorizationCode(code) => by_code(code, scopes),
            Flow::ByUsernamePassword(password) => by_password(password, scopes, application),
            Flow::ByUserFederatedIdentityCredential(user) => by_federated_user(user, scopes, application),
            Flow::ForAgent(agent) => for_agent(agent, scopes, application),
            Flow::ForManagedIdentity(flow) => Ok(for_managed_identity(flow, scopes)),
            Flow::SignIn(sign_in) => {
                let asked = from_cache(Owner::Account(None), scopes, ApiId::AuthorizationCode);
                Ok(Asked { sign_in: Some(sign_in), ..asked })
            }
        }
    }

    /// The agent that asks, if it is one.
    pub(crate) fn agent(&self) -> Option<&str> {
        match &self.proof {
            ProofSource::Agent(agent) => Some(&agent.id),
            ProofSource::Credential { .. } | ProofSource::Platform(_) => None,
        }
    }

    pub(crate) fn is_for_user(&self) -> bool {
        !matches!(self.owner, Owner::Application)
    }

    /// A token that only the grant can bring, for whomever the authority says.
    fn by_grant(grant: Grant, scopes: Scopes, api_id: ApiId) -> Asked {
        Asked {
            scopes,
            flow_parameters: Vec::new(),
            grant: Some(grant),
            reads: Reads::Nothing,
            owner: Owner::Account(None),
            proof: ProofSource::Credential { binds: true },
            sign_in: None,
            api_id,
        }
    }
}

fn for_client(flow: ClientFlow, scopes: Scopes) -> Result<Asked, Error> {
    let asked = Asked::by_grant(Grant::ClientCredentials, required(scopes)?, ApiId::Client);
    let flow_parameters = flow_parameters(flow)?;
    Ok(Asked { flow_parameters, reads: Reads::AccessToken, owner: Owner::Application, ..asked })
}

fn on_behalf_of(assertion: UserAssertion, scopes: Scopes) -> Result<Asked, Error> {
    let assertion = checked_assertion(assertion)?;
    let session =
        Session { key: user_assertion_hash(&assertion.assertion), is_long_running: false, start: None };
    let asked = Asked::by_grant(Grant::OnBehalfOf(assertion), required(scopes)?, ApiId::OnBehalfOf);
    Ok(Asked { reads: Reads::AccessToken, owner: Owner::Session(session), ..asked })
}

fn initiate(start: SessionStart, scopes: Scopes) -> Result<Asked, Error> {
    let assertion = checked_assertion(start.assertion)?;
    let own_key = user_assertion_hash(&assertion.assertion);
    let key = start.session_key.filter(|key| !key.is_empty()).unwrap_or_else(|| own_key.clone());
    let subject = match assertion.kind {
        AssertionKind::Jwt => AssertionSubject::parse(&assertion.assertion),
        AssertionKind::Saml11 | AssertionKind::Saml2 => None,
    };
    let start_of = Start { subject, own_key };
    let reads = if start.search_in_cache { Reads::AnyToken } else { Reads::Nothing };
    let owner = Owner::Session(Session { key, is_long_running: true, start: Some(start_of) });
    let grant = Grant::OnBehalfOf(assertion);
    Ok(Asked {
        reads,
        owner,
        ..Asked::by_grant(grant, required(scopes)?, ApiId::InitiateLongRunningOnBehalfOf)
    })
}

fn go_on(key: String, scopes: Scopes) -> Result<Asked, Error> {
    if key.is_empty() {
        return Err(Error::invalid_request(
            "session_key_required",
            "No session key is given; the one with which the long-running process was initiated is.",
        ));
    }
    let owner = Owner::Session(Session { key, is_long_running: true, start: None });
    Ok(from_cache(owner, required(scopes)?, ApiId::AcquireInLongRunningOnBehalfOf))
}

fn silent(account: String, scopes: Scopes) -> Result<Asked, Error> {
    if account.trim().is_empty() {
        return Err(ui_required("user_null", "No account is given; the user must sign in."));
    }
    Ok(from_cache(Owner::Account(Some(account)), required(scopes)?, ApiId::Silent))
}

/// A token that the cache has, or has a refresh token for.
fn from_cache(owner: Owner, scopes: Scopes, api_id: ApiId) -> Asked {
    Asked {
        scopes,
        flow_parameters: Vec::new(),
        grant: None,
        reads: Reads::AnyToken,
        owner,
        proof: ProofSource::Credential { binds: true },
        sign_in: None,
        api_id,
    }
}

fn by_refresh_token(
    RefreshToken(token): RefreshToken,
    scopes: Scopes,
    application: &Application,
) -> Result<Asked, Error> {
    require_text(&token, "refresh_token_required", "No refresh token is given.")?;
    let scopes = match scopes.is_empty() {
        true => Scopes::new([alloc::format!("{}/.default", application.client_id)]),
        false => scopes,
    };
    let grant = Grant::RefreshToken { token, home_account_id: None };
    Ok(Asked::by_grant(grant, scopes, ApiId::RefreshToken))
}

fn by_code(mut code: AuthorizationCode, scopes: Scopes) -> Result<Asked, Error> {
    require_text(&code.code, "authorization_code_required", "No authorization code is given.")?;
    if code.redirect_uri.trim().is_empty() {
        code.redirect_uri = UNSET_REDIRECT_URI.to_string();
    }
    Ok(Asked::by_grant(Grant::AuthorizationCode(code), scopes, ApiId::AuthorizationCode))
}

fn by_password(
    password: UsernamePassword,
    scopes: Scopes,
    application: &Application,
) -> Result<Asked, Error> {
    User::username(&password.username)?;
    require_text(&password.password, "password_required", "No password is given.")?;
    let binds = application.bound_flows.contains(&BoundFlow::ByUsernamePassword);
    let asked = Asked::by_grant(Grant::Password(password), scopes, ApiId::UsernamePassword);
    Ok(Asked { proof: ProofSource::Credential { binds }, ..asked })
}

fn by_federated_user(
    FederatedUser { user, assertion }: FederatedUser,
    scopes: Scopes,
    application: &Application,
) -> Result<Asked, Error> {
    require_text(
        &assertion,
        "invalid_user_assertion",
        "No token that lets the application name users is given.",
    )?;
    let binds = application.bound_flows.contains(&BoundFlow::ByUserFederatedIdentityCredential);
    let grant = Grant::UserFederated { user: checked_user(user)?, credential: Some(assertion) };
    let asked = Asked::by_grant(grant, scopes, ApiId::UserFederatedIdentityCredential);
    Ok(Asked { proof: ProofSource::Credential { binds }, ..asked })
}

fn for_agent(
    AgentFlow { agent, subject }: AgentFlow,
    scopes: Scopes,
    application: &Application,
) -> Result<Asked, Error> {
    let id = agent.trim().to_string();
    require_text(&id, "agent_required", "No agent is given; its application (client) id is.")?;
    let asked = match subject {
        AgentSubject::App => for_client(ClientFlow::default(), scopes)?,
        AgentSubject::Assertion(assertion) => on_behalf_of(assertion, scopes)?,
        AgentSubject::User(user) => {
            let user = checked_user(user)?;
            let grant = Grant::UserFederated { user: user.clone(), credential: None };
            let asked = Asked::by_grant(grant, required(scopes)?, ApiId::UserFederatedIdentityCredential);
            Asked { reads: Reads::AnyToken, owner: Owner::AgentUser(user), ..asked }
        }
    };
    let all = application.bound_flows.contains(&BoundFlow::ForAgent);
    let chain = if all { Chain::All } else { Chain::First };
    Ok(Asked { proof: ProofSource::Agent(Agent { id, chain }), ..asked })
}

fn for_managed_identity(ManagedIdentityFlow { identity }: ManagedIdentityFlow, scopes: Scopes) -> Asked {
    let api_id = match identity {
        ManagedIdentityId::SystemAssigned => ApiId::ManagedIdentitySystemAssigned,
        _ => ApiId::ManagedIdentityUserAssigned,
    };
    let asked = from_cache(Owner::Application, scopes, api_id);
    let grant = Some(Grant::ManagedIdentity);
    Asked { grant, reads: Reads::AccessToken, proof: ProofSource::Platform(identity), ..asked }
}

fn required(scopes: Scopes) -> Result<Scopes, Error> {
    if scopes.is_empty() {
        return Err(Error::invalid_request(
            "scopes_required_client_credentials",
            "No scope is given; it says what the token is for, such as https://graph.microsoft.com/.default.",
        ));
    }
    Ok(scopes)
}

fn checked_assertion(assertion: UserAssertion) -> Result<UserAssertion, Error> {
    require_text(&assertion.assertion, "invalid_user_assertion", "No user assertion is given.")?;
    Ok(assertion)
}

fn checked_user(user: NamedUser) -> Result<User, Error> {
    match user {
        NamedUser::ObjectId(id) => User::object_id(&id),
        NamedUser::Username(name) => User::username(&name),
    }
}

fn require_text(text: &str, code: &str, message: &str) -> Result<(), Error> {
    match present(Some(text)) {
        Some(_) => Ok(()),
        None => Err(Error::invalid_request(code, message)),
    }
}

fn flow_parameters(flow: ClientFlow) -> Result<Vec<(&'static str, String)>, Error> {
    let attribute_tokens = attribute_tokens(&flow.attribute_tokens)?;
    let parameters = [
        ("fmi_path", flow.fmi_path),
        ("attributes", flow.attributes),
        ("attribute_tokens", Some(attribute_tokens)),
    ];
    let given =
        |(name, value): (_, Option<String>)| Some((name, value.filter(|value| !value.trim().is_empty())?));
    Ok(parameters.into_iter().filter_map(given).collect())
}

fn attribute_tokens(tokens: &[String]) -> Result<String, Error> {
    let tokens = tokens.iter().map(|token| token.trim()).filter(|token| !token.is_empty());
    let mut tokens = sorted(tokens.map(String::from).collect(), str::cmp);
    if tokens.iter().any(|token| token.contains(char::is_whitespace)) {
        return Err(Error::invalid_request(
            "invalid_attribute_token",
            "An attribute token holds white space; give each token on its own.",
        ));
    }
    tokens.dedup();
    Ok(tokens.join(" "))
}

/// What MSAL sends for a redirect URI where none is configured.
const UNSET_REDIRECT_URI: &str = "https://replyUrlNotSet";
