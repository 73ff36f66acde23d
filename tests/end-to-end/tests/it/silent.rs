//! Users who are known: their tokens without them, and how they are listed and forgotten.

use symbolon::{Account, Application, CacheRefreshReason, ErrorKind, TokenSource};
use symbolon_authority::{Fault, FaultRule, LogEntry, REDIRECT_URI, Registration, sample};
use symbolon_end_to_end::{GRAPH, VAULT, World, claims, engine, until};

const HOUR: u64 = 60 * 60 * 1000;

async fn sign_in(world: &World, application: &Application, user: &str) -> Account {
    let code = world.code(user, sample::WEB_API);
    let token = application.acquire_token_by_authorization_code([GRAPH], code, REDIRECT_URI).await;
    token.expect("a token").account().expect("an account")
}

/// The web API with another registration.
fn registered(world: &World, symbolon: &symbolon::Symbolon, registration: Registration) -> Application {
    world.authority.register(registration.secret("another").redirect_uri(REDIRECT_URI));
    world.application_with(symbolon, "web-api", |settings| {
        settings["AzureAd"]["ClientCredentials"][0]["ClientSecret"] = "another".into();
    })
}

fn grants(requests: &[LogEntry]) -> Vec<&str> {
    requests.iter().filter_map(|request| request.form_text("grant_type")).collect()
}

#[tokio::test]
async fn the_cache_serves_then_the_refresh_token() {
    let (world, symbolon, clock) = World::timed().await;
    let application = world.application(&symbolon, "web-api");
    let account = sign_in(&world, &application, sample::ALICE).await;

    let (token, requests) = world.seen(application.acquire_token_silent([GRAPH], &account)).await;
    let first = token.expect("a token");
    assert_eq!((first.metadata().token_source, requests.len()), (TokenSource::Cache, 0));
    assert_eq!(first.account(), Some(account.clone()));

    // Another resource, and an expired token.
    let (token, requests) = world.seen(application.acquire_token_silent([VAULT], &account)).await;
    assert_eq!(
        token.expect("a token").metadata().cache_refresh_reason,
        CacheRefreshReason::NoCachedAccessToken
    );
    assert_eq!(grants(&requests), ["refresh_token"]);
    clock.advance(2 * HOUR);
    let (token, requests) = world.seen(application.acquire_token_silent([GRAPH], &account)).await;
    let token = token.expect("a token");
    assert_eq!(token.metadata().cache_refresh_reason, CacheRefreshReason::Expired);
    assert_eq!(claims(token.access_token())["upn"], sample::ALICE);
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    let mailbox = format!("oid:{}@{}", sample::ALICE_OBJECT_ID, symbolon_authority::CONTOSO);
    assert_eq!(request.header("x-anchormailbox"), Some(mailbox.as_str()));
    assert_eq!(request.form_text("client_info"), Some("1"));
    assert_eq!(
        request.form_text("scope"),
        Some("https://graph.microsoft.com/.default offline_access openid profile")
    );

    let (token, requests) =
        world.seen(application.acquire_token_silent([GRAPH], &account).with_force_refresh(true)).await;
    token.expect("a token");
    assert_eq!(grants(&requests), ["refresh_token"]);
}

#[tokio::test]
async fn users_are_listed_found_and_forgotten() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let alice = sign_in(&world, &application, sample::ALICE).await;
    let bob = sign_in(&world, &application, sample::BOB).await;
    // Twice the same user is one account.
    sign_in(&world, &application, sample::ALICE).await;
    let mut listed = application.accounts().await.expect("accounts");
    listed.sort_by(|a, b| a.username.cmp(&b.username));
    assert_eq!(listed, [alice.clone(), bob.clone()]);
    assert_eq!(application.account(&bob.home_account_id).await.expect("accounts"), Some(bob.clone()));
    assert_eq!(application.account("nobody").await.expect("accounts"), None);

    assert!(application.remove_account(&alice).await.expect("she was there"));
    assert!(!application.remove_account(&alice).await.expect("she isn't any more"));
    assert_eq!(application.accounts().await.expect("accounts"), std::slice::from_ref(&bob));
    for scope in [GRAPH, VAULT] {
        let (outcome, requests) = world.seen(application.acquire_token_silent([scope], &alice)).await;
        let error = outcome.expect_err("she must sign in");
        assert_eq!((error.code(), requests.len()), ("no_tokens_found", 0));
        assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::InteractionRequired);
        let token = application.acquire_token_silent([scope], &bob).await.expect("Bob stays");
        assert_eq!(claims(token.access_token())["upn"], sample::BOB);
    }
}

/// Who is forgotten while a refresh is under way stays forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_when_a_user_is_forgotten_is_not_kept() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let account = sign_in(&world, &application, sample::ALICE).await;
    world.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 300 }));
    let refresh = {
        let (application, account) = (application.clone(), account.clone());
        tokio::spawn(async move { application.acquire_token_silent([VAULT], &account).await })
    };
    world.requested(2).await;
    assert!(application.remove_account(&account).await.expect("she was there"));
    assert!(!refresh.is_finished());
    refresh.await.expect("a task").expect("whoever asked gets the token");
    assert!(application.accounts().await.expect("accounts").is_empty());
    let error = application.acquire_token_silent([VAULT], &account).await.expect_err("she must sign in");
    assert_eq!(error.code(), "no_tokens_found");
}

#[tokio::test]
async fn long_running_processes_do_not_sign_anybody_in_or_out() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    application.initiate_long_running_process([GRAPH], &assertion, "key").await.expect("a process");
    assert!(application.accounts().await.expect("accounts").is_empty());
    let account = sign_in(&world, &application, sample::ALICE).await;
    assert!(application.remove_account(&account).await.expect("she was there"));
    application.acquire_token_in_long_running_process([VAULT], "key").await.expect("the process goes on");
}

