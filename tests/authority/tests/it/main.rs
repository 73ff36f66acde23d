//! The authority's behaviour, seen through real TLS.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test, a panic is the report")]

mod support;

mod agents;
mod assertions;
mod authorization_codes;
mod claims;
mod control;
mod data_directory;
mod discovery;
mod faults;
mod federation;
mod handshakes;
mod log;
mod mutual_tls;
mod mutual_tls_flows;
mod on_behalf_of;
mod passwords;
mod refresh_tokens;
mod refusals;
mod saml;
mod strict;
mod tokens;
