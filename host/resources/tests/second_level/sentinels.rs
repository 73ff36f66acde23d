//! A master that is lost, and the one that sentinels put in its place.

use std::time::Duration;

use symbolon_resources::second_level::TokenCacheOptions;

use crate::redis_sentinels::RedisSentinels;
use crate::support::{
    Process, acquire, add_user, bring, bring_token, eventually, find, lead, look, patient, redis_with,
    refresh_token, secret,
};

fn options(sentinels: &RedisSentinels) -> TokenCacheOptions {
    let hosts: Vec<_> = sentinels.ports().iter().map(|port| format!("127.0.0.1:{port}")).collect();
    for server in &sentinels.servers {
        add_user(server, "+role");
    }
    sentinels.cli(&["ACL", "SETUSER", "watcher", "on", ">its-own", "+sentinel|masters", "+role"]);
    sentinels.cli(&["ACL", "SETUSER", "default", "-sentinel|masters"]);
    let master = RedisSentinels::MASTER;
    redis_with(&format!("{},serviceName={master},user=cache,password=pass", hosts.join(",")), |redis| {
        redis.sentinel_user = Some("watcher".to_owned());
        redis.sentinel_password = Some("its-own".to_owned().into());
    })
}

#[tokio::test]
async fn a_master_that_is_killed_is_left_for_the_new_one() {
    let Some(mut sentinels) = RedisSentinels::start() else { return };
    fail_over(&mut sentinels, |sentinels| sentinels.servers[0].kill()).await;
}

/// As that of a machine that is gone: nobody says that its connections have ended.
#[tokio::test]
async fn a_master_that_says_nothing_any_more_is_left_for_the_new_one() {
    let Some(mut sentinels) = RedisSentinels::start() else { return };
    let (one, options) = fail_over(&mut sentinels, |sentinels| sentinels.servers[0].pause(true)).await;
    // It comes back and believes that it is the master, until a sentinel tells it.
    sentinels.servers[0].pause(false);
    for i in 0..20 {
        acquire(&one.app, &format!("afterwards {i}")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    eventually("the old master follows the new one", async || {
        sentinels.servers[0].cli(&["INFO", "replication"]).contains("role:slave")
    })
    .await;
    bring_token(&one.app, None, "last", "last").await;
    assert_eq!(look(&Process::new(&patient(options)).app, "last").await.as_deref(), Some("last"));
}

async fn fail_over(
    sentinels: &mut RedisSentinels,
    end: impl FnOnce(&mut RedisSentinels),
) -> (Process, TokenCacheOptions) {
    let options = options(sentinels);
    let (one, other) = (Process::new(&options), Process::new(&options));
    for i in 0..5 {
        acquire(&one.app, &format!("before {i}")).await;
    }
    bring(&one.app, None, refresh_token("user"), &["user"], &["user"]).await;
    assert_eq!(look(&other.app, "user").await.as_deref(), Some("user"));
    let under_way = lead(&one.app, "under way").await;
    eventually("the replica has it", async || {
        let [master, replica] = &sentinels.servers;
        master.cli(&["DBSIZE"]) == replica.cli(&["DBSIZE"])
    })
    .await;

    end(sentinels);
    let mut i = 0;
    eventually("the new master is used", async || {
        i += 1;
        let key = format!("during {i}");
        let took = acquire(&one.app, &key).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
        for old in 0..5 {
            let key = format!("before {old}");
            let found = secret(&find(&other.app, &[&key]).await);
            assert!(found.is_none_or(|secret| secret == key));
        }
        sentinels.have_failed_over() && look(&Process::new(&options).app, &key).await.is_some()
    })
    .await;
    let fresh = Process::new(&patient(options.clone()));
    assert_eq!(look(&fresh.app, "before 0").await.as_deref(), Some("before 0"), "the replica had it");
    assert_eq!(look(&fresh.app, "before 4").await.as_deref(), Some("before 4"));
    // A flight that began at the old master, whose lock may be lost, ends at the new one.
    bring_token(&one.app, Some(under_way), "under way", "under way").await;
    assert_eq!(look(&fresh.app, "under way").await.as_deref(), Some("under way"));
    // Whoever heard of removals from the old master hears of them from the new one.
    eventually("a removal reaches the store", async || one.app.remove_group_through("user").await).await;
    eventually("and others", async || other.app.get("user").is_none()).await;
    assert_eq!(look(&Process::new(&patient(options.clone())).app, "user").await, None);
    assert!(!one.statistics().circuit_open);
    (one, options)
}
