//! Envoy as a child process, with the example's configuration.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use symbolon_authority::{Api, CONTOSO, Platform, Source};
use symbolon_end_to_end::{World, guests};
use tempfile::TempDir;

use crate::package::installed;

/// What the routes of an Envoy lead to.
pub(super) struct Site<'a> {
    pub(super) world: &'a World,
    pub(super) api: &'a Api,
    pub(super) platform: Option<&'a Platform>,
    pub(super) client_id: &'a str,
}

/// A running Envoy. It ends when it is dropped.
pub(super) struct Envoy {
    process: Child,
    directory: TempDir,
    ingress: SocketAddr,
    admin: SocketAddr,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// As JSON, where it is that.
    pub(super) body: Value,
}

impl Envoy {
    /// Starts it with this many workers, and with texts of the example's configuration replaced by others. Without Envoy, or
    /// without the compiler's target, the test is skipped, and where `CI` is set it fails.
    pub(super) async fn start(site: &Site<'_>, workers: u32, changes: &[(&str, &str)]) -> Option<Self> {
        let (mut process, directory) = spawn(site, workers, changes)?;
        let admin = loop {
            let address = fs::read_to_string(directory.path().join("admin")).ok();
            if let Some(address) = address.and_then(|address| address.trim().parse().ok()) {
                break address;
            }
            let ended = process.try_wait().expect("a process");
            assert!(ended.is_none(), "Envoy ended: {}", log(&directory));
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        while get(admin, "/ready").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let listeners = get(admin, "/listeners?format=json").await.body;
        let port = &listeners["listener_statuses"][0]["local_address"]["socket_address"]["port_value"];
        let port = port.as_u64().and_then(|port| u16::try_from(port).ok()).expect("the listener's port");
        Some(Self { process, directory, ingress: ([127, 0, 0, 1], port).into(), admin })
    }

    /// What it logs where it ends because of its configuration.
    pub(super) async fn refuse(site: &Site<'_>, changes: &[(&str, &str)]) -> Option<String> {
        let (mut process, directory) = spawn(site, 1, changes)?;
        let ended = tokio::task::spawn_blocking(move || process.wait().expect("a process"));
        let ended =
            tokio::time::timeout(Duration::from_secs(30), ended).await.expect("it ends").expect("a wait");
        assert!(!ended.success(), "{}", log(&directory));
        Some(log(&directory))
    }

    /// Calls a route, on a connection of its own: the kernel gives connections to one worker or another.
    pub(super) async fn get(&self, path: &str) -> Answer {
        get(self.ingress, path).await
    }

    /// A counter or gauge of its statistics.
    pub(super) async fn statistic(&self, name: &str) -> u64 {
        let statistics = get(self.admin, &format!("/stats?format=json&filter=^{name}$")).await.body;
        statistics["stats"][0]["value"].as_u64().unwrap_or_default()
    }

    pub(super) fn log(&self) -> String {
        log(&self.directory)
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            println!("{}", self.log());
        }
    }
}

fn spawn(site: &Site<'_>, workers: u32, changes: &[(&str, &str)]) -> Option<(Child, TempDir)> {
    let python = interpreter()?;
    let filter = FILTER.get_or_init(|| guests::module("symbolon-proxy-wasm")).as_deref()?;
    let directory = TempDir::new().expect("a temporary directory");
    fs::write(directory.path().join("filter.wasm"), filter).expect("the filter");
    let configuration = configuration(site, &directory, changes);
    fs::write(directory.path().join("envoy.yaml"), configuration).expect("the configuration");
    let log = File::create(directory.path().join("log")).expect("the log");
    let process = Command::new(python)
        .args(["-m", "envoy._main", "--disable-hot-restart", "--log-level", "info", "--config-path"])
        .arg(directory.path().join("envoy.yaml"))
        .arg("--admin-address-path")
        .arg(directory.path().join("admin"))
        .args(["--concurrency", &workers.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("Envoy starts");
    Some((process, directory))
}

/// The example's, with what it leaves open filled in.
fn configuration(site: &Site<'_>, directory: &TempDir, changes: &[(&str, &str)]) -> String {
    let example = guests::workspace().join("examples/envoy/envoy.yaml");
    let mut text = fs::read_to_string(example).expect("the example's configuration");
    for (found, replacement) in changes {
        assert!(text.contains(found), "{found}");
        text = text.replace(found, replacement);
    }
    let certificate = CertificateDer::from_pem_file(site.world.path("client.crt")).expect("a certificate");
    let imds = site.platform.map_or(([127, 0, 0, 1], 9).into(), |platform| platform.address(Source::Imds));
    let entra = site.world.authority.address();
    let file = |path: PathBuf| path.display().to_string();
    for (name, value) in [
        ("FILTER", file(directory.path().join("filter.wasm"))),
        ("TENANT_ID", CONTOSO.to_owned()),
        ("CLIENT_ID", site.client_id.to_owned()),
        ("CERTIFICATE", BASE64_STANDARD.encode(&certificate)),
        ("CERTIFICATE_FILE", file(site.world.path("client.pem"))),
        ("KEY_FILE", file(site.world.path("client.pem"))),
        ("ROOTS", file(site.world.path("ca.pem"))),
        ("ENTRA_ADDRESS", entra.ip().to_string()),
        ("ENTRA_MTLS_ADDRESS", entra.ip().to_string()),
        ("ENTRA_PORT", entra.port().to_string()),
        ("IMDS_ADDRESS", imds.ip().to_string()),
        ("IMDS_PORT", imds.port().to_string()),
        ("API_ADDRESS", site.api.address().ip().to_string()),
        ("API_PORT", site.api.address().port().to_string()),
        ("API_HOST", site.api.host().to_owned()),
    ] {
        text = text.replace(&format!("${{{name}}}"), &value);
    }
    text
}

/// The interpreter with Envoy in its packages.
fn interpreter() -> Option<PathBuf> {
    let python = installed("envoy/bin/python", REQUIREMENT.trim())?;
    let output =
        Command::new(&python).args(["-m", "envoy._main", "--version"]).output().expect("Envoy starts");
    let version = String::from_utf8_lossy(&output.stdout);
    let (_, wanted) = REQUIREMENT.trim().split_once("==").expect("a version");
    assert!(version.contains(&format!("/{wanted}/")), "another Envoy is installed: {version}");
    Some(python)
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    let request =
        Request::get(format!("http://{address}{path}")).header("authorization", "Bearer of the caller");
    let request = request.body(Full::<Bytes>::default()).expect("a request");
    let response = client.request(request).await.expect("an answer");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("its body").to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into());
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

fn log(directory: &TempDir) -> String {
    fs::read_to_string(directory.path().join("log")).unwrap_or_default()
}

const REQUIREMENT: &str = include_str!("requirements.txt");

static FILTER: OnceLock<Option<Vec<u8>>> = OnceLock::new();
