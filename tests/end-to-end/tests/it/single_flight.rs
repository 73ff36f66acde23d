//! Callers who want the same token at the same time share one request, and nobody else waits for it.

use futures_util::future::join_all;
use symbolon::TokenSource;
use symbolon_authority::{Fault, FaultRule};
use symbolon_end_to_end::{GRAPH, World, engine};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_cold_requests_are_one() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "secret");
    world.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 300 }));
    let results =
        join_all((0..1000).map(|_| async { application.acquire_token_for_client([GRAPH]).await })).await;

    assert_eq!(world.token_requests().len(), 1);
    let tokens: Vec<_> = results.into_iter().map(|result| result.expect("a token")).collect();
    assert!(tokens.windows(2).all(|pair| pair[0].access_token() == pair[1].access_token()));
    let leaders =
        tokens.iter().filter(|token| token.metadata().token_source == TokenSource::IdentityProvider).count();
    assert_eq!(leaders, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_reaches_all_who_wait() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "expired-secret");
    world.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 300 }));
    let results =
        join_all((0..50).map(|_| async { application.acquire_token_for_client([GRAPH]).await })).await;

    assert_eq!(world.token_requests().len(), 1);
    for result in results {
        assert_eq!(result.expect_err("an expired secret").aadsts_codes(), [7_000_222]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cached_read_does_not_wait_for_a_fetch() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "secret");
    application.acquire_token_for_client([GRAPH]).await.expect("a token");
    world.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 2000 }));
    let fetching = {
        let application = application.clone();
        let other = "https://vault.azure.net/.default";
        tokio::spawn(async move { application.acquire_token_for_client([other]).await })
    };
    while world.token_requests().len() < 2 {
        tokio::task::yield_now().await;
    }
    for _ in 0..1000 {
        application.acquire_token_for_client([GRAPH]).await.expect("the cached token");
    }
    assert!(!fetching.is_finished(), "the reads ended while the fetch was under way");
    fetching.await.expect("a task").expect("the other token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_gives_up_fails_nobody() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "secret");
    world.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 500 }));
    let impatient = {
        let application = application.clone();
        tokio::spawn(async move { application.acquire_token_for_client([GRAPH]).await })
    };
    while world.token_requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let patient = {
        let application = application.clone();
        tokio::spawn(async move { application.acquire_token_for_client([GRAPH]).await })
    };
    impatient.abort();
    patient.await.expect("a task").expect("the token that the other one asked for");
    assert_eq!(world.token_requests().len(), 1);
}
