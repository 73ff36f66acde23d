//! Cloud Shell's endpoint.

use serde_json::json;
use symbolon_authority::{Platform, Source};

use crate::{platform_support::*, support::*};

const FORM: &str = "application/x-www-form-urlencoded";

fn ask<'a>() -> Ask<'a> {
    Ask::get("/oauth2/token", &[], &[("metadata", "true"), ("contenttype", FORM)])
        .method("POST")
        .body(&encode(&[("resource", MANAGEMENT)]))
}

async fn call(site: &Site, ask: &Ask<'_>) -> Reply {
    site.call(Source::CloudShell, ask).await
}

#[tokio::test]
async fn tokens() {
    let site = Site::new().await;
    let endpoint = site.variable(Source::CloudShell, "MSI_ENDPOINT");
    assert_eq!(endpoint, format!("http://{}/oauth2/token", site.platform.address(Source::CloudShell)));
    let reply = call(&site, &ask()).await;
    let answer = reply.json();
    assert_eq!(claims(&reply)["oid"], SYSTEM_OBJECT);
    assert_eq!((&answer["refresh_token"], &answer["expires_in"]), (&json!(""), &json!("86400")));
    assert_eq!(answer.get("client_id"), None);
    let real = ask()
        .header("contenttype", "")
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    assert_eq!(claims(&call(&site, &real).await)["oid"], SYSTEM_OBJECT);
    let exchange = ask().body(&encode(&[("resource", EXCHANGE_RESOURCE)]));
    site.assert_federates(&call(&site, &exchange).await).await;
    assert_eq!(site.authority.log()[0].form_text("resource"), Some(MANAGEMENT));
    assert_eq!(site.authority.log()[0].header("contenttype"), Some(FORM));
}

#[tokio::test]
async fn what_is_refused() {
    let site = Site::new().await;
    let form = |fields: &[(&str, &str)]| ask().body(&encode(fields));
    for (ask, status, code, message) in [
        (ask().path("/token"), 404, "NotFound", "The requested resource was not found."),
        (ask().method("GET"), 405, "MethodNotAllowed", "The method is not allowed."),
        (ask().header("metadata", ""), 400, "BadRequest", "The header Metadata is missing."),
        (ask().header("contenttype", ""), 400, "BadRequest", "The body is not a form."),
        (ask().header("content-type", "application/json"), 400, "BadRequest", "The body is not a form."),
        (ask().body(""), 400, "BadRequest", "The parameter resource is missing."),
        (
            ask().body("").query("resource", MANAGEMENT),
            400,
            "BadRequest",
            "The parameter resource is missing.",
        ),
        (
            form(&[("resource", MANAGEMENT), ("resource", MANAGEMENT)]),
            400,
            "BadRequest",
            "A parameter is repeated.",
        ),
        (
            form(&[("resource", MANAGEMENT), ("client_id", USER)]),
            400,
            "BadRequest",
            "User-assigned managed identities are not supported.",
        ),
        (
            form(&[("resource", "https://nothing.test")]),
            400,
            "AudienceNotSupported",
            "Audience https://nothing.test is not a supported MSI token audience.",
        ),
    ] {
        let body = json!({ "error": { "code": code, "message": message } });
        assert_body(&call(&site, &ask).await, status, &body);
    }
    let without = Site::of(Platform::builder().user_assigned(user())).await;
    let body = json!({ "error": { "code": "BadRequest", "message": "No managed identity." } });
    assert_body(&call(&without, &ask()).await, 400, &body);
}
