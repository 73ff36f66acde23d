//! Federated credentials: issuer, subject, audience and signature must be the registered ones.

use serde_json::json;
use symbolon_authority::{Authority, FEDERATION_ISSUER, FederatedAssertion, Registration};

use crate::support::*;

const AUDIENCE: &str = "api://AzureADTokenExchange";

async fn start() -> Authority {
    let app = Registration::new(CLIENT)
        .federated_credential("https://elsewhere.test", "main", AUDIENCE)
        .federated_credential(FEDERATION_ISSUER, "main", AUDIENCE);
    authority().application(app).start().await.unwrap()
}

async fn send(authority: &Authority, text: &str) -> Reply {
    Client::new(authority).token(LOGIN, &assertion_form(CLIENT, text)).await
}

#[tokio::test]
async fn a_matching_assertion() {
    let authority = start().await;
    let reply = send(&authority, &authority.federated_assertion(&FederatedAssertion::new("main"))).await;
    assert_eq!(reply.claims()["azpacr"], "2");
}

#[tokio::test]
async fn what_does_not_match() {
    let authority = start().await;
    let main = || FederatedAssertion::new("main");
    for (assertion, code) in [
        (main().issuer("https://nobody.test"), 700211),
        (main().audience("api://other"), 700212),
        (FederatedAssertion::new("branch"), 700213),
        (main().issuer("https://elsewhere.test"), 700027),
        (main().lifetime_seconds(25 * 60 * 60), 700024),
    ] {
        let reply = send(&authority, &authority.federated_assertion(&assertion)).await;
        assert_refused(&reply, 401, "invalid_client", code);
    }
    let expired = authority.federated_assertion(&main());
    authority.advance(std::time::Duration::from_secs(901));
    assert_refused(&send(&authority, &expired).await, 401, "invalid_client", 700024);
}

#[tokio::test]
async fn an_application_without_federated_credentials() {
    let own = certificate("own");
    let app = Registration::new(CLIENT).certificate(own.certificate().clone());
    let authority = authority().application(app).start().await.unwrap();
    let text = authority.federated_assertion(&FederatedAssertion::new("main"));
    assert_refused(&send(&authority, &text).await, 401, "invalid_client", 700211);
}

#[tokio::test]
async fn the_key_of_a_foreign_issuer() {
    let key = certificate("issuer");
    let app = Registration::new(CLIENT).federated_credential("https://ci.test", "main", AUDIENCE);
    let builder =
        authority().application(app).federation_key("https://ci.test", &key.certificate_pem()).unwrap();
    let authority = builder.start().await.unwrap();
    let own = Assertion::new(CLIENT, AUDIENCE, &key)
        .claim("iss", json!("https://ci.test"))
        .claim("sub", json!("main"));
    assert_eq!(send(&authority, &own.sign(&key)).await.status, 200);
    let test_issuers =
        authority.federated_assertion(&FederatedAssertion::new("main").issuer("https://ci.test"));
    assert_refused(&send(&authority, &test_issuers).await, 401, "invalid_client", 700027);
}

#[tokio::test]
async fn a_token_of_the_authority_itself() {
    let other = "99999999-0000-4000-8000-000000000002";
    let authority = authority().application(Registration::new(other).secret(SECRET)).start().await.unwrap();
    let mut form = secret_form(other, SECRET);
    form[2].1 = "api://AzureADTokenExchange/.default";
    let reply = Client::new(&authority).token(LOGIN, &form).await;
    let claims = reply.claims();
    let text = |name: &str| claims[name].as_str().unwrap().to_owned();
    authority.register(Registration::new(CLIENT).federated_credential(
        &text("iss"),
        &text("sub"),
        &text("aud"),
    ));
    let token = reply.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(send(&authority, &token).await.status, 200);
}
