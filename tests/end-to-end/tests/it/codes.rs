//! Signing in: the URL that the browser goes to, the code that comes back, and the token that it is exchanged for.

use std::time::Duration;

use symbolon::{Application, Error, ErrorKind, Symbolon};
use symbolon_authority::{Fault, FaultRule, REDIRECT_URI, RetryAfter, sample};
use symbolon_end_to_end::{GRAPH, VAULT, World, claims, engine, engine_with};

use crate::browser::{query, visit};

const MINUTE: u64 = 60 * 1000;

fn web_app(world: &World, symbolon: &Symbolon) -> Application {
    world.application(symbolon, "web-api")
}

fn aadsts(error: &Error) -> &[u32] {
    assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::InteractionRequired, "{error}");
    error.aadsts_codes()
}

#[tokio::test]
async fn from_the_sign_in_to_the_token() {
    let (world, symbolon) = (World::start().await, engine());
    let application = web_app(&world, &symbolon);
    let correlation_id = uuid::Uuid::new_v4();
    let begun = application
        .authorization_request([GRAPH], REDIRECT_URI)
        .with_login_hint(sample::ALICE)
        .with_prompt("select_account")
        .with_correlation_id(correlation_id)
        .await
        .expect("a sign-in");
    assert!(world.authority.log().is_empty(), "it asks nobody");
    let target = visit(&world.authority, &begun.url).await.expect("a redirect");
    let back = query(&target);
    assert!(target.as_str().starts_with(REDIRECT_URI));
    assert_eq!(back["state"], begun.state);

    let [sign_in] = world.authority.log().try_into().expect("one request");
    assert_eq!((sign_in.host.as_str(), sign_in.status), ("login.microsoftonline.com", Some(302)));
    let sent: std::collections::HashMap<_, _> =
        sign_in.query.iter().map(|field| (field.name.as_str(), &field.value)).collect();
    let text = |name: &str| match sent[name] {
        symbolon_authority::FieldValue::Text(text) => text.as_str(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!((text("response_type"), text("code_challenge_method")), ("code", "S256"));
    assert_eq!((text("client_id"), text("redirect_uri")), (sample::WEB_API, REDIRECT_URI));
    assert_eq!(text("scope"), "https://graph.microsoft.com/.default offline_access openid profile");
    assert_eq!((text("login_hint"), text("prompt")), (sample::ALICE, "select_account"));

    let redeem = application
        .acquire_token_by_authorization_code([GRAPH], &back["code"], REDIRECT_URI)
        .with_code_verifier(&begun.code_verifier);
    let (token, requests) = world.seen(redeem).await;
    let token = token.expect("a token");
    assert_eq!(claims(token.access_token())["upn"], sample::ALICE);
    let id_token = claims(token.id_token().expect("an id token"));
    assert_eq!((&id_token["nonce"], &id_token["aud"]), (&begun.nonce.into(), &sample::WEB_API.into()));
    assert_eq!(token.account().expect("an account").username, sample::ALICE);
    assert_eq!(token.spa_authorization_code(), None);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].form_text("grant_type"), Some("authorization_code"));
    assert_eq!(requests[0].form_text("redirect_uri"), Some(REDIRECT_URI));

    // What the sign-in brought is there for silent requests.
    let account = token.account().expect("an account");
    let (_, requests) = world.seen(application.acquire_token_silent([GRAPH], &account)).await;
    assert_eq!(requests.len(), 0);
}

#[tokio::test]
async fn two_sign_ins_have_nothing_in_common() {
    let (world, symbolon) = (World::start().await, engine());
    let application = web_app(&world, &symbolon);
    let begin = || application.authorization_request([GRAPH], REDIRECT_URI).with_login_hint(sample::ALICE);
    let (one, other) = (begin().await.expect("a sign-in"), begin().await.expect("a sign-in"));
    assert_ne!(
        (&one.state, &one.nonce, &one.code_verifier),
        (&other.state, &other.nonce, &other.code_verifier)
    );
    let code =
        query(&visit(&world.authority, &one.url).await.expect("a redirect")).remove("code").expect("a code");
    // A code redeemed with another sign-in's verifier is refused, and left for its owner.
    let redeem = |verifier: &str| {
        application
            .acquire_token_by_authorization_code([GRAPH], code.clone(), REDIRECT_URI)
            .with_code_verifier(verifier.to_owned())
    };
    assert_eq!(aadsts(&redeem(&other.code_verifier).await.expect_err("another's")), [501_481]);
    let without = application.acquire_token_by_authorization_code([GRAPH], &code, REDIRECT_URI).await;
    assert_eq!(aadsts(&without.expect_err("no verifier")), [501_481]);
    assert_eq!(application.cache_statistics().entries, 0);
    redeem(&one.code_verifier).await.expect("its own");
}

#[tokio::test]
async fn an_unregistered_redirect_uri_is_the_browsers_to_see() {
    let (world, symbolon) = (World::start().await, engine());
    let application = web_app(&world, &symbolon);
    let begun = application
        .authorization_request([GRAPH], "https://evil.example/")
        .with_login_hint(sample::ALICE)
        .await
        .expect("a URL");
    let page = visit(&world.authority, &begun.url).await.expect_err("a page");
    assert!(page.contains("AADSTS50011"), "{page}");
    let code = world.code(sample::ALICE, sample::WEB_API);
    let error =
        application.acquire_token_by_authorization_code([GRAPH], code, "https://localhost/other").await;
    assert_eq!(aadsts(&error.expect_err("another address")), [500_112]);
}

