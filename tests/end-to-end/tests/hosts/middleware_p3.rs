//! The middleware for WASI 0.3 on wasmtime, with tokens from `symbolon::linker`: one instance serves all requests.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use symbolon::linker::{GuestCtx, GuestFlow, GuestPolicy, TokenForm, add_wasi_p3_to_linker};
use symbolon_end_to_end::{GRAPH, engine, guests};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use wasmtime::component::{Accessor, AccessorTask, Component, HasSelf, Linker, Resource, ResourceTable};
use wasmtime::{Config, Engine, Result, Store};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::p3::bindings::http::client::HostWithStore as _;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p3::bindings::{Service, ServicePre};
use wasmtime_wasi_http::{Error, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpView, p3};

use crate::embedded::{Sender, connector};
use crate::middleware::{Stage, get};

#[tokio::test(flavor = "multi_thread")]
async fn it_passes_requests_on_with_a_token() {
    let stage = Stage::start().await;
    let Some(front) = start(&stage, GuestPolicy::new().allow_flow(GuestFlow::ForClient)).await else {
        return;
    };
    stage.it_fails_closed(&front).await;
    let before = stage.token_requests();
    stage.it_forwards(&front).await;
    stage.it_passes_bodies_on(&front).await;
    assert_eq!(stage.token_requests(), before + 1, "the second request finds the token of the first");
    stage.it_answers_challenges(&front).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_host_does_not_allow_is_not_passed_on() {
    let stage = Stage::start().await;
    let Some(front) = start(&stage, GuestPolicy::new()).await else { return };
    let answer = get(&front, "/things").await;
    let body = String::from_utf8_lossy(answer.body()).into_owned();
    assert_eq!((answer.status().as_u16(), body.as_str()), (500, "not_allowed"));
    assert!(stage.api.log().is_empty());
}

/// While one request waits for its answer, others are served.
#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_side_by_side() {
    let stage = Stage::start().await;
    let Some(front) = start(&stage, GuestPolicy::new().allow_flow(GuestFlow::ForClient)).await else {
        return;
    };
    // Whose body doesn't end: its request to the API stays open.
    let (open, body) = mpsc::channel::<Result<hyper::body::Frame<Bytes>, Error>>(1);
    let body = http_body_util::StreamBody::new(futures_util::stream::unfold(body, |mut body| async {
        body.recv().await.map(|frame| (frame, body))
    }));
    let waiting = http::Request::put(format!("{front}/echo")).body(body.boxed()).expect("a request");
    let client =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let waiting = tokio::spawn(client.request(waiting));
    open.send(Ok(hyper::body::Frame::data(Bytes::from_static(b"first ")))).await.expect("it is read");
    for _ in 0..3 {
        assert_eq!(get(&front, "/things").await.status(), 200);
    }
    assert!(!waiting.is_finished(), "it was waiting all the time");
    open.send(Ok(hyper::body::Frame::data(Bytes::from_static(b"last")))).await.expect("it is read");
    drop(open);
    let answer = waiting.await.expect("a task").expect("an answer");
    let echoed = answer.into_body().collect().await.expect("its body").to_bytes();
    assert_eq!(&echoed[..], b"first last");
}

/// What the guest is known by is the host's choice, and so is where its requests go. Where the front is.
async fn start(stage: &Stage, policy: GuestPolicy) -> Option<String> {
    let component = guests::component("symbolon-example-auth-middleware-p3")?;
    let application = stage.world.application(&engine(), "secret");
    let policy = policy.allow_scopes([GRAPH]).token_form(TokenForm::Raw);
    let mut configuration = WasiConfigVariables::new();
    configuration.insert("DownstreamApi:Scopes:0", GRAPH);
    let state = State {
        symbolon: GuestCtx::new("middleware", application, policy),
        next: stage.api.address(),
        table: ResourceTable::new(),
        http: WasiHttpCtx::new(),
        hooks: Sender(connector(&stage.world.path("ca.pem"))),
        configuration,
    };
    let (requests, queue) = mpsc::channel(16);
    tokio::spawn(async move { run(&component, state, queue).await.expect("the middleware runs") });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(serve(listener, requests));
    Some(format!("http://{address}"))
}

struct State {
    symbolon: GuestCtx,
    /// Where the API is.
    next: SocketAddr,
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: Sender,
    configuration: WasiConfigVariables,
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// A request, and where its answer goes.
type Job = (hyper::Request<Incoming>, oneshot::Sender<http::Response<Bytes>>);

async fn serve(listener: TcpListener, requests: mpsc::Sender<Job>) {
    while let Ok((connection, _)) = listener.accept().await {
        let requests = requests.clone();
        let service = service_fn(move |request| {
            let requests = requests.clone();
            async move {
                let (answer, answered) = oneshot::channel();
                requests.send((request, answer)).await.map_err(|_| Error::HttpRequestDenied)?;
                let answer = answered.await.map_err(|_| Error::HttpRequestDenied)?;
                Ok::<_, Error>(answer.map(Full::new))
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
    }
}

/// Serves all requests by one instance.
async fn run(component: &[u8], state: State, mut queue: mpsc::Receiver<Job>) -> Result<()> {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    let engine = Engine::new(&config)?;
    let mut linker = Linker::<State>::new(&engine);
    p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_config::add_to_linker(&mut linker, |state: &mut State| {
        WasiConfig::from(&state.configuration)
    })?;
    add_wasi_p3_to_linker(&mut linker, |state: &mut State| &mut state.symbolon)?;
    linker
        .instance("wasi:http/handler@0.3.0")?
        .func_wrap_concurrent("handle", |store, (request,)| Box::pin(next(store, request)))?;
    let service = ServicePre::new(linker.instantiate_pre(&Component::new(&engine, component)?)?)?;
    let mut store = Store::new(&engine, state);
    let service = std::sync::Arc::new(service.instantiate_async(&mut store).await?);
    store
        .run_concurrent(async move |store| {
            while let Some(job) = queue.recv().await {
                // Only a full table refuses, and then the client sees its connection end.
                let _ = store.spawn(Handling { service: service.clone(), job });
            }
        })
        .await
}

/// The next handler: the API.
async fn next(
    store: &Accessor<State>,
    request: Resource<p3::Request>,
) -> Result<(Result<Resource<p3::Response>, ErrorCode>,)> {
    store.with(|mut store| {
        let State { table, next, .. } = store.data_mut();
        let request = table.get_mut(&request)?;
        request.scheme = Some(http::uri::Scheme::HTTPS);
        request.authority = format!("localhost:{}", next.port()).parse().ok();
        wasmtime::error::Ok(())
    })?;
    match WasiHttp::send(&store.with_getter::<WasiHttp>(State::http), request).await {
        Ok(response) => Ok((Ok(response),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

/// A request that is served.
struct Handling {
    service: std::sync::Arc<Service>,
    job: Job,
}

impl AccessorTask<State, HasSelf<State>> for Handling {
    async fn run(self, store: &Accessor<State>) -> Result<()> {
        let (request, answer) = self.job;
        let request = request.map(|body| body.map_err(Error::from));
        let request =
            store.with(|mut store| p3::Request::from_http(store.data_mut().http().hooks, request).0);
        let response = self.service.handle(store, request).await?;
        let response = response.map_err(|error| wasmtime::Error::msg(format!("{error:?}")))?;
        let response = store.with(|store| response.into_http(store, async { Ok(()) }))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| wasmtime::Error::msg(error.to_string()))?;
        // The client may have gone away.
        let _ = answer.send(http::Response::from_parts(head, body.to_bytes()));
        Ok(())
    }
}
