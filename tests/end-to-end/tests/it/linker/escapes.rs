//! What a guest with a sealed token may try, and doesn't get away with.

use serde_json::json;
use symbolon::linker::{GuestCtx, GuestFlow, GuestPolicy};
use symbolon_authority::{Api, Demand};
use symbolon_end_to_end::apis::of_tokens;
use symbolon_end_to_end::{GRAPH, VAULT, World, engine};

use super::plugin::{Host, Plugin, host};

/// An application that reaches two APIs, and a guest of it with a token for the first.
struct Stage {
    api: Api,
    other: Api,
    plugin: Plugin,
    _world: World,
}

const DENIED: &str = "ErrorCode::HttpRequestDenied";

impl Stage {
    async fn start(host: &Host) -> Self {
        let world = World::start().await;
        let api = world.api(of_tokens()).await;
        let other = Api::builder().host("other.contoso.test").demand(Demand::Nothing);
        let other = world.api(other).await;
        let application = world.application_with(&engine(), "secret", |settings| {
            symbolon_end_to_end::apis::configure(settings, &api, json!({}));
            settings["Symbolon"]["ConnectTo"]["other.contoso.test"] = other.address().to_string().into();
            settings["Symbolon"]["ConnectTo"]["api.contoso.test:8443"] = other.address().to_string().into();
        });
        let policy = GuestPolicy::new().allow_flow(GuestFlow::ForClient);
        let policy = policy.allow_api(&api.url(), [GRAPH]).expect("an origin");
        let policy = policy.allow_api(&other.url(), [VAULT]).expect("an origin");
        let mut plugin = host.plugin(&GuestCtx::new("a guest", application, policy)).await;
        assert!(plugin.step(format!("acquire|for-client|scope={GRAPH}")).await.starts_with("sealed "));
        Self { api, other, plugin, _world: world }
    }

