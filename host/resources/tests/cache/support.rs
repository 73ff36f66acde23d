//! A cache on a clock that stands still, and entries to put into it.

use std::sync::Arc;

use symbolon_resources::cache::{
    AccessToken, ApplicationCache, ApplicationId, CacheLimits, Cached, Components, Entry, Found, Lookup,
    RefreshToken, Saved, Ticket, TokenCache,
};
use symbolon_resources::clock::ManualClock;

/// The time at which every test begins.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) type Application = ApplicationCache<String>;

pub(crate) fn cache(limits: CacheLimits) -> (Arc<TokenCache<String>>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(NOW * 1000));
    (TokenCache::new(limits, clock.clone()), clock)
}

/// The only application of a cache of its own.
pub(crate) fn application() -> (Application, Arc<ManualClock>) {
    let (cache, clock) = cache(CacheLimits::default());
    (cache.namespace(ApplicationId::new("app")), clock)
}

pub(crate) fn token(secret: &str, expires_on: u64) -> AccessToken<'_> {
    AccessToken {
        home_account_id: "",
        environment: "login.microsoftonline.com",
        client_id: "00000000-0000-0000-0000-00000000c11e",
        realm: "00000000-0000-0000-0000-000000007e4a",
        target: "https://graph.microsoft.com/.default",
        secret,
        token_type: "Bearer",
        username: None,
        key_id: None,
        user_assertion_hash: None,
        cached_at: NOW,
        expires_on,
        extended_expires_on: None,
        refresh_on: None,
        components: Components::default(),
    }
}

pub(crate) fn refresh_token(secret: &str) -> RefreshToken<'_> {
    RefreshToken {
        home_account_id: "uid.utid",
        environment: "login.microsoftonline.com",
        client_id: "00000000-0000-0000-0000-00000000c11e",
        family_id: None,
        secret,
        user_assertion_hash: None,
        components: Components::default(),
    }
}

pub(crate) fn keys<K: ToString>(keys: impl IntoIterator<Item = K>) -> Vec<String> {
    keys.into_iter().map(|key| key.to_string()).collect()
}

/// Puts an access token that lasts an hour under one key.
pub(crate) fn put(application: &Application, ticket: Option<Ticket<String>>, key: &str, secret: &str) {
    put_entry(application, ticket, &[key], Entry::AccessToken(token(secret, NOW + 3600)));
}

pub(crate) fn put_entry(
    application: &Application,
    ticket: Option<Ticket<String>>,
    under: &[&str],
    entry: Entry<'_>,
) {
    application.put(
        ticket,
        &[],
        &[Saved { entry, keys: &keys(under), replaces: &[], groups: &[], partition_key: "", item_key: "" }],
    );
}

/// Puts refresh tokens, each under the key that is its secret, into a group, in the place of what was in it where asked.
pub(crate) fn put_in(
    application: &Application,
    ticket: Option<Ticket<String>>,
    replaces: bool,
    group: &str,
    secrets: &[&str],
) {
    let groups = keys([group]);
    let under: Vec<_> = secrets.iter().map(|secret| keys([secret])).collect();
    let saved: Vec<_> = secrets
        .iter()
        .zip(&under)
        .map(|(secret, keys)| Saved {
            entry: Entry::RefreshToken(refresh_token(secret)),
            keys,
            replaces: &[],
            groups: &groups,
            partition_key: "",
            item_key: "",
        })
        .collect();
    application.put(ticket, if replaces { &groups } else { &[] }, &saved);
}

/// Puts an access token that lasts an hour under one key, into a group.
pub(crate) fn put_token_in(application: &Application, group: &str, key: &str, secret: &str) {
    let (keys, groups) = (keys([key]), keys([group]));
    let entry = Entry::AccessToken(token(secret, NOW + 3600));
    application.put(
        None,
        &[],
        &[Saved { entry, keys: &keys, replaces: &[], groups: &groups, partition_key: "", item_key: "" }],
    );
}

/// What is in a group, oldest first.
pub(crate) fn members(application: &Application, group: &str) -> Vec<String> {
    application.members(group).iter().map(|entry| secret(entry)).collect()
}

/// Finds by one key, and names the flight after it.
pub(crate) async fn find(application: &Application, key: &str) -> Found<String> {
    find_with(application, key, false).await
}

/// Looks past the cache.
pub(crate) async fn find_anew(application: &Application, key: &str) -> Found<String> {
    find_with(application, key, true).await
}

async fn find_with(application: &Application, key: &str, bypass: bool) -> Found<String> {
    let alternatives = [keys([key])];
    application.find(Lookup { alternatives: &alternatives, bypass, flight: Some(key), ..wanted() }).await
}

/// A token that is good now and doesn't last longer than a day.
pub(crate) fn wanted() -> Lookup<'static> {
    Lookup {
        alternatives: &[],
        expires_after: NOW,
        expires_before: NOW + 86_400,
        bypass: false,
        renews: false,
        flight: None,
    }
}

pub(crate) fn secret(entry: &Cached) -> String {
    match entry.entry() {
        Entry::AccessToken(token) => token.secret.into(),
        Entry::RefreshToken(token) => token.secret.into(),
        Entry::IdToken(token) => token.secret.into(),
        Entry::Account(_) | Entry::AppMetadata(_) => String::new(),
    }
}

pub(crate) fn hit(found: Found<String>) -> String {
    match found {
        Found::Hit(entry) => secret(&entry),
        other => panic!("not a hit: {other:?}"),
    }
}

pub(crate) fn lead(found: Found<String>) -> Ticket<String> {
    match found {
        Found::Lead { ticket, .. } => ticket,
        other => panic!("not a lead: {other:?}"),
    }
}
