//! Whatever the authority does, an acquisition ends in a token or a typed error within its deadline, and the next one works.

use std::time::Duration;

use symbolon::{Error, ErrorKind};
use symbolon_authority::{Fault, FaultRule, RetryAfter};
use symbolon_end_to_end::{GRAPH, World, engine};

/// What one fault leads to, and how many requests the authority saw.
async fn outcome(rule: FaultRule) -> (Result<(), (ErrorKind, String, Option<Duration>)>, usize) {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "secret");
    world.authority.faults().add(rule);
    let outcome = match application.acquire_token_for_client([GRAPH]).await {
        Ok(_) => Ok(()),
        Err(Error::Acquisition(error)) => Err((error.kind, error.code.clone(), error.retry_after)),
        Err(other) => panic!("not a decision of the protocol: {other:?}"),
    };
    let requests = world.token_requests().len();
    world.authority.faults().clear();
    application.acquire_token_for_client([GRAPH]).await.expect("the next call works");
    (outcome, requests)
}

fn failed(outcome: Result<(), (ErrorKind, String, Option<Duration>)>) -> (ErrorKind, String) {
    let (kind, code, _) = outcome.expect_err("an error");
    (kind, code)
}

#[tokio::test]
async fn one_500_is_retried_once() {
    let fault = Fault::Status { status: 500, retry_after: None, body: None };
    let (outcome, requests) = outcome(FaultRule::once(fault)).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(requests, 2);
}

#[tokio::test]
async fn two_500_are_an_error() {
    let fault = Fault::Status { status: 500, retry_after: None, body: None };
    let (outcome, requests) = outcome(FaultRule::once(fault).times(2)).await;
    assert_eq!(failed(outcome), (ErrorKind::TemporarilyUnavailable, "service_not_available".into()));
    assert_eq!(requests, 2);
}

#[tokio::test]
async fn retry_after_is_not_retried() {
    for retry_after in [RetryAfter::Seconds(7), RetryAfter::DateInSeconds(7)] {
        for status in [429, 503] {
            let fault = Fault::Status { status, retry_after: Some(retry_after), body: None };
            let (outcome, requests) = outcome(FaultRule::once(fault)).await;
            let (kind, _, pause) = outcome.expect_err("an error");
            assert!(matches!(kind, ErrorKind::Throttled | ErrorKind::TemporarilyUnavailable), "{kind}");
            let pause = pause.expect("the pause that was asked for");
            assert!((5..=8).contains(&pause.as_secs()), "{pause:?}");
            assert_eq!(requests, 1);
        }
    }
}

#[tokio::test]
async fn broken_connections_are_transport_failures() {
    for fault in [Fault::ResetBeforeHeaders, Fault::ResetInsideBody, Fault::CloseWithoutAnswer] {
        let kind = fault.kind();
        let (outcome, _) = outcome(FaultRule::once(fault).always()).await;
        assert_eq!(failed(outcome).0, ErrorKind::TransportFailed, "{kind}");
    }
}

#[tokio::test]
async fn answers_that_are_no_answers_are_protocol_violations() {
    for fault in [
        Fault::LargeBody { bytes: 10_000_000, declared: false },
        Fault::LargeBody { bytes: 10_000_000, declared: true },
        Fault::MalformedJson,
        Fault::MissingAccessToken,
        Fault::TokenType { value: None },
        Fault::TokenType { value: Some("mtls_pop".into()) },
        Fault::Content { content_type: "text/html".into(), body: "<html>sign in</html>".into() },
    ] {
        let kind = fault.kind();
        let (outcome, requests) = outcome(FaultRule::once(fault)).await;
        assert_eq!(failed(outcome).0, ErrorKind::ProtocolViolation, "{kind}");
        assert_eq!(requests, 1, "{kind}");
    }
}

#[tokio::test]
async fn a_body_without_end_meets_the_deadline() {
    let (world, symbolon) = (
        World::start().await,
        symbolon_end_to_end::engine_with(|builder| builder.acquisition_deadline(Duration::from_secs(2))),
    );
    let application = world.application(&symbolon, "secret");
    world.authority.faults().add(FaultRule::once(Fault::EndlessBody { interval_milliseconds: 50 }));
    let acquisition = application.acquire_token_for_client([GRAPH]).into_future();
    let error = tokio::time::timeout(Duration::from_secs(10), acquisition).await.expect("the deadline holds");
    let error = error.expect_err("no token");
    let is_typed = match &error {
        Error::DeadlineExceeded { .. } => true,
        Error::Acquisition(error) => error.kind == ErrorKind::TransportFailed,
        _ => false,
    };
    assert!(is_typed, "{error:?}");
    application.acquire_token_for_client([GRAPH]).await.expect("the next call works");
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let (world, symbolon) = (World::start().await, engine());
    for (sample, code, kind) in [
        ("expired-secret", 7_000_222, ErrorKind::InvalidClient),
        ("expired-certificate", 1_000_502, ErrorKind::InvalidClient),
    ] {
        let application = world.application(&symbolon, sample);
        let error = application.acquire_token_for_client([GRAPH]).await.expect_err("a refusal");
        // An expired certificate doesn't even reach the authority where the host sees it.
        match error.acquisition().expect("a decision").kind {
            ErrorKind::CredentialUnavailable => assert_eq!(sample, "expired-certificate"),
            found => {
                assert_eq!(found, kind);
                assert_eq!(error.aadsts_codes(), [code]);
                assert!(error.correlation_id().is_some());
            }
        }
    }
    let application = world.application(&symbolon, "secret");
    let error = application.acquire_token_for_client(["https://graph.microsoft.com/User.Read"]).await;
    assert_eq!(error.expect_err("a refusal").aadsts_codes(), [1_002_012]);
}

#[tokio::test]
async fn bound_transport_that_is_not_enabled_is_an_error_of_its_own() {
    let (world, symbolon) = (World::start().await, engine());
    let certificate = world.application(&symbolon, "certificate");
    let error = certificate.acquire_token_for_client([GRAPH]).with_mtls_proof_of_possession().await;
    let error = error.expect_err("51000");
    assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::BoundTransportNotEnabled);
    assert_eq!(error.aadsts_codes(), [51_000]);
    assert!(error.to_string().contains("mtlsauth.microsoft.com"), "{error}");

    let mtls = world.application(&symbolon, "mtls");
    let error = mtls.acquire_token_for_client([GRAPH]).with_mtls_proof_of_possession().await;
    assert_eq!(error.expect_err("392189").aadsts_codes(), [392_189]);
}
