//! Answers to whole requests.

use std::sync::Arc;

use symbolon_resources::cache::{ApplicationId, CacheLimits, Cached, Held, RequestDigest, Reuse, ReuseMap};

use crate::support::*;

const ALWAYS: Reuse = Reuse { until: u64::MAX, refresh_from: None, generation: None };

fn request(map: &ReuseMap, name: &str) -> RequestDigest {
    map.request().field(name).finish()
}

/// A map that has one answer, which is in the cache: first one that nobody has asked, then one that this thread asked so
/// often that it has the answer at hand.
fn each(reuse: Reuse) -> impl Iterator<Item = (ReuseMap, RequestDigest, Application)> {
    [false, true].into_iter().map(move |at_hand| {
        let (map, request, application) = one(reuse);
        if at_hand {
            let ask = || map.get(request, NOW * 1000, reuse.generation).unwrap().entry;
            assert!(matches!([ask(), ask(), ask()], [Held::Shared(_), Held::Local(_), Held::Local(_)]));
        }
        (map, request, application)
    })
}

fn one(reuse: Reuse) -> (ReuseMap, RequestDigest, Application) {
    let (application, _) = application();
    put_token_in(&application, "group", "key", "token");
    let map = ReuseMap::new(100);
    let request = request(&map, "request");
    map.remember(request, &application.get("key").unwrap(), reuse, NOW * 1000);
    (map, request, application)
}

#[test]
fn an_answer_stands_until_its_time() {
    for (map, request, application) in each(Reuse { until: NOW + 10, ..ALWAYS }) {
        let reused = map.get(request, (NOW + 10) * 1000 - 1, None).unwrap();
        assert!(Arc::ptr_eq(reused.entry.shared(), &application.get("key").unwrap()), "no copy");
        assert!(!reused.refresh_due);
        assert!(map.get(request, (NOW + 10) * 1000, None).is_none());
        assert!(map.get(self::request(&map, "another"), NOW * 1000, None).is_none());
    }
}

#[test]
fn an_answer_goes_with_its_entry() {
    for end in [
        (|application: &Application| assert!(application.remove("key"))) as fn(&Application),
        |application| application.clear(),
        |application| put(application, None, "key", "a newer one"),
        |application| assert!(application.remove_group("group")),
    ] {
        for (map, request, application) in each(ALWAYS) {
            let held = map.get(request, NOW * 1000, None).unwrap().entry;
            end(&application);
            assert!(map.get(request, NOW * 1000, None).is_none());
            assert_eq!(secret(held.shared()), "token", "whoever has it keeps it");
        }
    }
}

#[test]
fn an_answer_that_is_bound_stands_while_its_certificate_is_in_use() {
    for (map, request, _application) in each(Reuse { generation: Some(7), ..ALWAYS }) {
        assert!(map.get(request, NOW * 1000, Some(7)).is_some());
        assert!(map.get(request, NOW * 1000, Some(8)).is_none());
        assert!(map.get(request, NOW * 1000, None).is_none());
    }
    let (map, request, _application) = one(ALWAYS);
    assert!(map.get(request, NOW * 1000, Some(8)).is_some(), "this one isn't bound");
}

#[test]
fn one_caller_refreshes_and_the_next_when_it_must_be_gone() {
    for (map, request, _application) in each(Reuse { refresh_from: Some(NOW + 5), ..ALWAYS }) {
        let at = |ms: u64| map.get(request, NOW * 1000 + ms, None).unwrap();
        assert!(!at(4_999).refresh_due);
        assert!(at(5_000).refresh_due);
        let claim = |ms: u64| at(ms).entry.claim_refresh(NOW * 1000 + ms);
        assert!(claim(5_000) && !claim(5_000));
        assert!(!at(5_000).refresh_due, "someone is at it");
        let next = 5_000 + Cached::REFRESH_LEASE_MS;
        assert!(!claim(next - 1) && !at(next - 1).refresh_due);
        assert!(at(next).refresh_due && claim(next) && !claim(next), "whoever claimed it is gone");
    }
}

#[test]
fn of_many_threads_one_claims_the_refresh() {
    let (_map, _request, application) = one(ALWAYS);
    let entry = application.get("key").unwrap();
    let claimed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..16).map(|_| scope.spawn(|| usize::from(entry.claim_refresh(NOW)))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(claimed, 1);
}

#[test]
fn a_thread_with_the_answer_at_hand_learns_of_a_newer_one() {
    for (map, request, application) in each(ALWAYS) {
        put(&application, None, "key", "a newer one");
        map.remember(request, &application.get("key").unwrap(), ALWAYS, NOW * 1000);
        assert_eq!(secret(map.get(request, NOW * 1000, None).unwrap().entry.shared()), "a newer one");
    }
}

