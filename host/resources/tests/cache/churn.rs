//! Everything that a cache sees in a long life: applications, users and processes that come and go, hits, misses, flights
//! that fail and vanish, answers that are remembered, facts. Whatever happens, it stays within its limits.
//!
//! The same for ten million operations, with the memory that they leave behind:
//!
//! ```console
//! $ cargo test --release -p symbolon-resources --test cache -- churn --ignored --nocapture
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use symbolon_resources::cache::{
    ApplicationId, CacheLimits, Cached, Entry, Found, Lookup, Reuse, ReuseMap, Saved, TokenCache,
};
use symbolon_resources::clock::{Clock as _, ManualClock};
use symbolon_resources::facts::{FactKind, Facts};

use crate::support::{Application, cache, refresh_token, token};

const APPLICATIONS: usize = 40;
const KEYS: u64 = 1_000;
const GROUPS: u64 = 200;

struct Churn {
    cache: Arc<TokenCache<String>>,
    clock: Arc<ManualClock>,
    limits: CacheLimits,
    applications: Vec<Member>,
    state: u64,
    texts: [String; 4],
}

struct Member {
    cache: Application,
    reuse: ReuseMap,
    facts: Facts,
}

impl Churn {
    fn new() -> Self {
        let mut limits = CacheLimits::default();
        (limits.max_entries, limits.max_bytes) = (10_000, 12 << 20);
        (limits.max_application_entries, limits.max_application_bytes) = (500, 600 << 10);
        let (cache, clock) = cache(limits.clone());
        let member = |i: usize| member(&cache, &clock, i as u64);
        let applications = (0..APPLICATIONS).map(member).collect();
        let texts = [200, 600, 1_400, 3_000].map(|length| "t".repeat(length));
        Self { cache, clock, limits, applications, state: 1, texts }
    }

    fn run(&mut self, operations: u64) {
        for _ in 0..operations {
            self.operate();
            self.clock.advance(10);
        }
    }

    fn operate(&mut self) {
        let which = self.below(APPLICATIONS as u64) as usize;
        // Some are asked for more often than others.
        let keys = self.below(KEYS) + 1;
        let (key, group) = (format!("key {}", self.below(keys)), format!("group {}", self.below(GROUPS)));
        match self.below(10_000) {
            0 => {
                // Gone, with all that it had; another one comes.
                let id = self.below(10_000);
                self.applications[which] = member(&self.cache, &self.clock, id);
            }
            1 => self.applications[which].cache.clear(),
            2..=199 => drop(self.applications[which].cache.remove(&key)),
            200..=299 => drop(self.applications[which].cache.remove_group(&group)),
            300..=1_499 => self.sign_in(which, &key, &group),
            1_500..=1_999 => {
                let ttl_ms = self.below(3_600_000);
                self.applications[which].facts.put(FactKind::Throttle, &key, b"until then", ttl_ms);
            }
            _ => self.ask(which, &key),
        }
    }

    /// An access token, and a refresh token in the place of the group's.
    fn sign_in(&mut self, which: usize, key: &str, group: &str) {
        let expires_on = self.clock.now_unix() + self.below(7_200);
        let text = &self.texts[(self.state >> 40) as usize % self.texts.len()];
        let (keys, roots, groups) = ([key.to_owned()], [format!("root of {group}")], [group.to_owned()]);
        let saved = |entry, keys| Saved {
            entry,
            keys,
            replaces: &[],
            groups: &groups,
            partition_key: "",
            item_key: "",
        };
        let entries = [
            saved(Entry::AccessToken(token(text, expires_on)), &keys[..]),
            saved(Entry::RefreshToken(refresh_token(text)), &roots[..]),
        ];
        self.applications[which].cache.put(None, &groups, &entries);
    }

