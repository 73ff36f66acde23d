//! What attests the keys of managed identities.

use crate::credentials::BoxFuture;

/// Attests that a key of this process is what the platform wants keys to be: kept by hardware, or by an isolated part of
/// the machine. What can do that differs from machine to machine, so it is plugged in.
pub trait AttestationProvider: Send + Sync {
    /// Gets a token for the key from the attestation service: a JSON Web Token, which goes to the platform with the
    /// request for the key's certificate. It is asked for once for each key.
    ///
    /// # Errors
    ///
    /// [`AttestationError`] says whether another attempt may help.
    fn attest<'a>(
        &'a self,
        request: AttestationRequest<'a>,
    ) -> BoxFuture<'a, Result<String, AttestationError>>;
}

/// A call of an [`AttestationProvider`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AttestationRequest<'a> {
    /// The URL of the attestation service, as the platform names it.
    pub endpoint: &'a str,
    /// The identity's client id.
    pub client_id: &'a str,
    /// The public half of the key: a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), DER.
    pub public_key: &'a [u8],
}

impl<'a> AttestationRequest<'a> {
    /// A call for a key of the identity with this client id.
    pub fn new(endpoint: &'a str, client_id: &'a str, public_key: &'a [u8]) -> Self {
        Self { endpoint, client_id, public_key }
    }
}

/// Why a key isn't attested. Holds no secret: it reaches logs and callers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttestationError {
    /// This machine can't attest such a key, now or later.
    #[error("the key can't be attested on this machine: {0}")]
    Unsupported(String),
    /// The attestation failed. Another attempt may help.
    #[error("the key's attestation failed: {0}")]
    Failed(String),
}
