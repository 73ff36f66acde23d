//! A cluster, and a master that sentinels name.

use std::process::{Child, Command, Stdio};

use symbolon_resources::cache::Entry;
use symbolon_resources::second_level::{
    RedisOptions, RedisTopology, Sealing, TokenCacheOptions, TokenCacheStore, try_store,
};

use crate::redis_server::RedisServer;
use crate::support::{
    Process, bring, eventually, find, lead, look, raw, redis, refresh_token, sealing, secret, token,
};

fn options(url: &str, topology: RedisTopology) -> TokenCacheOptions {
    let mut redis = RedisOptions::parse(url).unwrap();
    redis.topology = topology;
    TokenCacheOptions::new(TokenCacheStore::Redis(redis), sealing(&[1]))
}

#[tokio::test]
async fn the_nodes_of_a_cluster_share_the_entries() {
    let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
    let (Some(one), Some(other)) = (RedisServer::start_with(&arguments), RedisServer::start_with(&arguments))
    else {
        return;
    };
    for (server, first, last) in [(&one, 0, 8191), (&other, 8192, 16383)] {
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("ADDSLOTSRANGE").arg(first).arg(last);
        let () = slots.query_async(&mut raw(server).await).await.unwrap();
    }
    let mut meet = redis::cmd("CLUSTER");
    meet.arg("MEET").arg("127.0.0.1").arg(other.address().port());
    let () = meet.query_async(&mut raw(&one).await).await.unwrap();
    for server in [&one, &other] {
        eventually("the cluster is complete", async || {
            let info: String =
                redis::cmd("CLUSTER").arg("INFO").query_async(&mut raw(server).await).await.unwrap();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
        })
        .await;
    }
    let options = options(&one.url(), RedisTopology::Cluster);
    let (a, b) = (Process::new(&options), Process::new(&options));
    for i in 0..20 {
        let keys = [format!("a{i}"), format!("b{i}"), format!("c{i}")];
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let text = i.to_string();
        let ticket = lead(&a.app, keys[0]).await;
        bring(&a.app, Some(ticket), Entry::AccessToken(token(&text)), &keys, &["group"]).await;
        assert_eq!(secret(&find(&b.app, &keys[1..]).await), Some(text));
    }
    let sizes: Vec<usize> = futures_util::future::join_all(
        [&one, &other]
            .map(async |server| redis::cmd("DBSIZE").query_async(&mut raw(server).await).await.unwrap()),
    )
    .await;
    assert!(sizes.iter().all(|size| *size > 10), "both have a part: {sizes:?}");
    assert!(a.app.remove_group_through("group").await);
    eventually("gone from the other process", async || b.app.get("a0").is_none()).await;
    assert_eq!(look(&Process::new(&options).app, "a0").await, None);
    assert_eq!(a.statistics().failures + b.statistics().failures, 0);
}

#[tokio::test]
async fn sentinels_name_the_master() {
    let Some(server) = RedisServer::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("sentinel.conf");
    let monitor = format!("sentinel monitor main 127.0.0.1 {} 1\n", server.address().port());
    std::fs::write(&configuration, monitor).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sentinel = Command::new("redis-server")
        .arg(&configuration)
        .args(["--sentinel", "--port", &port.to_string(), "--bind", "127.0.0.1"])
        .stdout(Stdio::null())
        .spawn();
    let _sentinel = Ended(sentinel.unwrap());
    let url = format!("redis://127.0.0.1:{port}");
    let sentinels = options(&url, RedisTopology::Sentinel { master: "main".to_owned() });
    eventually("the sentinel answers", async || try_store(&sentinels.store).await.is_ok()).await;
    let one = Process::new(&sentinels);
    let ticket = lead(&one.app, "key").await;
    bring(&one.app, Some(ticket), refresh_token("secret"), &["key"], &["group"]).await;
    assert_eq!(look(&Process::on(&server).app, "key").await.as_deref(), Some("secret"));
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_password_is_sent_and_a_wrong_one_is_no_failure() {
    let Some(server) = RedisServer::start_with(&["--requirepass", "pass word"]) else { return };
    let address = server.address();
    let right = redis(&format!("redis://:pass%20word@{address}/3"));
    let connection_string =
        redis(&format!("{address},password=pass word,defaultDatabase=3,abortConnect=False"));
    bring(&Process::new(&right).app, None, refresh_token("secret"), &["key"], &[]).await;
    assert_eq!(look(&Process::new(&connection_string).app, "key").await.as_deref(), Some("secret"));
    for wrong in [server.url(), format!("redis://:wrong@{address}")] {
        let process = Process::new(&redis(&wrong));
        assert_eq!(look(&process.app, "key").await, None);
        assert!(process.statistics().failures > 0);
        let error = try_store(&redis(&wrong).store).await.unwrap_err();
        assert!(!error.contains("wrong") && !error.is_empty(), "{error}");
    }
}

#[tokio::test]
async fn a_socket_of_the_machine_does_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("redis.sock");
    let path = socket.to_str().unwrap();
    let Some(server) = RedisServer::start_with(&["--unixsocket", path]) else { return };
    let one = Process::new(&redis(&format!("unix://{path}")));
    bring(&one.app, None, refresh_token("secret"), &["key"], &[]).await;
    assert_eq!(look(&Process::on(&server).app, "key").await.as_deref(), Some("secret"));
    let clear = TokenCacheOptions::new(redis(&server.url()).store, Sealing::Clear);
    assert_eq!(look(&Process::new(&clear).app, "key").await, None);
}
