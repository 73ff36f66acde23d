//! MSAL's partitions in a real Redis server, beside others who write them.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[path = "../../../tests/end-to-end/src/redis_server.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the end-to-end tests")]
mod redis_server;

#[path = "../../../tests/end-to-end/src/redis_cluster.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the end-to-end tests")]
mod redis_cluster;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, cmd};
use serde_json::{Value, json};
use symbolon_protocol::cache::{
    AccessTokenClass, AccessTokenItem, Components, RefreshTokenClass, RefreshTokenItem, Subject,
    account_group,
};
use symbolon_protocol::scopes::Scopes;
use symbolon_resources::cache::{
    AccessToken, ApplicationCache, ApplicationId, CacheLimits, Entry, Found, Lookup, RefreshToken, Saved,
    Ticket, TokenCache,
};
use symbolon_resources::clock::{Clock, ManualClock, SystemClock};
use symbolon_resources::second_level::{
    MsalOptions, RedisOptions, RedisTopology, Sealing, SecondLevelStatistics, SecondLevels,
    TokenCacheOptions, TokenCacheStore, try_store,
};

use redis_cluster::RedisCluster;
use redis_server::RedisServer;

const ALICE: &str = "alice.home";
const CLIENT: &str = "client";
const TICKS_OF_1970: i64 = 621_355_968_000_000_000;

/// One process: with a first level and a connection of its own.
struct Process {
    app: ApplicationCache<String>,
    second_levels: SecondLevels,
}

impl Process {
    fn new(options: &TokenCacheOptions) -> Self {
        Self::at(options, Arc::new(SystemClock))
    }

    fn at(options: &TokenCacheOptions, clock: Arc<dyn Clock>) -> Self {
        let cache = TokenCache::new(CacheLimits::default(), clock.clone());
        let second_levels = SecondLevels::new(clock);
        let id = ApplicationId::new("app");
        let second_level = second_levels.open(options, &id).expect("a second level");
        Self { app: cache.namespace(id).with_second_level(second_level), second_levels }
    }

    fn statistics(&self) -> SecondLevelStatistics {
        self.second_levels.statistics()
    }

    async fn look(&self, keys: Vec<String>, flight: Option<&str>) -> Found<String> {
        let lookup = Lookup {
            alternatives: &[keys],
            expires_after: 0,
            expires_before: u64::MAX,
            bypass: false,
            renews: false,
            flight,
        };
        self.app.find(lookup).await
    }

    /// The secret under these keys.
    async fn find(&self, keys: Vec<String>) -> Option<String> {
        match self.look(keys, None).await {
            Found::Hit(entry) => match entry.entry() {
                Entry::AccessToken(token) => Some(token.secret.to_owned()),
                Entry::RefreshToken(token) => Some(token.secret.to_owned()),
                _ => None,
            },
            _ => None,
        }
    }

    async fn lead(&self, keys: Vec<String>) -> Ticket<String> {
        match self.look(keys, Some("flight")).await {
            Found::Lead { ticket, .. } => ticket,
            other => panic!("{other:?}"),
        }
    }

    async fn bring(&self, ticket: Option<Ticket<String>>, coming: &Coming<'_>) {
        let groups = [account_group(CLIENT, ALICE)];
        let saved = Saved {
            entry: coming.entry(),
            keys: &coming.keys,
            replaces: &[],
            groups: &groups,
            partition_key: ALICE,
            item_key: &coming.item_key,
        };
        self.app.put_through(ticket, &[], &[saved]).await;
    }
}

fn options(server: &RedisServer) -> TokenCacheOptions {
    named(server, "app:")
}

fn named(server: &RedisServer, instance_name: &str) -> TokenCacheOptions {
    let redis = RedisOptions::parse(&server.url()).expect("a URL");
    TokenCacheOptions::new(TokenCacheStore::Msal(MsalOptions::new(redis, instance_name)), Sealing::Clear)
}

