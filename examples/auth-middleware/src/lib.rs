//! Forwards every request to an API with a token of the application: `DownstreamApi:BaseUrl` and `DownstreamApi:Scopes`.
//! Without a token nothing is forwarded. Built for `wasm32-wasip2`; empty for every other target.
//!
//! It lends the application's rights to everyone who can reach it: whoever runs it decides who can.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;

mod forward;
mod headers;
#[path = "../../../guest/component/src/runtime.rs"]
mod runtime;
mod stream;
mod token;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bindings::Component;
use bindings::exports::wasi::http::incoming_handler::{Guest, IncomingRequest, ResponseOutparam};
use bindings::wasi::cli::environment;
use bindings::wasi::config::store as config;
use bindings::wasi::http::types::{Fields, OutgoingBody, OutgoingResponse};
use symbolon_wasi::settings::Settings;

use crate::forward::{Api, Incoming};
use crate::token::Token;

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
            "../../guest/wasi/wit/cli.wit",
            "../../guest/wasi/wit/config.wit",
            "../../wit/credentials",
            "../../wit/token",
            "wit/world.wit",
        ],
        world: "symbolon:auth-middleware/middleware",
        generate_all,
    });

    export!(Component with_types_in self);

    /// What the component exports.
    pub(super) struct Component;
}

/// Why a request wasn't forwarded, or its answer isn't there: a status, and a code for people.
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) retry_after_seconds: Option<u64>,
}

impl Refused {
    pub(crate) fn new(status: u16, code: &str) -> Self {
        Self { status, code: code.into(), retry_after_seconds: None }
    }
}

impl Guest for Component {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        match answered(&request) {
            Ok(response) => response.pass_on(answer),
            Err(refused) => refuse(&refused, answer),
        }
    }
}

fn answered(request: &IncomingRequest) -> Result<forward::Response, Refused> {
    let misconfigured = |_| Refused::new(500, "invalid_configuration");
    let settings = settings().map_err(misconfigured)?;
    let api = Api::new(&settings).map_err(misconfigured)?;
    let token = Token::acquire(&settings, None)?;
    let mut incoming = Incoming::new(request)?;
    let response = api.send(&mut incoming, &token)?;
    match response.claims_wanted() {
        // A body that is sent is gone.
        Some(claims) if !incoming.has_body() => {
            api.send(&mut incoming, &Token::acquire(&settings, Some(claims))?)
        }
        _ => Ok(response),
    }
}

fn settings() -> Result<Settings, String> {
    let configured = config::get_all().map_err(|_| "wasi:config: found an error; accepted: an answer")?;
    let settings = Settings::new(environment::get_environment().into_iter().chain(configured));
    settings.check()?;
    Ok(settings)
}

/// Answers in the API's place.
fn refuse(refused: &Refused, answer: ResponseOutparam) {
    let mut headers: Vec<(String, Vec<u8>)> = [("content-type".into(), b"text/plain".to_vec())].into();
    if let Some(seconds) = refused.retry_after_seconds {
        headers.push(("retry-after".into(), seconds.to_string().into_bytes()));
    }
    let response = OutgoingResponse::new(Fields::from_list(&headers).unwrap_or_else(|_| Fields::new()));
    // Only a status that isn't one is refused.
    let _ = response.set_status_code(refused.status);
    let body = response.body();
    ResponseOutparam::set(answer, Ok(response));
    if let Ok(body) = body {
        if stream::write(&body, refused.code.as_bytes()).is_ok() {
            let _ = OutgoingBody::finish(body, None);
        }
    }
}
