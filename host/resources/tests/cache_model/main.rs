//! The cache under a scheduler that tries many interleavings, and finds deadlocks and lost wake-ups.
//!
//! The cache's own source is compiled here with the locks and atomics of that scheduler in the place of the standard
//! library's. Here are situations, one a test; [`applications`] has whole applications do anything at any time.

#![allow(clippy::panic, clippy::unwrap_used, reason = "these are tests, their helpers included")]

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use cache::{
    AccessToken, ApplicationCache, ApplicationId, CacheLimits, Components, Entry, Found, Lookup, Saved,
    TokenCache,
};
use clock::ManualClock;
use shuttle::future::{block_on, spawn};

mod applications;
#[allow(dead_code, unreachable_pub, unused_imports, reason = "only a part is used here")]
#[path = "../../src/cache/mod.rs"]
mod cache;
#[allow(dead_code, unreachable_pub, reason = "only a part is used here")]
#[path = "../../src/clock.rs"]
mod clock;
mod sync {
    pub(crate) use shuttle::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic};
    pub(crate) use shuttle::thread_local;
}

type Application = ApplicationCache<String>;

const SCHEDULES: usize = 3_000;

/// Runs a test under many schedules, half of them chosen at random and half so that few switches are in each.
fn check(test: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(test.clone(), SCHEDULES / 2);
    shuttle::check_pct(test, SCHEDULES / 2, 3);
}

fn application() -> Application {
    TokenCache::new(CacheLimits::default(), Arc::new(ManualClock::new(0)))
        .namespace(ApplicationId::new("app"))
}

fn put(application: &Application, ticket: Option<cache::Ticket<String>>, under: &[&[&str]], secret: &str) {
    let keys: Vec<Vec<String>> =
        under.iter().map(|keys| keys.iter().map(|key| key.to_string()).collect()).collect();
    let saved: Vec<_> = keys
        .iter()
        .map(|keys| Saved {
            entry: token(secret),
            keys,
            replaces: &[],
            groups: &[],
            partition_key: "",
            item_key: "",
        })
        .collect();
    application.put(ticket, &[], &saved);
}

/// Puts entries into the group, each under one key, in the place of what was in it where asked.
fn put_in_group(
    application: &Application,
    ticket: Option<cache::Ticket<String>>,
    replaces: bool,
    under: &[&str],
    secret: &str,
) {
    let groups = ["group".to_owned()];
    let keys: Vec<_> = under.iter().map(|key| [key.to_string()]).collect();
    let saved: Vec<_> = keys
        .iter()
        .map(|keys| Saved {
            entry: token(secret),
            keys,
            replaces: &[],
            groups: &groups,
            partition_key: "",
            item_key: "",
        })
        .collect();
    application.put(ticket, if replaces { &groups } else { &[] }, &saved);
}

fn token(secret: &str) -> Entry<'_> {
    Entry::AccessToken(AccessToken {
        home_account_id: "",
        environment: "",
        client_id: "",
        realm: "",
        target: "",
        secret,
        token_type: "Bearer",
        username: None,
        key_id: None,
        user_assertion_hash: None,
        cached_at: 0,
        expires_on: 1,
        extended_expires_on: None,
        refresh_on: None,
        components: Components::default(),
    })
}

async fn find(application: &Application, bypass: bool) -> Found<String> {
    let alternatives = [vec!["key".to_owned()]];
    application.find(Lookup { alternatives: &alternatives, bypass, ..wanted() }).await
}

fn wanted() -> Lookup<'static> {
    Lookup {
        alternatives: &[],
        expires_after: 0,
        expires_before: 1,
        bypass: false,
        renews: false,
        flight: Some("flight"),
    }
}

fn secret(application: &Application, key: &str) -> Option<u64> {
    application.get(key).map(|entry| number(&entry))
}

fn number(entry: &cache::Cached) -> u64 {
    entry.access_token().unwrap().secret.parse().unwrap()
}

