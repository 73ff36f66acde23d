//! Processes that share a store, as far as the cache can tell: each has a first level and connections of its own.

use std::sync::Arc;
use std::time::Duration;

use symbolon_resources::cache::{
    AccessToken, ApplicationCache, ApplicationId, CacheLimits, Components, Entry, Found, Lookup,
    RefreshToken, Saved, Ticket, TokenCache,
};
use symbolon_resources::clock::{Clock as _, SystemClock};
use symbolon_resources::second_level::{
    KeyRing, RedisOptions, Sealing, SecondLevelStatistics, SecondLevels, TokenCacheOptions, TokenCacheStore,
};
use tokio::time::Instant;

use crate::redis_server::RedisServer;

pub(crate) type Application = ApplicationCache<String>;

/// One process.
pub(crate) struct Process {
    cache: Arc<TokenCache<String>>,
    second_levels: SecondLevels,
    options: TokenCacheOptions,
    pub(crate) app: Application,
}

impl Process {
    pub(crate) fn new(options: &TokenCacheOptions) -> Self {
        let cache = TokenCache::new(CacheLimits::default(), Arc::new(SystemClock));
        let second_levels = SecondLevels::new(Arc::new(SystemClock));
        let app = application(&cache, &second_levels, options, "app");
        Self { cache, second_levels, options: options.clone(), app }
    }

    pub(crate) fn on(server: &RedisServer) -> Self {
        Self::new(&redis(&server.url()))
    }

    pub(crate) fn application(&self, id: &str) -> Application {
        application(&self.cache, &self.second_levels, &self.options, id)
    }

    pub(crate) fn statistics(&self) -> SecondLevelStatistics {
        self.second_levels.statistics()
    }
}

fn application(
    cache: &Arc<TokenCache<String>>,
    second_levels: &SecondLevels,
    options: &TokenCacheOptions,
    id: &str,
) -> Application {
    let id = ApplicationId::new(id);
    let second_level = second_levels.open(options, &id).expect("a second level");
    cache.namespace(id).with_second_level(second_level)
}

/// What docs/cache.md says that a user must be allowed.
pub(crate) const RIGHTS: &str = "~symbolon:* +mget +set +del +pexpire +zadd +zrem +zremrangebyscore +zrangebyscore +xadd \
                                 +xrange +xrevrange +xread +eval +get";

/// Makes a user `cache` with the password `pass`, with those rights and further ones.
pub(crate) fn add_user(server: &RedisServer, further: &str) {
    let rights = RIGHTS.split_whitespace().chain(further.split_whitespace());
    let user: Vec<_> = ["ACL", "SETUSER", "cache", "on", ">pass"].into_iter().chain(rights).collect();
    assert_eq!(server.cli(&user), "OK");
}

pub(crate) fn sealing(keys: &[u8]) -> Sealing {
    let keys: Vec<_> = keys.iter().map(|byte| [*byte; 32]).collect();
    Sealing::Sealed(KeyRing::new(&keys).expect("a key"))
}

pub(crate) fn redis(url: &str) -> TokenCacheOptions {
    let redis = RedisOptions::parse(url).expect("a URL");
    TokenCacheOptions::new(TokenCacheStore::Redis(redis), sealing(&[1]))
}

/// The same with something changed.
pub(crate) fn redis_with(url: &str, change: impl FnOnce(&mut RedisOptions)) -> TokenCacheOptions {
    let mut options = redis(url);
    if let TokenCacheStore::Redis(redis) = &mut options.store {
        change(redis);
    }
    options
}

/// The same with time enough for connections that are many on a machine that is busy.
pub(crate) fn patient(mut options: TokenCacheOptions) -> TokenCacheOptions {
    if let TokenCacheStore::Redis(redis) = &mut options.store {
        (redis.timeout, redis.connect_timeout) = (Duration::from_secs(4), Duration::from_secs(8));
    }
    options
}

/// A connection beside those of the cache.
pub(crate) async fn raw(server: &RedisServer) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("a connection")
}

/// All names in the store, but that of the stream of removals.
pub(crate) async fn names(server: &RedisServer) -> Vec<String> {
    let names: Vec<String> =
        redis::cmd("KEYS").arg("*").query_async(&mut raw(server).await).await.expect("the names");
    names.into_iter().filter(|name| !name.ends_with("removals")).collect()
}

pub(crate) fn now() -> u64 {
    SystemClock.now_unix()
}

pub(crate) fn token(secret: &str) -> AccessToken<'_> {
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
        cached_at: now(),
        expires_on: now() + 3600,
        extended_expires_on: None,
        refresh_on: None,
        components: Components::default(),
    }
}

pub(crate) fn refresh_token(secret: &str) -> Entry<'_> {
    Entry::RefreshToken(RefreshToken {
        home_account_id: "uid.utid",
        environment: "login.microsoftonline.com",
        client_id: "00000000-0000-0000-0000-00000000c11e",
        family_id: None,
        secret,
        user_assertion_hash: None,
        components: Components::default(),
    })
}

pub(crate) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Brings an entry under keys, with groups.
pub(crate) async fn bring(
    app: &Application,
    ticket: Option<Ticket<String>>,
    entry: Entry<'_>,
    keys: &[&str],
    groups: &[&str],
) {
    let (keys, groups) = (strings(keys), strings(groups));
    let saved = Saved { entry, keys: &keys, replaces: &[], groups: &groups, partition_key: "", item_key: "" };
    app.put_through(ticket, &[], &[saved]).await;
}

/// Brings an access token under one key.
pub(crate) async fn bring_token(app: &Application, ticket: Option<Ticket<String>>, key: &str, secret: &str) {
    bring(app, ticket, Entry::AccessToken(token(secret)), &[key], &[]).await;
}

pub(crate) async fn find(app: &Application, keys: &[&str]) -> Found<String> {
    find_as(app, keys, false, false).await
}

pub(crate) async fn find_as(app: &Application, keys: &[&str], bypass: bool, renews: bool) -> Found<String> {
    let alternatives = [strings(keys)];
    app.find(Lookup { bypass, renews, flight: keys.first().copied(), ..lookup(&alternatives) }).await
}

pub(crate) fn lookup(alternatives: &[Vec<String>]) -> Lookup<'_> {
    Lookup {
        alternatives,
        expires_after: now() + 300,
        expires_before: now() + 10 * 365 * 24 * 3600,
        bypass: false,
        renews: false,
        flight: None,
    }
}

pub(crate) fn secret(found: &Found<String>) -> Option<String> {
    match found {
        Found::Hit(entry) => Some(match entry.entry() {
            Entry::AccessToken(token) => token.secret.to_owned(),
            Entry::RefreshToken(token) => token.secret.to_owned(),
            _ => String::new(),
        }),
        _ => None,
    }
}

/// The secret under a key, if there is one; nobody is left leading.
pub(crate) async fn look(app: &Application, key: &str) -> Option<String> {
    secret(&find(app, &[key]).await)
}

pub(crate) async fn lead(app: &Application, key: &str) -> Ticket<String> {
    match find(app, &[key]).await {
        Found::Lead { ticket, .. } => ticket,
        found => panic!("{found:?}"),
    }
}

/// An acquisition: finds a token, or brings one whose secret is the key. Returns how long that took.
pub(crate) async fn acquire(app: &Application, key: &str) -> Duration {
    let began = Instant::now();
    match find(app, &[key]).await {
        Found::Lead { ticket, .. } => bring_token(app, Some(ticket), key, key).await,
        found => assert_eq!(secret(&found).as_deref(), Some(key), "{found:?}"),
    }
    began.elapsed()
}

/// Waits until it is so, for half a minute.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}
