//! Servers that count what they see, and an application's transport that trusts them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use symbolon_resources::configuration::ApplicationOptions;
use symbolon_resources::credentials::{Binding, ClientSecret, CredentialDescription, EgressPolicy};
use symbolon_resources::transport::{
    ConnectTo, Presentation, Transport, TransportError, TransportOptions, TransportShared,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// The host that most tests talk to.
pub(crate) const HOST: &str = "login.example.com";

/// Long enough for anything that isn't meant to time out.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A certification authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn issue(
        &self,
        params: CertificateParams,
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    pub(crate) fn binding(&self, name: &str) -> Arc<Binding> {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let (certificate, key) = self.issue(params);
        Arc::new(Binding::from_der(vec![certificate], key).unwrap())
    }

    /// Its certificate in a file that lives as long as the directory.
    pub(crate) fn file(&self) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("authority.pem");
        std::fs::write(&path, &self.pem).unwrap();
        (directory, path)
    }
}

/// Which client certificates a server wants.
#[derive(Clone, Default)]
pub(crate) enum Clients {
    /// It doesn't ask.
    #[default]
    NotAsked,
    /// It refuses a handshake without one of this authority.
    Required(CertificateDer<'static>),
    /// It asks for one of this authority and goes on without.
    Optional(CertificateDer<'static>),
}

/// What a server does with a connection.
#[derive(Clone, Default)]
pub(crate) enum Behaviour {
    /// Answers by path, see [`answer`].
    #[default]
    Http,
    /// Reads a request, writes these bytes and closes the connection.
    Bytes(&'static [u8]),
    /// Reads a request, writes these bytes and keeps silent.
    Silence(&'static [u8]),
}

/// How a server is made.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) names: Vec<String>,
    pub(crate) alpn: Vec<&'static [u8]>,
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
    pub(crate) clients: Clients,
    pub(crate) behaviour: Behaviour,
    pub(crate) expired: bool,
    pub(crate) crypto: Arc<CryptoProvider>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            names: vec!["*.example.com".to_owned(), "localhost".to_owned()],
            alpn: vec![b"http/1.1"],
            versions: rustls::ALL_VERSIONS,
            clients: Clients::default(),
            behaviour: Behaviour::default(),
            expired: false,
            crypto: crypto(),
        }
    }
}

pub(crate) const TLS12_ONLY: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
pub(crate) const TLS13_ONLY: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

pub(crate) fn crypto() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A request as a server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) uri: http::Uri,
    pub(crate) version: http::Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What a server has seen.
#[derive(Default)]
pub(crate) struct Log {
    /// Accepted TCP connections.
    pub(crate) accepted: AtomicUsize,
    /// Connections that ended.
    pub(crate) ended: watch::Sender<usize>,
    /// Completed handshakes: full or resumed, the client's certificate.
    pub(crate) handshakes: Mutex<Vec<(HandshakeKind, Option<CertificateDer<'static>>)>>,
    pub(crate) requests: Mutex<Vec<Seen>>,
}

/// A server on a port of its own, until the test's runtime ends.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) log: Arc<Log>,
}

impl Server {
    pub(crate) async fn start(authority: &Authority, setup: Setup) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let config = Arc::new(server_config(authority, &setup));
        let accept_log = Arc::clone(&log);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accept_log.accepted.fetch_add(1, Ordering::SeqCst);
                let (log, config) = (Arc::clone(&accept_log), Arc::clone(&config));
                let behaviour = setup.behaviour.clone();
                tokio::spawn(async move {
                    serve(stream, config, behaviour, &log).await;
                    log.ended.send_modify(|ended| *ended += 1);
                });
            }
        });
        Self { address, log }
    }

    pub(crate) fn accepted(&self) -> usize {
        self.log.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn handshakes(&self) -> Vec<HandshakeKind> {
        self.log.handshakes.lock().unwrap().iter().map(|(kind, _)| *kind).collect()
    }

    pub(crate) fn clients(&self) -> Vec<Option<CertificateDer<'static>>> {
        self.log.handshakes.lock().unwrap().iter().map(|(_, client)| client.clone()).collect()
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.log.requests.lock().unwrap().clone()
    }

    /// Waits until so many connections have ended, on both sides.
    pub(crate) async fn wait_until_ended(&self, count: usize) {
        let mut ended = self.log.ended.subscribe();
        tokio::time::timeout(PATIENCE, ended.wait_for(|ended| *ended >= count)).await.unwrap().unwrap();
    }
}

