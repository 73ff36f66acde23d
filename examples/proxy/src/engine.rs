//! Running plugins.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};

use anyhow::anyhow;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime_wasi::runtime::spawn;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{Error, WasiHttpView as _};

use crate::body::Watched;
use crate::route::Route;
use crate::run::{Run, TICK};
use crate::state::{MEMORY, State};

/// How many requests are under way at most: each has an instance of its own.
const INSTANCES: u32 = 1_000;

/// How many core modules, memories and tables a component may be made of.
const PARTS: u32 = 8;

/// Loads plugins.
pub(crate) struct Plugins {
    linker: Linker<State>,
    /// Dropped with this, which ends the thread that ticks.
    _ticker: Sender<()>,
}

/// A plugin, ready to be instantiated.
#[derive(Clone)]
pub(crate) struct Plugin {
    component: ProxyPre<State>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// All instances are taken.
    #[error("too many requests are under way")]
    Busy,
    /// The plugin ended without one.
    #[error("the plugin failed: {0:#}")]
    Plugin(wasmtime::Error),
    /// The plugin says that there is none.
    #[error("the plugin gave {0:?}")]
    Code(ErrorCode),
    /// Upstream gave none.
    #[error("{0}")]
    Upstream(Error),
}

impl Plugins {
    pub(crate) fn new() -> wasmtime::Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(INSTANCES)
            .total_core_instances(INSTANCES * PARTS)
            .total_memories(INSTANCES)
            .total_tables(INSTANCES * PARTS)
            .total_stacks(INSTANCES)
            .max_memory_size(MEMORY);
        let mut config = Config::new();
        config
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
            .epoch_interruption(true)
            // A request is a store of its own: nothing runs beside it in there.
            .concurrency_support(false);
        let engine = Engine::new(&config)?;
        let ticker = tick(&engine)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        wasmtime_wasi_config::add_to_linker(&mut linker, State::settings)?;
        symbolon::linker::add_to_linker(&mut linker, |state: &mut State| &mut state.guest)?;
        Ok(Self { linker, _ticker: ticker })
    }

    /// Compiles a component.
    pub(crate) fn load(&self, file: &Path) -> anyhow::Result<Plugin> {
        let component = Component::from_file(self.linker.engine(), file)
            .and_then(|component| ProxyPre::new(self.linker.instantiate_pre(&component)?));
        let component = component.map_err(|error| {
            let accepted = "a component that exports wasi:http/incoming-handler";
            anyhow!("{}: found no plugin ({error:#}); accepted: {accepted}", file.display())
        })?;
        Ok(Plugin { component })
    }
}

/// Moves the epoch forward until the sender is dropped.
fn tick(engine: &Engine) -> std::io::Result<Sender<()>> {
    let (stop, stopped) = channel();
    let engine = engine.clone();
    std::thread::Builder::new().name("ticker".into()).spawn(move || {
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
            engine.increment_epoch();
        }
    })?;
    Ok(stop)
}

/// An answer that a plugin writes. The plugin ends when it is dropped.
pub(crate) type Answer = Response<Watched<HyperOutgoingBody, Box<dyn Send + Unpin>>>;

impl Plugin {
    /// Has an instance of its own handle the request, whose URL is that of upstream.
    pub(crate) async fn handle(
        &self,
        route: &Arc<Route>,
        request: Request<Incoming>,
    ) -> Result<Answer, Failure> {
        let run = Arc::new(Run::default());
        let (sender, answer) = oneshot::channel();
        let running = {
            let (plugin, route, run) = (self.component.clone(), route.clone(), run.clone());
            spawn(async move { run.clone().watch(handle(plugin, route, run, request, sender)).await })
        };
        match answer.await {
            Ok(Ok(answer)) => {
                let (parts, body) = answer.into_parts();
                let body = Watched::new(body, run, &parts.headers, Box::new(running) as _);
                Ok(Response::from_parts(parts, body))
            }
            Ok(Err(code)) => Err(Failure::Code(code)),
            Err(_) => Err(match running.await {
                Err(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => Failure::Busy,
                Err(error) => Failure::Plugin(error),
                Ok(()) => Failure::Plugin(wasmtime::Error::msg("it gave no answer")),
            }),
        }
    }
}

async fn handle(
    plugin: ProxyPre<State>,
    route: Arc<Route>,
    run: Arc<Run>,
    request: Request<Incoming>,
    answer: oneshot::Sender<Result<Response<HyperOutgoingBody>, ErrorCode>>,
) -> wasmtime::Result<()> {
    let scheme = if route.scheme == http::uri::Scheme::HTTP { Scheme::Http } else { Scheme::Https };
    let mut store = Store::new(plugin.engine(), State::new(route, run.clone()));
    let ending = run.begin();
    let (parts, body) = request.into_parts();
    let body = Watched::new(body, run.clone(), &parts.headers, ());
    store.limiter(|state| &mut state.limits);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| run.tick());
    let request = store.data_mut().http().new_incoming_request(scheme, Request::from_parts(parts, body))?;
    let answer = store.data_mut().http().new_response_outparam(answer)?;
    let instance = plugin.instantiate_async(&mut store).await?;
    instance.wasi_http_incoming_handler().call_handle(&mut store, request, answer).await?;
    ending.well();
    Ok(())
}