#[test]
fn what_a_thread_has_at_hand_is_gone_from_memory_when_it_is_asked_in_vain() {
    let (map, request, application) = each(ALWAYS).last().unwrap();
    let entry = Arc::downgrade(&application.get("key").unwrap());
    application.clear();
    assert!(map.get(request, NOW * 1000, None).is_none());
    assert_eq!(entry.strong_count(), 0);
}

#[test]
fn each_byte_of_a_long_field_counts() {
    let map = ReuseMap::new(1);
    let digest = |field: &[u8]| map.request().field(field).finish();
    for length in [255, 256, 257, 2048] {
        let field = vec![b'e'; length];
        assert_eq!(digest(&field), digest(&field.clone()));
        assert_ne!(digest(&field), digest(&field[1..]));
        assert_ne!(digest(&field), digest(&[&field[..], b"e"].concat()));
        assert_ne!(digest(&field), ReuseMap::new(1).request().field(&field).finish(), "another map");
        for position in 0..length {
            let mut other = field.clone();
            other[position] ^= 1;
            assert_ne!(digest(&field), digest(&other), "byte {position} of {length}");
        }
    }
}

#[test]
fn fields_do_not_run_into_each_other() {
    let map = ReuseMap::new(1);
    let digests = [
        map.request().field("ab").field("c").finish(),
        map.request().field("a").field("bc").finish(),
        map.request().field("abc").finish(),
        map.request().field("abc").field("").finish(),
        map.request().field("abc").optional(None::<&str>).finish(),
        map.request().field("abc").optional(Some("")).finish(),
        map.request().number(3).field("abc").finish(),
        map.request().number(252).finish(),
        map.request().number(253).field("").finish(),
        map.request().optional(Some("")).finish(),
        map.request().number(254).finish(),
        map.request().optional(None::<&str>).finish(),
        map.request().number(255).finish(),
        map.request().number(256).finish(),
        map.request().number(255).number(255).finish(),
        map.request().number(u64::MAX).finish(),
        map.request().finish(),
    ];
    for (i, one) in digests.iter().enumerate() {
        for (j, other) in digests.iter().enumerate() {
            assert_eq!(one == other, i == j, "{i} and {j}");
        }
    }
    assert_eq!(digests[2], map.request().field("abc").finish());
    assert_ne!(digests[2], ReuseMap::new(1).request().field("abc").finish(), "another map");
}

#[test]
fn the_map_is_bounded_and_what_no_longer_stands_goes_first() {
    let (application, clock) = application();
    let map = ReuseMap::new(320);
    let remember = |i: u64, key: &str, until: u64| {
        let request = map.request().number(i).finish();
        map.remember(request, &application.get(key).unwrap(), Reuse { until, ..ALWAYS }, (NOW + 10) * 1000);
    };
    put(&application, None, "removed", "token");
    put(&application, None, "kept", "token");
    for i in 0..5_000 {
        if i % 2 == 0 {
            remember(i, "removed", u64::MAX);
        } else {
            remember(i, "kept", NOW + 10);
        }
    }
    assert_eq!(map.len(), 320);
    application.remove("removed");
    clock.advance(1000);
    for i in 10_000..10_100 {
        remember(i, "kept", u64::MAX);
    }
    assert_eq!(map.len(), 320);
    let left = (10_000..10_100)
        .filter(|i| map.get(map.request().number(*i).finish(), (NOW + 10) * 1000, None).is_some())
        .count();
    // A shard of ten that gets nine of the hundred has to choose among them.
    assert!(left >= 90, "{left} of 100 are left, though there were 320 that no longer stand");
}

#[test]
fn an_answer_in_use_keeps_its_entry_from_being_evicted() {
    let mut limits = CacheLimits::default();
    limits.max_application_entries = 3;
    let (cache, clock) = cache(limits);
    let application = cache.namespace(ApplicationId::new("app"));
    put(&application, None, "used", "token");
    let map = ReuseMap::new(10);
    let request = request(&map, "request");
    map.remember(request, &application.get("used").unwrap(), ALWAYS, NOW * 1000);
    for i in 1..10 {
        clock.advance(1000);
        assert!(map.get(request, (NOW + i) * 1000, None).is_some(), "{i}");
        put(&application, None, &i.to_string(), "token");
    }
}

#[test]
fn what_is_too_late_or_too_high_to_be_kept_does_not_stand_for_longer() {
    let (map, request, application) = one(Reuse { until: u64::MAX, ..ALWAYS });
    assert!(map.get(request, NOW * 1000, None).is_some());
    assert!(map.get(request, u64::from(u32::MAX) * 1000, None).is_none());
    for generation in [u64::from(u32::MAX), 1 << 32, u64::MAX] {
        let other = map.request().number(generation).finish();
        let reuse = Reuse { generation: Some(generation), ..ALWAYS };
        map.remember(other, &application.get("key").unwrap(), reuse, NOW * 1000);
        for current in [Some(generation), Some(0), None] {
            assert!(map.get(other, NOW * 1000, current).is_none());
        }
    }
}
