//! What the first level's keys ask for, so that a partition can be searched for it.
//!
//! Whoever acquires tokens makes the keys; here they are only read. Each states the members that the wanted entry must have, one
//! after the other, with its length before it:
//!
//! ```text
//! access token   {environment}{client id}{realm}{token type}{key id or -}{subject}{agent}{components}scope
//! refresh token  refresh-token;{environment}{client id}{subject}{agent}{components}
//! session owner  session-owner;{client id}{session key}
//! group          account-group;{client id}{home account id}   or   session;{client id}{session key}
//!
//! {member}       length in bytes, ":", the member
//! {subject}      "-" for the application; "a", "s", "u" or "o" and the {account}, {session}, {user name} or {object id}
//! {agent}        "a" for an agent's chain of tokens, else "-"
//! {components}   their number, ";", and a {name} and a {value} for each
//! ```
//!
//! A key of another form asks for nothing that a shared cache could have.

use super::keys::{application_partition, same};
use crate::cache::{AccessToken, Components, Entry, RefreshToken};

/// What one key asks for.
pub(super) enum Question<'a> {
    /// An access token with one scope.
    AccessToken {
        class: Class<'a>,
        realm: &'a str,
        token_type: &'a str,
        key_id: Option<&'a str>,
        /// In lower case.
        scope: &'a str,
    },
    /// A refresh token.
    RefreshToken { class: Class<'a> },
    /// The account that a long-running process belongs to.
    SessionOwner { session_key: &'a str },
}

/// The members that access tokens and refresh tokens are both asked for by.
pub(super) struct Class<'a> {
    environment: &'a str,
    client_id: &'a str,
    subject: Subject<'a>,
    /// Without the marks that tell a parameter of the query from one of the body: MSAL has none.
    components: Vec<(&'a str, &'a str)>,
}

#[derive(Clone, Copy)]
enum Subject<'a> {
    Application,
    Account(&'a str),
    Session(&'a str),
    /// A user whom an agent names; no partition goes by that.
    AgentUser,
}

impl<'a> Question<'a> {
    /// None for a key that asks for nothing that a shared cache could have.
    pub(super) fn parse(key: &'a str) -> Option<Self> {
        let mut rest = Rest(key);
        if let Some(members) = key.strip_prefix("refresh-token;") {
            rest = Rest(members);
            let (environment, client_id) = (rest.member()?, rest.member()?);
            let class = rest.class(environment, client_id)?;
            return rest.0.is_empty().then_some(Self::RefreshToken { class });
        }
        if let Some(members) = key.strip_prefix("session-owner;") {
            rest = Rest(members);
            rest.member()?;
            let session_key = rest.member()?;
            return rest.0.is_empty().then_some(Self::SessionOwner { session_key });
        }
        let (environment, client_id) = (rest.member()?, rest.member()?);
        let (realm, token_type) = (rest.member()?, rest.member()?);
        let key_id = if rest.take("-") { None } else { Some(rest.member()?) };
        let class = rest.class(environment, client_id)?;
        Some(Self::AccessToken { class, realm, token_type, key_id, scope: rest.0 })
    }

    /// The partition where the answer would lie. None where it would lie in no partition that could be told.
    pub(super) fn partition(&self) -> Option<String> {
        match self {
            Self::AccessToken { class, realm, key_id, .. } => match class.subject {
                Subject::Application => {
                    Some(application_partition(*key_id, class.client_id, realm, &class.components))
                }
                subject => subject.partition(),
            },
            Self::RefreshToken { class } => class.subject.partition(),
            Self::SessionOwner { session_key } => Some((*session_key).to_owned()),
        }
    }

    /// Whether the entry is what is asked for, by everything that entries say of themselves.
    pub(super) fn is_answered_by(&self, entry: Entry<'_>) -> bool {
        match (self, entry) {
            (Self::AccessToken { class, realm, token_type, key_id, scope }, Entry::AccessToken(token)) => {
                class.has_access_token(token)
                    && (same(token.realm, realm) || matches!(class.subject, Subject::Session(_)))
                    && same(token.token_type, token_type)
                    && token.key_id.map(str::to_ascii_lowercase) == key_id.map(str::to_ascii_lowercase)
                    && token.target.split_ascii_whitespace().any(|other| same(other, scope))
            }
            (Self::RefreshToken { class }, Entry::RefreshToken(token)) => class.has_refresh_token(token),
            (Self::SessionOwner { .. }, Entry::Account(_)) => true,
            _ => false,
        }
    }

    /// All keys under which an entry that answers this question is found in the first level: a token answers for each of
    /// its scopes.
    pub(super) fn keys_of_answer(&self, key: &str, entry: Entry<'_>) -> Vec<String> {
        let (Self::AccessToken { scope, .. }, Entry::AccessToken(token)) = (self, entry) else {
            return vec![key.to_owned()];
        };
        let class = key.strip_suffix(scope).unwrap_or(key);
        let scopes = token.target.split_ascii_whitespace().map(str::to_ascii_lowercase);
        scopes.map(|scope| format!("{class}{scope}")).collect()
    }

    /// The groups of an entry that answers this question.
    pub(super) fn group(&self) -> Option<String> {
        match self {
            Self::AccessToken { class, .. } | Self::RefreshToken { class } => {
                let client_id = class.client_id.to_ascii_lowercase();
                match class.subject {
                    Subject::Account(id) => Some(group("account-group;", &client_id, id)),
                    Subject::Session(key) => Some(group("session;", &client_id, key)),
                    Subject::Application | Subject::AgentUser => None,
                }
            }
            Self::SessionOwner { .. } => None,
        }
    }
}

fn group(kind: &str, client_id: &str, name: &str) -> String {
    format!("{kind}{}:{client_id}{}:{name}", client_id.len(), name.len())
}

/// A group of entries that is removed together, all in one partition.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    /// The client whose entries they are, in lower case.
    pub(super) client_id: &'a str,
    /// The key of the partition.
    pub(super) partition: &'a str,
}

