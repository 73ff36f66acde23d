//! A master, a replica and three sentinels of a test's own.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::redis_server::{RedisServer, cli, free_port, wait_until};

/// What sentinels watch over. A master that doesn't answer for half a second is replaced.
#[derive(Debug)]
pub struct RedisSentinels {
    /// At first the master and its replica.
    pub servers: [RedisServer; 2],
    sentinels: Vec<Sentinel>,
}

#[derive(Debug)]
struct Sentinel {
    port: u16,
    tls_port: Option<u16>,
    _directory: TempDir,
    process: Child,
}

impl RedisSentinels {
    /// What the sentinels call the master.
    pub const MASTER: &str = "main";

    /// Starts them; None, with a word about it, where there is no Redis on this machine.
    ///
    /// # Panics
    ///
    /// In CI, where there is none; and where they don't find each other.
    pub fn start() -> Option<Self> {
        Self::begin("127.0.0.1", None, &[])
    }

    /// The same over TLS, with these certificates, under the name `localhost`.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_tls(certificates: &[&str]) -> Option<Self> {
        Self::begin("localhost", Some(certificates), &["--tls-replication", "yes"])
    }

    fn begin(host: &str, certificates: Option<&[&str]>, further: &[&str]) -> Option<Self> {
        let server = |arguments: &[&str]| match certificates {
            Some(certificates) => RedisServer::start_tls(&[certificates, further, arguments].concat()),
            None => RedisServer::start_with(arguments),
        };
        let announced = ["--replica-announce-ip", host, "--repl-diskless-sync-delay", "0"];
        let master = server(&announced)?;
        let master_port = master.servers_port().to_string();
        let replica = server(&[&announced[..], &["--replicaof", host, &master_port]].concat())?;
        wait_until("the replica is complete", || {
            replica.cli(&["INFO", "replication"]).contains("master_link_status:up")
        });
        let arguments = [certificates.unwrap_or_default(), further].concat();
        let sentinels: Vec<_> =
            (0..3).map(|_| Sentinel::start(host, &master_port, certificates.is_some(), &arguments)).collect();
        for sentinel in &sentinels {
            wait_until("the sentinels know each other and the replica", || {
                let known = cli(sentinel.port, &["SENTINEL", "MASTER", Self::MASTER]);
                known.contains("num-other-sentinels\n2") && known.contains("num-slaves\n1")
            });
        }
        Some(Self { servers: [master, replica], sentinels })
    }

    /// The ports of the sentinels, for TLS where they have one.
    pub fn ports(&self) -> Vec<u16> {
        self.sentinels.iter().map(|sentinel| sentinel.tls_port.unwrap_or(sentinel.port)).collect()
    }

    /// Has `redis-cli` tell all sentinels a command, which must be fine with them.
    ///
    /// # Panics
    ///
    /// Where it isn't.
    pub fn cli(&self, command: &[&str]) {
        for sentinel in &self.sentinels {
            assert_eq!(cli(sentinel.port, command), "OK", "{command:?}");
        }
    }

    /// Whether all sentinels say that the first server isn't the master any more.
    pub fn have_failed_over(&self) -> bool {
        let replica = &self.servers[1];
        let is_named = |sentinel: &Sentinel| {
            let named = cli(sentinel.port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::MASTER]);
            named.lines().nth(1) == Some(&replica.servers_port().to_string())
        };
        self.sentinels.iter().all(is_named)
    }
}

impl Sentinel {
    #[expect(clippy::expect_used, reason = "a test can't go on without it")]
    fn start(host: &str, master_port: &str, with_tls: bool, arguments: &[&str]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let (port, tls_port) = (free_port(), with_tls.then(free_port));
        let main = RedisSentinels::MASTER;
        let configuration = directory.path().join("sentinel.conf");
        let content = format!(
            "sentinel resolve-hostnames yes\n\
             sentinel announce-hostnames yes\n\
             sentinel announce-ip {host}\n\
             sentinel monitor {main} {host} {master_port} 2\n\
             sentinel down-after-milliseconds {main} 500\n\
             sentinel failover-timeout {main} 3000\n"
        );
        std::fs::write(&configuration, content).expect("a configuration");
        let process = Command::new("redis-server")
            .arg(&configuration)
            .args(["--sentinel", "--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"])
            .arg(directory.path())
            .args(tls_port.iter().flat_map(|port| ["--tls-port".to_owned(), port.to_string()]))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a sentinel");
        let sentinel = Self { port, tls_port, _directory: directory, process };
        wait_until("the sentinel answers", || cli(port, &["PING"]) == "PONG");
        // It looks for others every two seconds.
        cli(port, &["SENTINEL", "DEBUG", "PUBLISH-PERIOD", "200", "INFO-PERIOD", "500"]);
        sentinel
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
