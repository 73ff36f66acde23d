//! What was done on the way to a token: the trace of an acquisition, metrics, spans.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "that is how a test fails")]

mod collector;
mod metrics;
mod page;
mod spans;
mod traces;