fn with_msal(options: &mut TokenCacheOptions, change: impl FnOnce(&mut MsalOptions)) {
    let TokenCacheStore::Msal(msal) = &mut options.store else { panic!("{options:?}") };
    change(msal);
}

async fn raw(server: &RedisServer) -> MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("a connection")
}

/// The partition of Alice.
async fn partition(server: &RedisServer) -> Value {
    let text: Option<String> = raw(server).await.hget(NAME, "data").await.expect("the partition");
    text.map_or(Value::Null, |text| serde_json::from_str(&text).expect("JSON"))
}

/// The secrets of a section.
fn secrets(partition: &Value, section: &str) -> BTreeSet<String> {
    let items = partition[section].as_object().into_iter().flatten();
    items.filter_map(|(_, item)| item["secret"].as_str().map(str::to_owned)).collect()
}

const NAME: &str = "app:alice.home";

/// A token for Alice.
struct Coming<'a> {
    secret: &'a str,
    scope: Option<&'a str>,
    keys: Vec<String>,
    item_key: String,
    expires_on: u64,
}

fn access_keys(scope: &str) -> Vec<String> {
    let components = Components::new();
    let class = AccessTokenClass {
        subject: Subject::Account(ALICE),
        for_agent: false,
        environment: "env",
        client_id: CLIENT,
        realm: "home",
        token_type: "Bearer",
        key_id: None,
        components: &components,
    };
    class.keys(&Scopes::new([scope]))
}

fn refresh_keys() -> Vec<String> {
    let components = Components::new();
    let class = RefreshTokenClass {
        subject: Subject::Account(ALICE),
        for_agent: false,
        environment: "env",
        client_id: CLIENT,
        components: &components,
    };
    vec![class.key()]
}

impl<'a> Coming<'a> {
    fn access_token(secret: &'a str, scope: &'a str) -> Self {
        let item = AccessTokenItem {
            home_account_id: ALICE.into(),
            environment: "env".into(),
            client_id: CLIENT.into(),
            realm: "home".into(),
            target: scope.into(),
            token_type: "Bearer".into(),
            ..AccessTokenItem::default()
        };
        let expires_on = SystemClock.now_unix() + 3600;
        Self { secret, scope: Some(scope), keys: access_keys(scope), item_key: item.item_key(), expires_on }
    }

    fn refresh_token(secret: &'a str) -> Self {
        let item = RefreshTokenItem {
            home_account_id: ALICE.into(),
            environment: "env".into(),
            client_id: CLIENT.into(),
            ..RefreshTokenItem::default()
        };
        Self { secret, scope: None, keys: refresh_keys(), item_key: item.item_key(), expires_on: 0 }
    }

    fn entry(&self) -> Entry<'_> {
        match self.scope {
            Some(scope) => Entry::AccessToken(AccessToken {
                home_account_id: ALICE,
                environment: "env",
                client_id: CLIENT,
                realm: "home",
                target: scope,
                secret: self.secret,
                token_type: "Bearer",
                username: None,
                key_id: None,
                user_assertion_hash: None,
                cached_at: 1,
                expires_on: self.expires_on,
                extended_expires_on: None,
                refresh_on: None,
                components: symbolon_resources::cache::Components::default(),
            }),
            None => Entry::RefreshToken(RefreshToken {
                home_account_id: ALICE,
                environment: "env",
                client_id: CLIENT,
                family_id: None,
                secret: self.secret,
                user_assertion_hash: None,
                components: symbolon_resources::cache::Components::default(),
            }),
        }
    }
}

#[tokio::test]
async fn a_partition_is_a_hash_as_dotnet_keeps_it() {
    for server in [RedisServer::start(), RedisServer::start_valkey(&[])].into_iter().flatten() {
        a_partition_is_a_hash_in(&server).await;
    }
}

