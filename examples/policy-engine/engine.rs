//! The engine: each decision in a fresh instance of its application's policy, within a budget, on wasmtime's own terms.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use symbolon::linker::{GuestCtx, add_to_linker};
use wasmtime::component::{
    Component, ComponentType, HasData, InstancePre, Lift, Linker, Lower, ResourceTable,
};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, ResourceLimiter, Store,
    UpdateDeadline,
};
use wasmtime_wasi::p2::bindings::io;
use wasmtime_wasi_http::p2::bindings::{LinkOptions, http::types};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

/// What one instance may have.
pub(crate) const MEMORY: usize = 4 << 20;
/// How often a policy that runs lets others run, and is charged for it.
const TICK: Duration = Duration::from_millis(1);
/// How many ticks a decision may see. Waiting for the API costs one at most.
const TICKS: u32 = 5;
/// How long a decision may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// For how long an application gets no decision whose policy was stopped; twice as long each time, up to the limit.
const SUSPENSION: Duration = Duration::from_millis(200);
const LONGEST_SUSPENSION: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum Behaviour {
    #[component(name = "honest")]
    Honest,
    #[component(name = "spins")]
    Spins,
    #[component(name = "allocates")]
    Allocates,
    #[component(name = "steals")]
    Steals,
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct Settings {
    #[component(name = "agent")]
    pub(crate) agent: String,
    #[component(name = "neighbour")]
    pub(crate) neighbour: String,
    #[component(name = "api")]
    pub(crate) api: String,
    #[component(name = "behaviour")]
    pub(crate) behaviour: Behaviour,
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct Request {
    #[component(name = "method")]
    pub(crate) method: String,
    #[component(name = "caller")]
    pub(crate) caller: String,
}

#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum Decision {
    #[component(name = "allow")]
    Allow,
    #[component(name = "deny")]
    Deny(String),
}

/// Why there is no decision. Whoever asked must take it for a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The policy computed for longer than it may.
    Time,
    /// It wanted more memory than it may have.
    Memory,
    /// It broke off in another way, or came to no end.
    Broken,
    /// It was stopped a short time ago.
    Suspended,
}

/// An application of the engine.
pub(crate) struct Application {
    pub(crate) guest: GuestCtx,
    pub(crate) settings: Settings,
    suspension: Mutex<Suspension>,
}

#[derive(Default)]
struct Suspension {
    until: Option<Instant>,
    length: Duration,
}

pub(crate) struct PolicyEngine {
    engine: Engine,
    policy: InstancePre<State>,
}

impl PolicyEngine {
    /// At most so many decisions at once.
    pub(crate) fn new(policy: &[u8], decisions: u32) -> wasmtime::Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(decisions)
            .total_core_instances(decisions * 4)
            .total_memories(decisions)
            .total_tables(decisions * 4)
            .total_stacks(decisions)
            .max_memory_size(MEMORY);
        let mut config = Config::new();
        config.epoch_interruption(true).concurrency_support(false);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config)?;
        let policy = linker(&engine)?.instantiate_pre(&Component::new(&engine, policy)?)?;
        let ticking = engine.weak();
        std::thread::spawn(move || {
            while let Some(engine) = ticking.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        });
        Ok(Self { engine, policy })
    }

    pub(crate) async fn decide(
        &self,
        application: &Application,
        request: &Request,
    ) -> Result<Decision, Stopped> {
        if application.is_suspended() {
            return Err(Stopped::Suspended);
        }
        let decision = tokio::time::timeout(DEADLINE, self.decide_in_instance(application, request));
        let decision = decision.await.unwrap_or(Err(Stopped::Broken));
        application.note(decision.is_ok());
        decision
    }

    async fn decide_in_instance(
        &self,
        application: &Application,
        request: &Request,
    ) -> Result<Decision, Stopped> {
        let mut store = Store::new(&self.engine, State::new(application.guest.clone()));
        store.limiter(|state| &mut state.limits);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            let state = store.data_mut();
            match state.ticks.checked_sub(1) {
                Some(left) => {
                    state.ticks = left;
                    Ok(UpdateDeadline::Yield(1))
                }
                None => Err(OutOfTime.into()),
            }
        });
        let decided = async {
            let instance = self.policy.instantiate_async(&mut store).await?;
            let decide =
                instance.get_typed_func::<(&Settings, &Request), (Decision,)>(&mut store, "decide")?;
            decide.call_async(&mut store, (&application.settings, request)).await
        };
        match decided.await {
            Ok((decision,)) => Ok(decision),
            Err(trap) if trap.is::<OutOfTime>() => Err(Stopped::Time),
            // A guest whose memory doesn't grow gives up.
            Err(_) if store.data().limits.wanted_more => Err(Stopped::Memory),
            Err(_) => Err(Stopped::Broken),
        }
    }
}

impl Application {
    pub(crate) fn new(guest: GuestCtx, settings: Settings) -> Self {
        Self { guest, settings, suspension: Mutex::default() }
    }

    fn is_suspended(&self) -> bool {
        let suspension = self.suspension.lock().expect("no panic");
        suspension.until.is_some_and(|until| Instant::now() < until)
    }

    fn note(&self, came_to_an_end: bool) {
        let mut suspension = self.suspension.lock().expect("no panic");
        if came_to_an_end {
            *suspension = Suspension::default();
            return;
        }
        let length = (suspension.length * 2).clamp(SUSPENSION, LONGEST_SUSPENSION);
        *suspension = Suspension { until: Some(Instant::now() + length), length };
    }
}

#[derive(Debug)]
struct OutOfTime;

impl std::fmt::Display for OutOfTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the policy's time is over")
    }
}

impl std::error::Error for OutOfTime {}

/// The state of a store.
struct State {
    symbolon: GuestCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: NoOtherWayOut,
    limits: Limits,
    ticks: u32,
}

impl State {
    fn new(symbolon: GuestCtx) -> Self {
        Self {
            symbolon,
            table: ResourceTable::new(),
            http: WasiHttpCtx::new(),
            hooks: NoOtherWayOut,
            limits: Limits { wanted_more: false },
            ticks: TICKS,
        }
    }
}

struct Limits {
    wanted_more: bool,
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let is_granted = desired <= MEMORY;
        self.wanted_more |= !is_granted;
        Ok(is_granted)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= 1_000)
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// Policies have no other way out than `send-authorized`: the linker has no `wasi:http/outgoing-handler`.
struct NoOtherWayOut;

type Worker = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for NoOtherWayOut {
    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Worker,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Worker), Error>> + Send> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }
}

/// Everything that a policy can reach.
fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    io::error::add_to_linker::<State, HasTable>(&mut linker, |state| &mut state.table)?;
    io::poll::add_to_linker::<State, HasTable>(&mut linker, |state| &mut state.table)?;
    io::streams::add_to_linker::<State, HasTable>(&mut linker, |state| &mut state.table)?;
    let options = LinkOptions::default();
    types::add_to_linker::<State, WasiHttp>(&mut linker, &(&options).into(), State::http)?;
    add_to_linker(&mut linker, |state| &mut state.symbolon)?;
    Ok(linker)
}

struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}
