//! What a call of an API costs whose token is cached, beside a bare hyper client that sends the same header to the same API in
//! the same run.
//!
//! ```console
//! $ cargo bench -p symbolon-end-to-end --bench downstream
//! ```
//!
//! The API runs in a process of its own, so that the processor time that is shown is the client's alone. Both clients speak
//! HTTP/1.1 and keep their connections.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark measures time and may panic"
)]
#![allow(unsafe_code, reason = "getrusage")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioExecutor;
use symbolon::{DownstreamApi, Settings, Symbolon};
use symbolon_authority::Authority;
use symbolon_end_to_end::apis::{API, configure, of_tokens};

#[path = "../acquire/connector.rs"]
mod connector;

use connector::Connector;

/// Calls per measurement.
const CALLS: usize = 20_000;
const ROUNDS: usize = 7;
const IN_FLIGHT: usize = 32;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match std::env::args().nth(1).as_deref() {
        Some("--servers") => runtime.block_on(serve()),
        _ => runtime.block_on(measure()),
    }
}

/// The local authority and an API, until standard input ends.
async fn serve() {
    let directory = tempfile::TempDir::new().unwrap();
    let authority = Authority::builder().data_dir(directory.path()).start().await.unwrap();
    let api = of_tokens().http2(false).start(&authority).await.unwrap();
    let file = directory.path().join("appsettings-secret.json");
    let mut settings: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    configure(&mut settings, &api, serde_json::json!({}));
    println!("{settings}");
    let mut line = String::new();
    tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut line)).await.unwrap().unwrap();
}

struct Servers(Child);

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

async fn measure() {
    let mut servers = Servers(
        Command::new(std::env::current_exe().unwrap())
            .arg("--servers")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut line = String::new();
    BufReader::new(servers.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let settings: serde_json::Value = serde_json::from_str(&line).unwrap();
    let options = Settings::from_value(settings.clone()).application(None).unwrap();
    let application = Symbolon::builder().build().unwrap().application(options).unwrap();
    let api = application.downstream_api(API).unwrap();
    let header = api.authorization_header().await.unwrap().value().unwrap().clone();
    let address = settings["Symbolon"]["ConnectTo"]["api.contoso.test"].as_str().unwrap().parse().unwrap();
    let connector = Connector::new(&settings, address);
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
    let bare = move || {
        let (client, header) = (client.clone(), header.clone());
        async move {
            let request = http::Request::get("https://api.contoso.test/users")
                .header("accept", "application/json")
                .header("authorization", header)
                .body(Empty::<Bytes>::new())
                .unwrap();
            let response = client.request(request).await.unwrap();
            assert_eq!(response.status(), 200);
            response.into_body().collect().await.unwrap();
        }
    };
    let ours = move || call(api.clone());
    let (mut hyper, mut symbolon) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        hyper.push(load(bare.clone()).await);
        symbolon.push(load(ours.clone()).await);
    }
    let (hyper, symbolon) = (median(hyper), median(symbolon));
    println!("| call of an API, {IN_FLIGHT} in flight: bare hyper | {:.1} µs |", hyper * 1e6);
    println!(
        "| call of an API, {IN_FLIGHT} in flight: cached token | {:.1} µs ({:.2}x) |",
        symbolon * 1e6,
        symbolon / hyper
    );
}

async fn call(api: DownstreamApi) {
    let response = api.get("users").send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.bytes().await.unwrap();
}

/// The processor time of one call.
async fn load<F, A>(call: F) -> f64
where
    F: Fn() -> A + Clone + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let left = Arc::new(AtomicUsize::new(CALLS));
    let before = processor_time();
    let workers: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (left, call) = (left.clone(), call.clone());
            tokio::spawn(async move {
                let take = |left: usize| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                    call().await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    (processor_time() - before).as_secs_f64() / CALLS as f64
}

/// The processor time of this process so far.
fn processor_time() -> Duration {
    // SAFETY: an all-zero `rusage` is one, and the call fills it in.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
