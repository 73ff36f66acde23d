//! What one process brings, others have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use symbolon_resources::cache::{Entry, Found};
use symbolon_resources::second_level::{Sealing, TokenCacheOptions};
use tokio::time::Instant;

use crate::redis_server::RedisServer;
use crate::support::{
    Process, bring, bring_token, eventually, find, find_as, lead, look, lookup, names, raw, redis,
    refresh_token, sealing, secret, strings, token,
};

#[tokio::test]
async fn what_one_process_brings_another_finds() {
    let Some(server) = RedisServer::start() else { return };
    let (one, other) = (Process::on(&server), Process::on(&server));
    let ticket = lead(&one.app, "key").await;
    bring_token(&one.app, Some(ticket), "key", "secret").await;
    assert_eq!(look(&other.app, "key").await.as_deref(), Some("secret"));
    assert_eq!(look(&other.app, "another").await, None);
    assert_eq!((other.statistics().hits, one.statistics().writes), (1, 1));
    // From now on it is in the other one's first level.
    assert_eq!(look(&other.app, "key").await.as_deref(), Some("secret"));
    assert_eq!(other.statistics().hits, 1);
}

#[tokio::test]
async fn what_nobody_is_about_to_bring_is_found_as_well() {
    let Some(server) = RedisServer::start() else { return };
    let (one, other) = (Process::on(&server), Process::on(&server));
    bring(&one.app, None, refresh_token("refresh"), &["one", "other"], &["user"]).await;
    for key in ["other", "one"] {
        let other = Process::on(&server);
        let alternatives = [strings(&["absent"]), strings(&[key])];
        assert_eq!(secret(&other.app.find(lookup(&alternatives)).await).as_deref(), Some("refresh"), "{key}");
    }
    let members = other.app.members_through("user").await;
    assert_eq!(members.len(), 1);
    assert!(other.app.members_through("nobody").await.is_empty());
}

#[tokio::test]
async fn an_entry_has_all_of_its_keys_or_none() {
    let Some(server) = RedisServer::start() else { return };
    let (one, other) = (Process::on(&server), Process::on(&server));
    bring(&one.app, None, Entry::AccessToken(token("both")), &["a", "b"], &[]).await;
    assert_eq!(secret(&find(&other.app, &["b", "a"]).await).as_deref(), Some("both"));
    bring_token(&one.app, None, "b", "only b").await;
    let third = Process::on(&server);
    assert_eq!(secret(&find(&third.app, &["a"]).await), None, "replaced under b, so gone");
    assert_eq!(secret(&find(&third.app, &["a", "b"]).await), None);
    assert_eq!(look(&third.app, "b").await.as_deref(), Some("only b"));
}

#[tokio::test]
async fn applications_are_kept_apart() {
    let Some(server) = RedisServer::start() else { return };
    let (one, other) = (Process::on(&server), Process::on(&server));
    bring_token(&one.app, None, "key", "app's").await;
    let [name] = &names(&server).await[..] else { panic!("one name") };
    let second = other.application("second");
    assert_eq!(look(&second, "key").await, None);
    // Moved to where the other application looks.
    bring_token(&one.application("second"), None, "key", "second's").await;
    let names = names(&server).await;
    let its = names.iter().find(|other| *other != name).expect("the second name");
    let () = redis::cmd("COPY")
        .arg(name)
        .arg(its)
        .arg("REPLACE")
        .query_async(&mut raw(&server).await)
        .await
        .unwrap();
    assert_eq!(look(&other.application("second"), "key").await, None);
    assert!(other.statistics().refused_values > 0);
}

