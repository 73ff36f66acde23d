//! Two applications that share a cache, each with its reuse map: callers that ask, give up and look past the cache, leaders
//! that fail or vanish, refreshes in the background, processes that are stopped, certificates that are replaced, entries
//! that are evicted. What happens, and in which order, is chosen anew for each schedule.
//!
//! What is asserted holds in each: nobody waits for ever, one leads at a time, nobody gets another application's token, one
//! bound to a certificate that was replaced before the call, or one of a process that was stopped before it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use shuttle::Runner;
use shuttle::future::{JoinHandle, block_on, spawn, yield_now};
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};

use super::cache::{
    ApplicationId, CacheLimits, Cached, Found, Lookup, RequestDigest, Reuse, ReuseMap, Ticket, TokenCache,
};
use super::clock::ManualClock;
use super::{Application, Saved, run_all, token, within};

const SCHEDULES: usize = 110_000;
const NOW_MS: u64 = 5_000;

#[test]
fn applications_in_any_order() {
    runner(RandomScheduler::new(SCHEDULES / 2)).run(run);
}

#[test]
fn applications_with_few_switches() {
    runner(PctScheduler::new(3, SCHEDULES / 2)).run(run);
}

fn runner<S: Scheduler + 'static>(scheduler: S) -> Runner<S> {
    let mut config = shuttle::Config::new();
    // The cryptography behind the reuse map takes more than the default.
    config.stack_size = 256 << 10;
    Runner::new(scheduler, config)
}

fn run() {
    let mut limits = CacheLimits::default();
    if thread_rng().gen_range(0..4_u32) == 0 {
        // So few that one application's entries make room for another's.
        (limits.max_entries, limits.max_application_entries) = (3, 2);
    }
    let cache = TokenCache::new(limits, Arc::new(ManualClock::new(NOW_MS)));
    let parties = ["one", "another"].map(|name| {
        let reuse = ReuseMap::new(1);
        let digest = reuse.request().field("request").finish();
        let cache = cache.namespace(ApplicationId::new(name));
        Arc::new(Party { name, cache, reuse, digest, history: History::default() })
    });
    run_all((0..4).map(|_| {
        // Mostly the same application, for it to be crowded.
        let party = parties[usize::from(thread_rng().gen_range(0..4_u32) == 0)].clone();
        let deeds: Vec<_> = (0..thread_rng().gen_range(1..=2_u32)).map(|_| Deed::any()).collect();
        async move {
            for deed in deeds {
                party.act(deed).await;
            }
        }
    }));
    for party in &parties {
        party.check_rest();
    }
}

/// What a task does.
#[derive(Clone, Copy)]
enum Deed {
    /// Asks for a token, or gives up after so many polls.
    Ask { polls: Option<usize>, bypass: bool },
    /// Ends the long-running process that all tokens belong to.
    Stop,
    /// Replaces the certificate that all tokens are bound to.
    Replace,
}

impl Deed {
    fn any() -> Self {
        match thread_rng().gen_range(0..10_u32) {
            0 => Self::Stop,
            1 => Self::Replace,
            2 => Self::Ask { polls: None, bypass: true },
            3 | 4 => Self::Ask { polls: Some(thread_rng().gen_range(0..4)), bypass: false },
            _ => Self::Ask { polls: None, bypass: false },
        }
    }
}

/// An application, as its host keeps it.
struct Party {
    name: &'static str,
    cache: Application,
    reuse: ReuseMap,
    digest: RequestDigest,
    history: History,
}

/// What happened so far. The scheduler doesn't see these: they are beside what is tested.
#[derive(Default)]
struct History {
    generation: AtomicU64,
    stops_begun: AtomicU64,
    stops_done: AtomicU64,
    /// Requests that were sent.
    sent: AtomicU64,
    /// The generations for which a request is under way.
    leading: Mutex<BTreeSet<u64>>,
    /// The tokens whose refresh was claimed.
    claimed: Mutex<BTreeSet<u64>>,
    /// The refreshes in the background.
    refreshes: Mutex<Vec<JoinHandle<()>>>,
}

/// What a caller may expect: what was true when it asked.
#[derive(Clone, Copy)]
struct Expected {
    generation: u64,
    stops: u64,
    /// It looks past what was asked for so far.
    sent: Option<u64>,
}

/// What a token says of itself.
struct Told {
    generation: u64,
    stops: u64,
    number: u64,
}

