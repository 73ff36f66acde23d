//! Which servers are trusted, and what is said about the others.

use symbolon_resources::transport::{
    ConnectTo, Presentation, Transport, TransportErrorKind as Kind, TransportOptions, TransportOptionsError,
    TransportShared,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::support::{Application, Authority, PATIENCE, Server, Setup, TLS12_ONLY, TLS13_ONLY, get, policy};

const ALLOWED: &str = "https://other.example.com/contoso.example";

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken() {
    let authority = Authority::new("authority");
    for versions in [TLS12_ONLY, TLS13_ONLY] {
        let server = Server::start(&authority, Setup { versions, ..Setup::default() }).await;
        let answer = Application::new(&authority, &server).get("/").await.unwrap();
        assert_eq!(answer.body(), "/");
    }
}

#[tokio::test]
async fn an_unknown_issuer_is_explained() {
    let (trusted, other) = (Authority::new("trusted"), Authority::new("other"));
    let server = Server::start(&other, Setup::default()).await;
    let error = Application::new(&trusted, &server).get("/").await.unwrap_err();
    assert_eq!((error.kind(), error.request_sent()), (Kind::CertificateUntrusted, false));
    let text = error.to_string();
    let expected = "login.example.com: the server's certificate is not trusted: it was issued by none of the trusted roots (1 from SSL_CERT_FILE = ";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("1 from /") && text.contains("Symbolon:TrustedRoots"), "{text}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_wrong_name_is_explained() {
    let authority = Authority::new("authority");
    let names = vec!["a.example.org".to_owned(), "b.example.org".to_owned()];
    let server = Server::start(&authority, Setup { names, ..Setup::default() }).await;
    let error = Application::new(&authority, &server).get("/").await.unwrap_err();
    assert_eq!((error.kind(), error.request_sent()), (Kind::CertificateName, false));
    let text = error.to_string();
    assert!(text.contains("a.example.org") && text.contains("not for this host"), "{text}");
}

#[tokio::test]
async fn an_expired_certificate_is_explained() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup { expired: true, ..Setup::default() }).await;
    let error = Application::new(&authority, &server).get("/").await.unwrap_err();
    assert_eq!((error.kind(), error.request_sent()), (Kind::CertificateExpired, false));
    let text = error.to_string();
    assert!(text.contains("it expired ") && text.contains(" days ago"), "{text}");
}

#[tokio::test]
async fn without_roots_no_server_is_trusted() {
    let empty = tempfile::tempdir().unwrap();
    let directory = empty.path().display().to_string();
    let shared = TransportShared::new(|name| (name == "SSL_CERT_DIR").then(|| directory.clone())).unwrap();
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup::default()).await;
    let connect_to = ConnectTo::parse([("*.example.com", server.address.to_string().as_str())]).unwrap();
    let options = TransportOptions { connect_to, ..TransportOptions::default() };
    let transport = Transport::new(&shared, policy(ALLOWED), &options).unwrap();
    let error =
        transport.send(get("/"), Presentation::default(), Instant::now() + PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), Kind::CertificateUntrusted);
    assert!(error.to_string().contains("there are no root certificates"), "{error}");
}

#[tokio::test]
async fn no_common_protocol_is_an_alert() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup { alpn: vec![b"spdy/3"], ..Setup::default() }).await;
    let error = Application::new(&authority, &server).get("/").await.unwrap_err();
    // no_application_protocol (RFC 7301 §3.2)
    assert_eq!((error.kind(), error.request_sent()), (Kind::TlsAlert(120), false), "{error}");
}

#[tokio::test]
async fn what_is_no_tls_server_is_a_failed_handshake() {
    let authority = Authority::new("authority");
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            stream.write_all(answer).await.unwrap();
        });
        let connect_to = ConnectTo::parse([("*.example.com", address.as_str())]).unwrap();
        let options = TransportOptions { connect_to, ..TransportOptions::default() };
        let error = Application::in_environment(&authority, options, &[]).get("/").await.unwrap_err();
        assert_eq!((error.kind(), error.request_sent()), (Kind::TlsHandshake, false), "{error}");
    }
}

#[test]
fn a_bad_root_file_stops_the_application_before_its_first_request() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.pem");
    let shared = TransportShared::new(|_| None).unwrap();
    let options = TransportOptions { trusted_roots: vec![missing.clone()], ..TransportOptions::default() };
    let error = Transport::new(&shared, policy(ALLOWED), &options).unwrap_err();
    assert!(
        matches!(&error, TransportOptionsError::TrustedRoots { path, .. } if *path == missing),
        "{error}"
    );
}
