//! The authority's behaviour, seen through real TLS.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test, a panic is the report")]

mod platform_support;
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
mod key_vault;
mod log;
mod mutual_tls;
mod mutual_tls_flows;
mod on_behalf_of;
mod passwords;
mod platform_app_service;
mod platform_azure_arc;
mod platform_cloud_shell;
mod platform_faults;
mod platform_imds;
mod platform_imds_v2;
mod platform_machine_learning;
mod platform_service_fabric;
mod refresh_tokens;
mod refusals;
mod saml;
mod strict;
mod tokens;
