//! User name and password.

use serde_json::json;
use symbolon_authority::{Authority, CONTOSO, FABRIKAM, Registration, User, sample};

use crate::support::*;

async fn start() -> Authority {
    authority().application(Registration::new(CLIENT).secret(SECRET)).start().await.unwrap()
}

fn form<'a>(fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all =
        vec![("grant_type", "password"), ("username", sample::ALICE), ("password", sample::ALICE_PASSWORD)];
    all.extend(fields);
    user_form(&all)
}

#[tokio::test]
async fn name_and_password() {
    let authority = start().await;
    let client = Client::new(&authority);
    for tenant in [CONTOSO, "organizations", "common"] {
        let path = format!("/{tenant}/oauth2/v2.0/token");
        let reply = client.post(LOGIN, &path, &form(&[])).await.unwrap();
        assert_eq!(
            (&reply.claims()["upn"], &reply.claims()["tid"]),
            (&json!(sample::ALICE), &json!(CONTOSO))
        );
        assert!(reply.json().get("refresh_token").is_some());
    }
    let bob = form(&[("username", "BOB@contoso.com"), ("password", sample::BOB_PASSWORD)]);
    assert_eq!(client.token(LOGIN, &bob).await.claims()["oid"], sample::BOB_OBJECT_ID);
    assert!(!serde_json::to_string(&authority.log()).unwrap().contains("'s password"));
    assert!(!format!("{:?}", User::new("i", "u").password("canary")).contains("canary"));
}

#[tokio::test]
async fn what_is_wrong() {
    let authority = start().await;
    authority.register_user(User::new("dddddddd-0000-4000-8000-000000000001", "carol@contoso.com"));
    let client = Client::new(&authority);
    for (fields, error, code) in [
        (vec![("password", "wrong")], "invalid_grant", 50126),
        (vec![("username", sample::BOB)], "invalid_grant", 50126),
        (vec![("username", "carol@contoso.com"), ("password", "any")], "invalid_grant", 50126),
        (vec![("username", "nobody@contoso.com")], "invalid_grant", 50034),
        (vec![("username", sample::ALICE_OBJECT_ID)], "invalid_grant", 50034),
        (vec![("password", "")], "invalid_request", 900144),
        (vec![("username", "")], "invalid_request", 900144),
        (vec![("scope", "")], "invalid_request", 900144),
    ] {
        assert_refused(&client.token(LOGIN, &form(&fields)).await, 400, error, code);
    }
    let path = format!("/{FABRIKAM}/oauth2/v2.0/token");
    let reply = client.post(LOGIN, &path, &form(&[])).await.unwrap();
    assert_refused(&reply, 400, "invalid_grant", 50020);
}

#[tokio::test]
async fn the_scopes_of_users() {
    let authority = start().await;
    let client = Client::new(&authority);
    for (scope, answered, granted) in [
        ("User.Read", "User.Read", "User.Read"),
        ("openid profile user.read", "openid profile user.read", "openid profile User.Read"),
        (
            "https://graph.microsoft.com/Mail.Read openid",
            "openid https://graph.microsoft.com/Mail.Read",
            "openid Mail.Read",
        ),
        (
            "https://vault.azure.net//.default openid profile",
            "https://vault.azure.net//user_impersonation https://vault.azure.net//.default",
            "user_impersonation",
        ),
        ("openid", "openid", "openid"),
    ] {
        let reply = client.token(LOGIN, &form(&[("scope", scope)])).await;
        assert_eq!((&reply.claims()["scp"], member(&reply, "scope").as_str()), (&json!(granted), answered));
    }
    let own = form(&[("scope", "99999999-0000-4000-8000-000000000001/.default")]);
    assert_eq!(client.token(LOGIN, &own).await.claims()["aud"], CLIENT);
    for (scope, error, code) in [
        ("User.Read https://vault.azure.net/.default", "invalid_scope", 70011),
        ("api://nobody/.default", "invalid_resource", 500011),
        ("Nothing.Read", "invalid_client", 650053),
    ] {
        assert_refused(&client.token(LOGIN, &form(&[("scope", scope)])).await, 400, error, code);
    }
    authority.register(Registration::new(CLIENT).secret(SECRET).resource("https://vault.azure.net", []));
    let reply = client.token(LOGIN, &form(&[])).await;
    assert_refused(&reply, 400, "invalid_grant", 65001);
    assert_eq!(reply.json()["suberror"], "consent_required");
}
