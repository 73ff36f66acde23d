//! What an instance of a plugin has to do with.

use std::sync::Arc;

use symbolon::linker::GuestCtx;
use wasmtime::component::ResourceTable;
use wasmtime::{StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::WasiConfig;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::body::Watched;
use crate::route::Route;
use crate::run::Run;

/// How much memory an instance may have, in bytes.
pub(crate) const MEMORY: usize = 16 << 20;

/// The state of a store.
pub(crate) struct State {
    table: ResourceTable,
    http: WasiHttpCtx,
    /// No files, no environment, no network.
    wasi: Option<WasiCtx>,
    upstream: Upstream,
    /// Who the plugin is.
    pub(crate) guest: GuestCtx,
    pub(crate) limits: StoreLimits,
}

impl State {
    /// For a request on this route.
    pub(crate) fn new(route: Arc<Route>, run: Arc<Run>) -> Self {
        Self {
            table: ResourceTable::new(),
            http: WasiHttpCtx::new(),
            wasi: None,
            guest: route.guest.clone(),
            upstream: Upstream { route, run },
            limits: StoreLimitsBuilder::new().memory_size(MEMORY).build(),
        }
    }

    /// What the plugin is told about its route.
    pub(crate) fn settings(&mut self) -> WasiConfig<'_> {
        WasiConfig::new(&self.upstream.route.settings)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        // Few plugins ask for it.
        let ctx = self.wasi.get_or_insert_with(|| WasiCtx::builder().build());
        WasiCtxView { ctx, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.upstream, table: &mut self.table, ctx: &mut self.http }
    }
}

/// The one place where requests go that present nothing: the API of the route.
struct Upstream {
    route: Arc<Route>,
    run: Arc<Run>,
}

type Worker = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = Result<(http::Response<WasiBody>, Worker), Error>;

impl WasiHttpHooks for Upstream {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _body_outcome: Worker,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        let (route, run) = (self.route.clone(), self.run.clone());
        Box::new(async move {
            let (parts, body) = request.into_parts();
            let body = Watched::new(body, run, &parts.headers, ());
            let answer = route.send(http::Request::from_parts(parts, body)).await?;
            Ok((answer, Box::new(async { Ok(()) }) as Worker))
        })
    }

    /// The transport sets it from the URL.
    fn set_host_header(&mut self) -> bool {
        false
    }
}
