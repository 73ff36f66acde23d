//! Faults: what goes wrong on demand, and only as often as asked.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use serde_json::json;
use symbolon_authority::{Authority, Endpoint, Fault, FaultRule, Registration, RetryAfter};

use crate::support::*;

async fn start() -> Authority {
    authority().application(Registration::new(CLIENT).secret(SECRET)).start().await.unwrap()
}

async fn send(authority: &Authority) -> Result<Reply, Error> {
    Client::new(authority).post(LOGIN, &token_path(), &secret_form(CLIENT, SECRET)).await
}

/// The answer under one fault, once; the request after it must succeed.
async fn under(fault: Fault) -> Result<Reply, Error> {
    let authority = start().await;
    let kind = fault.kind();
    authority.faults().add(FaultRule::once(fault));
    let reply = send(&authority).await;
    assert_eq!(send(&authority).await.unwrap().status, 200, "after {kind}");
    let log = authority.log();
    assert_eq!((log[0].faults.as_slice(), log[1].faults.len()), ([kind.to_owned()].as_slice(), 0));
    reply
}

#[tokio::test]
async fn statuses_with_retry_after() {
    let status = |status, retry_after| Fault::Status { status, retry_after, body: None };
    let reply = under(status(429, Some(RetryAfter::Seconds(7)))).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, Some("7")));
    let reply = under(status(503, Some(RetryAfter::DateInSeconds(60)))).await.unwrap();
    assert_eq!(reply.header("retry-after"), Some("Tue, 14 Nov 2023 22:14:20 GMT"));
    let reply = under(status(500, None)).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (500, None));
}

#[tokio::test]
async fn an_injected_refusal() {
    let fault = Fault::Refusal {
        code: 53000,
        error: "interaction_required".into(),
        status: 400,
        message: "Device is not compliant.".into(),
        suberror: Some("message_only".into()),
        claims: Some(r#"{"access_token":{}}"#.into()),
        retry_after: None,
    };
    let reply = under(fault).await.unwrap();
    assert_refused(&reply, 400, "interaction_required", 53000);
    assert_eq!(reply.json()["suberror"], "message_only");
    assert_eq!(reply.json()["claims"], r#"{"access_token":{}}"#);
}

#[tokio::test]
async fn connections_that_end_early() {
    for fault in [Fault::ResetBeforeHeaders, Fault::CloseWithoutAnswer, Fault::ResetInsideBody] {
        assert!(under(fault.clone()).await.is_err(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_reset_inside_the_body_comes_after_the_headers() {
    for alpn in ["h2", "http/1.1"] {
        let authority = start().await;
        authority.faults().add(FaultRule::once(Fault::ResetInsideBody));
        let client = Client::new(&authority).alpn(&[alpn]);
        let io = TokioIo::new(client.connect(LOGIN).await.unwrap());
        let form = request("POST", LOGIN, &token_path(), &[], encode(&secret_form(CLIENT, SECRET)));
        let response = if alpn == "h2" {
            let executor = hyper_util::rt::TokioExecutor::new();
            let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(form).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(form).await.unwrap()
        };
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(first.starts_with(b"{") && !first.ends_with(b"}"));
        assert!(body.frame().await.unwrap().is_err());
    }
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    let authority = start().await;
    authority.faults().add(FaultRule::once(Fault::ResetBeforeHeaders));
    let mut stream = Client::new(&authority).connect(LOGIN).await.unwrap();
    let form = encode(&secret_form(CLIENT, SECRET));
    let text = format!(
        "POST {} HTTP/1.1\r\nHost: {LOGIN}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        token_path(),
        form.len()
    );
    tokio::io::AsyncWriteExt::write_all(&mut stream, text.as_bytes()).await.unwrap();
    let error = tokio::io::AsyncReadExt::read_u8(&mut stream).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(authority.log()[0].status, None);
}

#[tokio::test]
async fn a_body_without_end() {
    let authority = start().await;
    authority.faults().add(FaultRule::once(Fault::EndlessBody { interval_milliseconds: 1 }));
    let io = TokioIo::new(Client::new(&authority).connect(LOGIN).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let form = request("POST", LOGIN, &token_path(), &[], encode(&secret_form(CLIENT, SECRET)));
    let mut body = sender.send_request(form).await.unwrap().into_body();
    for _ in 0..20 {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), " ");
    }
}

#[tokio::test]
async fn large_bodies() {
    let size = 10 * 1024 * 1024;
    for declared in [true, false] {
        let reply = under(Fault::LargeBody { bytes: size, declared }).await.unwrap();
        assert_eq!(reply.body.len() as u64, size);
        assert_eq!(reply.header("content-length").is_some(), declared);
        assert_eq!(reply.json()["token_type"], "Bearer");
    }
}

#[tokio::test]
async fn answers_with_a_mistake() {
    let reply = under(Fault::MalformedJson).await.unwrap();
    assert_eq!(reply.status, 200);
    assert!(serde_json::from_slice::<serde_json::Value>(&reply.body).is_err());
    assert!(under(Fault::MissingAccessToken).await.unwrap().json().get("access_token").is_none());
    let reply = under(Fault::TokenType { value: Some("pop".into()) }).await.unwrap();
    assert_eq!(reply.json()["token_type"], "pop");
    assert!(under(Fault::TokenType { value: None }).await.unwrap().json().get("token_type").is_none());
    let content = Fault::Content { content_type: "text/html".into(), body: "<html>".into() };
    let reply = under(content).await.unwrap();
    assert_eq!(
        (reply.status.as_u16(), reply.header("content-type"), &*reply.body),
        (200, Some("text/html"), &b"<html>"[..])
    );
    let location = "https://elsewhere.test/token";
    let reply = under(Fault::Redirect { location: location.into(), status: 307 }).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.header("location")), (307, Some(location)));
}

#[tokio::test]
async fn a_delay_comes_before_the_answer_or_another_fault() {
    let authority = start().await;
    authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 50 }));
    authority.faults().add(FaultRule::once(Fault::Status {
        status: 500,
        retry_after: None,
        body: Some("{}".into()),
    }));
    let begin = tokio::time::Instant::now();
    let reply = send(&authority).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(50));
    assert_eq!((reply.status.as_u16(), reply.json()), (500, json!({})));
    assert_eq!(authority.log()[0].faults, ["delay", "status"]);
}

#[tokio::test]
async fn rules_match_client_host_and_endpoint() {
    let authority = start().await;
    let fault = || Fault::Status { status: 503, retry_after: None, body: None };
    authority.faults().add(FaultRule::once(fault()).always().client("someone else"));
    authority.faults().add(FaultRule::once(fault()).always().host(MTLS));
    authority.faults().add(FaultRule::once(fault()).always().endpoint(Endpoint::InstanceDiscovery));
    assert_eq!(send(&authority).await.unwrap().status, 200);
    let client = Client::new(&authority);
    assert_eq!(client.get(LOGIN, "/common/discovery/instance").await.status, 503);
    assert_eq!(client.token(MTLS, &secret_form(CLIENT, SECRET)).await.status, 503);
    let hits: Vec<_> = authority.faults().list().iter().map(|active| active.hits).collect();
    assert_eq!(hits, [0, 1, 1]);
}
