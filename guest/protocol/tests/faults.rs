//! What goes wrong at the authority or on the way, in every flow.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use common::flows::{of_applications, of_users, prepare};
use common::host::Host;
use common::*;
use symbolon_protocol::error::{Error, ErrorKind};
use symbolon_protocol::request::{Flow, Request};
use symbolon_protocol::response::{HttpResponse, TransportError, TransportErrorKind};

type Answer = Result<HttpResponse, TransportError>;
type IsExpected = fn(&Error) -> bool;

fn every_flow() -> Vec<Request> {
    of_applications().into_iter().chain(of_users()).collect()
}

/// A host that gets this answer to its last request, however often it asks.
fn host_with(request: &Request, requests: usize, fault: &Answer) -> Host {
    let mut host = Host::new(secret());
    prepare(&mut host);
    for _ in 1..requests {
        host.answer(answer(200, r#"{"access_token":"t","token_type":"Bearer","expires_in":3600}"#));
    }
    host.answer(fault.clone());
    if is_sent_again(request, fault) {
        host.answer(fault.clone());
    }
    host
}

fn is_sent_again(request: &Request, fault: &Answer) -> bool {
    let is_temporary = match fault {
        Ok(response) => response.status >= 500 && response.retry_after.is_none(),
        Err(error) => error.kind == TransportErrorKind::Timeout,
    };
    is_temporary && !matches!(request.flow, Flow::ByAuthorizationCode(_))
}

#[test]
fn every_fault_is_an_error_that_leaves_the_cache_as_it_was() {
    let pause = Ok(HttpResponse {
        status: 503,
        retry_after: Some("7".into()),
        challenge: None,
        date: None,
        server: None,
        body: vec![],
    });
    let faults: [(Answer, IsExpected); 11] = [
        (answer(500, ""), |error| error.retryable && error.kind == ErrorKind::TemporarilyUnavailable),
        (pause, |error| error.retry_after_ms == Some(7000)),
        (answer(429, ""), |error| error.kind == ErrorKind::Throttled),
        (answer(200, "<html>"), |error| error.kind == ErrorKind::ProtocolViolation),
        (answer(200, r#"{"token_type":"Bearer"}"#), |error| error.code == "access_token_missing"),
        (answer(302, ""), |error| error.status == Some(302)),
        (refusal("invalid_client", "AADSTS7000215: wrong"), |error| error.kind == ErrorKind::InvalidClient),
        (refusal("interaction_required", "AADSTS50076: MFA"), |error| error.aadsts_codes == [50076]),
        (fault(TransportErrorKind::Timeout, true), |error| error.code == "request_timeout"),
        (fault(TransportErrorKind::Connection, true), |error| error.code == "connection_failed"),
        (fault(TransportErrorKind::ServerCertificate, false), |error| error.code == "tls_failed"),
    ];
    for request in every_flow() {
        let mut host = Host::new(secret());
        prepare(&mut host);
        let requests = host.requests(request.clone());
        for (fault, is_expected) in &faults {
            let mut host = host_with(&request, requests, fault);
            let before = host.cache.access_tokens().len();
            let others = format!("{:?} {:?}", host.cache.refresh_tokens(), host.cache.accounts());
            let error = host.acquire(request.clone()).expect_err("a fault");
            let is_single_use = matches!(request.flow, Flow::ByAuthorizationCode(_));
            let is_known = is_expected(&error) || is_single_use && !error.retryable;
            assert!(is_known, "{request:?}: {error:?}");
            assert_eq!(error.correlation_id, CORRELATION);
            assert_eq!(host.actions.last(), Some(&"fail"));
            assert_eq!(host.cache.access_tokens().len(), before + requests - 1, "what came before stays");
            assert_eq!(format!("{:?} {:?}", host.cache.refresh_tokens(), host.cache.accounts()), others);
            host.context.now += error.retry_after_ms.unwrap_or_default();
            assert_eq!(host.requests(request.clone()), 1, "it works again");
        }
    }
}

#[test]
fn an_answer_after_a_temporary_fault_is_taken() {
    for request in every_flow() {
        for fault in [answer(503, ""), fault(TransportErrorKind::Timeout, true)] {
            if !is_sent_again(&request, &fault) {
                continue;
            }
            let mut host = Host::new(secret());
            prepare(&mut host);
            host.answer(fault);
            host.acquire(request.clone()).expect("a token");
            let [first, second] = &host.sent[..2] else { panic!("two requests") };
            assert_eq!(first.form(), second.form());
            assert!(host.actions.contains(&"wait"));
        }
    }
}

/// Nothing that proves anything is part of what is logged.
#[test]
fn debug_shows_no_secret_of_any_flow() {
    for request in every_flow() {
        let mut host = Host::new(certificate("t1"));
        prepare(&mut host);
        let asked = format!("{request:?} {:?}", host.context);
        let token = host.acquire(request).expect("a token");
        let shown = format!("{asked} {token:?} {:?}", host.lookups);
        let secrets =
            ["the-password", "the-credential", "the-refresh-token", "the-code", "the-verifier", "e30."];
        for secret in secrets.map(String::from).into_iter().chain([format!("{:?}", token.token)]) {
            assert!(!shown.contains(&secret), "{secret} in {shown}");
        }
    }
}
