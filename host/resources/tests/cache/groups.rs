//! Entries that are listed together, and go together.

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use symbolon_resources::cache::{ApplicationId, CacheLimits, Entry, Saved};

use crate::support::*;

#[test]
fn the_members_of_a_group_are_listed_oldest_first() {
    let (application, _) = application();
    put_in(&application, None, false, "group", &["z", "a"]);
    put_in(&application, None, false, "another", &["other"]);
    put_in(&application, None, false, "group", &["m"]);
    assert_eq!(members(&application, "group"), ["z", "a", "m"]);
    put_in(&application, None, false, "group", &["z"]);
    assert_eq!(members(&application, "group"), ["a", "m", "z"], "a replacement is a new entry");
    assert!(application.remove("m"));
    assert_eq!(members(&application, "group"), ["a", "z"]);
    put(&application, None, "a", "without a group");
    assert_eq!(members(&application, "group"), ["z"]);
    assert!(members(&application, "z").is_empty(), "keys of entries are not keys of groups");
    application.clear();
    assert!(members(&application, "group").is_empty() && members(&application, "another").is_empty());
}

#[test]
fn a_group_is_removed_with_all_that_is_in_it() {
    let (application, _) = application();
    let (one, both) = (keys(["1"]), keys(["1", "2", "1"]));
    let saved = |secret, keys, groups| Saved {
        entry: Entry::RefreshToken(refresh_token(secret)),
        keys,
        replaces: &[],
        groups,
        partition_key: "",
        item_key: "",
    };
    let under = [keys(["a", "b"]), keys(["c"]), keys(["d"])];
    application.put(
        None,
        &[],
        &[saved("ab", &under[0], &one), saved("c", &under[1], &both), saved("d", &under[2], &[])],
    );
    assert_eq!((members(&application, "1").len(), members(&application, "2").len()), (2, 1));
    let held = application.get("a").unwrap();
    assert!(application.remove_group("1") && !application.remove_group("1"));
    assert!(!held.is_alive());
    assert!(["a", "b", "c"].iter().all(|key| application.get(key).is_none()));
    assert!(members(&application, "1").is_empty() && members(&application, "2").is_empty());
    assert_eq!(secret(&application.get("d").unwrap()), "d");
    assert!(!application.remove_group("2") && !application.remove_group("never seen"));
}

#[tokio::test]
async fn a_flight_brings_nothing_for_a_group_that_was_removed_meanwhile() {
    let (application, _) = application();
    let flights = ["1", "2", "3"];
    let [first, second, third] = flights.map(|flight| format!("flight {flight}"));
    let early = lead(find(&application, &first).await);
    let bystander = lead(find(&application, &second).await);
    put_in(&application, None, false, "group", &["root"]);
    assert!(application.remove_group("group"));
    let late = lead(find(&application, &third).await);

    put_in(&application, Some(early), false, "group", &[&first, "root"]);
    assert!(application.get(&first).is_none() && members(&application, "group").is_empty());
    put_in(&application, Some(bystander), false, "another", &[&second]);
    assert_eq!(members(&application, "another"), [second], "this group is there");
    put_in(&application, Some(late), false, "group", &[&third]);
    assert_eq!(members(&application, "group"), [third], "this flight began afterwards");
}

#[tokio::test]
async fn a_flight_whose_put_is_refused_ends_all_the_same() {
    let (application, _) = application();
    let ticket = lead(find(&application, "key").await);
    let waiting = tokio::spawn({
        let application = application.clone();
        async move { lead(find(&application, "key").await) }
    });
    tokio::task::yield_now().await;
    application.remove_group("group");
    put_in(&application, Some(ticket), false, "group", &["key"]);
    put_in(&application, Some(waiting.await.unwrap()), false, "group", &["key"]);
    assert_eq!(members(&application, "group"), ["key"], "who waited led a flight of its own");
}