#[tokio::test]
async fn a_code_is_good_once_and_for_ten_minutes() {
    let (world, symbolon, clock) = World::timed().await;
    let application = web_app(&world, &symbolon);
    let redeem =
        |code: &str| application.acquire_token_by_authorization_code([GRAPH], code.to_owned(), REDIRECT_URI);
    let code = world.code(sample::ALICE, sample::WEB_API);
    redeem(&code).await.expect("a token");
    let entries = application.cache_statistics().entries;
    assert_eq!(aadsts(&redeem(&code).await.expect_err("it is used")), [54_005]);
    let late = world.code(sample::BOB, sample::WEB_API);
    clock.advance(11 * MINUTE);
    assert_eq!(aadsts(&redeem(&late).await.expect_err("it is expired")), [70_008]);
    assert_eq!(application.cache_statistics().entries, entries, "Alice's tokens stand, Bob has none");
    let accounts = application.accounts().await.expect("accounts");
    assert_eq!(accounts.into_iter().map(|account| account.username).collect::<Vec<_>>(), [sample::ALICE]);
}

#[tokio::test]
async fn a_second_code_for_the_single_page_application() {
    let (world, symbolon) = (World::start().await, engine());
    let application = web_app(&world, &symbolon);
    let redeem = application
        .acquire_token_by_authorization_code(
            [GRAPH],
            world.code(sample::ALICE, sample::WEB_API),
            REDIRECT_URI,
        )
        .with_spa_authorization_code(true);
    let (token, requests) = world.seen(redeem).await;
    let token = token.expect("a token");
    assert_eq!(requests[0].form_text("return_spa_code"), Some("1"));
    let second = token.spa_authorization_code().expect("a second code");
    // It is the page's, not the web application's.
    let error = application.acquire_token_by_authorization_code([GRAPH], second, REDIRECT_URI).await;
    assert_eq!(error.expect_err("of the page").aadsts_codes(), [9_002_327]);
}

#[tokio::test]
async fn without_offline_access_there_is_no_refresh_token() {
    let (world, symbolon) = (World::start().await, engine());
    let application = web_app(&world, &symbolon);
    let begun = application
        .authorization_request([GRAPH], REDIRECT_URI)
        .with_offline_access(false)
        .await
        .expect("a sign-in");
    assert!(!begun.url.contains("offline_access"), "{}", begun.url);
    let redeem = application
        .acquire_token_by_authorization_code(
            [GRAPH],
            world.code(sample::ALICE, sample::WEB_API),
            REDIRECT_URI,
        )
        .with_offline_access(false);
    let (token, requests) = world.seen(redeem).await;
    let account = token.expect("a token").account().expect("an account");
    assert_eq!(requests[0].form_text("scope"), Some("https://graph.microsoft.com/.default openid profile"));
    application.acquire_token_silent([GRAPH], &account).await.expect("the token itself is there");
    let (outcome, requests) = world.seen(application.acquire_token_silent([VAULT], &account)).await;
    let error = outcome.expect_err("nothing to refresh it with");
    assert_eq!((error.code(), requests.len()), ("no_tokens_found", 0));
}

/// Whatever happens to the request, it goes out once; where the code may be used up, the error says so.
#[tokio::test]
async fn a_code_is_never_sent_again() {
    let world = World::start().await;
    let symbolon = engine_with(|builder| builder.acquisition_deadline(Duration::from_millis(1500)));
    let server_error = |retry_after| Fault::Status { status: 503, retry_after, body: None };
    for (fault, expected) in [
        (Fault::ResetBeforeHeaders, ErrorKind::OutcomeUnknown),
        (Fault::ResetInsideBody, ErrorKind::OutcomeUnknown),
        (Fault::CloseWithoutAnswer, ErrorKind::OutcomeUnknown),
        (server_error(None), ErrorKind::TemporarilyUnavailable),
        (server_error(Some(RetryAfter::Seconds(1))), ErrorKind::TemporarilyUnavailable),
        (Fault::Status { status: 429, retry_after: None, body: None }, ErrorKind::Throttled),
        (Fault::MalformedJson, ErrorKind::ProtocolViolation),
        (Fault::EndlessBody { interval_milliseconds: 50 }, ErrorKind::OutcomeUnknown),
        (Fault::Delay { milliseconds: 5000 }, ErrorKind::OutcomeUnknown),
    ] {
        let application = web_app(&world, &symbolon);
        let kind = fault.kind();
        let id = world.authority.faults().add(FaultRule::once(fault).always());
        let code = world.code(sample::ALICE, sample::WEB_API);
        let redeem = application.acquire_token_by_authorization_code([GRAPH], code, REDIRECT_URI);
        let (outcome, requests) = world.seen(redeem).await;
        let error = outcome.expect_err(kind);
        assert_eq!(error.acquisition().map(|error| error.kind), Some(expected), "{kind}");
        assert!(!error.is_retryable(), "{kind}: {error:?}");
        assert_eq!(requests.len(), 1, "{kind}");
        assert_eq!(application.cache_statistics().entries, 0, "{kind}");
        assert!(application.accounts().await.expect("accounts").is_empty(), "{kind}");
        world.authority.faults().remove(id);
    }
}
