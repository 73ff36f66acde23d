//! The state of a store: what one instance of the guest has to do with.

use std::sync::Arc;

use wasmtime::component::{HasData, ResourceTable};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView};

use super::bindings::symbolon::token::types;
use super::call::Call;
use super::http::Outgoing;
use super::limits::Limits;

/// The state of a store.
pub(super) struct State {
    pub(super) call: Arc<Call>,
    pub(super) limits: Limits,
    pub(super) table: ResourceTable,
    http: WasiHttpCtx,
    /// Requests that present no credential, by `wasi:http/outgoing-handler`.
    plain: Outgoing,
}

impl State {
    pub(super) fn new(call: Arc<Call>, memory_limit: usize) -> Self {
        Self {
            limits: Limits::new(memory_limit),
            table: ResourceTable::new(),
            http: WasiHttpCtx::new(),
            plain: Outgoing { call: call.clone(), presentation: None },
            call,
        }
    }

    /// The implementation of `wasi:http`, sending without a credential.
    pub(super) fn plain_http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.plain, table: &mut self.table, ctx: &mut self.http }
    }

    /// The implementation of `wasi:http`, sending by other hooks.
    pub(super) fn http_with<'a>(&'a mut self, hooks: &'a mut Outgoing) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView { hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Says that the interfaces of `symbolon:*` are implemented by the state itself.
pub(super) struct HasState;

impl HasData for HasState {
    type Data<'a> = &'a mut State;
}

/// What an `authorization` would hold. This host gives its own protocol guest none.
pub struct Sealed;

impl types::Host for State {}

impl types::HostAuthorization for State {
    fn drop(&mut self, handle: wasmtime::component::Resource<Sealed>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
