//! Metadata and instance discovery.

use serde_json::{Value, json};
use symbolon_authority::{CONTOSO, FABRIKAM};

use crate::support::*;

async fn get(host: &str, path: &str) -> (u16, Value) {
    let authority = authority().host("login.contoso.test").start().await.unwrap();
    let reply = Client::new(&authority).get(host, path).await;
    (reply.status.as_u16(), reply.json())
}

#[tokio::test]
async fn metadata_of_a_tenant() {
    let (_, document) = get("login.windows.net", "/contoso.com/v2.0/.well-known/openid-configuration").await;
    let url = |path: &str| json!(format!("https://{LOGIN}/{CONTOSO}/{path}"));
    assert_eq!(document["token_endpoint"], url("oauth2/v2.0/token"));
    assert_eq!(document["authorization_endpoint"], url("oauth2/v2.0/authorize"));
    assert_eq!(document["jwks_uri"], url("discovery/v2.0/keys"));
    assert_eq!(document["issuer"], url("v2.0"));
    let bound = format!("https://mtlsauth.microsoft.com/{CONTOSO}/oauth2/v2.0/token");
    assert_eq!(document["mtls_endpoint_aliases"]["token_endpoint"], bound);
}

#[tokio::test]
async fn metadata_of_a_region_and_of_version_1() {
    let host = "westus2.login.microsoft.com";
    let (_, document) = get(host, &format!("/{FABRIKAM}/v2.0/.well-known/openid-configuration?")).await;
    assert_eq!(document["token_endpoint"], format!("https://{host}/{FABRIKAM}/oauth2/v2.0/token"));
    let (_, document) = get(LOGIN, &format!("/{CONTOSO}/.well-known/openid-configuration")).await;
    assert_eq!(document["token_endpoint"], format!("https://{LOGIN}/{CONTOSO}/oauth2/token"));
    assert_eq!(document["issuer"], format!("https://sts.windows.net/{CONTOSO}/"));
}

#[tokio::test]
async fn metadata_of_all_tenants_and_of_none() {
    let (_, document) = get(LOGIN, "/common/v2.0/.well-known/openid-configuration").await;
    assert_eq!(document["issuer"], format!("https://{LOGIN}/{{tenantid}}/v2.0"));
    let (status, body) = get(LOGIN, "/nobody.com/v2.0/.well-known/openid-configuration").await;
    assert_eq!(
        (status, &body["error"], &body["error_codes"]),
        (400, &json!("invalid_tenant"), &json!([90002]))
    );
}

#[tokio::test]
async fn instance_discovery() {
    let query = "/common/discovery/instance?api-version=1.1&authorization_endpoint=";
    let endpoint = format!("https%3A%2F%2Flogin.windows.net%2F{CONTOSO}%2Foauth2%2Fv2.0%2Fauthorize");
    let (status, body) = get(LOGIN, &format!("{query}{endpoint}")).await;
    assert_eq!(status, 200);
    let document = format!("https://{LOGIN}/{CONTOSO}/v2.0/.well-known/openid-configuration");
    assert_eq!(body["tenant_discovery_endpoint"], document);
    let clouds = body["metadata"].as_array().unwrap();
    assert_eq!(
        clouds[0],
        json!({
            "preferred_network": "login.microsoftonline.com",
            "preferred_cache": "login.windows.net",
            "aliases":
                ["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"],
        })
    );
    assert_eq!(clouds.len(), 10, "nine clouds and the additional host");
    for (unknown, code) in
        [("https%3A%2F%2Flogin.evil.test%2Fcommon%2F", 50049), ("", 50049), ("nonsense", 50049)]
    {
        let (status, body) = get(LOGIN, &format!("{query}{unknown}")).await;
        assert_eq!(
            (status, &body["error"], &body["error_codes"]),
            (400, &json!("invalid_instance"), &json!([code]))
        );
    }
    let (status, body) = get(LOGIN, "/common/discovery/instance").await;
    assert_eq!((status, &body["error_codes"]), (400, &json!([900144])));
}
