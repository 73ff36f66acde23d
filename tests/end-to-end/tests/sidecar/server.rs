//! A sidecar on a port of its own, and what callers who know nothing but HTTP see of it.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use symbolon::{Clock, Settings, Symbolon, SystemClock};
use symbolon_authority::Api;
use symbolon_end_to_end::apis::{API, configure};
use symbolon_end_to_end::{GRAPH, World, claims};
use symbolon_sidecar::Sidecar;

/// A sidecar of the sample application `web-api` on a port of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) sidecar: Sidecar,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Server {
    pub(crate) async fn start(symbolon: &Symbolon, settings: Value) -> Self {
        Self::start_with(symbolon, settings, Arc::new(SystemClock)).await
    }

    pub(crate) async fn start_with(symbolon: &Symbolon, settings: Value, clock: Arc<dyn Clock>) -> Self {
        let settings = Settings::from_value(settings);
        let sidecar = Sidecar::with_clock(symbolon, settings, clock).expect("a sidecar");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let served = sidecar.clone();
        tokio::spawn(async move { served.serve(listener, std::future::pending()).await });
        Self { address, sidecar }
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<(&str, &[u8])>,
    ) -> Answer {
        ask(self.address, method, path, token, body).await
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.ask(Method::GET, path, token, None).await
    }
}

/// Asks whoever listens there.
pub(crate) async fn ask(
    address: SocketAddr,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<(&str, &[u8])>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if let Some((content_type, _)) = body {
        request = request.header("content-type", content_type);
    }
    let body = body.map_or_else(Vec::new, |(_, body)| body.to_vec());
    let request = request.body(Full::<bytes::Bytes>::from(body)).expect("a request");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (parts, body) = client.request(request).await.expect("an answer").into_parts();
    let body = body.collect().await.expect("its body").to_bytes().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap_or_default())
    }

    /// What the header that is the answer has in its token.
    pub(crate) fn claims(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        let answer = self.json();
        let header = answer["authorizationHeader"].as_str().expect("a header");
        claims(header.strip_prefix("Bearer ").expect("a bearer token"))
    }
}

/// Settings of the web API, which calls an API for its users, with `change` made to them.
pub(crate) fn settings(world: &World, api: Option<&Api>, change: impl FnOnce(&mut Value)) -> Value {
    let mut settings = world.settings("web-api");
    match api {
        Some(api) => configure(&mut settings, api, json!({ "RequestAppToken": false })),
        None => settings["DownstreamApis"][API] = json!({ "BaseUrl": "https://api.test", "Scopes": [GRAPH] }),
    }
    change(&mut settings);
    settings
}
