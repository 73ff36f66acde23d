//! On behalf of: what is accepted of an incoming token, and what comes back.

use serde_json::json;
use symbolon_authority::{Authority, CONTOSO, FABRIKAM, Registration, User, UserToken, sample};

use crate::support::*;

async fn start() -> Authority {
    let app = Registration::new(CLIENT).secret(SECRET).identifier_uri("api://orders").scope("access_as_user");
    authority().application(app).start().await.unwrap()
}

fn incoming(authority: &Authority, audience: &str) -> String {
    authority.user_token(&UserToken::new(sample::ALICE, audience)).unwrap()
}

#[tokio::test]
async fn a_users_token_for_another_resource() {
    let authority = start().await;
    let reply = Client::new(&authority).token(LOGIN, &on_behalf_of(&incoming(&authority, CLIENT))).await;
    let claims = reply.claims();
    assert_eq!(
        (&claims["oid"], &claims["upn"], &claims["idtyp"]),
        (&json!(sample::ALICE_OBJECT_ID), &json!(sample::ALICE), &json!("user"))
    );
    assert_eq!((&claims["azp"], &claims["aud"]), (&json!(CLIENT), &json!("https://graph.microsoft.com")));
    assert!(claims["scp"].as_str().unwrap().contains("User.Read"), "{claims}");
    assert!(claims.get("xms_sub_fct").is_none() && claims.get("roles").is_none());

    let info = decoded(&member(&reply, "client_info"));
    assert_eq!(info, json!({ "uid": sample::ALICE_OBJECT_ID, "utid": CONTOSO }));
    let id = decoded(&member(&reply, "id_token"));
    assert_eq!(
        (&id["aud"], &id["oid"], &id["tid"], &id["preferred_username"], &id["name"]),
        (
            &json!(CLIENT),
            &json!(sample::ALICE_OBJECT_ID),
            &json!(CONTOSO),
            &json!(sample::ALICE),
            &json!("Alice")
        )
    );
    assert_eq!(id["iss"], format!("https://{LOGIN}/{CONTOSO}/v2.0"));
    assert_ne!(id["sub"], claims["sub"], "the subject differs from audience to audience");
    assert!(member(&reply, "refresh_token").len() > 40);
    assert!(member(&reply, "scope").contains("https://graph.microsoft.com/Mail.Read"));
    assert!(member(&reply, "scope").ends_with("https://graph.microsoft.com/.default"));
}

#[tokio::test]
async fn the_accepted_audiences() {
    let authority = start().await;
    let client = Client::new(&authority);
    for audience in [CLIENT.to_owned(), format!("api://{CLIENT}"), "api://orders".to_owned()] {
        let reply = client.token(LOGIN, &on_behalf_of(&incoming(&authority, &audience))).await;
        assert_eq!(reply.status, 200, "{audience}: {}", reply.json());
    }
    let reply = client.token(LOGIN, &on_behalf_of(&incoming(&authority, "api://others"))).await;
    assert_refused(&reply, 400, "invalid_grant", 500131);
}

#[tokio::test]
async fn an_expired_token() {
    let authority = start().await;
    let token = UserToken::new(sample::ALICE, CLIENT).lifetime_seconds(60);
    let token = authority.user_token(&token).unwrap();
    let client = Client::new(&authority);
    assert_eq!(client.token(LOGIN, &on_behalf_of(&token)).await.status, 200);
    authority.advance(std::time::Duration::from_secs(60));
    assert_refused(&client.token(LOGIN, &on_behalf_of(&token)).await, 400, "invalid_grant", 500133);
}

#[tokio::test]
async fn what_is_no_token_of_the_authority() {
    let authority = start().await;
    let client = Client::new(&authority);
    let token = incoming(&authority, CLIENT);
    let (unsigned, _) = token.rsplit_once('.').unwrap();
    let other = Authority::builder().start().await.unwrap();
    for text in ["garbage", &format!("{unsigned}.AAAA"), &incoming(&other, CLIENT)] {
        assert_refused(&client.token(LOGIN, &on_behalf_of(text)).await, 400, "invalid_grant", 50013);
    }
    let id_token = member(&client.token(LOGIN, &on_behalf_of(&token)).await, "id_token");
    assert_refused(&client.token(LOGIN, &on_behalf_of(&id_token)).await, 400, "invalid_request", 240002);
}

