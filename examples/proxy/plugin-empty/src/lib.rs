//! A plugin that forwards each request as it comes, with nothing added. What another plugin costs is measured beside it.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;

mod forward;
#[path = "../../../../guest/component/src/runtime.rs"]
mod runtime;

use bindings::exports::wasi::http::incoming_handler::Guest;
use bindings::wasi::http::outgoing_handler;
use bindings::wasi::http::types::{IncomingRequest, ResponseOutparam};

use crate::forward::Pipe;

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
        inline: "
            package symbolon:example-proxy;

            world plugin {
                import wasi:http/outgoing-handler@0.2.0;
                export wasi:http/incoming-handler@0.2.0;
            }
        ",
        path: ["../../../wit/deps/io", "../../../wit/deps/clocks", "../../../wit/deps/http"],
        generate_all,
    });

    export!(Plugin with_types_in self);

    /// What the component exports.
    pub(super) struct Plugin;
}

impl Guest for bindings::Plugin {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let outgoing = forward::outgoing(&request, request.headers().clone());
        let mut sending = forward::body(request.consume()).map(|body| Pipe::new(body, outgoing.body()));
        let answer = outgoing_handler::handle(outgoing, None);
        match answer.and_then(|answer| forward::head(&answer, &mut sending)) {
            Ok(answer) => forward::respond(answer, sending, out),
            Err(code) => ResponseOutparam::set(out, Err(code)),
        }
    }
}
