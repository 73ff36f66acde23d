//! Calm while the authority is not well: pauses are kept, what the cache has is given, and nothing is poisoned. Requests are
//! counted by the authority.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use symbolon::{Error, ErrorKind, TokenSource};
use symbolon_authority::{Fault, FaultRule, FieldValue, LogEntry, RetryAfter};
use symbolon_end_to_end::{GRAPH, VAULT, World, engine};

fn pause(status: u16, seconds: u64) -> Fault {
    Fault::Status { status, retry_after: Some(RetryAfter::Seconds(seconds)), body: None }
}

/// The `jti` of the client assertion.
fn assertion_id(request: &LogEntry) -> String {
    let assertion = request.form.iter().find(|field| field.name == "client_assertion").expect("an assertion");
    let FieldValue::Token { payload, .. } = &assertion.value else { panic!("no token: {assertion:?}") };
    payload["jti"].as_str().expect("an id").to_owned()
}

fn kind(error: &Error) -> ErrorKind {
    error.acquisition().expect("a decision").kind
}

#[tokio::test]
async fn a_pause_is_kept_by_all_who_ask_for_the_same() {
    let (world, symbolon, clock) = World::timed().await;
    let application = world.application(&symbolon, "certificate");
    world.authority.faults().add(FaultRule::once(pause(429, 10)));
    let herd = join_all((0..50).map(|_| application.acquire_token_for_client([GRAPH]).into_future()));
    let (errors, requests) = world.seen(herd).await;
    assert_eq!(requests.len(), 1, "who waits gets the same answer");
    for error in errors {
        assert_eq!(kind(&error.expect_err("a pause")), ErrorKind::Throttled);
    }
    clock.advance(3_000);
    let began = Instant::now();
    let (error, requests) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    let error = error.expect_err("a pause");
    assert_eq!((kind(&error), requests.len()), (ErrorKind::Throttled, 0));
    assert_eq!(error.acquisition().and_then(|error| error.retry_after), Some(Duration::from_secs(7)));
    assert!(began.elapsed() < Duration::from_secs(2), "the call doesn't sleep");
    application.acquire_token_for_client([VAULT]).await.expect("another scope");
    clock.advance(7_000);
    application.acquire_token_for_client([GRAPH]).await.expect("the pause is over");
}

#[tokio::test]
async fn a_cached_token_is_given_while_the_authority_is_down_and_never_once_it_expired() {
    let (world, symbolon, clock) = World::timed().await;
    let application = world.application(&symbolon, "secret");
    let token = application.acquire_token_for_client([GRAPH]).await.expect("a token");
    world.authority.faults().add(FaultRule::once(pause(503, 3600)).always());
    let forced = application.acquire_token_for_client([GRAPH]).with_force_refresh(true).await;
    assert_eq!(kind(&forced.expect_err("down")), ErrorKind::TemporarilyUnavailable);
    let cached = application.acquire_token_for_client([GRAPH]).await.expect("the cached token");
    assert_eq!(cached.metadata().token_source, TokenSource::Cache);
    assert_eq!(cached.access_token(), token.access_token());
    clock.advance(24 * 60 * 60 * 1000);
    let (expired, requests) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    expired.expect_err("an expired token is none");
    assert_eq!(requests.len(), 1, "the pause is over, and the authority still down");
}

#[tokio::test]
async fn two_refused_scopes_pause_the_client() {
    let (world, symbolon, clock) = World::timed().await;
    let application = world.application(&symbolon, "secret");
    world.authority.faults().add(FaultRule::once(pause(429, 60)).times(2));
    for scope in [GRAPH, VAULT] {
        application.acquire_token_for_client([scope]).await.expect_err("a pause");
    }
    let storage = "https://storage.azure.com/.default";
    let (error, requests) = world.seen(application.acquire_token_for_client([storage])).await;
    assert_eq!((kind(&error.expect_err("the client's pause")), requests.len()), (ErrorKind::Throttled, 0));
    // Another application isn't concerned.
    world.application(&symbolon, "certificate").acquire_token_for_client([GRAPH]).await.expect("a token");
    clock.advance(60_000);
    application.acquire_token_for_client([GRAPH]).await.expect("the pause is over");
}

#[tokio::test]
async fn a_refusal_without_a_pause_poisons_nothing_and_each_attempt_has_its_own_proof() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "certificate");
    let down = Fault::Status { status: 500, retry_after: None, body: None };
    world.authority.faults().add(FaultRule::once(down).times(2));
    let began = Instant::now();
    let (error, requests) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    assert_eq!(kind(&error.expect_err("down")), ErrorKind::TemporarilyUnavailable);
    assert!(began.elapsed() >= Duration::from_secs(1), "a second lies between the attempts");
    let ids: Vec<_> = requests.iter().map(assertion_id).collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
    let (token, requests) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    token.expect("the next call goes out at once");
    assert_eq!(requests.len(), 1);
}
