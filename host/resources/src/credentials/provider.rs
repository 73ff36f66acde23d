use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::configuration::{ApplicationOptions, Place};

use super::assertion_policy::SigningBudget;
use super::binding::{Binding, SignatureAlgorithm};
use super::entry::{Entry, Offer, Pause};
use super::error::{CredentialError, LoadError, Unavailable};
use super::selected::{Credential, CredentialKind, SelectedCredential, SigningRules};
use super::source_type::SourceType;

/// The credentials of one application, in their configured order.
///
/// The first usable one is selected. One that fails to load is passed over and looked at again after 30 seconds; one
/// that the authority refused is loaded again, and passed over for 30 seconds if nothing changed and another is usable.
pub struct CredentialProvider {
    entries: Vec<Entry>,
    place: Place,
    rules: SigningRules,
}

impl CredentialProvider {
    /// The credentials of these options. Nothing is read before the first [`CredentialProvider::select`] or
    /// [`CredentialProvider::check`].
    pub fn new(options: &ApplicationOptions, clock: Arc<dyn Clock>) -> Self {
        Self {
            entries: options.credentials().iter().map(Entry::new).collect(),
            place: options.credentials_place().clone(),
            rules: SigningRules { egress: Arc::clone(options.egress()), clock },
        }
    }

    /// Selects the first usable credential for the acquisition whose budget of signatures this is. Reads files where
    /// that is due, on a blocking thread; needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`CredentialError::NotConfigured`], or [`CredentialError::Unavailable`] with every entry and its reason.
    pub async fn select(&self, budget: &SigningBudget) -> Result<SelectedCredential, CredentialError> {
        let now_ms = self.rules.clock.now_unix_ms();
        let mut failures = Vec::new();
        let mut pauses: Vec<Option<Pause>> = Vec::new();
        let mut last_resort = None;
        for (index, entry) in self.configured() {
            match entry.offer(now_ms).await {
                Offer::Usable(credential) => return Ok(self.selected(index, entry, credential, budget)),
                Offer::Rejected(credential) => {
                    last_resort.get_or_insert((index, entry, credential));
                }
                Offer::Failed(reason, pause) => {
                    failures.push(entry.failure(reason));
                    pauses.push(pause);
                }
            }
        }
        if let Some((index, entry, credential)) = last_resort {
            return Ok(self.selected(index, entry, credential, budget));
        }
        if failures.is_empty() {
            return Err(self.not_configured());
        }
        let left = |pause: Pause| pause.left(now_ms).unwrap_or(Duration::ZERO);
        let retry_after = pauses.into_iter().flatten().map(left).min();
        Err(CredentialError::Unavailable(Unavailable { entries: failures, retry_after }))
    }

    /// Takes note of what became of a credential.
    pub fn report(&self, credential: &SelectedCredential, outcome: Outcome) {
        let Some(entry) = self.entries.get(credential.index) else { return };
        let generation = credential.binding().map_or(0, |binding| binding.generation());
        match outcome {
            Outcome::Used => {
                tracing::debug!(credential = credential.name(), "credential accepted");
                entry.accept(generation);
            }
            Outcome::Rejected => {
                tracing::warn!(credential = credential.name(), "credential refused by the authority");
                entry.reject(generation, self.rules.clock.now_unix_ms());
            }
        }
    }

    /// Puts a certificate in the place of the one that an entry has, whether it came from a file or through the API.
    /// What was selected before keeps the old one. The entry's source is read again only when this one is refused or
    /// expires.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Unsupported`] when there is no such entry or it isn't for certificates, and
    /// [`CredentialError::Unavailable`] when the certificate isn't valid now; the old one stays.
    pub fn replace_certificate(
        &self,
        entry: impl Into<EntryName>,
        certificate: Binding,
    ) -> Result<Arc<Binding>, CredentialError> {
        let entry = self.named(&entry.into())?;
        certificate.check_validity(self.rules.clock.now_unix()).map_err(|reason| {
            let entries = vec![entry.failure(reason)];
            CredentialError::Unavailable(Unavailable { entries, retry_after: None })
        })?;
        let binding = Arc::new(certificate);
        if !entry.replace(Arc::clone(&binding)) {
            let message =
                format!("{} has no certificate to replace; accepted: {}", entry.name, self.replaceable());
            return Err(CredentialError::Unsupported(message));
        }
        tracing::info!(
            credential = &*entry.name,
            thumbprint = binding.thumbprint_sha256(),
            generation = binding.generation(),
            "certificate replaced"
        );
        Ok(binding)
    }

    /// Loads every entry that isn't skipped and reports on all.
    pub async fn check(&self) -> Vec<CredentialReport> {
        let now_ms = self.rules.clock.now_unix_ms();
        let mut reports = Vec::new();
        for entry in &self.entries {
            let status = match entry.description.skip {
                true => CredentialStatus::Skipped,
                false => match entry.offer(now_ms).await {
                    Offer::Usable(credential) | Offer::Rejected(credential) => status(&credential),
                    Offer::Failed(reason, _) => CredentialStatus::Unusable(reason),
                },
            };
            reports.push(CredentialReport {
                name: entry.name.to_string(),
                place: entry.place.clone(),
                source_type: entry.description.source_type(),
                source: entry.description.source.to_string(),
                use_bound: entry.description.use_bound_credential,
                status,
            });
        }
        reports
    }

