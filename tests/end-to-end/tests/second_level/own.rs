//! In the form of our own: one request for all processes, one end of a session for all, and nobody notices an outage.

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use symbolon::{Application, Symbolon, TokenSource};
use symbolon_authority::{Fault, FaultRule, REDIRECT_URI, sample};
use symbolon_end_to_end::flows::Flow;
use symbolon_end_to_end::redis_server::RedisServer;
use symbolon_end_to_end::{GRAPH, VAULT, World, engine_with, until};

const HOUR_MS: u64 = 60 * 60 * 1000;

/// An application of a process of its own, with its tokens in the store that `cache` says.
pub(crate) fn process(world: &World, sample: &str, cache: &serde_json::Value) -> (Symbolon, Application) {
    // Few at once, so that many of them fit into one address space.
    process_with(world, sample, cache, engine_with(|builder| builder.max_in_flight(256)))
}

fn process_with(
    world: &World,
    sample: &str,
    cache: &serde_json::Value,
    symbolon: Symbolon,
) -> (Symbolon, Application) {
    std::fs::write(world.path("cache.key"), [7; 32]).expect("a key");
    let application = world.application_with(&symbolon, sample, |settings| {
        settings["Symbolon"]["TokenCache"] = cache.clone();
    });
    (symbolon, application)
}

