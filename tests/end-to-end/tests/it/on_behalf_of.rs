//! A token for another API, in exchange for the one that a user called with.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest, Sha256};
use symbolon::{AssertionKind, ErrorKind, TokenSource, UserAssertion};
use symbolon_authority::{Authority, ConditionalAccess, Registration, SamlAssertion, UserToken, sample};
use symbolon_end_to_end::{GRAPH, VAULT, World, claims, engine};

#[tokio::test]
async fn the_users_token_is_exchanged_once() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);

    let acquire = || application.acquire_token_on_behalf_of([GRAPH], &assertion);
    let (first, requests) = world.seen(acquire()).await;
    let first = first.expect("a token from the authority");
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(request.host, "login.microsoftonline.com");
    assert_eq!(request.form_text("grant_type"), Some("urn:ietf:params:oauth:grant-type:jwt-bearer"));
    assert_eq!(request.form_text("requested_token_use"), Some("on_behalf_of"));
    assert_eq!(request.form_text("client_info"), Some("1"));
    assert_eq!(
        request.form_text("scope"),
        Some("https://graph.microsoft.com/.default offline_access openid profile")
    );
    let (_, sent) = request.form_token("assertion").expect("the user's token");
    assert_eq!(*sent, claims(&assertion));

    assert_eq!(
        (first.token_type(), claims(first.access_token())["upn"].as_str()),
        ("Bearer", Some(sample::ALICE))
    );
    let account = first.account().expect("the user");
    assert_eq!(account.username, sample::ALICE);
    assert!(account.home_account_id.starts_with(sample::ALICE_OBJECT_ID), "{account:?}");
    assert_eq!(claims(first.id_token().expect("an id token"))["oid"], sample::ALICE_OBJECT_ID);

    let (again, requests) = world.seen(acquire()).await;
    let again = again.expect("a token from the cache");
    assert_eq!((again.access_token(), requests.len()), (first.access_token(), 0));
    assert_eq!(again.metadata().token_source, TokenSource::Cache);
    assert_eq!(again.account(), Some(account));
    let listed = application.accounts().await.expect("accounts");
    assert!(listed.is_empty(), "nobody signed in here: {listed:?}");
}

#[tokio::test]
async fn each_assertion_and_each_resource_has_a_token_of_its_own() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let mut seen = Vec::new();
    for (user, scope) in
        [(sample::ALICE, GRAPH), (sample::ALICE, VAULT), (sample::BOB, GRAPH), (sample::ALICE, GRAPH)]
    {
        // Minted anew each time.
        let assertion = world.user_token(user, sample::WEB_API);
        let token = application.acquire_token_on_behalf_of([scope], &assertion).await.expect("a token");
        assert_eq!(claims(token.access_token())["upn"], user);
        assert!(!seen.contains(&token.access_token().to_owned()));
        seen.push(token.access_token().to_owned());
        assert_eq!(world.token_requests().len(), seen.len());
    }
}

#[tokio::test]
async fn no_refresh_token_is_kept_so_that_each_miss_is_an_exchange() {
    let (world, symbolon, clock) = World::timed().await;
    let application = world.application(&symbolon, "web-api");
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    application.acquire_token_on_behalf_of([GRAPH], &assertion).await.expect("a token");
    // Whoever takes the partition of the assertion for a long-running process finds nothing to go on with.
    let key = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&assertion));
    let (outcome, requests) =
        world.seen(application.acquire_token_in_long_running_process([VAULT], key)).await;
    let error = outcome.expect_err("no process");
    assert_eq!((error.code(), requests.len()), ("obo_cache_key_not_in_cache_error", 0));
    clock.advance(2 * 60 * 60 * 1000);
    let (token, requests) = world.seen(application.acquire_token_on_behalf_of([GRAPH], &assertion)).await;
    token.expect("a token");
    let grants: Vec<_> = requests.iter().map(|request| request.form_text("grant_type")).collect();
    assert_eq!(grants, [Some("urn:ietf:params:oauth:grant-type:jwt-bearer")]);
}

#[tokio::test]
async fn saml_assertions_have_grants_of_their_own() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let of = |assertion: SamlAssertion| world.authority.saml_assertion(&assertion).expect("Alice");
    let base = SamlAssertion::new(sample::ALICE, sample::WEB_API);
    for (kind, text, grant) in [
        (AssertionKind::Saml2, of(base.clone()), "urn:ietf:params:oauth:grant-type:saml2-bearer"),
        (AssertionKind::Saml11, of(base.version_1_1()), "urn:ietf:params:oauth:grant-type:saml1_1-bearer"),
    ] {
        let assertion = UserAssertion::new(text, kind);
        let acquire = || application.acquire_token_on_behalf_of([GRAPH], assertion.clone());
        let (token, requests) = world.seen(acquire()).await;
        assert_eq!(claims(token.expect("a token").access_token())["upn"], sample::ALICE);
        assert_eq!(requests[0].form_text("grant_type"), Some(grant));
        let (_, requests) = world.seen(acquire()).await;
        assert_eq!(requests.len(), 0, "{kind:?} is found again");
    }
}

