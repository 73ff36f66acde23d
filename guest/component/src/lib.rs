//! The protocol core as a component of the world `symbolon:token/token-acquisition`.
//!
//! Nothing is decided here: what the interfaces bring is put into the core's words, what the core asks for is done, and
//! its answer is put back into the words of the interfaces. Built for `wasm32-wasip2`; empty for every other target.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;

mod convert;
mod error_code;
mod http;
mod run;
mod runtime;
mod shell;

/// What the conversions call the interfaces.
mod words {
    use alloc::string::String;

    pub(crate) use crate::bindings::exports::symbolon::token::acquisition;
    pub(crate) use crate::bindings::symbolon::credentials::{platform, provider, transport};
    pub(crate) use crate::bindings::symbolon::token::{cache, facts, types};
    pub(crate) use crate::bindings::wasi::http::types::ErrorCode;

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
            "../../wit/credentials",
            "../../wit/token",
        ],
        world: "symbolon:token/token-acquisition",
        generate_all,
    });

    use alloc::string::String;
    use alloc::vec::Vec;

    export!(Component with_types_in self);

    /// What the component exports.
    struct Component;

    use exports::symbolon::token::acquisition;
    use symbolon::token::types::{Account, Error};
    use symbolon_protocol::challenge;

    impl acquisition::Guest for Component {
        fn acquire(
            request: acquisition::Request,
            context: Option<acquisition::Context>,
        ) -> Result<acquisition::AccessToken, Error> {
            crate::run::acquire(request, context)
        }

        fn review(refusal: acquisition::Refusal) -> acquisition::Verdict {
            crate::convert::verdict(challenge::review(&crate::convert::refusal(refusal)))
        }

        fn authorize(
            sign_in: acquisition::SignIn,
            context: Option<acquisition::Context>,
        ) -> Result<acquisition::AuthorizationRequest, Error> {
            crate::shell::authorize(sign_in, context)
        }

        fn stop_long_running_process(
            session_key: String,
            context: Option<acquisition::Context>,
        ) -> Result<bool, Error> {
            crate::shell::stop_long_running_process(&session_key, context)
        }

        fn accounts(context: Option<acquisition::Context>) -> Result<Vec<Account>, Error> {
            crate::shell::accounts(context)
        }

        fn remove_account(
            home_account_id: String,
            context: Option<acquisition::Context>,
        ) -> Result<bool, Error> {
            crate::shell::remove_account(&home_account_id, context)
        }
    }
}
