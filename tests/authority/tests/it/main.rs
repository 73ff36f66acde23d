//! The authority's behaviour, seen through real TLS.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test, a panic is the report")]

mod support;

mod agents;
mod assertions;
mod control;
mod data_directory;
mod discovery;
mod faults;
mod federation;
mod handshakes;
mod log;
mod mutual_tls;
mod on_behalf_of;
mod refusals;
mod strict;
mod tokens;