#[tokio::test]
async fn a_refresh_token_of_another_library_makes_its_user_known() {
    let (world, symbolon) = (World::start().await, engine());
    let refresh_token = world.authority.refresh_token(sample::WEB_API, sample::ALICE).expect("Alice");
    let application = world.application(&symbolon, "web-api");

    let acquire = application.acquire_token_by_refresh_token([GRAPH], &refresh_token);
    let (token, requests) = world.seen(acquire).await;
    let account = token.expect("a token").account().expect("an account");
    assert_eq!(grants(&requests), ["refresh_token"]);
    assert_eq!(application.accounts().await.expect("accounts"), std::slice::from_ref(&account));
    let (_, requests) = world.seen(application.acquire_token_silent([GRAPH], &account)).await;
    assert_eq!(requests.len(), 0);
    let (token, requests) = world.seen(application.acquire_token_silent([VAULT], &account)).await;
    assert_eq!(claims(token.expect("a token").access_token())["upn"], sample::ALICE);
    assert_eq!(grants(&requests), ["refresh_token"]);

    // Without scopes it is for the application itself, and the cache is never asked.
    let none: [&str; 0] = [];
    let (token, requests) =
        world.seen(application.acquire_token_by_refresh_token(none, &refresh_token)).await;
    assert_eq!(claims(token.expect("a token").access_token())["aud"], sample::WEB_API);
    assert!(
        requests[0].form_text("scope").expect("a scope").contains(&format!("{}/.default", sample::WEB_API))
    );
}

#[tokio::test]
async fn a_rotating_refresh_token_is_replaced_by_each_use() {
    let (world, symbolon) = (World::start().await, engine());
    let application = registered(&world, &symbolon, Registration::new(sample::WEB_API).rotating(true));
    let account = sign_in(&world, &application, sample::ALICE).await;
    for scope in [GRAPH, VAULT, GRAPH, VAULT] {
        let acquire = application.acquire_token_silent([scope], &account).with_force_refresh(true);
        let (token, requests) = world.seen(acquire).await;
        token.expect("the latest refresh token");
        assert_eq!(grants(&requests), ["refresh_token"]);
    }
}

#[tokio::test]
async fn a_refresh_token_that_is_worth_nothing_any_more_ends_in_a_sign_in() {
    let (world, symbolon, clock) = World::timed().await;
    let application = world.application(&symbolon, "web-api");
    let account = sign_in(&world, &application, sample::ALICE).await;
    let refused = async |code: u32| {
        let (outcome, requests) = world.seen(application.acquire_token_silent([VAULT], &account)).await;
        let error = outcome.expect_err("she must sign in");
        assert_eq!((error.aadsts_codes(), requests.len()), ([code].as_slice(), 1));
        assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::InteractionRequired);
    };
    world.authority.revoke_refresh_tokens(sample::ALICE);
    refused(50_173).await;
    application.acquire_token_silent([GRAPH], &account).await.expect("the access token still serves");
    sign_in(&world, &application, sample::ALICE).await;
    clock.advance(91 * 24 * HOUR);
    refused(700_082).await;
}

/// A token that is due is given at once, and renewed beside that; its failure is nobody's while the token lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_due_is_renewed_in_the_background() {
    let (world, symbolon, clock) = World::timed().await;
    let refresh_in = std::time::Duration::from_secs(30 * 60);
    let registration = Registration::new(sample::WEB_API).refresh_in(refresh_in);
    let application = registered(&world, &symbolon, registration);
    let account = sign_in(&world, &application, sample::ALICE).await;
    let acquire = async || application.acquire_token_silent([GRAPH], &account).await;
    let first = acquire().await.expect("a token");
    // The time of renewal is spread over ten minutes around the one that the authority names.
    clock.advance(24 * 60 * 1000);
    assert_eq!(world.seen(acquire()).await.1.len(), 0);
    clock.advance(12 * 60 * 1000);

    // First a renewal that fails.
    let reset = world.authority.faults().add(FaultRule::once(Fault::ResetBeforeHeaders).always());
    let seen = world.token_requests().len();
    assert_eq!(acquire().await.expect("it lives").access_token(), first.access_token());
    world.requested(seen + 1).await;
    for _ in 0..10 {
        assert_eq!(acquire().await.expect("it lives").access_token(), first.access_token());
    }
    world.authority.faults().remove(reset);

    // Then one that doesn't. The next attempt comes by itself, a while later.
    clock.advance(6 * 60 * 1000);
    let seen = world.token_requests().len();
    assert_eq!(acquire().await.expect("it lives").access_token(), first.access_token());
    world.requested(seen + 1).await;
    let entry_is_new = || world.token_requests().last().is_some_and(|request| request.status == Some(200));
    until(entry_is_new).await;
    assert_eq!(grants(&world.token_requests()).last(), Some(&"refresh_token"));
    let renewed = async {
        loop {
            let token = acquire().await.expect("a token");
            if token.access_token() != first.access_token() {
                return token;
            }
            tokio::task::yield_now().await;
        }
    };
    let renewed = tokio::time::timeout(std::time::Duration::from_secs(10), renewed).await.expect("renewed");
    assert_eq!(renewed.metadata().token_source, TokenSource::Cache);
    assert_eq!(world.token_requests().len(), seen + 1, "one renewal for all who asked");

    // When the token is over, what goes wrong is the caller's again.
    clock.advance(2 * HOUR);
    world.authority.faults().add(FaultRule::once(Fault::ResetBeforeHeaders).always());
    acquire().await.expect_err("nothing is left");
}
