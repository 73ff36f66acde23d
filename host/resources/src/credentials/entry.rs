//! One configured credential and what is known of it now.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::{Instant, timeout_at};

use crate::configuration::ConfiguredCredential;

use super::acquisition::Acquisition;
use super::assertion::AssertionBinding;
use super::binding::{Binding, next_generation};
use super::component::{CredentialComponent, RunningComponent};
use super::component_key;
use super::description::CredentialDescription;
use super::error::{EntryFailure, LoadError};
use super::examination::{self, ComponentFinding};
use super::expiry::{self, Stage};
use super::files::{Contents, Fingerprint};
use super::home::Home;
use super::key_vault;
use super::loaded::{Loaded, Pause, RETRY_AFTER_MS, pause_after};
use super::observer::{CertificateAction, CertificateEvent, DeselectionReason};
use super::provider::Outcome;
use super::selected::Credential;
use super::source::{CredentialSource, Local};
use super::source_type::SourceType;

pub(super) struct Entry {
    /// Among all of the application's.
    pub(super) index: usize,
    pub(super) name: Arc<str>,
    pub(super) place: String,
    pub(super) description: Arc<CredentialDescription>,
    pub(super) home: Arc<Home>,
    /// What the credential is read from on this machine, if anything.
    pub(super) files: Vec<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The credential to hand out, until it is rejected or expires.
    current: Option<Loaded>,
    /// The last certificate that the source gave. A source that gives the same again gives the same binding.
    known: Option<Loaded>,
    /// Tells whether the source has changed since it was read.
    fingerprint: Option<Fingerprint>,
    /// Why there is no credential for those who want it bound like this, and until when that is not looked into again.
    failure: Option<(LoadError, AssertionBinding, Pause)>,
    /// The last reason that was logged, so that it is logged once.
    complaint: Option<LoadError>,
    /// The generation that the authority refused, and until when others are preferred.
    rejected: Option<(u64, Pause)>,
    reload: Reload,
    /// How many readings had begun when that was asked for: only a later one is an answer.
    reload_asked: u64,
    /// When the last rejection had the source read again, in the clock's milliseconds.
    reloaded_ms: Option<u64>,
    /// When the source is asked for something newer beside handing out what is there.
    look_again_ms: Option<u64>,
    /// Whether the program gave the current certificate: then the source isn't looked at before it is refused.
    replaced: bool,
    /// Counts readings and replacements, in the order of their beginnings …
    begun: u64,
    /// … and says which of them the state is from, so that a slow reading doesn't undo a later one.
    taken: u64,
    /// The generation of the certificate that observers were told is selected.
    announced: Option<u64>,
    /// The generation, and what of its end was warned of.
    warned: Option<(u64, Stage)>,
    /// The component at work, and the fingerprint of what it was made of.
    running: Option<(Fingerprint, Arc<dyn RunningComponent>)>,
    /// The reading under way, which callers share.
    flight: Option<Flight>,
}

type Flight = Shared<BoxFuture<'static, ()>>;

/// Whether the source is read before the current credential is handed out again.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Reload {
    #[default]
    No,
    /// Only to see whether its bytes have changed.
    Compare,
    Yes,
}

/// What an entry has to offer.
pub(super) enum Offer {
    Usable(Credential, u64),
    /// The authority refused it a moment ago. Better than nothing.
    Rejected(Credential, u64),
    /// When it is looked at again, if ever.
    Failed(LoadError, Option<Duration>),
}

impl Entry {
    pub(super) fn new(index: usize, configured: &ConfiguredCredential, home: Arc<Home>) -> Self {
        Self {
            index,
            name: Arc::clone(&configured.name),
            place: configured.place.to_string(),
            files: configured.description.source.files(),
            description: Arc::new(configured.description.clone()),
            home,
            state: Mutex::default(),
        }
    }

