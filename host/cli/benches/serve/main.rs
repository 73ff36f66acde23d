//! The sidecar under load: the process `symbolon serve` beside the callers, on one machine.
//!
//! First as fast as it goes, then a million requests (or so many as `REQUESTS` says) in whose middle the certificate is
//! replaced, the configuration changes and the authority is silent for five seconds. No request may fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "that is how a benchmark fails")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures the machine's time")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use symbolon::{Clock as _, SystemClock};
use symbolon_authority::{CertificateRequest, ClientCertificate, Fault, FaultRule, Registration};
use symbolon_end_to_end::{GRAPH, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CLIENT: &str = "77777777-1111-4000-8000-000000000001";
const CALLERS: usize = 32;
const PATH: &str = "/AuthorizationHeaderUnauthenticated/api";
/// As Entra ID has it.
const LIFETIME: Duration = Duration::from_secs(3600);
/// Short, so that tokens are renewed throughout, in the background.
const REFRESH: Duration = Duration::from_secs(10);
const OUTAGE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    let requests = std::env::var("REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let place = Place::new().await;
    let server = Server::start(&place.config());
    let pid = server.0.id();
    load(&server.1, Until::Time(Duration::from_secs(1)), &Progress::default()).await;
    for callers in [1, CALLERS] {
        let load =
            load_by(callers, &server.1, Until::Time(Duration::from_secs(10)), &Progress::default()).await;
        println!("{callers:>2} callers, 10 s: {load}, {} MiB resident", resident(pid));
    }
    let progress = Progress::default();
    let (load, ()) = tokio::join!(
        load(&server.1, Until::Requests(requests), &progress),
        place.disturb(requests, &progress)
    );
    println!("{CALLERS:>2} callers, {requests} requests: {load}, {} MiB resident", resident(pid));
    println!("token requests that the authority saw: {}", place.world.token_requests().len());
    assert_eq!(load.errors, 0, "a request failed");
}

/// An authority, an application of it and its files.
struct Place {
    world: World,
}

impl Place {
    async fn new() -> Self {
        let place = Self { world: World::start().await };
        let first = certificate("first");
        place.register(&[&first]);
        std::fs::write(place.world.path("load.pem"), first.pem()).unwrap();
        place.configure(0);
        place
    }

    fn config(&self) -> PathBuf {
        self.world.path("load.json")
    }

    fn configure(&self, round: u32) {
        let mut settings = self.world.settings("secret");
        settings["AzureAd"]["ClientId"] = CLIENT.into();
        settings["AzureAd"]["ClientCredentials"] =
            json!([{ "SourceType": "Path", "CertificateDiskPath": "load.pem" }]);
        settings["DownstreamApis"]["api"] =
            json!({ "BaseUrl": "https://api.contoso.test", "Scopes": [GRAPH], "RequestAppToken": true });
        settings["Round"] = round.into();
        replace(&self.config(), &settings.to_string());
    }

    fn register(&self, certificates: &[&ClientCertificate]) {
        let application = Registration::new(CLIENT).token_lifetime(LIFETIME).refresh_in(REFRESH);
        let application = certificates.iter().fold(application, |application, certificate| {
            application.certificate_pem(&certificate.certificate_pem()).unwrap()
        });
        self.world.authority.register(application);
    }

    /// What operators and networks do, each at its part of the way.
    async fn disturb(&self, requests: usize, progress: &Progress) {
        progress.reaches(requests / 4).await;
        let next = certificate("next");
        self.register(&[&next]);
        replace(&self.world.path("load.pem"), &next.pem());
        println!("   the certificate is replaced, and the authority takes the new one only");
        progress.reaches(requests / 2).await;
        self.configure(1);
        println!("   the configuration changes");
        progress.reaches(requests / 4 * 3).await;
        let outage = self.world.authority.faults().add(FaultRule::once(Fault::CloseWithoutAnswer).always());
        println!("   the authority is silent");
        tokio::time::sleep(OUTAGE).await;
        self.world.authority.faults().remove(outage);
        println!(
            "   it answers again, after {} of {requests} requests",
            progress.done.load(Ordering::Relaxed)
        );
    }
}

fn certificate(name: &str) -> ClientCertificate {
    CertificateRequest::new(name, SystemClock.now_unix()).self_signed().unwrap()
}

/// In one step.
fn replace(path: &Path, content: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, content).unwrap();
    std::fs::rename(next, path).unwrap();
}

/// The process, and its address.
struct Server(Child, String);

impl Server {
    fn start(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
        command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--config"]).arg(config);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("it is ready");
        let address = ready["addresses"][0].as_str().unwrap().to_owned();
        Self(child, address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Clone, Copy)]
enum Until {
    Time(Duration),
    Requests(usize),
}

#[derive(Clone, Default)]
struct Progress {
    done: Arc<AtomicUsize>,
}

impl Progress {
    async fn reaches(&self, requests: usize) {
        while self.done.load(Ordering::Relaxed) < requests {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What came of it.
struct Load {
    elapsed: Duration,
    errors: usize,
    /// In microseconds, sorted.
    latencies: Vec<u32>,
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.latencies.len();
        let at = |part: f64| self.latencies.get((count as f64 * part) as usize).copied().unwrap_or(0);
        let rate = count as f64 / self.elapsed.as_secs_f64();
        let [median, p99, longest] = [at(0.5), at(0.99), self.latencies.last().copied().unwrap_or(0)];
        write!(
            f,
            "{rate:.0} requests/s, median {median} µs, p99 {p99} µs, longest {:.1} ms, {} errors",
            f64::from(longest) / 1000.0,
            self.errors
        )
    }
}

async fn load(address: &str, until: Until, progress: &Progress) -> Load {
    load_by(CALLERS, address, until, progress).await
}

async fn load_by(callers: usize, address: &str, until: Until, progress: &Progress) -> Load {
    let begin = Instant::now();
    let started = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (address, started) = (address.to_owned(), started.clone());
            let progress = progress.clone();
            tokio::spawn(async move {
                let (mut latencies, mut errors) = (Vec::new(), 0);
                let mut caller = Caller::connect(&address).await;
                loop {
                    let number = started.fetch_add(1, Ordering::Relaxed);
                    let is_done = match until {
                        Until::Time(time) => begin.elapsed() >= time,
                        Until::Requests(requests) => number >= requests,
                    };
                    if is_done {
                        return (latencies, errors);
                    }
                    let asked = Instant::now();
                    errors += usize::from(caller.ask().await != Some(200));
                    latencies.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
                    progress.done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let (mut latencies, mut errors) = (Vec::new(), 0);
    for task in tasks {
        let (of_task, errors_of_task) = task.await.unwrap();
        latencies.extend(of_task);
        errors += errors_of_task;
    }
    let elapsed = begin.elapsed();
    latencies.sort_unstable();
    Load { elapsed, errors, latencies }
}

/// One connection, kept.
struct Caller {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Caller {
    async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::with_capacity(8192) }
    }

    /// The status, when the whole answer is there.
    async fn ask(&mut self) -> Option<u16> {
        let request = format!("GET {PATH} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await.ok()?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
            let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&self.buffer[..end]).ok()?;
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            if self.buffer.len() >= end + 4 + length.parse::<usize>().ok()? {
                return head.get(9..12)?.parse().ok();
            }
        }
    }
}

/// The memory that a process has, in MiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
