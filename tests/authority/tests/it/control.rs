//! The control port: the same as the API, over plain HTTP.

use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use symbolon_authority::{
    Authority, Certificate, FEDERATION_ISSUER, Platform, Registration, Source, StartError,
};

use crate::support::*;

async fn start() -> Authority {
    let app = Registration::new(CLIENT).secret(SECRET).federated_credential(FEDERATION_ISSUER, "s", "a");
    authority().application(app).control(true).start().await.unwrap()
}

async fn call(
    authority: &Authority,
    method: &str,
    path: &str,
    body: Value,
    headers: &[(&str, &str)],
) -> (u16, Value) {
    let stream = tokio::net::TcpStream::connect(authority.control_address().unwrap()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let response =
        sender.send_request(request.body(Full::new(bytes::Bytes::from(body))).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn token(authority: &Authority) -> u16 {
    Client::new(authority).token(LOGIN, &secret_form(CLIENT, SECRET)).await.status.as_u16()
}

#[tokio::test]
async fn faults() {
    let authority = start().await;
    let fault =
        json!({ "fault": { "kind": "status", "status": 503 }, "times": "always", "clientId": CLIENT });
    assert_eq!(call(&authority, "POST", "/faults", fault.clone(), &[]).await, (200, json!({ "id": 1 })));
    assert_eq!(token(&authority).await, 503);
    let (_, list) = call(&authority, "GET", "/faults", Value::Null, &[]).await;
    assert_eq!(
        (&list[0]["id"], &list[0]["hits"], &list[0]["times"]),
        (&json!(1), &json!(1), &json!("always"))
    );
    assert_eq!(call(&authority, "DELETE", "/faults/1", Value::Null, &[]).await.0, 200);
    assert_eq!(call(&authority, "DELETE", "/faults/1", Value::Null, &[]).await.0, 404);
    assert_eq!(token(&authority).await, 200);
    call(&authority, "POST", "/faults", fault, &[]).await;
    call(&authority, "DELETE", "/faults", Value::Null, &[]).await;
    assert_eq!(token(&authority).await, 200);
}

#[tokio::test]
async fn mistakes_are_named() {
    let authority = start().await;
    for (body, part) in [
        (json!({ "fault": { "kind": "status", "status": "x" } }), "fault"),
        (json!({ "fault": { "kind": "malformedJson" }, "timess": 1 }), "timess"),
    ] {
        let (status, answer) = call(&authority, "POST", "/faults", body, &[]).await;
        assert_eq!(status, 400);
        assert!(answer["error"].as_str().unwrap().contains(part), "{answer}");
    }
    assert_eq!(call(&authority, "GET", "/nowhere", Value::Null, &[]).await.0, 404);
    let from_a_page = [("origin", "https://evil.test")];
    assert_eq!(call(&authority, "POST", "/reset", Value::Null, &from_a_page).await.0, 403);
}

#[tokio::test]
async fn log_counts_and_reset() {
    let authority = start().await;
    token(&authority).await;
    let (_, log) = call(&authority, "GET", "/log", Value::Null, &[]).await;
    assert_eq!(log, serde_json::to_value(authority.log()).unwrap());
    assert_eq!(
        (&log[0]["status"], &log[0]["form"][1]),
        (&json!(200), &json!({ "name": "client_secret", "value": { "characters": 12 } }))
    );
    let (_, stats) = call(&authority, "GET", "/stats", Value::Null, &[]).await;
    assert_eq!(stats["hosts"][LOGIN]["fullHandshakes"], 1);
    assert_eq!(call(&authority, "GET", "/applications", Value::Null, &[]).await.1, json!([CLIENT]));
    call(&authority, "POST", "/reset", Value::Null, &[]).await;
    assert!(authority.log().is_empty() && authority.stats().tcp_connections == 0);
}

#[tokio::test]
async fn time_and_assertions() {
    let authority = start().await;
    let advanced = call(&authority, "POST", "/clock", json!({ "advanceSeconds": 60 }), &[]).await;
    assert_eq!(advanced, (200, json!({ "nowUnix": NOW + 60 })));
    let body = json!({ "subject": "s", "audience": "a", "lifetimeSeconds": 60 });
    let (_, answer) = call(&authority, "POST", "/federated-assertion", body, &[]).await;
    let form = assertion_form(CLIENT, answer["assertion"].as_str().unwrap());
    assert_eq!(Client::new(&authority).token(LOGIN, &form).await.claims()["iat"], NOW + 60);
}

#[tokio::test]
async fn tokens_and_codes_of_users() {
    let authority = start().await;
    let body = json!({
        "user": "alice@contoso.com", "audience": CLIENT, "scope": "a b", "lifetimeSeconds": 60,
        "claims": { "acr": "2" },
    });
    let (status, answer) = call(&authority, "POST", "/user-token", body, &[]).await;
    let claims = decoded(answer["token"].as_str().unwrap());
    assert_eq!((status, &claims["aud"], &claims["exp"]), (200, &json!(CLIENT), &json!(NOW + 60)));
    assert_eq!((&claims["scp"], &claims["acr"]), (&json!("a b"), &json!("2")));
    let token = answer["token"].as_str().unwrap();
    assert_eq!(Client::new(&authority).token(LOGIN, &on_behalf_of(token)).await.status, 200);

    let uri = "https://localhost/";
    let body =
        json!({ "clientId": CLIENT, "user": "bob@contoso.com", "redirectUri": uri, "scope": "User.Read" });
    let (_, answer) = call(&authority, "POST", "/authorization-code", body, &[]).await;
    let code = answer["code"].as_str().unwrap();
    let form = user_form(&[
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", uri),
        ("scope", ""),
    ]);
    assert_eq!(Client::new(&authority).token(LOGIN, &form).await.claims()["scp"], "User.Read");

    let body = json!({ "user": "nobody@contoso.com", "audience": CLIENT });
    let (status, answer) = call(&authority, "POST", "/user-token", body, &[]).await;
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().contains("nobody@contoso.com"), "{answer}");

    let body = json!({ "user": "bob@contoso.com" });
    let (status, answer) = call(&authority, "POST", "/revoke-refresh-tokens", body, &[]).await;
    assert_eq!((status, answer), (200, json!({ "revoked": 0 })));
}

#[tokio::test]
async fn platforms_and_vaults() {
    let authority = start().await;
    assert_eq!(call(&authority, "GET", "/platforms", Value::Null, &[]).await.1, json!([]));
    let platform = Platform::builder().start(&authority).await.unwrap();
    let (_, list) = call(&authority, "GET", "/platforms", Value::Null, &[]).await;
    assert_eq!(list[0]["arcKeyDirectory"].as_str(), platform.arc_key_directory().to_str());
    for source in Source::ALL {
        let variables = platform.environment(source);
        let shown = list[0]["environment"][source.name()].as_object().unwrap();
        assert_eq!(shown.len(), variables.len());
        assert!(variables.iter().all(|(name, value)| shown[name] == **value), "{shown:?}");
    }

    let body = json!({ "vault": "contoso", "name": "client", "pem": true, "lifetimeSeconds": 60 });
    let (status, answer) = call(&authority, "POST", "/vault-certificate", body, &[]).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(authority.vault("contoso").versions("client"), [answer["version"].as_str().unwrap()]);
    let certificate = Certificate::from_pem(answer["certificate"].as_str().unwrap()).unwrap();
    assert_eq!(certificate.x5t_s256(), answer["x5t#S256"].as_str().unwrap());
    assert_eq!((certificate.subject(), certificate.not_after_unix()), ("CN=client", NOW + 60));
}

#[tokio::test]
async fn only_on_loopback() {
    let error = authority().control_at("0.0.0.0:0").start().await.unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
    assert!(error.to_string().contains("loopback"), "{error}");
}