async fn a_partition_is_a_hash_in(server: &RedisServer) {
    let (one, other) = (Process::new(&options(server)), Process::new(&options(server)));
    let coming = Coming::access_token("at", "s");
    one.bring(None, &coming).await;

    let mut redis = raw(server).await;
    let fields: BTreeMap<String, String> = redis.hgetall(NAME).await.expect("a hash");
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["absexp", "data", "sldexp"]);
    let ticks = i64::try_from(coming.expires_on).expect("a time") * 10_000_000 + TICKS_OF_1970;
    assert_eq!((&*fields["absexp"], &*fields["sldexp"]), (&*ticks.to_string(), "-1"));
    let left: i64 = redis.ttl(NAME).await.expect("a time");
    assert!((3590..=3600).contains(&left), "{left}");
    assert_eq!(other.find(access_keys("s")).await.as_deref(), Some("at"));
    assert_eq!(other.find(access_keys("other")).await, None);
    // From now on it is in the first level.
    let () = redis.del(NAME).await.expect("gone");
    assert_eq!(other.find(access_keys("s")).await.as_deref(), Some("at"));
    assert_eq!((other.statistics().hits, one.statistics().writes), (1, 1));

    // What outlives all access tokens has no end.
    one.bring(None, &coming).await;
    one.bring(None, &Coming::refresh_token("rt")).await;
    let left: i64 = redis.ttl(NAME).await.expect("a time");
    let fields: BTreeMap<String, String> = redis.hgetall(NAME).await.expect("a hash");
    assert_eq!((left, &*fields["absexp"]), (-1, "-1"));
}

#[tokio::test]
async fn a_user_needs_few_rights_and_those_are_in_the_documentation() {
    const RIGHTS: &str = "+hmget +expire +eval +hget +hset +del +persist";
    assert!(include_str!("../../../docs/cache.md").contains(RIGHTS));
    let Some(server) = RedisServer::start() else { return };
    let user: Vec<_> = "ACL SETUSER cache on >pass ~app:*".split(' ').chain(RIGHTS.split(' ')).collect();
    assert_eq!(server.cli(&user), "OK");
    let mut options = options(&server);
    with_msal(&mut options, |msal| {
        msal.lifetime.sliding_expiration = Some(Duration::from_secs(600));
        (msal.redis.user, msal.redis.password) = (Some("cache".to_owned()), Some("pass".to_owned().into()));
    });
    try_store(&options.store).await.expect("it can be used");
    let (one, other) = (Process::new(&options), Process::new(&options));
    one.bring(None, &Coming::access_token("at", "s")).await;
    one.bring(None, &Coming::refresh_token("rt")).await;
    assert_eq!(other.find(refresh_keys()).await.as_deref(), Some("rt"));
    assert!(one.app.remove_group_through(&account_group(CLIENT, ALICE)).await);
    assert_eq!(one.statistics().failures + other.statistics().failures, 0);
    assert!(server.refused_commands(&[]).is_empty());
}

#[tokio::test]
async fn the_nodes_of_a_cluster_keep_partitions() {
    let Some(cluster) = RedisCluster::start() else { return };
    for i in 0..12 {
        let mut options = named(&cluster.nodes[i % 3], &format!("{i}:"));
        with_msal(&mut options, |msal| {
            msal.redis.topology = RedisTopology::Cluster;
            // For connections to all nodes, on a machine that is busy.
            (msal.redis.timeout, msal.redis.connect_timeout) =
                (Duration::from_secs(4), Duration::from_secs(8));
        });
        try_store(&options.store).await.expect("it can be used");
        let one = Process::new(&options);
        one.bring(None, &Coming::access_token("at", "s")).await;
        one.bring(None, &Coming::refresh_token("rt")).await;
        let other = Process::new(&options);
        assert_eq!(other.find(access_keys("s")).await.as_deref(), Some("at"));
        assert_eq!(other.find(refresh_keys()).await.as_deref(), Some("rt"));
        assert_eq!(one.statistics().failures + other.statistics().failures, 0);
    }
    let sizes: Vec<usize> =
        cluster.nodes.iter().map(|node| node.cli(&["DBSIZE"]).parse().expect("a number")).collect();
    assert!(sizes.iter().all(|size| *size > 0) && sizes.iter().sum::<usize>() == 12, "{sizes:?}");
}