impl<'a> Group<'a> {
    /// None for a group whose entries lie in many partitions.
    pub(super) fn parse(key: &'a str) -> Option<Self> {
        let members = ["account-group;", "session;"].iter().find_map(|kind| key.strip_prefix(kind))?;
        let mut rest = Rest(members);
        let (client_id, partition) = (rest.member()?, rest.member()?);
        rest.0.is_empty().then_some(Self { client_id, partition })
    }
}

impl<'a> Class<'a> {
    fn has_access_token(&self, token: AccessToken<'_>) -> bool {
        same(token.environment, self.environment)
            && same(token.client_id, self.client_id)
            && self.subject.owns(token.home_account_id, token.user_assertion_hash)
            && self.has_components(token.components)
    }

    fn has_refresh_token(&self, token: RefreshToken<'_>) -> bool {
        same(token.environment, self.environment)
            && same(token.client_id, self.client_id)
            && token.family_id.is_none_or(str::is_empty)
            && self.subject.owns(token.home_account_id, token.user_assertion_hash)
            && self.has_components(token.components)
    }

    fn has_components(&self, components: Components<'_>) -> bool {
        let mut theirs: Vec<_> = components.iter().collect();
        theirs.sort_unstable();
        theirs == self.components
    }
}

impl<'a> Subject<'a> {
    fn partition(self) -> Option<String> {
        match self {
            Self::Account(id) | Self::Session(id) => Some(id.to_owned()),
            Self::Application | Self::AgentUser => None,
        }
    }

    /// MSAL compares session keys without regard to case; they are digests, or secrets of one user.
    fn owns(self, home_account_id: &str, session: Option<&str>) -> bool {
        match self {
            Self::Application => home_account_id.is_empty() && session.is_none(),
            Self::Account(id) => home_account_id == id && session.is_none(),
            Self::Session(key) => session == Some(key),
            Self::AgentUser => false,
        }
    }
}

/// What is left of a key that is being read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn class(&mut self, environment: &'a str, client_id: &'a str) -> Option<Class<'a>> {
        let subject = self.subject()?;
        // MSAL knows no chain of an agent's: what tells its tokens apart is their client and their components.
        if !self.take("a") && !self.take("-") {
            return None;
        }
        Some(Class { environment, client_id, subject, components: self.components()? })
    }

    fn subject(&mut self) -> Option<Subject<'a>> {
        let (mark, rest) = self.0.split_at_checked(1)?;
        self.0 = rest;
        match mark {
            "-" => Some(Subject::Application),
            "a" => self.member().map(Subject::Account),
            "s" => self.member().map(Subject::Session),
            "u" | "o" => self.member().map(|_| Subject::AgentUser),
            _ => None,
        }
    }

    fn components(&mut self) -> Option<Vec<(&'a str, &'a str)>> {
        let count = self.number(';')?;
        let mut components = Vec::new();
        for _ in 0..count {
            let (name, value) = (self.member()?, self.member()?);
            let name = ["?%", "?", "="].iter().find_map(|mark| name.strip_prefix(mark)).unwrap_or(name);
            // The nameless one is the kind of a managed identity, which MSAL doesn't tell apart.
            if !name.is_empty() {
                components.push((name, value));
            }
        }
        components.sort_unstable();
        Some(components)
    }

    fn member(&mut self) -> Option<&'a str> {
        let length = self.number(':')?;
        let (member, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(member)
    }

    /// A number and what ends it.
    fn number(&mut self, end: char) -> Option<usize> {
        let (number, rest) = self.0.split_once(end)?;
        self.0 = rest;
        number.parse().ok()
    }

    fn take(&mut self, mark: &str) -> bool {
        let rest = self.0.strip_prefix(mark);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}
