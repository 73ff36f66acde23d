//! Passes every request on to the next handler with a token of the application for `DownstreamApi:Scopes`. Without a token
//! nothing is passed on. While it waits for the token, or for the next handler, the same instance serves other requests.
//! Built for `wasm32-wasip2`; empty for every other target.
//!
//! It lends the application's rights to everyone who can reach it: whoever runs it decides who can.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;

#[path = "../../auth-middleware/src/headers.rs"]
mod headers;
mod message;
#[path = "../../../guest/component/src/runtime.rs"]
mod runtime;
mod token;

use alloc::string::String;
use alloc::vec::Vec;

use bindings::Component;
use bindings::exports::wasi::http0_3_0::handler::Guest;
use bindings::symbolon::concurrent::acquisition::review;
use bindings::symbolon::token::acquisition::{ApiAnswer, Presented, Refusal, Verdict};
use bindings::wasi::config::store as config;
use bindings::wasi::http0_3_0::handler;
use bindings::wasi::http0_3_0::types::{ErrorCode, Request, Response};
use symbolon_wasi::settings::Settings;

use crate::message::Message;
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
            "../../wit/deps/clocks-0.3",
            "../../wit/deps/http-0.3",
            "../../guest/wasi/wit/config.wit",
            "../../wit/credentials",
            "../../wit/token",
            "../../wit/concurrent",
            "wit/world.wit",
        ],
        world: "symbolon:auth-middleware-p3/middleware",
        generate_all,
    });

    export!(Component with_types_in self);

    /// What the component exports.
    pub(super) struct Component;
}

/// Why there is no answer of the next handler's.
pub(crate) enum Failure {
    /// The request wasn't passed on: a status, and a code for people.
    Refused { status: u16, code: String, retry_after_seconds: Option<u64> },
    /// The next handler failed.
    Next(ErrorCode),
}

impl Failure {
    pub(crate) fn refused(status: u16, code: &str) -> Self {
        Self::Refused { status, code: code.into(), retry_after_seconds: None }
    }
}

impl Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        match answered(request).await {
            Ok(response) => Ok(response),
            Err(Failure::Refused { status, code, retry_after_seconds }) => {
                Ok(message::refusal(status, code, retry_after_seconds))
            }
            Err(Failure::Next(error)) => Err(error),
        }
    }
}

async fn answered(request: Request) -> Result<Response, Failure> {
    let scopes = scopes()?;
    let token = Token::acquire(&scopes, None).await?;
    let mut message = Message::new(request).await;
    let response = handler::handle(message.authorized(&token)?).await.map_err(Failure::Next)?;
    match claims_wanted(&response) {
        // A body that was passed on is gone.
        Some(claims) if message.may_be_repeated() => {
            let token = Token::acquire(&scopes, Some(claims)).await?;
            handler::handle(message.authorized(&token)?).await.map_err(Failure::Next)
        }
        _ => Ok(response),
    }
}

fn scopes() -> Result<Vec<String>, Failure> {
    let misconfigured = || Failure::refused(500, "invalid_configuration");
    let scopes = Settings::new(config::get_all().map_err(|_| misconfigured())?).list("DownstreamApi:Scopes");
    if scopes.is_empty() { Err(misconfigured()) } else { Ok(scopes) }
}

/// The claims that the API wants in the token, where it refused this one for their lack.
fn claims_wanted(response: &Response) -> Option<String> {
    const UNAUTHORIZED: u16 = 401;
    if response.get_status_code() != UNAUTHORIZED {
        return None;
    }
    let challenges = response.get_headers().get("www-authenticate");
    let refusal = Refusal {
        presented: Presented::Token,
        answer: ApiAnswer::Status(UNAUTHORIZED),
        challenges: challenges.into_iter().filter_map(|value| String::from_utf8(value).ok()).collect(),
        attempt: 1,
        bad_request_rejects: false,
    };
    match review(&refusal) {
        Verdict::AcquireWithClaims(claims) => Some(claims),
        _ => None,
    }
}
