//! Which tokens callers may come with.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};
use symbolon_authority::{UserToken, sample};
use symbolon_end_to_end::{World, claims, engine};

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
