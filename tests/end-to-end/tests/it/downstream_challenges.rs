//! Claims challenges: answered once, by a token with the claims, which is there for the next call too.

use serde_json::json;
use symbolon::{DownstreamErrorKind, NotRetried};
use symbolon_authority::Ask;
use symbolon_end_to_end::apis::of_tokens;
use symbolon_end_to_end::{World, engine};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_brings_a_token_with_its_claims() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let graph = world.calling(&engine(), "secret", &api, json!({}));
    graph.get("first").send().await.expect("an answer");
    api.demand_acrs("c1");

    let body = json!({ "number": 1 });
    let response = graph.post("orders").json(&body).send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.presented().attempts), (200, 2));
    let requests = api.log().split_off(1);
    let statuses: Vec<_> = requests.iter().map(|request| request.status).collect();
    assert_eq!(statuses, [401, 200]);
    assert_eq!(requests[1].body_length, 12, "the body was sent a second time");
    assert_eq!(requests[1].token.as_ref().expect("a token")["acrs"], json!(["c1"]));
    assert_eq!(world.token_requests().len(), 2);

    let response = graph.get("orders").send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.presented().attempts), (200, 1), "the token was kept");
    assert_eq!(world.token_requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_to_a_bound_token_keeps_it_bound() {
    let world = World::start().await;
    let api = world.api(of_tokens().ask(Ask::Required)).await;
    api.demand_acrs("c1");
    let graph = world.calling(&engine(), "bound", &api, json!({ "ProtocolScheme": "MTLS_POP" }));
    let response = graph.get("orders").send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.presented().attempts), (200, 2));
    for request in api.log() {
        let token = request.token.expect("a token");
        assert_eq!(token["cnf"]["x5t#S256"].as_str(), request.client_certificate.as_deref());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_is_answered_once() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let graph = world.calling(&engine(), "secret", &api, json!({}));
    // The claims `{"access_token":{"acrs":{"value":"c9"}}}`, among challenges of other kinds.
    let challenge = r#"Negotiate YQ==, Basic realm="a\", b", Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJ2YWx1ZSI6ImM5In19fQ""#;
    for _ in 0..2 {
        api.answer_next(401, [("www-authenticate", challenge)]);
    }
    let response = graph.get("orders").send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.presented().attempts), (401, 2));
    assert_eq!(response.not_retried(), None);
    assert_eq!(api.log()[1].token.as_ref().expect("a token")["acrs"], json!(["c9"]));

    let error = response.error_for_status().await.expect_err("401");
    let error = error.downstream().expect("about the API").clone();
    assert_eq!((error.kind, error.status.map(|s| s.as_u16())), (DownstreamErrorKind::Refused, Some(401)));
    assert!(error.correlation_ids.contains(&("x-ms-request-id".to_owned(), "the-apis-own".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_refusals_are_answers() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let graph = world.calling(&engine(), "secret", &api, json!({}));
    for challenge in [r#"Bearer error="invalid_token""#, r#"Bearer claims="e30""#, "Bearer"] {
        api.answer_next(401, [("www-authenticate", challenge)]);
        let response = graph.get("orders").send().await.expect("an answer");
        assert_eq!((response.status().as_u16(), response.presented().attempts), (401, 1), "{challenge}");
    }
    assert_eq!(world.token_requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_gone_is_not_sent_again() {
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    api.demand_acrs("c1");
    let graph = world.calling(&engine(), "secret", &api, json!({}));
    let request = graph.post("orders").body(vec![7; 1000]).replay_limit(999);
    let response = request.send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.presented().attempts), (401, 1));
    assert_eq!(response.not_retried(), Some(&NotRetried::Body));

    let request = graph.post("orders").body(vec![7; 1000]).replay_limit(1000);
    let response = request.send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.presented().attempts), (200, 2));
    assert_eq!(api.log()[2].body_length, 1000);
}
