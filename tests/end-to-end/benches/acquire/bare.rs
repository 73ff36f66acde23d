//! The least that a client can do: the same form to the same endpoint over a kept connection, the answer parsed as JSON.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) struct Client {
    client: hyper_util::client::legacy::Client<Connector, Full<Bytes>>,
    url: http::Uri,
    form: Bytes,
}

impl Client {
    pub(crate) fn new(settings: &serde_json::Value, secret: &str) -> Self {
        let roots_file = settings["Symbolon"]["TrustedRoots"][0].as_str().unwrap();
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(roots_file).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (_, address) = settings["Symbolon"]["ConnectTo"].as_object().unwrap().iter().next().unwrap();
        let connector = Connector {
            tls: TlsConnector::from(Arc::new(config)),
            address: address.as_str().unwrap().parse().unwrap(),
        };
        let tenant = settings["AzureAd"]["TenantId"].as_str().unwrap();
        let client_id = settings["AzureAd"]["ClientId"].as_str().unwrap();
        let secret = secret.replace(' ', "+");
        Self {
            client: hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector),
            url: format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token").parse().unwrap(),
            form: format!(
                "client_id={client_id}&client_secret={secret}&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default&grant_type=client_credentials&client_info=2"
            )
            .into(),
        }
    }

    pub(crate) async fn token(&self) {
        let request = http::Request::post(self.url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(Full::new(self.form.clone()))
            .unwrap();
        let response = self.client.request(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert!(answer["access_token"].is_string(), "{answer}");
    }
}

#[derive(Clone)]
struct Connector {
    tls: TlsConnector,
    address: SocketAddr,
}

impl tower_service::Service<http::Uri> for Connector {
    type Response = Stream;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: http::Uri) -> Self::Future {
        let Self { tls, address } = self.clone();
        Box::pin(async move {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from(url.host().unwrap().to_owned()).unwrap();
            Ok(Stream(TokioIo::new(tls.connect(name, tcp).await?)))
        })
    }
}

pub(crate) struct Stream(TokioIo<TlsStream<TcpStream>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
