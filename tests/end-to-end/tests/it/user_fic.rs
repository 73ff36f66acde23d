//! Users whom the application may name, by a token that says so (`user_fic`).

use symbolon::{Application, ErrorKind, TokenSource, User};
use symbolon_authority::{CONTOSO, LogEntry, sample};
use symbolon_end_to_end::{EXCHANGE, GRAPH, VAULT, World, claims, engine};
use uuid::Uuid;

/// The token by which the application may name users.
async fn credential(application: &Application) -> String {
    let token = application.acquire_token_for_client([EXCHANGE]).await.expect("a token for the exchange");
    token.access_token().to_owned()
}

fn alices_id() -> Uuid {
    sample::ALICE_OBJECT_ID.parse().expect("a GUID")
}

fn user_fields(request: &LogEntry) -> [Option<&str>; 3] {
    ["user_id", "username"]
        .map(|name| request.form_text(name))
        .into_iter()
        .chain([request.header("x-anchormailbox")])
        .collect::<Vec<_>>()
        .try_into()
        .expect("three")
}

#[tokio::test]
async fn a_user_goes_by_object_id_or_by_name() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let credential = credential(&application).await;
    let mailbox = format!("oid:{}@{CONTOSO}", sample::ALICE_OBJECT_ID);
    for (user, expected) in [
        (User::ObjectId(alices_id()), [Some(sample::ALICE_OBJECT_ID), None, Some(mailbox.as_str())]),
        (User::Username(sample::ALICE.into()), [None, Some(sample::ALICE), Some("upn:alice@contoso.com")]),
    ] {
        let acquire = || {
            application.acquire_token_by_user_federated_identity_credential(
                [GRAPH],
                user.clone(),
                credential.as_str(),
            )
        };
        let (token, requests) = world.seen(acquire()).await;
        let token = token.expect("a token");
        assert_eq!(claims(token.access_token())["oid"], sample::ALICE_OBJECT_ID);
        let [request] = requests.as_slice() else { panic!("{requests:?}") };
        assert_eq!(request.form_text("grant_type"), Some("user_fic"));
        assert_eq!(user_fields(request), expected);
        let (_, sent) = request.form_token("user_federated_identity_credential").expect("the credential");
        assert_eq!(*sent, claims(&credential));
        assert_eq!(request.host, "login.microsoftonline.com");
        for forced in [false, true] {
            let (_, requests) = world.seen(acquire().with_force_refresh(forced)).await;
            assert_eq!(requests.len(), 1, "the cache isn't asked");
        }

        let account = token.account().expect("an account");
        let (token, requests) = world.seen(application.acquire_token_silent([GRAPH], &account)).await;
        assert_eq!(
            (token.expect("a token").metadata().token_source, requests.len()),
            (TokenSource::Cache, 0)
        );
        let (token, requests) =
            world.seen(application.acquire_token_silent([VAULT], &account).with_force_refresh(true)).await;
        token.expect("a token");
        assert_eq!(requests[0].form_text("grant_type"), Some("refresh_token"));
    }
    assert_eq!(application.accounts().await.expect("accounts").len(), 1, "it is one user");
}

#[tokio::test]
async fn what_is_wrong_is_told_and_leaves_nothing() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "web-api");
    let own = credential(&application).await;
    let graphs = application.acquire_token_for_client([GRAPH]).await.expect("a token");
    let entries = application.cache_statistics().entries;
    let alice = User::Username(sample::ALICE.into());
    for (user, credential, code) in [
        (alice.clone(), graphs.access_token(), 500_131),
        (alice.clone(), "not a token", 50_013),
        (User::Username("mallory@contoso.com".into()), own.as_str(), 50_034),
        (User::ObjectId(Uuid::from_u128(7)), own.as_str(), 50_034),
    ] {
        let acquire =
            application.acquire_token_by_user_federated_identity_credential([GRAPH], user, credential);
        let error = acquire.await.expect_err("a refusal");
        assert_eq!(error.aadsts_codes(), [code]);
        assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::InteractionRequired);
    }
    for (user, credential, code) in [
        (alice, " ", "invalid_user_assertion"),
        (User::ObjectId(Uuid::nil()), own.as_str(), "invalid_user_id"),
        (User::Username(String::new()), own.as_str(), "invalid_username"),
        (User::Username("a\r\nx-evil: 1".into()), own.as_str(), "invalid_username"),
    ] {
        let acquire =
            application.acquire_token_by_user_federated_identity_credential([GRAPH], user, credential);
        let (outcome, requests) = world.seen(acquire).await;
        assert_eq!((outcome.expect_err("a mistake").code(), requests.len()), (code, 0));
    }
    assert_eq!(application.cache_statistics().entries, entries);
    assert!(application.accounts().await.expect("accounts").is_empty());
}