#[tokio::test]
async fn a_group_that_is_replaced_is_what_the_last_one_brought() {
    let (application, _) = application();
    let [one, two] = ["1", "2"];
    let (first, second) = (lead(find(&application, one).await), lead(find(&application, two).await));
    put_in(&application, None, false, "group", &["old", "older"]);
    put_in(&application, Some(second), true, "group", &[two, "new"]);
    assert_eq!(members(&application, "group"), [two, "new"], "its own flight had begun before, too");
    assert!(application.get("old").is_none());
    put_in(&application, Some(first), true, "group", &[one]);
    assert_eq!(
        members(&application, "group"),
        [two, "new"],
        "another one's is late, though it would replace"
    );
    put_in(&application, None, true, "group", &["no flight"]);
    assert_eq!(members(&application, "group"), ["no flight"]);
}

#[tokio::test]
async fn nothing_is_replaced_by_a_flight_that_is_late() {
    let (application, _) = application();
    let stale = lead(find(&application, "stale").await);
    application.remove_group("group");
    put_in(&application, None, true, "group", &["in use"]);
    application.put(Some(stale), &keys(["group"]), &[]);
    assert_eq!(members(&application, "group"), ["in use"]);
}

#[test]
fn the_memory_of_groups_is_counted_and_no_entry_without_pays_for_it() {
    let (application, _) = application();
    let bytes_of = |groups: &[&str]| {
        let saved = Saved {
            entry: Entry::RefreshToken(refresh_token("token")),
            keys: &keys(["key"]),
            replaces: &[],
            groups: &keys(groups),
            partition_key: "",
            item_key: "",
        };
        application.put(None, &[], &[saved]);
        let bytes = application.statistics().bytes;
        assert_eq!(bytes, application.get("key").unwrap().bytes());
        bytes
    };
    let [none, one, two, twice] =
        [&[][..], &["first"], &["first", "second"], &["first", "first"]].map(bytes_of);
    assert!(none + 48 < one && one + 48 < two && twice == one, "{none} {one} {two} {twice}");
    assert!(application.remove_group("first"));
    assert_eq!(application.statistics().bytes, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever makes room doesn't look at groups; they list what is there all the same.
    #[test]
    fn a_group_lists_what_was_not_evicted(
        puts in vec((btree_set(0..8_u8, 1..3), btree_set(0..3_u8, 0..3)), 1..40),
    ) {
        let mut limits = CacheLimits::default();
        (limits.max_entries, limits.max_application_entries) = (4, 4);
        let (cache, clock) = cache(limits);
        let [application, other] = ["app", "other"].map(|id| cache.namespace(ApplicationId::new(id)));
        // What each put brought, as the test knows it.
        let mut brought: Vec<(String, BTreeSet<u8>, BTreeSet<u8>)> = Vec::new();
        for (i, (under, groups)) in puts.iter().enumerate() {
            clock.advance(1000);
            let text = i.to_string();
            let saved = Saved {
                entry: Entry::RefreshToken(refresh_token(&text)),
                keys: &keys(under),
                replaces: &[],
                groups: &keys(groups), partition_key: "", item_key: "" };
            application.put(None, &[], &[saved]);
            brought.push((text.clone(), under.clone(), groups.clone()));
            let there: BTreeSet<_> =
                (0..8_u8).filter_map(|key| application.get(&key.to_string())).map(|entry| secret(&entry)).collect();
            prop_assert!(there.contains(&text) && there.len() == application.statistics().entries);
            brought.retain(|(text, ..)| there.contains(text));
            for group in 0..3_u8 {
                let of_group = brought.iter().filter(|(.., groups)| groups.contains(&group));
                let expected: Vec<_> = of_group.map(|(text, ..)| text.clone()).collect();
                prop_assert_eq!(members(&application, &group.to_string()), expected);
            }
        }
        for i in 0..4 {
            clock.advance(1000);
            put_in(&other, None, false, "group", &[&i.to_string()]);
        }
        prop_assert_eq!((application.statistics().entries, application.statistics().bytes), (0, 0));
        prop_assert!((0..3_u8).all(|group| application.members(&group.to_string()).is_empty()));
        prop_assert_eq!(other.members("group").len(), 4);
    }
}
