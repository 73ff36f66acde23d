//! The guests in hosts that others wrote.

mod embedded;
mod jco;
mod middleware;
mod parts;
mod spin;
mod wasmcloud;
