use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::configuration::{ApplicationOptions, Place};
use crate::threads::Threads;

use super::acquisition::{Acquisition, Purpose};
use super::assertion_policy::SigningBudget;
use super::binding::Binding;
use super::entry::{Entry, Offer};
use super::error::{CredentialError, EntryFailure, LoadError, Unavailable};
use super::home::{Counters, Home};
use super::observer::{CertificateAction, DeselectionReason};
use super::report::{
    CertificateExpiry, CertificateReport, CredentialReport, CredentialStatistics, CredentialStatus,
};
use super::selected::{Credential, SelectedCredential, SigningRules};
use super::services::CredentialServices;
use super::source_type::SourceType;

/// The credentials of one application, in their configured order.
///
/// The first usable one is selected. One that fails to load is passed over and looked at again after 30 seconds; one
/// that the authority refused is loaded again, and passed over for 30 seconds if nothing changed and another is usable.
/// However many calls are refused at once, a credential is loaded again once in 10 seconds, unless its file changed.
pub struct CredentialProvider {
    entries: Vec<Arc<Entry>>,
    place: Place,
    rules: SigningRules,
    home: Arc<Home>,
}

impl CredentialProvider {
    /// The credentials of these options, without the services that sources need which aren't on this machine. Nothing is
    /// read before the first [`CredentialProvider::select`] or [`CredentialProvider::check`].
    pub fn new(options: &ApplicationOptions, clock: Arc<dyn Clock>) -> Self {
        Self::with_services(options, clock, CredentialServices::default())
    }

    /// The same with services.
    pub fn with_services(
        options: &ApplicationOptions,
        clock: Arc<dyn Clock>,
        services: CredentialServices,
    ) -> Self {
        let home = Arc::new(Home {
            application: options.id().clone(),
            client_id: options.client_id().to_owned(),
            authority: options.authority().to_owned(),
            transport: options.transport().clone(),
            components: options.credential_components().to_vec(),
            clock: Arc::clone(&clock),
            services,
            counters: Counters::default(),
            threads: Threads::default(),
        });
        let configured = options.credentials().iter().enumerate();
        let entries = configured.map(|(index, entry)| Arc::new(Entry::new(index, entry, Arc::clone(&home))));
        let provider = Self {
            entries: entries.collect(),
            place: options.credentials_place().clone(),
            rules: SigningRules { egress: Arc::clone(options.egress()), clock },
            home,
        };
        if let Some(rotation) = &provider.home.services.rotation {
            rotation.watch(provider.configured().filter(|entry| entry.is_watched()));
        }
        provider
    }

    /// Selects the first usable credential to authenticate with, for the acquisition whose budget of signatures this is.
    /// Reads files where that is due, on a blocking thread; needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`CredentialError::NotConfigured`], or [`CredentialError::Unavailable`] with every entry and its reason: also where
    /// `Skip` leaves out a certificate or an assertion, and there is nothing else.
    pub async fn select(&self, budget: &SigningBudget) -> Result<SelectedCredential, CredentialError> {
        self.select_for(&Acquisition::new(budget.clone())).await
    }

    /// Selects the first usable credential for an acquisition; what can't be presented in a TLS handshake of its own is
    /// passed over where that is what it is for ([`Purpose::PresentToApi`]). A credential that is a token of something else is acquired
    /// now, as far as it doesn't depend on the request, within the acquisition's deadline.
    ///
    /// # Errors
    ///
    /// As [`CredentialProvider::select`].
    pub async fn select_for(&self, acquisition: &Acquisition) -> Result<SelectedCredential, CredentialError> {
        let mut failures = Vec::new();
        let mut pauses: Vec<Option<Duration>> = Vec::new();
        let mut last_resort = None;
        let only_certificates = acquisition.purpose == Purpose::PresentToApi;
        let fits = |entry: &&Arc<Entry>| !only_certificates || entry.description.source.is_certificate();
        for entry in self.configured().filter(fits) {
            match entry.offer(acquisition).await {
                Offer::Usable(credential, generation) => {
                    let selected = self.selected(entry, credential, generation, acquisition);
                    return Ok(SelectedCredential { passed_over: failures, ..selected });
                }
                Offer::Rejected(credential, generation) => {
                    last_resort.get_or_insert((entry, credential, generation));
                }
                Offer::Failed(reason, pause) => {
                    failures.push(entry.failure(reason));
                    pauses.push(pause);
                }
            }
        }
        if let Some((entry, credential, generation)) = last_resort {
            let selected = self.selected(entry, credential, generation, acquisition);
            return Ok(SelectedCredential { passed_over: failures, ..selected });
        }
        if failures.is_empty() && !only_certificates {
            failures.extend(self.left_out());
        }
        if failures.is_empty() {
            return Err(self.not_configured(only_certificates));
        }
        let retry_after = pauses.into_iter().flatten().min();
        Err(CredentialError::Unavailable(Unavailable { entries: failures, retry_after }))
    }

