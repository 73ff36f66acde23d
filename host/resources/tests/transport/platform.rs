//! The way to the platform's own endpoints: exactly those, in the clear where they are so, and never through a proxy.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use symbolon_resources::credentials::ClientSecret;
use symbolon_resources::platform::Platform;
use symbolon_resources::transport::{
    ConnectTo, Place, Presentation, Transport, TransportError, TransportErrorKind as Kind, TransportOptions,
    TransportShared,
};
use tokio::time::Instant;

use crate::support::{Authority, PATIENCE, Server, Setup, TLS12_ONLY, TLS13_ONLY};

const SECRET: &str = "canary";

fn plain() -> Setup {
    Setup { plain: true, ..Setup::default() }
}

/// The way to the platform that these variables describe, in an environment with a proxy at which nothing listens.
fn transport(variables: &[(&str, &str)], options: &TransportOptions) -> Transport {
    let find = |name: &str| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let shared = TransportShared::new(|name| match name {
        "HTTPS_PROXY" => Some("http://127.0.0.1:1".to_owned()),
        other => find(other),
    });
    Transport::to_platform(&shared.unwrap(), &Platform::read(find), options).unwrap()
}

async fn send(
    transport: &Transport,
    request: Request<Bytes>,
    presentation: Presentation,
) -> Result<Response<Bytes>, TransportError> {
    let (head, body) = transport.send(request, presentation, Instant::now() + PATIENCE).await?.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

async fn get(transport: &Transport, url: &str) -> Result<Response<Bytes>, TransportError> {
    send(transport, Request::get(url).body(Bytes::new()).unwrap(), Presentation::default()).await
}

#[tokio::test]
async fn an_endpoint_that_the_environment_names_is_asked_in_the_clear() {
    let server = Server::start(&Authority::new("unused"), plain()).await;
    let endpoint = format!("http://{}/msi/token", server.address);
    let transport = transport(&[("IDENTITY_ENDPOINT", &endpoint)], &TransportOptions::default());
    let url = format!("{endpoint}?api-version=2019-08-01&resource=r");
    let request = Request::get(&url).header("X-IDENTITY-HEADER", "").body(Bytes::new()).unwrap();
    let place = Place::Header("X-IDENTITY-HEADER".to_owned());
    let presentation = Presentation { certificate: None, secret: Some((place, ClientSecret::new(SECRET))) };
    assert_eq!(send(&transport, request, presentation).await.unwrap().body(), "/msi/token");
    let [seen] = &server.requests()[..] else { panic!("one request") };
    assert_eq!((seen.method.as_str(), seen.uri.query()), ("GET", Some("api-version=2019-08-01&resource=r")));
    assert_eq!(seen.headers["x-identity-header"], SECRET);
    assert_eq!(seen.headers["host"], server.address.to_string());
    assert!(!seen.headers.contains_key("content-length") && seen.body.is_empty());
}

#[tokio::test]
async fn a_scheme_goes_before_the_secret() {
    let server = Server::start(&Authority::new("unused"), plain()).await;
    let endpoint = format!("http://{}", server.address);
    let transport = transport(&[("MSI_ENDPOINT", &endpoint)], &TransportOptions::default());
    let request = Request::get(&endpoint).header("authorization", "Basic ").body(Bytes::new()).unwrap();
    let place = Place::Header("authorization".to_owned());
    let presentation = Presentation { certificate: None, secret: Some((place, ClientSecret::new(SECRET))) };
    send(&transport, request, presentation).await.unwrap();
    assert_eq!(server.requests()[0].headers["authorization"], "Basic canary");
}

#[tokio::test]
async fn only_exact_origins_are_asked() {
    let variables = [
        ("IDENTITY_ENDPOINT", "http://localhost:1/x"),
        ("IMDS_ENDPOINT", "http://other.test"),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "https://[::1]:8443/y"),
        ("MSI_ENDPOINT", "not a url"),
    ];
    let transport = transport(&variables, &TransportOptions::default());
    let allows = |url: &str| transport.allows(&url.parse().unwrap());
    for url in
        ["http://localhost:1/", "http://LOCALHOST:1/z?q", "https://[::1]:8443/", "http://169.254.169.254/m"]
    {
        assert!(allows(url), "{url}");
    }
    for url in [
        "https://localhost:1/",
        "http://localhost:2/",
        "http://localhost/",
        "http://127.0.0.1:1/",
        "http://other.test/",
        "http://[::1]:8443/",
        "https://169.254.169.254/",
        "http://169.254.169.254:8080/",
        "http://user@localhost:1/",
    ] {
        assert!(!allows(url), "{url}");
    }
    let error = get(&transport, "http://other.test/").await.unwrap_err();
    assert_eq!((error.kind(), error.request_sent()), (Kind::PolicyRefused, false));
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let server = Server::start(&Authority::new("unused"), plain()).await;
    let endpoint = format!("http://{}", server.address);
    let transport = transport(&[("MSI_ENDPOINT", &endpoint)], &TransportOptions::default());
    let answer = get(&transport, &format!("{endpoint}/redirect?{endpoint}/elsewhere")).await.unwrap();
    assert_eq!((answer.status().as_u16(), server.requests().len()), (307, 1));
}

