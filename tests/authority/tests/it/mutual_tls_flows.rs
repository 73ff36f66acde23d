//! Flows about users at the mutual TLS hosts.

use symbolon_authority::{
    Authority, AuthorizationCode, ClientCertificate, Flow, REDIRECT_URI, Registration, UserToken, sample,
};

use crate::support::*;

fn app(own: &ClientCertificate) -> Registration {
    Registration::new(CLIENT).certificate(own.certificate().clone()).mtls(true).pop(true)
}

/// The request of a flow, with an assertion of `own`.
async fn send(authority: &Authority, own: &ClientCertificate, fields: &[(&str, &str)]) -> Reply {
    let assertion =
        Assertion::new(CLIENT, &format!("https://{MTLS}{}", token_path()), own).x5c(own).sign(own);
    let mut all = vec![
        ("client_secret", ""),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", assertion.as_str()),
    ];
    all.extend(fields);
    Client::with_certificate(authority, own).token(MTLS, &user_form(&all)).await
}

#[tokio::test]
async fn what_is_served_by_default() {
    let own = certificate("own");
    let authority = authority().application(app(&own)).start().await.unwrap();
    let assertion = authority.user_token(&UserToken::new(sample::ALICE, CLIENT)).unwrap();
    let exchange = [("grant_type", OBO), ("assertion", &*assertion), ("requested_token_use", "on_behalf_of")];
    let reply = send(&authority, &own, &exchange).await;
    assert_eq!((reply.json()["token_type"].as_str(), reply.claims().get("cnf")), (Some("Bearer"), None));
    let entry = authority.log().pop().unwrap();
    assert_eq!((entry.host.as_str(), entry.client_certificate), (MTLS, Some(x5t_s256(&own))));

    let refresh_token = member(&reply, "refresh_token");
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", &*refresh_token)];
    assert_eq!(send(&authority, &own, &refresh).await.status, 200);
    let code = AuthorizationCode::new(CLIENT, sample::ALICE, REDIRECT_URI);
    let code = authority.authorization_code(&code).unwrap();
    let redeem = [("grant_type", "authorization_code"), ("code", &*code), ("redirect_uri", REDIRECT_URI)];
    assert_eq!(send(&authority, &own, &redeem).await.status, 200);
}

#[tokio::test]
async fn what_is_served_on_demand() {
    let own = certificate("own");
    let authority = authority().application(app(&own)).start().await.unwrap();
    let password =
        [("grant_type", "password"), ("username", sample::ALICE), ("password", sample::ALICE_PASSWORD)];
    assert_refused(&send(&authority, &own, &password).await, 400, "invalid_request", 392189);
    authority.register(app(&own).mtls_flows(Flow::ALL));
    assert_eq!(send(&authority, &own, &password).await.claims()["upn"], sample::ALICE);
    authority.register(app(&own).mtls_flows([Flow::Password]));
    let own_token = send(&authority, &own, &[("grant_type", "client_credentials"), ("scope", GRAPH)]).await;
    assert_refused(&own_token, 400, "invalid_request", 392189);
}

#[tokio::test]
async fn a_users_token_is_not_bound() {
    let own = certificate("own");
    let authority = authority().application(app(&own)).start().await.unwrap();
    let assertion = authority.user_token(&UserToken::new(sample::ALICE, CLIENT)).unwrap();
    let exchange = [
        ("grant_type", OBO),
        ("assertion", &*assertion),
        ("requested_token_use", "on_behalf_of"),
        ("token_type", "mtls_pop"),
    ];
    assert_refused(&send(&authority, &own, &exchange).await, 400, "invalid_request", 392189);
}

#[tokio::test]
async fn where_mutual_tls_is_disabled() {
    let own = certificate("own");
    let authority = authority().application(app(&own).mtls(false)).start().await.unwrap();
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", "1.x")];
    assert_refused(&send(&authority, &own, &refresh).await, 400, "invalid_request", 51000);
}
