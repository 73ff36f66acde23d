//! What an acquisition costs, beside a bare hyper client that sends the same request to the same server in the same run.
//!
//! ```console
//! $ cargo bench -p symbolon-end-to-end
//! ```
//!
//! The local authority runs in a process of its own, so that the processor time that is shown is the client's alone.

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
use std::time::{Duration, Instant};

use symbolon::{Application, ApplicationId, ApplicationOptions, Settings, Symbolon};
use symbolon_authority::{Authority, Registration, sample};
use symbolon_end_to_end::GRAPH;

mod bare;
mod connector;

/// Acquisitions per measurement on the network.
const REQUESTS: usize = 4_000;
const ROUNDS: usize = 5;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match std::env::args().nth(1).as_deref() {
        Some("--authority") => runtime.block_on(serve()),
        _ => runtime.block_on(measure()),
    }
}

/// The local authority, until its standard input ends.
async fn serve() {
    let directory = tempfile::TempDir::new().unwrap();
    let authority = Authority::builder().data_dir(directory.path()).start().await.unwrap();
    authority.register(Registration::new(sample::SECRET).secret(SECRET).fmi_path("*").attributes(true));
    println!("{}", directory.path().display());
    let mut line = String::new();
    tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut line)).await.unwrap().unwrap();
}

const SECRET: &str = "a secret of the benchmark";

struct Server {
    process: Child,
    directory: std::path::PathBuf,
}