/// Awaits a future, or, where a number of polls is given, drops it if it isn't done by then.
async fn within<T>(polls: Option<usize>, future: impl Future<Output = T>) -> Option<T> {
    let Some(mut polls) = polls else { return Some(future.await) };
    let mut future = pin!(future);
    poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        context.waker().wake_by_ref();
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Runs so many tasks and waits for all.
fn run_all<F: Future<Output = ()> + Send + 'static>(tasks: impl IntoIterator<Item = F>) {
    let tasks: Vec<_> = tasks.into_iter().map(spawn).collect();
    block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn one_leads_and_all_others_find_what_it_brought() {
    check(|| {
        let application = application();
        let leads = Arc::new(AtomicU64::new(0));
        run_all((0..3).map(|_| {
            let (application, leads) = (application.clone(), leads.clone());
            async move {
                match find(&application, false).await {
                    Found::Hit(entry) => assert_eq!(number(&entry), 0),
                    Found::Lead { ticket, .. } => {
                        let lead = leads.fetch_add(1, Ordering::SeqCst);
                        put(&application, Some(ticket), &[&["key"]], &lead.to_string());
                    }
                    other => panic!("{other:?}"),
                }
            }
        }));
        assert_eq!(leads.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_lead_is_never_lost() {
    check(|| {
        let application = application();
        let leads = Arc::new(AtomicU64::new(0));
        run_all((0..5).map(|i| {
            let (application, leads) = (application.clone(), leads.clone());
            async move {
                // The first two give up sooner or later, also in the moment in which the lead is theirs.
                let found = within((i < 2).then_some(i + 1), find(&application, false)).await;
                match found {
                    None => {}
                    Some(Found::Hit(entry)) => assert_eq!(number(&entry), 7),
                    Some(Found::Lead { ticket, .. }) => {
                        // Whoever leads first drops it: a trap. The next brings it.
                        if leads.fetch_add(1, Ordering::SeqCst) == 0 {
                            drop(ticket);
                        } else {
                            put(&application, Some(ticket), &[&["key"]], "7");
                        }
                    }
                    Some(other) => panic!("{other:?}"),
                }
            }
        }));
        assert!((1..=2).contains(&leads.load(Ordering::SeqCst)));
        assert_eq!(secret(&application, "key").is_some(), leads.load(Ordering::SeqCst) == 2);
    });
}

#[test]
fn a_failure_ends_the_flight_for_all() {
    check(|| {
        let application = application();
        let leads = Arc::new(AtomicU64::new(0));
        run_all((0..4).map(|i| {
            let (application, leads) = (application.clone(), leads.clone());
            async move {
                match within((i == 0).then_some(2), find(&application, false)).await {
                    None => {}
                    Some(Found::Lead { ticket, .. }) => {
                        leads.fetch_add(1, Ordering::SeqCst);
                        application.fail(ticket, &"down".to_owned());
                    }
                    Some(Found::Failed(error)) => assert_eq!(error, "down"),
                    Some(other) => panic!("{other:?}"),
                }
            }
        }));
        assert!(leads.load(Ordering::SeqCst) >= 1);
        block_on(async { assert!(matches!(find(&application, false).await, Found::Lead { .. })) });
    });
}

#[test]
fn whoever_looks_past_the_cache_gets_what_was_asked_for_after_the_call() {
    check(|| {
        let application = application();
        put(&application, None, &[&["key"]], "0");
        // Counts requests as they are sent.
        let sent = Arc::new(AtomicU64::new(0));
        run_all((0..4).map(|i| {
            let (application, sent) = (application.clone(), sent.clone());
            async move {
                let before = sent.load(Ordering::SeqCst);
                match find(&application, i > 0).await {
                    Found::Hit(entry) if i > 0 => assert!(number(&entry) > before),
                    Found::Hit(_) => {}
                    Found::Lead { ticket, .. } => {
                        let request = sent.fetch_add(1, Ordering::SeqCst) + 1;
                        shuttle::future::yield_now().await;
                        put(&application, Some(ticket), &[&["key"]], &request.to_string());
                    }
                    other => panic!("{other:?}"),
                }
            }
        }));
        assert!((1..=3).contains(&sent.load(Ordering::SeqCst)));
    });
}

#[test]
fn what_is_put_together_appears_together() {
    check(|| {
        let application = application();
        put(&application, None, &[&["a", "b"], &["c"]], "0");
        let writer = application.clone();
        let writers = (1..3).map(move |i: u64| {
            let application = writer.clone();
            async move { put(&application, None, &[&["a"], &["b", "c"]], &i.to_string()) }
        });
        let reader = application.clone();
        let writers: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> =
            writers.map(|writer| Box::pin(writer) as _).collect();
        let read = Box::pin(async move {
            // A set, once seen, has replaced all of an earlier one.
            let a = secret(&reader, "a").unwrap();
            let b = secret(&reader, "b").unwrap();
            let c = secret(&reader, "c").unwrap();
            assert!(a == 0 || (b != 0 && c != 0), "{a} {b} {c}");
            assert!(b == 0 || c != 0, "{b} {c}");
        });
        run_all(writers.into_iter().chain([read as _]));
        let [a, b, c] = ["a", "b", "c"].map(|key| secret(&application, key).unwrap());
        assert!(a == b && b == c, "{a} {b} {c}: the sets mixed");
        assert_eq!(application.statistics().entries, 2);
    });
}

#[test]
fn what_holds_two_keys_is_found_while_it_is_replaced() {
    check(|| {
        let application = application();
        put(&application, None, &[&["a", "b"]], "0");
        run_all((0..3).map(|i| {
            let application = application.clone();
            async move {
                if i > 0 {
                    return put(&application, None, &[&["a", "b"]], &i.to_string());
                }
                let alternatives = [vec!["a".to_owned(), "b".to_owned()]];
                let lookup = Lookup { alternatives: &alternatives, flight: None, ..wanted() };
                assert!(matches!(application.find(lookup).await, Found::Hit(_)));
            }
        }));
    });
}

#[test]
fn nothing_is_left_behind_or_counted_twice() {
    check(|| {
        let application = application();
        run_all((0..3).map(|i| {
            let application = application.clone();
            async move {
                match i {
                    0 => put(&application, None, &[&["a", "b"]], "0"),
                    1 => put(&application, None, &[&["b", "c"]], "1"),
                    _ => {
                        application.remove("a");
                        application.remove("b");
                    }
                }
            }
        }));
        let held: Vec<_> = ["a", "b", "c"].iter().filter_map(|key| application.get(key)).collect();
        assert!(held.iter().all(|entry| entry.is_alive()));
        assert!(application.statistics().entries <= 1, "they share a key");
        assert_eq!(held.len(), 2 * application.statistics().entries, "each lies under two keys");
        application.clear();
        assert_eq!((application.statistics().entries, application.statistics().bytes), (0, 0));
    });
}

#[test]
fn clearing_outlasts_what_was_under_way() {
    check(|| {
        let application = application();
        let ticket = block_on(async {
            match find(&application, false).await {
                Found::Lead { ticket, .. } => ticket,
                other => panic!("{other:?}"),
            }
        });
        let (putting, clearing) = (application.clone(), application.clone());
        let put = spawn(async move { put(&putting, Some(ticket), &[&["a"], &["b"]], "0") });
        let clear = spawn(async move { clearing.clear() });
        block_on(async {
            put.await.unwrap();
            clear.await.unwrap();
        });
        assert_eq!(application.statistics().entries, 0);
    });
}

#[test]
fn removing_a_group_outlasts_what_was_under_way() {
    check(|| {
        let application = application();
        put_in_group(&application, None, false, &["root"], "0");
        run_all((0..4).map(|i| {
            let application = application.clone();
            async move {
                if i == 0 {
                    assert!(application.remove_group("group"));
                    return;
                }
                match find(&application, false).await {
                    // Renewed before the group was removed, or after; in the first case it went with the group.
                    Found::Hit(entry) => assert_eq!(number(&entry), 1),
                    Found::Failed(error) => assert_eq!(error, "no root"),
                    // Whoever leads renews by the root, if that is there.
                    Found::Lead { ticket, .. } => match secret(&application, "root") {
                        None => application.fail(ticket, &"no root".to_owned()),
                        Some(_) => {
                            shuttle::future::yield_now().await;
                            put_in_group(&application, Some(ticket), false, &["key", "root"], "1");
                        }
                    },
                    other => panic!("{other:?}"),
                }
            }
        }));
        assert!(["key", "root"].iter().all(|key| application.get(key).is_none()));
        assert!(application.members("group").is_empty());
        assert_eq!(application.kept_of_groups().0, 0);
    });
}

#[test]
fn clearing_leaves_nothing_to_renew_by() {
    check(|| {
        let application = application();
        put(&application, None, &[&["root"]], "0");
        run_all((0..3).map(|i| {
            let application = application.clone();
            async move {
                if i == 0 {
                    return application.clear();
                }
                if let Found::Lead { ticket, .. } = find(&application, false).await
                    && secret(&application, "root").is_some()
                {
                    put(&application, Some(ticket), &[&["key"], &["root"]], "1");
                }
            }
        }));
        assert_eq!(application.statistics().entries, 0);
    });
}

#[test]
fn a_group_is_replaced_at_once() {
    check(|| {
        let application = application();
        put_in_group(&application, None, true, &["a", "b"], "0");
        run_all((0..4).map(|i| {
            let application = application.clone();
            async move {
                match i {
                    0 => put_in_group(&application, None, true, &["b", "a"], "1"),
                    1 => put_in_group(&application, None, true, &["c", "d"], "2"),
                    _ => {
                        let numbers: Vec<_> =
                            application.members("group").iter().map(|entry| number(entry)).collect();
                        assert!(matches!(numbers[..], [one, other] if one == other), "{numbers:?}");
                    }
                }
            }
        }));
        let members = application.members("group");
        assert_eq!((members.len(), application.statistics().entries), (2, 2));
        assert!(members.iter().all(|entry| entry.is_alive()));
    });
}

#[test]
fn changes_to_groups_and_keys_do_not_wait_for_each_other() {
    check(|| {
        let application = application();
        put_in_group(&application, None, false, &["a", "b", "c"], "0");
        run_all((0..4).map(|i| {
            let application = application.clone();
            async move {
                match i {
                    // Without a group, in the place of one that has one.
                    0 => put(&application, None, &[&["c", "a"]], "1"),
                    1 => put_in_group(&application, None, true, &["b", "d"], "2"),
                    2 => drop(application.remove("b")),
                    _ => drop(application.remove_group("group")),
                }
            }
        }));
        let members = application.members("group");
        assert_eq!(members.len(), application.kept_of_groups().0);
        assert!(members.iter().all(|entry| entry.is_alive()));
        assert_eq!(application.statistics().entries, members.len() + 1, "one is in no group");
        application.clear();
        assert_eq!(application.kept_of_groups(), (0, 0));
        assert_eq!(application.statistics().bytes, 0);
    });
}

#[test]
fn removed_groups_are_forgotten_when_no_flight_is_left_that_might_bring_them() {
    let test = || {
        let application = application();
        let lead = || match block_on(find(&application, false)) {
            Found::Lead { ticket, .. } => ticket,
            other => panic!("{other:?}"),
        };
        let remove = |groups: std::ops::Range<u32>| {
            for group in groups {
                assert!(!application.remove_group(&group.to_string()));
            }
        };
        let ticket = lead();
        remove(0..1_000);
        assert_eq!(application.kept_of_groups().1, 1_000, "the flight might bring any of them");
        drop(ticket);
        remove(0..10_000);
        assert!(application.kept_of_groups().1 < 100, "no flight might");
    };
    shuttle::check_random(test, 1);
}
