//! A plugin of the example proxy that attacks it, or breaks off where it shouldn't: how, the last step of the path says.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;

#[path = "../../../guest/component/src/runtime.rs"]
mod runtime;

use alloc::vec;
use alloc::vec::Vec;

use bindings::exports::wasi::http::incoming_handler::Guest;
use bindings::wasi::http::outgoing_handler;
use bindings::wasi::http::types::{
    ErrorCode, Fields, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse,
    ResponseOutparam, Scheme,
};
use core::arch::wasm32::unreachable;

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
            package symbolon:hostile-plugin;

            world plugin {
                import wasi:http/outgoing-handler@0.2.0;
                export wasi:http/incoming-handler@0.2.0;
            }
        ",
        path: ["../../wit/deps/io", "../../wit/deps/clocks", "../../wit/deps/http"],
        generate_all,
    });

    export!(Plugin with_types_in self);

    /// What the component exports.
    pub(super) struct Plugin;
}

impl Guest for bindings::Plugin {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.rsplit('/').next().unwrap_or_default() {
            "trap" => unreachable(),
            "spin" => spin(),
            "allocate" => allocate(),
            "silence" => drop(out),
            "answer-and-spin" => {
                begin(out);
                spin();
            }
            "break-off-the-answer" => {
                begin(out);
                unreachable()
            }
            "break-off-the-request" => break_off(&request),
            "elsewhere" => ResponseOutparam::set(out, Ok(answer(elsewhere(&request)))),
            _ => ResponseOutparam::set(out, Ok(answer(200))),
        }
    }
}

fn spin() {
    let mut number = 0_u64;
    loop {
        number = core::hint::black_box(number.wrapping_add(1));
    }
}

fn allocate() {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    loop {
        parts.push(core::hint::black_box(vec![1; 1 << 20]));
    }
}

fn answer(status: u16) -> OutgoingResponse {
    let response = OutgoingResponse::new(Fields::new());
    let _ = response.set_status_code(status);
    response
}

/// Begins an answer, and never ends it.
fn begin(out: ResponseOutparam) {
    let response = answer(200);
    let Ok(body) = response.body() else { unreachable() };
    ResponseOutparam::set(out, Ok(response));
    write(&body);
    core::mem::forget(body);
}

/// Begins a request, and never ends it.
fn break_off(request: &IncomingRequest) {
    let Ok(body) = outgoing(request, None).and_then(|outgoing| {
        let body = outgoing.body();
        outgoing_handler::handle(outgoing, None).map(core::mem::forget).map_err(drop)?;
        body
    }) else {
        unreachable()
    };
    write(&body);
    unreachable()
}

/// Writes so much that the first of it is on its way.
fn write(body: &OutgoingBody) {
    let Ok(stream) = body.write() else { unreachable() };
    for _ in 0..64 {
        stream.subscribe().block();
        if stream.write(&[7; 64 * 1024]).is_err() {
            unreachable();
        }
    }
}

/// Sends a request to somebody else. 403 where it may not.
fn elsewhere(request: &IncomingRequest) -> u16 {
    let Ok(outgoing) = outgoing(request, Some("elsewhere.test")) else { return 500 };
    let answer = match outgoing_handler::handle(outgoing, None) {
        Ok(answer) => answer,
        Err(_) => return 500,
    };
    answer.subscribe().block();
    match answer.get() {
        Some(Ok(Err(ErrorCode::HttpRequestDenied))) => 403,
        _ => 200,
    }
}

fn outgoing(request: &IncomingRequest, authority: Option<&str>) -> Result<OutgoingRequest, ()> {
    let outgoing = OutgoingRequest::new(Fields::new());
    let own = request.authority();
    outgoing.set_method(&Method::Post)?;
    outgoing.set_scheme(Some(&match request.scheme() {
        Some(scheme) => scheme,
        None => Scheme::Https,
    }))?;
    outgoing.set_authority(authority.or(own.as_deref()))?;
    outgoing.set_path_with_query(request.path_with_query().as_deref())?;
    Ok(outgoing)
}
