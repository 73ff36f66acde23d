//! Whatever lies in the store: an entry that isn't exactly what was put there is none.

use crate::redis_server::RedisServer;
use crate::support::{Process, bring, look, names, raw, refresh_token};

/// A server with an entry under two keys in a group; and all names there.
async fn prepared() -> Option<(RedisServer, Vec<String>)> {
    let server = RedisServer::start()?;
    let one = Process::on(&server);
    bring(&one.app, None, refresh_token("secret"), &["one", "other"], &["group"]).await;
    let names = names(&server).await;
    assert_eq!(names.len(), 4, "entry, pointer, group, members");
    Some((server, names))
}

/// What is found now, under either key.
async fn found(server: &RedisServer) -> Vec<Option<String>> {
    let process = Process::on(server);
    let found = vec![look(&process.app, "one").await, look(&process.app, "other").await];
    // Nothing of it keeps a new one from being kept.
    let fresh = Process::on(server);
    bring(&fresh.app, None, refresh_token("fresh"), &["fresh"], &[]).await;
    assert_eq!(look(&Process::on(server).app, "fresh").await.as_deref(), Some("fresh"));
    found
}

#[tokio::test]
async fn it_is_found_when_nothing_happens_to_it() {
    let Some((server, _)) = prepared().await else { return };
    assert_eq!(found(&server).await, [Some("secret".to_owned()), Some("secret".to_owned())]);
}

#[tokio::test]
async fn garbage_is_none() {
    let Some((server, names)) = prepared().await else { return };
    for garbage in ["", "\u{1}", "{", "{\"entry\":{}}", &"x".repeat(10_000)] {
        for name in names.iter().filter(|name| !name.contains(":m")) {
            let () =
                redis::cmd("SET").arg(name).arg(garbage).query_async(&mut raw(&server).await).await.unwrap();
        }
        assert_eq!(found(&server).await, [None, None], "{garbage:.10}");
    }
}

#[tokio::test]
async fn a_changed_bit_is_none() {
    let Some((server, names)) = prepared().await else { return };
    let mut raw = raw(&server).await;
    for name in names.iter().filter(|name| name.contains(":e")) {
        let value: Vec<u8> = redis::cmd("GET").arg(name).query_async(&mut raw).await.unwrap();
        for at in [0, 1, 9, 21, value.len() / 2, value.len() - 1] {
            let mut changed = value.clone();
            changed[at] ^= 1;
            let () = redis::cmd("SET").arg(name).arg(changed).query_async(&mut raw).await.unwrap();
            assert_eq!(found(&server).await, [None, None], "byte {at}");
        }
        let () = redis::cmd("SET").arg(name).arg(value).query_async(&mut raw).await.unwrap();
    }
    assert_ne!(found(&server).await, [None, None]);
}

#[tokio::test]
async fn values_of_another_type_are_none() {
    let Some((server, names)) = prepared().await else { return };
    let mut raw = raw(&server).await;
    for name in &names {
        let () = redis::cmd("DEL").arg(name).query_async(&mut raw).await.unwrap();
        let () = redis::cmd("LPUSH").arg(name).arg("x").query_async(&mut raw).await.unwrap();
    }
    assert_eq!(found(&server).await, [None, None]);
    let one = Process::on(&server);
    assert!(one.app.members_through("group").await.is_empty());
    one.app.remove_group_through("group").await;
    let () = redis::cmd("SET").arg("symbolon:removals").arg("x").query_async(&mut raw).await.unwrap();
    assert_eq!(look(&Process::on(&server).app, "one").await, None);
}

#[tokio::test]
async fn entries_that_changed_places_are_none() {
    let Some((server, names)) = prepared().await else { return };
    let mut raw = raw(&server).await;
    let entries: Vec<_> = names.iter().filter(|name| name.contains(":e")).collect();
    let [one, other] = entries[..] else { panic!("two") };
    for (from, to) in [(one, "kept"), (other, one), (&"kept".to_owned(), other)] {
        let () = redis::cmd("RENAME").arg(from).arg(to).query_async(&mut raw).await.unwrap();
    }
    assert_eq!(found(&server).await, [None, None]);
}
