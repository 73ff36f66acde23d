//! One component at work.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::SignatureScheme;
use symbolon_resources::credentials::{
    AssertionContext, ClientSecret, ComponentAssertion, ComponentConfiguration, ComponentCredential,
    ComponentDescription, ComponentError, ComponentProblem, Outcome, RunningComponent, SignatureAlgorithm,
};
use tokio::time::Instant;
use wasmtime::component::ResourceAny;
use wasmtime::{Store, Trap, UpdateDeadline};
use zeroize::Zeroizing;

use super::bindings::CredentialProvider;
use super::bindings::exports::symbolon::credentials::{custody, provider};
use super::patience::Patience;
use super::{Compiled, ProviderLimits, convert};
use crate::engine::{Limits, TICK};

/// The state of a store.
pub(super) struct State {
    limits: Limits,
    /// How many more ticks of the epoch the call that is under way may see.
    ticks: u32,
}

/// A component at work. It is started again after a trap.
pub(super) struct Running {
    compiled: Arc<Compiled>,
    configuration: ComponentConfiguration,
    live: Mutex<Place>,
    /// What it is to be told before it is asked anything.
    errands: Mutex<Vec<Errand>>,
    /// Itself, for the credentials that it gives.
    this: std::sync::Weak<Self>,
}

/// Where its instance is, and how much time it may waste.
#[derive(Default)]
struct Place {
    live: Option<Live>,
    patience: Patience,
}

/// An instance that can be called.
pub(super) struct Live {
    pub(super) store: Store<State>,
    pub(super) guest: CredentialProvider,
    /// Tells instances apart: a handle belongs to one.
    number: u64,
}

enum Errand {
    Report(Handle, Outcome),
    Drop(Handle),
}

/// A credential in an instance.
#[derive(Clone, Copy)]
struct Handle {
    instance: u64,
    resource: ResourceAny,
}

pub(super) type Answer<T> = wasmtime::Result<Result<T, provider::Error>>;

impl Running {
    pub(super) fn start(
        compiled: Arc<Compiled>,
        configuration: ComponentConfiguration,
    ) -> Result<Arc<Self>, ComponentError> {
        let running = Arc::new_cyclic(|this| Self {
            compiled,
            configuration,
            live: Mutex::default(),
            errands: Mutex::default(),
            this: this.clone(),
        });
        running.enter(|_| Ok(Ok(())))?;
        Ok(running)
    }

    /// Calls the instance, a new one where there is none. One that traps is gone.
    fn enter<T>(&self, call: impl FnOnce(&mut Live) -> Answer<T>) -> Result<T, ComponentError> {
        let mut place = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        place.patience.check()?;
        let _ticking = self.compiled.ticker.watch();
        let began = Instant::now();
        let live = match place.live.take() {
            Some(live) => Ok(live),
            None => self.instantiate(),
        };
        let answer = live.and_then(|mut live| {
            let answer = live.run_errands(std::mem::take(&mut *self.errands())).and_then(|()| {
                live.begin(self.compiled.limits);
                call(&mut live)
            });
            match answer {
                Ok(answer) => {
                    place.live = Some(live);
                    answer.map_err(convert::error)
                }
                Err(trap) => Err(failure(&live.store, &trap, self.compiled.limits)),
            }
        });
        if place.live.is_none() {
            place.patience.wasted(began.elapsed());
        }
        answer
    }

    fn instantiate(&self) -> Result<Live, ComponentError> {
        let limits = self.compiled.limits;
        let mut live = Live::new(&self.compiled)?;
        live.begin(limits);
        match live.configure(&self.configuration) {
            Ok(Ok(())) => Ok(live),
            Ok(Err(error)) => Err(convert::error(error)),
            Err(trap) => Err(failure(&live.store, &trap, limits)),
        }
    }

    fn errands(&self) -> MutexGuard<'_, Vec<Errand>> {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, errand: Errand) {
        let mut errands = self.errands();
        // Of one outcome after the other the component need not hear that nothing changed.
        let is_same = match (errands.last(), &errand) {
            (Some(Errand::Report(before, said)), Errand::Report(handle, outcome)) => {
                before.resource == handle.resource && said == outcome
            }
            _ => false,
        };
        if !is_same {
            errands.push(errand);
        }
    }
}

