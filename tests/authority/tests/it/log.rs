//! The log: who asked what, and no secret in it.

use serde_json::json;
use symbolon_authority::{FieldValue, Registration};

use crate::support::*;

#[tokio::test]
async fn what_is_seen_of_a_request() {
    let own = certificate("own");
    let app = Registration::new(CLIENT).certificate(own.certificate().clone());
    let authority = authority().application(app).start().await.unwrap();
    let assertion =
        Assertion::new(CLIENT, &format!("https://{LOGIN}{}", token_path()), &own).x5c(&own).sign(&own);
    let headers = [
        ("client-request-id", "0f0f0f0f-1111-4222-8333-444444444444"),
        ("x-client-sku", "Symbolon"),
        ("x-client-current-telemetry", "5|1004,2,,,|0,1,1,,,"),
        ("x-ms-lib-capability", "retry-after, h429"),
        ("cookie", "canary"),
    ];
    let form = encode(&assertion_form(CLIENT, &assertion));
    let path = format!("{}?dc=test&other=canary", token_path());
    let reply =
        Client::new(&authority).send(LOGIN, request("POST", LOGIN, &path, &headers, form)).await.unwrap();
    assert_eq!(reply.status, 200);

    let log = authority.log();
    let [entry] = log.as_slice() else { panic!("{log:?}") };
    assert_eq!((entry.sequence, entry.time_unix_ms, entry.connection), (1, NOW * 1000, 1));
    assert_eq!((entry.method.as_str(), entry.host.as_str(), &entry.path), ("POST", LOGIN, &token_path()));
    assert_eq!((entry.status, entry.aadsts, entry.error.as_deref()), (Some(200), None, None));
    assert_eq!(entry.correlation_id.as_deref(), Some("0f0f0f0f-1111-4222-8333-444444444444"));
    assert_eq!(entry.trace_id.as_deref(), reply.header("x-ms-request-id"));
    assert_eq!(entry.header("x-client-current-telemetry"), Some("5|1004,2,,,|0,1,1,,,"));
    assert_eq!(entry.header("cookie"), None);
    assert_eq!(
        entry.form_names().collect::<Vec<_>>(),
        ["client_id", "client_assertion_type", "client_assertion", "scope", "grant_type"]
    );
    assert_eq!(entry.form_text("scope"), Some(GRAPH));
    let (header, payload) = entry.client_assertion().unwrap();
    assert_eq!(header["x5c"], json!({ "form": "array", "x5t#S256": [x5t_s256(&own)] }));
    assert_eq!(payload["iss"], CLIENT);
    assert_eq!(entry.query[0].value, FieldValue::Text("test".into()));
    assert_eq!(entry.query[1].value, FieldValue::Redacted { characters: 6 });
}

#[tokio::test]
async fn no_secret_token_or_signature() {
    let own = certificate("own");
    let app = Registration::new(CLIENT).certificate(own.certificate().clone()).secret(SECRET);
    let authority = authority().application(app).start().await.unwrap();
    let client = Client::new(&authority);
    let assertion = Assertion::new(CLIENT, &format!("https://{LOGIN}{}", token_path()), &own).sign(&own);
    let mut secrets =
        vec![SECRET.to_owned(), assertion.rsplit('.').next().unwrap().to_owned(), assertion.clone()];
    for form in
        [secret_form(CLIENT, SECRET), secret_form(CLIENT, "canary-1"), assertion_form(CLIENT, &assertion)]
    {
        let reply = client.token(LOGIN, &form).await.json();
        secrets.extend(reply["access_token"].as_str().map(str::to_owned));
    }
    let basic = [("authorization", "Basic Y2FuYXJ5LTI6Y2FuYXJ5LTM=")];
    let form = encode(&[("refresh_token", "canary-4"), ("code", "canary-5"), ("anything", "canary-6")]);
    client.send(LOGIN, request("POST", LOGIN, &token_path(), &basic, form)).await.unwrap();
    secrets.extend(["canary".to_owned(), "Y2FuYXJ5".to_owned()]);

    let log = authority.log();
    assert_eq!(log.len(), 4);
    for text in [serde_json::to_string(&log).unwrap(), format!("{log:?}"), format!("{authority:?}")] {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} is in {text}");
        }
    }
    let secret = &log[0].form.iter().find(|field| field.name == "client_secret").unwrap().value;
    assert_eq!(*secret, FieldValue::Redacted { characters: SECRET.chars().count() });
}

#[tokio::test]
async fn debug_output_has_no_secret() {
    let own = certificate("own");
    let builder = authority().application(Registration::new(CLIENT).secret("canary"));
    let text = format!("{builder:?} {own:?}");
    assert!(!text.contains("canary") && !text.contains("PRIVATE"), "{text}");
}
