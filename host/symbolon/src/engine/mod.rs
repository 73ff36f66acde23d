//! The engine: runs the component, one fresh instance for each acquisition.

#![allow(unreachable_pub, reason = "bindgen! re-exports what it is given, which must be public for that")]

mod bindings;
pub mod cache;
mod call;
#[cfg(feature = "wasi-p3")]
mod concurrent;
mod config;
mod convert;
mod counters;
pub mod credentials;
mod facts;
mod http;
mod instances;
mod limits;
mod meter;
pub mod platform;
mod shell;
mod slots;
pub mod state;
mod ticker;
pub mod wasi_http;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use symbolon_resources::credentials::Acquisition;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::Instrument;
use wasmtime::component::Component;
use wasmtime::{
    Enabled, InstanceAllocationStrategy, MemoryCreator, PoolingAllocationConfig, Store, Trap, UpdateDeadline,
};

use self::bindings::symbolon as imports;
use self::call::Call;
use self::counters::Counters;
use self::instances::Instance;
use self::meter::Meter;
use self::shell::Shell;
use self::state::State;
use crate::application::Inner;
use crate::builder::EngineStatistics;
use crate::error::{Error, GuestFailure, Result};
use crate::recorder::Event;

pub(crate) use self::bindings::exports::symbolon::token::acquisition as wit;
pub(crate) use self::cache::FlightError;
pub(crate) use self::call::Origin;
pub(crate) use self::config::engine_config;
pub(crate) use self::convert::Acquired;
pub(crate) use self::facts::tell_of_refusal;
pub(crate) use self::http::error_code;
pub(crate) use self::imports::token::types::{self, Account};
pub(crate) use self::instances::Instances;
pub(crate) use self::limits::Limits;
pub(crate) use self::slots::{Slot, Slots};
pub(crate) use self::ticker::{TICK, Ticker};
pub(crate) use self::wit::{
    AgentFlow, AgentSubject, ApiAnswer, Application as Registration, AssertionKind, AuthorityType,
    AuthorizationCode, AuthorizationRequest, BoundFlow, CachePartition, ClientFlow, Context, FederatedUser,
    Flow, ManagedIdentityFlow, ManagedIdentityId, Options, Presented, Refusal, Request, Scheme, SessionStart,
    SignIn, User, UserAssertion, UsernamePassword, Verdict,
};

/// What a guest is asked.
pub(crate) enum Question {
    Acquire(Request),
    Authorize(SignIn),
    StopLongRunningProcess(String),
    Accounts,
    RemoveAccount(String),
    Review(Refusal),
}

impl Question {
    /// The identity that it is for, where the platform gives the token, not the authority.
    fn managed_identity(&self) -> Option<&ManagedIdentityId> {
        match self {
            Self::Acquire(Request { flow: Flow::ForManagedIdentity(flow), .. }) => Some(&flow.identity),
            _ => None,
        }
    }
}

/// What it answers, to a question of the same name.
pub(crate) enum Answer {
    Acquired(Box<Acquired>),
    Authorize(AuthorizationRequest),
    Removed(bool),
    Accounts(Vec<Account>),
    Reviewed(Verdict),
}

/// What a guest answers or why it doesn't, in the generated types.
type RawOutcome = Result<RawAnswer, types::Error>;

/// The same in the generated types.
#[expect(clippy::large_enum_variant, reason = "taken apart as soon as it is made")]
enum RawAnswer {
    Acquired(wit::AccessToken),
    Authorize(AuthorizationRequest),
    Removed(bool),
    Accounts(Vec<Account>),
    Reviewed(Verdict),
}

/// The shipped component.
pub(crate) const COMPONENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/symbolon.wasm"));
/// Where its bytes come from: `source` or `committed`.
pub(crate) const COMPONENT_ORIGIN: &str = env!("SYMBOLON_COMPONENT_ORIGIN");

/// What a guest has beyond the deadline to say what it means for its request, which the transport ends then: a code that was
/// sent may be used up.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// What a guest may have, and how many run at once.
#[derive(Clone, Debug)]
pub(crate) struct EngineLimits {
    pub(crate) max_in_flight: usize,
    /// Nothing for the default.
    pub(crate) max_in_flight_per_application: Option<usize>,
    pub(crate) guest_memory: usize,
    pub(crate) guest_cpu: Duration,
    pub(crate) deadline: Duration,
    pub(crate) managed_identity_deadline: Duration,
}