#[tokio::test]
async fn a_sliding_lifetime_begins_anew_when_the_partition_is_read() {
    let Some(server) = RedisServer::start() else { return };
    let mut options = options(&server);
    with_msal(&mut options, |msal| msal.lifetime.sliding_expiration = Some(Duration::from_secs(600)));
    Process::new(&options).bring(None, &Coming::refresh_token("rt")).await;
    let mut redis = raw(&server).await;
    let sldexp: i64 = redis.hget(NAME, "sldexp").await.expect("a field");
    assert_eq!(sldexp, 6_000_000_000);
    let () = redis.expire(NAME, 5).await.expect("a hash");
    // Whatever the reader is configured with.
    assert_eq!(Process::new(&self::options(&server)).find(refresh_keys()).await.as_deref(), Some("rt"));
    let left: i64 = redis.ttl(NAME).await.expect("a time");
    assert!((590..=600).contains(&left), "{left}");
}

/// Everybody adds tokens to the same partition and takes their own away again; one of them is no Symbolon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_the_same_time_lose_nothing_of_each_other() {
    const EACH: usize = 40;
    let Some(server) = RedisServer::start() else { return };
    let process = |name: &'static str| {
        let process = Process::new(&options(&server));
        async move {
            for i in 0..EACH {
                let (secret, scope) = (format!("{name} {i}"), format!("{name}/{i}"));
                process.bring(None, &Coming::access_token(&secret, &scope)).await;
                // A token that is used up goes.
                if i % 2 == 1 {
                    process.bring(None, &Coming::access_token("", &scope)).await;
                }
            }
            assert_eq!(process.statistics().dropped_writes, 0);
        }
    };
    let address = server.url();
    let writer = async move {
        let client = redis::Client::open(address).expect("a URL");
        let mut redis = client.get_multiplexed_async_connection().await.expect("a connection");
        for i in 0..EACH {
            merge(&mut redis, &format!("raw {i}"), |items| {
                items.insert(
                    format!("raw-{i}"),
                    json!({ "secret": format!("raw {i}"), "expires_on": "9999999999" }),
                );
                items.remove(&format!("raw-{}", i.wrapping_sub(1))).filter(|_| i % 2 == 1);
            })
            .await;
        }
    };
    let tasks = [tokio::spawn(process("one")), tokio::spawn(process("other")), tokio::spawn(writer)];
    for task in tasks {
        task.await.expect("it writes");
    }
    let kept = secrets(&partition(&server).await, "AccessToken");
    let expected: BTreeSet<_> = ["one", "other"]
        .iter()
        .flat_map(|name| (0..EACH).step_by(2).map(move |i| format!("{name} {i}")))
        .chain([format!("raw {}", EACH - 1)])
        .collect();
    assert_eq!(kept, expected);
}

/// Reads, changes and writes as an application of its own would, if nobody else has written meanwhile.
async fn merge(
    redis: &mut MultiplexedConnection,
    what: &str,
    change: impl Fn(&mut serde_json::Map<String, Value>),
) {
    const IF_SAME: &str = "if (redis.call('HGET', KEYS[1], 'data') or '') ~= ARGV[1] then return 0 end
        redis.call('HSET', KEYS[1], 'data', ARGV[2], 'absexp', -1, 'sldexp', -1) return 1";
    for _ in 0..10_000 {
        let before: Option<String> = redis.hget(NAME, "data").await.expect("the partition");
        let before = before.unwrap_or_default();
        let mut document: Value = serde_json::from_str(&before).unwrap_or_else(|_| json!({}));
        document["Node"] = json!(what);
        let section = document.as_object_mut().expect("an object").entry("AccessToken").or_insert(json!({}));
        change(section.as_object_mut().expect("a section"));
        let mut write = cmd("EVAL");
        write.arg(IF_SAME).arg(1).arg(NAME).arg(&before).arg(document.to_string());
        if write.query_async(redis).await.expect("an answer") {
            return;
        }
    }
    panic!("others always came first");
}

