//! A bound connection that is preferred, and what is done without where there is none.

use alloc::format;
use alloc::string::String;

use super::{Connection, Leg, State, Step, World};
use crate::acquisition::{Action, Fact, FactKind};
use crate::credential::{BoundUse, CredentialKind, Purpose};
use crate::plan::TokenBinding;

impl Leg {
    /// What tells whether the connection can be bound, where the credential prefers that and it isn't known yet.
    pub(super) fn undecided(&self) -> Option<Fact> {
        (self.gives_way() && self.connection == Connection::Undecided).then(|| self.refusal())
    }

    /// Whether the request goes on without a bound connection where there is none.
    pub(super) fn gives_way(&self) -> bool {
        let prefers =
            self.credential.as_ref().is_some_and(|credential| credential.use_bound == BoundUse::Preferred);
        prefers
            && self.agent_assertion.is_none()
            && self.connection != Connection::Unbound
            && !matches!(self.plan.binding, TokenBinding::Certificate)
    }

    pub(super) fn recalled(&mut self, is_refused: bool, world: &mut World) -> Step {
        if is_refused {
            return self.go_unbound(world);
        }
        match self.obstacle() {
            Some(reason) => self.remember(reason),
            None => {
                self.connection = Connection::Bound;
                self.attempt(world)
            }
        }
    }

    /// Why the connection can't be bound, as far as that is known without asking.
    fn obstacle(&self) -> Option<String> {
        if !self.binds() {
            return Some("the flow isn't among Symbolon:BoundFlows".into());
        }
        self.environment(true).err().map(|error| error.message)
    }

    /// Keeps the reason in mind, so that the next requests of this kind don't try.
    pub(super) fn remember(&mut self, reason: String) -> Step {
        let remember =
            Action::Remember { fact: self.refusal(), value: reason.into_bytes(), ttl_ms: REFUSAL_TTL_MS };
        self.proceed(State::Remembering, remember)
    }

    /// Authorities enable bound connections for a client, one kind of request at a time.
    fn refusal(&self) -> Fact {
        let host = self.environment(true).or_else(|_| self.environment(false));
        let host = host.map_or_else(|error| error.code, |environment| environment.network_host);
        let credential = self.credential.as_ref().map_or("", |credential| &credential.name);
        let request = self.plan.api_id as u32;
        let key = format!("{credential} at {host} for {} by {request}", self.plan.client_id);
        Fact { kind: FactKind::BoundRefusal, key }
    }

    /// A certificate is as good without; an assertion is another one.
    pub(super) fn go_unbound(&mut self, world: &mut World) -> Step {
        self.connection = Connection::Unbound;
        let is_assertion =
            self.credential.as_ref().is_some_and(|it| it.kind == CredentialKind::SignedAssertion);
        match is_assertion {
            true => self.proceed(State::Selecting, Action::Select(Purpose::AuthenticateUnbound)),
            false => self.attempt(world),
        }
    }
}

/// For how long a refusal stands: authorities enable bound connections by hand.
const REFUSAL_TTL_MS: u64 = 10 * 60 * 1000;
