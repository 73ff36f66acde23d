//! Long-running processes: what a user's token began goes on after that token has expired.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use symbolon::{Application, Error, ErrorKind, SessionKey, TokenSource};
use symbolon_authority::{Fault, FaultRule, LogEntry, sample};
use symbolon_end_to_end::{GRAPH, VAULT, World, claims, engine};

/// What the key of a process is where the caller chooses none.
fn allocated(assertion: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(assertion))
}

fn grants(requests: &[LogEntry]) -> Vec<&str> {
    requests.iter().filter_map(|request| request.form_text("grant_type")).collect()
}

/// Alice's process under this key, with a token for Microsoft Graph.
async fn initiated(world: &World, application: &Application, key: &str) -> String {
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    let token = application.initiate_long_running_process([GRAPH], &assertion, key).await.expect("a token");
    assert_eq!(token.long_running_session_key(), Some(key));
    assertion
}

fn is_unknown(error: &Error) -> bool {
    error.code() == "obo_cache_key_not_in_cache_error"
        && error.acquisition().is_some_and(|decision| decision.kind == ErrorKind::InteractionRequired)
}

#[tokio::test]
async fn a_key_that_nobody_chooses_is_given_back() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    let key = allocated(&assertion);

    let token = application
        .initiate_long_running_process([GRAPH], &assertion, SessionKey::AllocateForMe)
        .await
        .expect("by value");
    assert_eq!(token.long_running_session_key(), Some(key.as_str()));
    for text in ["AllocateForMe", ""] {
        let token = application.initiate_long_running_process([GRAPH], &assertion, text).await;
        assert_eq!(token.expect("by a word").long_running_session_key(), Some(key.as_str()));
    }
    let mut mine = SessionKey::AllocateForMe;
    application.initiate_long_running_process([GRAPH], &assertion, &mut mine).await.expect("by reference");
    assert_eq!(mine.get(), Some(key.as_str()));

    let (token, requests) =
        world.seen(application.acquire_token_in_long_running_process([GRAPH], &key)).await;
    let token = token.expect("the process goes on");
    assert_eq!((requests.len(), token.long_running_session_key()), (0, Some(key.as_str())));
    assert_eq!(claims(token.access_token())["upn"], sample::ALICE);
}

#[tokio::test]
async fn a_key_of_the_callers_own_stays_as_it_is() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    let mut mine = SessionKey::from("alice's own");
    let token = application.initiate_long_running_process([GRAPH], &assertion, &mut mine).await;
    assert_eq!(token.expect("a token").long_running_session_key(), Some("alice's own"));
    assert_eq!(mine.get(), Some("alice's own"));
    let error = application.acquire_token_in_long_running_process([GRAPH], allocated(&assertion)).await;
    assert!(is_unknown(&error.expect_err("no other key")));
}

/// A failure tells no key, and takes none away.
#[tokio::test]
async fn a_failure_leaves_the_callers_key_alone() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let wrong = world.user_token(sample::ALICE, sample::SECRET);
    let (mut none, mut mine) = (SessionKey::AllocateForMe, SessionKey::from("mine"));
    application.initiate_long_running_process([GRAPH], &wrong, &mut none).await.expect_err("500131");
    application.initiate_long_running_process([GRAPH], &wrong, &mut mine).await.expect_err("500131");
    assert_eq!((none.get(), mine.get()), (None, Some("mine")));
    assert_eq!(application.cache_statistics().entries, 0);
}

#[tokio::test]
async fn the_refresh_token_goes_on_when_the_users_token_has_expired() {
    let (world, symbolon, clock) = World::timed().await;
    let application = world.application(&symbolon, "web-api");
    initiated(&world, &application, "key").await;
    clock.advance(30 * 24 * 60 * 60 * 1000);
    for scope in [GRAPH, VAULT] {
        let acquire = || application.acquire_token_in_long_running_process([scope], "key");
        let (token, requests) = world.seen(acquire()).await;
        let token = token.expect("a token");
        assert_eq!(grants(&requests), ["refresh_token"]);
        let mailbox = format!("oid:{}@{}", sample::ALICE_OBJECT_ID, symbolon_authority::CONTOSO);
        assert_eq!(requests[0].header("x-anchormailbox"), Some(mailbox.as_str()));
        assert_eq!(claims(token.access_token())["upn"], sample::ALICE);
        assert_eq!(token.long_running_session_key(), Some("key"));
        assert_eq!(world.seen(acquire()).await.1.len(), 0, "found again");
    }
}

