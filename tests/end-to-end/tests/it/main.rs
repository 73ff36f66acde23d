//! Behaviour through the public API, one file each. One binary, because linking takes longer than testing.

#![allow(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

mod client_credentials;
mod egress;
mod faults;
mod hostile_guests;
mod imports;
mod isolation;
mod long_running;
mod on_behalf_of;
mod rotation;
mod signing;
mod single_flight;
