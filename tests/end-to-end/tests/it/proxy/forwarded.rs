//! Requests and answers go through as they are, however long their bodies are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::json;
use symbolon_authority::Api;
use symbolon_example_proxy::Proxy;
use tokio::sync::mpsc;

use super::site::{EMPTY, Settings, seen};
use super::upstream::{LONG, Long, Upstream};

/// What sockets and the proxy hold of a body that is stuck, at most.
const HELD: u64 = 32 << 20;

async fn site(upstream: &Upstream) -> Option<super::site::Site> {
    let settings = Settings::of("secret").await.api("plain", upstream.settings());
    Some(settings.route("/plain", "plain", EMPTY)?.start().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_to_the_api_of_its_route() {
    let mut upstream = Upstream::start().await;
    let Some(site) = site(&upstream).await else { return };
    let response = site.get("/plain/a/b?c=d%20e").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-seen"]),
        (200, &"/base/a/b?c=d%20e".parse().expect("a value"))
    );
    let response = site.post("/plain", "four").await;
    assert_eq!(response.headers()["x-seen"], "/base");
    assert_eq!(response.headers()["x-length"], "4", "the length goes through");
    assert_eq!(upstream.ends.recv().await, Some((0, true)));
    assert_eq!(upstream.ends.recv().await, Some((4, true)));
    for path in ["/", "/plainer", "/other/plain"] {
        assert_eq!(site.get(path).await.status(), 404, "{path}");
    }
    for path in ["/plain/../other", "/plain/%2e%2E/other"] {
        assert_eq!(site.get(path).await.status(), 400, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_bodies_go_through_in_both_directions_at_once() {
    let settings = Settings::of("secret").await;
    let api = settings.world.api(Api::builder()).await;
    let mut settings = settings.api("orders", json!({ "BaseUrl": api.url(), "RequestAppToken": true }));
    settings.json["Symbolon"]["ConnectTo"][api.host()] = api.address().to_string().into();
    let Some(settings) = settings.route("/orders", "orders", EMPTY) else { return };
    let site = settings.start().await;
    let long = || Long { left: LONG, given: Arc::default() };

    let echoed = site.send(Request::post("/orders/echo").body(long()).expect("a request")).await;
    let (mut body, mut length) = (echoed.into_body(), 0);
    while let Some(frame) = body.frame().await {
        let part = frame.expect("a part").into_data().expect("data");
        assert!(part.iter().all(|byte| *byte == 7));
        length += part.len() as u64;
    }
    assert_eq!(length, LONG);

    let seen = seen(site.send(Request::put("/orders/1").body(long()).expect("a request")).await).await;
    assert_eq!((&seen["bodyLength"], &seen["method"]), (&json!(LONG), &json!("PUT")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_bodies_arrive_before_the_next_is_there() {
    let settings = Settings::of("secret").await;
    let api = settings.world.api(Api::builder()).await;
    let mut settings = settings.api("orders", json!({ "BaseUrl": api.url(), "RequestAppToken": true }));
    settings.json["Symbolon"]["ConnectTo"][api.host()] = api.address().to_string().into();
    let Some(settings) = settings.route("/orders", "orders", EMPTY) else { return };
    let site = settings.start().await;

    let (parts, mut coming) = mpsc::channel::<Bytes>(1);
    let stream = futures_util::stream::poll_fn(move |context| coming.poll_recv(context));
    let stream = futures_util::StreamExt::map(stream, |part| Ok(Frame::data(part)));
    parts.send("1".into()).await.expect("it is taken");
    let request = Request::post("/orders/echo").body(StreamBody::new(stream)).expect("a request");
    let mut body = site.send(request).await.into_body();
    for part in ["1", "2", "3"] {
        if part != "1" {
            parts.send(part.into()).await.expect("it is taken");
        }
        let echoed = body.frame().await.expect("a part").expect("a part").into_data().expect("data");
        assert_eq!(echoed, part);
    }
    drop(parts);
    assert!(body.frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_read_than_can_be_written() {
    let upstream = Upstream::start().await;
    let Some(site) = site(&upstream).await else { return };

    let given = Arc::new(AtomicU64::new(0));
    let request = Request::post("/plain/stuck").body(Long { left: LONG, given: given.clone() });
    let sending = site.send(request.expect("a request"));
    tokio::select! {
        _ = sending => panic!("there is no answer"),
        taken = rest(&given) => assert!((1..HELD).contains(&taken), "{taken} bytes of the request"),
    }

    let answer = site.get("/plain/long").await;
    let taken = rest(&upstream.given).await;
    assert!((1..HELD).contains(&taken), "{taken} bytes of the answer");
    assert_eq!(answer.into_body().collect().await.expect("a body").to_bytes().len() as u64, LONG);
}

/// What a counter shows once it stands still.
async fn rest(counter: &AtomicU64) -> u64 {
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = counter.load(Ordering::Relaxed);
        if now == before && now > 0 {
            return now;
        }
        before = now;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_upstream_would_believe_is_taken_out() {
    let settings = Settings::of("secret").await;
    let api = settings.world.api(Api::builder()).await;
    let mut settings = settings.api("orders", json!({ "BaseUrl": api.url(), "RequestAppToken": true }));
    settings.json["Symbolon"]["ConnectTo"][api.host()] = api.address().to_string().into();
    let Some(mut settings) = settings.route("/", "orders", EMPTY) else { return };
    settings.json["Proxy"]["Routes"]["/straight"] = json!({ "Api": "orders" });
    let site = settings.start().await;
    let straight = site.get("/straight?a=b").await;
    assert_eq!((&seen(straight).await["path"], api.log()[0].query.as_deref()), (&json!("/"), Some("a=b")));
    let request = Request::get("/orders").header("x-forwarded-for", "192.0.2.1").header("x-other", "1");
    let request = request.header("connection", "x-hop").header("x-hop", "1");
    let seen = seen(site.send(request.body(Full::default()).expect("a request")).await).await;
    let headers = seen["headers"].as_object().expect("headers");
    assert_eq!(seen["path"], "/orders");
    assert!(headers.contains_key("x-other"));
    assert!(!headers.contains_key("x-forwarded-for") && !headers.contains_key("x-hop"), "{headers:?}");
}

#[tokio::test]
async fn mistakes_in_the_settings_are_named() {
    let error = async |settings: &Settings| match Proxy::from_file(settings.write()).await {
        Ok(_) => panic!("it was accepted"),
        Err(error) => format!("{error:#}"),
    };
    let upstream = Upstream::start().await;
    let mut settings = Settings::of("secret").await.api("plain", upstream.settings());
    let file = settings.world.path("proxy.json").display().to_string();

    settings.json["Proxy"]["Routes"]["/a"] = json!({ "Api": "plain", "Plugin": "absent.wasm" });
    let said = error(&settings).await;
    assert!(said.contains("absent.wasm") && said.contains("wasi:http/incoming-handler"), "{said}");

    settings.json["Proxy"]["Routes"]["/a"] = json!({ "Api": "plain", "Plugin": 1 });
    let said = error(&settings).await;
    assert!(
        said.contains(&file) && said.contains("Proxy.Routes./a.Plugin") && said.contains("integer"),
        "{said}"
    );

    settings.json["Proxy"]["Routes"] = json!({ "a/": { "Api": "plain", "Plugin": "absent.wasm" } });
    let said = error(&settings).await;
    assert!(said.contains(&file) && said.contains("Proxy.Routes.a/"), "{said}");

    settings.json["Proxy"]["Lisen"] = json!(1);
    let said = error(&settings).await;
    assert!(said.contains(&file) && said.contains("Proxy") && said.contains("Lisen"), "{said}");
}
