//! wasmtime as people embed it: its crates for WASI, `wasi:http`, `wasi:config` and `wasi:keyvalue`, and a sender that
//! trusts the authority's CA. Every request has an instance of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use symbolon_compose::Absent;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};
use wasmtime_wasi_keyvalue::{WasiKeyValue, WasiKeyValueCtx};

use crate::middleware::{Credential, Settings, Stage, get, joined};

#[tokio::test]
async fn it_forwards_with_a_secret_from_the_configuration() {
    let stage = Stage::start().await;
    let Some(host) = Host::start(&stage, stage.settings(Credential::Secret), &[], vec![]).await else {
        return;
    };
    stage.it_fails_closed(&host.front()).await;
    stage.it_forwards(&host.front()).await;
    stage.it_passes_bodies_on(&host.front()).await;
    stage.it_answers_challenges(&host.front()).await;
    let request = stage.world.token_requests().pop().expect("a token request");
    assert_eq!(request.form_names().filter(|name| *name == "client_secret").count(), 1);
}

#[tokio::test]
async fn it_takes_a_secret_from_a_store() {
    let stage = Stage::start().await;
    const NAME: &str = "AzureAd:ClientCredentials:0:ClientSecret";
    let mut settings = stage.settings(Credential::Secret);
    let at = settings.iter().position(|(name, _)| name.replace("__", ":") == NAME).expect("the secret");
    let (_, secret) = settings.remove(at);
    settings.push(("Symbolon__SecretsBucket".into(), "secrets".into()));
    let stored = vec![(NAME.to_owned(), secret)];
    let Some(host) = Host::start(&stage, settings, &[], stored).await else { return };
    stage.it_forwards(&host.front()).await;
}

#[tokio::test]
async fn it_signs_in_its_own_sandbox() {
    let stage = Stage::start().await;
    let settings = stage.settings(Credential::Certificate);
    let Some(host) = Host::start(&stage, settings, &[], vec![]).await else { return };
    stage.it_forwards(&host.front()).await;
    let request = stage.world.token_requests().pop().expect("a token request");
    assert!(request.form_names().any(|name| name == "client_assertion"));
}

#[tokio::test]
async fn it_reads_an_assertion_file_anew() {
    let stage = Stage::start().await;
    let settings = stage.settings(Credential::AssertionFile);
    let Some(host) = Host::start(&stage, settings, &[], vec![]).await else { return };
    stage.it_forwards(&host.front()).await;
    let file = stage.world.path("federated-assertion.jwt");
    std::fs::rename(&file, stage.world.path("elsewhere.jwt")).expect("the file");
    let before = stage.api.log().len();
    let answer = get(&host.front(), "/things").await;
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (500, &b"credential_unavailable"[..]));
    assert_eq!(stage.api.log().len(), before);
}

/// As on a host that doesn't trust the authority's CA.
#[tokio::test]
async fn it_reaches_the_authority_by_a_gateway() {
    let stage = Stage::start().await;
    let gateway = gateway(&stage, stage.world.authority.address()).await;
    let mut settings = stage.settings(Credential::Secret);
    settings.push(("Symbolon__Gateway".into(), format!("http://{gateway}")));
    let Some(host) = Host::start(&stage, settings, &[], vec![]).await else { return };
    stage.it_forwards(&host.front()).await;
    let request = stage.world.token_requests().pop().expect("a token request");
    assert!(request.form_names().any(|name| name == "client_secret"));
}

/// Passes requests on to a server of the stage, over TLS.
pub(crate) async fn gateway(stage: &Stage, to: SocketAddr) -> SocketAddr {
    let tls = connector(&stage.world.path("ca.pem"));
    let authority = format!("localhost:{}", to.port());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let (tls, authority) = (tls.clone(), authority.clone());
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let (mut head, body) = request.into_parts();
                let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
                let url = format!("https://{authority}{target}");
                head.uri = url.parse().expect("a URL");
                head.headers.insert("host", authority.parse().expect("a host"));
                let body = body.map_err(Error::from).boxed_unsync();
                sent(tls.clone(), http::Request::from_parts(head, body))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
        }
    });
    address
}

/// The configuration is the environment there, and a token lives as long as the instance.
#[tokio::test]
async fn it_does_without_configuration_and_store() {
    let stage = Stage::start().await;
    let absent = [Absent::Config, Absent::Keyvalue];
    let Some(host) = Host::start(&stage, stage.settings(Credential::Secret), &absent, vec![]).await else {
        return;
    };
    stage.it_forwards(&host.front()).await;
    stage.it_forwards(&host.front()).await;
    assert_eq!(stage.token_requests(), 2);
}

#[tokio::test]
async fn what_is_configured_wrongly_is_not_forwarded() {
    let stage = Stage::start().await;
    for (name, value, code) in [
        ("Symbolon__CachKey", "x", "invalid_configuration"),
        ("DownstreamApi__BaseUrl", "http://api.contoso.test", "invalid_configuration"),
        ("AzureAd__ClientId", "", "invalid_configuration"),
        ("AzureAd__ClientCredentials__0__SourceType", "KeyVault", CREDENTIALS_MISSING),
        ("AzureAd__ClientCredentials__0__UseBoundCredential", "true", CREDENTIALS_MISSING),
        ("Symbolon__CacheBucket", "tokens", CREDENTIALS_MISSING),
        ("Symbolon__Gateway", "http://gateway.contoso.test:80", CREDENTIALS_MISSING),
    ] {
        let mut settings = stage.settings(Credential::Secret);
        settings.retain(|(known, _)| known != name);
        settings.push((name.into(), value.into()));
        let Some(host) = Host::start(&stage, settings, &[], vec![]).await else { return };
        let answer = get(&host.front(), "/things").await;
        let body = String::from_utf8_lossy(answer.body()).into_owned();
        assert_eq!((answer.status().as_u16(), body.as_str()), (500, code), "{name}");
    }
    assert!(stage.api.log().is_empty());
    assert_eq!(stage.token_requests(), 0);
}

