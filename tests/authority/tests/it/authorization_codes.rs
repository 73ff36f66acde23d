//! Authorization codes: from the authorization endpoint, for one redemption with everything that was agreed.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use symbolon_authority::{
    Authority, AuthorizationCode, Endpoint, Fault, FaultRule, REDIRECT_URI, Registration, sample,
};

use crate::support::*;

const OTHER: &str = "99999999-0000-4000-8000-000000000002";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// The challenge of [`VERIFIER`] (RFC 7636 appendix B).
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

async fn start() -> Authority {
    let app = Registration::new(CLIENT).secret(SECRET).redirect_uri(REDIRECT_URI);
    let other = Registration::new(OTHER).secret(SECRET);
    authority().application(app).application(other).start().await.unwrap()
}

fn code() -> AuthorizationCode {
    AuthorizationCode::new(CLIENT, sample::ALICE, REDIRECT_URI)
}

fn redeem<'a>(code: &'a str, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT_URI)];
    all.extend(fields);
    user_form(&all)
}

async fn authorize(client: &Client, change: (&str, &str)) -> Reply {
    let mut query = vec![
        ("client_id", CLIENT),
        ("response_type", "code"),
        ("redirect_uri", REDIRECT_URI),
        ("scope", "openid offline_access User.Read"),
        ("state", "the state&"),
        ("nonce", "n-1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("login_hint", sample::ALICE),
    ];
    query.retain(|(name, _)| *name != change.0);
    if !change.1.is_empty() {
        query.push(change);
    }
    client.get(LOGIN, &format!("/contoso.com/oauth2/v2.0/authorize?{}", encode(&query))).await
}

#[tokio::test]
async fn from_the_browser_to_the_token() {
    let authority = start().await;
    let client = Client::new(&authority);
    let reply = authorize(&client, ("", "")).await;
    assert_eq!(reply.status, 302);
    let location = url::Url::parse(reply.header("location").unwrap()).unwrap();
    assert!(location.as_str().starts_with(REDIRECT_URI));
    let parameters: Vec<_> = location.query_pairs().into_owned().collect();
    let [(code_name, code), (state_name, state)] = parameters.as_slice() else { panic!("{parameters:?}") };
    assert_eq!((&**code_name, &**state_name, &**state), ("code", "state", "the state&"));

    let reply = client.token(LOGIN, &redeem(code, &[("code_verifier", VERIFIER), ("scope", "")])).await;
    assert_eq!(
        (&reply.claims()["scp"], &reply.claims()["upn"]),
        (&json!("openid User.Read"), &json!(sample::ALICE))
    );
    assert_eq!(member(&reply, "scope"), "openid User.Read");
    assert_eq!(decoded(&member(&reply, "id_token"))["nonce"], "n-1");
    assert!(reply.json().get("refresh_token").is_some() && reply.json().get("client_info").is_some());

    let shown = serde_json::to_string(&authority.log()).unwrap();
    for secret in [&**code, VERIFIER, CHALLENGE, "n-1", "the state"] {
        assert!(!shown.contains(secret), "{secret} is in {shown}");
    }
    let entry = &authority.log()[0];
    assert_eq!((entry.status, entry.tenant.as_deref()), (Some(302), Some("contoso.com")));
    assert_eq!(authority.log()[1].form_text("grant_type"), Some("authorization_code"));
}

#[tokio::test]
async fn into_the_fragment() {
    let authority = start().await;
    let reply = authorize(&Client::new(&authority), ("response_mode", "fragment")).await;
    let location = url::Url::parse(reply.header("location").unwrap()).unwrap();
    assert!(location.query().is_none() && location.fragment().unwrap().starts_with("code="));
}

#[tokio::test]
async fn authorization_requests_that_are_refused() {
    let authority = start().await;
    let client = Client::new(&authority);
    for (change, code) in [
        (("client_id", ""), 900144),
        (("client_id", "99999999-0000-4000-8000-00000000ffff"), 700016),
        (("redirect_uri", ""), 900144),
        (("redirect_uri", "https://evil.test/"), 50011),
        (("response_type", "token"), 700054),
        (("response_mode", "smoke"), 90023),
        (("scope", ""), 900144),
        (("scope", "openid Nothing.Read"), 650053),
        (("code_challenge", "short"), 501491),
        (("code_challenge_method", "S512"), 90023),
        (("login_hint", ""), 900144),
        (("login_hint", "nobody@contoso.com"), 50034),
    ] {
        let reply = authorize(&client, change).await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (400, None), "{change:?}");
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
        let page = String::from_utf8(reply.body.to_vec()).unwrap();
        assert!(page.contains(&format!("AADSTS{code}: ")), "{change:?} {page}");
        assert_eq!(authority.log().pop().unwrap().aadsts, Some(code));
    }
    let reply = client.post(LOGIN, "/contoso.com/oauth2/v2.0/authorize", &[]).await.unwrap();
    assert_eq!(reply.status, 400);
}

#[tokio::test]
async fn a_code_is_redeemed_once() {
    let authority = start().await;
    let client = Client::new(&authority);
    let text = authority.authorization_code(&code()).unwrap();
    // A refused redemption uses nothing up.
    let wrong = redeem(&text, &[("redirect_uri", "https://localhost:5001/")]);
    assert_refused(&client.token(LOGIN, &wrong).await, 400, "invalid_grant", 500112);
    assert_eq!(client.token(LOGIN, &redeem(&text, &[])).await.status, 200);
    assert_refused(&client.token(LOGIN, &redeem(&text, &[])).await, 400, "invalid_grant", 54005);
}

