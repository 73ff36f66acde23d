//! The proxy with its plugins before three APIs of its own on the loopback: what they see of what a client sends.

use anyhow::Context;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use symbolon_authority::{Api, ApiBuilder, Ask, Demand};
use symbolon_end_to_end::apis::{GRAPH_AUDIENCE, of_tokens};
use symbolon_end_to_end::guests::component;
use symbolon_end_to_end::{GRAPH, World};
use symbolon_example_proxy::Proxy;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let proxy = Proxy::from_file(&site.file).await?;
    let address = proxy.address()?;
    tokio::spawn(proxy.serve());

    let client = Client::builder(TokioExecutor::new()).build_http();
    println!("{:<18} {:>6}  {:<13} certificate", "client", "status", "authorization");
    for (method, path) in
        [("GET", "/bearer/1"), ("GET", "/pop/1"), ("GET", "/mtls/1"), ("POST", "/challenge/1")]
    {
        let request = http::Request::builder().method(method).uri(format!("http://{address}{path}"));
        let response = client.request(request.body(Full::<Bytes>::from("1"))?).await?;
        let status = response.status();
        let seen: Value = serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?;
        let scheme = seen["authorizationScheme"].as_str().unwrap_or("none");
        let certificate = seen["clientCertificate"]["x5t#S256"].as_str().unwrap_or("none");
        println!("{:<18} {:>6}  {scheme:<13} {certificate}", format!("{method} {path}"), status.as_u16());
    }
    Ok(())
}

/// An authority, APIs, and a file with the proxy's settings. All of it ends when it is dropped.
struct Site {
    world: World,
    settings: Value,
    file: std::path::PathBuf,
    apis: Vec<Api>,
}

impl Site {
    async fn start() -> anyhow::Result<Self> {
        let world = World::start().await;
        let plugin =
            component("symbolon-example-plugin-auth").context("the target wasm32-wasip2 is missing")?;
        std::fs::write(world.path("plugin-auth.wasm"), plugin)?;
        let (mut settings, file) = (world.settings("bound"), world.path("proxy.json"));
        settings["Proxy"] = json!({ "Listen": "127.0.0.1:0" });
        let mut site = Self { world, settings, file, apis: Vec::new() };
        site.add("bearer", of_tokens(), json!({ "Scopes": [GRAPH] })).await;
        let bound = json!({ "Scopes": [GRAPH], "ProtocolScheme": "MTLS_POP" });
        site.add("pop", of_tokens().ask(Ask::Optional), bound).await;
        let certificate = Api::builder().demand(Demand::Certificate).ask(Ask::Required);
        site.add("mtls", certificate, json!({ "ProtocolScheme": "MTLS" })).await;
        let challenging = Api::builder().demand(Demand::Token(GRAPH_AUDIENCE.to_owned()));
        site.add("challenge", challenging, json!({ "Scopes": [GRAPH] })).await.demand_acrs("c1");
        std::fs::write(&site.file, format!("{:#}", site.settings))?;
        Ok(site)
    }

    /// Adds an API and a route to it.
    async fn add(&mut self, name: &str, api: ApiBuilder, mut options: Value) -> &Api {
        let api = self.world.api(api.host(&format!("{name}.contoso.test"))).await;
        options["BaseUrl"] = api.url().into();
        options["RequestAppToken"] = true.into();
        self.settings["DownstreamApis"][name] = options;
        self.settings["Symbolon"]["ConnectTo"][api.host()] = api.address().to_string().into();
        self.settings["Proxy"]["Routes"][format!("/{name}")] =
            json!({ "Api": name, "Plugin": "plugin-auth.wasm" });
        self.apis.push(api);
        &self.apis[self.apis.len() - 1]
    }
}
