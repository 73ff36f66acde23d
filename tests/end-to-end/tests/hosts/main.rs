//! The guests in hosts that others wrote.

#![allow(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

mod envoy;
mod javascript;
mod package;
mod python;