fn server_config(authority: &Authority, setup: &Setup) -> ServerConfig {
    let mut params = CertificateParams::new(setup.names.clone()).unwrap();
    if setup.expired {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    }
    let (certificate, key) = authority.issue(params);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&setup.crypto))
        .with_protocol_versions(setup.versions)
        .unwrap();
    let roots_of = |client_authority: &CertificateDer<'static>| {
        let mut roots = RootCertStore::empty();
        roots.add(client_authority.clone()).unwrap();
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&setup.crypto))
    };
    let builder = match &setup.clients {
        Clients::NotAsked => builder.with_no_client_auth(),
        Clients::Required(roots) => builder.with_client_cert_verifier(roots_of(roots).build().unwrap()),
        Clients::Optional(roots) => {
            builder.with_client_cert_verifier(roots_of(roots).allow_unauthenticated().build().unwrap())
        }
    };
    let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = setup.alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

async fn serve(stream: TcpStream, config: Arc<ServerConfig>, behaviour: Behaviour, log: &Arc<Log>) {
    let Ok(mut stream) = tokio_rustls::TlsAcceptor::from(config).accept(stream).await else { return };
    let connection = stream.get_ref().1;
    let client = connection.peer_certificates().and_then(|chain| chain.first()).cloned();
    let http2 = connection.alpn_protocol() == Some(b"h2");
    log.handshakes.lock().unwrap().push((connection.handshake_kind().unwrap(), client));
    let (bytes, stay) = match behaviour {
        Behaviour::Http => {
            let service_log = Arc::clone(log);
            let service = service_fn(move |request| answer(request, Arc::clone(&service_log)));
            let io = TokioIo::new(stream);
            if http2 {
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(io, service).await;
            } else {
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
            }
            return;
        }
        Behaviour::Bytes(bytes) => (bytes, false),
        Behaviour::Silence(bytes) => (bytes, true),
    };
    read_request(&mut stream).await;
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    if stay {
        std::future::pending::<()>().await;
    }
    let _ = stream.shutdown().await;
    // The client closes its side when it has seen the end.
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

/// Reads the head and as much body as it announces.
async fn read_request<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return request;
            }
        }
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return request;
        }
    }
}

/// Answers by path: `/redirect?URL`, `/large?BYTES` (announced), `/chunked?BYTES` (not announced), `/endless` (a byte
/// now and then), `/hang` (nothing), anything else with its own path.
async fn answer(request: Request<Incoming>, log: Arc<Log>) -> Result<Response<Chunks>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
    let http::request::Parts { uri, version, headers, .. } = parts;
    log.requests.lock().unwrap().push(Seen { uri, version, headers, body });
    let response = match path.as_str() {
        "/redirect" => Response::builder()
            .status(307)
            .header("location", &query)
            .body(Chunks::of(["elsewhere"]))
            .unwrap(),
        "/large" => {
            let length: usize = query.parse().unwrap();
            let chunks = Chunks { announced: Some(length), ..Chunks::of([vec![b'x'; length]]) };
            Response::new(chunks)
        }
        "/short" => Response::new(Chunks { announced: Some(10), ..Chunks::of(["half"]) }),
        "/chunked" => {
            let length: usize = query.parse().unwrap();
            Response::new(Chunks::of((0..length.div_ceil(1000)).map(|_| vec![b'x'; 1000])))
        }
        "/endless" => Response::new(Chunks { endless: Some(tick()), ..Chunks::of(["x"]) }),
        "/hang" => std::future::pending().await,
        _ => Response::new(Chunks::of([path])),
    };
    Ok(response)
}

