//! The shells over the protocol core that the engine can run, one for each WASI, and what they can reach.

use wasmtime::component::{Component, HasData, Linker, ResourceTable};
use wasmtime::{Engine, Result, Store};
use wasmtime_wasi_http::WasiHttp;

use super::bindings::{TokenAcquisition, TokenAcquisitionPre, symbolon as imports};
#[cfg(feature = "wasi-p3")]
use super::concurrent;
use super::state::{HasState, State};
use super::{Context, Question, RawAnswer, RawOutcome, wasi_http};

/// A shell, ready to be instantiated.
pub(super) enum Shell {
    Wasi02(TokenAcquisitionPre<State>),
    #[cfg(feature = "wasi-p3")]
    Wasi03(concurrent::Shell),
}

/// An instance of it.
pub(super) enum Guest {
    Wasi02(TokenAcquisition),
    #[cfg(feature = "wasi-p3")]
    Wasi03(concurrent::Guest),
}

impl Shell {
    pub(super) fn wasi_0_2(component: &Component) -> Result<Self> {
        let instances = linker(component.engine())?.instantiate_pre(component)?;
        Ok(Self::Wasi02(TokenAcquisitionPre::new(instances)?))
    }

    #[cfg(feature = "wasi-p3")]
    pub(super) fn wasi_0_3(component: &Component) -> Result<Self> {
        Ok(Self::Wasi03(concurrent::Shell::new(component)?))
    }

    pub(super) async fn instantiate(&self, store: &mut Store<State>) -> Result<Guest> {
        Ok(match self {
            Self::Wasi02(shell) => Guest::Wasi02(shell.instantiate_async(store).await?),
            #[cfg(feature = "wasi-p3")]
            Self::Wasi03(shell) => Guest::Wasi03(shell.instantiate(store).await?),
        })
    }
}

impl Guest {
    pub(super) async fn ask(
        &self,
        store: &mut Store<State>,
        question: &Question,
        context: &Context,
    ) -> Result<RawOutcome> {
        match self {
            Self::Wasi02(guest) => ask(guest, store, question, context).await,
            #[cfg(feature = "wasi-p3")]
            Self::Wasi03(guest) => guest.ask(store, question, context).await,
        }
    }

    /// Whether it may serve another acquisition when this one is over. A task of WASI 0.3 may outlive the call that began it.
    pub(super) fn may_be_kept(&self) -> bool {
        match self {
            Self::Wasi02(_) => true,
            #[cfg(feature = "wasi-p3")]
            Self::Wasi03(_) => false,
        }
    }
}

async fn ask(
    guest: &TokenAcquisition,
    store: &mut Store<State>,
    question: &Question,
    context: &Context,
) -> Result<RawOutcome> {
    let (guest, context) = (guest.symbolon_token_acquisition(), Some(context));
    Ok(match question {
        Question::Acquire(request) => {
            guest.call_acquire(store, request, context).await?.map(RawAnswer::Acquired)
        }
        Question::Authorize(sign_in) => {
            guest.call_authorize(store, sign_in, context).await?.map(RawAnswer::Authorize)
        }
        Question::StopLongRunningProcess(key) => {
            guest.call_stop_long_running_process(store, key, context).await?.map(RawAnswer::Removed)
        }
        Question::Accounts => guest.call_accounts(store, context).await?.map(RawAnswer::Accounts),
        Question::RemoveAccount(id) => {
            guest.call_remove_account(store, id, context).await?.map(RawAnswer::Removed)
        }
        Question::Review(refusal) => Ok(RawAnswer::Reviewed(guest.call_review(store, refusal).await?)),
    })
}

/// Everything that a guest of WASI 0.2 can reach. What isn't here can't be imported.
fn linker(engine: &Engine) -> Result<Linker<State>> {
    use wasmtime_wasi::p2::bindings::io;

    let mut linker = Linker::new(engine);
    io::error::add_to_linker::<State, HasTable>(&mut linker, |state| &mut state.table)?;
    io::poll::add_to_linker::<State, HasTable>(&mut linker, |state| &mut state.table)?;
    io::streams::add_to_linker::<State, HasTable>(&mut linker, |state| &mut state.table)?;
    wasi_http::types::add_to_linker::<State, WasiHttp>(&mut linker, State::plain_http)?;
    wasi_http::outgoing_handler::add_to_linker::<State, WasiHttp>(&mut linker, State::plain_http)?;
    imports::credentials::transport::add_to_linker::<State, HasState>(&mut linker, |state| state)?;
    add_resources(&mut linker)?;
    Ok(linker)
}

/// What has nothing to do with HTTP, and is the same for both.
pub(super) fn add_resources(linker: &mut Linker<State>) -> Result<()> {
    imports::credentials::provider::add_to_linker::<State, HasState>(linker, |state| state)?;
    imports::credentials::platform::add_to_linker::<State, HasState>(linker, |state| state)?;
    imports::token::types::add_to_linker::<State, HasState>(linker, |state| state)?;
    imports::token::cache::add_to_linker::<State, HasState>(linker, |state| state)?;
    imports::token::facts::add_to_linker::<State, HasState>(linker, |state| state)
}

/// Says that `wasi:io` is implemented by the table of resources.
struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}
