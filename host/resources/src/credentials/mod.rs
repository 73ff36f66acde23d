//! What a client authenticates with: secrets, certificates and their keys, and who may use them for what.
//!
//! A [`CredentialProvider`] holds an application's credentials in their configured order and hands out the first
//! usable one as a [`SelectedCredential`], which signs only what the rules for client assertions allow. Secrets and
//! keys leave this module for two places: the transport's requests ([`ClientSecret::expose`]) and its TLS handshakes
//! ([`Binding::certified_key`]).

mod acquisition;
mod assertion;
mod assertion_file;
mod assertion_policy;
mod assertion_source;
mod binding;
mod certificate_store;
mod chain;
mod component;
mod component_key;
mod decryption;
mod description;
mod distinguished_name;
mod egress;
mod entry;
mod error;
mod examination;
mod expiry;
mod federation;
pub(crate) mod files;
mod home;
mod id;
mod jwk;
mod key_vault;
mod loaded;
mod material;
mod observer;
#[cfg(feature = "pkcs11")]
mod pkcs11;
mod pkcs11_uri;
mod provider;
mod report;
mod rotation;
mod secret;
mod selected;
mod services;
mod source;
mod source_type;
mod token_source;
#[cfg_attr(not(any(feature = "redis", feature = "redb")), allow(unused, reason = "of use to stores only"))]
mod vault_secret;

pub use acquisition::{Acquisition, Purpose};
pub use assertion::{
    AssertionBinding, AssertionContext, AssertionRequest, BoxFuture, SignedAssertion, SignedAssertionProvider,
};
pub use assertion_policy::{Refusal, SigningBudget};
pub use binding::{Binding, SignatureAlgorithm, certificate_thumbprints};
pub use certificate_store::{StoreCriterion, StorePath, StorePathError};
pub use component::{
    ComponentAssertion, ComponentConfiguration, ComponentCredential, ComponentDescription, ComponentError,
    ComponentProblem, ComponentRunner, CredentialComponent, RunningComponent,
};
pub use component_key::{example_of_handshake, example_of_tls12, handshake_verifies};
pub use decryption::{DecryptionError, DecryptionKey, decrypt_token};
pub use description::CredentialDescription;
pub use distinguished_name::DistinguishedName;
pub use egress::EgressPolicy;
pub(crate) use egress::{RegionRule, is_known_host};
pub use error::{CredentialError, EntryFailure, KeyVaultProblem, LoadError, TokenProblem, Unavailable};
pub use examination::{ComponentFinding, assertion_verifies, scheme_name};
pub use federation::{inner_tenant, tenant_of_endpoint};
pub use id::CredentialId;
pub use observer::{CertificateAction, CertificateEvent, CertificateObserver, DeselectionReason};
pub use pkcs11_uri::Pkcs11Uri;
pub use provider::{CredentialProvider, EntryName, Outcome};
pub use report::{
    CertificateExpiry, CertificateReport, CredentialReport, CredentialStatistics, CredentialStatus,
};
pub use rotation::Rotation;
pub use secret::{CertificatePassword, ClientSecret};
pub use selected::{Credential, CredentialKind, SelectedCredential};
pub use services::CredentialServices;
pub use source_type::SourceType;
pub use token_source::{
    ApplicationTokenRequest, ManagedIdentityTokenRequest, SourceApplication, TokenSource, TokenSourceError,
};
pub use vault_secret::VaultSecret;

pub(crate) use acquisition::MAX_DEPTH;
pub(crate) use certificate_store::StoreDirectories;
pub(crate) use key_vault::{KeyVaultCertificate, VaultIdentity};
pub(crate) use rotation::directories;
pub(crate) use source::{CredentialSource, KeyPlace, ManagedIdentitySource, OtherApplication};
pub(crate) use source_type::COMMON_FIELDS;

/// Seeds the generator of random numbers that signatures and TLS use. Otherwise the first of them does, which takes tens of
/// milliseconds; a process that starts up can do it beside other things.
pub fn seed_random_numbers() {
    // Where the system gives no entropy, the first signature says so.
    let _ = aws_lc_rs::rand::fill(&mut [0; 1]);
}
