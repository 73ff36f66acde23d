//! Clients of tower call an API, which says what it saw.

#![allow(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

mod authorization;
mod client;
mod grpc;
