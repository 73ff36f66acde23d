//! What a client authenticates with: secrets, certificates and their keys, and who may use them for what.
//!
//! A [`CredentialProvider`] holds an application's credentials in their configured order and hands out the first
//! usable one as a [`SelectedCredential`], which signs only what the rules for client assertions allow.

mod assertion_policy;
mod binding;
mod chain;
mod error;
mod material;
mod secret;

use std::sync::Arc;

pub use assertion_policy::{Refusal, SigningBudget};
pub use binding::{Binding, SignatureAlgorithm};
pub use error::{CredentialError, EntryFailure, LoadError, Unavailable};
pub use secret::{CertificatePassword, ClientSecret};

/// What a client authenticates with. Cheap to clone; `Debug` shows no secret and no key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Credential {
    /// A shared secret, put into its place in a request by the transport.
    Secret(ClientSecret),
    /// A certificate with its key: signs client assertions, answers in a TLS handshake.
    Certificate(Arc<Binding>),
}
