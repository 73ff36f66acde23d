//! Entries that are stored together share what they have in common, and nobody can tell by reading them.

use proptest::option;
use proptest::prelude::*;
use symbolon_resources::cache::second_level::{
    StoredAccessToken, StoredAccount, StoredAppMetadata, StoredEntry, StoredIdToken, StoredRefreshToken,
};
use symbolon_resources::cache::{Account, Entry, IdToken, Saved};

use crate::support::{Application, NOW, application, keys, refresh_token, token};

/// So few strings that entries often agree; one is longer than what is shared, and one isn't ASCII.
fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ab]?",
        1 => Just("\u{e4}\u{20ac}".repeat(20)),
        1 => Just("a long one".repeat(60)),
    ]
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    proptest::collection::vec((string(), string()), 0..3)
}

fn access_token() -> impl Strategy<Value = StoredEntry> {
    let texts = (string(), string(), string(), string(), string(), string(), string());
    let options = (option::of(string()), option::of(string()), option::of(string()));
    let times = (any::<u64>(), any::<u64>(), option::of(any::<u64>()), option::of(0..3_u64));
    (texts, options, times, pairs()).prop_map(|(texts, options, times, components)| {
        let (home_account_id, environment, client_id, realm, target, secret, token_type) = texts;
        let (username, key_id, user_assertion_hash) = options;
        let (cached_at, expires_on, extended_expires_on, refresh_on) = times;
        StoredEntry::AccessToken(Box::new(StoredAccessToken {
            home_account_id,
            environment,
            client_id,
            realm,
            target,
            secret,
            token_type,
            username,
            key_id,
            user_assertion_hash,
            cached_at,
            expires_on,
            extended_expires_on,
            refresh_on,
            components,
        }))
    })
}

fn refresh() -> impl Strategy<Value = StoredEntry> {
    let options = (option::of(string()), option::of(string()));
    (string(), string(), string(), string(), options, pairs()).prop_map(
        |(home_account_id, environment, client_id, secret, (family_id, user_assertion_hash), components)| {
            StoredEntry::RefreshToken(StoredRefreshToken {
                home_account_id,
                environment,
                client_id,
                secret,
                family_id,
                user_assertion_hash,
                components,
            })
        },
    )
}

fn id_token() -> impl Strategy<Value = StoredEntry> {
    (string(), string(), string(), string(), string()).prop_map(
        |(home_account_id, environment, client_id, realm, secret)| {
            StoredEntry::IdToken(StoredIdToken { home_account_id, environment, client_id, realm, secret })
        },
    )
}

fn account() -> impl Strategy<Value = StoredEntry> {
    (string(), string(), string(), string(), string(), option::of(string())).prop_map(
        |(home_account_id, environment, realm, local_account_id, username, name)| {
            StoredEntry::Account(StoredAccount {
                home_account_id,
                environment,
                realm,
                local_account_id,
                username,
                name,
            })
        },
    )
}

fn app_metadata() -> impl Strategy<Value = StoredEntry> {
    (string(), string(), option::of(string())).prop_map(|(environment, client_id, family_id)| {
        StoredEntry::AppMetadata(StoredAppMetadata { environment, client_id, family_id })
    })
}

fn entry() -> impl Strategy<Value = (StoredEntry, Vec<String>)> {
    let entry = prop_oneof![access_token(), refresh(), id_token(), account(), app_metadata()];
    let groups = proptest::sample::subsequence(keys(["group", "another", "a third"]), 0..=3);
    (entry, groups.prop_shuffle())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn entries_are_what_they_were_and_in_their_groups(
        puts in proptest::collection::vec(proptest::collection::vec(entry(), 1..6), 1..4),
    ) {
        let (application, _) = application();
        let name = |put: usize, i: usize| keys([format!("{put} {i}"), format!("{put} {i} too")]);
        for (put, entries) in puts.iter().enumerate() {
            let names: Vec<_> = (0..entries.len()).map(|i| name(put, i)).collect();
            let saved: Vec<_> = entries.iter().zip(&names).map(|((entry, groups), keys)| Saved {
                entry: entry.entry(),
                keys,
                replaces: &[],
                groups,
                partition_key: "",
                item_key: "",
            }).collect();
            application.put(None, &[], &saved);
        }
        let all = puts.iter().enumerate().flat_map(|(put, entries)| {
            entries.iter().enumerate().map(move |(i, entry)| (name(put, i), entry))
        });
        for (keys, (entry, groups)) in all.clone() {
            for key in keys {
                let found = application.get(&key).unwrap();
                prop_assert_eq!(json(found.entry()), json(entry.entry()));
                for group in ["group", "another", "a third"] {
                    let is_member = application.members(group).iter().any(|member| std::ptr::eq(&**member, &*found));
                    prop_assert_eq!(is_member, groups.iter().any(|of| of == group));
                }
            }
        }
        prop_assert_eq!(application.statistics().entries, all.count());
        prop_assert_eq!(application.statistics().bytes, sum_of_bytes(&application, &puts));
        for (put, entries) in puts.iter().enumerate() {
            for i in 0..entries.len() {
                prop_assert!(application.remove(&name(put, i)[1]));
            }
        }
        prop_assert_eq!((application.statistics().entries, application.statistics().bytes), (0, 0));
    }
}

fn json(entry: Entry<'_>) -> serde_json::Value {
    serde_json::to_value(StoredEntry::from(entry)).unwrap()
}

fn sum_of_bytes<T>(application: &Application, puts: &[Vec<T>]) -> usize {
    let entries =
        puts.iter().enumerate().flat_map(|(put, entries)| (0..entries.len()).map(move |i| (put, i)));
    entries.map(|(put, i)| application.get(&format!("{put} {i}")).unwrap().bytes()).sum()
}

#[test]
fn what_a_user_takes_beside_the_tokens_is_little() {
    let (application, _) = application();
    let (access, other) = ("t".repeat(1_400), "r".repeat(600));
    for user in 0..50 {
        let home_account_id =
            &format!("{user:08x}-14a6-49ae-97bc-6eba6914391e.72f988bf-86f1-41af-91ab-2d7cd011db47");
        let token = token(&access, NOW + 3600);
        let entries = [
            Entry::AccessToken(symbolon_resources::cache::AccessToken {
                home_account_id,
                username: Some("someone@contoso.com"),
                ..token
            }),
            Entry::RefreshToken(symbolon_resources::cache::RefreshToken {
                home_account_id,
                ..refresh_token(&other)
            }),
            Entry::IdToken(IdToken {
                home_account_id,
                environment: token.environment,
                client_id: token.client_id,
                realm: token.realm,
                secret: &other,
            }),
            Entry::Account(Account {
                home_account_id,
                environment: token.environment,
                realm: token.realm,
                local_account_id: &home_account_id[..36],
                username: "someone@contoso.com",
                name: Some("Some One"),
            }),
        ];
        let names: Vec<_> = (0..4).map(|i| keys([format!("{user} {i}")])).collect();
        let groups = keys([home_account_id, "all accounts"]);
        let saved = entries.iter().zip(&names).map(|(entry, keys)| Saved {
            entry: *entry,
            keys,
            replaces: &[],
            groups: if matches!(entry, Entry::Account(_)) { &groups } else { &groups[..1] },
            partition_key: "",
            item_key: "",
        });
        application.put(None, &[], &saved.collect::<Vec<_>>());
    }
    let beside = application.statistics().bytes / 50 - 2_600;
    println!("{beside} bytes beside the tokens");
    assert!(beside <= 980, "{beside}");
}