impl EngineLimits {
    fn per_application(&self) -> usize {
        self.max_in_flight_per_application.unwrap_or_else(|| (self.max_in_flight / 2).max(FEW))
    }
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            max_in_flight: 4096,
            max_in_flight_per_application: None,
            guest_memory: 16 << 20,
            guest_cpu: Duration::from_millis(100),
            deadline: Duration::from_secs(30),
            managed_identity_deadline: Duration::from_secs(90),
        }
    }
}

/// Where the component comes from and where its memory is.
#[derive(Default)]
pub(crate) struct EngineOptions {
    pub(crate) limits: EngineLimits,
    /// Another component than the shipped one.
    pub(crate) component: Option<OtherComponent>,
    /// Memories made on demand by this creator, instead of the pool.
    pub(crate) memory_creator: Option<Arc<dyn MemoryCreator>>,
}

/// A component in the shipped one's place.
pub(crate) enum OtherComponent {
    /// Of the world `symbolon:token/token-acquisition`, as the shipped one.
    Wasi02(Vec<u8>),
    /// Of the world `symbolon:concurrent/token-acquisition`.
    #[cfg(feature = "wasi-p3")]
    Wasi03(Vec<u8>),
}

/// The engine, with the component ready to be instantiated.
pub(crate) struct Engine {
    engine: wasmtime::Engine,
    shell: Shell,
    slots: Slots,
    /// For acquisitions inside others, by depth: who waits here holds a slot further up only, so nobody waits for ever.
    nested_slots: [Arc<Semaphore>; MAX_DEPTH],
    limits: EngineLimits,
    counters: Counters,
    ticker: Ticker,
}

impl Engine {
    pub(crate) fn new(options: EngineOptions) -> Result<Self> {
        let limits = options.limits.clone();
        Self::build(options).map_err(|error| Error::Engine(format!("{error:#}").into())).map(
            |(engine, shell, ticker)| Self {
                engine,
                shell,
                slots: Slots::of_all(limits.max_in_flight),
                nested_slots: std::array::from_fn(|_| Arc::new(Semaphore::new(NESTED_SLOTS))),
                limits,
                counters: Counters::default(),
                ticker,
            },
        )
    }

    fn build(options: EngineOptions) -> wasmtime::Result<(wasmtime::Engine, Shell, Ticker)> {
        let mut config = config::engine_config();
        #[cfg_attr(not(feature = "wasi-p3"), expect(unused_mut, reason = "only the other shell needs more"))]
        let mut stacks = 1;
        #[cfg(feature = "wasi-p3")]
        if matches!(options.component, Some(OtherComponent::Wasi03(_))) {
            concurrent::configure(&mut config);
            stacks = concurrent::STACKS;
        }
        // Code that was compiled ahead of time fits the pool only.
        let own_memory = options.memory_creator.is_some();
        match options.memory_creator {
            Some(creator) => config.with_host_memory(creator).memory_init_cow(false),
            None => config.allocation_strategy(pooling(&options.limits, stacks)),
        };
        let engine = wasmtime::Engine::new(&config)?;
        let shell = match options.component {
            Some(OtherComponent::Wasi02(bytes)) => Shell::wasi_0_2(&Component::new(&engine, bytes)?)?,
            #[cfg(feature = "wasi-p3")]
            Some(OtherComponent::Wasi03(bytes)) => Shell::wasi_0_3(&Component::new(&engine, bytes)?)?,
            None if own_memory => Shell::wasi_0_2(&Component::new(&engine, COMPONENT)?)?,
            None => Shell::wasi_0_2(&shipped_component(&engine)?)?,
        };
        let ticker = Ticker::start(engine.weak())?;
        Ok((engine, shell, ticker))
    }

    /// What it did, and does.
    pub(crate) fn statistics(&self) -> EngineStatistics {
        self.counters.statistics(self.slots.in_flight(), self.limits.max_in_flight)
    }

    /// What an application may have at once.
    pub(crate) fn application_slots(&self) -> Slots {
        Slots::of_one(self.limits.per_application())
    }

    /// The right to renew a token in the background, where not too many are being renewed.
    pub(crate) fn renewal_slot(&self, application: &Inner) -> Option<Slot> {
        application.slots.take_for_renewal(&self.slots)
    }

    /// The time that an acquisition has.
    fn limit(&self, question: &Question) -> Duration {
        match question.managed_identity() {
            Some(_) => self.limits.managed_identity_deadline,
            None => self.limits.deadline,
        }
    }

