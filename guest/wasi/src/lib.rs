//! What a host does for the protocol component, where the host is WASI 0.2 alone: configuration by environment and
//! `wasi:config`, credentials, the places of secrets, where requests may go, and the cache in `wasi:keyvalue`.
//!
//! Without I/O: the components `symbolon-wasi-host` and `symbolon-wasi-application` bring that.
#![no_std]

extern crate alloc;

pub mod cache;
pub mod credentials;
pub mod egress;
pub mod place;
pub mod seal;
pub mod settings;
