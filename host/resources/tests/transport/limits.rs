//! Every request ends in an answer that is complete, or in an error that says why not.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use symbolon_resources::transport::{
    ConnectStep, ConnectTo, Phase, Presentation, TransportErrorKind as Kind, TransportOptions,
};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::support::{Application, Authority, Behaviour, PATIENCE, Server, Setup, get};

const SHORT: Duration = Duration::from_millis(200);

fn short_attempts(options: &mut TransportOptions) {
    options.attempt_timeout = SHORT;
}

#[tokio::test]
async fn a_host_outside_the_configuration_is_not_even_connected_to() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup::default()).await;
    let application = Application::new(&authority, &server);
    for url in [
        "https://evil.example.com/",
        "https://login.example.com:8443/",
        "http://login.example.com/",
        "https://login.example.com.evil.example.com/",
    ] {
        let request = Request::get(url).body(Bytes::new()).unwrap();
        let error = application.send(request, Presentation::default()).await.unwrap_err();
        assert_eq!((error.kind(), error.request_sent()), (Kind::PolicyRefused, false), "{url}");
    }
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn a_request_that_is_not_the_callers_to_send_is_refused() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup::default()).await;
    let application = Application::new(&authority, &server);
    let with_header =
        |name: &str| Request::get("https://login.example.com/").header(name, "5").body(Bytes::new());
    let requests = [
        (with_header("content-length"), Kind::ContentLengthGiven),
        (with_header("transfer-encoding"), Kind::InvalidRequest),
        (with_header("connection"), Kind::InvalidRequest),
        (with_header("upgrade"), Kind::InvalidRequest),
        (Request::connect("https://login.example.com/").body(Bytes::new()), Kind::InvalidRequest),
        (Request::get("/relative").body(Bytes::new()), Kind::InvalidRequest),
        (Request::get("https://canary:canary@login.example.com/").body(Bytes::new()), Kind::InvalidRequest),
    ];
    for (request, expected) in requests {
        let error = application.send(request.unwrap(), Presentation::default()).await.unwrap_err();
        assert_eq!((error.kind(), error.request_sent()), (expected, false), "{error}");
        assert!(!format!("{error:?} {error}").contains("canary"));
    }
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let authority = Authority::new("authority");
    let elsewhere = Server::start(&authority, Setup::default()).await;
    let server = Server::start(&authority, Setup::default()).await;
    let to = server.address.to_string();
    let other = elsewhere.address.to_string();
    let mut options = TransportOptions::default();
    let rules = [("login.example.com", to.as_str()), ("other.example.com", other.as_str())];
    options.connect_to = ConnectTo::parse(rules).unwrap();
    let application = Application::in_environment(&authority, options, &[]);
    let answer = application.get("/redirect?https://other.example.com/").await.unwrap();
    assert_eq!(answer.status(), 307);
    assert_eq!(answer.headers()["location"], "https://other.example.com/");
    assert_eq!(answer.body(), "elsewhere");
    assert_eq!((server.requests().len(), elsewhere.accepted()), (1, 0));
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_an_error() {
    let authority = Authority::new("authority");
    for alpn in [b"h2".as_slice(), b"http/1.1"] {
        let server = Server::start(&authority, Setup { alpn: vec![alpn], ..Setup::default() }).await;
        let application =
            Application::with(&authority, &server, |options| options.max_response_bytes = 10_000);
        for path in ["/large?10000", "/chunked?10000"] {
            assert_eq!(application.get(path).await.unwrap().body().len(), 10_000);
        }
        for path in ["/large?10001", "/chunked?11000"] {
            let error = application.get(path).await.unwrap_err();
            assert_eq!((error.kind(), error.request_sent()), (Kind::ResponseTooLarge, true), "{path}");
        }
        assert_eq!(application.get("/").await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_body_without_end_ends_with_the_attempt() {
    let authority = Authority::new("authority");
    for alpn in [b"h2".as_slice(), b"http/1.1"] {
        let server = Server::start(&authority, Setup { alpn: vec![alpn], ..Setup::default() }).await;
        let application = Application::with(&authority, &server, short_attempts);
        let began = Instant::now();
        let error = application.get("/endless").await.unwrap_err();
        assert_eq!(error.kind(), Kind::AttemptTimeout(Phase::ReadingBody), "{error}");
        assert!(error.request_sent());
        assert!((SHORT..PATIENCE).contains(&began.elapsed()));
        assert_eq!(application.get("/").await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_body_that_failed_has_ended() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup::default()).await;
    let application = Application::with(&authority, &server, |options| options.max_response_bytes = 1500);
    let deadline = Instant::now() + PATIENCE;
    let answer =
        application.transport.send(get("/chunked?5000"), Presentation::default(), deadline).await.unwrap();
    let mut body = answer.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 1000);
    assert_eq!(body.frame().await.unwrap().unwrap_err().kind(), Kind::ResponseTooLarge);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn silence_ends_with_the_attempt_or_the_acquisition() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup::default()).await;
    let application = Application::with(&authority, &server, short_attempts);
    let error = application.get("/hang").await.unwrap_err();
    assert_eq!(error.kind(), Kind::AttemptTimeout(Phase::WaitingForHeaders), "{error}");
    assert!(error.request_sent());

    let patient = Application::new(&authority, &server);
    let deadline = Instant::now() + SHORT;
    let error = patient.transport.send(get("/hang"), Presentation::default(), deadline).await.unwrap_err();
    assert_eq!(error.kind(), Kind::DeadlineExceeded(Phase::WaitingForHeaders), "{error}");

    let past = Instant::now();
    let error = patient.transport.send(get("/"), Presentation::default(), past).await.unwrap_err();
    assert_eq!(error.kind(), Kind::DeadlineExceeded(Phase::Connecting), "{error}");
    assert!(!error.request_sent());
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn connecting_has_a_limit_of_its_own() {
    let authority = Authority::new("authority");
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let with = |change: fn(&mut TransportOptions)| {
        let connect_to = ConnectTo::parse([("*.example.com", address.as_str())]).unwrap();
        let mut options = TransportOptions { connect_to, ..TransportOptions::default() };
        change(&mut options);
        Application::in_environment(&authority, options, &[])
    };
    let error = with(|options| options.connect_timeout = SHORT).get("/").await.unwrap_err();
    assert_eq!(error.kind(), Kind::ConnectTimeout(ConnectStep::Tls), "{error}");
    assert!(!error.request_sent());
    let error = with(short_attempts).get("/").await.unwrap_err();
    assert_eq!(error.kind(), Kind::AttemptTimeout(Phase::Connecting), "{error}");
    assert!(!error.request_sent());
}

#[tokio::test]
async fn an_address_that_cannot_be_reached_is_named() {
    let authority = Authority::new("authority");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    // A name with an empty label is refused before anybody is asked.
    for (to, expected) in [(closed.as_str(), Kind::ConnectionRefused), ("no..name:1", Kind::Dns)] {
        let connect_to = ConnectTo::parse([("*.example.com", to)]).unwrap();
        let options = TransportOptions { connect_to, ..TransportOptions::default() };
        let error = Application::in_environment(&authority, options, &[]).get("/").await.unwrap_err();
        assert_eq!((error.kind(), error.request_sent()), (expected, false), "{error}");
        assert!(error.to_string().contains(to.split(':').next().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn a_broken_answer_is_an_error() {
    let authority = Authority::new("authority");
    let cases: [(&'static [u8], Kind); 6] = [
        (b"", Kind::ResetBeforeHeaders),
        (b"HTTP/1.1 200 OK\r\ncontent-le", Kind::ResetBeforeHeaders),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", Kind::ResetInBody),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhalf", Kind::ResetInBody),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", Kind::MalformedResponse),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", Kind::MalformedResponse),
    ];
    for (bytes, expected) in cases {
        let setup = Setup { behaviour: Behaviour::Bytes(bytes), ..Setup::default() };
        let server = Server::start(&authority, setup).await;
        let error = Application::new(&authority, &server).get("/").await.unwrap_err();
        assert_eq!((error.kind(), error.request_sent()), (expected, true), "{error}");
        assert_eq!(server.accepted(), 1, "a request whose bytes went out is not sent again");
    }
}

#[tokio::test]
async fn half_an_answer_and_then_silence_ends_with_the_attempt() {
    let authority = Authority::new("authority");
    let cases: [(&'static [u8], Phase); 2] = [
        (b"HTTP/1.1 200 OK\r\n", Phase::WaitingForHeaders),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", Phase::ReadingBody),
    ];
    for (bytes, phase) in cases {
        let setup = Setup { behaviour: Behaviour::Silence(bytes), ..Setup::default() };
        let server = Server::start(&authority, setup).await;
        let error = Application::with(&authority, &server, short_attempts).get("/").await.unwrap_err();
        assert_eq!(error.kind(), Kind::AttemptTimeout(phase), "{error}");
    }
}