impl RunningComponent for Running {
    fn select(&self) -> Result<Arc<dyn ComponentCredential>, ComponentError> {
        let running = self.this.upgrade().ok_or_else(gone)?;
        let (handle, description) = self.enter(Live::select)?;
        let (handle, lost) = (Mutex::new(handle), AtomicBool::new(false));
        Ok(Arc::new(Credential { running, description: description?, handle, lost }))
    }
}

/// A credential that the component has.
struct Credential {
    running: Arc<Running>,
    description: ComponentDescription,
    handle: Mutex<Handle>,
    /// Whether the component has another one in its place since it was started again.
    lost: AtomicBool,
}

impl Credential {
    /// Asks something of it. In an instance that was started again the credential is selected anew, and must be the same.
    fn ask<T>(
        &self,
        call: impl FnOnce(&custody::Guest, &provider::Guest, &mut Store<State>, ResourceAny) -> Answer<T>,
    ) -> Result<T, ComponentError> {
        let asked = self.running.enter(|live| {
            let known = *self.handle();
            let handle = match known.instance == live.number {
                true => known,
                false => match self.select_again(live)? {
                    Ok(Some(selected)) => selected,
                    Ok(None) => return Ok(Ok(None)),
                    Err(error) => return Ok(Err(error)),
                },
            };
            let Live { store, guest, .. } = live;
            let custody = guest.symbolon_credentials_custody();
            let answer = call(custody, guest.symbolon_credentials_provider(), store, handle.resource)?;
            Ok(answer.map(Some))
        });
        asked?.ok_or_else(gone)
    }

    /// Nothing where what is selected now is another credential.
    fn select_again(&self, live: &mut Live) -> Answer<Option<Handle>> {
        let (selected, description) = match live.select()? {
            Ok(selected) => selected,
            Err(error) => return Ok(Err(error)),
        };
        live.begin(self.running.compiled.limits);
        if description.is_ok_and(|found| is_same(&found, &self.description)) {
            *self.handle() = selected;
            return Ok(Ok(Some(selected)));
        }
        self.lost.store(true, Ordering::Relaxed);
        selected.resource.resource_drop(&mut live.store)?;
        Ok(Ok(None))
    }

    /// Held for moments only: outcomes are reported on threads that may not wait.
    fn handle(&self) -> MutexGuard<'_, Handle> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ComponentCredential for Credential {
    fn description(&self) -> &ComponentDescription {
        &self.description
    }

    fn sign_assertion(
        &self,
        algorithm: SignatureAlgorithm,
        signing_input: &[u8],
    ) -> Result<Vec<u8>, ComponentError> {
        let algorithm = convert::algorithm(algorithm)?;
        self.ask(|_, provider, store, handle| {
            provider.credential().call_sign_assertion(store, handle, algorithm, signing_input)
        })
    }

    fn sign_handshake(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, ComponentError> {
        let scheme = convert::scheme(scheme)?;
        self.ask(|custody, _, store, handle| custody.call_sign_handshake(store, handle, scheme, message))
    }

    fn assertion(&self, context: &AssertionContext) -> Result<ComponentAssertion, ComponentError> {
        let context = convert::context(context);
        let made = self.ask(|_, provider, store, handle| {
            provider.credential().call_assertion(store, handle, &context)
        })?;
        let assertion = Zeroizing::new(made.assertion);
        Ok(ComponentAssertion { assertion, expires_on_unix: made.expires_on, bound: made.bound })
    }

    fn secret(&self) -> Result<ClientSecret, ComponentError> {
        let secret =
            Zeroizing::new(self.ask(|custody, _, store, handle| custody.call_secret(store, handle))?);
        match secret.is_empty() {
            true => Err(ComponentError::new(ComponentProblem::Component, "found an empty secret")),
            false => Ok(ClientSecret::new(secret.as_str())),
        }
    }

    fn report(&self, outcome: Outcome) {
        let handle = *self.handle();
        self.running.note(Errand::Report(handle, outcome));
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        let handle = *self.handle();
        self.running.note(Errand::Drop(handle));
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("kind", &self.description.kind).finish_non_exhaustive()
    }
}

impl Live {
    /// An instance that isn't configured yet.
    pub(super) fn new(compiled: &Compiled) -> Result<Self, ComponentError> {
        let limits = compiled.limits;
        let component = &compiled.component;
        let mut store =
            Store::new(component.engine(), State { limits: Limits::new(limits.memory), ticks: 0 });
        store.limiter(|state| &mut state.limits);
        store.epoch_deadline_callback(|mut context| {
            let state = context.data_mut();
            state.ticks = state.ticks.checked_sub(1).ok_or(CpuBudgetExhausted)?;
            Ok(UpdateDeadline::Continue(1))
        });
        begin(&mut store, limits);
        match component.instantiate(&mut store) {
            Ok(guest) => Ok(Self { store, guest, number: next_number() }),
            Err(trap) => Err(failure(&store, &trap, limits)),
        }
    }

