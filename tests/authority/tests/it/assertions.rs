//! Client assertions: what today's libraries send is taken, what proves nothing is refused.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use symbolon_authority::{
    Authority, CONTOSO, CertificateRequest, ClientCertificate, ClientCertificateIssuer, KeyKind, Registration,
};

use crate::support::*;

fn endpoint() -> String {
    format!("https://{LOGIN}{}", token_path())
}

fn assertion(certificate: &ClientCertificate) -> Assertion {
    Assertion::new(CLIENT, &endpoint(), certificate)
}

async fn with_certificate(certificate: &ClientCertificate) -> Authority {
    let app = Registration::new(CLIENT).certificate(certificate.certificate().clone());
    authority().application(app).start().await.unwrap()
}

async fn send(authority: &Authority, assertion: &str) -> Reply {
    Client::new(authority).token(LOGIN, &assertion_form(CLIENT, assertion)).await
}

#[tokio::test]
async fn every_algorithm() {
    let (rsa, ec) = (rsa_certificate("rsa"), certificate("ec"));
    let authority = with_certificate(&rsa).await;
    for alg in ["PS256", "RS256"] {
        let reply = send(&authority, &assertion(&rsa).alg(alg).sign(&rsa)).await;
        assert_eq!(reply.claims()["azpacr"], "2", "{alg}");
    }
    let authority = with_certificate(&ec).await;
    assert_eq!(send(&authority, &assertion(&ec).sign(&ec)).await.status, 200);
}

#[tokio::test]
async fn the_forms_of_todays_libraries() {
    let own = certificate("own");
    let authority = with_certificate(&own).await;
    let padded = |text: String| format!("{text}=").replace('-', "+").replace('_', "/");
    let leaf = STANDARD.encode(&own.chain()[0]);
    for (what, form) in [
        (
            "times as strings",
            assertion(&own).claim("nbf", json!(NOW.to_string())).claim("exp", json!((NOW + 600).to_string())),
        ),
        ("no nbf", assertion(&own).without_claim("nbf")),
        ("fractional times", assertion(&own).claim("nbf", json!(NOW as f64 + 0.5))),
        ("no jti", assertion(&own).without_claim("jti")),
        ("x5c as a string", assertion(&own).header("x5c", json!(leaf))),
        ("x5c with line breaks", assertion(&own).header("x5c", json!([broken(&leaf)]))),
        ("x5c as an array", assertion(&own).x5c(&own)),
        ("x5t in base64url", assertion(&own).without_header("x5t#S256").header("x5t", json!(x5t(&own)))),
        ("x5t, padded", assertion(&own).without_header("x5t#S256").header("x5t", json!(x5t(&own) + "="))),
        ("x5t#S256 in base64", assertion(&own).header("x5t#S256", json!(padded(x5t_s256(&own))))),
        (
            "kid in hexadecimal",
            assertion(&own).without_header("x5t#S256").header("kid", json!(hex_sha1(&own))),
        ),
        (
            "a clock that is behind",
            assertion(&own).claim("nbf", json!(NOW - 800)).claim("exp", json!(NOW - 200)),
        ),
        (
            "a clock that is ahead",
            assertion(&own).claim("nbf", json!(NOW + 250)).claim("exp", json!(NOW + 850)),
        ),
        ("several audiences", assertion(&own).claim("aud", json!(["https://elsewhere.test", endpoint()]))),
    ] {
        let reply = send(&authority, &form.sign(&own)).await;
        assert_eq!(reply.status, 200, "{what}: {}", reply.json());
    }
}

fn broken(base64: &str) -> String {
    let (first, rest) = base64.split_at(64);
    format!("\n{first}\n{rest}\n")
}

fn hex_sha1(certificate: &ClientCertificate) -> String {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &certificate.chain()[0])
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect()
}

#[tokio::test]
async fn an_assertion_may_come_twice() {
    let own = certificate("own");
    let authority = with_certificate(&own).await;
    let text = assertion(&own).sign(&own);
    for _ in 0..2 {
        assert_eq!(send(&authority, &text).await.status, 200);
    }
}

#[tokio::test]
async fn audiences() {
    let own = certificate("own");
    let authority = with_certificate(&own).await;
    for audience in [
        format!("https://login.windows.net/{CONTOSO}/oauth2/v2.0/token"),
        format!("https://sts.windows.net/{CONTOSO}/oauth2/v2.0/token"),
        "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token".to_owned(),
        format!("https://westus2.login.microsoft.com/{CONTOSO}/oauth2/v2.0/token"),
        format!("https://{MTLS}/{CONTOSO}/oauth2/v2.0/token"),
        format!("https://westus2.{MTLS}/{CONTOSO}/oauth2/v2.0/token"),
        format!("https://login.microsoftonline.com/{CONTOSO}/oauth2/token"),
        format!("https://login.microsoftonline.com/{CONTOSO}/v2.0"),
        format!("https://sts.windows.net/{CONTOSO}/"),
    ] {
        let text = assertion(&own).claim("aud", json!(audience)).sign(&own);
        assert_eq!(send(&authority, &text).await.status, 200, "{audience}");
    }
    for audience in [
        format!("https://login.microsoftonline.us/{CONTOSO}/oauth2/v2.0/token"),
        "https://login.microsoftonline.com/fabrikam.com/oauth2/v2.0/token".to_owned(),
        format!("https://login.microsoftonline.com/{CONTOSO}/oauth2/v2.0/authorize"),
        format!("http://login.microsoftonline.com/{CONTOSO}/oauth2/v2.0/token"),
        format!("https://login.microsoftonline.com.evil.test/{CONTOSO}/oauth2/v2.0/token"),
        CLIENT.to_owned(),
    ] {
        let text = assertion(&own).claim("aud", json!(audience)).sign(&own);
        assert_refused(&send(&authority, &text).await, 401, "invalid_client", 700023);
    }
}

