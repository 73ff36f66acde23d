//! A cluster: names over all slots, a node that is lost, slots that move.

use std::time::Duration;

use symbolon_resources::cache::Entry;
use symbolon_resources::second_level::{RedisTopology, TokenCacheOptions, TokenCacheStore, try_store};

use crate::redis_cluster::RedisCluster;
use crate::redis_server::RedisServer;
use crate::support::{
    Process, acquire, add_user, bring, eventually, find, lead, look, patient, redis, redis_with,
    refresh_token, secret, token,
};

fn options(cluster: &RedisCluster) -> TokenCacheOptions {
    add_users(cluster);
    redis_with(&format!("redis://cache:pass@{}", cluster.nodes[0].address()), |redis| {
        redis.topology = RedisTopology::Cluster;
    })
}

#[tokio::test]
async fn the_nodes_share_the_entries() {
    let Some(cluster) = RedisCluster::start() else { return };
    let options = patient(options(&cluster));
    try_store(&options.store).await.unwrap();
    let (a, b) = (Process::new(&options), Process::new(&options));
    for i in 0..30 {
        let keys = [format!("a{i}"), format!("b{i}"), format!("c{i}")];
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let text = i.to_string();
        let ticket = lead(&a.app, keys[0]).await;
        bring(&a.app, Some(ticket), Entry::AccessToken(token(&text)), &keys, &["group"]).await;
        assert_eq!(secret(&find(&b.app, &keys[1..]).await), Some(text));
    }
    let sizes: Vec<usize> = cluster.nodes.iter().map(|node| node.cli(&["DBSIZE"]).parse().unwrap()).collect();
    assert!(sizes.iter().all(|size| *size > 10), "each has a part: {sizes:?}");
    assert_eq!(Process::new(&options).app.members_through("group").await.len(), 30);
    assert!(a.app.remove_group_through("group").await);
    eventually("gone from the other process", async || b.app.get("a0").is_none()).await;
    assert_eq!(look(&Process::new(&options).app, "a0").await, None);
    assert_eq!(a.statistics().failures + b.statistics().failures, 0);
    for node in &cluster.nodes {
        assert!(node.refused_commands(&[]).is_empty());
        let errors = node.cli(&["INFO", "errorstats"]);
        assert!(!errors.contains("CROSSSLOT") && !errors.contains("TRYAGAIN"), "{errors}");
    }
    // Taken for one server, it says what it is.
    let error = try_store(&redis(&cluster.nodes[0].url()).store).await.unwrap_err();
    assert!(error.contains("Topology \"Cluster\""), "{error}");
}

