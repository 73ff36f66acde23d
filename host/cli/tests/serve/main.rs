//! `symbolon serve` from the outside, against a local authority over real TLS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "that is how a test fails")]
#![allow(clippy::disallowed_methods, reason = "the process under test lives by the machine's time")]

#[cfg(test)]
mod applications;
#[cfg(all(test, unix))]
mod delivery;
#[cfg(all(test, unix))]
mod operations;
#[cfg(all(test, unix))]
mod reached;
#[cfg(test)]
mod server;
#[cfg(test)]
#[path = "../it/site.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod site;
