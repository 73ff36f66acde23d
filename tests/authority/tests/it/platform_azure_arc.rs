//! Azure Arc's endpoint, with its challenge.

use std::{fs, path::PathBuf};

use serde_json::json;
use symbolon_authority::{ArcChallenge, Platform, Source};

use crate::{platform_support::*, support::*};

fn ask<'a>() -> Ask<'a> {
    Ask::get(
        "/metadata/identity/oauth2/token",
        &[("api-version", "2020-06-01"), ("resource", MANAGEMENT)],
        &[("metadata", "true")],
    )
}

async fn call(site: &Site, ask: &Ask<'_>) -> Reply {
    site.call(Source::AzureArc, ask).await
}

/// The key file that a challenge names.
async fn challenge(site: &Site) -> PathBuf {
    let reply = call(site, &ask()).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (401, &json!("unauthorized_client")));
    let header = reply.header("www-authenticate").unwrap();
    PathBuf::from(header.strip_prefix("Basic realm=").unwrap())
}

async fn redeem(site: &Site, key: &str) -> Reply {
    call(site, &ask().header("authorization", &format!("Basic {key}"))).await
}

#[tokio::test]
async fn tokens() {
    let site = Site::new().await;
    let path = challenge(&site).await;
    assert_eq!(path.parent(), Some(site.platform.arc_key_directory()));
    assert_eq!(path.extension().and_then(|extension| extension.to_str()), Some("key"));
    let key = fs::read_to_string(&path).unwrap();
    assert!(key.len() <= 4096);
    let reply = redeem(&site, &key).await;
    assert_eq!(
        (&claims(&reply)["oid"], &reply.json()["token_type"]),
        (&json!(SYSTEM_OBJECT), &json!("Bearer"))
    );
    assert!(!path.exists(), "the file is gone with its use");
    assert_eq!(redeem(&site, &key).await.status, 401, "the key is good for one use");
    let log = serde_json::to_string(&site.authority.log()).unwrap();
    assert!(!log.contains(&key), "{log}");
}

#[tokio::test]
async fn a_token_is_a_federated_assertion() {
    let site = Site::new().await;
    let key = fs::read_to_string(challenge(&site).await).unwrap();
    let header = format!("Basic {key}");
    let exchange = ask().query("resource", EXCHANGE_RESOURCE).header("authorization", &header);
    site.assert_federates(&call(&site, &exchange).await).await;
}

#[tokio::test]
async fn the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let own = directory.path().join("tokens");
    let site = Site::of(Platform::builder().system_assigned(system()).arc_key_directory(&own)).await;
    let path = challenge(&site).await;
    assert!(path.starts_with(fs::canonicalize(&own).unwrap()) && path.exists());
    drop(site);
    assert!(own.exists(), "a directory of the caller stays");

    let site = Site::new().await;
    let temporary = site.platform.arc_key_directory().to_owned();
    assert!(temporary.exists());
    let environment = site.platform.environment(Source::AzureArc);
    let names: Vec<_> = environment.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["IDENTITY_ENDPOINT", "IMDS_ENDPOINT"]);
}

#[tokio::test]
async fn challenges_that_a_client_must_refuse() {
    let site = Site::new().await;
    let directory = site.platform.arc_key_directory().to_owned();
    let header = async |challenge| {
        site.platform.set_arc_challenge(challenge);
        let reply = call(&site, &ask()).await;
        assert_eq!(reply.status, 401, "{challenge:?}");
        reply.header("www-authenticate").map(str::to_owned)
    };
    let path = |header: Option<String>, scheme: &str| {
        PathBuf::from(header.unwrap().strip_prefix(&format!("{scheme} realm=")).unwrap())
    };
    let outside = path(header(ArcChallenge::OutsideDirectory).await, "Basic");
    assert!(outside.exists() && outside.parent() != Some(&*directory));
    let extension = path(header(ArcChallenge::WrongExtension).await, "Basic");
    assert!(extension.exists() && extension.extension().unwrap() == "txt");
    let large = path(header(ArcChallenge::LargeFile).await, "Basic");
    assert!(fs::metadata(large).unwrap().len() > 4096);
    assert!(!path(header(ArcChallenge::MissingFile).await, "Basic").exists());
    assert!(path(header(ArcChallenge::OtherScheme).await, "Bearer").exists());
    assert_eq!(header(ArcChallenge::WithoutRealm).await.as_deref(), Some("Basic"));
    assert_eq!(header(ArcChallenge::WithoutHeader).await, None);
    assert!(path(header(ArcChallenge::Genuine).await, "Basic").exists());
}

#[tokio::test]
async fn what_is_refused() {
    let site = Site::new().await;
    for (ask, status, error, description) in [
        (ask().path("/token"), 404, "not_found", "The requested resource was not found."),
        (ask().method("POST"), 405, "invalid_request", "The method is not allowed."),
        (ask().header("metadata", ""), 400, "invalid_request", "Required metadata header not specified"),
        (ask().header("metadata", "1"), 400, "invalid_request", "Required metadata header not specified"),
        (
            ask().query("api-version", ""),
            400,
            "invalid_request",
            "The api-version is missing or not supported",
        ),
        (
            ask().query("api-version", "2018-02-01"),
            400,
            "invalid_request",
            "The api-version is missing or not supported",
        ),
        (
            ask().query("resource", ""),
            400,
            "invalid_request",
            "Required query variable 'resource' is missing",
        ),
        (ask().repeated("resource"), 400, "invalid_request", "The query variable 'resource' is repeated"),
        (
            ask().query("client_id", USER),
            400,
            "invalid_request",
            "User-assigned managed identities are not supported",
        ),
        (
            ask().header("authorization", "Basic wrong"),
            401,
            "unauthorized_client",
            "Missing Basic Authorization header",
        ),
        (
            ask().header("authorization", "Bearer x"),
            401,
            "unauthorized_client",
            "Missing Basic Authorization header",
        ),
    ] {
        let reply = call(&site, &ask).await;
        let body = reply.json();
        assert_eq!((reply.status.as_u16(), &body["error"]), (status, &json!(error)));
        assert_eq!(body["error_description"], description);
        assert_eq!(body["error_codes"], json!([status]));
        assert_eq!(body["timestamp"], "2023-11-14 22:13:20Z");
    }
    let key = fs::read_to_string(challenge(&site).await).unwrap();
    let header = format!("Basic {key}");
    let reply =
        call(&site, &ask().query("resource", "https://nothing.test").header("authorization", &header)).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (400, &json!("invalid_resource")));

    let without = Site::of(Platform::builder().user_assigned(user())).await;
    let key = fs::read_to_string(challenge(&without).await).unwrap();
    let reply = redeem(&without, &key).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["error_description"]),
        (400, &json!("Identity not found"))
    );
}