#[tokio::test]
async fn initiating_always_exchanges_unless_the_cache_is_asked_for_the_same_user() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let assertion = initiated(&world, &application, "key").await;
    let begin = |assertion| application.initiate_long_running_process([GRAPH], assertion, "key");

    let (token, requests) = world.seen(begin(&assertion)).await;
    assert_eq!(token.expect("a token").metadata().token_source, TokenSource::IdentityProvider);
    assert_eq!(requests.len(), 1, "the very same assertion again");

    let another = world.user_token(sample::ALICE, sample::WEB_API);
    for assertion in [&assertion, &another] {
        let (token, requests) = world.seen(begin(assertion).with_search_in_cache(true)).await;
        assert_eq!(
            (token.expect("a token").metadata().token_source, requests.len()),
            (TokenSource::Cache, 0)
        );
    }
    // For another resource the process' refresh token serves.
    let search =
        application.initiate_long_running_process([VAULT], &another, "key").with_search_in_cache(true);
    let (token, requests) = world.seen(search).await;
    token.expect("a token");
    assert_eq!(grants(&requests), ["refresh_token"]);

    let bobs = world.user_token(sample::BOB, sample::WEB_API);
    let error = begin(&bobs).with_search_in_cache(true).await.expect_err("another user's process");
    assert_eq!(error.code(), "session-key-in-use");
}

#[tokio::test]
async fn two_users_do_not_share_a_key() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    initiated(&world, &application, "key").await;
    let before = application.cache_statistics().entries;
    let bobs = world.user_token(sample::BOB, sample::WEB_API);
    let (outcome, requests) =
        world.seen(application.initiate_long_running_process([GRAPH], &bobs, "key")).await;
    let error = outcome.expect_err("the key is Alice's");
    assert_eq!((error.code(), requests.len()), ("session-key-in-use", 0));
    assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::InvalidRequest);
    assert!(!error.is_retryable());
    assert_eq!(application.cache_statistics().entries, before);

    let token = application.acquire_token_in_long_running_process([GRAPH], "key").await.expect("Alice's");
    assert_eq!(claims(token.access_token())["upn"], sample::ALICE);
    // A key of his own is all that he needs; and Alice's once she has stopped.
    application.initiate_long_running_process([GRAPH], &bobs, "bob's").await.expect("his own");
    assert!(application.stop_long_running_process("key").await.expect("stopped"));
    application.initiate_long_running_process([GRAPH], &bobs, "key").await.expect("the key is free");
    let token = application.acquire_token_in_long_running_process([GRAPH], "key").await.expect("Bob's");
    assert_eq!(claims(token.access_token())["upn"], sample::BOB);
}

#[tokio::test]
async fn an_unknown_or_empty_key_is_an_error_before_any_request() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let error = application.acquire_token_in_long_running_process([GRAPH], "unknown").await;
    assert!(is_unknown(&error.expect_err("an unknown key")));
    let error = application.acquire_token_in_long_running_process([GRAPH], "").await.expect_err("no key");
    assert_eq!(error.code(), "session_key_required");
    assert!(!application.stop_long_running_process("unknown").await.expect("nothing to end"));
    let error = application.stop_long_running_process("").await.expect_err("no key");
    assert_eq!(error.code(), "session_key_required");
    assert!(world.authority.log().is_empty());
}

