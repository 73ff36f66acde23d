//! The token cache: how long a hit takes and how much memory an entry takes, at one entry, 100,000 and 1,000,000.
//!
//! `cargo bench -p symbolon-resources --bench cache` prints the medians, and the best of
//! all rounds, which is what a machine with nothing else to do would show. Beside them, for comparison, stand a look-up of
//! the same keys in a standard hash map behind a lock, and what it takes to load from as many places of memory, each of which
//! says where the next is: as close together as the slots of a table, and as far apart as tokens. The million takes 4 GB of memory; `-- 100000` measures only that many.

#![allow(clippy::panic, clippy::unwrap_used, clippy::print_stdout, reason = "this is a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures the machine's time")]

use std::collections::HashMap;
use std::future::Future;
use std::hint::black_box;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, RwLock};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use symbolon_resources::cache::{
    AccessToken, Account, ApplicationCache, ApplicationId, CacheLimits, Cached, Components, Entry, Found,
    IdToken, Lookup, RefreshToken, RequestDigest, RequestHasher, Reuse, ReuseMap, Saved, TokenCache,
};
use symbolon_resources::clock::{Clock as _, SystemClock};

const TOKEN_BYTES: usize = 1_400;
/// So many different keys are looked up in turn, more than the processor's caches hold entries.
const SAMPLES: usize = 1 << 18;
const ROUNDS: usize = 21;
const ASSERTION_BYTES: usize = 2_000;
const NOW: u64 = 1_800_000_000;
/// In the place of a number of entries.
const USERS: &str = "users";
const PARTITIONS: &str = "partitions";

fn main() {
    if std::env::args().any(|argument| argument == USERS) {
        return users_of(100_000);
    }
    if std::env::args().any(|argument| argument == PARTITIONS) {
        return partitions_of(100_000);
    }
    if let Some(entries) = std::env::args().find_map(|argument| argument.parse().ok()) {
        return measure(entries);
    }
    println!("{:>9}  {:<36} {:>9} {:>9}", "entries", "what", "median", "best");
    for entries in ["1", "100000", "1000000", PARTITIONS, USERS] {
        // Each in a process of its own, which has no memory of an earlier one to use again.
        std::process::Command::new(std::env::current_exe().unwrap()).arg(entries).status().unwrap();
    }
}

fn measure(entries: usize) {
    let row = |what: &str, value: String| println!("{entries:>9}  {what:<36} {value:>9}");
    let before = resident_bytes();
    let application = filled(entries);
    let with_entries = resident_bytes();
    let map = remembered(&application, entries);
    let with_map = resident_bytes();
    if entries > 1 {
        let per_entry = |bytes: usize| format!("{} B", bytes / entries);
        let statistics = application.statistics();
        row("counted per entry, beside the token", per_entry(statistics.bytes - TOKEN_BYTES * entries));
        row(
            "resident per entry, beside the token",
            per_entry(with_entries.saturating_sub(before + TOKEN_BYTES * entries)),
        );
        row("resident per reuse record", per_entry(with_map.saturating_sub(with_entries)));
    }

    let samples: Vec<usize> = random(entries).take(SAMPLES.min(entries)).collect();
    let sample = |i: usize| samples[i % samples.len()];
    let lookups: Vec<_> = samples.iter().map(|i| [vec![key(*i)]]).collect();
    let digests: Vec<_> = samples.iter().map(|i| request(&map, *i)).collect();
    let standard: RwLock<HashMap<String, Arc<usize>>> =
        RwLock::new((0..entries).map(|i| (key(i), Arc::new(i))).collect());
    let now = SystemClock.now_unix_ms();
    let reuse = |i: usize| {
        black_box(map.get(request(&map, sample(i)), now, None).unwrap());
    };
    let assertion = "a".repeat(ASSERTION_BYTES);
    let [table, scattered] = [64, TOKEN_BYTES + 200].map(|bytes| Chase::new(entries, bytes));
    let entry = find(&application, &lookups[0]);
    let mut rows = [
        Row::new("find, a hit", |i| drop(black_box(find(&application, &lookups[i % lookups.len()])))),
        Row::new("reuse map, digest and hit", reuse),
        Row::new("  of that, the hit, digests at hand", |i| {
            drop(black_box(map.get(digests[i % digests.len()], now, None).unwrap()));
        }),
        Row::new("  of that, the digest", |i| _ = black_box(request(&map, sample(i)))),
        Row::new("  digest with an assertion of 2 kB", |i| {
            black_box(fields(&map, sample(i)).field(&assertion).finish());
        }),
        Row::new("the token of an entry that is at hand", |_| _ = black_box(entry.secret())),
        Row::new("the same with all that it is", |_| _ = black_box(entry.access_token())),
        Row::new("beside: standard map", |i| {
            let [alternative] = &lookups[i % lookups.len()];
            drop(black_box(standard.read().unwrap().get(&alternative[0]).cloned()));
        }),
        Row::new("beside: a load, of 64 B each", table.walk()),
        Row::new("beside: a load, of 1.6 kB each", scattered.walk()),
    ];
    measure_in_turn(&mut rows);
    for Row { what, mut rounds, .. } in rows {
        rounds.sort_by(f64::total_cmp);
        row(what, format!("{:>6.0} ns {:>6.0} ns", rounds[ROUNDS / 2], rounds[0]));
    }
    for threads in [1, 2] {
        row(
            &format!("reuse map, calls/µs on {threads} threads"),
            format!("{:.1}", throughput(threads, &reuse)),
        );
    }
}