#[tokio::test]
async fn nothing_in_the_store_tells_anything() {
    let Some(server) = RedisServer::start() else { return };
    let one = Process::on(&server);
    let (user, scope) = ("uid.utid-of-a-user", "https://graph.example/Mail.Read");
    let entry = token("the-secret-itself");
    bring(&one.app, None, Entry::AccessToken(entry), &[&format!("{user} {scope}"), scope], &[user]).await;
    bring(&one.app, None, refresh_token("the-secret-itself"), &[user], &[user]).await;
    one.app.remove_group_through("nobody").await;
    let mut raw = raw(&server).await;
    let mut seen = names(&server).await.join("\n").into_bytes();
    for name in names(&server).await {
        let dump: Vec<u8> = redis::cmd("DUMP").arg(&name).query_async(&mut raw).await.unwrap();
        seen.extend(dump);
    }
    let stream: Vec<u8> = redis::cmd("DUMP").arg("symbolon:removals").query_async(&mut raw).await.unwrap();
    seen.extend(stream);
    let has = |text: &str| seen.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(has("symbolon:"), "what is looked through isn't empty");
    for text in ["the-secret-itself", "uid.utid", "graph", "microsoft", "c11e", "nobody", "app"] {
        assert!(!has(text), "{text}");
    }
}

#[tokio::test]
async fn keys_rotate() {
    let Some(server) = RedisServer::start() else { return };
    let with = |keys: &[u8]| Process::new(&TokenCacheOptions::new(redis(&server.url()).store, sealing(keys)));
    bring_token(&with(&[1]).app, None, "key", "old").await;
    assert_eq!(look(&with(&[2]).app, "key").await, None, "an unknown key opens nothing");
    assert_eq!(look(&with(&[2, 1]).app, "key").await.as_deref(), Some("old"));
    bring_token(&with(&[2, 1]).app, None, "key", "new").await;
    assert_eq!(look(&with(&[2]).app, "key").await.as_deref(), Some("new"));
    let clear = TokenCacheOptions::new(redis(&server.url()).store, Sealing::Clear);
    assert_eq!(look(&Process::new(&clear).app, "key").await, None);
    bring_token(&Process::new(&clear).app, None, "key", "clear").await;
    assert_eq!(look(&Process::new(&clear).app, "key").await.as_deref(), Some("clear"));
    assert_eq!(look(&with(&[2, 1]).app, "key").await, None, "what isn't sealed is nobody's");
}