#[tokio::test]
async fn the_metadata_service_can_be_stood_in_for() {
    let server = Server::start(&Authority::new("unused"), plain()).await;
    let to = server.address.to_string();
    let connect_to = ConnectTo::parse([("169.254.169.254", to.as_str())]).unwrap();
    let options = TransportOptions { connect_to, ..TransportOptions::default() };
    get(&transport(&[], &options), "http://169.254.169.254/metadata").await.unwrap();
    assert_eq!(server.requests()[0].headers["host"], "169.254.169.254");
}

/// The variables of Service Fabric.
fn fabric<'a>(endpoint: &'a str, thumbprint: &'a str) -> [(&'a str, &'a str); 3] {
    [("IDENTITY_ENDPOINT", endpoint), ("IDENTITY_HEADER", SECRET), ("IDENTITY_SERVER_THUMBPRINT", thumbprint)]
}

fn thumbprint(server: &Server) -> String {
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &server.certificate);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

#[tokio::test]
async fn service_fabric_is_known_by_its_thumbprint_alone() {
    for versions in [TLS12_ONLY, TLS13_ONLY] {
        // Issued by nobody, for another name, and expired.
        let setup = Setup { names: vec!["x.test".to_owned()], expired: true, versions, ..Setup::default() };
        let server = Server::start(&Authority::new("nobody"), setup).await;
        let (endpoint, thumbprint) = (format!("https://{}", server.address), thumbprint(&server));
        for thumbprint in [thumbprint.clone(), format!(" {} ", thumbprint.to_ascii_lowercase())] {
            let transport = transport(&fabric(&endpoint, &thumbprint), &TransportOptions::default());
            get(&transport, &endpoint).await.unwrap();
        }
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_server_with_another_thumbprint_is_refused_though_its_issuer_is_trusted() {
    let authority = Authority::new("trusted");
    let server =
        Server::start(&authority, Setup { names: vec!["127.0.0.1".to_owned()], ..Setup::default() }).await;
    let endpoint = format!("https://{}", server.address);
    let (_directory, roots) = authority.file();
    let options = TransportOptions { trusted_roots: vec![roots], ..TransportOptions::default() };

    let mut other = thumbprint(&server);
    other.replace_range(..1, if other.starts_with('0') { "1" } else { "0" });
    for thumbprint in [other.as_str(), "AB", "?"] {
        let transport = transport(&fabric(&endpoint, thumbprint), &options);
        let error = get(&transport, &endpoint).await.unwrap_err();
        assert_eq!((error.kind(), error.request_sent()), (Kind::CertificateInvalid, false));
        assert!(error.to_string().contains("IDENTITY_SERVER_THUMBPRINT"), "{error}");
    }
    // App Service's endpoint is trusted by its issuer.
    let [endpoint_of_app_service, header, _] = fabric(&endpoint, "");
    get(&transport(&[endpoint_of_app_service, header], &options), &endpoint).await.unwrap();
    assert_eq!(server.requests().len(), 1);
}
