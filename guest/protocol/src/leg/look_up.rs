//! The look into the cache before the request.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use super::{EXPIRY_BUFFER_SECONDS, Leg, SessionOwner, State, Step, World};
use crate::acquisition::{Absence, Action, Entry, Found, Lookup};
use crate::cache::{
    AccessTokenItem, AccountItem, Subject, access_token_alternatives, session_assertion_key, session_group,
    session_owner_key,
};
use crate::credential::require_tenant;
use crate::error::Error;
use crate::grant::Grant;
use crate::kept;
use crate::plan::{Owner, ProofSource, Reads, Session, TokenBinding};
use crate::random;
use crate::request::{AccessToken, CacheRefreshReason, Reuse, TokenSource};
use crate::response::TEN_YEARS_SECONDS;
use crate::scopes::Scopes;

impl Leg {
    /// Binds the question to the selected certificate.
    pub(super) fn bind(&mut self, world: &mut World) -> Step {
        if let (TokenBinding::CertificateIfBound, Some(credential)) = (&self.plan.binding, &self.credential) {
            self.plan.binding = match credential.binds_connections() {
                true => TokenBinding::Certificate,
                false => TokenBinding::Bearer,
            };
        }
        if !matches!(self.plan.binding, TokenBinding::Certificate) {
            return self.find(world);
        }
        let checked = self.credential().and_then(|credential| {
            let authentication = self.choose(credential)?;
            require_tenant(&self.plan.configured_authority)?;
            self.environment(authentication.mtls)
        });
        match checked {
            Ok(_) => self.find(world),
            Err(error) => self.fail(error),
        }
    }

    /// Whether the challenge is about a token of a managed identity: what renews that token is told which one was refused.
    pub(super) fn wants_refused_token(&self) -> bool {
        matches!(self.plan.proof, ProofSource::Platform(_))
            && self.plan.is_challenged
            && self.plan.token_to_refresh.is_none()
    }

    pub(super) fn find_refused(&mut self, world: &World) -> Step {
        match self.alternatives() {
            Ok(alternatives) => self.find_one(State::FindingRefused, alternatives.concat(), world),
            Err(error) => self.fail(error),
        }
    }

    pub(super) fn found_refused(&mut self, found: &Found, world: &mut World) -> Step {
        if let Found::Hit(Entry::AccessToken(item)) = found
            && self.is_wanted(item, world)
        {
            self.refused_token = Some(sha256_hexadecimal(&item.secret));
        }
        self.find(world)
    }

    pub(super) fn find(&mut self, world: &mut World) -> Step {
        let result = self.lookup(world).map(|lookup| self.proceed(State::Finding, Action::Find(lookup)));
        self.or_fail(result)
    }

    /// Look-ups go by the original authority: where the request would go, by mutual TLS or to a region, changes nothing.
    ///
    /// What reads nothing leads a flight all the same: it is how the cache knows what came first.
    pub(super) fn lookup(&self, world: &mut World) -> Result<Lookup, Error> {
        let alternatives = match self.is_starting() || self.plan.reads == Reads::Nothing {
            true => Vec::new(),
            false => self.alternatives()?,
        };
        Ok(Lookup {
            bypass: self.distrusts_cache || self.plan.bypass.is_some() || alternatives.is_empty(),
            flight: self.flight(&alternatives, world),
            alternatives,
            expires_after: world.now_seconds() + EXPIRY_BUFFER_SECONDS,
            expires_before: world.now_seconds() + TEN_YEARS_SECONDS,
        })
    }

    /// The name of the flight that brings the token; none where this request leads one already.
    pub(super) fn flight(&self, alternatives: &[Vec<String>], world: &mut World) -> Option<String> {
        if self.leads {
            return None;
        }
        // Who initiates a long-running process goes alone, so that nobody takes another user's key.
        if let (true, Some(session)) = (self.is_starting(), self.plan.owner.session()) {
            return Some(session_group(&self.plan.client_id, &session.key));
        }
        Some(match alternatives.first().filter(|keys| !keys.is_empty()) {
            Some(keys) => self.plan.flight(keys, self.distrusts_cache),
            None => {
                world.flights += 1;
                random::uuid(&world.seed, random::Purpose::Flight, world.flights)
            }
        })
    }

    /// Whether a long-running process is initiated of which isn't known yet whose it is.
    pub(super) fn is_starting(&self) -> bool {
        !self.knows_owner && self.plan.owner.session().is_some_and(|session| session.start.is_some())
    }

