//! The endpoint of Machine Learning.

use serde_json::json;
use symbolon_authority::{Platform, Source};

use crate::{platform_support::*, support::*};

fn ask(secret: &str) -> Ask<'_> {
    Ask::get(
        "/msi/token",
        &[("api-version", "2017-09-01"), ("resource", MANAGEMENT)],
        &[("metadata", "true"), ("secret", secret)],
    )
}

async fn call(site: &Site, ask: &Ask<'_>) -> Reply {
    site.call(Source::MachineLearning, ask).await
}

#[tokio::test]
async fn tokens() {
    let site = Site::new().await;
    let secret = site.variable(Source::MachineLearning, "MSI_SECRET");
    let default = site.variable(Source::MachineLearning, "DEFAULT_IDENTITY_CLIENT_ID");
    assert_eq!(default, SYSTEM);
    for (client_id, object_id) in [("", SYSTEM_OBJECT), (&default, SYSTEM_OBJECT), (USER, USER_OBJECT)] {
        let reply = call(&site, &ask(&secret).query("clientid", client_id)).await;
        assert_eq!(claims(&reply)["oid"], object_id);
        assert_eq!(reply.json()["expires_on"], (NOW + 86400).to_string());
    }
    site.assert_federates(&call(&site, &ask(&secret).query("resource", EXCHANGE_RESOURCE)).await).await;
    let log = serde_json::to_string(&site.authority.log()).unwrap();
    assert!(!log.contains(&secret), "{log}");
}

#[tokio::test]
async fn what_is_refused() {
    let site = Site::new().await;
    let secret = site.variable(Source::MachineLearning, "MSI_SECRET");
    let ask = || ask(&secret);
    let unknown = "No MSI found for specified ClientId/ResourceId.";
    for (ask, status, message) in [
        (ask().path("/msi"), 404, "Not found."),
        (ask().method("POST"), 405, "Method not allowed."),
        (ask().query("api-version", ""), 400, "The api-version is missing or not supported."),
        (ask().query("api-version", "2019-08-01"), 400, "The api-version is missing or not supported."),
        (ask().query("resource", ""), 400, "The parameter resource is missing."),
        (ask().repeated("clientid"), 400, "The parameter clientid is repeated."),
        (ask().query("clientid", NOBODY), 400, unknown),
        (ask().query("clientid", USER_OBJECT), 400, unknown),
        (
            ask().query("resource", "https://nothing.test"),
            500,
            "An unexpected error occured while fetching the AAD Token.",
        ),
    ] {
        let reply = call(&site, &ask).await;
        let body = reply.json();
        assert_eq!((reply.status.as_u16(), &body["Message"]), (status, &json!(message)));
        assert_eq!(body["StatusCode"], status);
    }
    for wrong in ["", "wrong"] {
        let reply = call(&site, &ask().header("secret", wrong)).await;
        assert_eq!((reply.status.as_u16(), &*reply.body), (401, &b"Invalid secret token header."[..]));
        assert_eq!(reply.header("content-type"), Some("text/plain"));
    }
    // Another spelling of the parameter means nothing here.
    assert_eq!(claims(&call(&site, &ask().query("client_id", USER)).await)["oid"], SYSTEM_OBJECT);
}

#[tokio::test]
async fn without_a_system_assigned_identity() {
    let site = Site::of(Platform::builder().user_assigned(user())).await;
    let secret = site.variable(Source::MachineLearning, "MSI_SECRET");
    assert_eq!(site.variable(Source::MachineLearning, "DEFAULT_IDENTITY_CLIENT_ID"), "");
    assert_eq!(claims(&call(&site, &ask(&secret)).await)["oid"], USER_OBJECT);
    let none = Site::of(Platform::builder()).await;
    let secret = none.variable(Source::MachineLearning, "MSI_SECRET");
    assert_eq!(call(&none, &ask(&secret)).await.status, 400);
}
