//! Callers who want the same token at the same time share one request, and nobody else waits for it.

use futures_util::future::join_all;
use symbolon::{AgentIdentity, TokenSource};
use symbolon_authority::{Fault, FaultRule, REDIRECT_URI, sample};
use symbolon_end_to_end::{GRAPH, VAULT, World, engine};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_with_one_assertion_is_one_exchange() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    world.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 300 }));
    let (alices, bobs) =
        (world.user_token(sample::ALICE, sample::WEB_API), world.user_token(sample::BOB, sample::WEB_API));
    let assertions = (0..400).map(|number| if number % 2 == 0 { &alices } else { &bobs });
    let application = &application;
    let exchanges = assertions.map(|assertion| async move {
        application.acquire_token_on_behalf_of([GRAPH], assertion).await.expect("a token")
    });
    let tokens = join_all(exchanges).await;
    assert_eq!(world.token_requests().len(), 2, "one for each user");
    for (number, token) in tokens.iter().enumerate() {
        assert_eq!(token.access_token(), tokens[number % 2].access_token());
    }
    assert_ne!(tokens[0].access_token(), tokens[1].access_token());
}

/// What has to look past the cache shares what begins after it, too: a forced refresh, and a refresh token that would
/// otherwise be redeemed by each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_with_one_refresh_token_redeems_it_once() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let code = world.code(sample::ALICE, sample::WEB_API);
    let token = application.acquire_token_by_authorization_code([GRAPH], code, REDIRECT_URI).await;
    let account = token.expect("a token").account().expect("an account");
    world.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 300 }));
    let refreshes = (0..200).map(|_| async { application.acquire_token_silent([VAULT], &account).await });
    let (tokens, requests) = world.seen(join_all(refreshes)).await;
    assert!(tokens.iter().all(Result::is_ok));
    assert_eq!(requests.len(), 1);
}

/// The legs of an agent's chain are flights of their own: callers for different users and resources share those of the agent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn legs_of_agents_are_shared() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "blueprint");
    world.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 300 }));
    let agent = |number: usize| match number % 3 {
        0 => AgentIdentity::app_only(sample::AGENT_ONE),
        1 => AgentIdentity::with_user_principal_name(sample::AGENT_ONE, sample::ALICE),
        _ => AgentIdentity::with_user_principal_name(sample::AGENT_ONE, sample::BOB),
    };
    let acquired = (0..90).map(|number| {
        let application = &application;
        async move { application.acquire_token_for_agent(agent(number), [GRAPH]).await.expect("a token") }
    });
    join_all(acquired).await;
    let requests = world.token_requests();
    let of_client =
        |id: &str| requests.iter().filter(|request| request.form_text("client_id") == Some(id)).count();
    assert_eq!(of_client(sample::BLUEPRINT), 1, "the agent's proof");
    assert_eq!(of_client(sample::AGENT_ONE), 4, "its own token, the exchange, two users");
}

/// The failure of a leg that is shared is everybody's, and nobody asks again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leg_that_fails_fails_all_who_share_it() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "blueprint");
    world.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 300 }));
    let foreign = |_| async {
        let agent = AgentIdentity::app_only(sample::BOUND_AGENT);
        application.acquire_token_for_agent(agent, [GRAPH]).await
    };
    for outcome in join_all((0..50).map(foreign)).await {
        assert_eq!(outcome.expect_err("another blueprint's").aadsts_codes(), [700_213]);
    }
    assert_eq!(world.token_requests().len(), 2);
}
