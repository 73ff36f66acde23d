//! The token cache, through its public API.

#![allow(clippy::panic, clippy::unwrap_used, reason = "these are tests, their helpers included")]

mod churn;
mod eviction;
mod groups;
mod lookup;
mod packing;
mod properties;
mod reuse;
mod single_flight;
mod support;
