//! Together with software of others: hosts that run the guests, servers that they talk to. A test is skipped where its software
//! isn't installed, which `.ci/run` does.

#![allow(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

mod embedded;
mod envoy;
mod javascript;
mod jco;
mod middleware;
mod middleware_p3;
mod oidc_provider;
mod package;
mod parts;
mod python;
mod spin;
mod wasmcloud;
mod wasmtime_serve;