const CREDENTIALS_MISSING: &str = "Client_Credentials_Required_In_Confidential_Client_Application";

/// A server that runs the component.
struct Host {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    pre: ProxyPre<State>,
    settings: Settings,
    stored: Vec<(String, String)>,
    directory: std::path::PathBuf,
    has_configuration: bool,
    tls: TlsConnector,
}

struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Sender,
    configuration: WasiConfigVariables,
    store: WasiKeyValueCtx,
}

/// Sends requests over TLS, to whom the authority's CA has certified.
pub(crate) struct Sender(pub(crate) TlsConnector);

impl Host {
    async fn start(
        stage: &Stage,
        settings: Settings,
        absent: &[Absent],
        stored: Vec<(String, String)>,
    ) -> Option<Self> {
        let component = compiled(absent)?;
        let mut linker = Linker::<State>::new(component.engine());
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI");
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).expect("wasi:http");
        let has_configuration = !absent.contains(&Absent::Config);
        if has_configuration {
            wasmtime_wasi_config::add_to_linker(&mut linker, |state: &mut State| {
                WasiConfig::from(&state.configuration)
            })
            .expect("wasi:config");
        }
        if !absent.contains(&Absent::Keyvalue) {
            wasmtime_wasi_keyvalue::add_to_linker(&mut linker, |state: &mut State| {
                WasiKeyValue::new(&state.store, &mut state.table)
            })
            .expect("wasi:keyvalue");
        }
        let pre = ProxyPre::new(linker.instantiate_pre(&component).expect("all imports")).expect("a handler");
        let directory = stage.world.path("");
        let tls = connector(&stage.world.path("ca.pem"));
        let shared = Arc::new(Shared { pre, settings, stored, directory, has_configuration, tls });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        Some(Self { address, task: tokio::spawn(serve(listener, shared)) })
    }

    fn front(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((connection, _)) = listener.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(shared.clone(), request));
            // What the client sees of it is enough.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> wasmtime::Result<hyper::Response<HyperOutgoingBody>> {
    let mut store = Store::new(shared.pre.engine(), shared.state());
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
    let out = store.data_mut().http().new_response_outparam(sender)?;
    let handled = tokio::spawn(async move {
        let proxy = shared.pre.instantiate_async(&mut store).await?;
        proxy.wasi_http_incoming_handler().call_handle(store, request, out).await
    });
    match receiver.await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(handled.await.expect("the task ends").expect_err("a trap")),
    }
}

impl Shared {
    fn state(&self) -> State {
        let mut wasi = WasiCtx::builder();
        let directory = self.directory.display().to_string();
        wasi.preopened_dir(&self.directory, directory, FsPerms::ReadOnly).expect("the directory");
        let mut configuration = WasiConfigVariables::new();
        for (name, value) in &self.settings {
            if self.has_configuration {
                configuration.insert(name.replace("__", ":"), value);
            } else {
                wasi.env(name, value);
            }
        }
        State {
            table: ResourceTable::new(),
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            hooks: Sender(self.tls.clone()),
            configuration,
            store: WasiKeyValueCtx::builder().in_memory_data(self.stored.clone()).build(),
        }
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

type Worker = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Sender {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Worker,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Worker), Error>> + Send> {
        let tls = self.0.clone();
        Box::new(async move {
            let response =
                sent(tls, request).await.map_err(|error| Error::InternalError(Some(error.to_string())))?;
            Ok((response, Box::new(async { Ok(()) }) as Worker))
        })
    }
}

/// What HTTP is spoken on.
trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<C: AsyncRead + AsyncWrite + Unpin + Send> Connection for C {}

async fn sent(
    tls: TlsConnector,
    request: http::Request<WasiBody>,
) -> Result<http::Response<WasiBody>, Box<dyn std::error::Error + Send + Sync>> {
    let authority = request.uri().authority().ok_or("no authority")?.clone();
    let connection = TcpStream::connect(authority.as_str()).await?;
    let connection: Box<dyn Connection> = match request.uri().scheme_str() {
        Some("https") => {
            Box::new(tls.connect(ServerName::try_from(authority.host().to_owned())?, connection).await?)
        }
        _ => Box::new(connection),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await?;
    tokio::spawn(connection);
    // On a connection of HTTP/1.1 the target is the path.
    let (mut head, body) = request.into_parts();
    head.uri = head.uri.path_and_query().ok_or("no path")?.as_str().parse()?;
    let response = sender.send_request(http::Request::from_parts(head, body)).await?;
    Ok(response.map(|body| body.map_err(Error::from).boxed_unsync()))
}

/// Compiled once for all tests.
fn compiled(absent: &[Absent]) -> Option<Component> {
    static ALL: OnceLock<Option<Component>> = OnceLock::new();
    static SOME: OnceLock<Option<Component>> = OnceLock::new();
    let compiled = if absent.is_empty() { &ALL } else { &SOME };
    let compile = || Some(Component::new(&Engine::default(), joined(absent)?).expect("a component"));
    compiled.get_or_init(compile).clone()
}

pub(crate) fn connector(ca: &Path) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("the CA's certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}
