//! Partitions of MSAL's: what is read from them, what is written to them, and what of them stays as it is.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use symbolon_protocol::cache::{
    AccessTokenClass, AccessTokenItem, AccountItem, AppMetadataItem, Components, IdTokenItem,
    RefreshTokenClass, RefreshTokenItem, Subject, account_group, app_partition_key, session_group,
    session_owner_key,
};
use symbolon_protocol::scopes::Scopes;
use symbolon_resources::cache::msal::{Change, Document, Lifetime, LifetimeOptions, partitions, search};
use symbolon_resources::cache::second_level::{
    Stored, StoredAccessToken, StoredAccount, StoredAppMetadata, StoredEntry, StoredIdToken,
    StoredRefreshToken, Wanted,
};
use symbolon_resources::cache::{Entry, Saved};

const NOW: u64 = 1_800_000_000;
const ALICE: &str = "Alice-oid.home-tenant";
const CLIENT: &str = "client-1";

/// A user's partition as an application of MSAL.NET leaves it, with a few things that only a later version may know.
fn partition_of_alice() -> Value {
    json!({
        "AccessToken": {
            "alice-oid.home-tenant-login.windows.net-accesstoken-client-1-contoso-api/read api/write": {
                "home_account_id": ALICE, "environment": "login.windows.net", "client_info": "eyJ1aWQiOiJBIn0",
                "client_id": CLIENT, "secret": "at of msal", "credential_type": "AccessToken", "realm": "contoso",
                "target": "api/Read api/Write", "cached_at": "1799999000", "expires_on": "1800003600",
                "extended_expires_on": "1800007200", "ext_expires_on": "1800007200", "refresh_on": "1800001800",
                "persisted_cache_parameters": { "spa_code": "c" }, "later": { "versions": [1, 2.50] }
            },
            "alice-oid.home-tenant-login.windows.net-accesstoken_with_authscheme-client-1-contoso-api/read-pop": {
                "home_account_id": ALICE, "environment": "login.windows.net", "client_id": CLIENT,
                "secret": "signed request token", "credential_type": "AccessToken", "realm": "contoso",
                "target": "api/Read", "expires_on": "1800003600", "ext_expires_on": "1800007200", "kid": "key",
                "token_type": "pop"
            },
            "numbers": { "expires_on": 1_800_003_600, "environment": "login.windows.net" }
        },
        "RefreshToken": {
            "alice-oid.home-tenant-login.windows.net-refreshtoken-client-1--": {
                "home_account_id": ALICE, "environment": "login.windows.net", "client_info": "eyJ1aWQiOiJBIn0",
                "client_id": CLIENT, "secret": "rt of msal", "credential_type": "RefreshToken"
            }
        },
        "IdToken": {
            "alice-oid.home-tenant-login.windows.net-idtoken-client-1-contoso-": {
                "home_account_id": ALICE, "environment": "login.windows.net", "client_id": CLIENT,
                "secret": "e30.e30.", "credential_type": "IdToken", "realm": "contoso"
            }
        },
        "Account": {
            "Alice-oid.home-tenant-login.windows.net-contoso": {
                "home_account_id": ALICE, "environment": "login.windows.net", "client_info": "eyJ1aWQiOiJBIn0",
                "local_account_id": "Alice-oid", "username": "alice@contoso.example", "name": "Alice",
                "given_name": "Alice", "authority_type": "MSSTS", "realm": "contoso",
                "wam_account_ids": { "client-1": "w" }
            }
        },
        "AppMetadata": {
            "appmetadata-login.windows.net-client-1": { "environment": "login.windows.net", "client_id": CLIENT }
        },
        "Unknown": { "node": [true, 12_345_678_901_234_567_890_u64] }
    })
}

fn components(pairs: &[(&str, &str)]) -> Components {
    pairs.iter().copied().collect()
}

/// The keys by which the guest looks an access token up.
fn keys(subject: Subject<'_>, realm: &str, components: &Components, scopes: &[&str]) -> Vec<String> {
    let class = AccessTokenClass {
        subject,
        for_agent: false,
        environment: "login.windows.net",
        client_id: CLIENT,
        realm,
        token_type: "Bearer",
        key_id: None,
        components,
    };
    class.keys(&Scopes::new(scopes))
}

