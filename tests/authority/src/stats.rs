//! Counting TCP connections and TLS handshakes, by host.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
};

use serde::Serialize;

use crate::lock;

/// How many connections are remembered one by one.
const CONNECTIONS: usize = 10_000;

/// What has been counted since the start, or since the last reset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Stats {
    /// Accepted TCP connections.
    pub tcp_connections: u64,
    /// Handshakes that failed before or after the host was known.
    pub failed_handshakes: u64,
    /// By host, as the handshakes named it.
    pub hosts: BTreeMap<String, HostStats>,
    /// The last 10,000 connections whose handshake succeeded, oldest first.
    pub connections: VecDeque<Connection>,
}

impl Stats {
    /// The counts of one host; zeros when nobody asked for it.
    #[must_use]
    pub fn host(&self, host: &str) -> HostStats {
        self.hosts.get(host).cloned().unwrap_or_default()
    }
}

/// What has been counted for one host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct HostStats {
    /// Full handshakes.
    pub full_handshakes: u64,
    /// Handshakes that resumed an earlier session.
    pub resumed_handshakes: u64,
    /// Requests read.
    pub requests: u64,
}

/// One connection after its handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Connection {
    /// Counts up from 1, in the order of acceptance.
    pub id: u64,
    /// The host that the handshake named; at a platform's endpoints the name of the source.
    pub host: String,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// `TLSv1.2` or `TLSv1.3`; nothing (an empty text) at a platform's endpoints without TLS.
    pub tls_version: String,
    /// `h2`, `http/1.1`, or nothing.
    pub alpn: Option<String>,
    /// The `x5t#S256` of the client's certificate.
    pub client_certificate: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<(u64, Stats)>);

impl Counters {
    /// Counts an accepted connection and gives its number.
    pub(crate) fn accepted(&self) -> u64 {
        let (last, stats) = &mut *lock(&self.0);
        *last += 1;
        stats.tcp_connections += 1;
        *last
    }

    pub(crate) fn failed(&self) {
        lock(&self.0).1.failed_handshakes += 1;
    }

    pub(crate) fn shaken(&self, connection: Connection) {
        let stats = &mut lock(&self.0).1;
        let host = stats.hosts.entry(connection.host.clone()).or_default();
        if connection.resumed {
            host.resumed_handshakes += 1;
        } else {
            host.full_handshakes += 1;
        }
        if stats.connections.len() == CONNECTIONS {
            stats.connections.pop_front();
        }
        stats.connections.push_back(connection);
    }

    pub(crate) fn requested(&self, host: &str) {
        lock(&self.0).1.hosts.entry(host.to_owned()).or_default().requests += 1;
    }

    pub(crate) fn snapshot(&self) -> Stats {
        lock(&self.0).1.clone()
    }

    /// Connection numbers go on.
    pub(crate) fn clear(&self) {
        lock(&self.0).1 = Stats::default();
    }
}