/// What is measured, and nanoseconds per call in each round.
struct Row<'a> {
    what: &'static str,
    calls: Box<dyn FnMut(Range<usize>) + 'a>,
    rounds: Vec<f64>,
}

impl<'a> Row<'a> {
    fn new(what: &'static str, mut call: impl FnMut(usize) + 'a) -> Self {
        Self { what, calls: Box::new(move |range| range.for_each(&mut call)), rounds: Vec::new() }
    }
}

/// One after the other in each round, so that what else the machine does disturbs all of them alike.
fn measure_in_turn(rows: &mut [Row<'_>]) {
    const CALLS: usize = SAMPLES / 4;
    for round in 0..ROUNDS {
        for row in &mut *rows {
            let start = Instant::now();
            (row.calls)(round * CALLS..(round + 1) * CALLS);
            row.rounds.push(start.elapsed().as_nanos() as f64 / CALLS as f64);
        }
    }
}

/// As many places in memory as there are entries, each of which says where the next is: what memory itself takes.
struct Chase {
    places: Vec<u64>,
    /// From one place to another, in words.
    stride: usize,
}

impl Chase {
    fn new(places: usize, bytes: usize) -> Self {
        let stride = bytes / 8;
        let mut order: Vec<usize> = (0..places).collect();
        for (i, other) in (1..places).rev().zip(random(usize::MAX >> 33)) {
            order.swap(i, other % (i + 1));
        }
        let mut chase = Self { places: vec![0; places * stride], stride };
        for (i, place) in order.iter().enumerate() {
            chase.places[place * stride] = order[(i + 1) % places] as u64;
        }
        chase
    }

    fn walk(&self) -> impl FnMut(usize) {
        let mut place = 0;
        move |_| place = black_box(self.places[place * self.stride] as usize)
    }
}

fn filled(entries: usize) -> ApplicationCache<()> {
    let application = unbounded();
    let secret = "t".repeat(TOKEN_BYTES);
    for i in 0..entries {
        put(&application, i, token(&realm(i), &secret));
    }
    application
}

fn token<'a>(realm: &'a str, secret: &'a str) -> AccessToken<'a> {
    AccessToken {
        home_account_id: "",
        environment: "login.windows.net",
        client_id: "6731de76-14a6-49ae-97bc-6eba6914391e",
        realm,
        target: "https://graph.microsoft.com/.default",
        secret,
        token_type: "Bearer",
        username: None,
        key_id: None,
        user_assertion_hash: None,
        cached_at: NOW,
        expires_on: u64::MAX - 1,
        extended_expires_on: None,
        refresh_on: Some(NOW + 43_200),
        components: Components::default(),
    }
}

fn put(application: &ApplicationCache<()>, i: usize, token: AccessToken<'_>) {
    let (entry, keys) = (Entry::AccessToken(token), [key(i)]);
    let saved = Saved { entry, keys: &keys, replaces: &[], groups: &[], partition_key: "", item_key: "" };
    application.put(None, &[], &[saved]);
}

/// What tokens of one directory take that are kept apart by a component of their keys, with the answers in the reuse map.
fn partitions_of(entries: usize) {
    let row = |what: &str, value: String| println!("{entries:>9}  {what:<36} {value:>9}");
    let before = resident_bytes();
    let application = unbounded();
    let secret = "t".repeat(TOKEN_BYTES);
    for i in 0..entries {
        let components = [("entry".to_owned(), i.to_string())];
        put(
            &application,
            i,
            AccessToken { components: Components::new(&components), ..token("one", &secret) },
        );
    }
    let map = remembered(&application, entries);
    row("counted per partition", format!("{} B", application.statistics().bytes / entries));
    row(
        "resident, reuse record included",
        format!("{} B", resident_bytes().saturating_sub(before) / entries),
    );
    drop(map);
}

fn unbounded() -> ApplicationCache<()> {
    let mut limits = CacheLimits::default();
    (limits.max_entries, limits.max_application_entries) = (usize::MAX, usize::MAX);
    (limits.max_bytes, limits.max_application_bytes) = (usize::MAX, usize::MAX);
    TokenCache::new(limits, Arc::new(SystemClock)).namespace(ApplicationId::new("app"))
}

/// What users who have signed in take: an access token of 1.4 kB, a refresh token and an id token of 0.6 kB each, an account.
fn users_of(users: usize) {
    let row = |what: &str, value: String| println!("{users:>9}  {what:<36} {value:>9}");
    let before = resident_bytes();
    let application = unbounded();
    let (access, refresh) = ("t".repeat(TOKEN_BYTES), "r".repeat(600));
    for i in 0..users {
        let realm = realm(i);
        sign_in(&application, &realm, &access, &refresh);
    }
    row("counted per user", format!("{} B", application.statistics().bytes / users));
    row("resident per user", format!("{} B", resident_bytes().saturating_sub(before) / users));
}

fn sign_in(application: &ApplicationCache<()>, local_account_id: &str, access: &str, refresh: &str) {
    const ENVIRONMENT: &str = "login.windows.net";
    const CLIENT_ID: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";
    const REALM: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    let home_account_id = &format!("{local_account_id}.{REALM}");
    let username = "someone@contoso.com";
    let entries = [
        Entry::AccessToken(AccessToken {
            home_account_id,
            target: "User.Read",
            username: Some(username),
            ..token(REALM, access)
        }),
        Entry::RefreshToken(RefreshToken {
            home_account_id,
            environment: ENVIRONMENT,
            client_id: CLIENT_ID,
            family_id: None,
            secret: refresh,
            user_assertion_hash: None,
            components: Components::default(),
        }),
        Entry::IdToken(IdToken {
            home_account_id,
            environment: ENVIRONMENT,
            client_id: CLIENT_ID,
            realm: REALM,
            secret: refresh,
        }),
        Entry::Account(Account {
            home_account_id,
            environment: ENVIRONMENT,
            realm: REALM,
            local_account_id,
            username,
            name: Some("Some One"),
        }),
    ];
    let keys: Vec<_> = (0..entries.len()).map(|i| [format!("{i} {home_account_id}")]).collect();
    let groups = [home_account_id.to_owned(), "all accounts".to_owned()];
    let saved: Vec<_> = entries
        .iter()
        .zip(&keys)
        .map(|(entry, keys)| Saved {
            entry: *entry,
            keys,
            replaces: &[],
            groups: if matches!(entry, Entry::Account(_)) { &groups } else { &groups[..1] },
            partition_key: "",
            item_key: "",
        })
        .collect();
    application.put(None, &[], &saved);
}

fn remembered(application: &ApplicationCache<()>, entries: usize) -> ReuseMap {
    let map = ReuseMap::new(usize::MAX);
    let reuse = Reuse { until: u64::MAX - 1, refresh_from: None, generation: None };
    for i in 0..entries {
        map.remember(request(&map, i), &application.get(&key(i)).unwrap(), reuse, 0);
    }
    map
}

/// As long as the keys that the protocol makes, 150 to 200 bytes.
fn key(i: usize) -> String {
    let realm = realm(i);
    format!(
        "36:6731de76-14a6-49ae-97bc-6eba6914391e_{realm}_AppTokenCache0:17:login.windows.net\
         36:6731de76-14a6-49ae-97bc-6eba6914391e36:{realm}6:bearer36:https://graph.microsoft.com/.default"
    )
}

fn realm(i: usize) -> String {
    format!("{i:08x}-14a6-49ae-97bc-6eba6914391e")
}

/// A request of 150 bytes in 8 fields.
fn request(map: &ReuseMap, i: usize) -> RequestDigest {
    fields(map, i).finish()
}

fn fields(map: &ReuseMap, i: usize) -> RequestHasher<'_> {
    let mut hasher = map.request();
    hasher
        .number(1)
        .field("https://login.microsoftonline.com/")
        .field("72f988bf-86f1-41af-91ab-2d7cd011db47")
        .number(1)
        .field("https://graph.microsoft.com/.default")
        .optional(None::<&str>)
        .optional(Some("westeurope"))
        .number(i as u64);
    hasher
}

fn find(application: &ApplicationCache<()>, alternatives: &[Vec<String>]) -> Arc<Cached> {
    let lookup = Lookup {
        alternatives,
        expires_after: 0,
        expires_before: u64::MAX,
        bypass: false,
        renews: false,
        flight: Some("flight"),
    };
    let found = pin!(application.find(lookup)).poll(&mut Context::from_waker(Waker::noop()));
    match found {
        Poll::Ready(Found::Hit(entry)) => entry,
        _ => panic!("not a hit"),
    }
}

/// Calls in a microsecond, of all threads together.
fn throughput(threads: usize, call: &(impl Fn(usize) + Sync)) -> f64 {
    let calls = 4 * SAMPLES;
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || (0..calls).for_each(|i| call(i + thread * SAMPLES / 2)));
        }
    });
    (threads * calls) as f64 / start.elapsed().as_micros() as f64
}

/// Numbers below `end`, from a linear congruential generator.
fn random(end: usize) -> impl Iterator<Item = usize> {
    let mut state = 1_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % end
    })
}

/// Of this process, where the system says so as Linux does; 0 elsewhere.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
