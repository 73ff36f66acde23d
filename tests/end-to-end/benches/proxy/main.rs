//! What a request costs the example proxy: without a plugin, through one that adds nothing, and through the one that
//! authorizes it with a cached token.
//!
//! ```console
//! $ cargo bench -p symbolon-end-to-end --bench proxy
//! ```
//!
//! The proxy runs in a process of its own, so that the processor time that is shown is its alone: that of both its
//! connections and of all that it does. Upstream is a server without TLS that answers whatever it is asked.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark measures time and may panic"
)]
#![allow(unsafe_code, reason = "getrusage")]

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use symbolon_end_to_end::guests::component;
use symbolon_end_to_end::{GRAPH, World};
use symbolon_example_proxy::Proxy;
use tokio::net::{TcpListener, TcpStream};

/// Requests per measurement, on each connection.
const REQUESTS: usize = 500;
const CONNECTIONS: usize = 32;
const ROUNDS: usize = 9;

/// The routes, and the plugins that they go through.
const ROUTES: [(&str, Option<&str>); 3] = [
    ("/none", None),
    ("/empty", Some("symbolon-example-plugin-empty")),
    ("/auth", Some("symbolon-example-plugin-auth")),
];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let arguments: Vec<_> = std::env::args().collect();
    match &arguments[1..] {
        [option, file] if option == "--proxy" => runtime.block_on(serve(file)),
        _ => runtime.block_on(measure()),
    }
}

/// The proxy. It says where it listens, and then its processor time whenever it is asked.
async fn serve(file: &str) {
    let proxy = Proxy::from_file(file).await.unwrap();
    println!("{}", proxy.address().unwrap());
    tokio::spawn(proxy.serve());
    let answer = || std::io::stdin().lines().for_each(|_| println!("{}", processor_time()));
    tokio::task::spawn_blocking(answer).await.unwrap();
}

async fn measure() {
    let world = World::start().await;
    let upstream = upstream().await;
    let mut settings = world.settings("secret");
    let api = json!({ "BaseUrl": format!("http://{upstream}"), "Scopes": [GRAPH], "RequestAppToken": true });
    settings["DownstreamApis"] = json!({ "api": api });
    settings["Proxy"] = json!({ "Listen": "127.0.0.1:0", "Routes": {} });
    for (prefix, plugin) in ROUTES {
        settings["Proxy"]["Routes"][prefix] = json!({ "Api": "api" });
        if let Some(plugin) = plugin {
            let file = world.path(&format!("{plugin}.wasm"));
            std::fs::write(&file, component(plugin).expect("the plugin")).unwrap();
            settings["Proxy"]["Routes"][prefix]["Plugin"] = json!(file);
        }
    }
    let file = world.path("proxy.json");
    std::fs::write(&file, settings.to_string()).unwrap();

    let mut process = Process::start(file.to_str().unwrap());
    let mut times = ROUTES.map(|_| Vec::new());
    for round in 0..=ROUNDS {
        for ((prefix, _), times) in ROUTES.iter().zip(&mut times) {
            let before = process.processor_time();
            load(process.address, prefix).await;
            // The first round opens connections and acquires the token.
            if round > 0 {
                times.push((process.processor_time() - before) / (REQUESTS * CONNECTIONS) as f64);
            }
        }
    }
    let [none, empty, auth] = times.map(median);
    for (name, time) in [("no plugin", none), ("empty plugin", empty), ("auth plugin, cached token", auth)] {
        println!("| request through the proxy, {CONNECTIONS} in flight: {name} | {:.1} µs |", time * 1e6);
    }
    println!("| the auth plugin over the empty one | {:.1} µs |", (auth - empty) * 1e6);
}

/// Requests on several connections at once, one after the other on each.
async fn load(proxy: SocketAddr, path: &'static str) {
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            tokio::spawn(async move {
                let stream = TcpStream::connect(proxy).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                for _ in 0..REQUESTS {
                    let request =
                        http::Request::get(path).header("host", "proxy.test").header("accept", "*/*");
                    let request = request.body(Empty::<Bytes>::new()).unwrap();
                    let response = sender.send_request(request).await.unwrap();
                    assert_eq!(response.status(), 200);
                    response.into_body().collect().await.unwrap();
                }
            })
        })
        .collect();
    for connection in connections {
        connection.await.unwrap();
    }
}

/// A server that answers whatever it is asked.
async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let answer = async |_: http::Request<Incoming>| {
                Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::from(r#"{"number":1}"#)))
            };
            tokio::spawn(server::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    address
}

/// The proxy's process. It ends when it is dropped.
struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Process {
    fn start(file: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--proxy", file]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let mut process =
            Self { child, input, output: BufReader::new(output), address: SocketAddr::from(([0; 4], 0)) };
        process.address = process.line().parse().unwrap();
        process
    }

    /// What it has used so far, in seconds.
    fn processor_time(&mut self) -> f64 {
        writeln!(self.input.as_mut().unwrap()).unwrap();
        self.line().parse().unwrap()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Seconds of processor time that this process has used.
fn processor_time() -> f64 {
    // SAFETY: an all-zero `rusage` is one, and the call fills it in.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    [usage.ru_utime, usage.ru_stime].iter().map(|time| time.tv_sec as f64 + time.tv_usec as f64 / 1e6).sum()
}