#[tokio::test]
async fn a_node_that_is_killed_fails_no_acquisition() {
    let Some(mut cluster) = RedisCluster::start() else { return };
    let options = options(&cluster);
    let one = Process::new(&options);
    for i in 0..10 {
        acquire(&one.app, &format!("before {i}")).await;
    }
    cluster.nodes[2].kill();
    for i in 0..30 {
        let took = acquire(&one.app, &format!("during {i}")).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    let other = Process::new(&options);
    for i in 0..10 {
        acquire(&other.app, &format!("before {i}")).await;
    }
    cluster.nodes[2].restart();
    cluster.wait();
    // It has forgotten its users, too.
    acquire(&one.app, "nobody").await;
    add_users(&cluster);
    all_is_kept(&one, &options).await;
    assert_ne!(cluster.nodes[2].cli(&["DBSIZE"]), "0");
}

/// As that of a machine that is gone, before and after the others have noticed.
#[tokio::test]
async fn a_node_that_says_nothing_is_not_in_the_way_of_the_others() {
    let Some(cluster) = RedisCluster::start_with(&["--cluster-require-full-coverage", "no"]) else { return };
    let mut options = options(&cluster);
    if let TokenCacheStore::Redis(redis) = &mut options.store {
        redis.hosts =
            cluster.nodes.iter().map(|node| ("127.0.0.1".to_owned(), node.address().port())).collect();
    }
    let (one, fresh) = (Process::new(&options), Process::new(&options));
    acquire(&one.app, "before").await;
    // Nothing goes on without the node that has the removals.
    let needed = cluster.node_of("symbolon:removals").map(|(node, _)| node.address());
    let silent = cluster.nodes.iter().find(|node| Some(node.address()) != needed).unwrap();
    silent.pause(true);
    for process in [&one, &fresh] {
        let written = process.statistics().writes;
        let mut i = 0;
        eventually("what lies on other nodes is kept", async || {
            i += 1;
            let took = acquire(&process.app, &format!("during {i}")).await;
            assert!(took < Duration::from_secs(2), "{took:?}");
            process.statistics().writes > written
        })
        .await;
    }
    silent.pause(false);
    cluster.wait();
    all_is_kept(&one, &options).await;
    all_is_kept(&fresh, &options).await;
}

fn add_users(cluster: &RedisCluster) {
    for node in &cluster.nodes {
        add_user(node, "+ping +asking +cluster|slots");
    }
}

/// Keys on all nodes are written and read.
async fn all_is_kept(process: &Process, options: &TokenCacheOptions) {
    let mut i = 0;
    eventually("all of it is used again", async || {
        i += 1;
        let reader = Process::new(&patient(options.clone()));
        let mut are_there = 0;
        for key in (0..12).map(|j| format!("after {i} {j}")) {
            acquire(&process.app, &key).await;
            are_there += usize::from(look(&reader.app, &key).await == Some(key));
        }
        are_there == 12
    })
    .await;
}

#[tokio::test]
async fn slots_move_from_node_to_node() {
    let Some(cluster) = RedisCluster::start() else { return };
    let options = patient(options(&cluster));
    let (one, other) = (Process::new(&options), Process::new(&options));
    for key in ["a", "b", "c"] {
        bring(&one.app, None, refresh_token(key), &[key], &[]).await;
    }
    assert_eq!(look(&other.app, "a").await.as_deref(), Some("a"), "it knows the slots");
    let names = || {
        let all = cluster.nodes.iter().flat_map(|node| {
            let names = node.cli(&["KEYS", "*:e*"]);
            names.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        all.filter(|name| !name.is_empty()).collect::<Vec<_>>()
    };
    assert_eq!(names().len(), 3);
    for name in names() {
        let (from, slot) = cluster.node_of(&name).unwrap();
        let to = cluster.nodes.iter().find(|node| node.address() != from.address()).unwrap();
        let (slot, port) = (slot.to_string(), to.address().port().to_string());
        let id = |node: &RedisServer| node.cli(&["CLUSTER", "MYID"]);
        let setslot = |node: &RedisServer, state: &[&str]| {
            assert_eq!(node.cli(&[&["CLUSTER", "SETSLOT", &slot], state].concat()), "OK");
        };
        setslot(to, &["IMPORTING", &id(from)]);
        setslot(from, &["MIGRATING", &id(to)]);
        assert_eq!(from.cli(&["MIGRATE", "127.0.0.1", &port, &name, "0", "1000"]), "OK");
        // On its way: the old node says ASK, and who doesn't ask is told MOVED by the new one.
        for key in ["a", "b", "c"] {
            assert_eq!(look(&Process::new(&options).app, key).await.as_deref(), Some(key));
        }
        setslot(to, &["NODE", &id(to)]);
        setslot(from, &["NODE", &id(to)]);
    }
    // It has heard nothing of all that.
    for key in ["b", "c"] {
        assert_eq!(look(&other.app, key).await.as_deref(), Some(key), "MOVED");
    }
    for i in 0..20 {
        let key = format!("after {i}");
        acquire(&one.app, &key).await;
        assert_eq!(look(&other.app, &key).await, Some(key));
    }
    assert_eq!(one.statistics().failures + other.statistics().failures, 0);
    let redirected: String = cluster.nodes.iter().map(|node| node.cli(&["INFO", "errorstats"])).collect();
    assert!(redirected.contains("errorstat_ASK") && redirected.contains("errorstat_MOVED"), "{redirected}");
}
