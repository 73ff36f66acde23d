//! What must hold, as far as it can be told from outside: a little model of who has signed in where, and the rules for every
//! token that an application gets.

use std::collections::{BTreeMap, BTreeSet};

use symbolon_protocol::error::{Error, ErrorKind};
use symbolon_protocol::request::{AccessToken, TokenSource};

use crate::authority::TENANTS;
use crate::host::Call;
use crate::want::{Owner, Want, Who};
use crate::world::World;

/// A request, by what it asks for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) party: usize,
    pub(crate) what: String,
}

/// A pause that the authority asked for.
pub(crate) struct Pause {
    pub(crate) until_ms: u64,
    /// When it was asked for, in the order of everything that happens.
    pub(crate) event: u64,
    /// How many times the clock had jumped.
    pub(crate) jumps: usize,
}

/// A token as an application got it.
#[derive(Clone, Copy)]
pub(crate) struct Served<'a> {
    pub(crate) token: &'a str,
    /// Unix seconds.
    pub(crate) expires_on: u64,
    pub(crate) key_id: Option<&'a str>,
    pub(crate) is_cached: bool,
}

/// An application and one of its users or processes.
type Place = (usize, Owner);

#[derive(Default)]
pub(crate) struct Reference {
    pub(crate) under_way: BTreeSet<Identity>,
    pub(crate) pauses: BTreeMap<Identity, Pause>,
    sent: BTreeMap<Identity, u64>,
    /// Who can be acquired for without the user, and since when.
    held: BTreeMap<Place, (usize, u64)>,
    /// When a process was stopped or an account removed last.
    ended: BTreeMap<Place, u64>,
    revoked: BTreeMap<usize, u64>,
    /// Who may be the user of a process: with the call that said so, while it is under way or wasn't stopped since.
    initiators: BTreeMap<Place, BTreeMap<u64, usize>>,
    /// The same of processes that were stopped.
    former: BTreeSet<(Place, usize)>,
    calls: BTreeSet<u64>,
}

impl Reference {
    pub(crate) fn count(&mut self, identity: &Identity) {
        *self.sent.entry(identity.clone()).or_default() += 1;
    }

    /// How many token requests an application has sent whose text has `part`.
    pub(crate) fn requests(&self, party: usize, part: &str) -> u64 {
        let of = |identity: &Identity| identity.party == party && identity.what.contains(part);
        self.sent.iter().filter(|(identity, _)| of(identity)).map(|(_, count)| count).sum()
    }

    pub(crate) fn held(&self) -> Vec<(usize, Owner, usize)> {
        self.held.iter().map(|((party, owner), (user, _))| (*party, *owner, *user)).collect()
    }

    pub(crate) fn is_ended(&self, party: usize, owner: Owner) -> bool {
        self.ended.contains_key(&(party, owner)) && !self.initiators.contains_key(&(party, owner))
    }

    pub(crate) fn begins(&mut self, call: &Call, want: &Want) {
        self.calls.insert(call.event);
        if let Who::Initiate { session, user, .. } = want.who {
            let place = (call.party, Owner::Session(session));
            self.initiators.entry(place).or_default().insert(call.event, user);
        }
    }

    pub(crate) fn ends(&mut self, call: &Call) {
        self.calls.remove(&call.event);
    }

    /// A process is stopped, or an account removed.
    pub(crate) fn end(&mut self, party: usize, owner: Owner, event: u64) {
        let place = (party, owner);
        self.held.remove(&place);
        self.ended.insert(place, event);
        // Whoever was on the way to begin it anew may go on, and bring it.
        if let Some(initiators) = self.initiators.get_mut(&place) {
            self.former.extend(initiators.values().map(|user| (place, *user)));
            initiators.retain(|call, _| self.calls.contains(call));
            if initiators.is_empty() {
                self.initiators.remove(&place);
            }
        }
    }

    pub(crate) fn revoke(&mut self, user: usize, event: u64) {
        self.held.retain(|_, (holder, _)| *holder != user);
        self.revoked.insert(user, event);
    }

    /// What the user of this is worth to the application isn't known any more.
    pub(crate) fn forget(&mut self, party: usize, owner: Owner) {
        self.held.remove(&(party, owner));
    }
}