#[tokio::test]
async fn a_code_lives_for_ten_minutes() {
    let authority = start().await;
    let client = Client::new(&authority);
    let (early, late) =
        (authority.authorization_code(&code()).unwrap(), authority.authorization_code(&code()).unwrap());
    authority.advance(Duration::from_secs(599));
    assert_eq!(client.token(LOGIN, &redeem(&early, &[])).await.status, 200);
    authority.advance(Duration::from_secs(1));
    assert_refused(&client.token(LOGIN, &redeem(&late, &[])).await, 400, "invalid_grant", 70008);
}

#[tokio::test]
async fn the_verifier_must_meet_the_challenge() {
    let authority = start().await;
    let client = Client::new(&authority);
    for (challenged, good) in
        [(code().code_challenge(CHALLENGE), VERIFIER), (code().plain_code_challenge(CHALLENGE), CHALLENGE)]
    {
        let text = authority.authorization_code(&challenged).unwrap();
        for wrong in ["", "wrong"] {
            let form = redeem(&text, &[("code_verifier", wrong)]);
            assert_refused(&client.token(LOGIN, &form).await, 400, "invalid_grant", 501481);
        }
        assert_eq!(client.token(LOGIN, &redeem(&text, &[("code_verifier", good)])).await.status, 200);
    }
}

#[tokio::test]
async fn what_is_no_code_of_this_client() {
    let authority = start().await;
    let client = Client::new(&authority);
    let text = authority.authorization_code(&code()).unwrap();
    let form = redeem(&text, &[("client_id", OTHER)]);
    assert_refused(&client.token(LOGIN, &form).await, 400, "invalid_grant", 70000);
    assert_refused(&client.token(LOGIN, &redeem("garbage", &[])).await, 400, "invalid_grant", 9002313);
    for field in ["code", "redirect_uri"] {
        let mut form = redeem(&text, &[]);
        form.retain(|(name, _)| *name != field);
        assert_refused(&client.token(LOGIN, &form).await, 400, "invalid_request", 900144);
    }
    authority.reset();
    assert_refused(&client.token(LOGIN, &redeem(&text, &[])).await, 400, "invalid_grant", 9002313);
    assert!(authority.authorization_code(&AuthorizationCode::new(CLIENT, "nobody", REDIRECT_URI)).is_err());
}

#[tokio::test]
async fn a_code_for_the_page_in_the_browser() {
    let authority = start().await;
    let client = Client::new(&authority);
    let text = authority.authorization_code(&code().code_challenge(CHALLENGE)).unwrap();
    let form = redeem(&text, &[("code_verifier", VERIFIER), ("return_spa_code", "1")]);
    let spa_code = member(&client.token(LOGIN, &form).await, "spa_code");

    assert_refused(&client.token(LOGIN, &redeem(&spa_code, &[])).await, 400, "invalid_request", 9002327);
    let page = async |form: Vec<(&str, &str)>| {
        let headers = [("origin", "https://localhost:5001")];
        let request = request("POST", LOGIN, &token_path(), &headers, encode(&form));
        client.send(LOGIN, request).await.unwrap()
    };
    let public = redeem(&spa_code, &[("client_secret", "")]);
    let reply = page(public.clone()).await;
    assert_eq!(
        (&reply.claims()["azpacr"], reply.header("access-control-allow-origin")),
        (&json!("0"), Some("*"))
    );
    assert_refused(&page(public).await, 400, "invalid_grant", 54005);
    let refresh_token = member(&reply, "refresh_token");
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", &*refresh_token)];
    assert_refused(&client.token(LOGIN, &user_form(&refresh)).await, 400, "invalid_grant", 70000);
    let mut form = user_form(&refresh);
    form.retain(|(name, _)| *name != "client_secret");
    assert_eq!(page(form).await.status, 200);

    let ordinary = authority.authorization_code(&code()).unwrap();
    let reply = page(redeem(&ordinary, &[("client_secret", "")])).await;
    assert_refused(&reply, 400, "invalid_request", 9002326);
    let reply = client.token(LOGIN, &redeem(&ordinary, &[("client_secret", "")])).await;
    assert_refused(&reply, 401, "invalid_client", 7000218);
}

#[tokio::test]
async fn faults_at_the_authorization_endpoint() {
    let authority = start().await;
    let rule = FaultRule::once(Fault::Status { status: 503, retry_after: None, body: None });
    authority.faults().add(rule.endpoint(Endpoint::Authorize).client(CLIENT));
    let client = Client::new(&authority);
    assert_eq!(authorize(&client, ("", "")).await.status, 503);
    assert_eq!(authorize(&client, ("", "")).await.status, 302);
}

#[tokio::test]
async fn a_member_of_the_answer_goes_wrong() {
    let authority = start().await;
    let client = Client::new(&authority);
    let stranger = URL_SAFE_NO_PAD.encode(json!({ "uid": "u", "utid": "t" }).to_string());
    let wrong = Fault::Member { name: "client_info".into(), value: Some(json!(stranger)) };
    authority.faults().add(FaultRule::once(wrong));
    authority.faults().add(FaultRule::once(Fault::Member { name: "refresh_token".into(), value: None }));
    let mut answers: Vec<Value> = Vec::new();
    for _ in 0..2 {
        let text = authority.authorization_code(&code()).unwrap();
        answers.push(client.token(LOGIN, &redeem(&text, &[])).await.json());
    }
    assert_eq!(answers[0]["client_info"], stranger);
    assert!(answers[0].get("refresh_token").is_some() && answers[1].get("refresh_token").is_none());
}
