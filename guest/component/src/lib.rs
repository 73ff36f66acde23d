//! The protocol core as a component of the world `symbolon:token/token-acquisition`.
//!
//! Nothing is decided here: what the interfaces bring is put into the core's words, what the core asks for is done, and
//! its answer is put back into the words of the interfaces. Built for `wasm32-wasip2`; empty for every other target.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;

mod convert;
mod http;
mod runtime;
mod shell;

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
            "../../wit/deps/io",
            "../../wit/deps/clocks",
            "../../wit/deps/http",
            "../../wit/credentials",
            "../../wit/token",
        ],
        world: "symbolon:token/token-acquisition",
        generate_all,
    });

    export!(Component with_types_in self);

    /// What the component exports.
    struct Component;

    impl exports::symbolon::token::acquisition::Guest for Component {
        fn acquire(
            request: exports::symbolon::token::acquisition::Request,
            context: Option<exports::symbolon::token::acquisition::Context>,
        ) -> Result<exports::symbolon::token::acquisition::AccessToken, symbolon::token::types::Error>
        {
            crate::shell::acquire(request, context)
        }
    }
}
