//! A component of the world `symbolon:wasi/application`: it gives every call of the protocol component its context, from the
//! configuration, the clock and the random numbers of the host. Built for `wasm32-wasip2`; empty for every other target.
//!
//! The application is the host's choice: what a caller passes as context is ignored.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;

#[path = "../../component/src/runtime.rs"]
mod runtime;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bindings::Component;
use bindings::exports::symbolon::token::acquisition::{
    AccessToken, Application, AuthorizationRequest, Context, Guest, Refusal, Request, SignIn, Verdict,
};
use bindings::symbolon::token::acquisition as inner;
use bindings::symbolon::token::types::{Account, Error, ErrorKind};
use bindings::wasi::cli::environment;
use bindings::wasi::clocks::wall_clock;
use bindings::wasi::config::store as config;
use bindings::wasi::random::random;
use symbolon_wasi::settings::Settings;

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
        world: "symbolon:wasi/application",
        generate_all,
        merge_structurally_equal_types: true,
    });

    export!(Component with_types_in self);

    /// What the component exports.
    pub(super) struct Component;
}

/// How long a whole acquisition may take.
const LONGEST_MS: u64 = 30_000;

impl Guest for Component {
    fn acquire(request: Request, _: Option<Context>) -> Result<AccessToken, Error> {
        inner::acquire(&request, Some(&context()?))
    }

    fn review(refusal: Refusal) -> Verdict {
        inner::review(&refusal)
    }

    fn authorize(sign_in: SignIn, _: Option<Context>) -> Result<AuthorizationRequest, Error> {
        inner::authorize(&sign_in, Some(&context()?))
    }

    fn stop_long_running_process(session_key: String, _: Option<Context>) -> Result<bool, Error> {
        inner::stop_long_running_process(&session_key, Some(&context()?))
    }

    fn accounts(_: Option<Context>) -> Result<Vec<Account>, Error> {
        inner::accounts(Some(&context()?))
    }

    fn remove_account(home_account_id: String, _: Option<Context>) -> Result<bool, Error> {
        inner::remove_account(&home_account_id, Some(&context()?))
    }
}

fn context() -> Result<Context, Error> {
    let application = application().map_err(misconfigured)?;
    let time = wall_clock::now();
    let now = time.seconds * 1000 + u64::from(time.nanoseconds / 1_000_000);
    let [a, b, c, d] = [(); 4].map(|()| random_number());
    Ok(Context { application, now, deadline: now + LONGEST_MS, seed: (a, b, c, d), proactive_refresh: false })
}

fn application() -> Result<Application, String> {
    let configured = config::get_all().map_err(|_| "wasi:config: found an error; accepted: an answer")?;
    let settings = Settings::new(environment::get_environment().into_iter().chain(configured));
    settings.check()?;
    Ok(Application {
        client_id: settings.required("AzureAd:ClientId")?.into(),
        authority: settings.authority()?,
        authority_type: None,
        skip_authority_validation: settings.flag("Symbolon:ValidateAuthority")? == Some(false),
        instance_metadata: None,
        instance_discovery_uri: None,
        token_endpoint_auth_method: None,
        assertions_for_token_endpoint: false,
        azure_region: settings.get("AzureAd:AzureRegion").map(ToString::to_string),
        client_capabilities: settings.list("AzureAd:ClientCapabilities"),
        send_x5c: settings.flag("AzureAd:SendX5C")?.unwrap_or(false),
        token_exchange_url: None,
        bound_flows: Vec::new(),
    })
}

fn random_number() -> u64 {
    random::get_random_bytes(8).into_iter().fold(0, |number, byte| number << 8 | u64::from(byte))
}

fn misconfigured(message: String) -> Error {
    Error {
        kind: ErrorKind::InvalidRequest,
        code: "invalid_configuration".to_string(),
        message,
        retryable: false,
        retry_after_ms: None,
        status: None,
        aadsts_codes: Vec::new(),
        suberror: None,
        claims: None,
        correlation_id: String::new(),
        trace_id: None,
        timestamp: None,
    }
}
