//! Tokens for the guests of any wasmtime host: the world `symbolon:token/token-client`, for an identity that the host chose.
//!
//! A program that runs components of other people adds two interfaces to its linker: `symbolon:token/acquisition`, by which
//! a guest gets tokens, and `symbolon:token/send-authorized`, by which it sends requests with tokens that it can't read.
//! What a guest may have is the host's decision, a [`GuestPolicy`]; who it is, too: the [`Application`](crate::Application)
//! in its [`GuestCtx`]. The guest names neither, and the context that it passes is ignored.
//!
//! ```
//! use symbolon::linker::{GuestCtx, GuestFlow, GuestPolicy, add_to_linker};
//! use symbolon::{AgentIdentity, Application};
//! use wasmtime::component::{Linker, ResourceTable};
//! use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};
//!
//! struct Plugin<H> {
//!     symbolon: GuestCtx,
//!     table: ResourceTable,
//!     http: WasiHttpCtx,
//!     hooks: H,
//! }
//!
//! impl<H: WasiHttpHooks> WasiHttpView for Plugin<H> {
//!     fn http(&mut self) -> WasiHttpCtxView<'_> {
//!         WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
//!     }
//! }
//!
//! fn linker<H: WasiHttpHooks + 'static>(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Plugin<H>>> {
//!     let mut linker = Linker::new(engine);
//!     wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?; // and what else the host offers
//!     add_to_linker(&mut linker, |plugin: &mut Plugin<H>| &mut plugin.symbolon)?;
//!     Ok(linker)
//! }
//!
//! fn guest(application: &Application) -> Result<GuestCtx, Box<dyn std::error::Error>> {
//!     let agent = AgentIdentity::app_only("00001111-aaaa-2222-bbbb-3333cccc4444");
//!     let policy = GuestPolicy::new()
//!         .allow_flow(GuestFlow::ForAgent(agent))
//!         .allow_api("https://graph.microsoft.com", ["https://graph.microsoft.com/.default"])?
//!         .rate(100, std::time::Duration::from_secs(60));
//!     Ok(GuestCtx::new("the plugin's name", application.clone(), policy))
//! }
//! ```
//!
//! What the policy refuses is an error of the call, a warning in the log, and told to the host's [`GuestHooks`]. A guest's own
//! loops and memory are its engine's affair.

mod acquisition;
pub(crate) mod authorization;
mod convert;
mod ctx;
mod hooks;
mod policy;
mod rate;
mod send;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use wasmtime::component::{
    ComponentNamedList, Lift, Linker, LinkerInstance, Lower, Resource, ResourceTable, ResourceType,
};
use wasmtime_wasi::runtime::in_tokio;
use wasmtime_wasi_http::WasiHttpView;

use self::authorization::Authorization;
use self::ctx::Guest;
use crate::engine::{Refusal, SignIn, wit};

pub use self::ctx::GuestCtx;
pub use self::hooks::{GuestAcquisition, GuestHooks, GuestSend};
pub use self::policy::{GuestFlow, GuestPolicy, GuestRefusal, OriginError, TokenForm};

/// Adds the world `symbolon:token/token-client` to a linker, for stores that wait (`call_async`). `ctx` says where a store
/// keeps its guest's context.
///
/// `wasi:io` and `wasi:http/types` are the host's to add, from the crates `wasmtime-wasi` and `wasmtime-wasi-http` of the
/// version that this crate was built with: their resources live in the table of [`WasiHttpView`], and so do sealed tokens. A
/// host that adds no `wasi:http/outgoing-handler` leaves `send-authorized` as the only way out.
///
/// # Errors
///
/// Where the linker has these interfaces already.
pub fn add_to_linker<T: WasiHttpView + 'static>(
    linker: &mut Linker<T>,
    ctx: impl Fn(&mut T) -> &mut GuestCtx + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    add(linker, ctx, Mode::Async)
}

/// The same for stores that don't wait: a call of the guest's blocks its thread, inside the tokio runtime that the thread
/// belongs to, else in one of `wasmtime-wasi`'s own.
///
/// # Errors
///
/// As [`add_to_linker`].
pub fn add_to_linker_sync<T: WasiHttpView + 'static>(
    linker: &mut Linker<T>,
    ctx: impl Fn(&mut T) -> &mut GuestCtx + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    add(linker, ctx, Mode::Sync)
}

/// What [`add_to_linker`] adds, and `symbolon:concurrent/acquisition`, by which guests of WASI 0.3 acquire tokens without
/// holding up what else their instance does. The same policy decides.
///
/// **Experimental**, because wasmtime's WASI 0.3 is: it gets no security fixes in patch releases. Not for production.
///
/// # Errors
///
/// As [`add_to_linker`], and where the engine has no concurrency (`Config::wasm_component_model_async`).
#[cfg(feature = "wasi-p3")]
pub fn add_wasi_p3_to_linker<T: WasiHttpView + 'static>(
    linker: &mut Linker<T>,
    ctx: impl Fn(&mut T) -> &mut GuestCtx + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    add(linker, ctx, Mode::Async)?;
    let instance = linker.instance("symbolon:concurrent/acquisition@0.1.0")?;
    add_acquisition(Functions { instance, ctx, mode: Mode::Async }, Mode::Concurrent)
}

/// Whether calls wait or block.
#[derive(Clone, Copy)]
enum Mode {
    Async,
    Sync,
    /// What else the instance does goes on.
    #[cfg(feature = "wasi-p3")]
    Concurrent,
}

