use std::fmt;
use std::sync::Arc;

use super::egress::EgressPolicy;
use crate::clock::Clock;

use super::assertion_policy::{self, SigningBudget};
use super::binding::{Binding, SignatureAlgorithm};
use super::error::CredentialError;
use super::secret::ClientSecret;

/// What a client authenticates with. Cheap to clone; `Debug` shows no secret and no key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Credential {
    /// A shared secret, put into its place in a request by the transport.
    Secret(ClientSecret),
    /// A certificate with its key: signs client assertions, answers in a TLS handshake.
    Certificate(Arc<Binding>),
}

impl Credential {
    /// What it can do.
    pub fn kind(&self) -> CredentialKind {
        match self {
            Self::Secret(_) => CredentialKind::ClientSecret,
            Self::Certificate(_) => CredentialKind::Certificate,
        }
    }
}

/// What a credential can do, and so how a client authenticates with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CredentialKind {
    /// A shared secret.
    ClientSecret,
    /// A certificate and its private key.
    Certificate,
}

/// The rules under which an application's keys sign.
#[derive(Clone)]
pub(super) struct SigningRules {
    pub(super) egress: Arc<EgressPolicy>,
    pub(super) clock: Arc<dyn Clock>,
}

/// One credential for one acquisition. It stays what it was when it was selected, whatever is replaced meanwhile.
#[derive(Clone)]
pub struct SelectedCredential {
    pub(super) index: usize,
    pub(super) name: Arc<str>,
    pub(super) credential: Credential,
    pub(super) use_bound: Option<bool>,
    pub(super) rules: SigningRules,
    pub(super) budget: SigningBudget,
}

impl SelectedCredential {
    /// The name that messages give it, such as `ClientCredentials[0] (Path)`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it can do.
    pub fn kind(&self) -> CredentialKind {
        self.credential.kind()
    }

    /// `UseBoundCredential` as configured: absent, true and false are three things.
    pub fn use_bound(&self) -> Option<bool> {
        self.use_bound
    }

    /// The credential itself, for the transport.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The certificate with its key, where it is one.
    pub fn binding(&self) -> Option<&Arc<Binding>> {
        match &self.credential {
            Credential::Certificate(binding) => Some(binding),
            Credential::Secret(_) => None,
        }
    }

    /// The secret, where it is one.
    pub fn secret(&self) -> Option<&ClientSecret> {
        match &self.credential {
            Credential::Secret(secret) => Some(secret),
            Credential::Certificate(_) => None,
        }
    }

    /// Signs a JWT client assertion. `signing_input` is `base64url(header) "." base64url(payload)` in ASCII
    /// (RFC 7515 §5.1). Takes up to a millisecond of processor time.
    ///
    /// The key is no oracle. What is signed has `typ` JWT and the `alg` asked for, no `crit` and no `b64`; `exp` in
    /// whole seconds within the next 10 minutes; one `aud`, an https URL of a host inside the egress policy; each
    /// member once. An acquisition gets 8 signatures.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Refused`] names the rule; [`CredentialError::Unsupported`] when the key can't make this kind
    /// of signature, or there is no key.
    pub fn sign_assertion(
        &self,
        algorithm: SignatureAlgorithm,
        signing_input: &[u8],
    ) -> Result<Vec<u8>, CredentialError> {
        let binding = self.binding().ok_or_else(|| {
            let message = format!("{} can't sign; accepted: a credential with a certificate", self.name);
            CredentialError::Unsupported(message)
        })?;
        let allows = |host: &str, port| self.rules.egress.allows("https", host, port);
        assertion_policy::check(algorithm, signing_input, self.rules.clock.now_unix(), allows)
            .and_then(|()| self.budget.spend())
            .map_err(|refusal| {
                tracing::warn!(credential = &*self.name, %refusal, "signature refused");
                CredentialError::Refused(refusal)
            })?;
        binding.sign(algorithm, signing_input)
    }
}

impl fmt::Debug for SelectedCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelectedCredential")
            .field("name", &self.name)
            .field("credential", &self.credential)
            .field("use_bound", &self.use_bound)
            .finish_non_exhaustive()
    }
}