    /// As a host asks: an answer that stands, else the cache, else a flight that ends in one of three ways.
    fn ask(&mut self, which: usize, key: &str) {
        let (end, lifetime) = (self.below(10), self.below(7_200));
        let text = self.texts[(self.state >> 40) as usize % self.texts.len()].clone();
        let now_ms = self.clock.now_unix_ms();
        let member = &self.applications[which];
        let digest = member.reuse.request().field(key).finish();
        if member.reuse.get(digest, now_ms, None).is_some() {
            return;
        }
        let keys = [key.to_owned()];
        match find(&member.cache, &keys, self.clock.now_unix()) {
            Found::Hit(entry) => remember(member, &keys[0], &entry, now_ms),
            Found::Lead { ticket, .. } if end == 0 => drop(ticket),
            Found::Lead { ticket, .. } if end == 1 => member.cache.fail(ticket, &"down".to_owned()),
            Found::Lead { ticket, .. } => {
                let entry = Entry::AccessToken(token(&text, self.clock.now_unix() + lifetime));
                let saved =
                    Saved { entry, keys: &keys, replaces: &[], groups: &[], partition_key: "", item_key: "" };
                member.cache.put(Some(ticket), &[], &[saved]);
                if let Some(entry) = member.cache.get(key) {
                    remember(member, key, &entry, now_ms);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// Nothing is beyond its limit, in any application or in all together.
    fn check(&self) {
        let all = self.cache.statistics();
        assert!(all.entries <= self.limits.max_entries && all.bytes <= self.limits.max_bytes, "{all:?}");
        let mut sum = (0, 0);
        // Those that came by the same name share what there is.
        let by_name = self.applications.iter().map(|member| (member.cache.application(), member));
        for member in by_name.collect::<BTreeMap<_, _>>().into_values() {
            let one = member.cache.statistics();
            assert!(one.entries <= self.limits.max_application_entries, "{one:?}");
            assert!(one.bytes <= self.limits.max_application_bytes, "{one:?}");
            assert!(member.facts.len(FactKind::Throttle) <= FactKind::Throttle.limit().max_count);
            assert!(member.reuse.len() <= REMEMBERED.next_multiple_of(32));
            sum = (sum.0 + one.entries, sum.1 + one.bytes);
        }
        assert!(sum.0 <= all.entries && sum.1 <= all.bytes, "{sum:?} of {all:?}");
    }

    fn below(&mut self, end: u64) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % end
    }
}

const REMEMBERED: usize = 1_000;

fn member(cache: &Arc<TokenCache<String>>, clock: &Arc<ManualClock>, id: u64) -> Member {
    Member {
        cache: cache.namespace(ApplicationId::new(format!("application {id}"))),
        reuse: ReuseMap::new(REMEMBERED),
        facts: Facts::new(clock.clone()),
    }
}

fn remember(member: &Member, key: &str, entry: &Arc<Cached>, now_ms: u64) {
    let digest = member.reuse.request().field(key).finish();
    let until = entry.access_token().map_or(0, |token| token.expires_on);
    member.reuse.remember(digest, entry, Reuse { until, refresh_from: None, generation: None }, now_ms);
}

fn find(application: &Application, keys: &[String], now_unix: u64) -> Found<String> {
    let lookup = Lookup {
        alternatives: &[keys.to_vec()],
        expires_after: now_unix,
        expires_before: u64::MAX,
        bypass: false,
        renews: false,
        flight: Some(&keys[0]),
    };
    let mut finding = std::pin::pin!(application.find(lookup));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match finding.as_mut().poll(&mut context) {
        std::task::Poll::Ready(found) => found,
        std::task::Poll::Pending => panic!("nobody else leads"),
    }
}

#[test]
fn churn_stays_within_all_limits() {
    let mut churn = Churn::new();
    for _ in 0..50 {
        churn.run(500);
        churn.check();
    }
    let statistics = churn.cache.statistics();
    assert!(
        statistics.evicted.bytes > 0 && statistics.evicted.expired > 0 && statistics.hits > 0,
        "{statistics:?}"
    );
}

#[test]
#[ignore = "takes some minutes, and measures memory"]
fn churn_of_ten_million_operations_takes_no_more_memory_than_of_one() {
    const MILLION: u64 = 1_000_000;
    let mut churn = Churn::new();
    churn.run(MILLION);
    let first = resident_bytes();
    for i in 2..=10 {
        churn.run(MILLION);
        churn.check();
        let (now, statistics) = (resident_bytes(), churn.cache.statistics());
        println!(
            "{i:>2} million operations: {:.1} MB resident ({:+.1} %), {} entries, {:.1} MB by its own count, {} evictions",
            now as f64 / 1e6,
            (now as f64 / first as f64 - 1.0) * 100.0,
            statistics.entries,
            statistics.bytes as f64 / 1e6,
            statistics.evictions,
        );
    }
    let last = resident_bytes();
    assert!(last <= first + first / 20, "{first} bytes after a million, {last} in the end");
}

/// Of this process, where the system says so as Linux does; 0 elsewhere.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
