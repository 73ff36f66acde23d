//! What is made of the answer.

use alloc::boxed::Box;
use alloc::string::String;

use super::{EXPIRY_BUFFER_SECONDS, Leg, State, Step, World};
use crate::acquisition::Action;
use crate::cache::AccessTokenItem;
use crate::cloud::Environment;
use crate::error::{Error, ErrorKind};
use crate::grant::Grant;
use crate::kept::{self, Identity};
use crate::plan::{Owner, Session, TokenBinding};
use crate::random;
use crate::request::{AccessToken, Account, CacheRefreshReason, Reuse, TokenSource};
use crate::response::TokenResponse;
use crate::scopes::Scopes;

impl Leg {
    pub(super) fn store(
        &mut self,
        environment: &Environment,
        endpoint: String,
        region: Option<String>,
        response: &TokenResponse,
        world: &World,
    ) -> Step {
        let identity = Identity::of(response, self.redeemed_account());
        let checked = self.check_identity(&identity, response);
        if let Err(error) = checked {
            return self.fail(error);
        }
        let replaces_session = self.session_owner.is_none();
        let kept = kept::Kept {
            plan: &self.plan,
            environment,
            key_id: self.key_id(),
            identity: &identity,
            response,
            now: world.now_seconds(),
        };
        let item = kept.access_token();
        let (store, key) = kept.store(&item, replaces_session, self.leads || self.holds_refresh_token);
        self.leads &= self.holds_refresh_token;
        let token = AccessToken {
            token_endpoint: Some(endpoint),
            refresh_reason: self.reason,
            region,
            tenant_id: identity
                .tenant_id
                .clone()
                .or_else(|| Some(item.realm.clone()).filter(|realm| !realm.is_empty())),
            id_token: response.id_token.clone(),
            spa_code: response.spa_code.clone(),
            ..self.token(item, key, TokenSource::IdentityProvider, world)
        };
        self.proceed(State::Storing(Box::new(token)), Action::Put(store))
    }

    /// The account whose refresh token was redeemed, or which was asked for.
    pub(super) fn redeemed_account(&self) -> Option<&str> {
        match (&self.plan.owner, &self.redeemed) {
            (Owner::Account(Some(id)), _) => Some(id),
            (_, Some(Grant::RefreshToken { home_account_id, .. })) => home_account_id.as_deref(),
            _ => None,
        }
    }

    /// Nobody gets another user's token, and no process changes its user.
    pub(super) fn check_identity(&self, identity: &Identity, response: &TokenResponse) -> Result<(), Error> {
        let is_other =
            |known: &str| identity.is_said && !identity.home_account_id.eq_ignore_ascii_case(known);
        if self.redeemed_account().is_some_and(is_other) {
            return Err(Error::new(
                ErrorKind::ProtocolViolation,
                "user_mismatch",
                "The authority answered with a token of another user than was asked for.",
            ));
        }
        if self.session_owner.as_ref().is_some_and(|owner| is_other(&owner.home_account_id)) {
            return Err(kept::session_key_in_use());
        }
        let is_by_refresh_token = matches!(self.plan.grant, Some(Grant::RefreshToken { .. }));
        if is_by_refresh_token && response.refresh_token.is_none() {
            return Err(Error::new(
                ErrorKind::ProtocolViolation,
                "refresh_token_missing",
                "The authority redeemed the refresh token and gave no other one to keep.",
            ));
        }
        Ok(())
    }

    pub(super) fn token(
        &self,
        item: AccessTokenItem,
        cache_key: Option<String>,
        source: TokenSource,
        world: &World,
    ) -> AccessToken {
        let session_key = match &self.plan.owner {
            Owner::Session(Session { key, is_long_running: true, .. }) => Some(key.clone()),
            _ => None,
        };
        AccessToken {
            reuse: self.reuse(&item, world),
            account: account(&item),
            token: item.secret,
            token_type: self.plan.token_type().into(),
            expires_on: item.expires_on,
            refresh_on: item.refresh_on,
            scopes: Scopes::from_response(&item.target).iter().map(String::from).collect(),
            tenant_id: Some(item.realm).filter(|realm| !realm.is_empty()),
            key_id: item.key_id.filter(|_| matches!(self.plan.binding, TokenBinding::Certificate)),
            correlation_id: self.plan.correlation_id.clone(),
            source,
            token_endpoint: None,
            refresh_reason: CacheRefreshReason::NotApplicable,
            region: self.region(false).map(|region| region.as_str().into()),
            id_token: None,
            spa_code: None,
            session_key,
            cache_key,
        }
    }

    /// Renewals are spread over ten minutes, so that processes that got their tokens together don't renew them together.
    pub(super) fn reuse(&self, item: &AccessTokenItem, world: &World) -> Option<Reuse> {
        let until = item.expires_on.saturating_sub(EXPIRY_BUFFER_SECONDS);
        let jitter = random::symmetric(&world.seed, random::Purpose::RefreshJitter, REFRESH_JITTER_SECONDS);
        (self.plan.is_repeatable && until > world.now_seconds()).then(|| Reuse {
            until,
            refresh_from: item.refresh_on.map(|refresh_on| refresh_on.saturating_add_signed(jitter)),
        })
    }
}

fn account(item: &AccessTokenItem) -> Option<Account> {
    (!item.home_account_id.is_empty()).then(|| Account {
        home_account_id: item.home_account_id.clone(),
        environment: item.environment.clone(),
        username: item.username.clone().unwrap_or_default(),
    })
}

const REFRESH_JITTER_SECONDS: u32 = 300;
