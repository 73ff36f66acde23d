//! What an embedding program sees of its guests, and decides about them.

use http::Method;

use super::policy::{GuestFlow, GuestRefusal};

/// Decides about what a guest's policy allows, and sees what was refused. Every method does nothing unless it is written.
///
/// The methods run in the place of the guest's call: they must not block.
pub trait GuestHooks: Send + Sync {
    /// Whether a guest gets the token that it asks for, or a sign-in begun. The default is yes.
    fn allows_acquisition(&self, _acquisition: &GuestAcquisition<'_>) -> bool {
        true
    }

    /// Whether a guest's request goes out. The default is yes.
    fn allows_send(&self, _send: &GuestSend<'_>) -> bool {
        true
    }

    /// A guest was refused something, by its policy or by these hooks.
    fn refused(&self, _guest: &str, _refusal: &GuestRefusal) {}
}

/// A token that a guest asks for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GuestAcquisition<'a> {
    /// The host's name for the guest.
    pub guest: &'a str,
    /// The flow.
    pub flow: &'a GuestFlow,
    /// What the token shall be for.
    pub scopes: &'a [String],
    /// Another directory than the application's, where the guest names one.
    pub tenant_id: Option<&'a str>,
    /// Whether the token shall be bound to the application's certificate.
    pub mtls_proof_of_possession: bool,
}

/// A request that a guest sends with a sealed token. Its query, its headers and its body stay out.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GuestSend<'a> {
    /// The host's name for the guest.
    pub guest: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The host that it goes to.
    pub host: &'a str,
    /// The path.
    pub path: &'a str,
    /// What the token was asked for.
    pub scopes: &'a [String],
}
