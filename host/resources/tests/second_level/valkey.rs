//! Valkey in the place of Redis.

use symbolon_resources::cache::Entry;
use symbolon_resources::second_level::{RedisTopology, TokenCacheOptions, try_store};

use crate::redis_cluster::RedisCluster;
use crate::redis_server::RedisServer;
use crate::support::{
    Process, acquire, bring, eventually, find, lead, look, patient, redis, redis_with, secret, token,
};

/// Entries with several keys, a group, a lock, and a removal that others hear of.
async fn all_that_there_is(options: &TokenCacheOptions) {
    try_store(&options.store).await.unwrap();
    let (one, other) = (Process::new(options), Process::new(options));
    let ticket = lead(&one.app, "a").await;
    let app = other.app.clone();
    let waiting = tokio::spawn(async move { secret(&find(&app, &["a"]).await) });
    eventually("the other one waits", async || other.statistics().waits > 0).await;
    bring(&one.app, Some(ticket), Entry::AccessToken(token("both")), &["a", "b"], &["group"]).await;
    assert_eq!(waiting.await.unwrap().as_deref(), Some("both"));
    let fresh = Process::new(options);
    assert_eq!(secret(&find(&fresh.app, &["b", "a"]).await).as_deref(), Some("both"));
    assert_eq!(fresh.app.members_through("group").await.len(), 1);
    assert!(one.app.remove_group_through("group").await);
    eventually("gone from the other process", async || other.app.get("a").is_none()).await;
    assert_eq!(look(&Process::new(options).app, "a").await, None);
    assert_eq!((one.statistics().failures, other.statistics().failures), (0, 0));
}

#[tokio::test]
async fn processes_share_what_it_keeps() {
    let Some(mut server) = RedisServer::start_valkey(&[]) else { return };
    assert!(server.cli(&["INFO", "server"]).contains("valkey_version:"));
    let options = redis(&format!("valkey://{}", server.address()));
    all_that_there_is(&patient(options.clone())).await;
    let one = Process::new(&options);
    acquire(&one.app, "before").await;
    server.kill();
    for i in 0..5 {
        acquire(&one.app, &format!("during {i}")).await;
    }
    server.restart();
    let mut i = 0;
    eventually("it is used again", async || {
        i += 1;
        acquire(&one.app, &format!("after {i}")).await;
        look(&Process::new(&options).app, &format!("after {i}")).await.is_some()
    })
    .await;
}

#[tokio::test]
async fn the_nodes_of_its_clusters_do_so_as_well() {
    let Some(cluster) = RedisCluster::start_valkey() else { return };
    let options = redis_with(&cluster.nodes[0].url(), |redis| redis.topology = RedisTopology::Cluster);
    let options = patient(options);
    for i in 0..6 {
        all_that_there_is(&options).await;
        acquire(&Process::new(&options).app, &format!("{i}")).await;
        assert_eq!(look(&Process::new(&options).app, &format!("{i}")).await, Some(format!("{i}")));
    }
}
