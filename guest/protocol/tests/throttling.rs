//! A pause that the authority asks for is kept: nothing is signed or sent, and what the cache has is still given.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use common::host::Host;
use common::*;
use symbolon_protocol::error::{Error, ErrorClass, ErrorKind};
use symbolon_protocol::request::{AssertionKind, ClientFlow, Flow, Options, UserAssertion};
use symbolon_protocol::response::{HttpResponse, TransportError};

fn paused(status: u16, retry_after: &str) -> Result<HttpResponse, TransportError> {
    let retry_after = Some(retry_after.into());
    Ok(HttpResponse { status, retry_after, challenge: None, date: None, server: None, body: vec![] })
}

/// A host whose first request is answered with this pause.
fn refused(status: u16, retry_after: &str) -> Host {
    let mut host = Host::new(certificate("t1"));
    host.answer(paused(status, retry_after));
    host.acquire(request()).expect_err("a pause");
    assert_eq!(host.sent.len(), 1);
    host
}

fn throttled(host: &mut Host, request: symbolon_protocol::request::Request) -> Error {
    let error = host.acquire(request).expect_err("a pause");
    assert!(host.sent.is_empty() && host.signed.is_empty(), "nothing is signed or sent");
    assert_eq!((error.kind, error.class), (ErrorKind::Throttled, ErrorClass::ThrottledService));
    error
}

#[test]
fn the_pause_is_kept_and_ends() {
    for (status, code) in
        [(429, "http_status_not_200"), (503, "service_not_available"), (400, "http_status_not_200")]
    {
        let mut host = refused(status, "10");
        host.context.now += 1000;
        let error = throttled(&mut host, request());
        assert_eq!(
            (error.status, error.retry_after_ms, error.code.as_str()),
            (Some(status), Some(9000), code)
        );
        assert_eq!(error.correlation_id, CORRELATION);
        host.context.now += 9000;
        assert_eq!(host.requests(request()), 1);
    }
}

#[test]
fn a_pause_lasts_an_hour_at_most() {
    let mut host = refused(429, "7200");
    assert_eq!(throttled(&mut host, request()).retry_after_ms, Some(3_600_000));
}

#[test]
fn claims_make_no_difference_and_a_cached_token_is_given_all_the_same() {
    let mut host = Host::new(certificate("t1"));
    host.acquire(request()).expect("a token");
    host.answer(paused(429, "10"));
    host.acquire(with(&request(), forced())).expect_err("a pause");
    let claims = Options { claims: Some(r#"{"access_token":{}}"#.into()), ..Options::default() };
    throttled(&mut host, with(&request(), claims));
    assert_eq!(host.requests(request()), 0, "the cached token");
}

#[test]
fn other_scopes_tenants_paths_users_and_clients_go_on() {
    let on_behalf_of = |assertion: &str| {
        ask(Flow::OnBehalfOf(UserAssertion { assertion: assertion.into(), kind: AssertionKind::Jwt }))
    };
    let path = ask(Flow::ForClient(ClientFlow { fmi_path: Some("a/b".into()), ..ClientFlow::default() }));
    let tenant = Options { tenant_id: Some("fabrikam.com".into()), ..Options::default() };
    for other in
        [for_scope(&request(), "r/.default"), with(&request(), tenant), path, on_behalf_of("e30.e30.one")]
    {
        assert_eq!(refused(429, "10").requests(other), 1);
    }
    let mut host = refused(429, "10");
    host.context.application.client_id = "another".into();
    assert_eq!(host.requests(request()), 1);

    let mut host = Host::new(secret());
    host.answer(paused(429, "10"));
    host.acquire(on_behalf_of("e30.e30.one")).expect_err("a pause");
    assert_eq!(host.requests(on_behalf_of("e30.e30.two")), 1);
    throttled(&mut host, on_behalf_of("e30.e30.one"));
}

#[test]
fn two_kinds_of_refused_requests_within_ten_seconds_pause_the_client() {
    for (apart_ms, is_wide) in [(9_000, true), (11_000, false)] {
        let mut host = refused(429, "60");
        host.context.now += apart_ms;
        host.answer(paused(503, "20"));
        host.acquire(for_scope(&request(), "r/.default")).expect_err("a pause");
        let third = for_scope(&request(), "s/.default");
        if is_wide {
            assert_eq!(throttled(&mut host, third.clone()).retry_after_ms, Some(20_000));
            host.context.now += 20_000;
        }
        assert_eq!(host.requests(third), 1);
    }
}

#[test]
fn a_refusal_without_a_pause_poisons_nothing() {
    let mut host = Host::new(secret());
    for answers in [vec![answer(500, ""), answer(500, "")], vec![answer(429, "")], vec![paused(503, "0")]] {
        answers.into_iter().for_each(|answer| host.answer(answer));
        host.acquire(request()).expect_err("a refusal");
    }
    assert_eq!(host.requests(request()), 1);
}

#[test]
fn a_clock_that_is_wrong_is_told() {
    // 2023-11-14T22:13:20Z is the time of these tests.
    for (date, said) in [
        ("Tue, 14 Nov 2023 22:13:20 GMT", None),
        ("Tue, 14 Nov 2023 22:23:20 GMT", Some("600 s behind")),
        ("Tue, 14 Nov 2023 21:13:20 GMT", Some("3600 s ahead of")),
        ("yesterday", None),
    ] {
        let mut host = Host::new(certificate("t1"));
        let body = br#"{"error":"invalid_client","error_description":"AADSTS7000215: x"}"#.to_vec();
        let date = Some(date.into());
        host.answer(Ok(HttpResponse {
            status: 401,
            retry_after: None,
            challenge: None,
            date,
            server: None,
            body,
        }));
        let message = host.acquire(request()).expect_err("a refusal").message;
        assert_eq!(message.contains("clock"), said.is_some(), "{message}");
        assert!(said.is_none_or(|said| message.contains(said)), "{message}");
    }
}