/// A body of a server.
pub(crate) struct Chunks {
    chunks: VecDeque<Bytes>,
    announced: Option<usize>,
    endless: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Chunks {
    fn of<T: Into<Bytes>>(chunks: impl IntoIterator<Item = T>) -> Self {
        Self { chunks: chunks.into_iter().map(Into::into).collect(), announced: None, endless: None }
    }
}

fn tick() -> Pin<Box<tokio::time::Sleep>> {
    Box::pin(tokio::time::sleep(Duration::from_millis(20)))
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(chunk) = self.chunks.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        let Some(sleep) = &mut self.endless else { return Poll::Ready(None) };
        std::task::ready!(sleep.as_mut().poll(context));
        self.endless = Some(tick());
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.announced.map(|length| http_body::SizeHint::with_exact(length as u64)).unwrap_or_default()
    }
}

/// An application that trusts one authority and finds `*.example.com` at one server.
pub(crate) struct Application {
    pub(crate) transport: Transport,
    _roots: tempfile::TempDir,
}

impl Application {
    pub(crate) fn new(authority: &Authority, server: &Server) -> Self {
        Self::with(authority, server, |_| {})
    }

    pub(crate) fn with(
        authority: &Authority,
        server: &Server,
        change: impl FnOnce(&mut TransportOptions),
    ) -> Self {
        let to = server.address.to_string();
        let connect_to = ConnectTo::parse([("*.example.com", to.as_str())]).unwrap();
        let mut options = TransportOptions { connect_to, ..TransportOptions::default() };
        change(&mut options);
        Self::in_environment(authority, options, &[])
    }

    pub(crate) fn in_environment(
        authority: &Authority,
        options: TransportOptions,
        environment: &[(&str, &str)],
    ) -> Self {
        Self::allowing(authority, options, environment, "https://other.example.com/contoso.example")
    }

    /// An application that may send to this authority as well.
    pub(crate) fn allowing(
        authority: &Authority,
        mut options: TransportOptions,
        environment: &[(&str, &str)],
        allowed: &str,
    ) -> Self {
        let (roots, path) = authority.file();
        // Instead of the platform's, so that a test's result is the same everywhere.
        let named = path.display().to_string();
        options.trusted_roots.push(path);
        let shared = TransportShared::new(|name| match name {
            "SSL_CERT_FILE" => Some(named.clone()),
            _ => environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()),
        })
        .unwrap();
        Self { transport: Transport::new(&shared, policy(allowed), &options).unwrap(), _roots: roots }
    }

    /// Sends and reads the whole answer.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
        presentation: Presentation,
    ) -> Result<Response<Bytes>, TransportError> {
        let sent = async {
            let deadline = Instant::now() + PATIENCE;
            let (head, body) = self.transport.send(request, presentation, deadline).await?.into_parts();
            Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        };
        tokio::time::timeout(2 * PATIENCE, sent).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Response<Bytes>, TransportError> {
        self.send(get(path), Presentation::default()).await
    }

    pub(crate) async fn get_bound(
        &self,
        path: &str,
        binding: &Arc<Binding>,
    ) -> Result<Response<Bytes>, TransportError> {
        self.send(get(path), bound(binding)).await
    }
}

/// A request to the host that most tests talk to.
pub(crate) fn get(path: &str) -> Request<Bytes> {
    Request::get(format!("https://{HOST}{path}")).body(Bytes::new()).unwrap()
}

pub(crate) fn bound(binding: &Arc<Binding>) -> Presentation {
    Presentation { certificate: Some(Arc::clone(binding)), secret: None }
}

/// A configuration's policy, which allows the hosts of the tests.
pub(crate) fn policy(allowed: &str) -> Arc<EgressPolicy> {
    let options = ApplicationOptions::builder("11111111-1111-1111-1111-111111111111")
        .authority(format!("https://{HOST}/contoso.example"))
        .allowed_authority(allowed)
        .allowed_authority("https://unreachable.test/contoso.example")
        .credential(CredentialDescription::from_client_secret(ClientSecret::new("unused")))
        .build()
        .unwrap();
    Arc::clone(options.egress())
}
