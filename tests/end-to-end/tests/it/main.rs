//! Behaviour through the public API, one file each. One binary, because linking takes longer than testing.

#![allow(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

mod acquirer;
mod agents;
mod around;
mod assertions;
mod bound_flows;
mod bound_managed_identity;
mod browser;
mod client_credentials;
mod codes;
mod credential_provider;
mod discovery;
mod downstream;
mod downstream_certificates;
mod downstream_challenges;
mod downstream_requests;
mod egress;
mod faults;
mod hooks;
mod hostile_guests;
mod imports;
mod isolation;
mod long_running;
mod managed_identity;
mod matrix;
mod nginx;
mod on_a_token;
mod on_behalf_of;
mod password;
mod platform_boundary;
mod presentation;
mod reload;
mod rotation;
mod sidecar;
mod signing;
mod silent;
mod single_flight;
mod throttling;
mod user_fic;
