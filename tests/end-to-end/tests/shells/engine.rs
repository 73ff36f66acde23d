//! The engine of the crate with the shell for WASI 0.3: real TLS, the same resources, policies and limits as with the other.

use std::time::Duration;

use symbolon::{Builder, Error, ErrorKind, GuestFailure, Symbolon};
use symbolon_authority::{Endpoint, Fault, FaultRule, REDIRECT_URI, sample};
use symbolon_end_to_end::flows::Flow;
use symbolon_end_to_end::{GRAPH, World, engine_with, guests};

fn engine(add: impl FnOnce(Builder) -> Builder) -> Option<Symbolon> {
    let shell = guests::component("symbolon-guest-p3")?;
    Some(engine_with(|builder| add(builder.wasi_p3_component(shell))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flow_brings_its_token() {
    let Some(symbolon) = engine(|builder| builder) else { return };
    let world = World::start().await;
    for flow in Flow::ALL {
        let scenario = flow.prepare(&world, &symbolon).await.expect("what comes before");
        let (token, requests) = world.seen(scenario.acquire()).await;
        let token = token.unwrap_or_else(|error| panic!("{flow:?}: {error}"));
        assert_eq!(token.token_type(), "Bearer", "{flow:?}");
        assert!(!requests.is_empty(), "{flow:?} asked the authority");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_presented_as_ever() {
    let Some(symbolon) = engine(|builder| builder) else { return };
    let world = World::start().await;
    for (name, is_bound) in [("secret", false), ("certificate", false), ("bound", true)] {
        let application = world.application(&symbolon, name);
        let request = application.acquire_token_for_client([GRAPH]);
        let request = if is_bound { request.with_mtls_proof_of_possession() } else { request };
        let (token, requests) = world.seen(request).await;
        let token = token.unwrap_or_else(|error| panic!("{name}: {error}"));
        let [request] = &requests[..] else { panic!("{name}: {} requests", requests.len()) };
        assert_eq!(request.client_certificate.is_some(), is_bound, "{name}");
        assert_eq!(token.binding_certificate().is_some(), is_bound, "{name}");
        let secrets = request.form_names().filter(|field| *field == "client_secret").count();
        assert_eq!(secrets, usize::from(name == "secret"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_share_one_request_and_what_it_brings() {
    let Some(symbolon) = engine(|builder| builder) else { return };
    let world = World::start().await;
    let application = world.application(&symbolon, "secret");
    let callers: Vec<_> = (0..32)
        .map(|_| {
            let application = application.clone();
            tokio::spawn(async move { application.acquire_token_for_client([GRAPH]).await })
        })
        .collect();
    for caller in callers {
        caller.await.expect("a task").expect("a token");
    }
    assert_eq!(world.token_requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_wait_works_too() {
    let Some(symbolon) = engine(|builder| builder) else { return };
    let world = World::start().await;
    let application = world.application(&symbolon, "web-api");
    application.reuse_instances(true);
    let begun = application.authorization_request([GRAPH], REDIRECT_URI).await.expect("a sign-in");
    assert!(begun.url.contains("code_challenge"), "{}", begun.url);
    let code = world.code(sample::ALICE, application.options().client_id());
    application.acquire_token_by_authorization_code([GRAPH], code, REDIRECT_URI).await.expect("a token");
    let accounts = application.accounts().await.expect("accounts");
    let [alice] = &accounts[..] else { panic!("{accounts:?}") };
    assert!(application.remove_account(alice).await.expect("an answer"));
    assert!(application.accounts().await.expect("accounts").is_empty());
    assert!(!application.stop_long_running_process("no session").await.expect("an answer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_those_of_the_other_shell() {
    let Some(symbolon) = engine(|builder| builder) else { return };
    let world = World::start().await;
    let application = world.application(&symbolon, "secret");
    let faults = world.authority.faults();
    let reset = faults.add(FaultRule::once(Fault::ResetBeforeHeaders).always().endpoint(Endpoint::Token));
    match application.acquire_token_for_client([GRAPH]).await {
        Err(Error::Acquisition(error)) => {
            assert_eq!(error.kind, ErrorKind::TransportFailed);
            assert!(error.transport.is_some(), "the transport's own words");
        }
        other => panic!("{other:?}"),
    }
    faults.remove(reset);
    application.acquire_token_for_client([GRAPH]).await.expect("nothing of it lasts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold() {
    let Some(symbolon) =
        engine(|builder| builder.guest_cpu(Duration::from_nanos(1)).guest_memory(512 << 20).max_in_flight(4))
    else {
        return;
    };
    let world = World::start().await;
    let application = world.application(&symbolon, "web-api");
    // Its digest takes longer than a tick.
    let long = "x".repeat(64 << 20);
    match application.acquire_token_on_behalf_of([GRAPH], &long).await {
        Err(Error::Guest(GuestFailure::CpuBudget { .. })) => {}
        other => panic!("{other:?}"),
    }
    let Some(symbolon) = engine(|builder| builder.guest_memory(4 << 20)) else { return };
    let application = world.application(&symbolon, "web-api");
    match application.acquire_token_on_behalf_of([GRAPH], &long).await {
        Err(Error::Guest(GuestFailure::MemoryLimit { limit })) => assert_eq!(limit, 4 << 20),
        other => panic!("{other:?}"),
    }
    let token = application.acquire_token_for_client([GRAPH]).await;
    token.expect("it costs nobody else anything");
}

/// The shipped component runs as it did without the feature: its engine has no concurrency, and can't load this shell.
#[test]
fn the_other_shells_engine_is_as_it_was() {
    let Some(shell) = guests::component("symbolon-guest-p3") else { return };
    match Symbolon::builder().component(shell).build() {
        Err(Error::Engine(message)) => println!("{message}"),
        other => panic!("{other:?}"),
    }
    let shipped = symbolon::Component.bytes();
    match Symbolon::builder().wasi_p3_component(shipped).build() {
        Err(Error::Engine(message)) => println!("{message}"),
        other => panic!("{other:?}"),
    }
}