    /// What it has to offer now. Reads the source where that is due; otherwise it doesn't wait for anything.
    pub(super) async fn offer(self: &Arc<Self>, acquisition: &Acquisition) -> Offer {
        let now_ms = self.home.clock.now_unix_ms();
        match &self.description.source {
            CredentialSource::ClientSecret(secret) => {
                return self.judged(Credential::Secret(secret.clone()), 0, now_ms);
            }
            CredentialSource::Unsupported(_, reason) => {
                return Offer::Failed(LoadError::UnsupportedSource(reason.clone()), None);
            }
            CredentialSource::ManagedIdentity(_)
            | CredentialSource::CustomSignedAssertion { .. }
            | CredentialSource::OtherApplication(_) => {
                return self.offer_assertion(acquisition).await;
            }
            _ => {}
        }
        if let Some(offer) = self.at_hand(now_ms) {
            self.look_again_where_due(acquisition, now_ms);
            return self.bound_as_wanted(offer, acquisition);
        }
        // Another reading may have ended since.
        let flight = self.flight(acquisition, move |entry| entry.at_hand(now_ms).is_none());
        match acquisition.deadline() {
            // The reading goes on: the next caller finds its result.
            Some(deadline) => _ = timeout_at(deadline, flight).await,
            None => flight.await,
        }
        self.bound_as_wanted(self.after_reading(), acquisition)
    }

    /// What a component makes is bound to a certificate or not, whatever is wanted.
    fn bound_as_wanted(&self, offer: Offer, acquisition: &Acquisition) -> Offer {
        match offer {
            Offer::Usable(Credential::Component { binding: None, .. }, _)
            | Offer::Rejected(Credential::Component { binding: None, .. }, _)
                if self.wanted(acquisition.purpose) == AssertionBinding::Required =>
            {
                Offer::Failed(LoadError::NotBound, None)
            }
            offer => offer,
        }
    }

    /// The authority refused this generation: the source is read again before the next use, and others are preferred
    /// for a while if the source has nothing new. Only what is current can be refused.
    ///
    /// However many refusals there are, the source is read again once in 10 seconds, and otherwise only to see whether its
    /// bytes have changed.
    pub(super) fn reject(&self, generation: u64, now_ms: u64) {
        let mut state = self.state();
        let current = state.current.as_ref().map_or(0, |current| current.generation);
        if current != generation {
            return;
        }
        let since = state.reloaded_ms.and_then(|reloaded_ms| now_ms.checked_sub(reloaded_ms));
        let due = match since {
            Some(0..RELOAD_FLOOR_MS) if self.files.is_empty() => Reload::No,
            Some(0..RELOAD_FLOOR_MS) => Reload::Compare,
            _ => Reload::Yes,
        };
        // What was asked for before, and isn't there yet, answers this one too.
        if due > state.reload {
            state.reload = due;
            state.reload_asked = state.begun;
            if due == Reload::Yes {
                state.reloaded_ms = Some(now_ms);
                self.home.counters.reloads.fetch_add(1, Ordering::Relaxed);
            }
        }
        state.replaced = false;
        state.rejected = Some((generation, Pause::new(now_ms, RETRY_AFTER_MS)));
        let component = state.current.as_ref().and_then(|current| current.component.clone());
        drop(state);
        if let Some(component) = component {
            component.report(Outcome::Rejected);
        }
        self.home.counters.revision.fetch_add(1, Ordering::AcqRel);
    }

    /// The authority accepted this generation.
    pub(super) fn accept(&self, generation: u64) {
        let mut state = self.state();
        if state.rejected.is_some_and(|(rejected, _)| rejected == generation) {
            state.rejected = None;
        }
        let current = state.current.as_ref().filter(|current| current.generation == generation);
        let component = current.and_then(|current| current.component.clone());
        drop(state);
        if let Some(component) = component {
            component.report(Outcome::Used);
        }
    }

    /// Puts a certificate in the place of the one there. `false` when the entry isn't for certificates.
    pub(super) fn replace(&self, binding: Arc<Binding>) -> bool {
        if !self.description.source.is_certificate() {
            return false;
        }
        let loaded = Loaded::new(Local::Certificate(binding));
        let mut state = self.state();
        let before = state.current.take();
        let begun = state.begun + 1;
        *state = State {
            current: Some(loaded.clone()),
            known: Some(loaded),
            replaced: true,
            begun,
            taken: begun,
            announced: state.announced,
            flight: state.flight.take(),
            ..State::default()
        };
        drop(state);
        self.changed(before, DeselectionReason::Replaced);
        true
    }

    /// Whether time or a file may change it without anybody asking.
    pub(super) fn is_watched(&self) -> bool {
        !self.files.is_empty() || self.description.source.is_certificate()
    }

