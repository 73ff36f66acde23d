//! `symbolon:token/cache` and `facts`: in `wasi:keyvalue`, or in this instance's memory.

use alloc::string::String;
use alloc::vec::Vec;

use symbolon_wasi::cache::{Bucket, Look, Lookup, Memory, Saved};
use symbolon_wasi::seal::NONCE_BYTES;

use crate::bindings::Component;
use crate::bindings::exports::symbolon::token::cache::{self, Absence, Entry, Found, Key, Lead};
use crate::bindings::exports::symbolon::token::facts::{self, FactKind};
use crate::bindings::exports::symbolon::token::types;
use crate::bindings::wasi::keyvalue::store as keyvalue;
use crate::state::{now_unix_ms, random_bytes, state};

/// Where values are.
pub(crate) enum Store {
    Bucket(keyvalue::Bucket),
    Memory(Memory),
}

impl Store {
    pub(crate) fn memory() -> Self {
        Self::Memory(Memory::default())
    }
}

impl Bucket for Store {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        match self {
            Self::Bucket(bucket) => bucket.get(name).ok().flatten(),
            Self::Memory(memory) => memory.get(name),
        }
    }

    fn set(&mut self, name: &str, value: Vec<u8>) {
        match self {
            // What can't be stored is acquired again.
            Self::Bucket(bucket) => drop(bucket.set(name, &value)),
            Self::Memory(memory) => memory.set(name, value),
        }
    }

    fn delete(&mut self, name: &str) {
        match self {
            Self::Bucket(bucket) => drop(bucket.delete(name)),
            Self::Memory(memory) => memory.delete(name),
        }
    }

    fn nonce(&self) -> [u8; NONCE_BYTES] {
        random_bytes()
    }
}

/// Nobody waits for anybody here: an instance serves one request at a time and sees no other instance.
pub(crate) struct Ticket;

impl cache::GuestTicket for Ticket {}

impl cache::Guest for Component {
    type Ticket = Ticket;

    fn find(lookup: cache::Lookup) -> Found {
        let found = match state() {
            Ok(state) if !lookup.bypass => state.cache.lock().find(Lookup {
                alternatives: &lookup.alternatives,
                expires_after: lookup.expires_after,
                expires_before: lookup.expires_before,
            }),
            _ => Look::Absent,
        };
        let absence = match found {
            Look::Hit(entry) => match serde_json::from_str::<Entry>(&entry) {
                Ok(entry) => return Found::Hit(entry),
                Err(_) => Absence::Absent,
            },
            Look::Expired => Absence::Expired,
            Look::Absent if lookup.bypass => Absence::Bypassed,
            Look::Absent => Absence::Absent,
        };
        match lookup.flight {
            Some(_) => Found::Lead(Lead { ticket: cache::Ticket::new(Ticket), absence, now: now_unix_ms() }),
            None => Found::Miss,
        }
    }

    fn put(_: Option<cache::Ticket>, replaced_groups: Vec<Key>, entries: Vec<cache::Saved>) {
        let Ok(state) = state() else { return };
        let entries: Vec<_> = entries.into_iter().filter_map(saved).collect();
        state.cache.lock().put(&replaced_groups, &entries);
    }

    fn remove_group(group: Key) -> bool {
        state().is_ok_and(|state| state.cache.lock().remove_group(&group))
    }

    fn members(group: Key) -> Vec<Entry> {
        let members = state().map(|state| state.cache.lock().members(&group)).unwrap_or_default();
        members.into_iter().filter_map(|saved| serde_json::from_str(&saved.entry).ok()).collect()
    }

    fn fail(_: cache::Ticket, _: types::Error) {}
}

fn saved(saved: cache::Saved) -> Option<(Saved, Vec<Key>)> {
    let expires_on = match &saved.entry {
        Entry::AccessToken(token) => Some(token.expires_on),
        _ => None,
    };
    let entry = serde_json::to_string(&saved.entry).ok()?;
    Some((Saved { keys: saved.keys, groups: saved.groups, expires_on, entry }, saved.replaces))
}

impl facts::Guest for Component {
    fn get(kind: FactKind, key: String) -> Option<Vec<u8>> {
        state().ok()?.cache.lock().fact(name(kind), &key, now_unix_ms())
    }

    fn put(kind: FactKind, key: String, value: Vec<u8>, ttl_ms: u64) {
        if let Ok(state) = state() {
            state.cache.lock().remember(name(kind), &key, value, now_unix_ms().saturating_add(ttl_ms));
        }
    }
}

fn name(kind: FactKind) -> &'static str {
    match kind {
        FactKind::InstanceDiscovery => "instance-discovery",
        FactKind::OidcMetadata => "oidc-metadata",
        FactKind::Region => "region",
        FactKind::Throttle => "throttle",
        FactKind::BoundRefusal => "bound-refusal",
    }
}

/// No token is sealed here: whoever is given one runs beside the protocol in one component.
pub(crate) struct Authorization;

impl types::GuestAuthorization for Authorization {}

impl types::Guest for Component {
    type Authorization = Authorization;
}