fn refresh_key(subject: Subject<'_>) -> String {
    let components = Components::new();
    let environment = "login.windows.net";
    RefreshTokenClass { subject, for_agent: false, environment, client_id: CLIENT, components: &components }
        .key()
}

fn wanted(alternatives: &[Vec<String>]) -> Wanted<'_> {
    Wanted { alternatives, expires_after: NOW, expires_before: NOW + 1_000_000, stored_after: None }
}

fn found(document: &Value, keys: Vec<String>) -> Option<Stored> {
    let text = document.to_string();
    search(&Document::parse(text.as_bytes()).unwrap(), &wanted(&[keys]))
}

fn secret(stored: &Stored) -> &str {
    match stored.entry.entry() {
        Entry::AccessToken(token) => token.secret,
        Entry::RefreshToken(token) => token.secret,
        Entry::IdToken(token) => token.secret,
        _ => "",
    }
}

/// Applies changes one after the other, as writers do: each to the text that the one before left.
fn changed(document: &Value, changes: &[&Change<'_>]) -> Value {
    let mut text = document.to_string().into_bytes();
    for change in changes {
        let mut document = Document::parse(&text).unwrap();
        change.apply(&mut document);
        text = document.to_text().to_vec();
    }
    serde_json::from_slice(&text).unwrap()
}

struct Coming {
    entry: StoredEntry,
    keys: Vec<String>,
    partition_key: String,
    item_key: String,
}

impl Coming {
    fn saved(&self) -> [Saved<'_>; 1] {
        [Saved {
            entry: self.entry.entry(),
            keys: &self.keys,
            replaces: &[],
            groups: &[],
            partition_key: &self.partition_key,
            item_key: &self.item_key,
        }]
    }
}

/// An access token that comes for Alice.
fn access_token_of_alice(secret: &str, scopes: &[&str]) -> Coming {
    let item = AccessTokenItem {
        home_account_id: ALICE.into(),
        environment: "login.windows.net".into(),
        client_id: CLIENT.into(),
        realm: "contoso".into(),
        target: scopes.join(" "),
        token_type: "Bearer".into(),
        ..AccessTokenItem::default()
    };
    Coming {
        item_key: item.item_key(),
        partition_key: ALICE.into(),
        keys: keys(Subject::Account(ALICE), "contoso", &Components::new(), scopes),
        entry: StoredEntry::AccessToken(Box::new(StoredAccessToken {
            secret: secret.into(),
            expires_on: NOW + 3600,
            ..stored_access_token(&item)
        })),
    }
}

fn refresh_token_of_alice(secret: &str) -> Coming {
    let item = RefreshTokenItem {
        home_account_id: ALICE.into(),
        environment: "login.windows.net".into(),
        client_id: CLIENT.into(),
        secret: secret.into(),
        ..RefreshTokenItem::default()
    };
    Coming {
        item_key: item.item_key(),
        partition_key: ALICE.into(),
        keys: vec![refresh_key(Subject::Account(ALICE))],
        entry: StoredEntry::RefreshToken(stored_refresh_token(&item)),
    }
}

fn stored_access_token(item: &AccessTokenItem) -> StoredAccessToken {
    StoredAccessToken {
        home_account_id: item.home_account_id.clone(),
        environment: item.environment.clone(),
        client_id: item.client_id.clone(),
        realm: item.realm.clone(),
        target: item.target.clone(),
        secret: item.secret.clone(),
        token_type: item.token_type.clone(),
        username: None,
        key_id: item.key_id.clone(),
        user_assertion_hash: item.user_assertion_hash.clone(),
        cached_at: item.cached_at,
        expires_on: item.expires_on,
        extended_expires_on: item.extended_expires_on,
        refresh_on: item.refresh_on,
        components: owned(&item.components),
    }
}

fn stored_refresh_token(item: &RefreshTokenItem) -> StoredRefreshToken {
    StoredRefreshToken {
        home_account_id: item.home_account_id.clone(),
        environment: item.environment.clone(),
        client_id: item.client_id.clone(),
        secret: item.secret.clone(),
        family_id: item.family_id.clone(),
        user_assertion_hash: item.user_assertion_hash.clone(),
        components: owned(&item.components),
    }
}

fn owned(components: &Components) -> Vec<(String, String)> {
    components.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn what_msal_left_answers_the_guests_look_ups() {
    let document = partition_of_alice();
    let none = Components::new();
    let alice = Subject::Account(ALICE);
    let of = |scopes: &[&str]| found(&document, keys(alice, "Contoso", &none, scopes));

    let stored = of(&["API/write", "openid"]).unwrap();
    let Entry::AccessToken(token) = stored.entry.entry() else { panic!("{stored:?}") };
    assert_eq!((token.secret, token.token_type), ("at of msal", "Bearer"));
    assert_eq!(token.username, Some("alice@contoso.example"));
    assert_eq!((token.cached_at, token.expires_on), (1_799_999_000, 1_800_003_600));
    assert_eq!((token.extended_expires_on, token.refresh_on), (Some(1_800_007_200), Some(1_800_001_800)));
    // From now on the first level finds it for each of its scopes, and removes it with the account.
    let all: BTreeSet<_> = keys(alice, "contoso", &none, &["api/read", "api/write"]).into_iter().collect();
    assert_eq!(stored.keys.iter().cloned().collect::<BTreeSet<_>>(), all);
    assert_eq!(stored.groups, [account_group(CLIENT, ALICE)]);

    assert_eq!(secret(&found(&document, vec![refresh_key(alice)]).unwrap()), "rt of msal");
    for other in [
        of(&["api/other"]),
        of(&["api/read", "api/other"]),
        found(&document, keys(alice, "fabrikam", &none, &["api/read"])),
        found(&document, keys(Subject::Account("alice-oid.home-tenant"), "contoso", &none, &["api/read"])),
        found(&document, keys(Subject::Session(ALICE), "contoso", &none, &["api/read"])),
        found(&document, keys(Subject::Application, "contoso", &none, &["api/read"])),
        found(&document, keys(alice, "contoso", &components(&[("fmi_path", "a")]), &["api/read"])),
        found(&document, vec![refresh_key(Subject::Session(ALICE))]),
        found(&document, vec!["numbers".into()]),
        found(&document, vec![]),
    ] {
        assert!(other.is_none(), "{other:?}");
    }
}

#[test]
fn a_token_is_wanted_only_while_it_is_good() {
    let document = partition_of_alice().to_string();
    let document = Document::parse(document.as_bytes()).unwrap();
    let keys = [keys(Subject::Account(ALICE), "contoso", &Components::new(), &["api/read"])];
    let good = wanted(&keys);
    for (wanted, is_found) in [
        (good, true),
        (Wanted { expires_after: 1_800_003_599, ..good }, true),
        (Wanted { expires_after: 1_800_003_600, ..good }, false),
        (Wanted { expires_before: 1_800_003_599, ..good }, false),
        (Wanted { stored_after: Some(1_799_998_999), ..good }, true),
        (Wanted { stored_after: Some(1_799_999_000), ..good }, false),
    ] {
        assert_eq!(search(&document, &wanted).is_some(), is_found, "{wanted:?}");
    }
}

#[test]
fn a_session_is_found_by_its_key_in_every_directory_and_says_whose_it_is() {
    let document = json!({
        "AccessToken": { "k": {
            "home_account_id": ALICE, "environment": "login.windows.net", "client_id": CLIENT, "secret": "obo",
            "realm": "contoso", "target": "api/read", "user_assertion_hash": "Session", "expires_on": "1800003600"
        } },
        "Account": { "a": { "home_account_id": ALICE, "environment": "login.windows.net", "realm": "contoso" } }
    });
    let none = Components::new();
    let session = |key| keys(Subject::Session(key), "organizations", &none, &["api/read"]);
    let stored = found(&document, session("Session")).unwrap();
    assert_eq!((secret(&stored), &stored.groups), ("obo", &vec![session_group(CLIENT, "Session")]));
    assert!(found(&document, session("session")).is_none());
    let owner = found(&document, vec![session_owner_key(CLIENT, "Session")]).unwrap();
    assert!(matches!(owner.entry.entry(), Entry::Account(account) if account.home_account_id == ALICE));
}

#[test]
fn what_is_not_a_partition_is_an_error_and_nulls_are_nothing() {
    for garbage in [&b""[..], b"\xff\x00", b"{", b"[]", b"\"text\"", b"{\"AccessToken\":[]}", b"{} {}"] {
        assert!(Document::parse(garbage).is_err(), "{}", garbage.escape_ascii());
    }
    // As MSAL for Python writes an application's own token.
    let token = json!({ "AccessToken": { "k": {
        "home_account_id": null, "environment": "login.windows.net", "client_id": CLIENT, "secret": "app",
        "realm": "contoso", "target": "api/.default", "token_type": "Bearer", "expires_on": "1800003600"
    } }, "IdToken": null });
    let app = keys(Subject::Application, "contoso", &Components::new(), &["api/.default"]);
    assert_eq!(secret(&found(&token, app.clone()).unwrap()), "app");
    // With components it says no more than that there are some.
    for member in [json!({ "ext_cache_key": "hash" }), json!({ "credential_type": "ATExt" })] {
        let mut token = token.clone();
        token["AccessToken"]["k"].as_object_mut().unwrap().extend(member.as_object().unwrap().clone());
        assert!(found(&token, app.clone()).is_none());
    }
}

#[test]
fn a_new_token_replaces_those_that_share_a_scope_and_nothing_else() {
    let before = partition_of_alice();
    let coming = access_token_of_alice("new", &["api/read"]);
    let saved = coming.saved();
    let changes = Change::of(&saved, &[]);
    let [(partition, change)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(*partition, ALICE);
    let after = changed(&before, &[change]);

    let tokens = after["AccessToken"].as_object().unwrap();
    let secrets: BTreeSet<_> = tokens.values().filter_map(|token| token["secret"].as_str()).collect();
    assert_eq!(secrets, BTreeSet::from(["new", "signed request token"]));
    assert!(tokens.contains_key("numbers"), "what isn't understood stays");
    for section in ["RefreshToken", "IdToken", "Account", "AppMetadata", "Unknown"] {
        assert_eq!(after[section], before[section], "{section}");
    }
}

#[test]
fn a_renewed_token_keeps_what_others_said_of_the_entry_but_not_of_the_old_token() {
    let before = partition_of_alice();
    let coming = access_token_of_alice("new", &["api/Read", "api/Write"]);
    let saved = coming.saved();
    let after = changed(&before, &[&Change::of(&saved, &[])[0].1]);
    assert_eq!(
        after["AccessToken"][&coming.item_key],
        json!({
            "home_account_id": ALICE, "environment": "login.windows.net", "client_info": "eyJ1aWQiOiJBIn0",
            "client_id": CLIENT, "secret": "new", "credential_type": "AccessToken", "realm": "contoso",
            "target": "api/Read api/Write", "cached_at": "0", "expires_on": "1800003600",
            "later": { "versions": [1, 2.50] }
        })
    );
}

#[test]
fn a_used_up_refresh_token_goes_and_a_removed_account_takes_everything_of_its_client() {
    let before = partition_of_alice();
    let used_up = refresh_token_of_alice("");
    let saved = used_up.saved();
    let after = changed(&before, &[&Change::of(&saved, &[])[0].1]);
    assert_eq!(after["RefreshToken"], json!({}));
    assert_eq!(after["AccessToken"], before["AccessToken"]);

    let group = account_group(CLIENT, ALICE);
    let (partition, removal) = Change::removal(&group).unwrap();
    assert_eq!(partition, ALICE);
    let after = changed(&before, &[&removal]);
    assert_eq!(after["AccessToken"].as_object().unwrap().keys().collect::<Vec<_>>(), ["numbers"]);
    assert_eq!((&after["RefreshToken"], &after["IdToken"]), (&json!({}), &json!({})));
    assert_eq!(after["Unknown"], before["Unknown"]);

    let mut of_two = before.clone();
    of_two["RefreshToken"]["other"] = json!({ "client_id": "client-2", "secret": "rt of another client" });
    let after = changed(&of_two, &[&removal]);
    assert_eq!(after["RefreshToken"].as_object().unwrap().len(), 1);
    assert_eq!(after["Account"], before["Account"], "an account is of use to the other client");
}

#[test]
fn a_partition_without_tokens_is_over_unless_others_have_something_in_it() {
    let group = account_group(CLIENT, ALICE);
    let (_, removal) = Change::removal(&group).unwrap();
    let mut document = partition_of_alice();
    document["AccessToken"].as_object_mut().unwrap().remove("numbers");
    let is_over = |document: &Value| Document::parse(document.to_string().as_bytes()).unwrap().is_over();
    let after = changed(&document, &[&removal]);
    assert!(!is_over(&document) && !is_over(&after));
    document.as_object_mut().unwrap().remove("Unknown");
    assert!(is_over(&changed(&document, &[&removal])));
}

#[test]
fn what_nobody_would_find_in_its_partition_is_not_written() {
    let item = AppMetadataItem { environment: "e".into(), client_id: CLIENT.into(), family_id: None };
    let metadata = Coming {
        item_key: item.item_key(),
        partition_key: ALICE.into(),
        keys: vec![item.item_key()],
        entry: StoredEntry::AppMetadata(StoredAppMetadata::default()),
    };
    // An agent names its users otherwise than by account, so it would look for them in no partition.
    let mut of_agent = access_token_of_alice("of an agent", &["api/read"]);
    of_agent.keys = keys(Subject::ObjectId("alice-oid"), "contoso", &Components::new(), &["api/read"]);
    let mut elsewhere = access_token_of_alice("elsewhere", &["api/read"]);
    elsewhere.partition_key = "another".into();
    for coming in [&of_agent, &elsewhere] {
        let saved = [coming.saved()[0], metadata.saved()[0]];
        let changes = Change::of(&saved, &[]);
        assert!(changes.iter().all(|(partition, _)| *partition != coming.partition_key), "{changes:?}");
    }
    // Beside a token that somebody will find it is.
    let found = access_token_of_alice("found", &["api/read"]);
    let saved = [found.saved()[0], metadata.saved()[0]];
    let changes = Change::of(&saved, &[]);
    let after = changed(&json!({}), &[&changes[0].1]);
    assert_eq!(after["AccessToken"].as_object().unwrap().len(), 1);
    assert_eq!(after["AppMetadata"].as_object().unwrap().len(), 1);
}

#[test]
fn the_lifetime_is_that_of_the_last_token_unless_configured_otherwise() {
    let expiry =
        |document: &Value| Document::parse(document.to_string().as_bytes()).unwrap().suggested_expiry();
    let mut document = partition_of_alice();
    assert_eq!(expiry(&document), None, "a refresh token has no end");
    document.as_object_mut().unwrap().remove("RefreshToken");
    assert_eq!(expiry(&document), Some(1_800_003_600));
    assert_eq!(expiry(&json!({})), None);

    let now = NOW * 1000;
    let hours = |hours: u64| std::time::Duration::from_secs(hours * 3600);
    let none = LifetimeOptions::default();
    let until = |seconds: u64| LifetimeOptions { absolute_expiration: Some(seconds), ..none };
    let suggested = Some(NOW + 3600);
    for (options, suggested, seconds_left) in [
        (none, None, None),
        (none, suggested, Some(3600)),
        (until(NOW + 1800), suggested, Some(1800)),
        (until(NOW + 5400), suggested, Some(3600)),
        (until(NOW - 1), suggested, Some(0)),
        (
            LifetimeOptions { absolute_expiration_relative_to_now: Some(hours(2)), ..none },
            suggested,
            Some(7200),
        ),
        (LifetimeOptions { sliding_expiration: Some(hours(2)), ..none }, suggested, Some(3600)),
        (LifetimeOptions { sliding_expiration: Some(hours(2)), ..none }, None, Some(7200)),
    ] {
        let lifetime = options.lifetime(suggested, now);
        assert_eq!(lifetime.seconds_left(now), seconds_left, "{options:?}");
        let (absolute, sliding) = lifetime.fields();
        assert_eq!(Lifetime::from_fields(Some(absolute), Some(sliding)), lifetime);
    }
    assert_eq!(Lifetime::default().fields(), (-1, -1));
    // 2027-01-15T08:00:00Z, as .NET counts it.
    assert_eq!(none.lifetime(Some(NOW), now).fields().0, 639_355_968_000_000_000);
    assert_eq!(
        LifetimeOptions { sliding_expiration: Some(hours(1)), ..none }.lifetime(None, now).fields().1,
        36_000_000_000
    );
}

fn word() -> impl Strategy<Value = String> {
    "[aB1:;é-]{0,3}"
}

fn pairs() -> impl Strategy<Value = Components> {
    btree_map("[a-c?=%]{1,3}", word(), 0..3).prop_map(Components::from_iter)
}

prop_compose! {
    fn access_token()(
        texts in vec(word(), 5), token_type in "(Bearer|pop|bearer|ssh-cert)", scopes in vec("[a-cB/]{1,2}", 1..4),
        options in vec(option::of("[a1]{1,2}"), 2), times in vec(0u64..10_000_000_000, 2),
        optional_times in vec(option::of(0u64..10_000_000_000), 2), components in pairs(),
    ) -> AccessTokenItem {
        AccessTokenItem {
            home_account_id: texts[0].clone(), environment: texts[1].clone(), client_id: texts[2].clone(),
            realm: texts[3].clone(), secret: texts[4].clone(), target: Scopes::new(scopes).sorted_target(),
            token_type, key_id: options[0].clone(), user_assertion_hash: options[1].clone(), cached_at: times[0],
            expires_on: times[1], extended_expires_on: optional_times[0], refresh_on: optional_times[1], components,
            client_info: None, username: None,
        }
    }
}

/// Everything that a partition may hold, put there by hand.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map("\\PC{0,4}", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn document() -> impl Strategy<Value = Value> {
    let section = btree_map("\\PC{0,4}", json_value(), 0..4);
    let sections = btree_map("(AccessToken|RefreshToken|IdToken|Account|AppMetadata)", section, 0..5);
    let others = btree_map("(Later|[x-z]{1,3}|\\PC{3})", json_value(), 0..3);
    (sections, others).prop_map(|(sections, others)| {
        let sections =
            sections.into_iter().map(|(name, items)| (name, Value::Object(items.into_iter().collect())));
        Value::Object(others.into_iter().chain(sections).collect())
    })
}

proptest! {
    #[test]
    fn what_is_read_is_written_as_it_was(document in document()) {
        let text = document.to_string();
        let written = Document::parse(text.as_bytes()).unwrap().to_text().to_vec();
        prop_assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), document);
        // Once the sections are in MSAL's order, to the last byte.
        let again = Document::parse(&written).unwrap().to_text().to_vec();
        prop_assert_eq!(written, again);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200), text in "\\PC{0,60}") {
        for input in [&bytes[..], text.as_bytes()] {
            if let Ok(document) = Document::parse(input) {
                let _ = document.entries().count();
            }
            let key = String::from_utf8_lossy(input).into_owned();
            let alternatives = [vec![key.clone()]];
            let _ = partitions(&wanted(&alternatives));
            let _ = Change::removal(&key);
        }
    }

    #[test]
    fn an_access_token_is_written_as_msal_writes_it_and_read_again(item in access_token()) {
        let entry = StoredEntry::AccessToken(Box::new(stored_access_token(&item)));
        let (written, read) = through_a_document(&entry, &item.item_key());
        prop_assert_eq!(written, serde_json::from_str::<Value>(&item.to_json()).unwrap());
        let Some(Entry::AccessToken(read)) = read.as_ref().map(StoredEntry::entry) else { panic!("{read:?}") };
        prop_assert_eq!((read.secret, read.target, read.realm), (&*item.secret, &*item.target, &*item.realm));
        prop_assert_eq!((read.key_id, read.user_assertion_hash), (item.key_id.as_deref(), item.user_assertion_hash.as_deref()));
        prop_assert!(read.token_type.eq_ignore_ascii_case(&item.token_type));
        prop_assert_eq!((read.cached_at, read.expires_on), (item.cached_at, item.expires_on));
        prop_assert_eq!((read.extended_expires_on, read.refresh_on), (item.extended_expires_on, item.refresh_on));
        prop_assert_eq!(read.components.to_vec(), owned(&item.components));
    }

    #[test]
    fn the_other_entries_are_written_as_msal_writes_them(
        texts in vec(word(), 6), options in vec(option::of(word()), 3), components in pairs(),
    ) {
        let [home_account_id, environment, client_id, realm, secret, name] =
            <[String; 6]>::try_from(texts).unwrap();
        let [family_id, session, username] = <[Option<String>; 3]>::try_from(options).unwrap();
        let refresh_token = RefreshTokenItem {
            home_account_id, environment, client_id, family_id, secret, user_assertion_hash: session, components,
            client_info: None,
        };
        let RefreshTokenItem { home_account_id, environment, client_id, secret, family_id, .. } = refresh_token.clone();
        let id_token = IdTokenItem { home_account_id, environment, client_id, realm, secret, client_info: None };
        let IdTokenItem { home_account_id, environment, client_id, realm, secret, .. } = id_token.clone();
        let account = AccountItem {
            home_account_id: home_account_id.clone(), environment: environment.clone(), realm: realm.clone(),
            local_account_id: name, username: username.clone().unwrap_or_default(), name: username,
            ..AccountItem::default()
        };
        let metadata = AppMetadataItem { environment: environment.clone(), client_id: client_id.clone(), family_id };
        for (entry, key, json) in [
            (StoredEntry::RefreshToken(stored_refresh_token(&refresh_token)), refresh_token.item_key(), refresh_token.to_json()),
            (
                StoredEntry::IdToken(StoredIdToken { home_account_id, environment, client_id, realm, secret }),
                id_token.item_key(),
                id_token.to_json(),
            ),
            (
                StoredEntry::Account(StoredAccount {
                    home_account_id: account.home_account_id.clone(), environment: account.environment.clone(),
                    realm: account.realm.clone(), local_account_id: account.local_account_id.clone(),
                    username: account.username.clone(), name: account.name.clone(),
                }),
                account.item_key(),
                account.to_json(),
            ),
            (
                StoredEntry::AppMetadata(StoredAppMetadata {
                    environment: metadata.environment.clone(), client_id: metadata.client_id.clone(),
                    family_id: metadata.family_id.clone(),
                }),
                metadata.item_key(),
                metadata.to_json(),
            ),
        ] {
            let (written, read) = through_a_document(&entry, &key);
            prop_assert_eq!(&written, &serde_json::from_str::<Value>(&json).unwrap());
            prop_assert_eq!(through_a_document(&read.unwrap(), &key).0, written);
        }
    }

    #[test]
    fn an_applications_partition_is_told_from_its_keys(
        key_id in option::of("[A-Za-z0-9_-]{1,5}"), client_id in word(), tenant in "[a-z0-9:]{0,3}",
        components in pairs(), marks in vec("(\\?|\\?%|=|)", 3),
    ) {
        // Names with marks of their own are ambiguous, here as in the entry.
        prop_assume!(components.iter().all(|(name, _)| !name.starts_with(['?', '=', '%'])));
        let marked: Components =
            components.iter().zip(&marks).map(|((name, value), mark)| (format!("{mark}{name}"), value)).collect();
        let class = AccessTokenClass {
            subject: Subject::Application, for_agent: true, environment: "e", client_id: &client_id, realm: &tenant,
            token_type: "pop", key_id: key_id.as_deref(), components: &marked,
        };
        let alternatives = [class.keys(&Scopes::new(["s"]))];
        let expected = app_partition_key(key_id.as_deref(), &client_id, Some(&tenant), &components);
        prop_assert_eq!(partitions(&wanted(&alternatives)), [expected]);
    }

    #[test]
    fn a_users_partition_is_told_from_its_keys(name in "[aB1:;é-]{1,4}", tenant in word()) {
        for (subject, group) in [
            (Subject::Account(&name), account_group(CLIENT, &name)),
            (Subject::Session(&name), session_group(CLIENT, &name)),
        ] {
            let alternatives =
                [keys(subject, &tenant, &Components::new(), &["s"]), vec![refresh_key(subject)]];
            prop_assert_eq!(partitions(&wanted(&alternatives)), [name.clone()]);
            prop_assert_eq!(Change::removal(&group).unwrap().0, &name);
        }
        let owner = [vec![session_owner_key(CLIENT, &name)]];
        prop_assert_eq!(partitions(&wanted(&owner)), [name.clone()]);
        for subject in [Subject::Username(&name), Subject::ObjectId(&name)] {
            let alternatives = [keys(subject, &tenant, &Components::new(), &["s"]), vec![refresh_key(subject)]];
            prop_assert_eq!(partitions(&wanted(&alternatives)), [""; 0]);
        }
    }

    /// Whatever is found has everything that was asked for, and whatever has it is found.
    #[test]
    fn a_search_finds_what_was_asked_for(
        items in vec(access_token(), 1..5), asked in 0usize..5, scopes in btree_set("[a-c]{1,2}", 1..3),
    ) {
        let asked = &items[asked % items.len()];
        let subject = match &asked.user_assertion_hash {
            Some(session) => Subject::Session(session),
            None if asked.home_account_id.is_empty() => Subject::Application,
            None => Subject::Account(&asked.home_account_id),
        };
        prop_assume!(asked.components.iter().all(|(name, _)| !name.starts_with(['?', '=', '%'])));
        let class = AccessTokenClass {
            subject, for_agent: false, environment: &asked.environment, client_id: &asked.client_id,
            realm: &asked.realm, token_type: &asked.token_type, key_id: asked.key_id.as_deref(),
            components: &asked.components,
        };
        let wanted_scopes = Scopes::new(&scopes);
        let alternatives = [class.keys(&wanted_scopes)];
        let wanted = Wanted { alternatives: &alternatives, expires_after: 0, expires_before: u64::MAX, stored_after: None };
        let entries: Vec<_> =
            items.iter().map(|item| StoredEntry::AccessToken(Box::new(stored_access_token(item)))).collect();
        let coming: Vec<Coming> = entries.into_iter().enumerate().map(|(at, entry)| Coming {
            entry, keys: vec![], partition_key: String::new(), item_key: at.to_string(),
        }).collect();
        let text = json!({ "AccessToken": coming.iter().map(|coming| {
            (coming.item_key.clone(), through_a_document(&coming.entry, "k").0)
        }).collect::<serde_json::Map<_, _>>() }).to_string();
        let document = Document::parse(text.as_bytes()).unwrap();
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        let is_answer = |item: &AccessTokenItem| {
            same(&item.environment, &asked.environment) && same(&item.client_id, &asked.client_id)
                && (same(&item.realm, &asked.realm) || matches!(subject, Subject::Session(_)))
                && same(&item.token_type, &asked.token_type)
                && item.key_id.as_deref().map(str::to_lowercase) == asked.key_id.as_deref().map(str::to_lowercase)
                && item.user_assertion_hash == asked.user_assertion_hash
                && (item.home_account_id == asked.home_account_id || matches!(subject, Subject::Session(_)))
                && item.components == asked.components && !item.secret.is_empty() && item.expires_on > 0
                && wanted_scopes.iter().all(|scope| Scopes::from_response(&item.target).contains(scope))
        };
        let best = items.iter().filter(|item| is_answer(item)).map(|item| item.expires_on).max();
        let found = search(&document, &wanted);
        let expires_on = found.as_ref().and_then(|stored| match stored.entry.entry() {
            Entry::AccessToken(token) => Some(token.expires_on),
            _ => None,
        });
        prop_assert_eq!(expires_on, best);
        if let Some(stored) = found {
            prop_assert!(alternatives[0].iter().all(|key| stored.keys.contains(key)));
        }
    }

    /// Two writers that know nothing of each other leave the same, whoever comes first.
    #[test]
    fn changes_that_do_not_meet_commute(document in document(), which in 0usize..3) {
        let (one, other) = (access_token_of_alice("one", &["one/s"]), access_token_of_alice("other", &["other/s"]));
        let refresh_token = refresh_token_of_alice("rt");
        let (one, other) = ([one, refresh_token].map(|coming| coming), [other]);
        let one: Vec<_> = one.iter().flat_map(Coming::saved).collect();
        let other: Vec<_> = other.iter().flat_map(Coming::saved).collect();
        let group = account_group("client-2", ALICE);
        let removal = Change::removal(&group).unwrap().1;
        let (a, b) = (Change::of(&one, &[]), Change::of(&other, &[]));
        let (a, b) = match which {
            0 => (&a[0].1, &b[0].1),
            1 => (&a[0].1, &removal),
            _ => (&removal, &b[0].1),
        };
        let one_then_other = changed(&document, &[a, b]);
        prop_assert_eq!(&one_then_other, &changed(&document, &[b, a]));
        // Nothing else has changed.
        for (section, items) in document.as_object().unwrap() {
            match items {
                Value::Object(items) => for (key, item) in items {
                    prop_assert_eq!(&one_then_other[section][key], item, "{} {}", section, key);
                },
                other => prop_assert_eq!(&one_then_other[section], other),
            }
        }
    }
}

/// Puts an entry into an empty partition, and reads it from there.
fn through_a_document(entry: &StoredEntry, key: &str) -> (Value, Option<StoredEntry>) {
    let text = Document::of(key, entry.entry()).to_text();
    let json: Value = serde_json::from_slice(&text).unwrap();
    let written = json.as_object().unwrap().values().next().unwrap()[key].clone();
    let read = Document::parse(&text).unwrap().entries().next();
    (written, read)
}