    /// Whether it has keys for tokens that others get, which never authenticate an application.
    pub(super) fn decrypts(&self) -> bool {
        self.description.source_type() == SourceType::AutoDecryptKeys
    }

    /// Whether the component that has the current credential does what it must; nothing where there is none.
    pub(super) async fn examine_component(&self) -> Vec<ComponentFinding> {
        let component = self.state().current.as_ref().and_then(|current| current.component.clone());
        let Some(component) = component else { return Vec::new() };
        let (audience, now_unix) = (self.home.authority.clone(), self.home.clock.now_unix());
        let examining = move || examination::examine(component.as_ref(), &audience, now_unix);
        tokio::task::spawn_blocking(examining).await.unwrap_or_default()
    }

    pub(super) fn failure(&self, reason: LoadError) -> EntryFailure {
        EntryFailure { place: self.place.clone(), source: self.description.source.to_string(), reason }
    }

    /// The certificate to hand out, if one was loaded.
    pub(super) fn current_certificate(&self) -> Option<Arc<Binding>> {
        self.state().current.as_ref().and_then(Loaded::binding).cloned()
    }

    /// Tells observers that the certificate is selected; `always`, or where they were told something else before. Warns
    /// where it ends soon.
    pub(super) fn announce(&self, binding: &Binding, always: bool) {
        if expiry::stage(binding.not_after_unix(), self.home.clock.now_unix()).is_some() {
            self.warn_of_expiry();
        }
        let is_news = {
            let mut state = self.state();
            // What was overtaken by another since it was selected is news of the past.
            let is_current = state.current.as_ref().is_some_and(|now| now.generation == binding.generation());
            is_current && state.announced.replace(binding.generation()) != Some(binding.generation())
        };
        if always || is_news {
            self.observe(CertificateAction::Selected, binding);
        }
    }

    /// Tells observers that the certificate is selected no more, where they were told that it is.
    pub(super) fn retract(&self, binding: &Binding, reason: DeselectionReason) {
        let announced = {
            let mut state = self.state();
            let announced = state.announced == Some(binding.generation());
            state.announced = state.announced.filter(|_| !announced);
            announced
        };
        if announced {
            self.home.counters.deselections.fetch_add(1, Ordering::Relaxed);
            self.observe(CertificateAction::Deselected(reason), binding);
        }
    }

    /// Tells observers and logs.
    pub(super) fn observe(&self, action: CertificateAction, certificate: &Binding) {
        tracing::debug!(
            name: "symbolon.credentials.certificate",
            application = self.home.application.as_str(),
            credential = &*self.name,
            thumbprint = certificate.thumbprint_sha256(),
            ?action,
            "certificate event"
        );
        if !self.home.services.has_observers() {
            return;
        }
        let credential_id = self.description.id(Some(certificate.thumbprint_hex()));
        self.home.services.observe(&CertificateEvent {
            action,
            application: &self.home.application,
            credential: &self.name,
            credential_id: &credential_id,
            certificate,
        });
    }

    /// Reads a source on this machine and takes what is new. Blocks on the file system.
    pub(super) fn refresh(&self) {
        let begun = self.begin();
        let source = &self.description.source;
        let now_unix = self.home.clock.now_unix();
        let read = source.read().and_then(|contents| {
            let fingerprint = contents.fingerprint();
            if self.is_known(&fingerprint, now_unix) {
                return Ok(None);
            }
            let loaded = match source {
                CredentialSource::Component { component, .. } => {
                    self.ask_component(component, &contents, &fingerprint)?
                }
                _ => Loaded::new(source.parse(&contents, now_unix)?),
            };
            Ok(Some((loaded, Some(fingerprint))))
        });
        self.take(read, begun);
    }

    /// What the component would use now: the instance that is there, unless it was made of other bytes.
    fn ask_component(
        &self,
        component: &CredentialComponent,
        contents: &Contents,
        fingerprint: &Fingerprint,
    ) -> Result<Loaded, LoadError> {
        let known = self.state().running.clone().filter(|(known, _)| known == fingerprint);
        let running = match known {
            Some((_, running)) => running,
            None => {
                let runner = self.home.services.component_runner.as_ref().ok_or_else(|| {
                    let found = "found a component, and a program that runs none";
                    LoadError::UnsupportedSource(format!("{found}; accepted: other sources"))
                })?;
                runner.start(contents.first(), component.configuration(contents))?
            }
        };
        let credential = running.select()?;
        let loaded = component_key::load(credential)?;
        self.state().running = Some((fingerprint.clone(), running));
        Ok(loaded)
    }

