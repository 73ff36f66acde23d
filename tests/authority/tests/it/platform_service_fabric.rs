//! Service Fabric's endpoint.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use symbolon_authority::{Platform, Source};
use tokio::net::TcpStream;

use crate::{platform_support::*, support::*};

fn ask(secret: &str) -> Ask<'_> {
    Ask::get(
        "/metadata/identity/oauth2/token",
        &[("api-version", "2020-05-01"), ("resource", MANAGEMENT)],
        &[("secret", secret)],
    )
}

async fn call(site: &Site, ask: &Ask<'_>) -> Reply {
    site.call(Source::ServiceFabric, ask).await
}

fn lower_hex(token: &str) -> String {
    digest(&SHA256, token.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn tokens() {
    let site = Site::new().await;
    let secret = site.variable(Source::ServiceFabric, "IDENTITY_HEADER");
    let reply = call(&site, &ask(&secret)).await;
    let answer = reply.json();
    assert_eq!(claims(&reply)["oid"], SYSTEM_OBJECT);
    assert_eq!((&answer["expires_on"], &answer["token_type"]), (&json!(NOW + 86400), &json!("Bearer")));
    let reply = call(&site, &ask(&secret).query("principalId", USER_OBJECT)).await;
    assert_eq!(claims(&reply)["oid"], USER_OBJECT);
    // Other ids mean nothing here.
    let reply = call(&site, &ask(&secret).query("client_id", USER)).await;
    assert_eq!(claims(&reply)["oid"], SYSTEM_OBJECT);
    site.assert_federates(&call(&site, &ask(&secret).query("resource", EXCHANGE_RESOURCE)).await).await;
}

#[tokio::test]
async fn the_certificate_is_known_by_its_thumbprint() {
    let site = Site::new().await;
    let endpoint = site.variable(Source::ServiceFabric, "IDENTITY_ENDPOINT");
    let address = site.platform.address(Source::ServiceFabric);
    assert_eq!(endpoint, format!("https://{address}/metadata/identity/oauth2/token"));
    let thumbprint = site.variable(Source::ServiceFabric, "IDENTITY_SERVER_THUMBPRINT");
    assert_eq!(thumbprint.len(), 40);
    let connect =
        |thumbprint: String| async { pinned(TcpStream::connect(address).await.unwrap(), thumbprint).await };
    assert!(connect(thumbprint.clone()).await.is_ok());
    assert!(connect("00".repeat(20)).await.is_err());
    let other = Platform::builder().start(&site.authority).await.unwrap();
    assert_ne!(other.service_fabric_certificate(), site.platform.service_fabric_certificate());
}

#[tokio::test]
async fn capabilities_and_tokens_that_were_refused() {
    let site = Site::new().await;
    let secret = site.variable(Source::ServiceFabric, "IDENTITY_HEADER");
    let first = member(&call(&site, &ask(&secret)).await, "access_token");
    assert_eq!(member(&call(&site, &ask(&secret)).await, "access_token"), first, "tokens are kept");
    let unrelated = call(&site, &ask(&secret).query("token_sha256_to_refresh", &lower_hex("another"))).await;
    assert_eq!(member(&unrelated, "access_token"), first);
    let upper = lower_hex(&first).to_uppercase();
    let wrong_case = call(&site, &ask(&secret).query("token_sha256_to_refresh", &upper)).await;
    assert_eq!(member(&wrong_case, "access_token"), first);
    let fresh = call(&site, &ask(&secret).query("token_sha256_to_refresh", &lower_hex(&first))).await;
    let fresh = member(&fresh, "access_token");
    assert_ne!(fresh, first);
    assert_eq!(member(&call(&site, &ask(&secret)).await, "access_token"), fresh);

    let capable = call(&site, &ask(&secret).query("xms_cc", "cp1,cp2")).await;
    assert_eq!(claims(&capable)["xms_cc"], json!(["cp1", "cp2"]));
    assert_eq!(decoded(&fresh).get("xms_cc"), None::<&Value>);
    site.authority.advance(std::time::Duration::from_secs(86400));
    assert_ne!(member(&call(&site, &ask(&secret)).await, "access_token"), fresh, "it is expired");
}

#[tokio::test]
async fn what_is_refused() {
    let site = Site::new().await;
    let secret = site.variable(Source::ServiceFabric, "IDENTITY_HEADER");
    let ask = || ask(&secret);
    let unknown = "Managed identity not found for the specified application host.";
    for (ask, status, code, message) in [
        (ask().path("/token"), 404, "NotFound", "The requested resource was not found."),
        (ask().method("POST"), 405, "MethodNotAllowed", "The method is not allowed."),
        (
            ask().header("secret", ""),
            400,
            "SecretHeaderNotFound",
            "Secret is not found in the request headers.",
        ),
        (ask().header("secret", "wrong"), 404, "ManagedIdentityNotFound", unknown),
        (ask().query("principalId", NOBODY), 404, "ManagedIdentityNotFound", unknown),
        (ask().query("principalId", USER), 404, "ManagedIdentityNotFound", unknown),
        (
            ask().query("api-version", "2019-07-01-preview"),
            400,
            "InvalidApiVersion",
            "The api-version '2019-07-01-preview' is not supported. Supported version is '2020-05-01'.",
        ),
        (
            ask().query("api-version", ""),
            400,
            "InvalidApiVersion",
            "The api-version '' is not supported. Supported version is '2020-05-01'.",
        ),
        (
            ask().query("resource", ""),
            400,
            "ArgumentNullOrEmpty",
            "The parameter 'resource' should not be null or empty string.",
        ),
        (ask().repeated("xms_cc"), 400, "InvalidArgument", "The parameter 'xms_cc' is repeated."),
        (ask().query("resource", "https://nothing.test"), 500, "InternalServerError", "An error occurred."),
    ] {
        let reply = call(&site, &ask).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.status.as_u16(), &error["code"]), (status, &json!(code)));
        assert_eq!(error["message"], message);
        assert_eq!(error["correlationId"].as_str().map(str::len), Some(36));
    }
}

#[tokio::test]
async fn plain_http_is_not_answered() {
    let site = Site::new().await;
    let mut stream = TcpStream::connect(site.platform.address(Source::ServiceFabric)).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert!(site.authority.log().is_empty());
}