    /// Nobody saw anything of it.
    fn nothing_arrived(&self) {
        assert_eq!((self.api.connections(), self.other.connections()), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_another_place() {
    let Some(host) = host() else { return };
    let mut stage = Stage::start(host).await;
    for url in [
        "https://evil.test/",
        "https://other.contoso.test/",
        "https://api.contoso.test:8443/",
        "http://api.contoso.test/",
        "http://api.contoso.test:443/",
        "https://api.contoso.test./",
        "https://api.contoso.test.evil.test/",
        "https://api.contoso.test@evil.test/",
        "https://evil.test@api.contoso.test/",
        "https://api.contoso.test:port/",
        "https://127.0.0.1/",
        "https://[::1]/",
    ] {
        assert_eq!(stage.plugin.step(format!("send|GET|{url}")).await, DENIED, "{url}");
    }
    for (url, said) in [
        ("ftp://api.contoso.test/", "ErrorCode::HttpProtocolError"),
        ("https://api.contoso.test\\@evil.test/", "authority"),
        ("https://api.contoso.test evil.test/", "authority"),
        ("https://api.contoso.test\r\nhost: evil.test/", "authority"),
    ] {
        assert_eq!(stage.plugin.step(format!("send|GET|{url}")).await, said, "{url}");
    }
    stage.nothing_arrived();
    // The API that it is for is where it always was.
    assert!(stage.plugin.step("send|GET|https://API.contoso.test:443/a").await.starts_with("200\n"));
}

/// Where each API has tokens of its own, that of the one isn't shown to the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_the_api_of_another_token() {
    let Some(host) = host() else { return };
    let mut stage = Stage::start(host).await;
    assert_eq!(stage.plugin.step("send|GET|https://other.contoso.test/a").await, DENIED);
    stage.nothing_arrived();
    let said = stage
        .plugin
        .steps([
            format!("acquire|for-client|scope={VAULT}"),
            "send|GET|https://other.contoso.test/a".to_owned(),
        ])
        .await;
    assert!(said[1].starts_with("200\n"), "{said:?}");
    assert_eq!(stage.plugin.step("send|GET|https://api.contoso.test/a").await, DENIED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_another_header() {
    let Some(host) = host() else { return };
    let mut stage = Stage::start(host).await;
    for header in [
        "authorization:Bearer own",
        "Authorization:Bearer own",
        "AUTHORIZATION:",
        "proxy-authorization:Basic YTpi",
        "cookie:a=b",
        "host:evil.test",
        "x-original-url:/admin",
        "x-forwarded-host:evil.test",
        "X-Forwarded-For:127.0.0.1",
        "x-ms-token-aad-access-token:own",
        "X-MS-CLIENT-PRINCIPAL-ID:admin",
        "connection:authorization",
        "connection:close",
        "te:trailers",
        "trailer:authorization",
        "transfer-encoding:chunked",
        "upgrade:h2c",
        "keep-alive:timeout=1",
    ] {
        let said = stage.plugin.step(format!("send|GET|https://api.contoso.test/a|header={header}")).await;
        assert_eq!(said, DENIED, "{header}");
    }
    stage.nothing_arrived();
}

/// Line breaks and the like get into no request, wherever they are written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_splitting_the_request() {
    let Some(host) = host() else { return };
    let mut stage = Stage::start(host).await;
    for (step, said) in [
        (
            "GET|https://api.contoso.test/a|header=x:a\r\nauthorization: Bearer own",
            "header HeaderError::InvalidSyntax",
        ),
        ("GET|https://api.contoso.test/a|header=x:a\nb", "header HeaderError::InvalidSyntax"),
        ("GET|https://api.contoso.test/a|header=x:a\0b", "header HeaderError::InvalidSyntax"),
        ("GET|https://api.contoso.test/a|header=x\r\ny:a", "header HeaderError::InvalidSyntax"),
        (
            "GET|https://api.contoso.test/a|header=authorization :Bearer own",
            "header HeaderError::InvalidSyntax",
        ),
        ("GET|https://api.contoso.test/a HTTP/1.1\r\nhost: evil.test\r\n\r\n", "path"),
        ("GET|https://api.contoso.test/a\r\nx: y", "path"),
        ("GET|https://api.contoso.test/a\tb", "path"),
        ("GET / HTTP/1.1\r\nx: y\r\n\r\nGET|https://api.contoso.test/a", "method"),
    ] {
        assert_eq!(stage.plugin.step(format!("send|{step}")).await, said, "{step:?}");
    }
    stage.nothing_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_a_method_that_shows_the_token() {
    let Some(host) = host() else { return };
    let mut stage = Stage::start(host).await;
    for method in ["TRACE", "CONNECT"] {
        assert_eq!(stage.plugin.step(format!("send|{method}|https://api.contoso.test/a")).await, DENIED);
    }
    stage.nothing_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_a_redirect() {
    let Some(host) = host() else { return };
    let mut stage = Stage::start(host).await;
    for status in [301, 302, 303, 307, 308] {
        let redirect = format!(
            "send|GET|https://api.contoso.test/redirect?to=https://other.contoso.test/&status={status}"
        );
        let said = stage.plugin.step(redirect).await;
        assert!(said.starts_with(&format!("{status}\n")), "{said}");
    }
    assert_eq!(stage.other.connections(), 0);
}

/// A host that hands a store on, or composes two guests, doesn't hand their tokens on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_token_of_another_guest() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let application = world.caller(&engine(), "secret", &api, json!({}));
    let guest = |id: &str| {
        let policy = GuestPolicy::new().allow_flow(GuestFlow::ForClient);
        let policy = policy.allow_api(&api.url(), [GRAPH]).expect("an origin");
        GuestCtx::new(id, application.clone(), policy)
    };
    let (one, other) = (guest("1"), guest("2"));
    let mut plugin = host.plugin(&one).await;
    plugin.step(format!("acquire|for-client|scope={GRAPH}")).await;
    let send = format!("send|GET|{}/a", api.url());
    plugin.become_guest(&other);
    assert_eq!(plugin.step(&send).await, DENIED);
    assert_eq!(api.connections(), 0);
    plugin.become_guest(&one);
    assert!(plugin.step(&send).await.starts_with("200\n"));
}
