//! A cluster of a test's own: three masters.

use crate::redis_server::{RedisServer, free_port, wait_until};

/// Its nodes, which share the slots in three equal parts.
#[derive(Debug)]
pub struct RedisCluster {
    /// In the order of their slots.
    pub nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts them; None, with a word about it, where there is no Redis on this machine.
    ///
    /// # Panics
    ///
    /// In CI, where there is none; and where they don't find each other.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same with further arguments for each.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_with(arguments: &[&str]) -> Option<Self> {
        Self::begin(|bus| {
            RedisServer::start_with(&[&ARGUMENTS[..], &["--cluster-port", bus], arguments].concat())
        })
    }

    /// The same of Valkey.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_valkey() -> Option<Self> {
        Self::begin(|bus| RedisServer::start_valkey(&[&ARGUMENTS[..], &["--cluster-port", bus]].concat()))
    }

    /// The same over TLS, with these certificates. Clients are told the name `localhost`, and no address.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_tls(certificates: &[&str]) -> Option<Self> {
        let named =
            ["--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname"];
        Self::begin(|bus| {
            let own = ["--tls-cluster", "yes", "--cluster-port", bus];
            RedisServer::start_tls(&[&ARGUMENTS[..], &named, &own, certificates].concat())
        })
    }

    fn begin(node: impl Fn(&str) -> Option<RedisServer>) -> Option<Self> {
        let mut nodes = Vec::new();
        let mut buses = Vec::new();
        for _ in SLOTS {
            let bus = free_port().to_string();
            nodes.push(node(&bus)?);
            buses.push(bus);
        }
        for (node, (first, last)) in nodes.iter().zip(SLOTS) {
            node.cli(&["CLUSTER", "ADDSLOTSRANGE", first, last]);
        }
        for (node, bus) in nodes.iter().zip(&buses).skip(1) {
            let port = node.servers_port().to_string();
            nodes.first()?.cli(&["CLUSTER", "MEET", "127.0.0.1", &port, bus]);
        }
        let cluster = Self { nodes };
        cluster.wait();
        Some(cluster)
    }

    /// Until all nodes that run know all.
    ///
    /// # Panics
    ///
    /// Where they never do.
    pub fn wait(&self) {
        for node in &self.nodes {
            wait_until("the cluster is complete", || {
                let info = node.cli(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok")
                    && info.contains("cluster_known_nodes:3")
                    && info.contains("cluster_slots_ok:16384")
            });
        }
    }

    /// The node that has the slot of a name, and the slot.
    pub fn node_of(&self, name: &str) -> Option<(&RedisServer, u16)> {
        let slot: u16 = self.nodes.first()?.cli(&["CLUSTER", "KEYSLOT", name]).parse().ok()?;
        let has =
            |(_, (_, last)): &(&RedisServer, (&str, &str))| last.parse().is_ok_and(|last: u16| slot <= last);
        self.nodes.iter().zip(SLOTS).find(has).map(|(node, _)| (node, slot))
    }
}

const ARGUMENTS: [&str; 4] = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
const SLOTS: [(&str, &str); 3] = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
