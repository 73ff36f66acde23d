//! The plugin that authorizes: what is presented on which route, and what a challenge brings.

use std::sync::Arc;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use serde_json::{Value, json};
use symbolon_authority::{Api, Ask, Demand, sample};
use symbolon_end_to_end::apis::{GRAPH_AUDIENCE, of_tokens};
use symbolon_end_to_end::{GRAPH, World};

use super::site::{AUTH, Settings, Site, seen};
use super::upstream::{LONG, Long};

/// An API and the settings by which a route reaches it.
async fn with_route(mut settings: Settings, name: &str, api: &Api, options: Value) -> Option<Settings> {
    settings.json["Symbolon"]["ConnectTo"][api.host()] = api.address().to_string().into();
    let mut configured = json!({ "BaseUrl": api.url(), "RequestAppToken": true });
    configured.as_object_mut()?.extend(options.as_object()?.clone());
    settings.api(name, configured).route(&format!("/{name}"), name, AUTH)
}

/// A proxy with the one route `/orders`, to an API that wants a bearer token.
async fn orders(sample: &str) -> Option<(Site, Api)> {
    let settings = Settings::of(sample).await;
    let api = settings.world.api(of_tokens()).await;
    let settings = with_route(settings, "orders", &api, json!({ "Scopes": [GRAPH] })).await?;
    Some((settings.start().await, api))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_route_presents_what_its_api_demands() {
    let settings = Settings::of("bound").await;
    let token = || Demand::Token(GRAPH_AUDIENCE.to_owned());
    let start = async |builder| World::api(&settings.world, builder).await;
    let bearer = start(Api::builder().host("bearer.contoso.test").demand(token())).await;
    let pop = start(Api::builder().host("pop.contoso.test").demand(token()).ask(Ask::Optional)).await;
    let mtls =
        start(Api::builder().host("mtls.contoso.test").demand(Demand::Certificate).ask(Ask::Required)).await;
    let scopes = json!({ "Scopes": [GRAPH] });
    let Some(settings) = with_route(settings, "bearer", &bearer, scopes).await else { return };
    let bound = json!({ "Scopes": [GRAPH], "ProtocolScheme": "MTLS_POP" });
    let settings = with_route(settings, "pop", &pop, bound).await.expect("a route");
    let certificate = json!({ "ProtocolScheme": "MTLS" });
    let site = with_route(settings, "mtls", &mtls, certificate).await.expect("a route").start().await;

    for _ in 0..2 {
        for (route, scheme) in
            [("bearer", json!("Bearer")), ("pop", json!("mtls_pop")), ("mtls", Value::Null)]
        {
            let request =
                Request::put(format!("/{route}/1?a=b")).header("authorization", "Bearer the-clients");
            let request = request.header("content-length", "4").body(Full::from("four")).expect("a request");
            let seen = seen(site.send(request).await).await;
            assert_eq!(
                (&seen["method"], &seen["path"], &seen["query"]),
                (&json!("PUT"), &json!("/1"), &json!("a=b"))
            );
            assert_eq!((&seen["authorizationScheme"], &seen["bodyLength"]), (&scheme, &json!(4)), "{route}");
            let certificate = &seen["clientCertificate"]["x5t#S256"];
            assert_eq!(certificate.is_string(), route != "bearer", "{route}");
            assert!(route != "pop" || seen["token"]["cnf"]["x5t#S256"] == *certificate, "{seen}");
        }
    }
    assert_eq!(site.world.token_requests().len(), 2, "tokens are kept, and a certificate needs none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_is_answered_where_the_body_is_short() {
    let Some((site, api)) = orders("secret").await else { return };
    assert_eq!(site.get("/orders/1").await.status(), 200);
    api.clear_log();
    api.demand_acrs("c1");
    assert_eq!(site.post("/orders/2", "short").await.status(), 200);
    let log: Vec<_> =
        api.log().into_iter().map(|request| (request.status, request.path, request.body_length)).collect();
    assert_eq!(log, [(401, "/2".to_owned(), 0), (200, "/2".to_owned(), 5)], "{log:?}");
    assert_eq!(site.get("/orders/3").await.status(), 200);
    assert_eq!(api.log().len(), 3, "the token with the claims is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_is_passed_on_where_the_body_is_gone() {
    let Some((site, api)) = orders("secret").await else { return };
    api.demand_acrs("c1");
    let request = Request::post("/orders/1").body(Full::from(vec![7; 100_000])).expect("a request");
    let response = site.send(request).await;
    let challenge = response.headers()["www-authenticate"].to_str().expect("text");
    assert!(challenge.contains("insufficient_claims"), "{challenge}");
    assert_eq!((response.status().as_u16(), api.log().len()), (401, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_is_answered_once() {
    let Some((site, api)) = orders("secret").await else { return };
    let challenge = r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJ2YWx1ZSI6ImM5In19fQ""#;
    for _ in 0..2 {
        api.answer_next(401, [("www-authenticate", challenge)]);
    }
    assert_eq!((site.get("/orders/1").await.status().as_u16(), api.log().len()), (401, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_for_users_acts_for_the_one_who_calls() {
    let settings = Settings::of("web-api").await;
    let api = settings.world.api(of_tokens()).await;
    let for_users = json!({ "Scopes": [GRAPH], "RequestAppToken": false });
    let client_id = settings.json["AzureAd"]["ClientId"].as_str().expect("a client id").to_owned();
    let Some(settings) = with_route(settings, "me", &api, for_users).await else { return };
    let site = settings.start().await;
    assert_eq!(site.get("/me").await.status(), 401, "nobody calls");
    assert_eq!(api.log().len(), 0);

    let user = format!("Bearer {}", site.world.user_token(sample::ALICE, &client_id));
    let request = Request::get("/me").header("authorization", user).body(Full::<Bytes>::default());
    assert_eq!(site.send(request.expect("a request")).await.status(), 200);
    let [request] = &api.log()[..] else { panic!("one request") };
    let token = request.token.as_ref().expect("a token");
    assert!(token["scp"].is_string(), "a user's token: {token}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_where_there_is_no_token() {
    let mut settings = Settings::of("secret").await;
    settings.json["AzureAd"]["ClientId"] = json!("99999999-9999-9999-9999-999999999999");
    let api = settings.world.api(of_tokens()).await;
    let Some(settings) = with_route(settings, "orders", &api, json!({ "Scopes": [GRAPH] })).await else {
        return;
    };
    let site = settings.start().await;
    assert_eq!(site.get("/orders").await.status(), 502);
    assert_eq!(api.log().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_bodies_go_through_with_a_token() {
    let Some((site, api)) = orders("secret").await else { return };
    let long = || Long { left: LONG, given: Arc::default() };
    let stored = seen(site.send(Request::put("/orders/1").body(long()).expect("a request")).await).await;
    assert_eq!(stored["bodyLength"], json!(LONG));
    assert_eq!(stored["headers"]["content-length"], json!(LONG.to_string()), "its length goes through");

    let mut body =
        site.send(Request::post("/orders/echo").body(long()).expect("a request")).await.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.expect("a part").data_ref().map_or(0, |part| part.len() as u64);
    }
    assert_eq!((length, api.log().len()), (LONG, 2));
}
