//! What goes wrong at a platform's endpoints, on purpose; and the control port.

use std::time::Instant;

use serde_json::{Value, json};
use symbolon_authority::{Endpoint, Fault, FaultRule, RetryAfter, Source};
use tokio::net::TcpStream;

use crate::platform_support::*;

fn ask<'a>() -> Ask<'a> {
    Ask::get(
        "/metadata/identity/oauth2/token",
        &[("api-version", "2018-02-01"), ("resource", MANAGEMENT)],
        &[("metadata", "true")],
    )
}

fn status(status: u16) -> Fault {
    Fault::Status { status, retry_after: None, body: None }
}

#[tokio::test]
async fn a_sequence_of_failures() {
    let site = Site::new().await;
    let faults = site.authority.faults();
    for (code, retry_after) in
        [(404, None), (410, None), (429, Some(RetryAfter::Seconds(3))), (500, None), (503, None)]
    {
        let fault = Fault::Status { status: code, retry_after, body: None };
        faults.add(FaultRule::once(fault).endpoint(Endpoint::Imds));
    }
    let mut seen = Vec::new();
    for _ in 0..6 {
        let reply = site.call(Source::Imds, &ask()).await;
        let error = reply.json()["error"].as_str().map(str::to_owned);
        seen.push((reply.status.as_u16(), error, reply.header("retry-after").map(str::to_owned)));
    }
    let row = |status, error: Option<&str>, retry: Option<&str>| {
        (status, error.map(str::to_owned), retry.map(str::to_owned))
    };
    assert_eq!(
        seen,
        [
            row(404, Some("not_found"), None),
            row(410, Some("gone"), None),
            row(429, Some("invalid_request"), Some("3")),
            row(500, Some("unknown"), None),
            row(503, Some("unknown"), None),
            row(200, None, None),
        ]
    );
    assert_eq!(site.authority.log()[1].faults, ["status"]);
}

#[tokio::test]
async fn each_platform_fails_in_its_own_words() {
    let site = Site::new().await;
    let paths = [
        (Source::AppService, Endpoint::AppService, "/msi/token", "/message"),
        (Source::ServiceFabric, Endpoint::ServiceFabric, "/metadata/identity/oauth2/token", "/error/code"),
        (Source::AzureArc, Endpoint::AzureArc, "/metadata/identity/oauth2/token", "/error_description"),
        (Source::CloudShell, Endpoint::CloudShell, "/oauth2/token", "/error/message"),
        (Source::MachineLearning, Endpoint::MachineLearning, "/msi/token", "/Message"),
        (Source::Imds, Endpoint::Instance, "/metadata/instance/compute", "/error_description"),
    ];
    for (source, endpoint, path, member) in paths {
        for code in [429, 500] {
            site.authority.faults().add(FaultRule::once(status(code)).endpoint(endpoint));
            let reply = site.call(source, &Ask::get(path, &[], &[])).await;
            assert_eq!(reply.status, code, "{source:?}");
            assert!(
                reply.json().pointer(member).is_some_and(Value::is_string),
                "{source:?} {}",
                reply.json()
            );
        }
    }
    // Rules for one endpoint are for that one only.
    site.authority.faults().add(FaultRule::once(status(500)).endpoint(Endpoint::AzureArc));
    assert_eq!(site.call(Source::Imds, &ask()).await.status, 200);
}

#[tokio::test]
async fn answers_that_make_no_sense() {
    let site = Site::new().await;
    let faults = site.authority.faults();
    let add = |fault| faults.add(FaultRule::once(fault).endpoint(Endpoint::Imds));
    add(Fault::MalformedJson);
    add(Fault::MissingAccessToken);
    add(Fault::Member { name: "expires_on".to_owned(), value: Some(json!("soon")) });
    add(Fault::Content { content_type: "text/html".to_owned(), body: "<html>".to_owned() });
    add(Fault::Status { status: 400, retry_after: None, body: Some(String::new()) });
    let reply = site.call(Source::Imds, &ask()).await;
    assert!(reply.status == 200 && serde_json::from_slice::<Value>(&reply.body).is_err());
    assert_eq!(site.call(Source::Imds, &ask()).await.json().get("access_token"), None);
    assert_eq!(site.call(Source::Imds, &ask()).await.json()["expires_on"], "soon");
    assert_eq!(site.call(Source::Imds, &ask()).await.header("content-type"), Some("text/html"));
    assert!(site.call(Source::Imds, &ask()).await.body.is_empty());
}

#[tokio::test]
async fn late_and_lost_answers() {
    let site = Site::new().await;
    let faults = site.authority.faults();
    faults.add(FaultRule::once(Fault::Delay { milliseconds: 60 }).endpoint(Endpoint::Imds).client(USER));
    faults.add(FaultRule::once(Fault::ResetBeforeHeaders).endpoint(Endpoint::Imds).skip(1));
    #[allow(clippy::disallowed_methods, reason = "the delay is in real time")]
    let start = Instant::now();
    assert_eq!(site.call(Source::Imds, &ask().query("client_id", USER)).await.status, 200);
    assert!(start.elapsed().as_millis() >= 60);
    let mut stream = TcpStream::connect(site.platform.address(Source::Imds)).await.unwrap();
    let request = b"GET /metadata/identity/oauth2/token HTTP/1.1\r\nhost: localhost\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_platform_ends_with_its_handle() {
    let site = Site::new().await;
    let address = site.platform.address(Source::Imds);
    assert!(TcpStream::connect(address).await.is_ok());
    drop(site.platform);
    for _ in 0..100 {
        if TcpStream::connect(address).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it still listens");
}