/// An assertion that the authority refuses leaves nothing behind, and is asked about again.
#[tokio::test]
async fn what_is_wrong_with_an_assertion_is_told() {
    let (world, symbolon, clock) = World::timed().await;
    let application = world.application(&symbolon, "web-api");
    let minute = UserToken::new(sample::ALICE, sample::WEB_API).lifetime_seconds(60);
    let expired = world.authority.user_token(&minute).expect("Alice");
    clock.advance(10 * 60 * 1000);
    let good = world.user_token(sample::ALICE, sample::WEB_API);
    let elsewhere = Authority::builder().start().await.expect("another authority");
    let foreign = elsewhere.user_token(&UserToken::new(sample::ALICE, sample::WEB_API)).expect("Alice");
    for (assertion, code) in [
        (world.user_token(sample::ALICE, sample::SECRET), 500_131),
        (expired, 500_133),
        (foreign, 50_013),
        (good.replace('.', ".e30"), 50_013),
    ] {
        for _ in 0..2 {
            let (token, requests) =
                world.seen(application.acquire_token_on_behalf_of([GRAPH], &assertion)).await;
            let error = token.expect_err("a refusal");
            let decision = error.acquisition().expect("a decision");
            assert_eq!(
                (decision.kind, decision.code.as_str()),
                (ErrorKind::InteractionRequired, "invalid_grant")
            );
            assert_eq!((error.aadsts_codes(), decision.status), ([code].as_slice(), Some(400)));
            assert_eq!(requests.len(), 1);
        }
        assert_eq!(application.cache_statistics().entries, 0);
    }
    application.acquire_token_on_behalf_of([GRAPH], &good).await.expect("a good one");
}

#[tokio::test]
async fn a_claims_challenge_reaches_the_caller_and_its_answer_the_authority() {
    let (world, symbolon) = (World::start().await, engine());
    let demanded = json!({ "access_token": { "acrs": { "essential": true, "value": "c1" } } });
    let policy = ConditionalAccess::multi_factor().claims(demanded.clone());
    let registration = Registration::new(sample::WEB_API).secret("of the web API").conditional_access(policy);
    world.authority.register(registration);
    let application = world.application_with(&symbolon, "web-api", |settings| {
        settings["AzureAd"]["ClientCredentials"][0]["ClientSecret"] = "of the web API".into();
        settings["AzureAd"]["ClientCapabilities"] = json!(["cp1"]);
    });
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    let acquire = || application.acquire_token_on_behalf_of([GRAPH], &assertion);

    let error = acquire().await.expect_err("a challenge");
    let decision = error.acquisition().expect("a decision");
    assert_eq!(
        (decision.kind, decision.code.as_str()),
        (ErrorKind::InteractionRequired, "interaction_required")
    );
    assert_eq!(
        (error.aadsts_codes(), decision.suberror.as_deref()),
        ([50_076].as_slice(), Some("basic_action"))
    );
    let challenge = error.claims().expect("claims").to_owned();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&challenge).expect("JSON"), demanded);
    assert_eq!(application.cache_statistics().entries, 0);

    let (token, requests) = world.seen(acquire().with_claims(&challenge)).await;
    let claims = claims(token.expect("the challenge is met").access_token());
    assert_eq!((&claims["acrs"], &claims["xms_cc"]), (&json!(["c1"]), &json!(["cp1"])));
    assert_eq!(requests.len(), 1);
    // The token that met the challenge is the one that the next call finds.
    assert_eq!(world.seen(acquire()).await.1.len(), 0);
}

#[tokio::test]
async fn an_application_may_be_acted_for_too() {
    let (world, symbolon) = (World::start().await, engine());
    let (caller, api) = (world.application(&symbolon, "secret"), world.application(&symbolon, "web-api"));
    let scope = format!("api://{}/.default", sample::WEB_API);
    let incoming = caller.acquire_token_for_client([scope]).await.expect("a token for the web API");
    let acquire = || api.acquire_token_on_behalf_of([GRAPH], incoming.access_token());
    let token = acquire().await.expect("a token");
    assert_eq!(token.account(), None);
    assert_eq!(claims(token.access_token())["idtyp"], "app");
    assert_eq!(world.seen(acquire()).await.1.len(), 0, "found again without a user");
}

#[tokio::test]
async fn the_tenant_of_the_user_may_be_another_one() {
    let (world, symbolon) = (World::start().await, engine());
    let dora = symbolon_authority::User::new("d0a00000-0000-4000-8000-000000000004", "dora@fabrikam.com")
        .guest_of("contoso.com");
    world.authority.register_user(dora);
    let application = world.application(&symbolon, "web-api");
    let assertion = world.user_token("dora@fabrikam.com", sample::WEB_API);
    let home = application
        .acquire_token_on_behalf_of([GRAPH], &assertion)
        .with_tenant_id(symbolon_authority::FABRIKAM)
        .await
        .expect("at home");
    let guest = application.acquire_token_on_behalf_of([GRAPH], &assertion).await.expect("as a guest");
    assert_eq!(home.tenant_id(), Some(symbolon_authority::FABRIKAM));
    assert_eq!(guest.tenant_id(), Some(symbolon_authority::CONTOSO));
    assert_ne!(claims(home.access_token())["oid"], claims(guest.access_token())["oid"]);
    assert_eq!(
        home.account().map(|account| account.home_account_id),
        guest.account().map(|account| account.home_account_id),
        "the same person"
    );
    assert_eq!(world.token_requests().len(), 2);
}

#[tokio::test]
async fn without_assertion_or_scope_nothing_is_sent() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    let none: [&str; 0] = [];
    for (scopes, assertion, code) in [
        (&[GRAPH][..], "", "invalid_user_assertion"),
        (&none[..], assertion.as_str(), "scopes_required_client_credentials"),
    ] {
        let error = application.acquire_token_on_behalf_of(scopes.iter().copied(), assertion).await;
        let error = error.expect_err("a mistake");
        assert_eq!(error.code(), code);
        assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::InvalidRequest);
    }
    assert!(world.authority.log().is_empty());
}
