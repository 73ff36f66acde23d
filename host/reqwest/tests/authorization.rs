//! A client of reqwest calls an API, which says what it saw.

#![allow(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

use std::time::Duration;

use reqwest::{Certificate, StatusCode};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error};
use serde_json::{Value, json};
use symbolon::{AuthorizationHeader, DownstreamApi, DownstreamErrorKind, UserAssertion};
use symbolon_authority::{Api, Ask, Demand, sample};
use symbolon_end_to_end::apis::of_tokens;
use symbolon_end_to_end::{World, engine};
use symbolon_reqwest::AuthorizationMiddleware;

fn client(world: &World, api: &Api, downstream: DownstreamApi) -> ClientWithMiddleware {
    let root = Certificate::from_pem(world.authority.ca_pem().as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder().tls_certs_only([root]).resolve(api.host(), api.address());
    let client = client.build().expect("a client");
    ClientBuilder::new(client).with(AuthorizationMiddleware::new(downstream)).build()
}

fn url(api: &Api) -> String {
    format!("{}/orders", api.url())
}

async fn json(response: reqwest::Response) -> Value {
    serde_json::from_slice(&response.bytes().await.expect("a body")).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bearer_token_takes_the_place_of_the_header() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let client = client(&world, &api, world.calling(&engine(), "secret", &api, json!({})));
    for _ in 0..2 {
        let response = client.post(url(&api)).basic_auth("me", Some("secret")).body("body").send().await;
        let response = response.expect("an answer");
        let header: &AuthorizationHeader = response.extensions().get().expect("what was presented");
        assert!(header.authentication_result().is_some());
        let seen = json(response).await;
        assert_eq!((&seen["authorizationScheme"], &seen["bodyLength"]), (&json!("Bearer"), &json!(4)));
    }
    assert_eq!(world.token_requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claims_challenge_is_followed_once() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let client = client(&world, &api, world.calling(&engine(), "secret", &api, json!({})));
    api.demand_acrs("c1");
    let request = client.post(url(&api)).header("cookie", "a=b").header("x-own", "kept").body("body");
    assert_eq!(request.send().await.expect("an answer").status(), StatusCode::OK);
    let [challenged, answered] = &api.log()[..] else { panic!("two requests") };
    assert_eq!((challenged.status, answered.status), (401, 200));
    assert_eq!(answered.body_length, 4);
    assert_eq!((challenged.header("cookie"), challenged.header("x-own")), (Some("a=b"), Some("kept")));
    assert_eq!((answered.header("cookie"), answered.header("x-own")), (None, Some("kept")));
    assert_eq!(world.token_requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_sent_once() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let client = client(&world, &api, world.calling(&engine(), "secret", &api, json!({})));
    api.demand_acrs("c1");
    let body = reqwest::Body::wrap(String::from("body"));
    let response = client.post(url(&api)).body(body).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(api.log().len(), 1);
}

/// Calls with something that takes a certificate, and gives what the API saw.
async fn bound(world: &World, api: &Api, downstream: DownstreamApi) -> Value {
    let client = client(world, api, downstream);
    let response = client.post(url(api)).body("body").send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    let header: &AuthorizationHeader = response.extensions().get().expect("what was presented");
    let certificate = header.binding_certificate().expect("a certificate").thumbprint_sha256().to_owned();
    let seen = json(response).await;
    assert_eq!(
        (&seen["clientCertificate"]["x5t#S256"], &seen["bodyLength"]),
        (&json!(certificate), &json!(4))
    );
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_token_goes_out_on_connections_of_ours() {
    let world = World::start().await;
    let api = world.api(of_tokens().ask(Ask::Required)).await;
    let graph = world.calling(&engine(), "bound", &api, json!({ "ProtocolScheme": "MTLS_POP" }));
    let seen = bound(&world, &api, graph).await;
    assert_eq!(seen["authorizationScheme"], "mtls_pop");
    assert_eq!(seen["token"]["cnf"], seen["clientCertificate"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_alone_goes_out_on_connections_of_ours() {
    let world = World::start().await;
    let api = world.api(Api::builder().demand(Demand::Certificate).ask(Ask::Required)).await;
    let orders = world.calling(&engine(), "bound", &api, json!({ "ProtocolScheme": "MTLS", "Scopes": null }));
    assert_eq!(bound(&world, &api, orders.clone()).await["authorizationScheme"], Value::Null);
    assert_eq!(world.token_requests().len(), 0);

    // The request's own timeout counts there too.
    let stalled = client(&world, &api, orders).get(format!("{}/silence", api.url()));
    let error = stalled.timeout(Duration::from_millis(200)).send().await.expect_err("no answer");
    assert_eq!(downstream(&error), DownstreamErrorKind::DeadlineExceeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_says_for_whom_it_is_and_how() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let graph = world.calling(&engine(), "web-api", &api, json!({}));
    let mut options = graph.options().clone();
    options.request_app_token = false;
    let user = UserAssertion::from(world.user_token(sample::ALICE, sample::WEB_API));
    let client = client(&world, &api, graph);
    let request = client.get(url(&api)).with_extension(options).with_extension(user);
    assert_eq!(request.send().await.expect("an answer").status(), StatusCode::OK);
    assert_eq!(api.log()[0].token.as_ref().expect("a token")["oid"], sample::ALICE_OBJECT_ID);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_go_to_their_api_only() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let client = client(&world, &api, world.calling(&engine(), "secret", &api, json!({})));
    let error = client.get("https://elsewhere.test/orders").send().await.expect_err("another server");
    assert_eq!(downstream(&error), DownstreamErrorKind::InvalidRequest);
    assert_eq!((api.connections(), world.token_requests().len()), (0, 0));
}

fn downstream(error: &Error) -> DownstreamErrorKind {
    let Error::Middleware(error) = error else { panic!("{error}") };
    let error: &symbolon::Error = error.downcast_ref().expect("the error of Symbolon");
    error.downstream().expect("an error of a call").kind
}
