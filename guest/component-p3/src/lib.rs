//! The protocol core as a component of the world `symbolon:concurrent/token-acquisition`: the shell for hosts of WASI 0.3.
//!
//! It differs from the one for 0.2 where an acquisition waits, and in nothing else: the conversions and what doesn't wait are
//! the same files. Built for `wasm32-wasip2`; empty for every other target.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;

#[path = "../../component/src/convert.rs"]
mod convert;
#[path = "../../component/src/error_code.rs"]
mod error_code;
mod http;
mod run;
#[path = "../../component/src/runtime.rs"]
mod runtime;
#[path = "../../component/src/shell.rs"]
mod shell;

/// What the shared files call the interfaces.
mod words {
    use alloc::string::String;

    pub(crate) use crate::bindings::symbolon::credentials::{platform, provider, transport};
    pub(crate) use crate::bindings::symbolon::token::{acquisition, cache, facts, types};
    pub(crate) use crate::bindings::wasi::http0_3_0::types::ErrorCode;

    /// An access token in the form that this component gives it to its host.
    pub(crate) fn token(token: String) -> types::Token {
        types::Token::Raw(token)
    }
}

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
            "../../wit/credentials",
            "../../wit/token",
            "../../wit/concurrent",
        ],
        world: "symbolon:concurrent/token-acquisition",
        generate_all,
    });

    use alloc::string::String;
    use alloc::vec::Vec;

    export!(Component with_types_in self);

    /// What the component exports.
    struct Component;

    use exports::symbolon::concurrent::acquisition::{
        AccessToken, Account, AuthorizationRequest, Context, Error, Guest, Refusal, Request, SignIn, Verdict,
    };
    use symbolon_protocol::challenge;

    impl Guest for Component {
        async fn acquire(request: Request, context: Option<Context>) -> Result<AccessToken, Error> {
            crate::run::acquire(request, context).await
        }

        fn review(refusal: Refusal) -> Verdict {
            crate::convert::verdict(challenge::review(&crate::convert::refusal(refusal)))
        }

        fn authorize(sign_in: SignIn, context: Option<Context>) -> Result<AuthorizationRequest, Error> {
            crate::shell::authorize(sign_in, context)
        }

        fn stop_long_running_process(session_key: String, context: Option<Context>) -> Result<bool, Error> {
            crate::shell::stop_long_running_process(&session_key, context)
        }

        fn accounts(context: Option<Context>) -> Result<Vec<Account>, Error> {
            crate::shell::accounts(context)
        }

        fn remove_account(home_account_id: String, context: Option<Context>) -> Result<bool, Error> {
            crate::shell::remove_account(&home_account_id, context)
        }
    }
}