    /// As [`refresh`](Self::refresh), for the one who watches files: a source that nobody has asked for yet is left alone,
    /// and so is one whose certificate the program replaced.
    pub(super) fn refresh_watched(&self) {
        let asked_for = {
            let state = self.state();
            !self.files.is_empty()
                && !state.replaced
                && (state.current.is_some() || state.known.is_some() || state.failure.is_some())
        };
        if asked_for {
            self.refresh();
        }
        self.warn_of_expiry();
    }

    /// Warns, once each, that the certificate expires within 30, 7 and 1 days.
    pub(super) fn warn_of_expiry(&self) {
        let now_unix = self.home.clock.now_unix();
        let mut state = self.state();
        let Some(binding) = state.current.as_ref().and_then(Loaded::binding).cloned() else { return };
        let Some(stage) = expiry::stage(binding.not_after_unix(), now_unix) else { return };
        let before = state.warned.filter(|(generation, _)| *generation == binding.generation());
        if before.is_some_and(|(_, warned)| warned >= stage) {
            return;
        }
        state.warned = Some((binding.generation(), stage));
        drop(state);
        tracing::warn!(
            name: "symbolon.credentials.expiry",
            application = self.home.application.as_str(),
            credential = &*self.name,
            place = self.place,
            thumbprint = binding.thumbprint_sha256(),
            not_after_unix = binding.not_after_unix(),
            "the certificate expires within {stage}"
        );
    }

    /// Notes why there is nothing for those who want it bound like this. Gives the pause before it is tried again.
    pub(super) fn fail(&self, reason: &LoadError, wanted: AssertionBinding, now_ms: u64) -> Option<Duration> {
        let mut state = self.state();
        self.complain(&mut state, reason);
        let pause = reason.may_pass().then(|| pause_after(reason, now_ms))?;
        state.failure = Some((reason.clone(), wanted, pause));
        pause.left(now_ms)
    }

    /// The failure that isn't looked into again yet.
    pub(super) fn failed(&self, wanted: AssertionBinding, now_ms: u64) -> Option<Offer> {
        let state = self.state();
        let (reason, failed, pause) = state.failure.as_ref()?;
        let left = pause.left(now_ms).filter(|_| *failed == wanted)?;
        Some(Offer::Failed(reason.clone(), Some(left)))
    }

    /// Takes note of an assertion with this fingerprint. Gives its generation.
    pub(super) fn made(&self, fingerprint: Fingerprint) -> u64 {
        let mut state = self.state();
        state.failure = None;
        state.complaint = None;
        match &state.known {
            Some(known) if state.fingerprint.as_ref() == Some(&fingerprint) => known.generation,
            _ => {
                let generation = next_generation();
                let credential = Credential::SignedAssertion(None);
                let loaded = Loaded { credential, generation, component: None };
                state.fingerprint = Some(fingerprint);
                // What is refused is what was handed out last.
                state.current = Some(loaded.clone());
                state.known = Some(loaded);
                generation
            }
        }
    }

    /// Whether an assertion that is cached elsewhere won't do. Asked once for each refusal.
    pub(super) fn wants_fresh_assertion(&self) -> bool {
        std::mem::take(&mut self.state().reload) == Reload::Yes
    }

    pub(super) fn judged(&self, credential: Credential, generation: u64, now_ms: u64) -> Offer {
        match self.state().rejected {
            Some((rejected, pause)) if rejected == generation && pause.left(now_ms).is_some() => {
                Offer::Rejected(credential, generation)
            }
            _ => Offer::Usable(credential, generation),
        }
    }

    /// An offer without reading the source, where that is possible.
    fn at_hand(&self, now_ms: u64) -> Option<Offer> {
        let state = self.state();
        let valid = |loaded: &&Loaded| loaded.check_validity(now_ms / 1000).is_ok();
        match state.current.as_ref().filter(valid).cloned() {
            Some(_) if state.reload != Reload::No || self.description.source.is_read_each_time() => None,
            Some(current) => {
                drop(state);
                Some(self.judged(current.credential, current.generation, now_ms))
            }
            None => {
                drop(state);
                self.failed(AssertionBinding::Unbound, now_ms)
            }
        }
    }

