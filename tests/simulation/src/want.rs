//! What applications ask for.

use symbolon_protocol::request::{
    AssertionKind, AuthorizationCode, ClientFlow, Flow, Options, Request, Scheme, SessionStart, UserAssertion,
};
use symbolon_resources::cache::{RequestDigest, ReuseMap};

use crate::authority::{TENANTS, home_account_id, user_assertion};

/// A user's sign-in or a long-running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Account(usize),
    Session(usize),
}

/// For whom a token is wanted, and what proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Client {
        bound: bool,
    },
    OnBehalfOf {
        user: usize,
        assertion: usize,
    },
    Initiate {
        session: usize,
        user: usize,
        assertion: usize,
        search_in_cache: bool,
    },
    InSession {
        session: usize,
    },
    /// With a code of this number.
    SignIn {
        user: usize,
        code: u64,
    },
    Silent {
        user: usize,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    pub(crate) who: Who,
    pub(crate) tenant: usize,
    pub(crate) scope: usize,
    pub(crate) forced: bool,
    pub(crate) at_provider: bool,
}

impl Want {
    /// Whose the token is, where it goes with a sign-in or a process.
    pub(crate) fn owner(&self) -> Option<Owner> {
        match self.who {
            Who::Client { .. } | Who::OnBehalfOf { .. } => None,
            Who::Initiate { session, .. } | Who::InSession { session } => Some(Owner::Session(session)),
            Who::SignIn { user, .. } | Who::Silent { user } => Some(Owner::Account(user)),
        }
    }

    /// The flow and whose it is: the same request of another flow is another request.
    pub(crate) fn flow(&self) -> String {
        let name = match self.who {
            Who::Client { .. } => "for client",
            Who::OnBehalfOf { .. } => "on behalf of",
            Who::Initiate { .. } => "initiate",
            Who::InSession { .. } => "in process",
            Who::SignIn { .. } => "by code",
            Who::Silent { .. } => "silent",
        };
        format!("{name} {:?}", self.owner())
    }

    pub(crate) fn is_bound(&self) -> bool {
        self.who == Who::Client { bound: true }
    }

    pub(crate) fn scope(&self) -> String {
        match self.who {
            Who::Client { .. } => format!("api-{}/.default", self.scope),
            _ => format!("api-{}/read", self.scope),
        }
    }

    /// Whether an earlier answer may be given again.
    pub(crate) fn is_repeatable(&self) -> bool {
        !self.forced && !matches!(self.who, Who::Initiate { .. } | Who::SignIn { .. })
    }

    /// Stands for everything that makes a difference to the answer.
    pub(crate) fn digest(&self, reuse: &ReuseMap) -> RequestDigest {
        reuse.request().field(format!("{:?} {} {}", self.who, self.tenant, self.scope)).finish()
    }

    pub(crate) fn request(&self) -> Request {
        let assertion = |user, assertion| UserAssertion {
            assertion: user_assertion(user, assertion),
            kind: AssertionKind::Jwt,
        };
        let flow = match self.who {
            Who::Client { .. } => Flow::ForClient(ClientFlow::default()),
            Who::OnBehalfOf { user, assertion: name } => Flow::OnBehalfOf(assertion(user, name)),
            Who::Initiate { session, user, assertion: name, search_in_cache } => {
                Flow::InitiateLongRunningProcess(SessionStart {
                    assertion: assertion(user, name),
                    session_key: Some(session_key(session)),
                    search_in_cache,
                })
            }
            Who::InSession { session } => Flow::AcquireInLongRunningProcess(session_key(session)),
            Who::SignIn { user, code } => Flow::ByAuthorizationCode(AuthorizationCode {
                code: format!("code {user} {code}"),
                redirect_uri: "https://app.test/back".into(),
                offline_access: true,
                ..AuthorizationCode::default()
            }),
            Who::Silent { user } => Flow::Silent(home_account_id(user, self.at_provider)),
        };
        let tenant_id = (!self.at_provider && self.tenant > 0).then(|| TENANTS[self.tenant].to_owned());
        Request {
            flow,
            scopes: vec![self.scope()],
            scheme: if self.is_bound() { Scheme::MtlsPop } else { Scheme::Bearer },
            options: Options { tenant_id, force_refresh: self.forced, ..Options::default() },
        }
    }
}

pub(crate) fn session_key(session: usize) -> String {
    format!("session-{session}")
}
