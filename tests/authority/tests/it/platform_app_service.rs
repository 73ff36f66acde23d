//! App Service's endpoint.

use serde_json::json;
use symbolon_authority::{Platform, Source};

use crate::{platform_support::*, support::*};

fn ask(secret: &str) -> Ask<'_> {
    Ask::get(
        "/msi/token",
        &[("api-version", "2019-08-01"), ("resource", MANAGEMENT)],
        &[("x-identity-header", secret)],
    )
}

async fn call(site: &Site, ask: &Ask<'_>) -> Reply {
    site.call(Source::AppService, ask).await
}

#[track_caller]
fn assert_refusal(reply: &Reply, status: u16, message: &str) {
    let body = reply.json();
    assert_eq!((reply.status.as_u16(), &body["message"]), (status, &json!(message)));
    assert_eq!(body["statusCode"], status);
    assert_eq!(body["correlationId"].as_str().map(str::len), Some(36));
}

#[tokio::test]
async fn tokens() {
    let site = Site::new().await;
    let secret = site.variable(Source::AppService, "IDENTITY_HEADER");
    let endpoint = site.variable(Source::AppService, "IDENTITY_ENDPOINT");
    assert_eq!(endpoint, format!("http://{}/msi/token", site.platform.address(Source::AppService)));
    let reply = call(&site, &ask(&secret)).await;
    let answer = reply.json();
    assert_eq!(claims(&reply)["oid"], SYSTEM_OBJECT);
    assert_eq!(answer["expires_on"], (NOW + 86400).to_string());
    assert_eq!(answer.as_object().unwrap().len(), 5, "{answer}");
    for (name, value) in [
        ("client_id", USER),
        ("mi_res_id", USER_RESOURCE),
        ("object_id", USER_OBJECT),
        ("principal_id", USER_OBJECT),
    ] {
        assert_eq!(claims(&call(&site, &ask(&secret).query(name, value)).await)["oid"], USER_OBJECT);
    }
    site.assert_federates(&call(&site, &ask(&secret).query("resource", EXCHANGE_RESOURCE)).await).await;
}

#[tokio::test]
async fn what_is_refused() {
    let site = Site::new().await;
    let secret = site.variable(Source::AppService, "IDENTITY_HEADER");
    let ask = || ask(&secret);
    let not_found =
        "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.";
    for (ask, status, message) in [
        (ask().path("/msi/token/x"), 404, "Not found."),
        (ask().method("POST"), 405, "Method not allowed."),
        (ask().header("x-identity-header", ""), 401, "The header X-IDENTITY-HEADER is missing or wrong."),
        (ask().header("x-identity-header", "x"), 401, "The header X-IDENTITY-HEADER is missing or wrong."),
        (ask().query("api-version", ""), 400, "The api-version is missing or not supported."),
        (ask().query("api-version", "2017-09-01"), 400, "The api-version is missing or not supported."),
        (ask().query("resource", ""), 400, "The parameter resource is missing."),
        (ask().repeated("client_id"), 400, "The parameter client_id is repeated."),
        (ask().query("client_id", NOBODY), 400, not_found),
        (ask().query("mi_res_id", "/x"), 400, not_found),
        (ask().query("object_id", USER), 400, not_found),
        (
            ask().query("client_id", USER).query("mi_res_id", USER_RESOURCE),
            400,
            "Only one of ClientId, ResourceId and PrincipalId can be specified.",
        ),
        (
            ask().query("resource", "https://nothing.test"),
            500,
            "An unexpected error occured while fetching the AAD Token.",
        ),
    ] {
        assert_refusal(&call(&site, &ask).await, status, message);
    }
    // The instance metadata service's name for it means nothing here.
    assert_eq!(claims(&call(&site, &ask().query("msi_res_id", USER_RESOURCE)).await)["oid"], SYSTEM_OBJECT);
}

#[tokio::test]
async fn a_user_assigned_identity_must_be_named() {
    let site = Site::of(Platform::builder().user_assigned(user())).await;
    let secret = site.variable(Source::AppService, "IDENTITY_HEADER");
    let message = "No Managed Identity found for specified ClientId/ResourceId/PrincipalId.";
    assert_refusal(&call(&site, &ask(&secret)).await, 400, message);
    assert_eq!(claims(&call(&site, &ask(&secret).query("client_id", USER)).await)["oid"], USER_OBJECT);
}

#[tokio::test]
async fn the_secret_is_nowhere() {
    let site = Site::new().await;
    let secret = site.variable(Source::AppService, "IDENTITY_HEADER");
    call(&site, &ask(&secret)).await;
    let log = serde_json::to_string(&site.authority.log()).unwrap();
    assert!(log.contains("x-identity-header") && !log.contains(&secret), "{log}");
    assert!(!format!("{:?}", site.platform).contains(&secret));
}