    /// Takes note of what became of a credential.
    pub fn report(&self, credential: &SelectedCredential, outcome: Outcome) {
        let SelectedCredential { entry, generation, .. } = credential;
        let certificate = match &credential.credential {
            Credential::Certificate(binding) => Some(binding),
            _ => None,
        };
        match outcome {
            Outcome::Used => {
                tracing::debug!(credential = credential.name(), "credential accepted");
                count(&self.home.counters.uses);
                entry.accept(*generation);
                if let Some(certificate) = certificate {
                    entry.observe(CertificateAction::SuccessfullyUsed, certificate);
                }
            }
            Outcome::Rejected => {
                tracing::warn!(credential = credential.name(), "credential refused by the authority");
                count(&self.home.counters.rejections);
                entry.reject(*generation, self.rules.clock.now_unix_ms());
                if let Some(certificate) = certificate {
                    entry.retract(certificate, DeselectionReason::Rejected);
                }
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

    /// Loads every entry that isn't skipped, as far as that is possible without asking anybody, and reports on all.
    pub async fn check(&self) -> Vec<CredentialReport> {
        self.reports(false).await
    }

    /// The same with those that others have to be asked for.
    pub async fn try_all(&self) -> Vec<CredentialReport> {
        self.reports(true).await
    }

    async fn reports(&self, asking: bool) -> Vec<CredentialReport> {
        let acquisition = Acquisition::default();
        let mut reports = Vec::new();
        for entry in &self.entries {
            let status = match entry.description.skip {
                true => CredentialStatus::Skipped,
                false if !asking && entry.asks_others() => match entry.foreseeable() {
                    Some(reason) => CredentialStatus::Unusable(reason),
                    None => CredentialStatus::Untried,
                },
                false => match entry.offer(&acquisition).await {
                    Offer::Usable(credential, _) | Offer::Rejected(credential, _) => status(&credential),
                    Offer::Failed(reason, _) => CredentialStatus::Unusable(reason),
                },
            };
            reports.push(CredentialReport {
                name: entry.name.to_string(),
                place: entry.place.clone(),
                source_type: entry.description.source_type(),
                source: entry.description.source.to_string(),
                use_bound: entry.description.use_bound_credential,
                prefers_bound: entry.description.prefer_bound_credential,
                omits_assertion_when_bound: entry.description.omit_assertion_when_bound,
                status,
                component: entry.examine_component().await,
            });
        }
        reports
    }

    /// What has happened so far.
    pub fn statistics(&self) -> CredentialStatistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.home.counters;
        CredentialStatistics {
            selections: read(&counters.selections),
            uses: read(&counters.uses),
            rejections: read(&counters.rejections),
            deselections: read(&counters.deselections),
            reloads: read(&counters.reloads),
            loads: read(&counters.loads),
            load_failures: read(&counters.load_failures),
            rotations: read(&counters.rotations),
        }
    }

    /// The ends of the certificates that are loaded, in configured order. Reads nothing.
    pub fn certificate_expiries(&self) -> Vec<CertificateExpiry> {
        let now_unix = self.rules.clock.now_unix();
        let expiry = |entry: &Arc<Entry>| {
            let binding = entry.current_certificate()?;
            Some(CertificateExpiry {
                credential: entry.name.to_string(),
                thumbprint_sha256: binding.thumbprint_sha256().to_owned(),
                not_after_unix: binding.not_after_unix(),
                left_seconds: binding.not_after_unix().saturating_sub(now_unix),
            })
        };
        self.entries.iter().filter_map(expiry).collect()
    }

    /// A number that is another one as soon as the next selection may give something else than the last: after a refusal,
    /// a replacement, a rotation. Costs an atomic load.
    pub fn revision(&self) -> u64 {
        self.home.counters.revision.load(Ordering::Acquire)
    }

    /// What may authenticate the application.
    fn configured(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter().filter(|entry| !entry.description.skip && !entry.decrypts())
    }

    /// The certificates and assertions that `Skip` leaves out. An application that has them isn't one without credentials.
    fn left_out(&self) -> impl Iterator<Item = EntryFailure> {
        let is_secret = |entry: &Entry| entry.description.source_type() == SourceType::ClientSecret;
        let is_meant =
            move |entry: &&Arc<Entry>| entry.description.skip && !is_secret(entry) && !entry.decrypts();
        let entries = self.entries.iter().filter(is_meant);
        entries.map(|entry| entry.failure(LoadError::Skipped))
    }

    fn selected(
        &self,
        entry: &Arc<Entry>,
        credential: Credential,
        generation: u64,
        acquisition: &Acquisition,
    ) -> SelectedCredential {
        count(&self.home.counters.selections);
        if let Credential::Certificate(binding) = &credential {
            entry.announce(binding, acquisition.purpose == Purpose::PresentToApi);
        }
        let (entry, acquisition) = (Arc::clone(entry), acquisition.clone());
        let (rules, passed_over) = (self.rules.clone(), Vec::new());
        SelectedCredential { entry, credential, generation, rules, acquisition, passed_over }
    }

    fn not_configured(&self, only_certificates: bool) -> CredentialError {
        if only_certificates && self.configured().next().is_some() {
            let found = "no certificate among the client credentials";
            let accepted = "at least one that is a certificate, to be presented to the API";
            return CredentialError::NotConfigured(format!(
                "{}: found {found}; accepted: {accepted}",
                self.place
            ));
        }
        let found = match self.entries.is_empty() {
            true => "no client credential",
            false => "only client secrets with Skip and keys that decrypt tokens",
        };
        let accepted = "at least one of SourceType Path, Base64Encoded, Certificate or ClientSecret";
        CredentialError::NotConfigured(format!("{}: found {found}; accepted: {accepted}", self.place))
    }

    fn named(&self, name: &EntryName) -> Result<&Arc<Entry>, CredentialError> {
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

fn status(credential: &Credential) -> CredentialStatus {
    let certificate = credential.binding().map(|binding| CertificateReport::new(binding));
    let expires_on_unix = match credential {
        Credential::SignedAssertion(Some(assertion)) => assertion.expires_on_unix(),
        _ => None,
    };
    CredentialStatus::Usable { kind: credential.kind(), certificate, expires_on_unix }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
