//! Calling an API: what it sees, what comes back.

use serde_json::{Value, json};
use symbolon_authority::{Api, Ask, Demand};
use symbolon_end_to_end::apis::of_tokens;
use symbolon_end_to_end::{World, engine};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bearer_token_goes_into_the_header() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let graph = world.calling(&engine(), "secret", &api, json!({}));
    for _ in 0..2 {
        let response = graph.get("users").send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!((response.presented().attempts, response.not_retried()), (1, None));
        let seen: Value = response.error_for_status().await.expect("success").json().await.expect("JSON");
        assert_eq!((&seen["path"], &seen["method"]), (&json!("/users"), &json!("GET")));
        assert_eq!(seen["authorizationScheme"], "Bearer");
        assert_eq!(seen["headers"]["accept"], "application/json");
    }
    assert_eq!(world.token_requests().len(), 1, "the second token was cached");
    assert_eq!(api.connections(), 1, "the connection is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_token_goes_out_on_a_connection_with_its_certificate() {
    let world = World::start().await;
    let api = world.api(of_tokens().ask(Ask::Optional)).await;
    let graph = world.calling(&engine(), "bound", &api, json!({ "ProtocolScheme": "mtls_pop" }));
    let response = graph.get("users").send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    let [request] = &api.log()[..] else { panic!("one request") };
    assert_eq!(request.authorization_scheme.as_deref(), Some("mtls_pop"));
    let bound_to = &request.token.as_ref().expect("a token")["cnf"]["x5t#S256"];
    assert_eq!(bound_to.as_str(), request.client_certificate.as_deref());
    let certificate = response.presented().header.binding_certificate().expect("a certificate");
    assert_eq!(bound_to.as_str(), Some(certificate.thumbprint_sha256()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_alone_needs_no_authority() {
    let world = World::start().await;
    let api = world.api(Api::builder().demand(Demand::Certificate).ask(Ask::Required)).await;
    let graph = world.calling(&engine(), "bound", &api, json!({ "ProtocolScheme": "MTLS", "Scopes": null }));
    let response = graph.post("orders").json(&json!({ "number": 1 })).send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    let [request] = &api.log()[..] else { panic!("one request") };
    assert_eq!(request.authorization_scheme, None);
    assert!(request.client_certificate.is_some());
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.body_length, 12);
    assert_eq!(world.authority.log().len(), 0);
}
