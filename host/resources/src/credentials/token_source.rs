//! Where tokens come from that credentials are made of, or read with: the engine above, which knows the protocol.

use std::sync::Arc;
use std::time::Duration;

use super::acquisition::Acquisition;
use super::assertion::{AssertionBinding, AssertionContext, BoxFuture, SignedAssertion};
use crate::configuration::ApplicationOptions;

/// Acquires tokens for the credential provider. Whoever implements it caches them, and joins calls for the same token; a
/// call that asks for one again costs no more than a look.
pub trait TokenSource: Send + Sync {
    /// A token of a managed identity.
    ///
    /// # Errors
    ///
    /// [`TokenSourceError`], also where a bound token is required and there is none.
    fn managed_identity_token(
        &self,
        request: ManagedIdentityTokenRequest,
    ) -> BoxFuture<'_, Result<SignedAssertion, TokenSourceError>>;

    /// A token that another application gets for itself.
    ///
    /// # Errors
    ///
    /// [`TokenSourceError`], also where there is no such application.
    fn application_token(
        &self,
        request: ApplicationTokenRequest,
    ) -> BoxFuture<'_, Result<SignedAssertion, TokenSourceError>>;
}

/// Which token of a managed identity is wanted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ManagedIdentityTokenRequest {
    /// What the token is for, without `/.default`: `api://AzureADTokenExchange`, `https://vault.azure.net`.
    pub resource: String,
    /// The client id of a user-assigned identity; `None` is the system-assigned one.
    pub client_id: Option<String>,
    /// Whether the token should be bound to a certificate, which is then returned with it.
    pub binding: AssertionBinding,
    /// Whether a cached token won't do: the authority refused it.
    pub force_refresh: bool,
    /// The claims challenge that the token should satisfy, as JSON.
    pub claims: Option<String>,
    /// The acquisition that this one is, inside the one that needs the token.
    pub acquisition: Acquisition,
}

/// Which token of another application is wanted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ApplicationTokenRequest {
    /// The application that the token is for.
    pub application: SourceApplication,
    /// The scope, which ends in `/.default`.
    pub scope: String,
    /// What the token is wanted for where it will be an assertion and that is known already. It decides the FMI path, the
    /// claims, and the tenant: see [`ApplicationOptions::federated_tenant`].
    pub context: Option<AssertionContext>,
    /// Whether the token should be bound to a certificate, which is then returned with it.
    pub binding: AssertionBinding,
    /// Whether a cached token won't do: the authority refused it.
    pub force_refresh: bool,
    /// The acquisition that this one is, inside the one that needs the token.
    pub acquisition: Acquisition,
}

/// Another application.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SourceApplication {
    /// That of a section of the same configuration, by name.
    Section(String),
    /// One that isn't in the configuration: the workload that the environment describes.
    Options(Arc<ApplicationOptions>),
}

/// Why there is no token. Holds no secret.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct TokenSourceError {
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
}

impl TokenSourceError {
    /// An error with a sentence for people, without secrets: it reaches logs and callers.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry_after: None }
    }

    /// How long the one who refused wants to be left alone. The default is what the provider thinks fit.
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }
}