#[tokio::test]
async fn what_is_not_understood_is_left_alone_and_in_nobodys_way() {
    let Some(server) = RedisServer::start() else { return };
    let mut redis = raw(&server).await;
    for garbage in [&b"CfDJ8-encrypted-by-dotnet"[..], b"", b"[]", b"{\"AccessToken\":7}", b"\xff\xfe"] {
        let () = redis.hset(NAME, "data", garbage).await.expect("a hash");
        let process = Process::new(&options(&server));
        assert_eq!(process.find(access_keys("s")).await, None);
        process.bring(None, &Coming::access_token("at", "s")).await;
        assert_eq!(process.find(access_keys("s")).await.as_deref(), Some("at"), "in the first level");
        let data: Vec<u8> = redis.hget(NAME, "data").await.expect("a field");
        assert_eq!(data, garbage);
        let statistics = process.statistics();
        assert!(statistics.refused_values >= 2 && statistics.dropped_writes == 1, "{statistics:?}");
    }
    // Another type.
    let () = redis.del(NAME).await.expect("gone");
    let () = redis.set(NAME, "a string").await.expect("a string");
    let process = Process::new(&options(&server));
    assert_eq!(process.find(access_keys("s")).await, None);
    process.bring(None, &Coming::access_token("at", "s")).await;
    let text: String = redis.get(NAME).await.expect("a string");
    assert_eq!((text.as_str(), process.statistics().circuit_open), ("a string", false));
    // A hash without data is no partition yet.
    let () = redis.del(NAME).await.expect("gone");
    let () = redis.hset(NAME, "absexp", "soon").await.expect("a hash");
    process.bring(None, &Coming::access_token("at", "s")).await;
    assert_eq!(secrets(&partition(&server).await, "AccessToken"), BTreeSet::from(["at".to_owned()]));
}

#[tokio::test]
async fn a_removed_account_is_gone_everywhere_and_no_flight_brings_it_back() {
    let Some(server) = RedisServer::start() else { return };
    let process = Process::new(&options(&server));
    process.bring(None, &Coming::refresh_token("rt")).await;
    process.bring(None, &Coming::access_token("at", "s")).await;
    let ticket = process.lead(access_keys("late")).await;
    assert!(process.app.remove_group_through(&account_group(CLIENT, ALICE)).await);
    assert_eq!(partition(&server).await, Value::Null);
    process.bring(Some(ticket), &Coming::access_token("late", "late")).await;
    assert_eq!(partition(&server).await, Value::Null);
    assert!(!process.app.remove_group_through(&account_group(CLIENT, ALICE)).await, "there is nothing left");
    // Whoever signs in again is welcome.
    let ticket = process.lead(access_keys("late")).await;
    process.bring(Some(ticket), &Coming::access_token("again", "late")).await;
    assert_eq!(secrets(&partition(&server).await, "AccessToken"), BTreeSet::from(["again".to_owned()]));
}

#[tokio::test]
async fn a_removal_that_redis_could_not_be_told_of_is_made_up_for_before_the_partition_is_used() {
    let Some(mut server) = RedisServer::start() else { return };
    let mut options = options(&server);
    with_msal(&mut options, |msal| msal.redis.timeout = Duration::from_millis(50));
    let process = Process::new(&options);
    process.bring(None, &Coming::refresh_token("rt")).await;
    let text: String = raw(&server).await.hget(NAME, "data").await.expect("the partition");
    server.kill();
    assert!(process.app.remove_group_through(&account_group(CLIENT, ALICE)).await, "from the first level");
    assert_eq!(process.find(refresh_keys()).await, None);
    server.restart();
    let () = raw(&server).await.hset(NAME, "data", text).await.expect("a hash");
    let is_gone = async {
        while partition(&server).await != Value::Null {
            assert_eq!(process.find(refresh_keys()).await, None);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), is_gone).await.expect("it is made up for");
}

