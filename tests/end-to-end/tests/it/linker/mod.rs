//! Guests of another wasmtime host, which get tokens as far as their policy lets them.

mod escapes;
mod flows;
mod plugin;
mod policy;
mod sealed;
