//! The state of a store: what one instance of the guest has to do with.

use std::sync::Arc;

use wasmtime::component::{HasData, ResourceTable};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView};

use super::bindings::symbolon::token::types;
use super::call::Call;
use super::http::{Outgoing, Way};
use super::limits::Limits;
use super::platform::Keys;
use crate::linker::authorization::Authorization;

/// The state of a store.
pub(super) struct State {
    /// The acquisition that is under way. A kept instance that waits for the next one has none.
    call: Option<Arc<Call>>,
    pub(super) limits: Limits,
    pub(super) table: ResourceTable,
    http: WasiHttpCtx,
    /// Keys that the platform hasn't certified yet.
    pub(super) keys: Keys,
    /// Requests that present no credential, by `wasi:http/outgoing-handler`.
    plain: Outgoing,
    /// The one that presents a credential, by `symbolon:concurrent/transport`.
    #[cfg(feature = "wasi-p3")]
    pub(super) presenting: Outgoing,
}

impl State {
    pub(super) fn new(call: Arc<Call>, memory_limit: usize) -> Self {
        Self {
            limits: Limits::new(memory_limit),
            table: ResourceTable::new(),
            http: WasiHttpCtx::new(),
            keys: Keys::default(),
            plain: Outgoing { call: Some(call.clone()), presentation: None, way: Way::ByUrl },
            #[cfg(feature = "wasi-p3")]
            presenting: Outgoing { call: None, presentation: None, way: Way::ByUrl },
            call: Some(call),
        }
    }

    /// Begins another acquisition, with nothing left of the one before.
    pub(super) fn begin(&mut self, call: Arc<Call>) {
        *self = Self::new(call, self.limits.memory());
    }

    /// Ends an acquisition.
    pub(super) fn end(&mut self) {
        self.table = ResourceTable::new();
        self.keys = Keys::default();
        self.plain.call = None;
        self.call = None;
    }

    /// The acquisition that is under way.
    pub(super) fn call(&self) -> wasmtime::Result<&Arc<Call>> {
        self.call.as_ref().ok_or_else(|| wasmtime::Error::msg("no acquisition is under way"))
    }

    /// The implementation of `wasi:http`, sending without a credential.
    pub(super) fn plain_http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.plain, table: &mut self.table, ctx: &mut self.http }
    }

    /// The implementation of `wasi:http`, sending with what was said by [`present`](Self::present).
    #[cfg(feature = "wasi-p3")]
    pub(super) fn presenting_http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.presenting, table: &mut self.table, ctx: &mut self.http }
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

impl types::Host for State {}

/// The protocol guest makes tokens; it is given no sealed one.
impl types::HostAuthorization for State {
    fn drop(&mut self, handle: wasmtime::component::Resource<Authorization>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