#[tokio::test]
async fn a_service_principal() {
    let other = "99999999-0000-4000-8000-000000000002";
    let authority = start().await;
    authority.register(Registration::new(other).secret(SECRET));
    let client = Client::new(&authority);
    let mut form = secret_form(other, SECRET);
    let scope = format!("api://{CLIENT}/.default");
    form[2].1 = &scope;
    let incoming = client.token(LOGIN, &form).await;
    let reply = client.token(LOGIN, &on_behalf_of(&member(&incoming, "access_token"))).await;
    let claims = reply.claims();
    assert_eq!((&claims["idtyp"], &claims["oid"]), (&json!("app"), &incoming.claims()["oid"]));
    for absent in ["client_info", "id_token", "refresh_token"] {
        assert!(reply.json().get(absent).is_none(), "{absent}");
    }
}

#[tokio::test]
async fn missing_and_unknown_parameters() {
    let authority = start().await;
    let client = Client::new(&authority);
    let token = incoming(&authority, CLIENT);
    for field in ["assertion", "requested_token_use", "scope"] {
        let mut form = on_behalf_of(&token);
        form.retain(|(name, _)| *name != field);
        assert_refused(&client.token(LOGIN, &form).await, 400, "invalid_request", 900144);
        form.push(("requested_token_use", "other"));
        if field == "requested_token_use" {
            assert_refused(&client.token(LOGIN, &form).await, 400, "invalid_request", 90023);
        }
    }
}

#[tokio::test]
async fn a_user_who_is_gone_or_elsewhere() {
    let authority = start().await;
    let client = Client::new(&authority);
    let token = incoming(&authority, CLIENT);
    let path = format!("/{FABRIKAM}/oauth2/v2.0/token");
    let reply = client.post(LOGIN, &path, &on_behalf_of(&token)).await.unwrap();
    assert_refused(&reply, 400, "invalid_grant", 50020);

    authority.register_user(User::new(sample::ALICE_OBJECT_ID, sample::ALICE).guest_of("fabrikam.com"));
    let reply = client.post(LOGIN, &path, &on_behalf_of(&token)).await.unwrap();
    let (claims, info) = (reply.claims(), decoded(&member(&reply, "client_info")));
    assert_eq!((&claims["tid"], &info["utid"]), (&json!(FABRIKAM), &json!(CONTOSO)));
    assert_ne!(claims["oid"], info["uid"]);

    assert!(authority.unregister_user(sample::ALICE));
    assert_refused(&client.token(LOGIN, &on_behalf_of(&token)).await, 400, "invalid_grant", 50034);
    assert!(authority.user_token(&UserToken::new(sample::ALICE, CLIENT)).is_err());
}

#[tokio::test]
async fn common_and_organizations_are_the_users_home() {
    let authority = start().await;
    let client = Client::new(&authority);
    let token = incoming(&authority, CLIENT);
    for tenant in ["common", "organizations"] {
        let path = format!("/{tenant}/oauth2/v2.0/token");
        let reply = client.post(LOGIN, &path, &on_behalf_of(&token)).await.unwrap();
        assert_eq!(reply.claims()["tid"], CONTOSO);
    }
    let reply = client.post(LOGIN, "/consumers/oauth2/v2.0/token", &on_behalf_of(&token)).await.unwrap();
    assert_refused(&reply, 400, "invalid_request", 50059);
    authority.register(Registration::new(CLIENT).secret(SECRET).tenant(FABRIKAM));
    let reply = client.post(LOGIN, "/common/oauth2/v2.0/token", &on_behalf_of(&token)).await.unwrap();
    assert_refused(&reply, 400, "unauthorized_client", 700016);
}