    fn configured(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries.iter().enumerate().filter(|(_, entry)| !entry.description.skip)
    }

    fn selected(
        &self,
        index: usize,
        entry: &Entry,
        credential: Credential,
        budget: &SigningBudget,
    ) -> SelectedCredential {
        SelectedCredential {
            index,
            name: Arc::clone(&entry.name),
            credential,
            use_bound: entry.description.use_bound_credential,
            rules: self.rules.clone(),
            budget: budget.clone(),
        }
    }

    fn not_configured(&self) -> CredentialError {
        let found = match self.entries.is_empty() {
            true => "no client credential",
            false => "only client credentials with Skip",
        };
        let accepted = "at least one of SourceType Path, Base64Encoded, Certificate or ClientSecret";
        CredentialError::NotConfigured(format!("{}: found {found}; accepted: {accepted}", self.place))
    }

    fn named(&self, name: &EntryName) -> Result<&Entry, CredentialError> {
        let found = match name {
            EntryName::Index(index) => self.entries.get(*index),
            EntryName::Name(name) => self.entries.iter().find(|entry| *entry.name == **name),
        };
        found.ok_or_else(|| {
            let message = format!("there is no credential {name}; accepted: {}", self.replaceable());
            CredentialError::Unsupported(message)
        })
    }

    fn replaceable(&self) -> String {
        let names: Vec<_> = self.entries.iter().map(|entry| &*entry.name).collect();
        match names.is_empty() {
            true => "an application with client credentials".to_owned(),
            false => format!("an entry for a certificate among {}", names.join(", ")),
        }
    }
}

impl fmt::Debug for CredentialProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.entries.iter().map(|entry| &*entry.name).collect();
        f.debug_struct("CredentialProvider").field("entries", &names).finish_non_exhaustive()
    }
}

/// What became of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The authority accepted it.
    Used,
    /// The authority refused it for a reason that another certificate may cure.
    Rejected,
}

/// Which entry of `ClientCredentials` is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryName {
    /// Its index in the configured order, skipped ones counted.
    Index(usize),
    /// The name that messages give it, such as `ClientCredentials[0] (Path)`.
    Name(String),
}

impl From<usize> for EntryName {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl From<&str> for EntryName {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "number {index}"),
            Self::Name(name) => write!(f, "{name:?}"),
        }
    }
}

/// What is known of one entry of `ClientCredentials`. Holds no secret.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CredentialReport {
    /// The name that messages give it, such as `ClientCredentials[0] (Path)`.
    pub name: String,
    /// Where it is configured: file and JSON path.
    pub place: String,
    /// Its `SourceType`.
    pub source_type: SourceType,
    /// The source in words, such as `Path certs/daemon.pem`.
    pub source: String,
    /// `UseBoundCredential` as configured.
    pub use_bound: Option<bool>,
    /// Whether it can be used.
    pub status: CredentialStatus,
}

/// Whether a credential can be used.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CredentialStatus {
    /// It can.
    Usable {
        /// What it can do.
        kind: CredentialKind,
        /// The certificate, where it is one.
        certificate: Option<CertificateReport>,
    },
    /// It can't, and why.
    Unusable(LoadError),
    /// The configuration leaves it out.
    Skipped,
}

/// The public half of a certificate.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CertificateReport {
    /// Its subject, such as `CN=daemon`.
    pub subject: String,
    /// `x5t#S256`.
    pub thumbprint_sha256: String,
    /// `x5t`.
    pub thumbprint_sha1: String,
    /// The beginning of its validity, in seconds since 1970.
    pub not_before_unix: u64,
    /// The end of its validity, in seconds since 1970.
    pub not_after_unix: u64,
    /// How many certificates are sent with `x5c`, itself included.
    pub chain_length: usize,
    /// What its key signs; nothing when it serves for TLS only.
    pub algorithms: Vec<SignatureAlgorithm>,
}

fn status(credential: &Credential) -> CredentialStatus {
    let certificate = match credential {
        Credential::Secret(_) => None,
        Credential::Certificate(binding) => Some(CertificateReport {
            subject: binding.subject().to_owned(),
            thumbprint_sha256: binding.thumbprint_sha256().to_owned(),
            thumbprint_sha1: binding.thumbprint_sha1().to_owned(),
            not_before_unix: binding.not_before_unix(),
            not_after_unix: binding.not_after_unix(),
            chain_length: binding.chain().len(),
            algorithms: binding.algorithms().to_vec(),
        }),
    };
    CredentialStatus::Usable { kind: credential.kind(), certificate }
}
