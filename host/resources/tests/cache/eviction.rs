//! What goes when there is no room.

use symbolon_resources::cache::{AccessToken, Account, ApplicationId, CacheLimits, Entry, Saved};

use crate::support::*;

fn limits(change: impl FnOnce(&mut CacheLimits)) -> CacheLimits {
    let mut limits = CacheLimits::default();
    change(&mut limits);
    limits
}

#[tokio::test]
async fn expired_first_then_least_recently_used_and_refresh_tokens_last() {
    let (cache, clock) = cache(limits(|limits| limits.max_application_entries = 4));
    let application = cache.namespace(ApplicationId::new("app"));
    let there = || {
        ["refresh", "a", "b", "short", "c", "d", "e"]
            .into_iter()
            .filter(|key| application.get(key).is_some())
            .collect::<Vec<_>>()
    };
    put_entry(&application, None, &["refresh"], Entry::RefreshToken(refresh_token("refresh")));
    clock.advance(1000);
    put(&application, None, "a", "a");
    clock.advance(1000);
    put(&application, None, "b", "b");
    clock.advance(1000);
    put_entry(&application, None, &["short"], Entry::AccessToken(token("short", NOW + 4)));
    assert_eq!(there(), ["refresh", "a", "b", "short"]);

    clock.advance(1000);
    put(&application, None, "c", "c");
    assert_eq!(there(), ["refresh", "a", "b", "c"], "the expired one went first");

    clock.advance(1000);
    hit(find(&application, "a").await);
    clock.advance(1000);
    put(&application, None, "d", "d");
    assert_eq!(there(), ["refresh", "a", "c", "d"], "b was the least recently used");

    clock.advance(1000);
    for key in ["a", "c", "d"] {
        put_entry(&application, None, &[key], Entry::RefreshToken(refresh_token(key)));
    }
    put(&application, None, "e", "e");
    assert_eq!(there(), ["refresh", "a", "c", "d"], "an access token, before any refresh token");
    assert_eq!(application.statistics().lasting, 4);
    let evicted = application.statistics().evicted;
    assert_eq!((evicted.application_entries, evicted.expired, evicted.lasting), (3, 1, 0));
    put_entry(&application, None, &["f"], Entry::RefreshToken(refresh_token("f")));
    assert_eq!(application.statistics().evicted.lasting, 1, "among refresh tokens alone, one of them");
    assert_eq!(application.statistics().evictions, 4);
}

#[test]
fn an_application_is_bounded_by_bytes() {
    let (cache, _) = cache(limits(|limits| limits.max_application_bytes = 20_000));
    let application = cache.namespace(ApplicationId::new("app"));
    for i in 0..100 {
        put(&application, None, &i.to_string(), &"t".repeat(1_400));
        assert!(application.statistics().bytes <= 20_000);
    }
    let statistics = application.statistics();
    assert!(
        (12..=13).contains(&statistics.entries),
        "1.4 kB each and something for the rest: {statistics:?}"
    );
    assert_eq!(statistics.evictions, 100 - statistics.entries as u64);
    assert_eq!(statistics.evicted.application_bytes, statistics.evictions);
    assert_eq!(statistics, cache.statistics());
}

#[test]
fn all_applications_together_are_bounded() {
    let (cache, clock) = cache(limits(|limits| limits.max_entries = 50));
    let applications: Vec<_> = (0..20).map(|i| cache.namespace(ApplicationId::new(i.to_string()))).collect();
    for round in 0..10 {
        for application in &applications {
            put(application, None, &round.to_string(), "token");
            assert!(cache.statistics().entries <= 50);
        }
        clock.advance(1000);
    }
    assert_eq!(cache.statistics().entries, 50);
    assert_eq!((cache.statistics().evictions, cache.statistics().evicted.entries), (150, 150));
    for application in &applications {
        assert!(application.get("9").is_some(), "the latest, though the sample is of some applications only");
    }
}

