//! The shell for WASI 0.3: the world `symbolon:concurrent/token-acquisition`.
//!
//! What waits is asynchronous there: finding, sending, waiting. Everything else is what the shell for 0.2 has, by the same
//! functions on the same resources.

use wasmtime::component::{
    Accessor, Component, ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Linker,
    Lower, Resource,
};
use wasmtime::{Config, Engine, Error, Result, Store};
use wasmtime_wasi_http::p3::bindings::http::client::{self, HostWithStore as _};
use wasmtime_wasi_http::p3::bindings::http::types::{self as http, ErrorCode, HostRequestWithStore};
use wasmtime_wasi_http::{WasiHttp, p3};

use super::bindings::symbolon::credentials::transport::Presentation;
use super::bindings::symbolon::token::cache::{Found, Lookup};
use super::cache::look_up;
use super::credentials::CredentialHandle;
use super::state::State;
use super::{Account, Context, Question, RawAnswer, RawOutcome, shell, types, wit};

/// What the engine of this shell has beyond that of the other one, which has it turned off for the price of its calls.
pub(super) fn configure(config: &mut Config) {
    config.concurrency_support(true);
    config.wasm_component_model_async(true);
}

/// How many stacks an instance may need at a time: that of a call which waits for a signature, and one for what goes on meanwhile.
pub(super) const STACKS: u32 = 2;

const ACQUISITION: &str = "symbolon:concurrent/acquisition@0.1.0";

/// The shell, ready to be instantiated.
pub(super) struct Shell {
    instances: InstancePre<State>,
    acquisition: ComponentExportIndex,
}

impl Shell {
    pub(super) fn new(component: &Component) -> Result<Self> {
        let instances = linker(component.engine())?.instantiate_pre(component)?;
        let acquisition = component.get_export_index(None, ACQUISITION);
        let acquisition =
            acquisition.ok_or_else(|| Error::msg(format!("the component doesn't export {ACQUISITION}")))?;
        Ok(Self { instances, acquisition })
    }

    pub(super) async fn instantiate(&self, store: &mut Store<State>) -> Result<Guest> {
        let instance = self.instances.instantiate_async(store).await?;
        Ok(Guest { instance, acquisition: self.acquisition })
    }
}

/// An instance of it.
pub(super) struct Guest {
    instance: Instance,
    acquisition: ComponentExportIndex,
}

/// What a function gives that may fail.
type Answer<A> = (Result<A, types::Error>,);

impl Guest {
    pub(super) async fn ask(
        &self,
        store: &mut Store<State>,
        question: &Question,
        context: &Context,
    ) -> Result<RawOutcome> {
        let context = Some(context);
        Ok(match question {
            Question::Acquire(request) => {
                let (acquired,): Answer<wit::AccessToken> =
                    self.call(store, "acquire", (request, context)).await?;
                acquired.map(RawAnswer::Acquired)
            }
            Question::Authorize(sign_in) => {
                let (begun,): Answer<wit::AuthorizationRequest> =
                    self.call(store, "authorize", (sign_in, context)).await?;
                begun.map(RawAnswer::Authorize)
            }
            Question::StopLongRunningProcess(key) => {
                let (stopped,): Answer<bool> =
                    self.call(store, "stop-long-running-process", (&**key, context)).await?;
                stopped.map(RawAnswer::Removed)
            }
            Question::Accounts => {
                let (accounts,): Answer<Vec<Account>> = self.call(store, "accounts", (context,)).await?;
                accounts.map(RawAnswer::Accounts)
            }
            Question::RemoveAccount(id) => {
                let (removed,): Answer<bool> = self.call(store, "remove-account", (&**id, context)).await?;
                removed.map(RawAnswer::Removed)
            }
            Question::Review(refusal) => {
                let (verdict,): (wit::Verdict,) = self.call(store, "review", (refusal,)).await?;
                Ok(RawAnswer::Reviewed(verdict))
            }
        })
    }

    async fn call<P, R>(&self, store: &mut Store<State>, name: &str, parameters: P) -> Result<R>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let function = self.instance.get_export_index(&mut *store, Some(&self.acquisition), name);
        let function = function.ok_or_else(|| Error::msg(format!("{ACQUISITION} has no {name}")))?;
        let function = self.instance.get_typed_func::<P, R>(&mut *store, &function)?;
        function.call_async(store, parameters).await
    }
}

/// Everything that such a guest can reach. What isn't here can't be imported.
fn linker(engine: &Engine) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    http::add_to_linker::<State, WasiHttp>(&mut linker, State::plain_http)?;
    client::add_to_linker::<State, WasiHttp>(&mut linker, State::plain_http)?;
    shell::add_resources(&mut linker)?;
    let mut cache = linker.instance("symbolon:concurrent/cache@0.1.0")?;
    cache.func_wrap_concurrent("find", |store, (lookup,): (Lookup,)| Box::pin(find(store, lookup)))?;
    let mut transport = linker.instance("symbolon:concurrent/transport@0.1.0")?;
    transport.func_wrap_concurrent("send", |store, (request, credential, how)| {
        Box::pin(send(store, request, credential, how))
    })?;
    transport.func_wrap_concurrent("wait", |store, (duration_ms,): (u64,)| {
        Box::pin(async move {
            let call = store.with(|mut store| store.data_mut().call().cloned())?;
            Ok((call.wait(duration_ms).await,))
        })
    })?;
    Ok(linker)
}

async fn find(store: &Accessor<State>, lookup: Lookup) -> Result<(Found,)> {
    let call = store.with(|mut store| store.data_mut().call().cloned())?;
    let found = look_up(&call, &lookup).await;
    store.with(|mut store| Ok((store.data_mut().found(found)?,)))
}

async fn send(
    store: &Accessor<State>,
    request: Resource<p3::Request>,
    credential: Resource<CredentialHandle>,
    how: Presentation,
) -> Result<(Result<Resource<p3::Response>, ErrorCode>,)> {
    let presented = store.with(|mut store| store.data_mut().present(&credential, how))?;
    let store = store.with_getter::<WasiHttp>(State::presenting_http);
    if !presented {
        store.with(|store| <WasiHttp as HostRequestWithStore<State>>::drop(store, request))?;
        return Ok((Err(ErrorCode::HttpRequestDenied),));
    }
    // Nothing comes between the two: what is presented is taken before this waits for the first time.
    match WasiHttp::send(&store, request).await {
        Ok(response) => Ok((Ok(response),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}