impl Party {
    async fn act(self: &Arc<Self>, deed: Deed) {
        let history = &self.history;
        match deed {
            Deed::Ask { polls, bypass } => drop(within(polls, self.ask(bypass)).await),
            Deed::Stop => {
                let stop = history.stops_begun.fetch_add(1, Ordering::SeqCst) + 1;
                self.cache.remove_group("process");
                history.stops_done.fetch_max(stop, Ordering::SeqCst);
            }
            Deed::Replace => {
                history.generation.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Asks as the host does: the reuse map, then the cache.
    async fn ask(self: &Arc<Self>, bypass: bool) {
        let expected = self.expected(bypass);
        if !bypass && let Some(reused) = self.reuse.get(self.digest, NOW_MS, Some(expected.generation)) {
            let told = self.check(&reused.entry, expected);
            assert_eq!(told.generation, expected.generation, "the answer is bound to another certificate");
            if reused.refresh_due && reused.entry.claim_refresh(NOW_MS) {
                let is_first = self.history.claimed.lock().unwrap().insert(told.number);
                assert!(is_first, "two refresh the same token");
                let party = Arc::clone(self);
                let refresh = spawn(async move {
                    let expected = party.expected(true);
                    party.acquire(expected).await;
                });
                self.history.refreshes.lock().unwrap().push(refresh);
            }
            return;
        }
        self.acquire(expected).await;
    }

    fn expected(&self, bypass: bool) -> Expected {
        let history = &self.history;
        Expected {
            generation: history.generation.load(Ordering::SeqCst),
            stops: history.stops_done.load(Ordering::SeqCst),
            sent: bypass.then(|| history.sent.load(Ordering::SeqCst)),
        }
    }

    async fn acquire(&self, expected: Expected) {
        let key = format!("key {}", expected.generation);
        let lookup = Lookup {
            alternatives: &[vec![key.clone()]],
            expires_after: 0,
            expires_before: 1,
            bypass: expected.sent.is_some(),
            renews: false,
            flight: Some(&key),
        };
        match self.cache.find(lookup).await {
            Found::Hit(entry) => {
                self.check(&entry, expected);
                self.remember(&entry, expected);
            }
            Found::Lead { ticket, .. } => self.lead(ticket, &key, expected).await,
            Found::Failed(error) => assert_eq!(error, self.name),
            Found::Miss => panic!("a flight was named"),
        }
    }

    /// Sends the request, and brings a token, an error or nothing.
    async fn lead(&self, ticket: Ticket<String>, key: &str, expected: Expected) {
        let (history, generation) = (&self.history, expected.generation);
        // Whoever is dropped meanwhile isn't on its way any more either.
        let under_way = UnderWay::begin(history, generation);
        let stops = history.stops_begun.load(Ordering::SeqCst);
        let number = history.sent.fetch_add(1, Ordering::SeqCst) + 1;
        yield_now().await;
        let end = thread_rng().gen_range(0..8_u32);
        drop(under_way);
        match end {
            0 => drop(ticket),
            1 => self.cache.fail(ticket, &self.name.to_owned()),
            _ => {
                let secret = format!("{} {generation} {stops} {number}", self.name);
                let (keys, groups) = ([key.to_owned()], ["process".to_owned()]);
                let saved = Saved {
                    entry: token(&secret),
                    keys: &keys,
                    replaces: &[],
                    groups: &groups,
                    partition_key: "",
                    item_key: "",
                };
                self.cache.put(Some(ticket), &[], &[saved]);
                if let Some(entry) = self.cache.get(key).filter(|entry| secret_of(entry) == secret) {
                    self.remember(&entry, expected);
                }
            }
        }
    }

    fn remember(&self, entry: &Arc<Cached>, expected: Expected) {
        // Due at once: every hit is an occasion for a refresh in the background.
        let reuse = Reuse { until: 60, refresh_from: Some(1), generation: Some(expected.generation) };
        self.reuse.remember(self.digest, entry, reuse, NOW_MS);
    }

    fn check(&self, entry: &Cached, expected: Expected) -> Told {
        let secret = secret_of(entry);
        let mut parts = secret.split(' ');
        assert_eq!(parts.next(), Some(self.name), "a token of another application");
        let [generation, stops, number] = [(); 3].map(|()| parts.next().unwrap().parse().unwrap());
        assert!(generation >= expected.generation, "bound to a certificate that was replaced before");
        assert!(stops >= expected.stops, "asked for before the process was stopped, served after");
        assert!(
            expected.sent.is_none_or(|sent| number > sent),
            "asked for before the call that looks past it"
        );
        Told { generation, stops, number }
    }

    /// All tasks are done: what they left is consistent, and the next caller isn't in anybody's way.
    fn check_rest(self: &Arc<Self>) {
        for refresh in std::mem::take(&mut *self.history.refreshes.lock().unwrap()) {
            block_on(refresh).unwrap();
        }
        assert!(self.history.leading.lock().unwrap().is_empty());
        let members = self.cache.members("process");
        for entry in &members {
            assert!(entry.is_alive());
            let told = self.check(entry, self.expected_at_rest());
            assert!(told.stops >= self.history.stops_done.load(Ordering::SeqCst));
        }
        assert_eq!(members.len(), self.cache.statistics().entries);
        block_on(self.ask(true));
        self.cache.clear();
        assert_eq!((self.cache.statistics().entries, self.cache.statistics().bytes), (0, 0));
        assert!(self.reuse.get(self.digest, NOW_MS, Some(self.expected(false).generation)).is_none());
    }

    /// Tokens of certificates that were replaced may lie in the cache until they are evicted; nobody asks for them.
    fn expected_at_rest(&self) -> Expected {
        Expected { generation: 0, ..self.expected(false) }
    }
}

/// A request that is under way: one at a time for each certificate.
struct UnderWay<'a> {
    history: &'a History,
    generation: u64,
}

impl<'a> UnderWay<'a> {
    fn begin(history: &'a History, generation: u64) -> Self {
        assert!(history.leading.lock().unwrap().insert(generation), "two lead the same flight");
        Self { history, generation }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.history.leading.lock().unwrap().remove(&self.generation);
    }
}

fn secret_of(entry: &Cached) -> String {
    entry.access_token().unwrap().secret.to_owned()
}
