//! A plugin that authorizes each request on its way upstream, by the route that it came on: with a bearer token, with a token
//! and the certificate that it is bound to, or with the certificate alone. It never sees the token.
//!
//! The settings of the route, by `wasi:config`: `scheme` (`Bearer`, `MTLS_POP` or `MTLS`), `scopes` (separated by spaces) and
//! `flow` (`for-client`, or `on-behalf-of` for the user whose token the request brings).
#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;

mod body;
#[path = "../../plugin-empty/src/forward.rs"]
mod forward;
mod route;
#[path = "../../../../guest/component/src/runtime.rs"]
mod runtime;

use bindings::exports::wasi::http::incoming_handler::Guest;
use bindings::symbolon::token::send_authorized;
use bindings::symbolon::token::types::{Error, ErrorKind};
use bindings::wasi::http::types::{
    ErrorCode, Fields, IncomingRequest, IncomingResponse, OutgoingResponse, ResponseOutparam,
};

use crate::body::Body;
use crate::forward::Pipe;
use crate::route::Route;

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
                include symbolon:token/token-client@0.1.0;
                import wasi:config/store@0.2.0-rc.1;
                export wasi:http/incoming-handler@0.2.0;
            }
        ",
        path: [
            "../../../wit/deps/io",
            "../../../wit/deps/clocks",
            "../../../wit/deps/http",
            "../../../wit/credentials",
            "../../../wit/token",
            "../wit/config",
        ],
        generate_all,
    });

    export!(Plugin with_types_in self);

    /// What the component exports.
    pub(super) struct Plugin;
}

/// Why there is no answer of upstream's.
pub(crate) enum Failure {
    /// It wasn't reached.
    Upstream(ErrorCode),
    /// There is nothing to present, so nothing is sent.
    Authorization(Error),
}

impl Guest for bindings::Plugin {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        match forward(&request) {
            Ok((answer, sending)) => forward::respond(answer, sending, out),
            Err(Failure::Upstream(code)) => ResponseOutparam::set(out, Err(code)),
            Err(Failure::Authorization(error)) => ResponseOutparam::set(out, Ok(refusal(error.kind))),
        }
    }
}

/// Sends the request, and once more where upstream asks for another token and the body can be sent again.
fn forward(request: &IncomingRequest) -> Result<(IncomingResponse, Option<Pipe>), Failure> {
    let headers = request.headers().clone();
    let route = Route::read(&headers)?;
    // It was for the proxy. What is for upstream only the host knows.
    let _ = headers.delete("authorization");
    let mut authorization = route.authorize(None)?;
    let mut body = Body::read(request, &headers);
    let mut attempt = 1;
    loop {
        let outgoing = forward::outgoing(request, headers.clone());
        let mut sending = body.send(&outgoing);
        let answer = send_authorized::send(outgoing, None, &authorization)
            .and_then(|answer| forward::head(&answer, &mut sending))
            .map_err(Failure::Upstream)?;
        match route.claims_demanded_by(&answer, attempt) {
            Some(claims) if body.is_left() => authorization = route.authorize(Some(claims))?,
            _ => return Ok((answer, sending)),
        }
        attempt += 1;
    }
}

/// What the client learns. Why there is no token is the host's business, and in its log.
fn refusal(kind: ErrorKind) -> OutgoingResponse {
    let response = OutgoingResponse::new(Fields::new());
    let _ = response.set_status_code(match kind {
        ErrorKind::InteractionRequired => 401,
        ErrorKind::Throttled | ErrorKind::TemporarilyUnavailable => 503,
        _ => 502,
    });
    response
}