    /// Asks a guest in an instance of its own.
    ///
    /// When the caller goes away it ends, unless others wait for what it brings.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        application: Arc<Inner>,
        origin: Origin,
        question: Question,
        context: Context,
    ) -> Result<Answer> {
        let slot = application.slots.take(&self.slots)?;
        let deadline = Instant::now() + self.limit(&question);
        let renews = context.proactive_refresh;
        let call = Call::new(application, origin, &question, renews, deadline, 0);
        self.start(call, slot, question, context).await
    }

    /// The same inside another acquisition, which it can't outlive. It has slots of its own.
    pub(crate) async fn ask_inside(
        self: &Arc<Self>,
        application: Arc<Inner>,
        origin: Origin,
        question: Question,
        context: Context,
        outer: &Acquisition,
    ) -> Result<Answer> {
        let limit = self.limit(&question);
        let own = Instant::now() + limit;
        let deadline = outer.deadline().map_or(own, |outer| outer.min(own));
        let late = || Error::DeadlineExceeded { limit };
        let depth = usize::try_from(outer.depth()).unwrap_or(usize::MAX);
        let [.., deepest] = &self.nested_slots;
        let slots = self.nested_slots.get(depth.saturating_sub(1)).unwrap_or(deepest).clone();
        let slot = tokio::time::timeout_at(deadline, slots.acquire_owned()).await.map_err(|_| late())?;
        let slot = slot.map_err(|_| late())?;
        let renews = context.proactive_refresh;
        let call = Call::new(application, origin, &question, renews, deadline, outer.depth());
        self.start(call, slot, question, context).await
    }

    async fn start(
        self: &Arc<Self>,
        call: Arc<Call>,
        slot: impl Send + 'static,
        question: Question,
        context: Context,
    ) -> Result<Answer> {
        // Here it is known how long the guest has.
        let remaining = call.deadline.saturating_duration_since(Instant::now()).as_millis();
        let deadline = context.now.saturating_add(u64::try_from(remaining).unwrap_or(u64::MAX));
        let context = Context { deadline, ..context };
        let (engine, running) = (self.clone(), call.clone());
        let acquisition = async move {
            let _slot = slot;
            engine.run(running, question, context).await
        };
        Running { call, acquisition: Some(Box::pin(acquisition.in_current_span())) }.await
    }

    async fn run(&self, call: Arc<Call>, question: Question, context: Context) -> Result<Answer> {
        let meter = Meter::new(self.limits.guest_cpu);
        let _ticking = self.ticker.watch();
        let acquisition = Box::pin(self.run_in_instance(&call, &meter, &question, &context));
        let end = call.deadline + LAST_WORDS;
        match tokio::time::timeout_at(end, meter.clone().charge(acquisition)).await {
            Ok(Ok(outcome)) => convert::outcome(&call, outcome),
            Ok(Err(failure)) => Err(Error::Guest(failure)),
            Err(_) => Err(Error::DeadlineExceeded { limit: self.limit(&question) }),
        }
    }

    /// In a kept instance where the application keeps any, else in a fresh one. One that failed is never kept.
    async fn run_in_instance(
        &self,
        call: &Arc<Call>,
        meter: &Arc<Meter>,
        question: &Question,
        context: &Context,
    ) -> Result<RawOutcome, GuestFailure> {
        let instances = &call.application.instances;
        let (mut store, guest) = match instances.take() {
            Some(Instance { mut store, guest }) => {
                store.data_mut().begin(call.clone());
                (store, Some(guest))
            }
            None => (self.store(call), None),
        };
        let account = meter.clone();
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| match account.is_exhausted() {
            true => Err(CpuBudgetExhausted.into()),
            false => Ok(UpdateDeadline::Yield(1)),
        });
        let outcome = async {
            let kept = guest.is_some();
            let guest = match guest {
                Some(guest) => guest,
                None => self.shell.instantiate(&mut store).await?,
            };
            self.counters.started(kept);
            call.record(|| Event::InstanceStarted { kept });
            let outcome = guest.ask(&mut store, question, context).await?;
            Ok((guest, outcome))
        };
        match outcome.await {
            Ok((guest, outcome)) => {
                store.data_mut().end();
                instances.put(Instance { store, guest });
                Ok(outcome)
            }
            Err(trap) => {
                let failure = self.failure(&store, &trap);
                self.counters.stopped(&failure);
                call.record(|| Event::InstanceStopped(&failure));
                Err(failure)
            }
        }
    }

    fn store(&self, call: &Arc<Call>) -> Store<State> {
        let mut store = Store::new(&self.engine, State::new(call.clone(), self.limits.guest_memory));
        store.limiter(|state| &mut state.limits);
        store
    }

    fn failure(&self, store: &Store<State>, trap: &wasmtime::Error) -> GuestFailure {
        if trap.is::<CpuBudgetExhausted>() {
            return GuestFailure::CpuBudget { budget: self.limits.guest_cpu };
        }
        if store.data().limits.memory_exceeded {
            return GuestFailure::MemoryLimit { limit: self.limits.guest_memory };
        }
        match trap.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => GuestFailure::StackOverflow,
            Some(trap) => GuestFailure::Trap(trap.to_string().into()),
            None => GuestFailure::Trap(format!("{trap:#}").into()),
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// An acquisition, run by whoever asked for it: handing it to another thread would cost more than a look into the cache. When
/// its caller goes away while it leads a flight, it goes on as a task of its own: for as long as others wait for what it brings,
/// and for a moment in any case, as others may be about to.
struct Running {
    call: Arc<Call>,
    acquisition: Option<Pin<Box<dyn Future<Output = Result<Answer>> + Send>>>,
}

impl Future for Running {
    type Output = Result<Answer>;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        let Some(acquisition) = &mut self.acquisition else { return Poll::Pending };
        let poll = acquisition.as_mut().poll(context);
        if poll.is_ready() {
            self.acquisition = None;
        }
        poll
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let abandoned = self.acquisition.take().filter(|_| self.call.leads());
        if let (Some(acquisition), Ok(runtime)) = (abandoned, tokio::runtime::Handle::try_current()) {
            runtime.spawn(go_on(Arc::clone(&self.call), acquisition));
        }
    }
}

