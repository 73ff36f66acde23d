//! One configured credential and what is known of it now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::configuration::ConfiguredCredential;

use super::binding::Binding;
use super::description::{CredentialDescription, CredentialSource};
use super::error::{EntryFailure, LoadError};
use super::selected::Credential;

pub(super) struct Entry {
    pub(super) name: Arc<str>,
    pub(super) place: String,
    pub(super) description: Arc<CredentialDescription>,
    state: Mutex<State>,
    /// Held while the source is read, so that many callers cost one reading.
    loading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The certificate to hand out, until it is rejected or expires.
    current: Option<Arc<Binding>>,
    /// The last certificate that the source gave. A source that gives the same again gives the same binding.
    known: Option<Arc<Binding>>,
    /// Why there is no certificate, and until when that is not looked into again.
    failure: Option<(LoadError, Pause)>,
    /// The generation that the authority refused (0 for a secret), and until when others are preferred.
    rejected: Option<(u64, Pause)>,
    /// Counts replacements, so that a slow reading doesn't undo one.
    replacements: u64,
}

/// What an entry has to offer.
pub(super) enum Offer {
    Usable(Credential),
    /// The authority refused it a moment ago. Better than nothing.
    Rejected(Credential),
    /// When it is looked at again, if ever.
    Failed(LoadError, Option<Pause>),
}

/// A time until which something isn't tried again.
#[derive(Clone, Copy)]
pub(super) struct Pause {
    until_ms: u64,
}

impl Pause {
    fn from(now_ms: u64) -> Self {
        Self { until_ms: now_ms.saturating_add(RETRY_AFTER_MS) }
    }

    /// What is left of it. A clock that was set back doesn't make it longer than it was.
    pub(super) fn left(self, now_ms: u64) -> Option<Duration> {
        let left = self.until_ms.checked_sub(now_ms).filter(|left| (1..=RETRY_AFTER_MS).contains(left));
        left.map(Duration::from_millis)
    }
}

impl Entry {
    pub(super) fn new(configured: &ConfiguredCredential) -> Self {
        Self {
            name: Arc::clone(&configured.name),
            place: configured.place.to_string(),
            description: Arc::new(configured.description.clone()),
            state: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
        }
    }

    /// What it has to offer now. Reads the source where that is due; otherwise it doesn't wait for anything.
    pub(super) async fn offer(&self, now_ms: u64) -> Offer {
        match &self.description.source {
            CredentialSource::ClientSecret(secret) => {
                return self.judged(Credential::Secret(secret.clone()), 0, now_ms);
            }
            CredentialSource::Unsupported(_, reason) => {
                return Offer::Failed(LoadError::UnsupportedSource(reason.clone()), None);
            }
            _ => {}
        }
        if let Some(offer) = self.at_hand(now_ms) {
            return offer;
        }
        let _loading = self.loading.lock().await;
        // Whoever held the lock before may have done it.
        if let Some(offer) = self.at_hand(now_ms) {
            return offer;
        }
        let replacements = self.state().replacements;
        let loaded = self.load().await;
        self.take(loaded, replacements, now_ms);
        self.at_hand(now_ms).unwrap_or(Offer::Failed(LoadError::Interrupted, None))
    }

    /// The authority refused this generation: the source is read again before the next use, and others are preferred
    /// for a while if the source has nothing new. Only what is current can be refused.
    pub(super) fn reject(&self, generation: u64, now_ms: u64) {
        let mut state = self.state();
        let current = state.current.as_ref().map_or(0, |current| current.generation());
        if current == generation {
            state.current = None;
            state.rejected = Some((generation, Pause::from(now_ms)));
        }
    }

    /// The authority accepted this generation.
    pub(super) fn accept(&self, generation: u64) {
        let mut state = self.state();
        if state.rejected.is_some_and(|(rejected, _)| rejected == generation) {
            state.rejected = None;
        }
    }

    /// Puts a certificate in the place of the one there. `false` when the entry isn't for certificates.
    pub(super) fn replace(&self, binding: Arc<Binding>) -> bool {
        let for_certificates = matches!(
            self.description.source,
            CredentialSource::Path { .. }
                | CredentialSource::Base64Encoded { .. }
                | CredentialSource::Certificate(_)
        );
        if for_certificates {
            let mut state = self.state();
            let replacements = state.replacements + 1;
            let known = Some(Arc::clone(&binding));
            *state = State { current: Some(binding), known, replacements, ..State::default() };
        }
        for_certificates
    }

    pub(super) fn failure(&self, reason: LoadError) -> EntryFailure {
        EntryFailure { place: self.place.clone(), source: self.description.source.to_string(), reason }
    }

    /// An offer without reading the source, where that is possible.
    fn at_hand(&self, now_ms: u64) -> Option<Offer> {
        let state = self.state();
        let valid = |binding: &&Arc<Binding>| binding.check_validity(now_ms / 1000).is_ok();
        if let Some(current) = state.current.as_ref().filter(valid).cloned() {
            drop(state);
            let generation = current.generation();
            return Some(self.judged(Credential::Certificate(current), generation, now_ms));
        }
        let (reason, pause) = state.failure.as_ref()?;
        pause.left(now_ms).map(|_| Offer::Failed(reason.clone(), Some(*pause)))
    }

    fn judged(&self, credential: Credential, generation: u64, now_ms: u64) -> Offer {
        match self.state().rejected {
            Some((rejected, pause)) if rejected == generation && pause.left(now_ms).is_some() => {
                Offer::Rejected(credential)
            }
            _ => Offer::Usable(credential),
        }
    }

    async fn load(&self) -> Result<Arc<Binding>, LoadError> {
        if let CredentialSource::Certificate(given) = &self.description.source {
            let known = self.state().known.clone();
            return known.or_else(|| given.clone()).ok_or(LoadError::NotGiven);
        }
        let description = Arc::clone(&self.description);
        let loaded = tokio::task::spawn_blocking(move || description.source.load()).await;
        loaded.unwrap_or(Err(LoadError::Interrupted))
    }

    fn take(&self, loaded: Result<Arc<Binding>, LoadError>, replacements: u64, now_ms: u64) {
        let mut state = self.state();
        if state.replacements != replacements {
            return;
        }
        let checked = loaded.and_then(|binding| binding.check_validity(now_ms / 1000).map(|()| binding));
        match checked {
            Ok(binding) => {
                let same = state.known.take().filter(|known| known.chain() == binding.chain());
                let binding = same.unwrap_or(binding);
                state.known = Some(Arc::clone(&binding));
                state.current = Some(binding);
                state.failure = None;
            }
            Err(reason) => {
                tracing::warn!(credential = &*self.name, place = self.place, %reason, "credential not usable");
                state.failure = Some((reason, Pause::from(now_ms)));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the state whole, so a panic in one doesn't spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Long enough not to hammer a file system or an authority, short enough that whoever mended it need not wait.
const RETRY_AFTER_MS: u64 = 30_000;
