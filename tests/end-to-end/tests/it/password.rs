//! Names and passwords: discouraged, and as good as any other sign-in afterwards.

use symbolon::{ErrorKind, TokenSource};
use symbolon_authority::sample;
use symbolon_end_to_end::{GRAPH, VAULT, World, claims, engine};

#[tokio::test]
async fn each_call_asks_the_authority_and_silent_ones_do_not() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let acquire =
        || application.acquire_token_by_username_password([GRAPH], sample::ALICE, sample::ALICE_PASSWORD);
    let (token, requests) = world.seen(acquire()).await;
    let token = token.expect("a token");
    assert_eq!(claims(token.access_token())["upn"], sample::ALICE);
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(
        (request.form_text("grant_type"), request.form_text("username")),
        (Some("password"), Some(sample::ALICE))
    );
    assert_eq!(request.form_text("client_info"), Some("1"));
    assert_eq!(request.header("x-anchormailbox"), Some("upn:alice@contoso.com"));
    assert_eq!(
        request.form_text("scope"),
        Some("openid offline_access profile https://graph.microsoft.com/.default")
    );
    assert_eq!(world.seen(acquire()).await.1.len(), 1, "a password is asked about each time");

    let account = token.account().expect("an account");
    assert_eq!(application.accounts().await.expect("accounts"), std::slice::from_ref(&account));
    let (token, requests) = world.seen(application.acquire_token_silent([GRAPH], &account)).await;
    assert_eq!((token.expect("a token").metadata().token_source, requests.len()), (TokenSource::Cache, 0));
    let (token, requests) = world.seen(application.acquire_token_silent([VAULT], &account)).await;
    token.expect("a token");
    assert_eq!(requests[0].form_text("grant_type"), Some("refresh_token"));
}

#[tokio::test]
async fn what_is_wrong_is_told_and_leaves_nothing() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    for (name, password, code) in
        [(sample::ALICE, sample::BOB_PASSWORD, 50_126), ("mallory@contoso.com", "anything", 50_034)]
    {
        let error = application.acquire_token_by_username_password([GRAPH], name, password).await;
        let error = error.expect_err("a refusal");
        assert_eq!(error.aadsts_codes(), [code]);
        assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::InteractionRequired);
    }
    for (name, password, code) in
        [(" ", "anything", "invalid_username"), (sample::ALICE, "", "password_required")]
    {
        let (outcome, requests) =
            world.seen(application.acquire_token_by_username_password([GRAPH], name, password)).await;
        assert_eq!((outcome.expect_err("a mistake").code(), requests.len()), (code, 0));
    }
    assert_eq!(application.cache_statistics().entries, 0);
    assert!(application.accounts().await.expect("accounts").is_empty());
}
