//! What the layer presents, and what it does about a challenge.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use symbolon::{AuthorizationHeader, DownstreamApi, DownstreamErrorKind, UserAssertion};
use symbolon_authority::{Api, Ask, Demand, sample};
use symbolon_end_to_end::apis::of_tokens;
use symbolon_end_to_end::{GRAPH, World, engine};
use symbolon_tower::AuthorizationLayer;
use tower_layer::Layer as _;
use tower_service::Service as _;

use crate::client::Client;

fn request(api: &Api) -> Request<Full<Bytes>> {
    let request = Request::post(format!("{}/orders", api.url())).header("authorization", "Basic c2VjcmV0");
    request.body(Full::from("body")).expect("a request")
}

async fn json<B>(response: http::Response<B>) -> Value
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    serde_json::from_slice(&body).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bearer_token_takes_the_place_of_the_header() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let graph = world.calling(&engine(), "secret", &api, json!({}));
    let mut client = AuthorizationLayer::new(graph).layer(Client::of(&world, &api));
    for _ in 0..2 {
        let response = client.call(request(&api)).await.expect("an answer");
        assert_eq!(response.status(), 200);
        let header: &AuthorizationHeader = response.extensions().get().expect("what was presented");
        assert!(header.authentication_result().is_some() && header.binding_certificate().is_none());
        let seen = json(response).await;
        assert_eq!((&seen["authorizationScheme"], &seen["bodyLength"]), (&json!("Bearer"), &json!(4)));
    }
    assert_eq!(world.token_requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claims_challenge_is_followed_once() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let graph = world.calling(&engine(), "secret", &api, json!({}));
    let mut client = AuthorizationLayer::new(graph).layer(Client::of(&world, &api));
    api.demand_acrs("c1");
    let mut first = request(&api);
    for (name, value) in [("cookie", "a=b"), ("x-forwarded-for", "10.0.0.1"), ("x-own", "kept")] {
        first.headers_mut().insert(name, value.parse().expect("a value"));
    }
    assert_eq!(client.call(first).await.expect("an answer").status(), 200);
    let [challenged, answered] = &api.log()[..] else { panic!("two requests") };
    assert_eq!((challenged.status, answered.status), (401, 200));
    assert_eq!(answered.body_length, 4);
    assert_eq!((challenged.header("cookie"), challenged.header("x-own")), (Some("a=b"), Some("kept")));
    let again = ["cookie", "x-forwarded-for", "x-own"].map(|name| answered.header(name));
    assert_eq!(again, [None, None, Some("kept")]);
    assert_eq!(world.token_requests().len(), 2);

    // A challenge that can't be satisfied isn't followed for ever.
    api.answer_next(401, [("www-authenticate", CHALLENGE)]);
    api.answer_next(401, [("www-authenticate", CHALLENGE)]);
    assert_eq!(client.call(request(&api)).await.expect("an answer").status(), StatusCode::UNAUTHORIZED);
    assert_eq!(api.log().len(), 4);
}

/// `{"access_token":{"nbf":{"essential":true,"value":"1"}}}`
const CHALLENGE: &str = "Bearer error=\"insufficient_claims\", \
                         claims=\"eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxIn19fQ==\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_kept_is_sent_once() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let application = world.caller(&engine(), "secret", &api, json!({}));
    let mut options = application.downstream_api("api").expect("an API").options().clone();
    options.limits.replay_limit = 3;
    let graph = application.downstream_api_with("api", options);
    let mut client = AuthorizationLayer::new(graph).layer(Client::of(&world, &api));
    api.demand_acrs("c1");
    assert_eq!(client.call(request(&api)).await.expect("an answer").status(), StatusCode::UNAUTHORIZED);
    assert_eq!((api.log().len(), world.token_requests().len()), (1, 1));
}

/// Calls with something that takes a certificate, and gives what the API saw.
async fn bound(world: &World, api: &Api, graph: DownstreamApi) -> Value {
    let inner = Client::of(world, api);
    let mut client = AuthorizationLayer::new(graph).layer(inner.clone());
    let response = client.call(request(api)).await.expect("an answer");
    assert_eq!(response.status(), 200);
    let header: &AuthorizationHeader = response.extensions().get().expect("what was presented");
    let certificate = header.binding_certificate().expect("a certificate").thumbprint_sha256().to_owned();
    assert_eq!(inner.requests(), 0);
    let seen = json(response).await;
    assert_eq!(seen["clientCertificate"]["x5t#S256"], certificate);
    assert_eq!(seen["bodyLength"], 4);
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
    let graph = world.calling(&engine(), "bound", &api, json!({ "ProtocolScheme": "MTLS", "Scopes": null }));
    assert_eq!(bound(&world, &api, graph).await["authorizationScheme"], Value::Null);
    assert_eq!(world.token_requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_says_for_whom_it_is_and_how() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let graph = world.calling(&engine(), "web-api", &api, json!({}));
    let mut client = AuthorizationLayer::new(graph.clone()).layer(Client::of(&world, &api));
    let mut options = graph.options().clone();
    options.request_app_token = false;
    let mut first = request(&api);
    first.extensions_mut().insert(options);
    first.extensions_mut().insert(UserAssertion::from(world.user_token(sample::ALICE, sample::WEB_API)));
    assert_eq!(client.call(first).await.expect("an answer").status(), 200);
    assert_eq!(client.call(request(&api)).await.expect("an answer").status(), 200);
    let subjects: Vec<_> =
        api.log().iter().map(|seen| seen.token.as_ref().expect("a token")["oid"].clone()).collect();
    assert_eq!(subjects[0], sample::ALICE_OBJECT_ID);
    assert_ne!(subjects[1], sample::ALICE_OBJECT_ID, "the next is the application's own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_go_to_their_api_only() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let graph = world.calling(&engine(), "secret", &api, json!({}));
    let inner = Client::of(&world, &api);
    let mut client = AuthorizationLayer::new(graph).layer(inner.clone());
    for url in [
        "https://elsewhere.test/orders",
        "http://api.contoso.test/",
        "https://api.contoso.test:444/",
        "/orders",
    ] {
        let mut elsewhere = request(&api);
        *elsewhere.uri_mut() = url.parse().expect("a URL");
        let error = client.call(elsewhere).await.map(|_| ()).expect_err("another server");
        let Some(symbolon::Error::Downstream(error)) = error.downcast_ref() else { panic!("{error}") };
        assert_eq!(error.kind, DownstreamErrorKind::InvalidRequest, "{url}");
    }
    let application = world.application(&engine(), "secret");
    let nowhere = application.downstream_api_with("api", symbolon::DownstreamApiOptions::default());
    let mut client = AuthorizationLayer::new(nowhere).layer(inner.clone());
    client.call(request(&api)).await.map(|_| ()).expect_err("nobody knows whose the token is");
    assert_eq!((inner.requests(), world.token_requests().len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_nothing_is_sent() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    for (options, code) in [
        (json!({ "Scopes": ["https://graph.microsoft.com/User.Read"] }), "IDW10404"),
        (json!({ "RequestAppToken": false, "Scopes": [GRAPH] }), "invalid_request"),
        (json!({ "Scopes": [] }), "invalid-request"),
    ] {
        let graph = world.calling(&engine(), "secret", &api, options);
        let mut client = AuthorizationLayer::new(graph).layer(Client::of(&world, &api));
        let error = client.call(request(&api)).await.map(|_| ()).expect_err("no token");
        let error: &symbolon::Error = error.downcast_ref().expect("the error of Symbolon");
        assert_eq!(error.code(), code, "{error}");
    }
    assert!(api.log().is_empty());
}