#[tokio::test]
async fn a_server_that_is_down_or_slow_is_in_nobodys_way() {
    let Some(mut server) = RedisServer::start() else { return };
    let process = Process::new(&options(&server));
    process.bring(None, &Coming::access_token("at", "s")).await;
    server.pause(true);
    let begin = tokio::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(process.find(access_keys("other")).await, None);
        process.bring(None, &Coming::access_token("new", "s")).await;
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(process.statistics().circuit_open);
    server.pause(false);
    server.kill();
    assert_eq!(process.find(access_keys("s")).await.as_deref(), Some("new"), "in the first level");
}

#[tokio::test]
async fn full_memory_costs_nothing_but_the_write() {
    let Some(server) = RedisServer::start_with(&["--maxmemory", "2mb", "--maxmemory-policy", "noeviction"])
    else {
        return;
    };
    let process = Process::new(&options(&server));
    let large = "a".repeat(200_000);
    for i in 0..30 {
        let (secret, scope) = (format!("{large}{i}"), format!("s{i}"));
        process.bring(None, &Coming::access_token(&secret, &scope)).await;
        assert_eq!(process.find(access_keys(&scope)).await, Some(secret));
    }
    let statistics = process.statistics();
    assert!(statistics.dropped_writes > 0 && !statistics.circuit_open, "{statistics:?}");
}

#[tokio::test]
async fn names_are_distinct_in_a_process_and_tell_applications_apart() {
    let Some(server) = RedisServer::start() else { return };
    let second_levels = SecondLevels::new(Arc::new(SystemClock));
    let (one, other) = (ApplicationId::new("one"), ApplicationId::new("other"));
    let held = second_levels.open(&options(&server), &one).expect("the first");
    second_levels.open(&options(&server), &one).expect("the same application again");
    second_levels.open(&named(&server, "other:"), &other).expect("another name");
    let error = second_levels.open(&options(&server), &other).expect_err("the same name").to_string();
    for part in ["Symbolon:TokenCache:InstanceName", "\"app:\"", "that of one", "InstanceNames"] {
        assert!(error.contains(part), "{error}");
    }
    drop(held);
    second_levels.open(&options(&server), &other).expect("nobody has it any more");

    Process::new(&options(&server)).bring(None, &Coming::access_token("at", "s")).await;
    assert_eq!(Process::new(&named(&server, "other:")).find(access_keys("s")).await, None);
    assert_eq!(Process::new(&options(&server)).find(access_keys("s")).await.as_deref(), Some("at"));
}

#[tokio::test]
async fn changes_of_one_process_are_written_in_their_order() {
    let Some(server) = RedisServer::start() else { return };
    let mut options = options(&server);
    options.waits_for_writes = false;
    let process = Process::new(&options);
    for i in 0..200 {
        let secret = format!("rt {i}");
        process.bring(None, &Coming::refresh_token(&secret)).await;
    }
    let is_last = async {
        while secrets(&partition(&server).await, "RefreshToken") != BTreeSet::from(["rt 199".to_owned()]) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), is_last).await.expect("the last one stays");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(secrets(&partition(&server).await, "RefreshToken"), BTreeSet::from(["rt 199".to_owned()]));
}

#[tokio::test]
async fn a_partition_whose_tokens_are_over_is_taken_away() {
    let Some(server) = RedisServer::start() else { return };
    let clock = Arc::new(ManualClock::new(SystemClock.now_unix_ms()));
    let process = Process::at(&options(&server), clock.clone());
    process.bring(None, &Coming::access_token("at", "s")).await;
    clock.advance(4000 * 1000);
    process.bring(None, &Coming::access_token("", "other")).await;
    assert_eq!(partition(&server).await, Value::Null);
}