    /// Gives a call its time.
    pub(super) fn begin(&mut self, limits: ProviderLimits) {
        begin(&mut self.store, limits);
    }

    pub(super) fn configure(&mut self, configuration: &ComponentConfiguration) -> Answer<()> {
        let mut seed = Zeroizing::new(vec![0; 32]);
        getrandom::fill(&mut seed)
            .map_err(|error| wasmtime::Error::msg(format!("no randomness: {error}")))?;
        let settings = configuration.settings.iter();
        let settings = settings
            .map(|(name, value)| custody::Setting { name: name.clone(), value: value.to_string() })
            .collect();
        let files = configuration.files.iter();
        let files = files
            .map(|(name, content)| custody::File { name: name.clone(), content: content.to_vec() })
            .collect();
        let configuration = convert::Wiped(custody::Configuration { settings, files, seed: seed.to_vec() });
        self.guest.symbolon_credentials_custody().call_configure(&mut self.store, &configuration.0)
    }

    /// The credential that the component would use now, and what it says of it.
    fn select(&mut self) -> Answer<(Handle, Result<ComponentDescription, ComponentError>)> {
        let (provider, custody) =
            (self.guest.symbolon_credentials_provider(), self.guest.symbolon_credentials_custody());
        let selection = provider::Selection { purpose: provider::Purpose::Authenticate };
        let resource = match provider.call_select(&mut self.store, selection)? {
            Ok(resource) => resource,
            Err(error) => return Ok(Err(error)),
        };
        let described = provider.credential().call_describe(&mut self.store, resource)?;
        let schemes = custody.call_signature_schemes(&mut self.store, resource)?;
        let handle = Handle { instance: self.number, resource };
        Ok(Ok((handle, convert::description(described, &schemes))))
    }

    /// Tells it what it missed. Handles of an instance that is gone went with it.
    fn run_errands(&mut self, errands: Vec<Errand>) -> wasmtime::Result<()> {
        let provider = self.guest.symbolon_credentials_provider();
        for errand in errands {
            match errand {
                Errand::Report(handle, outcome) if handle.instance == self.number => {
                    provider.call_report(&mut self.store, handle.resource, convert::outcome(outcome))?;
                }
                Errand::Drop(handle) if handle.instance == self.number => {
                    handle.resource.resource_drop(&mut self.store)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Gives a call its time.
fn begin(store: &mut Store<State>, limits: ProviderLimits) {
    let ticks = limits.cpu.as_millis() / TICK.as_millis();
    store.data_mut().ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
    store.set_epoch_deadline(1);
}

/// A number that no other instance of this process has.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn is_same(one: &ComponentDescription, other: &ComponentDescription) -> bool {
    one.kind == other.kind && one.chain == other.chain
}

fn gone() -> ComponentError {
    let message = "found another credential in the place of this one since the component was started again";
    ComponentError::new(ComponentProblem::Unavailable, message).with_retry_after(Duration::ZERO)
}

pub(super) fn failure(
    store: &Store<State>,
    trap: &wasmtime::Error,
    limits: ProviderLimits,
) -> ComponentError {
    let what = match trap.downcast_ref::<Trap>() {
        _ if trap.is::<CpuBudgetExhausted>() => format!("it ran for longer than {:?}", limits.cpu),
        _ if store.data().limits.memory_exceeded => {
            format!("it wanted more than {} bytes of memory", limits.memory)
        }
        Some(Trap::StackOverflow) => "its stack overflowed".to_owned(),
        Some(trap) => format!("it trapped ({trap})"),
        None => format!("it trapped ({trap:#})"),
    };
    ComponentError::new(ComponentProblem::Component, what)
}

/// The component ran for longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("the CPU budget is exhausted")]
struct CpuBudgetExhausted;
