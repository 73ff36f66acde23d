//! The beginning of a sign-in, whose end is an authorization code.

use alloc::boxed::Box;

use crate::acquisition::{Acquisition, Action};
use crate::error::Error;
use crate::request::{Context, Flow, Request, Scheme, SignIn};

/// Begins a sign-in at the application's authority: ends with [`Action::SignIn`]. Asks nobody, except an OpenID Connect
/// provider for its metadata.
///
/// # Errors
///
/// A request or a configuration that can't work as it is.
pub fn start(sign_in: SignIn, context: &Context) -> Result<(Acquisition, Action), Error> {
    let request = Request {
        scopes: sign_in.scopes.clone(),
        scheme: Scheme::Bearer,
        options: sign_in.options.clone(),
        flow: Flow::SignIn(Box::new(sign_in)),
    };
    Acquisition::start(request, context)
}