#[tokio::test]
async fn entries_end_with_their_tokens() {
    let Some(server) = RedisServer::start() else { return };
    let one = Process::on(&server);
    let mut entry = token("secret");
    entry.extended_expires_on = Some(entry.expires_on + 3600);
    bring(&one.app, None, Entry::AccessToken(entry), &["key"], &[]).await;
    let [name] = &names(&server).await[..] else { panic!("one name") };
    let ttl: i64 = redis::cmd("TTL").arg(name).query_async(&mut raw(&server).await).await.unwrap();
    assert!((7100..=7200).contains(&ttl), "{ttl}");
    entry = token("expired");
    entry.expires_on = entry.cached_at - 1;
    bring(&one.app, None, Entry::AccessToken(entry), &["other"], &[]).await;
    assert_eq!(names(&server).await.len(), 1, "what has expired isn't written");
    bring(&one.app, None, refresh_token("refresh"), &["refresh"], &[]).await;
    for name in names(&server).await {
        let ttl: i64 = redis::cmd("TTL").arg(name).query_async(&mut raw(&server).await).await.unwrap();
        assert!((1..=90 * 24 * 3600).contains(&ttl), "{ttl}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_processes_brings_it() {
    let Some(server) = RedisServer::start() else { return };
    let leads = Arc::new(AtomicUsize::new(0));
    let processes: Vec<_> = (0..12).map(|_| Process::on(&server)).collect();
    let tasks: Vec<_> = processes
        .iter()
        .flat_map(|process| [process.app.clone(), process.app.clone()])
        .map(|app| {
            let leads = Arc::clone(&leads);
            tokio::spawn(async move {
                match find(&app, &["key"]).await {
                    Found::Lead { ticket, .. } => {
                        leads.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(300)).await;
                        bring_token(&app, Some(ticket), "key", "secret").await;
                        "secret".to_owned()
                    }
                    found => secret(&found).expect("a token"),
                }
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), "secret");
    }
    assert_eq!(leads.load(Ordering::SeqCst), 1);
    let waits: u64 = processes.iter().map(|process| process.statistics().waits).sum();
    assert!(waits > 0, "some have waited");
}

#[tokio::test]
async fn the_next_goes_on_when_one_fails() {
    let Some(server) = RedisServer::start() else { return };
    let (one, other) = (Process::on(&server), Process::on(&server));
    let ticket = lead(&one.app, "key").await;
    let app = other.app.clone();
    let waiting = tokio::spawn(async move { matches!(find(&app, &["key"]).await, Found::Lead { .. }) });
    eventually("the other one waits", async || other.statistics().waits > 0).await;
    assert!(!waiting.is_finished());
    one.app.fail(ticket, &"no token".to_owned());
    let began = Instant::now();
    assert!(waiting.await.unwrap());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

/// Deleted, as by a server that makes room or a replica that never had it; or expired, because its owner took too long.
#[tokio::test]
async fn a_lock_that_is_lost_costs_a_request_and_no_more() {
    let Some(server) = RedisServer::start() else { return };
    for (key, lose) in [("deleted", &["DEL"][..]), ("expired", &["PEXPIRE", "1"])] {
        let (one, other) = (Process::on(&server), Process::on(&server));
        let first = lead(&one.app, key).await;
        let locks = async || names(&server).await.into_iter().filter(|name| name.contains(":l"));
        let name = locks().await.next().expect("the lock");
        assert_eq!(server.cli(&[&[lose[0], &name], &lose[1..]].concat()), "1");
        eventually("it is lost", async || locks().await.next().is_none()).await;
        let second = lead(&other.app, key).await;
        bring_token(&one.app, Some(first), key, "first").await;
        assert_eq!(
            locks().await.next(),
            Some(name),
            "the lock of the second isn't the first one's to give back"
        );
        bring_token(&other.app, Some(second), key, "second").await;
        assert_eq!(look(&Process::on(&server).app, key).await.as_deref(), Some("second"));
        eventually("the lock is gone", async || locks().await.next().is_none()).await;
    }
}

#[tokio::test]
async fn nobody_waits_for_ever_for_a_process_that_is_gone() {
    let Some(server) = RedisServer::start() else { return };
    let one = Process::on(&server);
    let ticket = lead(&one.app, "key").await;
    let [name] = &names(&server).await[..] else { panic!("the lock") };
    let ttl: i64 = redis::cmd("PTTL").arg(name).query_async(&mut raw(&server).await).await.unwrap();
    assert!((1..=15_000).contains(&ttl), "it ends by itself: {ttl}");
    let began = Instant::now();
    assert_eq!(look(&Process::on(&server).app, "key").await, None);
    let waited = began.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(8)).contains(&waited), "{waited:?}");
    drop(ticket);
}

#[tokio::test]
async fn a_renewal_takes_what_another_process_has_renewed() {
    let Some(server) = RedisServer::start() else { return };
    let (one, other) = (Process::on(&server), Process::on(&server));
    let mut old = token("old");
    old.cached_at -= 1800;
    bring(&one.app, None, Entry::AccessToken(old), &["key"], &[]).await;
    assert_eq!(look(&other.app, "key").await.as_deref(), Some("old"));
    assert_eq!(secret(&find_as(&other.app, &["key"], true, true).await), None, "nobody has renewed it yet");
    let Found::Lead { ticket, .. } = find_as(&one.app, &["key"], true, true).await else { panic!("a lead") };
    bring_token(&one.app, Some(ticket), "key", "new").await;
    assert_eq!(secret(&find_as(&other.app, &["key"], true, false).await), None, "forced: from the authority");
    assert_eq!(secret(&find_as(&other.app, &["key"], true, true).await).as_deref(), Some("new"));
    assert_eq!(look(&other.app, "key").await.as_deref(), Some("new"));
}

#[tokio::test]
async fn what_was_put_is_written_though_its_caller_goes_away() {
    let Some(server) = RedisServer::start() else { return };
    let one = Process::on(&server);
    let put = bring_token(&one.app, None, "key", "secret");
    let _ = tokio::time::timeout(Duration::ZERO, put).await;
    let other = Process::on(&server);
    eventually("it is there", async || look(&other.app, "key").await.is_some()).await;
    let mut asynchronous = redis(&server.url());
    asynchronous.waits_for_writes = false;
    bring_token(&Process::new(&asynchronous).app, None, "second", "secret").await;
    eventually("it is there, too", async || look(&other.app, "second").await.is_some()).await;
}
