//! Secrets of a vault, for the host itself.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::acquisition::Acquisition;
use super::assertion::AssertionBinding;
use super::assertion_policy::SigningBudget;
use super::error::{KeyVaultProblem, LoadError};
use super::key_vault::{KeyVaultCertificate, LookError, Vault, VaultIdentity};
use super::services::CredentialServices;
use super::token_source::ManagedIdentityTokenRequest;
use crate::transport::TransportOptions;

/// A secret of Azure Key Vault, which a managed identity may read.
#[derive(Clone, Debug)]
pub struct VaultSecret {
    place: KeyVaultCertificate,
    client_id: Option<String>,
}

impl VaultSecret {
    /// The secret `name` or `name/version` of the vault at `https://host`, for a user-assigned identity by its client id, or
    /// the system-assigned one. None where the URL or the name isn't one.
    pub fn new(url: &str, name: &str, client_id: Option<String>) -> Option<Self> {
        let identity = VaultIdentity::ManagedIdentity(client_id.clone());
        KeyVaultCertificate::new(url, name, identity).map(|place| Self { place, client_id })
    }

    /// Asks the vault; where it refuses a cached token, once again with a new one.
    pub(crate) async fn fetch(
        &self,
        services: &CredentialServices,
        options: &TransportOptions,
    ) -> Result<Zeroizing<String>, LoadError> {
        let unreachable = |detail: String| LoadError::KeyVault(KeyVaultProblem::Unreachable(detail));
        let no_way = || unreachable("no way out".to_owned());
        let shared = services.transport.as_ref().ok_or_else(no_way)?;
        let source = services.token_source.as_ref().ok_or_else(no_way)?;
        let vault =
            Vault::new(&self.place, shared, options).map_err(|error| unreachable(error.to_string()))?;
        let deadline = Instant::now() + PATIENCE;
        let acquisition = Acquisition::new(SigningBudget::new()).with_deadline(deadline);
        let mut claims = None;
        for force_refresh in [false, true] {
            let request = ManagedIdentityTokenRequest {
                resource: self.place.resource(),
                client_id: self.client_id.clone(),
                binding: AssertionBinding::Unbound,
                force_refresh,
                claims,
                acquisition: acquisition.nested()?,
            };
            let token = source
                .managed_identity_token(request)
                .await
                .map_err(|error| unreachable(error.to_string()))?;
            claims = match vault.secret(&token, deadline).await {
                Ok(secret) => return Ok(secret),
                Err(LookError::Unauthorized(challenge)) => challenge,
                Err(LookError::Other(error)) => return Err(error),
            };
        }
        let (what, status, code, retry_after) = ("the secret", 401, None, None);
        Err(LoadError::KeyVault(KeyVaultProblem::Answer { what, status, code, retry_after }))
    }
}

impl PartialEq for VaultSecret {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string() && self.client_id == other.client_id
    }
}

impl fmt::Display for VaultSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

/// The time of an acquisition.
const PATIENCE: Duration = Duration::from_secs(30);
