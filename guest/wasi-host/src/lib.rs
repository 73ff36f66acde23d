//! A component of the world `symbolon:wasi/host`: what the protocol component wants of a host, made of WASI 0.2. Built for
//! `wasm32-wasip2`; empty for every other target.
//!
//! The configuration comes by environment and `wasi:config`, private keys stay in a component of the world
//! `symbolon:credentials/credential-provider`, tokens are kept in `wasi:keyvalue` or in this instance's memory. A client
//! certificate can't be presented: `wasi:http` has no way to say so.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;

mod credentials;
mod files;
mod http;
mod platform;
#[path = "../../component/src/runtime.rs"]
mod runtime;
mod send;
mod state;
mod store;

#[allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    rust_2018_idioms,
    clippy::all,
    reason = "generated: lifts and lowers through linear memory"
)]
mod bindings {
    wit_bindgen::generate!({
        path: [
            "../wasi/wit/io.wit",
            "../wasi/wit/clocks.wit",
            "../wasi/wit/random.wit",
            "../wasi/wit/cli.wit",
            "../wasi/wit/filesystem.wit",
            "../wasi/wit/config.wit",
            "../wasi/wit/keyvalue.wit",
            "../wasi/wit/http.wit",
            "../../wit/credentials",
            "../../wit/token",
            "../wasi/wit/world.wit",
        ],
        world: "symbolon:wasi/host",
        generate_all,
        merge_structurally_equal_types: true,
        additional_derives: [serde::Serialize, serde::Deserialize],
        additional_derives_ignore: ["found", "issued-certificate", "lead", "stream-error", "token"],
    });

    export!(Component with_types_in self);

    /// What the component exports.
    pub(super) struct Component;
}
