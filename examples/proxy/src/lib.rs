//! A reverse proxy whose plugins are components of `wasi:http`: each request goes through an instance of its own of the
//! plugin of its route, which forwards it, or doesn't, or does something to it on the way.
//!
//! The proxy holds what has authority: sockets, the applications and their tokens, the limits. A plugin can reach the API of
//! its route and nothing else, and present there what the configuration says, by a token that it can't read.

mod body;
mod configuration;
mod engine;
mod headers;
mod route;
mod run;
mod server;
mod state;

pub use server::Proxy;
