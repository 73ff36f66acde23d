//! The protocol core as a component of the world `symbolon:core/protocol-core`, which imports nothing.
//!
//! Nothing is decided here: the core's actions are put into the words of the interfaces, and what became of them into the
//! core's. Built for `wasm32-wasip2`; empty for every other target.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;

#[path = "../../component/src/convert.rs"]
mod convert;
#[path = "../../component/src/runtime.rs"]
mod runtime;
mod steps;

/// What the conversions call the interfaces.
mod words {
    use alloc::string::String;

    pub(crate) use crate::bindings::exports::symbolon::core::{
        acquisition, acquisition as facts, cache, credentials as platform, credentials as provider,
        credentials as transport, types,
    };

    /// An access token in the form that this component gives it to its driver.
    pub(crate) fn token(token: String) -> String {
        token
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
        path: "../../wit/core",
        world: "symbolon:core/protocol-core",
    });

    use alloc::string::String;
    use core::cell::RefCell;

    export!(Component with_types_in self);

    /// What the component exports.
    struct Component;

    use exports::symbolon::core::acquisition;
    use exports::symbolon::core::cache::Entry;
    use exports::symbolon::core::types::{Account, Error};
    use symbolon_protocol::acquisition as core_acquisition;
    use symbolon_protocol::{accounts, challenge, sign_in};

    use crate::{convert, steps};

    impl acquisition::Guest for Component {
        type Acquisition = Acquisition;

        fn review(refusal: acquisition::Refusal) -> acquisition::Verdict {
            convert::verdict(challenge::review(&convert::refusal(refusal)))
        }

        fn authorize(
            sign_in: acquisition::SignIn,
            context: acquisition::Context,
        ) -> Result<acquisition::AuthorizationRequest, Error> {
            let begun = sign_in::begin(&convert::sign_in(sign_in), &convert::context(context));
            begun.map(convert::authorization_request).map_err(convert::error)
        }

        fn known_account(entry: Entry) -> Option<Account> {
            match convert::entry(entry) {
                core_acquisition::Entry::Account(item) => Some(convert::account(accounts::account(*item))),
                _ => None,
            }
        }

        fn accounts_group(application: acquisition::Application) -> String {
            accounts::known(&convert::application(application))
        }

        fn account_group(
            application: acquisition::Application,
            home_account_id: String,
        ) -> Result<String, Error> {
            let group = accounts::of_account(&convert::application(application), &home_account_id);
            group.map_err(convert::error)
        }

        fn session_group(
            application: acquisition::Application,
            session_key: String,
        ) -> Result<String, Error> {
            let group = accounts::of_long_running_process(&convert::application(application), &session_key);
            group.map_err(convert::error)
        }
    }

    /// The machine behind a handle.
    pub struct Acquisition(RefCell<steps::Machine>);

    impl acquisition::GuestAcquisition for Acquisition {
        fn start(
            request: acquisition::Request,
            context: acquisition::Context,
        ) -> Result<(acquisition::Acquisition, acquisition::Action), Error> {
            let (machine, action) = steps::Machine::start(request, context)?;
            Ok((acquisition::Acquisition::new(Acquisition(RefCell::new(machine))), action))
        }

        fn handle(&self, event: acquisition::Event) -> acquisition::Action {
            self.0.borrow_mut().handle(event)
        }
    }
}
