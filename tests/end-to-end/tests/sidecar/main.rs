//! The sidecar, for callers who know nothing but HTTP.

#![allow(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

mod clients;
mod description;
mod proxies;
mod routes;
mod server;
mod validation;
