//! nginx as a child process, with a directory, a configuration and ports of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rcgen::{CertificateParams, KeyPair};
use serde::Deserialize;
use symbolon::Clock as _;
use symbolon_authority::{CertificateRequest, ClientCertificate, ClientCertificateIssuer};
use symbolon_end_to_end::until;
use tempfile::TempDir;

/// The name under which nginx is reached.
pub(super) const HOST: &str = "api.contoso.test";

/// Debian has it where only root looks.
const PROGRAMS: [&str; 2] = ["nginx", "/usr/sbin/nginx"];

/// What nginx does with clients that it doesn't know.
#[derive(Clone, Copy, Debug)]
pub(super) enum Port {
    /// `ssl_verify_client on`: answers 400, which is nginx's way to say 495 and 496.
    Demands,
    /// The same, and says 495 and 496 itself.
    DemandsAndSaysSo,
    /// `ssl_verify_client optional`: answers 401.
    Asks,
}

/// A running nginx. It ends when it is dropped.
pub(super) struct Nginx {
    process: Child,
    directory: TempDir,
    ports: [u16; 3],
    /// Who issues the client certificates that it knows.
    issuer: ClientCertificateIssuer,
}

/// A request, as nginx saw it.
#[derive(Debug, Deserialize)]
pub(super) struct Seen {
    pub(super) status: String,
    /// `SUCCESS`, `NONE`, or `FAILED:` and why.
    pub(super) verified: String,
    /// The subject of the client's certificate, such as `CN=client`.
    pub(super) subject: String,
    pub(super) authorization: String,
    pub(super) connection: String,
}

impl Nginx {
    /// Starts it where it is installed. Without it the test is skipped, except where `CI` is `true`.
    pub(super) async fn start() -> Option<Self> {
        let is_there =
            |program: &&str| Command::new(program).arg("-v").stderr(Stdio::null()).status().is_ok();
        let Some(program) = PROGRAMS.into_iter().find(is_there) else {
            let needed = "skipped: needs nginx";
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{needed}");
            println!("{needed}");
            return None;
        };
        // Another process may take a port before nginx does.
        for _ in 0..5 {
            if let Some(nginx) = Self::try_start(program).await {
                return Some(nginx);
            }
        }
        panic!("nginx doesn't start");
    }

    async fn try_start(program: &str) -> Option<Self> {
        let directory = TempDir::new().expect("a temporary directory");
        let issuer = ClientCertificateIssuer::new("Clients of the API", now_unix()).expect("an issuer");
        write(directory.path(), "clients.pem", issuer.pem());
        server_certificate(directory.path());
        let ports = free_ports();
        write(directory.path(), "nginx.conf", configuration(ports));
        let process = Command::new(program)
            .arg("-p")
            .arg(directory.path())
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx starts");
        let mut nginx = Self { process, directory, ports, issuer };
        loop {
            if nginx.process.try_wait().expect("a process").is_some() {
                println!("{}", nginx.read("error.log"));
                return None;
            }
            if ports.iter().all(|port| TcpStream::connect(address(*port)).is_ok()) {
                return Some(nginx);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Where it listens.
    pub(super) fn address(&self, port: Port) -> SocketAddr {
        address(self.ports[port as usize])
    }

    /// The file with the root that its own certificate was issued by.
    pub(super) fn root(&self) -> String {
        self.directory.path().join("server.pem").display().to_string()
    }

    /// A certificate that it takes.
    pub(super) fn issue(&self, request: &CertificateRequest) -> ClientCertificate {
        self.issuer.issue(request).expect("a certificate")
    }

    /// What it saw of this many requests.
    pub(super) async fn seen(&self, requests: usize) -> Vec<Seen> {
        // It writes when a request is over, which its client can see earlier.
        until(|| self.read("access.log").lines().count() >= requests).await;
        let log = self.read("access.log");
        let seen: Vec<_> = log.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
        assert_eq!(seen.len(), requests, "{seen:#?}");
        seen
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn configuration([demands, says_so, asks]: [u16; 3]) -> String {
    let log = r#"'{"status":"$status","verified":"$ssl_client_verify",'
        '"subject":"$ssl_client_s_dn","authorization":"$http_authorization","connection":"$connection"}'"#;
    let answer = r#"'{"verified":"$ssl_client_verify","subject":"$ssl_client_s_dn"}'"#;
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 256; }}
http {{
    log_format seen escape=json {log};
    access_log access.log seen;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    default_type application/json;
    ssl_certificate server.pem;
    ssl_certificate_key server.key;
    ssl_client_certificate clients.pem;
    ssl_session_tickets on;
    server {{
        listen 127.0.0.1:{demands} ssl http2;
        ssl_verify_client on;
        location / {{ return 200 {answer}; }}
    }}
    server {{
        listen 127.0.0.1:{says_so} ssl http2;
        ssl_verify_client on;
        error_page 495 =495 /refused;
        error_page 496 =496 /refused;
        location / {{ return 200 {answer}; }}
        location = /refused {{ internal; return 200 'refused'; }}
    }}
    server {{
        listen 127.0.0.1:{asks} ssl http2;
        ssl_verify_client optional;
        location / {{
            if ($ssl_client_verify != SUCCESS) {{ return 401; }}
            return 200 {answer};
        }}
    }}
}}
"
    )
}

/// A certificate for the server's name, which is its own root.
fn server_certificate(directory: &Path) {
    let key = KeyPair::generate().expect("a key");
    let parameters = CertificateParams::new([HOST.to_owned()]).expect("parameters");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    write(directory, "server.pem", certificate.pem());
    write(directory, "server.key", key.serialize_pem());
}

fn write(directory: &Path, name: &str, content: String) {
    fs::write(directory.join(name), content).expect("a file of nginx");
}

fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind(address(0)).expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("its address").port())
}

fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

pub(super) fn now_unix() -> u64 {
    symbolon::SystemClock.now_unix_ms() / 1000
}