#[tokio::test]
async fn what_is_stopped_is_gone() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let assertion = initiated(&world, &application, "key").await;
    initiated(&world, &application, "other").await;
    application.acquire_token_in_long_running_process([VAULT], "key").await.expect("a second token");
    application.acquire_token_on_behalf_of([GRAPH], &assertion).await.expect("beside the process");

    assert!(application.stop_long_running_process("key").await.expect("it was there"));
    assert!(!application.stop_long_running_process("key").await.expect("it isn't any more"));
    for scope in [GRAPH, VAULT] {
        let (outcome, requests) =
            world.seen(application.acquire_token_in_long_running_process([scope], "key")).await;
        assert!(is_unknown(&outcome.expect_err("it was stopped")));
        assert_eq!(requests.len(), 0);
    }
    // Others go on, and what was acquired for the assertion without a process stays.
    application.acquire_token_in_long_running_process([GRAPH], "other").await.expect("another process");
    let (_, requests) = world.seen(application.acquire_token_on_behalf_of([GRAPH], &assertion)).await;
    assert_eq!(requests.len(), 0);
}

/// A refresh is under way while the process is stopped: nothing of what it brings comes into the cache.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_when_a_process_is_stopped_is_not_kept() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    initiated(&world, &application, "key").await;
    world.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 300 }));
    let refresh = {
        let application = application.clone();
        tokio::spawn(async move { application.acquire_token_in_long_running_process([VAULT], "key").await })
    };
    world.requested(2).await;
    assert!(application.stop_long_running_process("key").await.expect("stopped"));
    let entries = application.cache_statistics().entries;
    assert!(!refresh.is_finished(), "the stop came while the refresh was under way");

    refresh.await.expect("a task").expect("whoever asked gets the token");
    assert_eq!(application.cache_statistics().entries, entries);
    for scope in [GRAPH, VAULT] {
        let error = application.acquire_token_in_long_running_process([scope], "key").await;
        assert!(is_unknown(&error.expect_err("it was stopped")));
    }
    assert!(!application.stop_long_running_process("key").await.expect("nothing came back"));
}

#[tokio::test]
async fn a_refresh_token_that_is_worth_nothing_any_more_ends_in_a_sign_in() {
    let (world, symbolon, clock) = World::timed().await;
    let application = world.application(&symbolon, "web-api");
    initiated(&world, &application, "revoked").await;
    assert_eq!(world.authority.revoke_refresh_tokens(sample::ALICE), 1);
    initiated(&world, &application, "expired").await;
    let refused = async |key: &str, code: u32| {
        let (outcome, requests) =
            world.seen(application.acquire_token_in_long_running_process([VAULT], key)).await;
        let error = outcome.expect_err("a refusal");
        assert_eq!((error.aadsts_codes(), requests.len()), ([code].as_slice(), 1));
        assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::InteractionRequired);
    };
    refused("revoked", 50_173).await;
    clock.advance(91 * 24 * 60 * 60 * 1000);
    refused("expired", 700_082).await;

    // The user's next call brings the process to life again: the dead refresh token gives way to the assertion.
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    let search =
        application.initiate_long_running_process([VAULT], &assertion, "revoked").with_search_in_cache(true);
    let (token, requests) = world.seen(search).await;
    token.expect("a token");
    assert_eq!(grants(&requests), ["refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"]);
    application
        .acquire_token_in_long_running_process([GRAPH], "revoked")
        .await
        .expect("a good refresh token");
}

#[tokio::test]
async fn a_rotating_refresh_token_is_replaced_by_each_use() {
    let (world, symbolon) = (World::start().await, engine());
    let registration =
        symbolon_authority::Registration::new(sample::WEB_API).secret("rotates").rotating(true);
    world.authority.register(registration);
    let application = world.application_with(&symbolon, "web-api", |settings| {
        settings["AzureAd"]["ClientCredentials"][0]["ClientSecret"] = "rotates".into();
    });
    initiated(&world, &application, "key").await;
    for _ in 0..3 {
        let refresh =
            application.acquire_token_in_long_running_process([GRAPH], "key").with_force_refresh(true);
        let (token, requests) = world.seen(refresh).await;
        token.expect("the latest refresh token");
        assert_eq!(grants(&requests), ["refresh_token"]);
    }
}
