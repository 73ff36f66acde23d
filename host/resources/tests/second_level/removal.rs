//! What is removed in one process is removed in all.

use std::time::Duration;

use crate::redis_server::RedisServer;
use crate::support::{Process, bring, eventually, lead, look, names, raw, refresh_token};

#[tokio::test]
async fn what_one_process_removes_is_gone_everywhere() {
    let Some(server) = RedisServer::start() else { return };
    let (one, other) = (Process::on(&server), Process::on(&server));
    for user in ["user", "another"] {
        let ticket = lead(&one.app, user).await;
        bring(&one.app, Some(ticket), refresh_token(user), &[user], &[user]).await;
        assert_eq!(look(&other.app, user).await.as_deref(), Some(user));
    }
    assert!(one.app.remove_group_through("user").await);
    assert_eq!(look(&one.app, "user").await, None);
    assert_eq!(look(&Process::on(&server).app, "user").await, None, "from the store");
    eventually("gone from the other one's first level", async || other.app.get("user").is_none()).await;
    assert_eq!(look(&other.app, "user").await, None);
    assert_eq!(look(&other.app, "another").await.as_deref(), Some("another"));
    assert!(!one.app.remove_group_through("user").await, "there was nothing any more");
    assert_eq!((one.statistics().removals_sent, other.statistics().removals_received), (2, 2));
}

#[tokio::test]
async fn whoever_never_had_it_can_remove_it() {
    let Some(server) = RedisServer::start() else { return };
    let (one, other) = (Process::on(&server), Process::on(&server));
    bring(&one.app, None, refresh_token("secret"), &["key"], &["user"]).await;
    assert!(other.app.remove_group_through("user").await);
    eventually("gone", async || one.app.get("key").is_none()).await;
    assert!(names(&server).await.iter().all(|name| !name.contains(":e")), "and deleted");
}

#[tokio::test]
async fn what_was_under_way_before_a_removal_is_not_kept() {
    let Some(server) = RedisServer::start() else { return };
    let (one, other) = (Process::on(&server), Process::on(&server));
    // The first is of a group that nobody has heard of, the second of one that is there.
    for group in ["unknown", "known"] {
        if group == "known" {
            bring(&one.app, None, refresh_token("old"), &["old"], &[group]).await;
        }
        let ticket = lead(&one.app, "key").await;
        other.app.remove_group_through(group).await;
        bring(&one.app, Some(ticket), refresh_token("late"), &["key"], &[group]).await;
        assert_eq!(look(&Process::on(&server).app, "key").await, None, "{group}");
        // What begins after it is kept again.
        let third = Process::on(&server);
        let ticket = lead(&third.app, "key").await;
        bring(&third.app, Some(ticket), refresh_token("anew"), &["key"], &[group]).await;
        assert_eq!(look(&Process::on(&server).app, "key").await.as_deref(), Some("anew"), "{group}");
        other.app.remove_group_through(group).await;
        eventually("gone from the first level", async || one.app.get("key").is_none()).await;
    }
}

#[tokio::test]
async fn a_group_that_the_server_forgot_is_removed() {
    let Some(server) = RedisServer::start() else { return };
    let one = Process::on(&server);
    bring(&one.app, None, refresh_token("secret"), &["key"], &["user"]).await;
    assert_eq!(look(&Process::on(&server).app, "key").await.as_deref(), Some("secret"));
    let group = names(&server).await.into_iter().find(|name| name.contains(":g")).expect("the group");
    let () = redis::cmd("DEL").arg(group).query_async(&mut raw(&server).await).await.unwrap();
    assert_eq!(look(&Process::on(&server).app, "key").await, None);
}

#[tokio::test]
async fn a_removal_outlasts_an_outage() {
    let Some(server) = RedisServer::start() else { return };
    let (one, other) = (Process::on(&server), Process::on(&server));
    bring(&one.app, None, refresh_token("secret"), &["key"], &["user"]).await;
    assert_eq!(look(&other.app, "key").await.as_deref(), Some("secret"));
    server.pause(true);
    assert!(one.app.remove_group_through("user").await, "the first level had it");
    assert_eq!(one.statistics().removals_sent, 0);
    server.pause(false);
    eventually("gone from the other process", async || other.app.get("key").is_none()).await;
    assert_eq!(look(&one.app, "key").await, None);
    assert_eq!(look(&Process::on(&server).app, "key").await, None);
}

#[tokio::test]
async fn whoever_missed_removals_begins_anew() {
    let Some(server) = RedisServer::start() else { return };
    let (one, other) = (Process::on(&server), Process::on(&server));
    bring(&one.app, None, refresh_token("secret"), &["key"], &["user"]).await;
    assert_eq!(look(&other.app, "key").await.as_deref(), Some("secret"));
    let () = redis::cmd("DEL").arg("symbolon:removals").query_async(&mut raw(&server).await).await.unwrap();
    eventually("the first level is empty", async || other.app.get("key").is_none()).await;
    assert_eq!(look(&other.app, "key").await.as_deref(), Some("secret"), "still in the store");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(other.app.get("key").is_some(), "once");
}