#[tokio::test]
async fn keys_that_are_not_registered() {
    let (own, other) = (certificate("own"), certificate("other"));
    let authority = with_certificate(&own).await;
    for (what, text) in [
        ("another certificate", assertion(&other).sign(&other)),
        ("another certificate, with x5c", assertion(&other).x5c(&other).sign(&other)),
        ("another key under the registered name", assertion(&own).sign(&other)),
        ("another key under the registered x5c", assertion(&own).x5c(&own).sign(&other)),
        ("a thumbprint that is not the x5c's", assertion(&other).x5c(&own).sign(&own)),
        ("no name of a key", assertion(&own).without_header("x5t#S256").sign(&own)),
        ("an algorithm of another key", assertion(&own).header("alg", json!("PS256")).sign(&own)),
    ] {
        let reply = send(&authority, &text).await;
        assert_eq!(reply.refusal(), (401, "invalid_client".into(), 700027), "{what}");
    }
    let unsigned = assertion(&own).header("alg", json!("none")).sign(&own);
    assert_refused(&send(&authority, &unsigned).await, 401, "invalid_client", 50027);
    assert_refused(&send(&authority, "not.a.token").await, 401, "invalid_client", 50027);
    let mut tampered = assertion(&own).sign(&own);
    tampered.replace_range(tampered.len() - 4.., "AAAA");
    assert_refused(&send(&authority, &tampered).await, 401, "invalid_client", 700027);
}

#[tokio::test]
async fn times_that_are_over_or_to_come() {
    let own = certificate("own");
    let authority = with_certificate(&own).await;
    for (what, nbf, exp) in [
        ("expired", NOW - 1000, NOW - 301),
        ("to come", NOW + 301, NOW + 901),
        ("for too long", NOW, NOW + 25 * 60 * 60),
        ("ends before it begins, long ago", NOW, NOW - 400),
    ] {
        let text = assertion(&own).claim("nbf", json!(nbf)).claim("exp", json!(exp)).sign(&own);
        assert_eq!(send(&authority, &text).await.refusal(), (401, "invalid_client".into(), 700024), "{what}");
    }
    let timeless = assertion(&own).without_claim("exp").sign(&own);
    assert_refused(&send(&authority, &timeless).await, 401, "invalid_client", 50027);
}

#[tokio::test]
async fn issuer_and_subject_are_the_client() {
    let own = certificate("own");
    let authority = with_certificate(&own).await;
    for claim in ["iss", "sub"] {
        let text = assertion(&own).claim(claim, json!("someone else")).sign(&own);
        assert_refused(&send(&authority, &text).await, 401, "invalid_client", 700021);
    }
}

#[tokio::test]
async fn an_expired_certificate() {
    let expired = CertificateRequest::new("old", NOW)
        .valid(NOW - 1000, NOW - 1)
        .key(KeyKind::EllipticCurve)
        .self_signed()
        .unwrap();
    let authority = with_certificate(&expired).await;
    assert_refused(
        &send(&authority, &assertion(&expired).sign(&expired)).await,
        401,
        "invalid_client",
        1000502,
    );
}

#[tokio::test]
async fn a_certificate_of_which_only_the_thumbprint_is_registered() {
    let own = certificate("own");
    for thumbprint in [x5t(&own), x5t_s256(&own), hex_sha1(&own)] {
        let app = Registration::new(CLIENT).certificate_thumbprint(&thumbprint).unwrap();
        let authority = authority().application(app).start().await.unwrap();
        let unknown = send(&authority, &assertion(&own).sign(&own)).await;
        assert_refused(&unknown, 401, "invalid_client", 700027);
        assert_eq!(send(&authority, &assertion(&own).x5c(&own).sign(&own)).await.status, 200);
    }
    assert!(Registration::new(CLIENT).certificate_thumbprint("tooshort").is_none());
}

#[tokio::test]
async fn a_certificate_by_subject_name_and_issuer() {
    let issuer = ClientCertificateIssuer::new("The issuer", NOW).unwrap();
    let impostor = ClientCertificateIssuer::new("The issuer", NOW).unwrap();
    let request = |name| CertificateRequest::new(name, NOW).key(KeyKind::EllipticCurve);
    let own = issuer.issue(&request("app.contoso.test")).unwrap();
    let renewed = issuer.issue(&request("app.contoso.test")).unwrap();
    let misnamed = issuer.issue(&request("other.contoso.test")).unwrap();
    let forged = impostor.issue(&request("app.contoso.test")).unwrap();
    let expired = issuer.issue(&request("app.contoso.test").valid(NOW - 1000, NOW - 1)).unwrap();
    let self_signed = request("app.contoso.test").self_signed().unwrap();

    let app = Registration::new(CLIENT).subject_name("app.contoso.test", "The issuer");
    let authority =
        authority().application(app).trusted_issuer(&issuer.pem()).unwrap().start().await.unwrap();
    let with_x5c =
        |certificate: &ClientCertificate| assertion(certificate).x5c(certificate).sign(certificate);
    for good in [&own, &renewed] {
        assert_eq!(send(&authority, &with_x5c(good)).await.status, 200);
    }
    assert_refused(&send(&authority, &assertion(&own).sign(&own)).await, 401, "invalid_client", 700027);
    for bad in [&misnamed, &forged, &self_signed] {
        assert_refused(&send(&authority, &with_x5c(bad)).await, 401, "invalid_client", 700030);
    }
    assert_refused(&send(&authority, &with_x5c(&expired)).await, 401, "invalid_client", 1000502);
}
