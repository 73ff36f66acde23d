//! Tokens: what an answer and its token say.

use std::time::Duration;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use symbolon_authority::{CONTOSO, Registration, Resource};

use crate::support::*;

#[tokio::test]
async fn a_secret_buys_a_token() {
    let authority = authority().application(Registration::new(CLIENT).secret(SECRET)).start().await.unwrap();
    let reply = Client::new(&authority).token(LOGIN, &secret_form(CLIENT, SECRET)).await;
    let answer = reply.json();
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(3599)));
    assert!(answer.get("refresh_in").is_none() && answer.get("client_info").is_none());

    let claims = reply.claims();
    assert_eq!(claims["aud"], "https://graph.microsoft.com");
    assert_eq!(claims["iss"], format!("https://sts.windows.net/{CONTOSO}/"));
    assert_eq!(
        (&claims["iat"], &claims["nbf"], &claims["exp"]),
        (&json!(NOW), &json!(NOW), &json!(NOW + 3599))
    );
    assert_eq!(
        (&claims["appid"], &claims["azp"], &claims["azpacr"]),
        (&json!(CLIENT), &json!(CLIENT), &json!("1"))
    );
    assert_eq!((&claims["tid"], &claims["ver"]), (&json!(CONTOSO), &json!("1.0")));
    assert_eq!((&claims["sub"], &claims["roles"]), (&claims["oid"], &json!(["User.Read.All"])));
    assert_eq!(claims["uti"].as_str().unwrap().len(), 22);
    assert!(claims.get("cnf").is_none());
}

#[tokio::test]
async fn a_token_is_signed_with_a_published_key() {
    let authority = authority().application(Registration::new(CLIENT).secret(SECRET)).start().await.unwrap();
    let client = Client::new(&authority);
    let answer = client.token(LOGIN, &secret_form(CLIENT, SECRET)).await.json();
    let token = answer["access_token"].as_str().unwrap();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let header: serde_json::Value =
        serde_json::from_slice(&decode(token.split('.').next().unwrap())).unwrap();

    let keys = client.get(LOGIN, &format!("/{CONTOSO}/discovery/v2.0/keys")).await.json();
    assert_eq!(keys, authority.keys());
    let key = &keys["keys"][0];
    assert_eq!((&header["kid"], &header["alg"]), (&key["kid"], &json!("RS256")));
    let public = RsaPublicKeyComponents {
        n: decode(key["n"].as_str().unwrap()),
        e: decode(key["e"].as_str().unwrap()),
    };
    public.verify(&RSA_PKCS1_2048_8192_SHA256, input.as_bytes(), &decode(signature)).unwrap();
    assert!(public.verify(&RSA_PKCS1_2048_8192_SHA256, b"another", &decode(signature)).is_err());
}

#[tokio::test]
async fn a_version_2_resource_gets_version_2_tokens_of_the_called_cloud() {
    let resource =
        Resource::new("api://orders", "22222222-0000-4000-8000-000000000001").role("Read").role("Write");
    let app = Registration::new(CLIENT).secret(SECRET).resource("api://orders", ["Read"]);
    let authority = authority().resource(resource).application(app).start().await.unwrap();
    let mut form = secret_form(CLIENT, SECRET);
    form[2].1 = "api://orders/.default";
    let claims = Client::new(&authority).token("login.chinacloudapi.cn", &form).await.claims();
    assert_eq!(claims["aud"], "22222222-0000-4000-8000-000000000001");
    assert_eq!(claims["iss"], format!("https://login.partner.microsoftonline.cn/{CONTOSO}/v2.0"));
    assert_eq!((&claims["ver"], &claims["roles"]), (&json!("2.0"), &json!(["Read"])));
}

#[tokio::test]
async fn an_application_is_a_resource_too() {
    let authority = authority().application(Registration::new(CLIENT).secret(SECRET)).start().await.unwrap();
    for scope in [format!("api://{CLIENT}/.default"), format!("{CLIENT}/.default")] {
        let mut form = secret_form(CLIENT, SECRET);
        form[2].1 = &scope;
        assert_eq!(Client::new(&authority).token(LOGIN, &form).await.claims()["aud"], CLIENT);
    }
}