    /// The offer after the source was read: what is current, else why nothing is.
    fn after_reading(&self) -> Offer {
        // The reading took its time, and what it left counts from its end.
        let now_ms = self.home.clock.now_unix_ms();
        let state = self.state();
        let valid = |loaded: &&Loaded| loaded.check_validity(now_ms / 1000).is_ok();
        if let Some(current) = state.current.as_ref().filter(valid).cloned() {
            drop(state);
            return self.judged(current.credential, current.generation, now_ms);
        }
        match &state.failure {
            Some((reason, _, pause)) => Offer::Failed(reason.clone(), pause.left(now_ms)),
            None => Offer::Failed(LoadError::Interrupted, None),
        }
    }

    /// The reading under way, or a new one if that is still due when it begins. It is a task of its own: callers come and go.
    fn flight(
        self: &Arc<Self>,
        acquisition: &Acquisition,
        is_due: impl FnOnce(&Self) -> bool + Send + 'static,
    ) -> Flight {
        let mut state = self.state();
        if let Some(flight) = &state.flight {
            return flight.clone();
        }
        let (entry, acquisition) = (Arc::clone(self), acquisition.clone());
        let task = tokio::spawn(async move {
            let landing = Landing(&entry);
            if is_due(&entry) {
                entry.load(&acquisition).await;
            }
            drop(landing);
        });
        let flight = task.map(|_| ()).boxed().shared();
        state.flight = Some(flight.clone());
        flight
    }

    async fn load(self: &Arc<Self>, acquisition: &Acquisition) {
        if self.state().reload != Reload::Compare {
            self.home.counters.loads.fetch_add(1, Ordering::Relaxed);
        }
        match &self.description.source {
            CredentialSource::Certificate(given) => self.load_given(given.as_ref()),
            CredentialSource::KeyVault(certificate) => {
                let begun = self.begin();
                let known = self.state().fingerprint.clone();
                let deadline = Instant::now() + VAULT_PATIENCE;
                let acquisition = acquisition.clone().with_deadline(deadline);
                let looked =
                    self.look_into_vault(certificate, known.as_deref(), &acquisition, deadline).await;
                let looked = looked.map(|found| {
                    found.map(|(version, binding)| (Loaded::new(Local::Certificate(binding)), Some(version)))
                });
                self.take(looked, begun);
            }
            _ => {
                let entry = Arc::clone(self);
                // A panic leaves the state without a result, which `after_reading` tells.
                let _ = tokio::task::spawn_blocking(move || entry.refresh()).await;
            }
        }
    }

    fn load_given(&self, given: Option<&Arc<Binding>>) {
        let begun = self.begin();
        let known = self.state().known.clone();
        let given = || given.map(|given| Loaded::new(Local::Certificate(Arc::clone(given))));
        let loaded = known.or_else(given).ok_or(LoadError::NotGiven);
        self.take(loaded.map(|loaded| Some((loaded, None))), begun);
    }

    /// Starts to look for something newer without waiting for it.
    fn look_again_where_due(self: &Arc<Self>, acquisition: &Acquisition, now_ms: u64) {
        let is_due = {
            let mut state = self.state();
            let due = state.look_again_ms.is_some_and(|due| due <= now_ms);
            if due {
                // Should it fail.
                state.look_again_ms = Some(now_ms.saturating_add(LOOK_AGAIN_MS));
            }
            due
        };
        if is_due {
            drop(self.flight(acquisition, |_| true));
        }
    }

    fn is_known(&self, fingerprint: &Fingerprint, now_unix: u64) -> bool {
        // In a store, time alone may make another certificate the one that fits.
        let depends_on_time = matches!(self.description.source, CredentialSource::Store { .. });
        let state = self.state();
        // A component that was told of a refusal may think of something else.
        let is_asked = state.reload == Reload::Yes && state.running.is_some();
        let valid = |current: &Loaded| current.check_validity(now_unix).is_ok();
        !depends_on_time
            && !is_asked
            && state.fingerprint.as_ref() == Some(fingerprint)
            && state.current.as_ref().is_some_and(valid)
    }

