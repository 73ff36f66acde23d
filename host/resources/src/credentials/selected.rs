use std::fmt;
use std::sync::Arc;

use tokio::time::timeout_at;

use super::acquisition::Acquisition;
use super::assertion::{AssertionContext, SignedAssertion};
use super::assertion_policy;
use super::assertion_source::component_assertion;
use super::binding::{Binding, SignatureAlgorithm};
use super::component::ComponentCredential;
use super::egress::EgressPolicy;
use super::entry::Entry;
use super::error::{CredentialError, EntryFailure, LoadError, Unavailable};
use super::secret::ClientSecret;
use crate::clock::Clock;

/// What a client authenticates with. Cheap to clone; `Debug` shows no secret and no key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Credential {
    /// A shared secret, put into its place in a request by the transport.
    Secret(ClientSecret),
    /// A certificate with its key: signs client assertions, answers in a TLS handshake.
    Certificate(Arc<Binding>),
    /// A token that stands in for a client assertion, where it doesn't depend on the request; otherwise
    /// [`SelectedCredential::assertion`] makes it.
    SignedAssertion(Option<SignedAssertion>),
    /// A component that makes such tokens, for [`SelectedCredential::assertion`].
    Component {
        /// What makes them.
        component: Arc<dyn ComponentCredential>,
        /// The certificate that they are bound to.
        binding: Option<Arc<Binding>>,
    },
}

impl Credential {
    /// What it can do.
    pub fn kind(&self) -> CredentialKind {
        match self {
            Self::Secret(_) => CredentialKind::ClientSecret,
            Self::Certificate(_) => CredentialKind::Certificate,
            Self::SignedAssertion(_) | Self::Component { .. } => CredentialKind::SignedAssertion,
        }
    }

