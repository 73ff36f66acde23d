//! What a client authenticates with: secrets, certificates and their keys, and who may use them for what.
//!
//! A [`CredentialProvider`] holds an application's credentials in their configured order and hands out the first
//! usable one as a [`SelectedCredential`], which signs only what the rules for client assertions allow. Secrets and
//! keys leave this module for two places: the transport's requests ([`ClientSecret::expose`]) and its TLS handshakes
//! ([`Binding::certified_key`]).

mod assertion_policy;
mod binding;
mod chain;
mod description;
mod egress;
mod entry;
mod error;
mod material;
mod provider;
mod secret;
mod selected;
mod source_type;

pub use assertion_policy::{Refusal, SigningBudget};
pub use binding::{Binding, SignatureAlgorithm};
pub use description::CredentialDescription;
pub use egress::EgressPolicy;
pub use error::{CredentialError, EntryFailure, LoadError, Unavailable};
pub use provider::{
    CertificateReport, CredentialProvider, CredentialReport, CredentialStatus, EntryName, Outcome,
};
pub use secret::{CertificatePassword, ClientSecret};
pub use selected::{Credential, CredentialKind, SelectedCredential};
pub use source_type::SourceType;

pub(crate) use description::CredentialSource;
pub(crate) use source_type::COMMON_FIELDS;

/// Seeds the generator of random numbers that signatures and TLS use. Otherwise the first of them does, which takes tens of
/// milliseconds; a process that starts up can do it beside other things.
pub fn seed_random_numbers() {
    // Where the system gives no entropy, the first signature says so.
    let _ = aws_lc_rs::rand::fill(&mut [0; 1]);
}