async fn go_on(call: Arc<Call>, mut acquisition: Pin<Box<dyn Future<Output = Result<Answer>> + Send>>) {
    while tokio::time::timeout(ABANDONED, &mut acquisition).await.is_err() && call.is_waited_for() {}
}

/// The guest ran for longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("the CPU budget is exhausted")]
struct CpuBudgetExhausted;

/// For how long an acquisition goes on that nobody waits for: what an authority needs for an answer, which isn't lost then.
const ABANDONED: Duration = Duration::from_secs(1);

/// An application may always have so many under way: where there are few in all, the limit of all is the one that counts.
const FEW: usize = 64;

/// How deep acquisitions go inside each other.
const MAX_DEPTH: usize = 3;

/// How many acquisitions of one depth run at once inside others. What they bring is cached, so few are under way.
const NESTED_SLOTS: usize = 32;

/// How much of an instance's memory is cleared when it ends, not given back to the system, so that the next one there finds
/// its pages: an acquisition takes less.
const KEPT_RESIDENT: usize = 256 << 10;

/// `stacks` is how many of them an instance may need at a time.
fn pooling(limits: &EngineLimits, stacks: u32) -> InstanceAllocationStrategy {
    let instances = limits.max_in_flight.saturating_add(MAX_DEPTH * NESTED_SLOTS);
    let instances = u32::try_from(instances).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(4))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(4))
        .total_stacks(instances.saturating_mul(stacks))
        .max_memory_size(limits.guest_memory)
        .linear_memory_keep_resident(KEPT_RESIDENT)
        .table_elements(1_000)
        .table_keep_resident(KEPT_RESIDENT)
        // Where the system can tell which pages were touched, the others needn't be cleared.
        .pagemap_scan(Enabled::Auto);
    InstanceAllocationStrategy::Pooling(pool)
}

#[cfg(feature = "precompiled")]
fn shipped_component(engine: &wasmtime::Engine) -> wasmtime::Result<Component> {
    const PRECOMPILED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/symbolon.cwasm"));
    // SAFETY: these bytes are what wasmtime's own compiler made of the component when this crate was built, and are part
    // of the executable: whoever can change them can change the executable as well.
    #[expect(unsafe_code, reason = "the only way to load code that was compiled ahead of time")]
    unsafe {
        Component::deserialize(engine, PRECOMPILED)
    }
}

#[cfg(not(feature = "precompiled"))]
fn shipped_component(engine: &wasmtime::Engine) -> wasmtime::Result<Component> {
    Component::new(engine, COMPONENT)
}
