//! Refresh tokens: for one client and any resource, until they expire or are revoked.

use std::time::Duration;

use serde_json::json;
use symbolon_authority::{Authority, FABRIKAM, Registration, User, UserToken, sample};

use crate::support::*;

const OTHER: &str = "99999999-0000-4000-8000-000000000002";

fn app() -> Registration {
    Registration::new(CLIENT).secret(SECRET)
}

async fn start(app: Registration) -> Authority {
    authority().application(app).application(Registration::new(OTHER).secret(SECRET)).start().await.unwrap()
}

/// The refresh token of an exchange on Alice's behalf.
async fn first(authority: &Authority, client: &Client) -> String {
    let assertion = authority.user_token(&UserToken::new(sample::ALICE, CLIENT)).unwrap();
    member(&client.token(LOGIN, &on_behalf_of(&assertion)).await, "refresh_token")
}

fn refresh<'a>(token: &'a str, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
    all.extend(fields);
    user_form(&all)
}

#[tokio::test]
async fn each_use_gives_another_and_the_old_one_stays_good() {
    let authority = start(app()).await;
    let client = Client::new(&authority);
    let old = first(&authority, &client).await;
    let reply = client.token(LOGIN, &refresh(&old, &[])).await;
    assert_eq!(reply.claims()["oid"], sample::ALICE_OBJECT_ID);
    assert_eq!(decoded(&member(&reply, "id_token"))["oid"], sample::ALICE_OBJECT_ID);
    let new = member(&reply, "refresh_token");
    assert_ne!(old, new);
    for token in [&old, &new] {
        assert_eq!(client.token(LOGIN, &refresh(token, &[])).await.status, 200);
    }
    let log = authority.log();
    let shown = format!("{} {log:?}", serde_json::to_string(&log).unwrap());
    assert!(!shown.contains(&*old) && !shown.contains(&*new), "{shown}");
    let (_, incoming) = log[0].form_token("assertion").unwrap();
    assert_eq!(incoming["upn"], sample::ALICE);
}

#[tokio::test]
async fn one_that_another_library_brings_along() {
    let authority = start(app().refresh_token_lifetime(Duration::from_secs(60))).await;
    let client = Client::new(&authority);
    let token = authority.refresh_token(CLIENT, sample::ALICE).unwrap();
    let reply = client.token(LOGIN, &refresh(&token, &[])).await;
    assert_eq!(reply.claims()["oid"], sample::ALICE_OBJECT_ID);
    authority.advance(Duration::from_secs(60));
    assert_refused(&client.token(LOGIN, &refresh(&token, &[])).await, 400, "invalid_grant", 700_082);
    assert!(authority.refresh_token(CLIENT, "nobody").is_err());
}

#[tokio::test]
async fn for_another_resource_and_without_scope_for_the_same() {
    let authority = start(app()).await;
    let client = Client::new(&authority);
    let token = first(&authority, &client).await;
    let vault = refresh(&token, &[("scope", "https://vault.azure.net/user_impersonation")]);
    let reply = client.token(LOGIN, &vault).await;
    assert_eq!(
        (&reply.claims()["aud"], reply.json()["scope"].as_str()),
        (&json!("https://vault.azure.net"), Some("https://vault.azure.net/user_impersonation"))
    );
    assert!(reply.json().get("id_token").is_none(), "openid was not asked for");
    assert!(reply.json().get("refresh_token").is_some());
    let reply = client.token(LOGIN, &refresh(&token, &[("scope", "")])).await;
    assert_eq!(reply.claims()["aud"], "https://graph.microsoft.com");
}

#[tokio::test]
async fn without_offline_access_there_is_none() {
    let authority = start(app()).await;
    let assertion = authority.user_token(&UserToken::new(sample::ALICE, CLIENT)).unwrap();
    let mut form = on_behalf_of(&assertion);
    form.retain(|(name, _)| !["scope", "client_info"].contains(name));
    form.push(("scope", GRAPH));
    let answer = Client::new(&authority).token(LOGIN, &form).await.json();
    for absent in ["refresh_token", "id_token", "client_info"] {
        assert!(answer.get(absent).is_none(), "{absent}");
    }
}

