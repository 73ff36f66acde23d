//! One request of each flow.

use symbolon_protocol::request::{
    AgentFlow, AgentSubject, AssertionKind, AuthorizationCode, FederatedUser, Flow, NamedUser, RefreshToken,
    Request, SessionStart, UserAssertion, UsernamePassword,
};

use super::directory::ALICE;
use super::host::Host;
use super::{ask, request};

pub(crate) const AGENT: &str = "ab18ca07-d139-4840-8b3b-4be9610c6ed5";
pub(crate) const SESSION: &str = "session";

/// The flows that bring a token of the application or its agent.
pub(crate) fn of_applications() -> Vec<Request> {
    vec![request(), ask(for_agent(AgentSubject::App))]
}

/// The flows that bring a token of Alice.
pub(crate) fn of_users() -> Vec<Request> {
    let user = || NamedUser::ObjectId(ALICE.oid.into());
    let password = UsernamePassword { username: ALICE.upn.into(), password: "the-password".into() };
    let federated = FederatedUser { user: user(), assertion: "the-credential".into() };
    [
        Flow::OnBehalfOf(assertion("one")),
        initiate(),
        Flow::AcquireInLongRunningProcess(SESSION.into()),
        Flow::Silent(ALICE.home_account_id()),
        Flow::ByRefreshToken(RefreshToken("the-refresh-token".into())),
        sign_in(),
        Flow::ByUsernamePassword(password),
        Flow::ByUserFederatedIdentityCredential(federated),
        for_agent(AgentSubject::User(user())),
        for_agent(AgentSubject::Assertion(assertion("one"))),
    ]
    .map(ask)
    .into()
}

/// Makes Alice known to the host, with a token for another scope and a long-running process.
pub(crate) fn prepare(host: &mut Host) {
    for flow in [sign_in(), initiate()] {
        let request = Request { scopes: vec!["prepared/x".into()], ..ask(flow) };
        host.acquire(request).expect("a token");
    }
}

pub(crate) fn assertion(name: &str) -> UserAssertion {
    UserAssertion { assertion: ALICE.token(name), kind: AssertionKind::Jwt }
}

fn initiate() -> Flow {
    Flow::InitiateLongRunningProcess(SessionStart {
        assertion: assertion("for a process"),
        session_key: Some(SESSION.into()),
        search_in_cache: false,
    })
}

fn sign_in() -> Flow {
    Flow::ByAuthorizationCode(AuthorizationCode {
        code: "the-code".into(),
        code_verifier: Some("the-verifier".into()),
        offline_access: true,
        ..AuthorizationCode::default()
    })
}

fn for_agent(subject: AgentSubject) -> Flow {
    Flow::ForAgent(AgentFlow { agent: AGENT.into(), subject })
}
