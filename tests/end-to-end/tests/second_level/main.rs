//! The second level of the token cache through the public API: engines that share a store, as processes do.

#![allow(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

mod failover;
mod msal;
mod own;
