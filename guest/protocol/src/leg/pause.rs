//! Pauses that the authority asked for: kept before anything is signed, remembered after a refusal.

use alloc::string::{String, ToString};

use super::{Leg, State, Step, World};
use crate::acquisition::{Action, Fact, FactKind};
use crate::error::Error;
use crate::plan::{Owner, digest};
use crate::throttle::Mark;
use crate::user::User;

impl Leg {
    /// Looks for a pause that is to be kept; once, because it would also have ended the first attempt.
    pub(super) fn check_pause(&mut self) -> Step {
        self.checked_pause = true;
        let fact = pause(self.pause_key());
        self.proceed(State::CheckingPause { of_client: false }, Action::Recall(fact))
    }

    pub(super) fn checked_pause(&mut self, of_client: bool, mark: Option<&[u8]>, world: &mut World) -> Step {
        let host = self.plan.authority.host();
        let error = mark.and_then(Mark::decode).and_then(|mark| mark.error(host, world.now));
        match error {
            Some(error) => self.fail(error),
            None if of_client => self.begin(world),
            None => {
                let fact = pause(self.plan.client_id.clone());
                self.proceed(State::CheckingPause { of_client: true }, Action::Recall(fact))
            }
        }
    }

    /// Ends with the authority's refusal, and remembers the pause that it asks for.
    pub(super) fn give_up(&mut self, error: Error, world: &World) -> Step {
        let Some(mark) = Mark::of(&error, &self.pause_key(), world.now) else { return self.fail(error) };
        let ttl_ms = mark.until.saturating_sub(mark.at);
        let action = Action::Remember { fact: pause(mark.key.clone()), value: mark.encode(), ttl_ms };
        self.proceed(State::Marking(error, mark), action)
    }

    pub(super) fn marked(&mut self, error: Error, mark: Mark) -> Step {
        let fact = pause(self.plan.client_id.clone());
        self.proceed(State::Widening(error, mark), Action::Recall(fact))
    }

    pub(super) fn widen(&mut self, error: Error, mark: &Mark, earlier: Option<&[u8]>) -> Step {
        let mark = mark.of_client(earlier.and_then(Mark::decode).as_ref());
        let fact = pause(self.plan.client_id.clone());
        let action = Action::Remember { fact, value: mark.encode(), ttl_ms: mark.ttl_ms() };
        self.proceed(State::Widened(error), action)
    }

    /// What is refused together: requests of one client to one authority for the same scopes, in the same flow, for the same
    /// user and path. Claims make no difference.
    fn pause_key(&self) -> String {
        let plan = &self.plan;
        let user = match (&plan.owner, &plan.grant) {
            (Owner::Application, _) => "",
            (Owner::Account(Some(id)), _) => id,
            (Owner::Account(None), grant) => grant.as_ref().map_or("", |grant| grant.subject()),
            (Owner::Session(session), _) => &session.key,
            (Owner::AgentUser(User::ObjectId(user) | User::Username(user)), _) => user,
        };
        let fmi_path = plan.flow_parameters.iter().find(|(name, _)| *name == "fmi_path");
        digest([
            plan.client_id.as_str(),
            &plan.authority.canonical(),
            &plan.scopes.to_request_string(),
            &(plan.api_id as u16).to_string(),
            fmi_path.map_or("", |(_, path)| path),
            plan.client_assertion_fmi_path.as_deref().unwrap_or_default(),
            user,
        ])
    }
}

fn pause(key: String) -> Fact {
    Fact { kind: FactKind::Throttle, key }
}