    pub(super) fn find_owner(&mut self, world: &World) -> Step {
        let Some(session) = self.plan.owner.session() else { return self.fail(self.plan.nothing_cached()) };
        let key = session_owner_key(&self.plan.client_id, &session.key);
        self.find_one(State::FindingOwner, [key].into(), world)
    }

    /// A process that belongs to another user isn't initiated anew; what it has is used for the same user only.
    pub(super) fn found_owner(&mut self, found: Found, world: &mut World) -> Step {
        self.knows_owner = true;
        let Found::Hit(Entry::Account(owner)) = found else {
            self.plan.reads = Reads::Nothing;
            return self.absent(world);
        };
        let is_same_user = self.is_of(&owner);
        if is_same_user == Some(false) {
            return self.fail(kept::session_key_in_use());
        }
        self.session_owner = Some(SessionOwner { home_account_id: owner.home_account_id });
        match (&self.plan.owner, self.plan.reads) {
            (_, Reads::Nothing) => self.absent(world),
            (Owner::Session(Session { key, start: Some(start), .. }), _) if is_same_user.is_none() => {
                let key = session_assertion_key(&self.plan.client_id, key, &start.own_key);
                self.find_one(State::FindingAssertion, [key].into(), world)
            }
            _ => self.find(world),
        }
    }

    /// An assertion that doesn't say whose it is is of the same user if it is the same.
    pub(super) fn found_assertion(&mut self, found: &Found, world: &mut World) -> Step {
        if matches!(found, Found::Hit(Entry::Account(_))) {
            return self.find(world);
        }
        self.plan.reads = Reads::Nothing;
        self.absent(world)
    }

    /// Whether the assertion is of this user, as far as it says. Object ids are the directory's own.
    pub(super) fn is_of(&self, owner: &AccountItem) -> Option<bool> {
        let Owner::Session(Session { start: Some(start), .. }) = &self.plan.owner else { return None };
        let subject = start.subject.as_ref()?;
        let is_same_directory = subject.tid.as_deref()?.eq_ignore_ascii_case(&owner.realm);
        (is_same_directory && subject.oid.is_some())
            .then(|| subject.same_user(&owner.local_account_id, &owner.realm))
    }

    pub(super) fn alternatives(&self) -> Result<Vec<Vec<String>>, Error> {
        let aliases = self.environment(false)?.aliases;
        let Some(subject) = self.plan.owner.subject() else { return Ok(Vec::new()) };
        let class = self.plan.class(subject, "", self.plan.realm(), self.key_id());
        Ok(access_token_alternatives(&class, &aliases, &self.plan.scopes))
    }

    pub(super) fn find_one(&mut self, state: State, keys: Vec<String>, world: &World) -> Step {
        let lookup = Lookup {
            alternatives: keys.into_iter().map(|key| [key].into()).collect(),
            expires_after: world.now_seconds(),
            expires_before: world.now_seconds() + TEN_YEARS_SECONDS,
            bypass: false,
            flight: None,
        };
        self.proceed(state, Action::Find(lookup))
    }

    pub(super) fn found(&mut self, found: Found, world: &mut World) -> Step {
        match found {
            Found::Hit(Entry::AccessToken(item)) if self.is_wanted(&item, world) => {
                if self.is_to_refresh(&item) {
                    return self.distrust_cache(world);
                }
                Step::Done(Ok(Box::new(self.cached(*item, world))))
            }
            Found::Hit(_) => self.distrust_cache(world),
            // Another user's failure to initiate a process is none of this one's.
            Found::Failed(_) if self.is_starting() => self.find(world),
            Found::Failed(error) => self.fail(*error),
            Found::Miss => self.absent(world),
            Found::Lead { absence, now } => {
                self.leads = true;
                world.now = now;
                self.reason = self.reason_of(absence);
                self.absent(world)
            }
        }
    }

    pub(super) fn reason_of(&self, absence: Absence) -> CacheRefreshReason {
        match absence {
            _ if self.plan.reads == Reads::Nothing && self.plan.bypass.is_none() => {
                CacheRefreshReason::NotApplicable
            }
            Absence::Absent => CacheRefreshReason::NoCachedAccessToken,
            Absence::Expired => CacheRefreshReason::Expired,
            Absence::Bypassed => self.plan.bypass.unwrap_or(match self.plan.token_to_refresh {
                Some(_) => CacheRefreshReason::ForceRefreshOrClaims,
                None => CacheRefreshReason::NoCachedAccessToken,
            }),
        }
    }

