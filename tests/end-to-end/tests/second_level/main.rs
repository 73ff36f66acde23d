//! The second level of the cache, through the public API, on a real Redis server.

#![allow(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

mod msal;
