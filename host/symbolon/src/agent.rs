//! Agents, and the users they act for.

use std::fmt;

use symbolon_resources::cache::RequestHasher;
use uuid::Uuid;

use crate::engine;

/// A user whom an application names: by object id or by user principal name, never by both. `Debug` doesn't show the name.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum User {
    /// By object id.
    ObjectId(Uuid),
    /// By user principal name, such as `alice@contoso.com`.
    Username(String),
}

impl User {
    pub(crate) fn digest(&self, hasher: &mut RequestHasher<'_>) {
        match self {
            Self::ObjectId(id) => hasher.number(0).field(id.as_bytes()),
            Self::Username(name) => hasher.number(1).field(name),
        };
    }

    pub(crate) fn to_guest(&self) -> engine::User {
        match self {
            Self::ObjectId(id) => engine::User::ObjectId(id.to_string()),
            Self::Username(name) => engine::User::Username(name.clone()),
        }
    }
}

impl From<Uuid> for User {
    fn from(object_id: Uuid) -> Self {
        Self::ObjectId(object_id)
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ObjectId(id) => f.debug_tuple("ObjectId").field(id).finish(),
            Self::Username(_) => f.debug_tuple("Username").finish_non_exhaustive(),
        }
    }
}

/// An agent of an application, which is its blueprint, and for whom it acts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AgentIdentity {
    agent_app_id: String,
    subject: AgentSubject,
}

/// For whom an agent acts, as far as the agent says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AgentSubject {
    App,
    User(User),
}

impl AgentIdentity {
    /// The agent itself, or on behalf of a user whose token is given with the request. `agent_app_id` is the agent's
    /// application (client) id.
    #[doc(alias = "WithAgentIdentity")]
    pub fn app_only(agent_app_id: impl Into<String>) -> Self {
        Self { agent_app_id: agent_app_id.into(), subject: AgentSubject::App }
    }

    /// The agent for the user of this user principal name.
    #[doc(alias = "WithAgentUserIdentity")]
    pub fn with_user_principal_name(agent_app_id: impl Into<String>, upn: impl Into<String>) -> Self {
        Self::with_user(agent_app_id, User::Username(upn.into()))
    }

    /// The agent for the user of this object id.
    #[doc(alias = "WithAgentUserIdentity")]
    pub fn with_user_object_id(agent_app_id: impl Into<String>, object_id: Uuid) -> Self {
        Self::with_user(agent_app_id, User::ObjectId(object_id))
    }

    /// The agent for this user.
    pub fn with_user(agent_app_id: impl Into<String>, user: User) -> Self {
        Self { agent_app_id: agent_app_id.into(), subject: AgentSubject::User(user) }
    }

    /// The agent's application (client) id.
    pub fn agent_app_id(&self) -> &str {
        &self.agent_app_id
    }

    /// The user it acts for, where it says so itself.
    pub fn user(&self) -> Option<&User> {
        match &self.subject {
            AgentSubject::App => None,
            AgentSubject::User(user) => Some(user),
        }
    }

    pub(crate) fn subject(&self) -> &AgentSubject {
        &self.subject
    }
}
