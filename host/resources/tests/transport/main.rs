//! The transport against real TLS servers: one file per behaviour.

#![allow(clippy::unwrap_used, reason = "helpers of tests count as tests")]

mod binding;
mod late_client_auth;
mod limits;
mod platform;
mod pooling;
mod proxy;
mod secret;
mod support;
mod trust;
