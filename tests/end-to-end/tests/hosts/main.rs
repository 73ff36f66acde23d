//! The guests in hosts that others wrote.
#![allow(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

mod embedded;
mod envoy;
mod jco;
mod middleware;
mod parts;
mod spin;
mod wasmcloud;
