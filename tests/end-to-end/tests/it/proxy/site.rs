//! A proxy with its settings, and a client.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;

use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use symbolon_end_to_end::World;
use symbolon_end_to_end::guests::component;
use symbolon_example_proxy::Proxy;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub(crate) const EMPTY: &str = "symbolon-example-plugin-empty";
pub(crate) const AUTH: &str = "symbolon-example-plugin-auth";
pub(crate) const HOSTILE: &str = "symbolon-hostile-plugin";

/// What a proxy is to be started with.
pub(crate) struct Settings {
    pub(crate) world: World,
    pub(crate) json: Value,
}

impl Settings {
    /// Those of a sample application, without a route.
    pub(crate) async fn of(sample: &str) -> Self {
        let world = World::start().await;
        let mut json = world.settings(sample);
        json["Proxy"] = json!({ "Listen": "127.0.0.1:0", "Routes": {} });
        Self { world, json }
    }

    /// With an API of that name.
    pub(crate) fn api(mut self, name: &str, settings: Value) -> Self {
        self.json["DownstreamApis"][name] = settings;
        self
    }

    /// With a route to it through a plugin. Nothing where no plugin can be built here.
    pub(crate) fn route(mut self, prefix: &str, api: &str, plugin: &str) -> Option<Self> {
        let file = format!("{plugin}.wasm");
        std::fs::write(self.world.path(&file), component(plugin)?).expect("a file");
        self.json["Proxy"]["Routes"][prefix] = json!({ "Api": api, "Plugin": file });
        Some(self)
    }

    /// As a file.
    pub(crate) fn write(&self) -> PathBuf {
        let file = self.world.path("proxy.json");
        std::fs::write(&file, format!("// The proxy\n{:#}", self.json)).expect("a file");
        file
    }

    pub(crate) async fn start(self) -> Site {
        let proxy = Proxy::from_file(self.write()).await.expect("a proxy");
        let address = proxy.address().expect("an address");
        Site {
            world: self.world,
            address,
            task: tokio::spawn(async { proxy.serve().await.expect("it serves") }),
        }
    }
}

/// A running proxy. It ends when it is dropped.
pub(crate) struct Site {
    pub(crate) world: World,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

impl Site {
    /// Sends a request on a connection of its own.
    pub(crate) async fn send<B>(&self, request: Request<B>) -> Response<Incoming>
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let (mut sender, connection) =
            http1::handshake::<_, RequestBody>(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        let (mut parts, body) = request.into_parts();
        parts.headers.insert("host", "proxy.test".parse().expect("a value"));
        sender.send_request(Request::from_parts(parts, body.boxed_unsync())).await.expect("an answer")
    }

    pub(crate) async fn get(&self, path: &str) -> Response<Incoming> {
        self.send(Request::get(path).body(Full::default()).expect("a request")).await
    }

    pub(crate) async fn post(&self, path: &str, body: &'static str) -> Response<Incoming> {
        self.send(Request::post(path).body(Full::from(body)).expect("a request")).await
    }
}

/// What an API says that it saw.
pub(crate) async fn seen(response: Response<Incoming>) -> Value {
    assert_eq!(response.status(), 200);
    serde_json::from_slice(&response.into_body().collect().await.expect("a body").to_bytes()).expect("JSON")
}