#[tokio::test]
async fn where_they_rotate_a_second_use_revokes_all() {
    let authority = start(app().rotating(true)).await;
    let client = Client::new(&authority);
    let old = first(&authority, &client).await;
    let new = member(&client.token(LOGIN, &refresh(&old, &[])).await, "refresh_token");
    for token in [&old, &new] {
        let reply = client.token(LOGIN, &refresh(token, &[])).await;
        assert_refused(&reply, 400, "invalid_grant", 50173);
        assert_eq!(reply.json()["suberror"], "bad_token");
    }
}

#[tokio::test]
async fn a_refused_use_is_none() {
    let authority = start(app().rotating(true)).await;
    let client = Client::new(&authority);
    let token = first(&authority, &client).await;
    let wrong = refresh(&token, &[("scope", "https://vault.azure.net/Nothing.Read")]);
    assert_refused(&client.token(LOGIN, &wrong).await, 400, "invalid_client", 650053);
    assert_eq!(client.token(LOGIN, &refresh(&token, &[])).await.status, 200);
}

#[tokio::test]
async fn they_expire() {
    let authority = start(app().refresh_token_lifetime(Duration::from_secs(3600))).await;
    let client = Client::new(&authority);
    let token = first(&authority, &client).await;
    authority.advance(Duration::from_secs(3599));
    let renewed = member(&client.token(LOGIN, &refresh(&token, &[])).await, "refresh_token");
    authority.advance(Duration::from_secs(1));
    assert_refused(&client.token(LOGIN, &refresh(&token, &[])).await, 400, "invalid_grant", 700082);
    assert_eq!(client.token(LOGIN, &refresh(&renewed, &[])).await.status, 200);
}

#[tokio::test]
async fn revoked_by_user() {
    let authority = start(app()).await;
    let client = Client::new(&authority);
    let token = first(&authority, &client).await;
    assert_eq!(authority.revoke_refresh_tokens(sample::BOB), 0);
    assert_eq!(authority.revoke_refresh_tokens(sample::ALICE), 1);
    assert_refused(&client.token(LOGIN, &refresh(&token, &[])).await, 400, "invalid_grant", 50173);
    let again = first(&authority, &client).await;
    assert_eq!(client.token(LOGIN, &refresh(&again, &[])).await.status, 200);
}

#[tokio::test]
async fn what_is_no_refresh_token_of_this_client() {
    let authority = start(app()).await;
    let client = Client::new(&authority);
    let token = first(&authority, &client).await;
    let refused = async |form: Vec<(&str, &str)>, code| {
        assert_refused(&client.token(LOGIN, &form).await, 400, "invalid_grant", code);
    };
    refused(refresh("garbage", &[]), 9002313).await;
    refused(refresh(&token[..token.len() - 4], &[]), 9002313).await;
    refused(refresh(&token, &[("client_id", OTHER)]), 70000).await;
    let reply = client.token(LOGIN, &refresh("", &[])).await;
    assert_refused(&reply, 400, "invalid_request", 900144);
    authority.reset();
    refused(refresh(&token, &[]), 70000).await;
}

#[tokio::test]
async fn in_a_tenant_that_knows_the_user() {
    let authority = start(app()).await;
    let client = Client::new(&authority);
    let token = first(&authority, &client).await;
    let path = format!("/{FABRIKAM}/oauth2/v2.0/token");
    let reply = client.post(LOGIN, &path, &refresh(&token, &[])).await.unwrap();
    assert_refused(&reply, 400, "invalid_grant", 50020);
    authority.register_user(User::new(sample::ALICE_OBJECT_ID, sample::ALICE).guest_of(FABRIKAM));
    let reply = client.post(LOGIN, &path, &refresh(&token, &[])).await.unwrap();
    assert_eq!(reply.claims()["tid"], FABRIKAM);
    authority.unregister_user(sample::ALICE_OBJECT_ID);
    assert_refused(&client.token(LOGIN, &refresh(&token, &[])).await, 400, "invalid_grant", 50034);
}
