//! The transport against real TLS servers: one file per behaviour.

mod binding;
mod limits;
mod pooling;
mod proxy;
mod secret;
mod support;
mod trust;
