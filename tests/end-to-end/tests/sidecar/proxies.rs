//! Proxies that ask the sidecar before they let a request through.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request as Arrived;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use symbolon_authority::{Fault, FaultRule, sample};
use symbolon_end_to_end::installed::installed;
use symbolon_end_to_end::{World, claims, engine, workspace};
use tempfile::TempDir;

use crate::server::{Answer, Server, ask, settings};

/// A sidecar whose API is called with the application's own token as `graph`, and with its users' as `users`.
async fn sidecar(world: &World) -> Server {
    let apis = |settings: &mut Value| {
        let graph = settings["DownstreamApis"]["api"].clone();
        settings["DownstreamApis"]["graph"] = graph.clone();
        settings["DownstreamApis"]["graph"]["RequestAppToken"] = true.into();
        settings["DownstreamApis"]["users"] = graph;
        settings["DownstreamApis"]["bound"] = json!({ "BaseUrl": "https://api.test", "Scopes": ["a/.default"], "ProtocolScheme": "MTLS_POP", "RequestAppToken": true });
    };
    Server::start(&engine(), settings(world, None, apis)).await
}

fn bearer(headers: &HeaderMap) -> Value {
    let value = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    claims(value.strip_prefix("Bearer ").unwrap_or_else(|| panic!("no bearer token: {value:?}")))
}

#[tokio::test]
async fn the_header_is_one_of_the_answer() {
    let world = World::start().await;
    let server = sidecar(&world).await;
    let token = world.user_token(sample::ALICE, sample::WEB_API);
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let answer = server.ask(method, "/ForwardAuth/users/orders/1?a=b", Some(&token), None).await;
        assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, ""));
        assert_eq!(bearer(&answer.headers)["upn"], sample::ALICE);
        assert_eq!(answer.header("cache-control"), "no-cache, no-store, must-revalidate");
    }
    let answer = server.get("/ForwardAuthUnauthenticated/graph", None).await;
    assert_eq!(bearer(&answer.headers)["idtyp"], "app");
}

#[tokio::test]
async fn a_query_changes_nothing() {
    let world = World::start().await;
    let server = sidecar(&world).await;
    let token = world.user_token(sample::ALICE, sample::WEB_API);
    let query = "optionsOverride.RequestAppToken=true&AgentIdentity=a&AgentUserId=none";
    let answer = server.get(&format!("/ForwardAuth/users?{query}"), Some(&token)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(bearer(&answer.headers)["upn"], sample::ALICE);
}

#[tokio::test]
async fn refusals_are_those_that_proxies_know() {
    let world = World::start().await;
    let server = sidecar(&world).await;
    let token = world.user_token(sample::ALICE, sample::WEB_API);
    let refused = |fault| world.authority.faults().add(FaultRule::once(fault).always());
    for (path, token, status) in [
        ("/ForwardAuth/users", None, 401),
        ("/ForwardAuth/users", Some("none"), 401),
        ("/ForwardAuthUnauthenticated/users", None, 401),
        ("/ForwardAuthUnauthenticated/nowhere", None, 403),
        ("/ForwardAuthUnauthenticated/bound", None, 403),
        ("/ForwardAuth/nowhere/optionsOverride", Some(token.as_str()), 403),
    ] {
        let answer = server.get(path, token).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
        assert!(answer.headers.get("authorization").is_none());
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401, "{path}");
    }
    let consent = Fault::Refusal {
        code: 65001,
        error: "invalid_grant".to_owned(),
        status: 400,
        message: "consent".to_owned(),
        suberror: Some("consent_required".to_owned()),
        claims: None,
        retry_after: None,
    };
    let secret = Fault::Refusal {
        code: 7_000_215,
        error: "invalid_client".to_owned(),
        status: 401,
        message: "secret".to_owned(),
        suberror: None,
        claims: None,
        retry_after: None,
    };
    let silent = Fault::Status { status: 503, retry_after: None, body: None };
    for (fault, status) in [(consent, 401), (secret, 403), (silent, 503)] {
        refused(fault);
        let answer = server.get("/ForwardAuth/users", Some(&token)).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert!(answer.headers.get("authorization").is_none());
        world.authority.faults().clear();
    }
}

/// An API behind a proxy: it remembers what came.
struct Upstream {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<(String, HeaderMap)>>>,
}

impl Upstream {
    async fn start() -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let router = Router::new().fallback(async move |request: Arrived| {
            let uri = request.uri().to_string();
            log.lock().expect("a lock").push((uri, request.headers().clone()));
            "the API's"
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, seen }
    }

    fn seen(&self) -> Vec<(String, HeaderMap)> {
        self.seen.lock().expect("a lock").clone()
    }
}

/// A proxy as a child process. It ends when it is dropped.
struct Proxy {
    process: Child,
    directory: TempDir,
    address: SocketAddr,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            println!("{}", fs::read_to_string(self.directory.path().join("log")).unwrap_or_default());
        }
    }
}