#[test]
fn the_least_recently_used_goes_nearly_always_in_a_large_cache_too() {
    let (cache, clock) = cache(limits(|limits| limits.max_application_entries = 10_000));
    let application = cache.namespace(ApplicationId::new("app"));
    for i in 0..10_500 {
        put(&application, None, &i.to_string(), "token");
        clock.advance(1000);
    }
    let oldest_left = (0..2_000).filter(|i| application.get(&i.to_string()).is_some()).count();
    assert!((1_500..1_600).contains(&oldest_left), "{oldest_left} of the 1,500 that should be left");
}

#[test]
fn an_entry_that_is_too_large_is_not_stored_and_neither_is_what_comes_with_it() {
    let (application, _) = application();
    let large = "t".repeat(CacheLimits::default().max_entry_bytes);
    let (one, two, group) = (keys(["one"]), keys(["two"]), keys(["group"]));
    put_in(&application, None, false, "group", &["earlier"]);
    application.put(
        None,
        &group,
        &[
            Saved {
                entry: Entry::RefreshToken(refresh_token("small")),
                keys: &one,
                replaces: &[],
                groups: &group,
                partition_key: "",
                item_key: "",
            },
            Saved {
                entry: Entry::RefreshToken(refresh_token(&large)),
                keys: &two,
                replaces: &[],
                groups: &[],
                partition_key: "",
                item_key: "",
            },
        ],
    );
    assert_eq!(members(&application, "group"), ["earlier"]);
    assert_eq!(application.statistics().entries, 1);
}

#[test]
fn an_account_stays_as_long_as_a_refresh_token() {
    let (cache, clock) = cache(limits(|limits| limits.max_application_entries = 2));
    let application = cache.namespace(ApplicationId::new("app"));
    let account = Account {
        home_account_id: "uid.utid",
        environment: "login.microsoftonline.com",
        realm: "",
        local_account_id: "uid",
        username: "someone@contoso.com",
        name: None,
    };
    put_entry(&application, None, &["account"], Entry::Account(account));
    for key in ["a", "b", "c"] {
        clock.advance(1000);
        put(&application, None, key, key);
    }
    assert!(application.get("account").is_some() && application.get("c").is_some());
    put_entry(&application, None, &["refresh"], Entry::RefreshToken(refresh_token("refresh")));
    clock.advance(1000);
    put_entry(&application, None, &["refresh 2"], Entry::RefreshToken(refresh_token("refresh")));
    assert!(application.get("account").is_none(), "among equals, the least recently used");
}

#[test]
fn long_names_are_counted() {
    let (application, _) = application();
    let long = "n".repeat(10_000);
    let entry = AccessToken { environment: &long, ..token("token", NOW) };
    put_entry(&application, None, &["key"], Entry::AccessToken(entry));
    assert!(application.statistics().bytes > 10_000);
    assert_eq!(application.get("key").unwrap().access_token().unwrap().environment, long);
}

#[test]
fn an_application_token_takes_little_more_than_itself() {
    let (application, _) = application();
    let secret = "t".repeat(1_400);
    for i in 0..100 {
        put(&application, None, &i.to_string(), &secret);
    }
    let beside = application.statistics().bytes / 100 - secret.len();
    println!("{beside} bytes beside the token");
    assert!(beside <= 175, "{beside}");
}

#[test]
fn names_that_many_tokens_share_are_kept_once_and_others_are_counted() {
    let (application, _) = application();
    let bytes_with = |client_id: &str| {
        let before = application.statistics().bytes;
        let entry = AccessToken { client_id, ..token("token", NOW) };
        put_entry(&application, None, &[client_id], Entry::AccessToken(entry));
        assert_eq!(application.get(client_id).unwrap().access_token().unwrap().client_id, client_id);
        application.statistics().bytes - before
    };
    let kept: Vec<_> = (0..8).map(|i| bytes_with(&format!("client {i:02}"))).collect();
    assert!(kept.iter().all(|bytes| *bytes == kept[0]));
    let more: Vec<_> = (8..40).map(|i| bytes_with(&format!("client {i:02}"))).collect();
    assert!(more[31] > kept[0] + 100, "there is no end of names: {more:?}");
    application.clear();
    assert_eq!(bytes_with("client 40"), kept[0], "the names of entries that are gone make room");
}
