//! `symbolon:token/cache`: the token cache, seen from one application.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use symbolon_resources::cache::{
    Absence, AccessToken, Account, AppMetadata, Components, Entry, Found, IdToken, Lookup, RefreshToken,
    Saved, Ticket,
};
use tokio::time::Instant;
use wasmtime::component::Resource;

use super::bindings::symbolon::token::{cache, types};
use super::call::Call;
use super::state::State;
use crate::recorder::{CacheAnswer, Event};

/// What flights end with when they fail.
pub(crate) type FlightError = Arc<types::Error>;

/// What the guest's `ticket` stands for.
pub struct TicketHandle(Ticket<FlightError>);

impl cache::Host for State {
    async fn find(&mut self, lookup: cache::Lookup) -> wasmtime::Result<cache::Found> {
        let found = look_up(self.call()?, &lookup).await;
        self.found(found)
    }

    async fn put(
        &mut self,
        ticket: Option<Resource<TicketHandle>>,
        replaced_groups: Vec<cache::Key>,
        entries: Vec<cache::Saved>,
    ) -> wasmtime::Result<()> {
        let ticket = ticket.map(|ticket| self.table.delete(ticket)).transpose()?;
        let call = self.call()?.clone();
        let saved: Vec<_> = entries
            .iter()
            .map(|saved| Saved {
                entry: (&saved.entry).into(),
                keys: &saved.keys,
                replaces: &saved.replaces,
                groups: &saved.groups,
                partition_key: &saved.partition_key,
                item_key: &saved.item_key,
            })
            .collect();
        let leads = ticket.is_some();
        call.application.cache.put_through(ticket.map(|ticket| ticket.0), &replaced_groups, &saved).await;
        if leads {
            call.ended_lead();
        }
        call.record(|| Event::CacheStored { entries: saved.len() });
        Ok(())
    }

    async fn remove_group(&mut self, group: cache::Key) -> wasmtime::Result<bool> {
        Ok(self.call()?.application.cache.remove_group_through(&group).await)
    }

    async fn members(&mut self, group: cache::Key) -> wasmtime::Result<Vec<cache::Entry>> {
        let members = self.call()?.application.cache.members_through(&group).await;
        Ok(members.iter().map(|entry| entry.entry().into()).collect())
    }

    fn fail(&mut self, ticket: Resource<TicketHandle>, error: types::Error) -> wasmtime::Result<()> {
        let ticket = self.table.delete(ticket)?;
        let call = self.call()?;
        call.ended_lead();
        call.record(|| Event::FlightFailed { code: &error.code });
        call.application.cache.fail(ticket.0, &Arc::new(error));
        Ok(())
    }
}

/// Waits while another acquisition leads the flight.
pub(super) async fn look_up(call: &Call, lookup: &cache::Lookup) -> Found<FlightError> {
    let lookup = Lookup {
        alternatives: &lookup.alternatives,
        expires_after: lookup.expires_after,
        expires_before: lookup.expires_before,
        bypass: lookup.bypass,
        renews: lookup.bypass && call.renews,
        flight: lookup.flight.as_deref(),
    };
    let (began, joined) = (Instant::now(), AtomicU32::new(0));
    let joins = || {
        joined.fetch_add(1, Ordering::Relaxed);
    };
    let found = call.application.cache.find_joining(lookup, &joins).await;
    call.record(|| Event::CacheLookedUp {
        answer: answer(&found),
        joined: joined.load(Ordering::Relaxed),
        duration: began.elapsed(),
    });
    found
}

impl State {
    /// What was found, as the guest gets it.
    pub(super) fn found(&mut self, found: Found<FlightError>) -> wasmtime::Result<cache::Found> {
        Ok(match found {
            Found::Hit(entry) => cache::Found::Hit(entry.entry().into()),
            Found::Lead { ticket, absence, now_unix_ms } => {
                self.call()?.began_lead(ticket.watch());
                let ticket = self.table.push(TicketHandle(ticket))?;
                cache::Found::Lead(cache::Lead { ticket, absence: absence.into(), now: now_unix_ms })
            }
            Found::Failed(error) => cache::Found::Failed((*error).clone()),
            Found::Miss => cache::Found::Miss,
        })
    }
}

impl cache::HostTicket for State {
    fn drop(&mut self, ticket: Resource<TicketHandle>) -> wasmtime::Result<()> {
        self.table.delete(ticket)?;
        self.call()?.ended_lead();
        Ok(())
    }
}

