//! Strict applications: what the RFCs say and nothing else.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use symbolon_authority::{Authority, CONTOSO, Registration};

use crate::support::*;

async fn strict(own: &symbolon_authority::ClientCertificate) -> Authority {
    let app = Registration::new(CLIENT).certificate(own.certificate().clone()).strict(true);
    authority().application(app).start().await.unwrap()
}

async fn code(authority: &Authority, text: &str) -> Option<u64> {
    let reply = Client::new(authority).token(LOGIN, &assertion_form(CLIENT, text)).await;
    (reply.status != 200).then(|| reply.refusal().2)
}

fn assertion(own: &symbolon_authority::ClientCertificate) -> Assertion {
    Assertion::new(CLIENT, &format!("https://{LOGIN}{}", token_path()), own)
}

#[tokio::test]
async fn exact_assertions_pass() {
    let own = certificate("own");
    let authority = strict(&own).await;
    assert_eq!(code(&authority, &assertion(&own).sign(&own)).await, None);
    assert_eq!(code(&authority, &assertion(&own).x5c(&own).sign(&own)).await, None);
    let issuer = format!("https://{LOGIN}/{CONTOSO}/v2.0");
    assert_eq!(code(&authority, &assertion(&own).claim("aud", json!(issuer)).sign(&own)).await, None);
}

#[tokio::test]
async fn lenient_forms_do_not() {
    let own = certificate("own");
    let authority = strict(&own).await;
    let leaf = STANDARD.encode(&own.chain()[0]);
    let alias = format!("https://login.windows.net{}", token_path());
    for (what, form, expected) in [
        ("times as strings", assertion(&own).claim("exp", json!((NOW + 600).to_string())), 50027),
        ("x5c as a string", assertion(&own).header("x5c", json!(leaf)), 50027),
        ("x5c with line breaks", assertion(&own).header("x5c", json!([format!("{leaf}\n")])), 50027),
        ("padded thumbprint", assertion(&own).header("x5t#S256", json!(x5t_s256(&own) + "=")), 50027),
        ("no jti", assertion(&own).without_claim("jti"), 50027),
        ("an alias as audience", assertion(&own).claim("aud", json!(alias)), 700023),
        ("11 minutes", assertion(&own).claim("exp", json!(NOW + 660)), 700024),
        ("a key id", assertion(&own).without_header("x5t#S256").header("kid", json!(x5t(&own))), 700027),
    ] {
        assert_eq!(code(&authority, &form.sign(&own)).await, Some(expected), "{what}");
    }
}

#[tokio::test]
async fn a_jti_is_used_once() {
    let own = certificate("own");
    let authority = strict(&own).await;
    let text = assertion(&own).sign(&own);
    assert_eq!(code(&authority, &text).await, None);
    assert_eq!(code(&authority, &text).await, Some(50027));
    authority.reset();
    assert_eq!(code(&authority, &text).await, None);
}

#[tokio::test]
async fn a_refused_assertion_uses_up_no_jti() {
    let own = certificate("own");
    let authority = strict(&own).await;
    let early = assertion(&own).claim("nbf", json!(NOW + 400)).claim("exp", json!(NOW + 900));
    assert_eq!(code(&authority, &early.sign(&own)).await, Some(700024));
    authority.advance(std::time::Duration::from_secs(400));
    assert_eq!(code(&authority, &early.sign(&own)).await, None);
}