    /// The certificate that it is, or is known to be bound to.
    pub fn binding(&self) -> Option<&Arc<Binding>> {
        match self {
            Self::Certificate(binding) => Some(binding),
            Self::SignedAssertion(Some(assertion)) => assertion.binding(),
            Self::Component { binding, .. } => binding.as_ref(),
            _ => None,
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
    /// A token that stands in for a client assertion.
    SignedAssertion,
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
    pub(super) entry: Arc<Entry>,
    pub(super) credential: Credential,
    pub(super) generation: u64,
    pub(super) rules: SigningRules,
    pub(super) acquisition: Acquisition,
    pub(super) passed_over: Vec<EntryFailure>,
}

impl SelectedCredential {
    /// The name that messages give it, such as `ClientCredentials[0] (Path)`.
    pub fn name(&self) -> &str {
        &self.entry.name
    }

    /// Which entry of `ClientCredentials` it is, counted from 0, skipped ones included.
    pub fn index(&self) -> usize {
        self.entry.index
    }

    /// The entries before it that can't be used, with the reason.
    pub fn passed_over(&self) -> &[EntryFailure] {
        &self.passed_over
    }

    /// What it can do.
    pub fn kind(&self) -> CredentialKind {
        self.credential.kind()
    }

    /// Its identity as Microsoft.Identity.Web writes it, such as `CertificateFromPath=app.pem;Thumbprint=…`.
    pub fn id(&self) -> String {
        let thumbprint = match &self.credential {
            Credential::Certificate(binding) => Some(binding.thumbprint_hex()),
            _ => None,
        };
        self.entry.description.id(thumbprint)
    }

    /// `UseBoundCredential` as configured: absent, true and false are three things.
    pub fn use_bound(&self) -> Option<bool> {
        self.entry.description.use_bound_credential
    }

    /// `PreferBoundCredential` as configured: bound where credential, flow and authority can, otherwise not bound.
    pub fn prefers_bound(&self) -> bool {
        self.entry.description.prefer_bound_credential
    }

    /// `OmitAssertionWhenBound` as configured: on a bound connection the certificate does without an assertion.
    pub fn omits_assertion_when_bound(&self) -> bool {
        self.entry.description.omit_assertion_when_bound
    }

    /// `KeyId` as configured: what an OpenID Connect provider knows the key by.
    pub fn key_id(&self) -> Option<&str> {
        self.entry.description.key_id.as_deref()
    }

    /// The credential itself, for the transport.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The certificate with its key, where the credential is one or is known to be bound to one.
    pub fn binding(&self) -> Option<&Arc<Binding>> {
        self.credential.binding()
    }

    /// The secret, where it is one.
    pub fn secret(&self) -> Option<&ClientSecret> {
        match &self.credential {
            Credential::Secret(secret) => Some(secret),
            _ => None,
        }
    }

    /// Signs a JWT client assertion. `signing_input` is `base64url(header) "." base64url(payload)` in ASCII
    /// (RFC 7515 §5.1). Takes up to a millisecond of processor time, unless the key
    /// [is elsewhere](Binding::signs_elsewhere): then it blocks.
    ///
    /// The key is no oracle. What is signed has `typ` JWT and the `alg` asked for, no `crit` and no `b64`; `exp` in
    /// whole seconds within the next 10 minutes; one `aud`, an https URL of a host inside the egress policy; each
    /// member once. An acquisition gets 8 signatures.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Refused`] names the rule; [`CredentialError::Unsupported`] when the key can't make this kind
    /// of signature, or there is no key; [`CredentialError::Unavailable`] when a key that is elsewhere can't be reached.
    pub fn sign_assertion(
        &self,
        algorithm: SignatureAlgorithm,
        signing_input: &[u8],
    ) -> Result<Vec<u8>, CredentialError> {
        let Credential::Certificate(binding) = &self.credential else {
            let message = format!("{} can't sign; accepted: a credential with a certificate", self.name());
            return Err(CredentialError::Unsupported(message));
        };
        let allows = |host: &str, port| self.rules.egress.allows("https", host, port);
        assertion_policy::check(algorithm, signing_input, self.rules.clock.now_unix(), allows)
            .and_then(|()| self.acquisition.budget.spend())
            .map_err(|refusal| {
                tracing::warn!(credential = self.name(), %refusal, "signature refused");
                CredentialError::Refused(refusal)
            })?;
        binding.try_sign(algorithm, signing_input).map_err(|problem| {
            let error = problem.into_error(|reason| self.entry.failure(reason));
            tracing::warn!(credential = self.name(), %error, "no signature");
            error
        })
    }

    /// The same where the key [is elsewhere](Binding::signs_elsewhere), on a thread that may block. Of these an application
    /// has a few, and waits for one.
    ///
    /// # Errors
    ///
    /// As [`sign_assertion`](Self::sign_assertion); [`CredentialError::Unavailable`] where the acquisition's deadline comes
    /// first.
    pub async fn sign_assertion_elsewhere(
        &self,
        algorithm: SignatureAlgorithm,
        signing_input: Vec<u8>,
    ) -> Result<Vec<u8>, CredentialError> {
        let selected = self.clone();
        let signing = move || selected.sign_assertion(algorithm, &signing_input);
        let signing = self.entry.home.threads.run(signing);
        let signed = match self.acquisition.deadline() {
            Some(deadline) => timeout_at(deadline, signing).await.ok().flatten(),
            None => signing.await,
        };
        signed.unwrap_or_else(|| {
            let entries = vec![self.entry.failure(LoadError::Interrupted)];
            Err(CredentialError::Unavailable(Unavailable { entries, retry_after: None }))
        })
    }

    /// Gives the token that stands in for a client assertion, with the certificate that it is bound to: both from one call,
    /// so they belong together. Where it is bound, whoever sends it presents that certificate, and no other, in the TLS
    /// handshake.
    ///
    /// What was acquired when the credential was selected is given again, unless the context asks for more (claims, an FMI
    /// path) or the token is one that a registered provider makes for each request. May take as long as a nested
    /// acquisition.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Unsupported`] for secrets and certificates; [`CredentialError::Unavailable`] where there is no
    /// token, or none as bound as `UseBoundCredential` asks.
    pub async fn assertion(&self, context: &AssertionContext) -> Result<SignedAssertion, CredentialError> {
        let made = match &self.credential {
            Credential::SignedAssertion(held) => {
                self.entry.assertion(held.as_ref(), context, &self.acquisition).await
            }
            Credential::Component { component, binding } => {
                let threads = &self.entry.home.threads;
                component_assertion(component, binding.as_ref(), context, &self.acquisition, threads).await
            }
            _ => {
                let message = format!("{} gives no assertions; it is a secret or a certificate", self.name());
                return Err(CredentialError::Unsupported(message));
            }
        };
        made.map_err(|reason| {
            tracing::warn!(credential = self.name(), %reason, "no assertion");
            let retry_after = reason.retry_after();
            CredentialError::Unavailable(Unavailable {
                entries: vec![self.entry.failure(reason)],
                retry_after,
            })
        })
    }
}

impl fmt::Debug for SelectedCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelectedCredential")
            .field("name", &self.entry.name)
            .field("credential", &self.credential)
            .field("use_bound", &self.use_bound())
            .finish_non_exhaustive()
    }
}
