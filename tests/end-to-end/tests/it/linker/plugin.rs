//! A program that embeds wasmtime and runs plugins: what stands between it and the guest is the linker alone.

use std::sync::{Arc, OnceLock};

use symbolon::linker::{GuestCtx, add_to_linker, add_to_linker_sync};
use symbolon_end_to_end::guests;
use wasmtime::component::{Component, InstancePre, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

/// The plugin, ready to be instantiated.
pub(crate) struct Host {
    engine: Engine,
    plugin: InstancePre<State>,
}

/// An instance of the plugin, of a guest of its own.
pub(crate) struct Plugin {
    store: Store<State>,
    run: wasmtime::component::TypedFunc<(Vec<String>,), (Vec<String>,)>,
}

struct State {
    symbolon: GuestCtx,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    hooks: Lenient,
}

/// `None` where the plugin can't be built: the test is skipped then.
pub(crate) fn host() -> Option<&'static Host> {
    static HOST: OnceLock<Option<Host>> = OnceLock::new();
    HOST.get_or_init(|| Host::with(Config::new())).as_ref()
}

impl Host {
    /// A host with an engine of this configuration.
    pub(crate) fn with(config: Config) -> Option<Self> {
        Self::link(config, |linker| {
            wasmtime_wasi::p2::add_to_linker_async(linker)?;
            wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
            add_to_linker(linker, |state| &mut state.symbolon)
        })
    }

    /// One whose stores don't wait.
    pub(crate) fn blocking() -> Option<Self> {
        Self::link(Config::new(), |linker| {
            wasmtime_wasi::p2::add_to_linker_sync(linker)?;
            wasmtime_wasi_http::p2::add_only_http_to_linker_sync(linker)?;
            add_to_linker_sync(linker, |state| &mut state.symbolon)
        })
    }

    fn link(config: Config, add: impl FnOnce(&mut Linker<State>) -> wasmtime::Result<()>) -> Option<Self> {
        let bytes = guests::component("symbolon-plugin-guest")?;
        let engine = Engine::new(&config).expect("an engine");
        let mut linker = Linker::new(&engine);
        add(&mut linker).expect("interfaces");
        let plugin = Component::new(&engine, bytes).and_then(|component| linker.instantiate_pre(&component));
        Some(Self { engine, plugin: plugin.expect("a plugin") })
    }

    pub(crate) async fn plugin(&self, guest: &GuestCtx) -> Plugin {
        let mut store = self.store(guest);
        let instance = self.plugin.instantiate_async(&mut store).await.expect("an instance");
        let run = instance.get_typed_func(&mut store, "run").expect("the function");
        Plugin { store, run }
    }

    pub(crate) fn blocking_plugin(&self, guest: &GuestCtx) -> Plugin {
        let mut store = self.store(guest);
        let instance = self.plugin.instantiate(&mut store).expect("an instance");
        let run = instance.get_typed_func(&mut store, "run").expect("the function");
        Plugin { store, run }
    }

    fn store(&self, guest: &GuestCtx) -> Store<State> {
        let state = State {
            symbolon: guest.clone(),
            wasi: WasiCtx::builder().build(),
            http: WasiHttpCtx::new(),
            table: ResourceTable::new(),
            hooks: Lenient,
        };
        Store::new(&self.engine, state)
    }
}

impl Plugin {
    /// What the plugin says of a step.
    pub(crate) async fn step(&mut self, step: impl Into<String>) -> String {
        self.steps([step.into()]).await.remove(0)
    }

    /// The same of several.
    pub(crate) async fn steps(&mut self, steps: impl Into<Vec<String>>) -> Vec<String> {
        self.run.call_async(&mut self.store, (steps.into(),)).await.expect("the plugin ends well").0
    }

    pub(crate) fn blocking_steps(&mut self, steps: impl Into<Vec<String>>) -> Vec<String> {
        self.run.call(&mut self.store, (steps.into(),)).expect("the plugin ends well").0
    }

    /// Has the same instance be another guest's from now on, as a mistaken host might.
    pub(crate) fn become_guest(&mut self, guest: &GuestCtx) {
        self.store.data_mut().symbolon = guest.clone();
    }

    /// How many resources the instance holds.
    pub(crate) fn resources(&mut self) -> usize {
        self.store.data_mut().table.iter_mut().count()
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// Lets guests make requests with whatever headers, which is for others to refuse, and sends none.
struct Lenient;

type Worker = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Lenient {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|_| false)
    }

    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Worker,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Worker), Error>> + Send> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }
}
