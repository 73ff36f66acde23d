//! Refresh tokens that are good once: whoever redeems one gets another in its place, and one that is sent twice may cost the
//! user the whole session (RFC 9700 §4.14.2). So one acquisition at a time redeems, and what may be used up is forgotten.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use super::{Leg, State, Step, World};
use crate::acquisition::{Action, Entry, Found, Lookup, Saved, Store};
use crate::cache::RefreshTokenItem;
use crate::error::{Error, ErrorKind};
use crate::grant::Grant;
use crate::kept;
use crate::request::AccessToken;
use crate::response::TokenResponse;

impl Leg {
    /// Looks for a refresh token; where it is good once, when nobody else redeems it.
    pub(super) fn find_refresh_token(&mut self, keys: Vec<alloc::string::String>, world: &World) -> Step {
        let grant = Grant::RefreshToken { token: Default::default(), home_account_id: None };
        match keys.first().filter(|_| grant.is_single_use(self.plan.authority.kind())) {
            None => self.find_one(State::FindingRefreshToken, keys, world),
            Some(key) => {
                let lookup = Lookup {
                    alternatives: Vec::new(),
                    expires_after: world.now_seconds(),
                    expires_before: world.now_seconds(),
                    bypass: false,
                    flight: Some(format!("redeem {key}")),
                };
                self.proceed(State::HoldingRefreshToken, Action::Find(lookup))
            }
        }
    }

    pub(super) fn held_refresh_token(&mut self, found: Found, world: &mut World) -> Step {
        if let Found::Lead { now, .. } = found {
            self.holds_refresh_token = true;
            world.now = now;
        }
        match self.refresh_token_keys() {
            Ok(keys) => self.find_one(State::FindingRefreshToken, keys, world),
            Err(error) => self.fail(error),
        }
    }

    /// The token is stored; the flight that ended is that of the refresh token, where this one had it.
    pub(super) fn stored(&mut self, token: Box<AccessToken>) -> Step {
        let held = core::mem::take(&mut self.holds_refresh_token);
        match held && core::mem::take(&mut self.leads) {
            true => self.proceed(State::Storing(token), Action::Put(ending(Vec::new()))),
            false => Step::Done(Ok(token)),
        }
    }

    /// Lets others redeem, unless the refresh token is used up, or nobody knows: then it is nobody's.
    pub(super) fn release_refresh_token(&mut self, error: Error) -> Step {
        let is_lost = self.has_redeemed || error.kind == ErrorKind::OutcomeUnknown;
        let entry = if is_lost { self.used_up() } else { None };
        self.proceed(State::Releasing(error), Action::Put(ending(entry.into_iter().collect())))
    }

    /// An entry without a token in the place of the one that was redeemed.
    fn used_up(&self) -> Option<Saved> {
        let Some(Grant::RefreshToken { home_account_id, .. }) = &self.redeemed else { return None };
        let home_account_id = home_account_id.clone().unwrap_or_default();
        let plan = &self.plan;
        let item = RefreshTokenItem {
            environment: self.environment(false).ok()?.preferred_cache,
            client_id: plan.client_id.clone(),
            user_assertion_hash: plan.owner.session().map(|session| session.key.clone()),
            components: plan.refresh_components.clone(),
            home_account_id,
            ..RefreshTokenItem::default()
        };
        Some(Saved {
            keys: self.refresh_token_keys().ok()?,
            replaces: Vec::new(),
            partition_key: kept::partition_of_user(&plan.owner, &item.home_account_id),
            item_key: item.item_key(),
            groups: kept::groups(&plan.owner, &plan.client_id, &item.home_account_id),
            entry: Entry::RefreshToken(Box::new(item)),
        })
    }

    /// A provider that gives no other refresh token leaves the one that was redeemed as it is (RFC 6749 §6).
    pub(super) fn keep_refresh_token(&self, response: &mut TokenResponse) {
        if let (true, None, Some(Grant::RefreshToken { token, .. })) =
            (self.plan.is_at_provider(), &response.refresh_token, self.grant())
        {
            response.refresh_token = Some(token.clone());
        }
    }
}

/// Stores entries and ends the flight that was led last.
fn ending(entries: Vec<Saved>) -> Store {
    Store { entries, replaced_groups: Vec::new(), ends_flight: true }
}