fn on(server: &RedisServer) -> serde_json::Value {
    serde_json::json!({ "Redis": server.url(), "Keys": ["cache.key"] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_acquired_others_have() {
    let Some(server) = RedisServer::start() else { return };
    let world = World::start().await;
    for flow in
        [Flow::ForClient, Flow::OnBehalfOf, Flow::GoOn, Flow::Silent, Flow::ForAgent, Flow::ForAgentUser]
    {
        let (_one, application) = process(&world, flow.sample(), &on(&server));
        let mut scenario = flow.prepare_for(&world, application).await.expect("a scenario");
        let first = scenario.acquire().await.expect("a token");
        let (_other, application) = process(&world, flow.sample(), &on(&server));
        scenario.application = application;
        let (token, requests) = world.seen(scenario.acquire()).await;
        let token = token.expect("the same token");
        assert_eq!((token.access_token(), requests.len()), (first.access_token(), 0), "{flow:?}");
        assert_eq!(token.metadata().token_source, TokenSource::Cache, "{flow:?}");
        assert_eq!(token.account(), first.account(), "{flow:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_cold_processes_send_one_request() {
    let Some(server) = RedisServer::start() else { return };
    let world = World::start().await;
    world.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 400 }));
    let processes: Vec<_> = (0..6).map(|_| process(&world, "secret", &on(&server))).collect();
    let tokens = join_all(processes.iter().flat_map(|(_, application)| {
        (0..20).map(|_| async { application.acquire_token_for_client([GRAPH]).await.expect("a token") })
    }))
    .await;
    assert_eq!(world.token_requests().len(), 1);
    assert!(tokens.windows(2).all(|pair| pair[0].access_token() == pair[1].access_token()));
    assert!(processes.iter().any(|(symbolon, _)| symbolon.second_level_statistics().waits > 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_renew_once() {
    let Some(server) = RedisServer::start() else { return };
    let (world, symbolon, clock) = World::timed().await;
    world.authority.register(
        symbolon_authority::Registration::new(sample::SECRET)
            .secret("another")
            .refresh_in(Duration::from_secs(1800)),
    );
    let another = |symbolon| {
        std::fs::write(world.path("cache.key"), [7; 32]).expect("a key");
        let application = world.application_with(&symbolon, "secret", |settings| {
            settings["AzureAd"]["ClientCredentials"][0]["ClientSecret"] = "another".into();
            settings["Symbolon"]["TokenCache"] = on(&server);
        });
        (symbolon, application)
    };
    let mut processes = vec![another(symbolon)];
    processes.extend(
        (0..3).map(|_| another(engine_with(|builder| builder.clock(clock.clone()).max_in_flight(256)))),
    );
    for (_, application) in &processes {
        application.acquire_token_for_client([GRAPH]).await.expect("a token");
    }
    assert_eq!(world.token_requests().len(), 1);
    clock.advance(HOUR_MS * 3 / 4);
    world.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 200 }));
    // The first call after that begins the renewal; the others look what came of it.
    for _ in 0..3 {
        for (_, application) in &processes {
            application.acquire_token_for_client([GRAPH]).await.expect("a token that still stands");
        }
    }
    world.requested(2).await;
    let hits = || -> u64 { processes.iter().map(|(engine, _)| engine.second_level_statistics().hits).sum() };
    until(|| hits() >= 6).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.token_requests().len(), 2, "one renewal for all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_everywhere() {
    let Some(server) = RedisServer::start() else { return };
    let world = World::start().await;
    let [(_a, one), (_b, other)] = [(); 2].map(|()| process(&world, "web-api", &on(&server)));
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    one.initiate_long_running_process([GRAPH], &assertion, "session").await.expect("a token");
    let go_on = async |application: &Application, scope| {
        application.acquire_token_in_long_running_process([scope], "session").await.map(drop)
    };
    go_on(&other, GRAPH).await.expect("it goes on elsewhere");
    go_on(&other, VAULT).await.expect("with its refresh token, too");
    assert!(one.stop_long_running_process("session").await.expect("an end"));
    for application in [&one, &process(&world, "web-api", &on(&server)).1] {
        let error = go_on(application, GRAPH).await.expect_err("it has ended");
        assert_eq!(error.code(), "obo_cache_key_not_in_cache_error");
    }
    let mut ended = Ok(());
    for _ in 0..100 {
        ended = go_on(&other, GRAPH).await;
        if ended.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(ended.expect_err("it has ended there, too").code(), "obo_cache_key_not_in_cache_error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_known_and_forgotten_everywhere() {
    let Some(server) = RedisServer::start() else { return };
    let world = World::start().await;
    let [(_a, one), (_b, other)] = [(); 2].map(|()| process(&world, "web-api", &on(&server)));
    let code = world.code(sample::ALICE, sample::WEB_API);
    let token = one.acquire_token_by_authorization_code([GRAPH], code, REDIRECT_URI).await.expect("a token");
    let accounts = other.accounts().await.expect("accounts");
    assert_eq!(accounts, token.account().into_iter().collect::<Vec<_>>());
    other.acquire_token_silent([VAULT], &accounts[0]).await.expect("a token by the refresh token");
    assert!(other.remove_account(&accounts[0]).await.expect("an end"));
    let (_c, third) = process(&world, "web-api", &on(&server));
    assert!(third.accounts().await.expect("accounts").is_empty());
    let error = third.acquire_token_silent([GRAPH], &accounts[0]).await.expect_err("forgotten");
    assert_eq!(error.code(), "no_tokens_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_outage_fails_an_acquisition() {
    let Some(mut server) = RedisServer::start() else { return };
    let world = World::start().await;
    let (symbolon, application) = process(&world, "secret", &on(&server));
    application.acquire_token_for_client([GRAPH]).await.expect("a token");
    server.kill();
    application.acquire_token_for_client([GRAPH]).await.expect("the cached one");
    for _ in 0..5 {
        application.acquire_token_for_client([VAULT]).with_force_refresh(true).await.expect("a new one");
    }
    assert!(symbolon.second_level_statistics().circuit_open);
    server.restart();
    for _ in 0..100 {
        application.acquire_token_for_client([VAULT]).with_force_refresh(true).await.expect("a new one");
        if !symbolon.second_level_statistics().circuit_open {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the server is never used again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applications_with_one_key_and_one_server_are_kept_apart() {
    let Some(server) = RedisServer::start() else { return };
    let world = World::start().await;
    let (symbolon, one) = process(&world, "secret", &on(&server));
    let (_symbolon, other) = process_with(&world, "web-api", &on(&server), symbolon);
    let first = one.acquire_token_for_client([GRAPH]).await.expect("a token");
    let (second, requests) = world.seen(other.acquire_token_for_client([GRAPH])).await;
    assert_eq!(requests.len(), 1);
    assert_ne!(first.access_token(), second.expect("its own").access_token());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_outlives_the_process() {
    let world = World::start().await;
    let cache = serde_json::json!({ "File": "tokens.redb", "Keys": ["cache.key"] });
    let (symbolon, application) = process(&world, "web-api", &cache);
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    application.initiate_long_running_process([GRAPH], &assertion, "session").await.expect("a token");
    application.acquire_token_for_client([GRAPH]).await.expect("a token");
    drop((symbolon, application));
    assert!(Path::new(&world.path("tokens.redb")).exists());
    let (_symbolon, application) = process(&world, "web-api", &cache);
    let (tokens, requests) = world
        .seen(async {
            application.acquire_token_for_client([GRAPH]).await?;
            application.acquire_token_in_long_running_process([GRAPH], "session").await
        })
        .await;
    tokens.expect("tokens of the process before");
    assert_eq!(requests.len(), 0);
    application
        .acquire_token_in_long_running_process([VAULT], "session")
        .await
        .expect("by its refresh token");
}