/// What is recorded of a look into the cache.
fn answer<E>(found: &Found<E>) -> CacheAnswer {
    match found {
        Found::Hit(_) => CacheAnswer::Hit,
        Found::Lead { absence: Absence::Absent, .. } => CacheAnswer::Absent,
        Found::Lead { absence: Absence::Expired, .. } => CacheAnswer::Expired,
        Found::Lead { absence: Absence::Bypassed, .. } => CacheAnswer::Bypassed,
        Found::Failed(_) => CacheAnswer::Failed,
        Found::Miss => CacheAnswer::Miss,
    }
}

impl From<symbolon_resources::cache::Absence> for cache::Absence {
    fn from(absence: symbolon_resources::cache::Absence) -> Self {
        match absence {
            symbolon_resources::cache::Absence::Absent => Self::Absent,
            symbolon_resources::cache::Absence::Expired => Self::Expired,
            symbolon_resources::cache::Absence::Bypassed => Self::Bypassed,
        }
    }
}

impl From<Entry<'_>> for cache::Entry {
    fn from(entry: Entry<'_>) -> Self {
        match entry {
            Entry::AccessToken(token) => Self::AccessToken(cache::AccessToken {
                home_account_id: token.home_account_id.into(),
                environment: token.environment.into(),
                client_id: token.client_id.into(),
                realm: token.realm.into(),
                target: token.target.into(),
                secret: token.secret.into(),
                token_type: token.token_type.into(),
                key_id: token.key_id.map(Into::into),
                user_assertion_hash: token.user_assertion_hash.map(Into::into),
                cached_at: token.cached_at,
                expires_on: token.expires_on,
                extended_expires_on: token.extended_expires_on,
                refresh_on: token.refresh_on,
                components: token.components.to_vec(),
                username: token.username.map(Into::into),
            }),
            Entry::RefreshToken(token) => Self::RefreshToken(cache::RefreshToken {
                home_account_id: token.home_account_id.into(),
                environment: token.environment.into(),
                client_id: token.client_id.into(),
                family_id: token.family_id.map(Into::into),
                secret: token.secret.into(),
                user_assertion_hash: token.user_assertion_hash.map(Into::into),
                components: token.components.to_vec(),
            }),
            Entry::IdToken(token) => Self::IdToken(cache::IdToken {
                home_account_id: token.home_account_id.into(),
                environment: token.environment.into(),
                client_id: token.client_id.into(),
                realm: token.realm.into(),
                secret: token.secret.into(),
            }),
            Entry::Account(account) => Self::Account(cache::Account {
                home_account_id: account.home_account_id.into(),
                environment: account.environment.into(),
                realm: account.realm.into(),
                local_account_id: account.local_account_id.into(),
                username: account.username.into(),
                name: account.name.map(Into::into),
            }),
            Entry::AppMetadata(metadata) => Self::AppMetadata(cache::AppMetadata {
                environment: metadata.environment.into(),
                client_id: metadata.client_id.into(),
                family_id: metadata.family_id.map(Into::into),
            }),
        }
    }
}

impl<'a> From<&'a cache::Entry> for Entry<'a> {
    fn from(entry: &'a cache::Entry) -> Self {
        match entry {
            cache::Entry::AccessToken(token) => Self::AccessToken(AccessToken {
                home_account_id: &token.home_account_id,
                environment: &token.environment,
                client_id: &token.client_id,
                realm: &token.realm,
                target: &token.target,
                secret: &token.secret,
                token_type: &token.token_type,
                key_id: token.key_id.as_deref(),
                user_assertion_hash: token.user_assertion_hash.as_deref(),
                cached_at: token.cached_at,
                expires_on: token.expires_on,
                extended_expires_on: token.extended_expires_on,
                refresh_on: token.refresh_on,
                components: Components::new(&token.components),
                username: token.username.as_deref(),
            }),
            cache::Entry::RefreshToken(token) => Self::RefreshToken(RefreshToken {
                home_account_id: &token.home_account_id,
                environment: &token.environment,
                client_id: &token.client_id,
                family_id: token.family_id.as_deref(),
                secret: &token.secret,
                user_assertion_hash: token.user_assertion_hash.as_deref(),
                components: Components::new(&token.components),
            }),
            cache::Entry::IdToken(token) => Self::IdToken(IdToken {
                home_account_id: &token.home_account_id,
                environment: &token.environment,
                client_id: &token.client_id,
                realm: &token.realm,
                secret: &token.secret,
            }),
            cache::Entry::Account(account) => Self::Account(Account {
                home_account_id: &account.home_account_id,
                environment: &account.environment,
                realm: &account.realm,
                local_account_id: &account.local_account_id,
                username: &account.username,
                name: account.name.as_deref(),
            }),
            cache::Entry::AppMetadata(metadata) => Self::AppMetadata(AppMetadata {
                environment: &metadata.environment,
                client_id: &metadata.client_id,
                family_id: metadata.family_id.as_deref(),
            }),
        }
    }
}
