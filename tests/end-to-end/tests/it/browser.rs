//! What a person's browser does of a sign-in.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use symbolon_authority::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use url::{Position, Url};

const LOGIN: &str = "login.microsoftonline.com";

/// Where a browser ends that goes to a URL: at the redirect's target, or at a page that says why there is none.
pub(crate) async fn visit(authority: &Authority, url: &str) -> Result<Url, String> {
    let url = Url::parse(url).expect("a URL");
    assert_eq!(url.host_str(), Some(LOGIN));
    let answer = get(authority, &url[Position::BeforePath..]).await;
    let location = answer.lines().find_map(|line| line.strip_prefix("location: "));
    location.map(|location| Url::parse(location).expect("a URL")).ok_or(answer)
}

/// The parameters of a URL's query.
pub(crate) fn query(url: &Url) -> HashMap<String, String> {
    url.query_pairs().into_owned().collect()
}

/// The whole answer to a request on a connection of its own.
async fn get(authority: &Authority, path: &str) -> String {
    let certificate = CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).expect("the CA");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a root");
    let config = ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(authority.address()).await.expect("a connection");
    let name = ServerName::try_from(LOGIN).expect("a name");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {LOGIN}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = Vec::new();
    // The end of the connection is the end of the answer, with or without a farewell.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).expect("text")
}