// The interfaces are added by hand, one function at a time: a waiting and a blocking binding of the same types then take no
// second set of them.
fn add<T: WasiHttpView + 'static>(
    linker: &mut Linker<T>,
    ctx: impl Fn(&mut T) -> &mut GuestCtx + Copy + Send + Sync + 'static,
    mode: Mode,
) -> wasmtime::Result<()> {
    let mut types = linker.instance("symbolon:token/types@0.1.0")?;
    types.resource("authorization", ResourceType::host::<Authorization>(), |mut store, handle| {
        store.data_mut().http().table.delete(Resource::<Authorization>::new_own(handle))?;
        Ok(())
    })?;

    let instance = linker.instance("symbolon:token/acquisition@0.1.0")?;
    add_acquisition(Functions { instance, ctx, mode }, mode)?;

    let instance = linker.instance("symbolon:token/send-authorized@0.1.0")?;
    let mut functions = Functions { instance, ctx, mode };
    functions.add(
        "certificate",
        |guest, (): ()| Box::pin(guest.certificate()),
        |certificate, table| {
            Ok(match certificate {
                Ok(certificate) => Ok(table.push(certificate)?),
                Err(error) => Err(error),
            })
        },
    )?;
    functions.instance.func_wrap("send", move |mut store, (request, options, authorization)| {
        let guest = ctx(store.data_mut()).guest().clone();
        let table = store.data_mut().http().table;
        Ok((send::send(&guest, table, request, options, &authorization)?,))
    })
}

/// `acquisition`. `asking` is how those functions are called that may ask the authority.
fn add_acquisition<T, C>(mut functions: Functions<'_, T, C>, asking: Mode) -> wasmtime::Result<()>
where
    T: WasiHttpView + 'static,
    C: Fn(&mut T) -> &mut GuestCtx + Copy + Send + Sync + 'static,
{
    functions.add_in(
        asking,
        "acquire",
        |guest, (request, _): (wit::Request, Option<wit::Context>)| Box::pin(guest.acquire(request)),
        |acquired, table| {
            Ok(match acquired {
                Ok(acquired) => Ok(acquired.into_wit(table)?),
                Err(error) => Err(error),
            })
        },
    )?;
    functions.add_in(
        asking,
        "authorize",
        |guest, (sign_in, _): (SignIn, Option<wit::Context>)| Box::pin(guest.authorize(sign_in)),
        as_it_is,
    )?;
    functions.add("review", |guest, (refusal,): (Refusal,)| Box::pin(guest.review(refusal)), as_it_is)?;
    functions.add(
        "stop-long-running-process",
        |guest, (key, _): (String, Option<wit::Context>)| Box::pin(guest.stop_long_running_process(key)),
        as_it_is,
    )?;
    functions.add("accounts", |guest, (_,): (Option<wit::Context>,)| Box::pin(guest.accounts()), as_it_is)?;
    functions.add(
        "remove-account",
        |guest, (id, _): (String, Option<wit::Context>)| Box::pin(guest.remove_account(id)),
        as_it_is,
    )
}

/// The functions of an interface that wait.
struct Functions<'l, T: 'static, C> {
    instance: LinkerInstance<'l, T>,
    ctx: C,
    mode: Mode,
}

type Called<A> = Pin<Box<dyn Future<Output = A> + Send>>;

impl<T, C> Functions<'_, T, C>
where
    T: WasiHttpView + 'static,
    C: Fn(&mut T) -> &mut GuestCtx + Copy + Send + Sync + 'static,
{
    /// Adds a function. Nothing of the store is held while it waits; `give` puts what came of it into the guest's words.
    fn add<P, A, R>(
        &mut self,
        name: &str,
        call: fn(Arc<Guest>, P) -> Called<A>,
        give: fn(A, &mut ResourceTable) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Send + 'static,
        A: Send + 'static,
        R: Lower + Send + Sync + 'static,
        (R,): ComponentNamedList + Lower,
    {
        self.add_in(self.mode, name, call, give)
    }

    /// The same with a mode of its own.
    fn add_in<P, A, R>(
        &mut self,
        mode: Mode,
        name: &str,
        call: fn(Arc<Guest>, P) -> Called<A>,
        give: fn(A, &mut ResourceTable) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Send + 'static,
        A: Send + 'static,
        R: Lower + Send + Sync + 'static,
        (R,): ComponentNamedList + Lower,
    {
        let ctx = self.ctx;
        match mode {
            Mode::Async => self.instance.func_wrap_async(name, move |mut store, parameters: P| {
                let called = call(ctx(store.data_mut()).guest().clone(), parameters);
                Box::new(async move {
                    let answer = called.await;
                    Ok((give(answer, store.data_mut().http().table)?,))
                })
            }),
            Mode::Sync => self.instance.func_wrap(name, move |mut store, parameters: P| {
                let answer = in_tokio(call(ctx(store.data_mut()).guest().clone(), parameters));
                Ok((give(answer, store.data_mut().http().table)?,))
            }),
            #[cfg(feature = "wasi-p3")]
            Mode::Concurrent => self.instance.func_wrap_concurrent(name, move |store, parameters: P| {
                Box::pin(async move {
                    let guest = store.with(|mut store| ctx(store.data_mut()).guest().clone());
                    let answer = call(guest, parameters).await;
                    store.with(|mut store| Ok((give(answer, store.data_mut().http().table)?,)))
                })
            }),
        }
    }
}

fn as_it_is<A>(answer: A, _: &mut ResourceTable) -> wasmtime::Result<A> {
    Ok(answer)
}
