//! The signing key is no oracle (I11): what the host signs is decided by the host.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use symbolon::{Clock as _, SystemClock};
use symbolon_end_to_end::{World, hostile_engine, order};

const TOKEN_ENDPOINT: &str = "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token";

fn signing_input(header: &Value, payload: &Value) -> String {
    format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(payload.to_string()))
}

fn header() -> Value {
    json!({ "alg": "PS256", "typ": "JWT" })
}

fn payload() -> Value {
    let now = SystemClock.now_unix();
    json!({ "aud": TOKEN_ENDPOINT, "iss": "client", "sub": "client", "nbf": now, "exp": now + 600, "jti": "1" })
}

#[tokio::test]
async fn only_client_assertions_are_signed() {
    let (world, hostile) = (World::start().await, hostile_engine(|builder| builder));
    let application = world.application(&hostile, "certificate");
    let sign = async |input: String| order(&application, format!("sign {input}")).await.expect("an answer");

    assert_eq!(sign(signing_input(&header(), &payload())).await, "signed", "the positive control");

    let with = |member: &str, value: Value| {
        let mut payload = payload();
        payload[member] = value;
        signing_input(&header(), &payload)
    };
    let late = SystemClock.now_unix() + 700;
    for (what, input) in [
        ("a digest", "0123456789abcdef".to_owned()),
        ("three parts", format!("{}.x", signing_input(&header(), &payload()))),
        ("another type", signing_input(&json!({ "alg": "PS256", "typ": "at+jwt" }), &payload())),
        ("another algorithm", signing_input(&json!({ "alg": "RS256", "typ": "JWT" }), &payload())),
        ("a long life", with("exp", late.into())),
        ("no end", with("exp", Value::Null)),
        ("another audience", with("aud", "https://evil.example/token".into())),
        ("a foreign API", with("aud", "https://graph.microsoft.com".into())),
        ("two audiences", with("aud", json!([TOKEN_ENDPOINT, "https://evil.example"]))),
    ] {
        let seen = sign(input).await;
        assert!(seen.contains("refused to sign"), "{what}: {seen}");
    }
}

#[tokio::test]
async fn an_acquisition_gets_eight_signatures() {
    let (world, hostile) = (World::start().await, hostile_engine(|builder| builder));
    let application = world.application(&hostile, "certificate");
    let input = signing_input(&header(), &payload());
    let seen = order(&application, format!("sign-often {input}")).await.expect("an answer");
    assert!(seen.starts_with("8: "), "handles of the same acquisition share the budget: {seen}");
}
