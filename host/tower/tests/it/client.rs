//! The smallest client of hyper: a new connection for each request.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use symbolon::RequestBody;
use symbolon_authority::Api;
use symbolon_end_to_end::World;
use symbolon_tower::BoxError;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;

#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    tls: Option<(ServerName<'static>, TlsConnector)>,
    requests: Arc<AtomicUsize>,
}

impl Client {
    /// Of HTTP/1.1 over TLS, to an API.
    pub(crate) fn of(world: &World, api: &Api) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        let root =
            CertificateDer::from_pem_slice(world.authority.ca_pem().as_bytes()).expect("a certificate");
        roots.add(root).expect("a root");
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(api.host().to_owned()).expect("a name");
        let tls = Some((name, TlsConnector::from(Arc::new(config))));
        Self { address: api.address(), tls, requests: Arc::default() }
    }

    /// Of HTTP/2 without TLS.
    pub(crate) fn plain_http2(address: SocketAddr) -> Self {
        Self { address, tls: None, requests: Arc::default() }
    }

    /// How many requests it was given.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    async fn send(self, mut request: Request<RequestBody>) -> Result<Response<Incoming>, BoxError> {
        let stream = TcpStream::connect(self.address).await?;
        let Some((name, connector)) = self.tls else {
            let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
            let (mut sender, connection) = handshake?;
            tokio::spawn(connection);
            return Ok(sender.send_request(request).await?);
        };
        let stream = connector.connect(name, stream).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        request.headers_mut().insert(http::header::HOST, host.parse()?);
        *request.uri_mut() =
            request.uri().path_and_query().map_or_else(Uri::default, |path| path.clone().into());
        Ok(sender.send_request(request).await?)
    }
}

impl Service<Request<RequestBody>> for Client {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Box::pin(self.clone().send(request))
    }
}
