//! Connections are kept, shared and let go.

use std::time::Duration;

use futures_util::future::join_all;
use symbolon_resources::transport::Presentation;
use tokio::time::Instant;

use crate::support::{Application, Authority, Behaviour, PATIENCE, Server, Setup, get};

#[tokio::test]
async fn http1_requests_in_turn_share_a_connection() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup::default()).await;
    let application = Application::new(&authority, &server);
    for path in ["/1", "/2", "/3", "/large?100000"] {
        assert_eq!(application.get(path).await.unwrap().status(), 200);
    }
    assert_eq!(server.accepted(), 1);
    let requests = server.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests.iter().all(|request| request.headers["host"] == crate::support::HOST));
    assert_eq!(requests[0].uri, "/1");
    let statistics = application.transport.statistics();
    assert_eq!((statistics.connections_opened, statistics.requests_sent, statistics.pools), (1, 4, 1));
}

#[tokio::test]
async fn http1_requests_at_once_have_a_connection_each_and_leave_it_to_the_next() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup::default()).await;
    let application = Application::with(&authority, &server, |options| options.max_idle_connections = 3);
    for _ in 0..2 {
        let answers = join_all((0..5).map(|_| application.get("/"))).await;
        assert!(answers.iter().all(Result::is_ok));
    }
    // Five the first time, of which three are kept, and two more the second time.
    assert_eq!(server.accepted(), 7);
}

#[tokio::test]
async fn http2_requests_at_once_share_a_connection() {
    let authority = Authority::new("authority");
    let setup = Setup { alpn: vec![b"h2", b"http/1.1"], ..Setup::default() };
    let server = Server::start(&authority, setup).await;
    let application = Application::new(&authority, &server);
    application.get("/first").await.unwrap();
    let answers = join_all((0..50).map(|_| application.get("/"))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(server.accepted(), 1);
    let requests = server.requests();
    assert!(requests.iter().all(|request| request.version == http::Version::HTTP_2));
    assert_eq!(requests[0].uri, "https://login.example.com/first");
}

#[tokio::test]
async fn a_connection_with_an_unread_answer_serves_nobody_else() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup::default()).await;
    let application = Application::new(&authority, &server);
    let deadline = Instant::now() + PATIENCE;
    let unread =
        application.transport.send(get("/large?1000000"), Presentation::default(), deadline).await.unwrap();
    drop(unread);
    application.get("/").await.unwrap();
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn a_connection_whose_answer_broke_off_serves_nobody_else() {
    let authority = Authority::new("authority");
    for alpn in [b"h2".as_slice(), b"http/1.1"] {
        let server = Server::start(&authority, Setup { alpn: vec![alpn], ..Setup::default() }).await;
        let application = Application::new(&authority, &server);
        application.get("/short").await.unwrap_err();
        application.get("/").await.unwrap();
        assert_eq!(server.accepted(), 2);
    }
}

#[tokio::test]
async fn applications_share_no_connections() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup::default()).await;
    for _ in 0..2 {
        Application::new(&authority, &server).get("/").await.unwrap();
    }
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn hosts_share_no_connections() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup::default()).await;
    let application = Application::new(&authority, &server);
    application.get("/").await.unwrap();
    let other = http::Request::get("https://other.example.com/").body(bytes::Bytes::new()).unwrap();
    application.send(other, Presentation::default()).await.unwrap();
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let authority = Authority::new("authority");
    for alpn in [b"h2".as_slice(), b"http/1.1"] {
        let server = Server::start(&authority, Setup { alpn: vec![alpn], ..Setup::default() }).await;
        let application = Application::with(&authority, &server, |options| {
            options.idle_timeout = Duration::from_millis(50)
        });
        application.get("/").await.unwrap();
        server.wait_until_ended(1).await;
        application.get("/").await.unwrap();
        assert_eq!(server.accepted(), 2);
    }
}

#[tokio::test]
async fn a_connection_that_its_server_has_closed_is_replaced() {
    let authority = Authority::new("authority");
    let behaviour = Behaviour::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let server = Server::start(&authority, Setup { behaviour, ..Setup::default() }).await;
    let application = Application::new(&authority, &server);
    for connections in 1..4 {
        assert_eq!(application.get("/").await.unwrap().body(), "ok");
        server.wait_until_ended(connections).await;
    }
    assert_eq!(server.accepted(), 3);
}

#[tokio::test]
async fn a_transport_that_sends_nothing_has_nothing() {
    let authority = Authority::new("authority");
    let server = Server::start(&authority, Setup::default()).await;
    let application = Application::new(&authority, &server);
    assert_eq!(application.transport.statistics(), Default::default());
}