impl Server {
    fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg("--authority")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut directory = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut directory).unwrap();
        Self { process, directory: directory.trim().into() }
    }

    fn settings(&self, sample: &str) -> serde_json::Value {
        let file = self.directory.join(format!("appsettings-{sample}.json"));
        let mut settings: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        if sample == "secret" {
            settings["AzureAd"]["ClientCredentials"][0]["ClientSecret"] = SECRET.into();
        }
        settings
    }

    fn options(&self, sample: &str) -> ApplicationOptions {
        Settings::from_value(self.settings(sample)).application(None).unwrap()
    }

    fn application(&self, symbolon: &Symbolon, sample: &str) -> Application {
        symbolon.application(self.options(sample)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

async fn measure() {
    let server = Server::start();
    let began = Instant::now();
    let symbolon = Symbolon::builder().build().unwrap();
    println!("| engine, component compiled at start | {:.1} ms |", began.elapsed().as_secs_f64() * 1e3);

    let application = server.application(&symbolon, "secret");
    let began = Instant::now();
    application.acquire_token_for_client([GRAPH]).await.unwrap();
    println!(
        "| first token after that, TLS handshake included | {:.1} ms |",
        began.elapsed().as_secs_f64() * 1e3
    );

    cached(&application).await;
    reuse_map_cold(&application).await;
    network(&server, &symbolon).await;
    start(&server);
    memory(&server, &symbolon);
}

async fn cached(application: &Application) {
    println!(
        "| cached token, 1 entry | {} |",
        nanos(each(200_000, || application.acquire_token_for_client([GRAPH])).await)
    );
}

/// A header is part of the request and not of the cache's keys: each call asks the guest, which finds the token.
async fn reuse_map_cold(application: &Application) {
    let number = AtomicUsize::new(0);
    let acquire = || {
        let value = number.fetch_add(1, Ordering::Relaxed).to_string();
        application.acquire_token_for_client([GRAPH]).with_extra_http_headers([("x-benchmark", value)])
    };
    println!("| cached token, reuse map cold (fresh instance) | {} |", nanos(each(20_000, acquire).await));
}

/// The median over rounds of the processor time of one call, one after another.
async fn each<F, A>(calls: usize, acquire: F) -> f64
where
    F: Fn() -> A,
    A: IntoFuture<Output = symbolon::Result<symbolon::AuthenticationResult>>,
{
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let before = processor_time();
        for _ in 0..calls {
            std::hint::black_box(acquire().await.unwrap());
        }
        rounds.push((processor_time() - before).as_secs_f64() / calls as f64);
    }
    median(rounds)
}

async fn network(server: &Server, symbolon: &Symbolon) {
    let (secret, certificate) =
        (server.application(symbolon, "secret"), server.application(symbolon, "certificate"));
    let kept = symbolon.application(server.options("secret").with_id(ApplicationId::new("kept"))).unwrap();
    kept.reuse_instances(true);
    let bare = Arc::new(bare::Client::new(&server.settings("secret"), SECRET));
    let hyper = move || {
        let client = bare.clone();
        async move { client.token().await }
    };
    for concurrency in [1, 32, 2_000] {
        let mut rounds: [Vec<f64>; 4] = Default::default();
        for _ in 0..ROUNDS {
            rounds[0].push(load(concurrency, REQUESTS, hyper.clone()).await);
            rounds[1].push(load(concurrency, REQUESTS, forced(&secret)).await);
            rounds[2].push(load(concurrency, REQUESTS, forced(&kept)).await);
            rounds[3].push(load(concurrency, REQUESTS / 4, forced(&certificate)).await);
        }
        let [hyper, fresh, kept, certificate] = rounds.map(median);
        let against = |time: f64| format!("{} ({:.1}x)", nanos(time), time / hyper);
        println!("| network, {concurrency} in flight: bare hyper | {} |", nanos(hyper));
        println!("| network, {concurrency} in flight: secret, kept instances | {} |", against(kept));
        println!("| network, {concurrency} in flight: secret, fresh instances | {} |", against(fresh));
        println!(
            "| network, {concurrency} in flight: certificate, fresh instances | {} |",
            against(certificate)
        );
    }
}

/// From the start of the command line to its end with a token, where it was built.
fn start(server: &Server) {
    let binary =
        std::env::current_exe().unwrap().parent().and_then(|deps| deps.parent()).unwrap().join("symbolon");
    if !binary.exists() {
        println!("| start of a process to its token | not measured: `cargo build --release` first |");
        return;
    }
    for sample in ["secret", "certificate"] {
        let file = server.directory.join("benchmark.json");
        std::fs::write(&file, server.settings(sample).to_string()).unwrap();
        let runs = (0..21).map(|_| {
            let began = Instant::now();
            let mut command = Command::new(&binary);
            let command = command.arg("token").arg("--config").arg(&file).args(["--scope", GRAPH]);
            assert!(command.stdout(Stdio::null()).status().unwrap().success());
            began.elapsed().as_secs_f64()
        });
        println!("| start of a process to its token, {sample} | {:.1} ms |", median(runs.collect()) * 1e3);
    }
}

/// Acquisitions that go to the network each: a claims challenge of its own is its own flight.
fn forced(
    application: &Application,
) -> impl Fn() -> futures_util::future::BoxFuture<'static, ()> + Clone + Send + 'static {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let application = application.clone();
    move || {
        let application = application.clone();
        Box::pin(async move {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let claims = format!(r#"{{"access_token":{{"n":{{"value":"{number}"}}}}}}"#);
            application.acquire_token_for_client([GRAPH]).with_claims(claims).await.unwrap();
        })
    }
}

/// The processor time of one of `requests` calls, of which `concurrency` are in flight.
async fn load<F, A>(concurrency: usize, requests: usize, call: F) -> f64
where
    F: Fn() -> A + Clone + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let left = Arc::new(AtomicUsize::new(requests));
    let before = processor_time();
    let workers: Vec<_> = (0..concurrency)
        .map(|_| {
            let (left, call) = (left.clone(), call.clone());
            tokio::spawn(async move {
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok()
                {
                    call().await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    (processor_time() - before).as_secs_f64() / requests as f64
}

fn memory(server: &Server, symbolon: &Symbolon) {
    let options = server.options("secret");
    let before = resident();
    let applications: Vec<_> = (0..10_000)
        .map(|number| {
            let id = ApplicationId::new(format!("application {number}"));
            symbolon.application(options.clone().with_id(id)).unwrap()
        })
        .collect();
    let per_application = (resident() - before) as f64 / applications.len() as f64;
    println!("| memory per configured application, of 10,000 | {:.1} kB |", per_application / 1e3);
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

/// The resident memory of this process, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn nanos(seconds: f64) -> String {
    if seconds < 1e-6 { format!("{:.0} ns", seconds * 1e9) } else { format!("{:.1} µs", seconds * 1e6) }
}
