//! Servers that are lost while tokens are acquired: nobody notices.

use std::time::Duration;

use serde_json::{Value, json};
use symbolon::{Application, Symbolon};
use symbolon_end_to_end::redis_cluster::RedisCluster;
use symbolon_end_to_end::redis_sentinels::RedisSentinels;
use symbolon_end_to_end::{GRAPH, VAULT, World, claims};

use crate::own::process;

/// Applications of different registrations, in processes of their own, and whose tokens they get.
struct Callers<'a> {
    world: &'a World,
    cache: Value,
    processes: Vec<(&'static str, Symbolon, Application)>,
}

impl<'a> Callers<'a> {
    fn new(world: &'a World, cache: Value) -> Self {
        let samples = ["secret", "web-api", "secret"];
        let processes = samples.map(|sample| {
            let (symbolon, application) = process(world, sample, &cache);
            (sample, symbolon, application)
        });
        Self { world, cache, processes: processes.into() }
    }

    /// Each acquires tokens for two APIs, from the cache and anew.
    async fn acquire(&self) {
        for (sample, _, application) in &self.processes {
            for scope in [GRAPH, VAULT] {
                for anew in [false, true] {
                    let call = application.acquire_token_for_client([scope]).with_force_refresh(anew);
                    let token = call.await.expect("a token");
                    assert_eq!(Self::owner(token.access_token()), self.expected(sample, scope));
                }
            }
        }
    }

    fn expected(&self, sample: &str, scope: &str) -> (String, String) {
        let options = self.world.options(sample, |_| {}).expect("options");
        (options.client_id().to_owned(), scope.trim_end_matches("/.default").to_owned())
    }

    /// Whose token it is, and for which API.
    fn owner(token: &str) -> (String, String) {
        let claims = claims(token);
        let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
        (text("appid"), text("aud"))
    }

    /// Until what one process acquires is found by a new one.
    async fn share(&self) {
        for _ in 0..60 {
            self.acquire().await;
            let mut requests = 0;
            for (sample, ..) in &self.processes {
                let (_engine, application) = process(self.world, sample, &self.cache);
                let (token, seen) = self.world.seen(application.acquire_token_for_client([VAULT])).await;
                let token = token.expect("a token");
                assert_eq!(Self::owner(token.access_token()), self.expected(sample, VAULT));
                requests += seen.len();
            }
            if requests == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!("the servers are never used again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_failover_of_a_master_fails_no_acquisition() {
    let Some(mut sentinels) = RedisSentinels::start() else { return };
    let world = World::start().await;
    let hosts: Vec<_> = sentinels.ports().iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let cache = json!({
        "Redis": hosts.join(","), "Topology": "Sentinel", "SentinelMaster": RedisSentinels::MASTER,
        "Keys": ["cache.key"],
    });
    let callers = Callers::new(&world, cache);
    callers.share().await;
    sentinels.servers[0].kill();
    while !sentinels.have_failed_over() {
        callers.acquire().await;
    }
    callers.share().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_node_of_a_cluster_fails_no_acquisition() {
    let Some(mut cluster) = RedisCluster::start() else { return };
    let world = World::start().await;
    let hosts: Vec<_> = cluster.nodes.iter().map(|node| node.address().to_string()).collect();
    let cache = json!({ "Redis": hosts.join(","), "Topology": "Cluster", "Keys": ["cache.key"] });
    let callers = Callers::new(&world, cache);
    callers.share().await;
    cluster.nodes[0].kill();
    for _ in 0..10 {
        callers.acquire().await;
    }
    cluster.nodes[0].restart();
    cluster.wait();
    callers.share().await;
}