    fn begin(&self) -> u64 {
        let mut state = self.state();
        state.begun += 1;
        state.begun
    }

    /// Takes what a reading gave; `None` is what is there already. One that fails leaves what is there in use.
    fn take(&self, read: Result<Option<(Loaded, Option<Fingerprint>)>, LoadError>, begun: u64) {
        let now_ms = self.home.clock.now_unix_ms();
        let mut state = self.state();
        if begun < state.taken {
            return;
        }
        state.taken = begun;
        if begun > state.reload_asked {
            state.reload = Reload::No;
        }
        let valid = |loaded: &Loaded| loaded.check_validity(now_ms / 1000);
        let checked = read.and_then(|read| match read {
            Some((loaded, fingerprint)) => valid(&loaded).map(|()| Some((loaded, fingerprint))),
            None => Ok(None),
        });
        let (loaded, fingerprint) = match checked {
            Ok(Some(new)) => new,
            Ok(None) => {
                (state.failure, state.complaint) = (None, None);
                self.plan_next_look(&mut state, now_ms);
                return;
            }
            Err(reason) => {
                self.home.counters.load_failures.fetch_add(1, Ordering::Relaxed);
                self.complain(&mut state, &reason);
                if state.current.as_ref().is_none_or(|current| valid(current).is_err()) {
                    let pause = pause_after(&reason, now_ms);
                    state.failure = Some((reason, AssertionBinding::Unbound, pause));
                }
                return;
            }
        };
        let same = state.known.take().filter(|known| known.is(&loaded));
        let loaded = same.unwrap_or(loaded);
        state.known = Some(loaded.clone());
        let before = state.current.replace(loaded.clone());
        state.fingerprint = fingerprint;
        state.replaced = false;
        (state.failure, state.complaint) = (None, None);
        self.plan_next_look(&mut state, now_ms);
        drop(state);
        if before.as_ref().is_none_or(|before| before.generation != loaded.generation) {
            let expired = before.as_ref().is_some_and(|before| valid(before).is_err());
            let reason = if expired { DeselectionReason::Expired } else { DeselectionReason::Rotated };
            self.changed(before, reason);
        }
    }

    fn plan_next_look(&self, state: &mut State, now_ms: u64) {
        if let (CredentialSource::KeyVault(_), Some(current)) = (&self.description.source, &state.current) {
            let pause =
                current.binding().map_or(LOOK_AGAIN_MS, |binding| key_vault::look_again_after_ms(binding));
            state.look_again_ms = Some(now_ms.saturating_add(pause));
        }
    }

    /// Another credential is current than the one before.
    fn changed(&self, before: Option<Loaded>, reason: DeselectionReason) {
        self.home.counters.revision.fetch_add(1, Ordering::AcqRel);
        let Some(before) = before else { return };
        self.home.counters.rotations.fetch_add(1, Ordering::Relaxed);
        let now = self.state().current.clone();
        tracing::info!(
            name: "symbolon.credentials.rotation",
            application = self.home.application.as_str(),
            credential = &*self.name,
            place = self.place,
            thumbprint = now.as_ref().and_then(Loaded::binding).map(|binding| binding.thumbprint_sha256()),
            generation = now.as_ref().map(|now| now.generation),
            %reason,
            "another credential is in use"
        );
        if let Some(binding) = before.binding() {
            binding.retire();
            self.retract(binding, reason);
        }
    }

    fn complain(&self, state: &mut State, reason: &LoadError) {
        if state.complaint.as_ref() == Some(reason) {
            return;
        }
        state.complaint = Some(reason.clone());
        let in_use = state.current.is_some();
        tracing::warn!(credential = &*self.name, place = self.place, %reason, in_use, "credential not usable");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the state whole, so a panic in one doesn't spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a flight, even by a panic.
struct Landing<'a>(&'a Entry);

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.0.state().flight = None;
    }
}

/// Between two readings because of refusals.
const RELOAD_FLOOR_MS: u64 = 10_000;

/// Before a look at something newer is repeated that failed.
const LOOK_AGAIN_MS: u64 = 60_000;

/// For a look into a vault, whoever waits for it: the time of an acquisition.
const VAULT_PATIENCE: Duration = Duration::from_secs(30);