    /// An entry that doesn't answer the question counts as absent. Once it is looked past; if what another flight
    /// brings doesn't answer it either, this request goes its own way.
    pub(super) fn distrust_cache(&mut self, world: &mut World) -> Step {
        if core::mem::replace(&mut self.distrusts_cache, true) {
            self.absent(world)
        } else {
            self.find(world)
        }
    }

    /// Whether the entry is what was asked for in every respect. Keys may come from elsewhere, so they prove nothing.
    pub(super) fn is_wanted(&self, item: &AccessTokenItem, world: &World) -> bool {
        let plan = &self.plan;
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        let target = Scopes::from_response(&item.target);
        let wanted = plan.scopes.significant();
        let is_any_realm = matches!(plan.owner, Owner::Session(_)) && plan.authority.is_multi_tenant();
        plan.owner.is_of(item)
            && same(&item.client_id, &plan.client_id)
            && (is_any_realm || same(&item.realm, plan.realm()))
            && self
                .environment(false)
                .is_ok_and(|known| known.aliases.iter().any(|alias| same(alias, &item.environment)))
            && same(&item.token_type, plan.token_type())
            && match (item.key_id.as_deref(), self.key_id()) {
                (Some(found), Some(wanted)) => same(found, wanted),
                (found, wanted) => found.is_none() && wanted.is_none(),
            }
            && item.components == plan.components
            && !wanted.is_empty()
            && wanted.iter().all(|scope| target.contains(scope))
            && !item.secret.is_empty()
            && item.expires_on > world.now_seconds() + EXPIRY_BUFFER_SECONDS
    }

    /// Whether it is the token that the caller doesn't want any more.
    pub(super) fn is_to_refresh(&self, item: &AccessTokenItem) -> bool {
        let Some(unwanted) = &self.plan.token_to_refresh else { return false };
        *unwanted == sha256_hexadecimal(&item.secret)
    }

    pub(super) fn cached(&self, item: AccessTokenItem, world: &World) -> AccessToken {
        let subject = self.plan.owner.subject().unwrap_or(Subject::Application);
        let class = self.plan.class(subject, &item.environment, self.plan.realm(), self.key_id());
        let key = class.keys(&self.plan.scopes).into_iter().next();
        let token = self.token(item, key, TokenSource::Cache, world);
        let is_due = |reuse: &Reuse| reuse.refresh_from.is_some_and(|due| due <= world.now_seconds());
        let refresh_reason = match token.reuse.as_ref().is_some_and(is_due) {
            true => CacheRefreshReason::ProactivelyRefreshed,
            false => CacheRefreshReason::NotApplicable,
        };
        AccessToken { refresh_reason, ..token }
    }

    /// No access token: a refresh token brings one, unless the caller looks past the cache and has something better.
    pub(super) fn absent(&mut self, world: &mut World) -> Step {
        if self.is_starting() {
            return self.find_owner(world);
        }
        let is_forced = self.plan.bypass == Some(CacheRefreshReason::ForceRefreshOrClaims);
        let redeems = self.plan.reads == Reads::AnyToken && (self.plan.grant.is_none() || !is_forced);
        match self.refresh_token_keys() {
            Ok(keys) if redeems => self.find_refresh_token(keys, world),
            _ => self.begin(world),
        }
    }

    pub(super) fn refresh_token_keys(&self) -> Result<Vec<String>, Error> {
        let aliases = self.environment(false)?.aliases;
        let Some(subject) = self.plan.owner.subject() else { return Ok(Vec::new()) };
        let key = |environment: &String| self.plan.refresh_class(subject, environment).key();
        Ok(aliases.iter().map(key).collect())
    }

    pub(super) fn found_refresh_token(&mut self, found: Found, world: &mut World) -> Step {
        if let Found::Hit(Entry::RefreshToken(item)) = found
            && item.client_id.eq_ignore_ascii_case(&self.plan.client_id)
            && !item.secret.is_empty()
        {
            let home_account_id = Some(item.home_account_id).filter(|id| !id.is_empty());
            self.redeemed = Some(Grant::RefreshToken { token: item.secret, home_account_id });
        }
        self.begin(world)
    }
}

fn sha256_hexadecimal(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}