#[tokio::test]
async fn lifetime_and_refresh_in_are_the_registrations() {
    let app = Registration::new(CLIENT)
        .secret(SECRET)
        .token_lifetime(Duration::from_secs(86_400))
        .refresh_in(Duration::from_secs(43_200));
    let authority = authority().application(app).start().await.unwrap();
    let reply = Client::new(&authority).token(LOGIN, &secret_form(CLIENT, SECRET)).await;
    assert_eq!((&reply.json()["expires_in"], &reply.json()["refresh_in"]), (&json!(86_400), &json!(43_200)));
    assert_eq!(reply.claims()["exp"], NOW + 86_400);
}

#[tokio::test]
async fn the_tenant_goes_by_id_and_by_domain() {
    let authority = authority().application(Registration::new(CLIENT).secret(SECRET)).start().await.unwrap();
    let client = Client::new(&authority);
    for tenant in [CONTOSO, "contoso.onmicrosoft.com", "CONTOSO.COM"] {
        let path = format!("/{tenant}/oauth2/v2.0/token");
        let reply = client.post(LOGIN, &path, &secret_form(CLIENT, SECRET)).await.unwrap();
        assert_eq!(reply.claims()["tid"], CONTOSO);
    }
}

#[tokio::test]
async fn openid_scopes_beside_the_resource_are_ignored() {
    let authority = authority().application(Registration::new(CLIENT).secret(SECRET)).start().await.unwrap();
    let mut form = secret_form(CLIENT, SECRET);
    form[2].1 = "https://graph.microsoft.com/.default openid offline_access profile";
    assert_eq!(Client::new(&authority).token(LOGIN, &form).await.status, 200);
}

#[tokio::test]
async fn a_secret_in_the_authorization_header() {
    let authority = authority().application(Registration::new(CLIENT).secret(SECRET)).start().await.unwrap();
    let encoded: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{CLIENT}:{encoded}"));
    let form = encode(&[("scope", GRAPH), ("grant_type", "client_credentials")]);
    let headers = [("authorization", format!("Basic {basic}"))];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let reply =
        Client::new(&authority).send(LOGIN, request("POST", LOGIN, &token_path(), &headers, form)).await;
    assert_eq!(reply.unwrap().claims()["azpacr"], "1");
}

#[tokio::test]
async fn fmi_path_and_attributes_are_in_the_token() {
    let authority = authority().application(Registration::new(CLIENT).secret(SECRET)).start().await.unwrap();
    let mut form = secret_form(CLIENT, SECRET);
    form[2].1 = "api://AzureFMITokenExchange/.default";
    form.extend([
        ("fmi_path", "SomeFmiPath/FmiCredentialPath"),
        ("attributes", r#"{"env":"test"}"#),
        ("attribute_tokens", "t1 t2"),
    ]);
    let claims = Client::new(&authority).token(LOGIN, &form).await.claims();
    assert_eq!(claims["aud"], "a9dd8a2a-df54-4ae0-84f9-38c8d57e5265");
    let subject = claims["sub"].as_str().unwrap();
    assert!(
        subject.starts_with("/eid1/c/pub/t/") && subject.ends_with("/SomeFmiPath/FmiCredentialPath"),
        "{subject}"
    );
    assert_eq!(
        (&claims["attributes"], &claims["attribute_tokens"]),
        (&json!({ "env": "test" }), &json!("t1 t2"))
    );
}

#[tokio::test]
async fn an_answer_names_its_request() {
    let authority = authority().application(Registration::new(CLIENT).secret(SECRET)).start().await.unwrap();
    let client = Client::new(&authority);
    let send = async |secret: &str, headers: &[(&str, &str)]| {
        let form = encode(&secret_form(CLIENT, secret));
        client.send(LOGIN, request("POST", LOGIN, &token_path(), headers, form)).await.unwrap()
    };
    let id = "0f0f0f0f-1111-4222-8333-444444444444";
    let reply = send(SECRET, &[("client-request-id", id)]).await;
    assert_eq!(reply.header("client-request-id"), Some(id));
    assert!(reply.header("x-ms-request-id").is_some());
    let quiet = send(SECRET, &[("client-request-id", id), ("return-client-request-id", "false")]).await;
    assert_eq!(quiet.header("client-request-id"), None);
    let refused = send("wrong", &[("client-request-id", id)]).await;
    assert_eq!(refused.json()["correlation_id"], id);
    assert_eq!(refused.header("x-ms-request-id"), refused.json()["trace_id"].as_str());
}