impl World {
    /// Checks a token, however the application came by it.
    pub(crate) fn check_token(&self, call: &Call, want: &Want, token: &Served<'_>) {
        let Some(given) = self.authority.given(token.token) else {
            return self.violation(format!("{want:?} got {:?}, which nobody gave", token.token));
        };
        let wrong =
            |what: &str| self.violation(format!("{want:?} of app-{} got {what}: {given:?}", call.party));
        if given.party != call.party {
            wrong("a token of another application");
        }
        if !want.at_provider && given.tenant != TENANTS[want.tenant] {
            wrong("a token of another directory");
        }
        if given.scope != want.scope() {
            wrong("a token for something else");
        }
        self.check_user(call, want, given.user, &wrong);
        if token.key_id != given.thumbprint.as_deref() || want.is_bound() != given.thumbprint.is_some() {
            wrong("a token that is bound to something else");
        }
        self.check_age(call, token, given.expires_ms, &wrong);
        if want.forced && token.is_cached && given.begun < call.event {
            wrong("a token of before the call, which wanted a fresh one");
        }
        let ended =
            want.owner().and_then(|owner| self.reference.borrow().ended.get(&(call.party, owner)).copied());
        if ended.is_some_and(|ended| ended < call.event && given.begun < ended) {
            wrong("a token of before the end");
        }
    }

    fn check_user(&self, call: &Call, want: &Want, user: Option<usize>, wrong: &dyn Fn(&str)) {
        let is_right = match want.who {
            Who::Client { .. } => user.is_none(),
            Who::OnBehalfOf { user: wanted, .. }
            | Who::Initiate { user: wanted, .. }
            | Who::SignIn { user: wanted, .. }
            | Who::Silent { user: wanted } => user == Some(wanted),
            Who::InSession { session } => {
                let reference = self.reference.borrow();
                let place = (call.party, Owner::Session(session));
                let mut initiators = reference.initiators.get(&place).into_iter().flat_map(BTreeMap::values);
                let was_stopped = reference.ended.get(&place).is_some_and(|ended| *ended > call.event);
                initiators.any(|known| Some(*known) == user)
                    || was_stopped && user.is_some_and(|user| reference.former.contains(&(place, user)))
            }
        };
        if !is_right {
            wrong("a token of another user");
        }
    }

    fn check_age(&self, call: &Call, token: &Served<'_>, expires_ms: u64, wrong: &dyn Fn(&str)) {
        let least = self.least_clock_ms(call.clock_ms, call.jumps);
        let is_jumpless = self.jumps() == call.jumps;
        let latest = if is_jumpless { self.clock_ms() } else { least };
        if token.expires_on * 1_000 <= latest {
            wrong("an expired token");
        }
        if self.jumps() == 0 && expires_ms <= self.now_ms() {
            wrong("a token that the authority doesn't take any more");
        }
        if self.jumps() == 0 && token.expires_on * 1_000 > self.clock_ms() - self.now_ms() + expires_ms {
            wrong("a token that is believed to live for longer than it does");
        }
    }

    /// Takes the end of an acquisition into the model.
    pub(crate) fn succeeded(&self, call: &Call, want: &Want, token: &AccessToken) {
        let reference = &mut *self.reference.borrow_mut();
        let Some(owner) = want.owner().filter(|_| token.source == TokenSource::IdentityProvider) else {
            return;
        };
        let place = (call.party, owner);
        let is_later = |event: Option<&u64>| event.is_some_and(|event| *event > call.event);
        if let Some((holder, _)) = reference.held.get(&place)
            && is_later(reference.revoked.get(holder))
        {
            // Of before the sign-out, it may have taken the place of what came after.
            reference.held.remove(&place);
        }
        let (Who::Initiate { user, .. } | Who::SignIn { user, .. }) = want.who else { return };
        if is_later(reference.ended.get(&place)) || is_later(reference.revoked.get(&user)) {
            return;
        }
        if let Some((holder, since)) = reference.held.get(&place).filter(|(holder, _)| *holder != user) {
            self.violation(format!(
                "{want:?}, which was user {holder}'s since {since}, became user {user}'s"
            ));
        }
        reference.held.insert(place, (user, self.event()));
    }

    pub(crate) fn failed(&self, call: &Call, want: &Want, error: &Error) {
        let Some(owner) = want.owner() else { return };
        // What was exchanged for an answer that can't be used, or that never arrived, may be used up.
        if want.at_provider && [ErrorKind::OutcomeUnknown, ErrorKind::ProtocolViolation].contains(&error.kind)
        {
            return self.reference.borrow_mut().forget(call.party, owner);
        }
        let says_lost = error.kind == ErrorKind::InteractionRequired
            || ["no_tokens_found", "obo_cache_key_not_in_cache_error"].contains(&error.code.as_str());
        let is_user = |user: usize| match want.who {
            Who::Silent { user: wanted } => wanted == user,
            Who::InSession { .. } => true,
            _ => false,
        };
        let held = self.reference.borrow().held.get(&(call.party, owner)).copied();
        if says_lost
            && !self.is_small
            && held.is_some_and(|(user, since)| since < call.event && is_user(user))
        {
            self.violation(format!("app-{} lost the refresh token of {want:?}: {error}", call.party));
        }
    }
}
