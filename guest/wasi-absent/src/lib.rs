//! A component of the world `symbolon:wasi/absent`: a configuration without values and a store that can't be opened, for
//! hosts that have neither. Built for `wasm32-wasip2`; empty for every other target.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;

#[path = "../../component/src/runtime.rs"]
mod runtime;

use alloc::string::String;
use alloc::vec::Vec;

use bindings::Component;
use bindings::exports::wasi::config::store as config;
use bindings::exports::wasi::keyvalue::store as keyvalue;

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
        world: "symbolon:wasi/absent",
        generate_all,
    });

    export!(Component with_types_in self);

    /// What the component exports.
    pub(super) struct Component;
}

impl config::Guest for Component {
    fn get(_: String) -> Result<Option<String>, config::Error> {
        Ok(None)
    }

    fn get_all() -> Result<Vec<(String, String)>, config::Error> {
        Ok(Vec::new())
    }
}

/// Never made: there is nothing to open.
pub(crate) struct Bucket;

impl keyvalue::GuestBucket for Bucket {
    fn get(&self, _: String) -> Result<Option<Vec<u8>>, keyvalue::Error> {
        Err(keyvalue::Error::NoSuchStore)
    }

    fn set(&self, _: String, _: Vec<u8>) -> Result<(), keyvalue::Error> {
        Err(keyvalue::Error::NoSuchStore)
    }

    fn delete(&self, _: String) -> Result<(), keyvalue::Error> {
        Err(keyvalue::Error::NoSuchStore)
    }
}

impl keyvalue::Guest for Component {
    type Bucket = Bucket;

    fn open(_: String) -> Result<keyvalue::Bucket, keyvalue::Error> {
        Err(keyvalue::Error::NoSuchStore)
    }
}
