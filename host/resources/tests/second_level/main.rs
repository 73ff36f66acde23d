//! The second level of the cache, on a real Redis server and on a file: what processes share, and that nothing that happens
//! to the store is in the way or gives a wrong token.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

mod access;
mod cluster;
mod crash;
mod damage;
mod file;
mod outage;
mod removal;
mod sentinels;
mod sharing;
mod support;
mod tls;
mod valkey;

#[path = "../../../../tests/end-to-end/src/redis_server.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the end-to-end tests")]
mod redis_server;

#[path = "../../../../tests/end-to-end/src/redis_cluster.rs"]
#[allow(unreachable_pub, reason = "shared with the end-to-end tests")]
mod redis_cluster;

#[path = "../../../../tests/end-to-end/src/redis_sentinels.rs"]
#[allow(unreachable_pub, reason = "shared with the end-to-end tests")]
mod redis_sentinels;
