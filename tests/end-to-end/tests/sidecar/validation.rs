//! Which tokens callers may come with.

use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PrivateDecryptingKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{Request, StatusCode};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use symbolon::Clock as _;
use symbolon_authority::{CertificateRequest, UserToken, sample};
use symbolon_end_to_end::{World, claims, engine};
use symbolon_resources::credentials::certificate_thumbprints;
use symbolon_sidecar::{Caller, PeerCertificate};
use tower_service::Service as _;

use crate::server::{Server, settings};

#[tokio::test]
async fn only_tokens_for_the_application_are_taken() {
    let (world, symbolon) = (World::start().await, engine());
    let scopes = |settings: &mut Value| settings["AzureAd"]["Scopes"] = "other access_as_user".into();
    let server = Server::start(&symbolon, settings(&world, None, scopes)).await;
    let mint = |token: UserToken| world.authority.user_token(&token).expect("a user");
    let good = UserToken::new(sample::ALICE, sample::WEB_API);

    let token = mint(good.clone());
    let answer = server.get("/Validate", Some(&token)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.header("www-authenticate"));
    let answer = answer.json();
    assert_eq!((&answer["protocol"], &answer["token"]), (&json!("Bearer"), &json!(token)));
    assert_eq!(answer["claims"], claims(&token));
    let by_uri = mint(UserToken::new(sample::ALICE, &format!("api://{}", sample::WEB_API)));
    assert_eq!(server.get("/Validate", Some(&by_uri)).await.status, StatusCode::OK);

    let forged = {
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let (header, _) = signed.split_once('.').expect("three parts");
        let mut claims = claims(&token);
        claims["upn"] = sample::BOB.into();
        format!("{header}.{}.{signature}", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()))
    };
    let unsigned = {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(claims(&token).to_string());
        format!("{}.{claims}.", BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#))
    };
    let cases = [
        ("the signature is invalid", forged),
        ("the token is malformed", unsigned),
        ("the token is malformed", "opaque".to_owned()),
        ("the token is encrypted", "a.b.c.d.e".to_owned()),
        ("the audience is invalid", mint(UserToken::new(sample::ALICE, sample::AGENT_ONE))),
        ("the token is expired", mint(good.clone().claim("exp", json!(1_700_000_000)))),
        ("the token is not yet valid", mint(good.clone().claim("nbf", json!(4_000_000_000_u64)))),
        ("the issuer is invalid", mint(good.clone().claim("iss", json!("https://evil.test/")))),
        ("neither scope nor roles", mint(good.clone().claim("scp", Value::Null))),
    ];
    for (why, token) in cases {
        let answer = server.get("/Validate", Some(&token)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{why}");
        assert!(
            answer.header("www-authenticate").contains(why),
            "{why}: {:?}",
            answer.header("www-authenticate")
        );
        assert!(answer.body.is_empty());
        assert_eq!(
            server.get("/AuthorizationHeader/api", Some(&token)).await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    let answer = server.get("/Validate", None).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (StatusCode::UNAUTHORIZED, "Bearer"));
    let other = mint(good.scope("another"));
    assert_eq!(server.get("/Validate", Some(&other)).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_keys_are_asked_for_once() {
    let (world, symbolon) = (World::start().await, engine());
    let server = Server::start(&symbolon, settings(&world, None, |_| {})).await;
    let token = world.user_token(sample::ALICE, sample::WEB_API);
    let many = (0..20).map(|_| server.get("/Validate", Some(&token)));
    for answer in futures_util::future::join_all(many).await {
        assert_eq!(answer.status, StatusCode::OK);
    }
    let unknown = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"unknown"}"#), {
        let (_, rest) = token.split_once('.').expect("three parts");
        rest
    });
    for _ in 0..5 {
        assert_eq!(server.get("/Validate", Some(&unknown)).await.status, StatusCode::UNAUTHORIZED);
    }
    let asked = |end: &str| world.authority.log().iter().filter(|entry| entry.path.ends_with(end)).count();
    assert_eq!(
        (asked("/openid-configuration"), asked("/keys")),
        (1, 1),
        "an unknown key within a minute changes nothing"
    );
}

#[tokio::test]
async fn a_bound_token_is_good_with_its_certificate_only() {
    let (world, symbolon) = (World::start().await, engine());
    let server = Server::start(&symbolon, settings(&world, None, |_| {})).await;
    let certificates = ["its", "another"].map(|name| {
        let now = symbolon::SystemClock.now_unix();
        let certificate = CertificateRequest::new(name, now).self_signed().expect("a certificate");
        certificate.certificate().der().to_vec()
    });
    let thumbprint = certificate_thumbprints(&certificates[0]).0;
    let bound =
        UserToken::new(sample::ALICE, sample::WEB_API).claim("cnf", json!({ "x5t#S256": thumbprint }));
    let bound = world.authority.user_token(&bound).expect("a user");
    let unbound = world.user_token(sample::ALICE, sample::WEB_API);
    let ask = async |scheme: &str, token: &str, certificate: Option<&[u8]>| {
        let mut request = Request::get("/Validate").extension(Caller::Local);
        request = request.header("authorization", format!("{scheme} {token}"));
        if let Some(certificate) = certificate {
            request = request.extension(PeerCertificate(certificate.to_vec()));
        }
        let request = request.body(axum::body::Body::empty()).expect("a request");
        server.sidecar.router().call(request).await.expect("an answer").status()
    };
    let [its, another] = &certificates;
    assert_eq!(ask("mtls_pop", &bound, Some(its)).await, StatusCode::OK);
    assert_eq!(ask("Bearer", &bound, Some(its)).await, StatusCode::OK);
    assert_eq!(ask("mtls_pop", &bound, Some(another)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(ask("Bearer", &bound, Some(another)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(ask("Bearer", &bound, None).await, StatusCode::OK, "this listener asks for none");
    assert_eq!(ask("Bearer", &unbound, Some(another)).await, StatusCode::OK);
}

/// A token for whoever has the private key (RFC 7516).
fn encrypted(token: &str, key: &Path) -> String {
    let der = PrivatePkcs8KeyDer::from_pem_file(key).expect("a key");
    let key = PrivateDecryptingKey::from_pkcs8(der.secret_pkcs8_der()).expect("an RSA key");
    let public = OaepPublicEncryptingKey::new(key.public_key()).expect("its public half");
    let content_key = [42; 32];
    let mut wrapped = vec![0; public.ciphertext_size()];
    let wrapped = public.encrypt(&OAEP_SHA1_MGF1SHA1, &content_key, &mut wrapped, None).expect("wrapped");
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let header = encode(br#"{"alg":"RSA-OAEP","enc":"A256GCM","cty":"JWT"}"#);
    let sealing = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &content_key).expect("a key"));
    let mut sealed = token.as_bytes().to_vec();
    let nonce = Nonce::assume_unique_for_key([7; 12]);
    sealing.seal_in_place_append_tag(nonce, Aad::from(header.as_bytes()), &mut sealed).expect("sealed");
    let tag = sealed.split_off(sealed.len() - 16);
    [header, encode(wrapped), encode(&[7; 12]), encode(&sealed), encode(&tag)].join(".")
}

#[tokio::test]
async fn an_encrypted_token_is_opened_by_the_configured_certificates() {
    let (world, symbolon) = (World::start().await, engine());
    let (its, another) = (world.path("client.pem"), world.path("its.pem"));
    let now = symbolon::SystemClock.now_unix();
    let certificate = CertificateRequest::new("another", now).self_signed().expect("a certificate");
    std::fs::write(&another, certificate.pem()).expect("a file");
    let with = |files: Vec<PathBuf>| {
        move |settings: &mut Value| {
            let entry = |file: &PathBuf| json!({ "SourceType": "Path", "CertificateDiskPath": file });
            settings["AzureAd"]["TokenDecryptionCredentials"] = files.iter().map(entry).collect();
        }
    };
    let token = world.user_token(sample::ALICE, sample::WEB_API);
    let sealed = encrypted(&token, &its);
    let server = Server::start(&symbolon, settings(&world, None, with(vec![another.clone(), its]))).await;
    let answer = server.get("/Validate", Some(&sealed)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.header("www-authenticate"));
    assert_eq!(answer.json()["claims"], claims(&token));
    assert_eq!(server.get("/AuthorizationHeader/api", Some(&sealed)).await.claims()["upn"], sample::ALICE);
    let expired = UserToken::new(sample::ALICE, sample::WEB_API).claim("exp", json!(1_700_000_000));
    let expired =
        encrypted(&world.authority.user_token(&expired).expect("a user"), &world.path("client.pem"));
    assert_eq!(server.get("/Validate", Some(&expired)).await.status, StatusCode::UNAUTHORIZED);

    let server = Server::start(&symbolon, settings(&world, None, with(vec![another]))).await;
    let answer = server.get("/Validate", Some(&sealed)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.header("www-authenticate").contains("can't be decrypted"));
}
