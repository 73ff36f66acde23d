//! What is found, by which keys, for how long.

use symbolon_resources::cache::{
    Absence, AccessToken, Account, AppMetadata, ApplicationId, CacheLimits, Components, Entry, Found,
    IdToken, Lookup, RefreshToken, Saved,
};

use crate::support::*;

#[tokio::test]
async fn an_entry_comes_back_as_it_was_put() {
    let (application, _) = application();
    let components = [("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())];
    let everything = AccessToken {
        home_account_id: "uid.utid",
        username: Some("someone@contoso.com"),
        key_id: Some("thumbprint"),
        user_assertion_hash: Some(""),
        extended_expires_on: Some(NOW + 2),
        refresh_on: Some(NOW + 1),
        components: Components::new(&components),
        ..token("the token", NOW + 3)
    };
    put_entry(&application, None, &["everything"], Entry::AccessToken(everything));
    let cached = application.get("everything").unwrap();
    let found = cached.access_token().unwrap();
    assert_eq!(found.home_account_id, "uid.utid");
    assert_eq!(found.environment, everything.environment);
    assert_eq!(found.client_id, everything.client_id);
    assert_eq!(found.realm, everything.realm);
    assert_eq!(found.target, everything.target);
    assert_eq!(found.secret, "the token");
    assert_eq!(found.token_type, "Bearer");
    assert_eq!(found.username, Some("someone@contoso.com"));
    assert_eq!(found.key_id, Some("thumbprint"));
    assert_eq!(found.user_assertion_hash, Some(""), "empty isn't absent");
    assert_eq!((found.cached_at, found.expires_on), (NOW, NOW + 3));
    assert_eq!((found.extended_expires_on, found.refresh_on), (Some(NOW + 2), Some(NOW + 1)));
    assert_eq!(found.components.to_vec(), components);

    put_entry(&application, None, &["plain"], Entry::AccessToken(token("äöü", 0)));
    let cached = application.get("plain").unwrap();
    let found = cached.access_token().unwrap();
    assert_eq!((found.home_account_id, found.secret, found.expires_on), ("", "äöü", 0));
    assert_eq!((found.username, found.key_id, found.user_assertion_hash), (None, None, None));
    assert_eq!((found.extended_expires_on, found.refresh_on), (None, None));
}

#[test]
fn every_kind_comes_back_as_it_was_put() {
    let (application, _) = application();
    let entries = [
        Entry::RefreshToken(RefreshToken {
            home_account_id: "1",
            environment: "2",
            client_id: "3",
            family_id: Some("4"),
            secret: "5",
            user_assertion_hash: None,
            components: Components::default(),
        }),
        Entry::IdToken(IdToken {
            home_account_id: "1",
            environment: "2",
            client_id: "3",
            realm: "4",
            secret: "5",
        }),
        Entry::Account(Account {
            home_account_id: "1",
            environment: "2",
            realm: "3",
            local_account_id: "4",
            username: "5",
            name: Some("6"),
        }),
        Entry::AppMetadata(AppMetadata { environment: "1", client_id: "2", family_id: None }),
    ];
    for (i, entry) in entries.into_iter().enumerate() {
        put_entry(&application, None, &[&i.to_string()], entry);
    }
    let found: Vec<_> = (0..4).map(|i| application.get(&i.to_string()).unwrap()).collect();
    let Entry::RefreshToken(r) = found[0].entry() else { panic!("{:?}", found[0]) };
    assert_eq!((r.home_account_id, r.environment, r.client_id, r.secret), ("1", "2", "3", "5"));
    assert_eq!((r.family_id, r.user_assertion_hash), (Some("4"), None));
    let Entry::IdToken(i) = found[1].entry() else { panic!("{:?}", found[1]) };
    assert_eq!((i.home_account_id, i.environment, i.client_id, i.realm, i.secret), ("1", "2", "3", "4", "5"));
    let Entry::Account(a) = found[2].entry() else { panic!("{:?}", found[2]) };
    assert_eq!((a.home_account_id, a.environment, a.realm), ("1", "2", "3"));
    assert_eq!((a.local_account_id, a.username, a.name), ("4", "5", Some("6")));
    let Entry::AppMetadata(m) = found[3].entry() else { panic!("{:?}", found[3]) };
    assert_eq!((m.environment, m.client_id, m.family_id), ("1", "2", None));
}

#[tokio::test]
async fn an_alternative_is_one_entry_with_all_of_its_keys() {
    let (application, _) = application();
    put_entry(&application, None, &["a", "b"], Entry::AccessToken(token("ab", NOW + 10)));
    put_entry(&application, None, &["c"], Entry::AccessToken(token("c", NOW + 10)));
    for (alternatives, expected) in [
        (vec![keys(["a"])], Some("ab")),
        (vec![keys(["b", "a"])], Some("ab")),
        (vec![keys(["a", "c"])], None),
        (vec![keys(["c", "a"])], None),
        (vec![keys(["a", "x"])], None),
        (vec![vec![]], None),
        (vec![], None),
        (vec![vec![], keys(["x"]), keys(["c"]), keys(["a"])], Some("c")),
    ] {
        let found = application.find(Lookup { alternatives: &alternatives, ..wanted() }).await;
        match expected {
            Some(secret) => assert_eq!(hit(found), secret, "{alternatives:?}"),
            None => assert!(matches!(found, Found::Miss), "{alternatives:?}"),
        }
    }
}

#[tokio::test]
async fn a_token_is_good_between_the_bounds_of_the_look_up() {
    let (application, _) = application();
    for (expires_on, expected) in [
        (NOW, Some(Absence::Expired)),
        (NOW + 1, None),
        (NOW + 86_400, None),
        (NOW + 86_401, Some(Absence::Absent)),
    ] {
        put_entry(&application, None, &["key"], Entry::AccessToken(token("token", expires_on)));
        match (find(&application, "key").await, expected) {
            (Found::Hit(_), None) => {}
            (Found::Lead { absence, now_unix_ms, .. }, Some(expected)) => {
                assert_eq!((absence, now_unix_ms), (expected, NOW * 1000), "{expires_on}");
            }
            (found, _) => panic!("{expires_on}: {found:?}"),
        }
    }
}

#[tokio::test]
async fn a_later_alternative_serves_when_an_earlier_one_has_expired() {
    let (application, _) = application();
    put_entry(&application, None, &["old"], Entry::AccessToken(token("old", NOW - 1)));
    put_entry(&application, None, &["new"], Entry::AccessToken(token("new", NOW + 1)));
    let alternatives = [keys(["old"]), keys(["new"])];
    assert_eq!(hit(application.find(Lookup { alternatives: &alternatives, ..wanted() }).await), "new");
    let alternatives = [keys(["old"]), keys(["nothing"])];
    let lookup = Lookup { alternatives: &alternatives, flight: Some("f"), ..wanted() };
    assert!(matches!(application.find(lookup).await, Found::Lead { absence: Absence::Expired, .. }));
}

#[tokio::test]
async fn only_access_tokens_expire() {
    let (application, _) = application();
    put_entry(&application, None, &["key"], Entry::RefreshToken(refresh_token("refresh")));
    let alternatives = [keys(["key"])];
    let lookup = Lookup { alternatives: &alternatives, expires_after: u64::MAX, ..wanted() };
    assert_eq!(hit(application.find(lookup).await), "refresh");
}

#[test]
fn entries_are_replaced_wholly() {
    let (application, _) = application();
    put_entry(&application, None, &["a", "b"], Entry::AccessToken(token("ab", NOW)));
    put_entry(&application, None, &["c", "d"], Entry::AccessToken(token("cd", NOW)));
    put_entry(&application, None, &["e"], Entry::AccessToken(token("e", NOW)));
    let ab = application.get("a").unwrap();
    application.put(
        None,
        &[],
        &[Saved {
            entry: Entry::AccessToken(token("bf", NOW)),
            keys: &keys(["b", "f"]),
            replaces: &keys(["d"]),
            groups: &[],
            partition_key: "",
            item_key: "",
        }],
    );
    assert!(application.get("a").is_none());
    assert!(application.get("c").is_none());
    assert!(application.get("d").is_none());
    assert_eq!(["b", "f", "e"].map(|key| secret(&application.get(key).unwrap())), ["bf", "bf", "e"]);
    assert!(!ab.is_alive() && application.get("b").unwrap().is_alive());
    assert_eq!(application.statistics().entries, 2);
}

#[test]
fn removing_takes_an_entry_from_under_all_of_its_keys() {
    let (application, _) = application();
    put_entry(&application, None, &["a", "b", "a"], Entry::AccessToken(token("ab", NOW)));
    let entry = application.get("a").unwrap();
    assert!(application.remove("b") && !application.remove("b"));
    assert!(application.get("a").is_none() && !entry.is_alive());
    assert_eq!((application.statistics().entries, application.statistics().bytes), (0, 0));
}

#[tokio::test]
async fn clearing_also_refuses_what_is_under_way() {
    let (cache, _) = cache(CacheLimits::default());
    let (application, other) =
        (cache.namespace(ApplicationId::new("a")), cache.namespace(ApplicationId::new("b")));
    put(&application, None, "stored", "token");
    put(&other, None, "stored", "the other's");
    let entry = application.get("stored").unwrap();
    let ticket = lead(find(&application, "under way").await);
    application.clear();
    assert!(application.get("stored").is_none() && !entry.is_alive());
    put(&application, Some(ticket), "under way", "too late");
    assert!(application.get("under way").is_none());
    let ticket = lead(find(&application, "under way").await);
    put(&application, Some(ticket), "under way", "in time");
    assert_eq!(hit(find(&application, "under way").await), "in time");
    assert_eq!(hit(find(&other, "stored").await), "the other's");
}

#[test]
fn an_application_has_one_cache_as_long_as_someone_holds_it() {
    let (cache, _) = cache(CacheLimits::default());
    let id = || ApplicationId::new("app");
    let first = cache.namespace(id());
    put(&first, None, "key", "token");
    let second = cache.namespace(id());
    drop(first);
    assert_eq!(secret(&second.get("key").unwrap()), "token");
    let entry = second.get("key").unwrap();
    drop(second);
    assert!(!entry.is_alive());
    assert_eq!((cache.statistics().entries, cache.statistics().bytes), (0, 0));
    assert!(cache.namespace(id()).get("key").is_none());
}

#[test]
fn nothing_secret_is_printed() {
    let (application, _) = application();
    let mut texts = vec![format!("{:?}", token("s3cr3t", NOW)), format!("{:?}", refresh_token("s3cr3t"))];
    for entry in [
        Entry::AccessToken(AccessToken {
            home_account_id: "us3r",
            username: Some("us3r"),
            ..token("s3cr3t", NOW)
        }),
        Entry::RefreshToken(RefreshToken { home_account_id: "us3r", ..refresh_token("s3cr3t") }),
        Entry::IdToken(IdToken {
            home_account_id: "us3r",
            environment: "environment",
            client_id: "",
            realm: "",
            secret: "s3cr3t",
        }),
        Entry::Account(Account {
            home_account_id: "us3r",
            environment: "environment",
            realm: "",
            local_account_id: "us3r",
            username: "us3r",
            name: Some("us3r"),
        }),
    ] {
        let user = keys(["us3r"]);
        let saved =
            Saved { entry, keys: &user, replaces: &user, groups: &user, partition_key: "", item_key: "" };
        texts.push(format!("{saved:?}"));
        application.put(None, &[], &[saved]);
        texts.push(format!("{:?}", Found::<String>::Hit(application.get("us3r").unwrap())));
    }
    texts.push(format!("{application:?}"));
    for text in texts {
        assert!(!text.contains("s3cr3t") && !text.contains("us3r"), "{text}");
        assert!(text.contains("environment") || text.contains("statistics"), "{text}");
    }
}