impl Proxy {
    /// Starts it with the example's configuration, its addresses replaced by the test's.
    async fn start(
        example: &str,
        sidecar: &Server,
        upstream: &Upstream,
        route: &str,
        command: impl FnOnce(&TempDir, String) -> Command,
    ) -> Self {
        let address = free_address();
        let text = fs::read_to_string(workspace("examples/forward-auth").join(example)).expect("the example");
        let mut text = text.replace("ForwardAuthUnauthenticated/graph", route);
        for (port, actual) in
            [(8080, address), (5000, sidecar.address), (9000, upstream.address), (9901, free_address())]
        {
            assert!(text.contains(&port.to_string()) || port == 9901, "{port}");
            text = text.replace(&format!("127.0.0.1:{port}"), &actual.to_string());
            text = text.replace(&format!("port_value: {port}"), &format!("port_value: {}", actual.port()));
        }
        let directory = TempDir::new().expect("a temporary directory");
        let log = File::create(directory.path().join("log")).expect("the log");
        let mut command = command(&directory, text);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut proxy = Self { process: command.spawn().expect("the proxy starts"), directory, address };
        let started = async {
            while tokio::net::TcpStream::connect(proxy.address).await.is_err() {
                let ended = proxy.process.try_wait().expect("a process");
                assert!(ended.is_none(), "the proxy ended");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), started).await.expect("the proxy starts in time");
        proxy
    }

    async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        ask(self.address, Method::GET, path, token, None).await
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address")
}

/// nginx, where it is installed.
async fn nginx(sidecar: &Server, upstream: &Upstream, route: &str) -> Option<Proxy> {
    let is_there = |program: &&str| Command::new(program).arg("-v").stderr(Stdio::null()).status().is_ok();
    let Some(program) = ["nginx", "/usr/sbin/nginx"].into_iter().find(is_there) else {
        assert!(std::env::var_os("CI").is_none(), "skipped: needs nginx, which .ci/run installs");
        println!("skipped: needs nginx, which .ci/run installs");
        return None;
    };
    let command = |directory: &TempDir, server: String| {
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log log warn;\nevents {{}}\nhttp {{\naccess_log off;\n\
             client_body_temp_path body;\nproxy_temp_path proxy;\nfastcgi_temp_path fastcgi;\nuwsgi_temp_path uwsgi;\n\
             scgi_temp_path scgi;\n{server}}}\n"
        );
        fs::write(directory.path().join("nginx.conf"), configuration).expect("the configuration");
        let mut command = Command::new(program);
        command.arg("-p").arg(directory.path()).args(["-c", "nginx.conf", "-e", "log"]);
        command
    };
    Some(Proxy::start("nginx.conf", sidecar, upstream, route, command).await)
}

/// Envoy, where it is installed.
async fn envoy(sidecar: &Server, upstream: &Upstream, route: &str) -> Option<Proxy> {
    let python = installed("envoy/bin/python", "Envoy")?;
    let command = |directory: &TempDir, configuration: String| {
        let file = directory.path().join("envoy.yaml");
        fs::write(&file, configuration).expect("the configuration");
        let mut command = Command::new(python);
        command
            .args(["-m", "envoy._main", "--disable-hot-restart", "--concurrency", "1", "--config-path"])
            .arg(file);
        command
    };
    Some(Proxy::start("envoy.yaml", sidecar, upstream, route, command).await)
}

/// What both are to do.
async fn check(world: &World, upstream: &Upstream, for_app: &Proxy, for_users: &Proxy) {
    let answer = for_app.get("/orders/1?optionsOverride.Scopes=x", Some("the client's own")).await;
    assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "the API's"));
    let seen = upstream.seen();
    assert_eq!(
        seen[0].0.split("://").last().unwrap_or_default().trim_start_matches(|letter| letter != '/'),
        "/orders/1?optionsOverride.Scopes=x"
    );
    assert_eq!(bearer(&seen[0].1)["idtyp"], "app", "in the place of the client's");

    let token = world.user_token(sample::ALICE, sample::WEB_API);
    assert_eq!(for_users.get("/", Some(&token)).await.status, StatusCode::OK);
    assert_eq!(bearer(&upstream.seen()[1].1)["upn"], sample::ALICE);
    let refused = for_users.get("/", Some("none")).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(refused.header("www-authenticate").contains("invalid_token"), "{:?}", refused.headers);

    let fault = Fault::Status { status: 503, retry_after: None, body: None };
    world.authority.faults().add(FaultRule::once(fault).always());
    let other = world.user_token(sample::BOB, sample::WEB_API);
    let refused = for_users.get("/", Some(&other)).await;
    assert!(
        refused.status.is_server_error() || refused.status == StatusCode::FORBIDDEN,
        "{}",
        refused.status
    );
    assert_eq!(upstream.seen().len(), 2, "nothing went on that was refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_asks_before_each_request() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    let server = sidecar(&world).await;
    let Some(for_app) = nginx(&server, &upstream, "ForwardAuthUnauthenticated/graph").await else { return };
    let Some(for_users) = nginx(&server, &upstream, "ForwardAuth/users").await else { return };
    check(&world, &upstream, &for_app, &for_users).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_asks_before_each_request() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    let server = sidecar(&world).await;
    let Some(for_app) = envoy(&server, &upstream, "ForwardAuthUnauthenticated/graph").await else { return };
    let Some(for_users) = envoy(&server, &upstream, "ForwardAuth/users").await else { return };
    check(&world, &upstream, &for_app, &for_users).await;
}
