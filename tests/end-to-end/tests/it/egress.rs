//! Requests go only where the application's configuration allows, and redirects are never followed (I9); a secret is sent to
//! its place or not at all.

use symbolon::{Error, ErrorKind};
use symbolon_authority::{Fault, FaultRule};
use symbolon_end_to_end::{GRAPH, World, engine, hostile_engine, order};

#[tokio::test]
async fn a_guest_reaches_no_other_host() {
    let (world, hostile) = (World::start().await, hostile_engine(|builder| builder));
    let application = world.application(&hostile, "secret");
    for url in [
        "https://evil.example/collect",
        "https://login.microsoftonline.com.evil.example/collect",
        "https://login.microsoftonline.com:8443/collect",
        "http://login.microsoftonline.com/collect",
        "https://127.0.0.1/collect",
        "https://[::1]/collect",
        "https://169.254.169.254/metadata/identity/oauth2/token",
        "https://login.partner.microsoftonline.cn/common/discovery/instance",
    ] {
        let seen = order(&application, format!("get {url}")).await.expect("an answer");
        assert!(seen.contains("HttpRequestDenied"), "{url}: {seen}");
        let seen = order(&application, format!("post-bound {url}")).await.expect("an answer");
        assert!(seen.contains("HttpRequestDenied"), "{url} with the secret: {seen}");
    }
    assert!(world.authority.log().is_empty());

    // The same request to the configured authority arrives.
    let url = "https://login.microsoftonline.com/common/discovery/instance";
    let seen = order(&application, format!("get {url}")).await.expect("an answer");
    assert!(seen.parse::<u16>().is_ok(), "{seen}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (world, elsewhere, symbolon) = (World::start().await, World::start().await, engine());
    let location = "https://login.microsoftonline.us/elsewhere/oauth2/v2.0/token".to_owned();
    world.authority.faults().add(FaultRule::once(Fault::Redirect { location, status: 307 }));
    // Even a host that the application could reach by name.
    let options = world.options("secret", |settings| {
        let address = elsewhere.authority.address().to_string();
        settings["Symbolon"]["ConnectTo"]["login.microsoftonline.us"] = address.into();
        settings["Symbolon"]["AllowedAuthorities"] = serde_json::json!(["https://login.microsoftonline.us"]);
    });
    let application = symbolon.application(options.expect("options")).expect("an application");

    let error = application.acquire_token_for_client([GRAPH]).await.expect_err("a redirect is no token");
    let Error::Acquisition(decision) = &error else { panic!("{error:?}") };
    assert_eq!(decision.status, Some(307));
    assert_ne!(decision.kind, ErrorKind::TransportFailed);
    assert_eq!(elsewhere.authority.stats().tcp_connections, 0, "the secret went to another server");
    application.acquire_token_for_client([GRAPH]).await.expect("the next call works");
}

#[tokio::test]
async fn a_secret_without_its_place_is_never_a_request_without_it() {
    let (world, hostile) = (World::start().await, hostile_engine(|builder| builder));
    let application = world.application(&hostile, "secret");
    let url = "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token";
    for (verb, problem) in [
        ("post-without-place", "SecretPlaceMissing"),
        ("post-two-places", "SecretPlaceRepeated"),
        ("post-with-length", "HttpRequestDenied"),
        ("exchange-with-host", "HttpRequestDenied"),
        ("exchange-with-many-headers", "HttpRequestHeaderSectionSize"),
        ("exchange-with-a-large-header", "HttpRequestHeaderSectionSize"),
    ] {
        let seen = order(&application, format!("{verb} {url}")).await.expect("an answer");
        assert!(seen.contains(problem), "{verb}: {seen}");
    }
    assert!(world.authority.log().is_empty());
    let seen = order(&application, format!("post-bound {url}")).await.expect("an answer");
    assert!(seen.parse::<u16>().is_ok(), "with the place: {seen}");
}
