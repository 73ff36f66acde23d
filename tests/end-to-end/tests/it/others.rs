//! Those who speak to the authority without Symbolon: a person's browser, another library.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use symbolon_authority::{Authority, CONTOSO, REDIRECT_URI, sample};
use symbolon_end_to_end::World;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use url::{Position, Url, form_urlencoded};

const LOGIN: &str = "login.microsoftonline.com";

/// Where a browser ends that goes to a URL: at the redirect's target, or at a page that says why there is none.
pub(crate) async fn visit(authority: &Authority, url: &str) -> Result<Url, String> {
    let url = Url::parse(url).expect("a URL");
    assert_eq!(url.host_str(), Some(LOGIN));
    let answer = exchange(authority, &format!("GET {}", &url[Position::BeforePath..]), "").await;
    let location = answer.lines().find_map(|line| line.strip_prefix("location: "));
    location.map(|location| Url::parse(location).expect("a URL")).ok_or(answer)
}

/// The parameters of a URL's query.
pub(crate) fn query(url: &Url) -> HashMap<String, String> {
    url.query_pairs().into_owned().collect()
}

/// A refresh token of the user at the sample web API, as another library got it.
pub(crate) async fn refresh_token(world: &World, user: &str) -> String {
    let settings = world.settings("web-api");
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("client_id", sample::WEB_API)
        .append_pair(
            "client_secret",
            settings["AzureAd"]["ClientCredentials"][0]["ClientSecret"].as_str().expect("a secret"),
        )
        .append_pair("grant_type", "authorization_code")
        .append_pair("code", &world.code(user, sample::WEB_API))
        .append_pair("redirect_uri", REDIRECT_URI)
        .finish();
    let answer = exchange(&world.authority, &format!("POST /{CONTOSO}/oauth2/v2.0/token"), &form).await;
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    body["refresh_token"].as_str().expect("a refresh token").to_owned()
}

/// One request on a connection of its own, and its whole answer.
async fn exchange(authority: &Authority, method_and_path: &str, body: &str) -> String {
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
    let request = format!(
        "{method_and_path} HTTP/1.1\r\nhost: {LOGIN}\r\nconnection: close\r\ncontent-length: {}\r\n\
         content-type: application/x-www-form-urlencoded\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = Vec::new();
    // The end of the connection is the end of the answer, with or without a farewell.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).expect("text")
}
