//! The npm package `oidc-provider` as a child process, with keys, clients and ports of its own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, SignatureAlgorithm,
};
use serde_json::{Value, json};
use symbolon::{Application, Settings, Symbolon};
use symbolon_end_to_end::{until, workspace};
use tempfile::TempDir;

use crate::package::installed;

pub(super) const ISSUER: &str = "https://idp.contoso.test";
const MTLS: &str = "https://mtls.idp.contoso.test";
/// Where sign-ins end.
pub(super) const REDIRECT_URI: &str = "https://app.contoso.test/signin-oidc";

/// A running provider. It ends when it is dropped.
pub(super) struct Provider {
    process: Child,
    orders: ChildStdin,
    directory: TempDir,
    told: Arc<Mutex<Vec<Value>>>,
    ports: [u16; 2],
}

impl Provider {
    /// Starts it where it is installed. Without it the test is skipped, except where `CI` is set.
    pub(super) async fn start() -> Option<Self> {
        let modules = installed("oidc-provider/node_modules", "node and the npm package oidc-provider")?;
        let directory = TempDir::new().expect("a temporary directory");
        let settings = settings(directory.path());
        // Packages are looked for beside the script.
        for script in ["server.mjs", "browser.mjs"] {
            let source = workspace("tests/end-to-end/tests/hosts/oidc-provider").join(script);
            fs::copy(source, directory.path().join(script)).expect("a script");
        }
        std::os::unix::fs::symlink(
            fs::canonicalize(modules).expect("packages"),
            directory.path().join("node_modules"),
        )
        .expect("a link");
        let mut process = Command::new("node")
            .arg(directory.path().join("server.mjs"))
            .arg(settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let orders = process.stdin.take().expect("its input");
        let told = Arc::new(Mutex::new(Vec::new()));
        let (output, lines) = (process.stdout.take().expect("its output"), told.clone());
        std::thread::spawn(move || {
            let texts = BufReader::new(output).lines().map_while(Result::ok);
            let values = texts.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
            values.for_each(|value| lines.lock().expect("lines").push(value));
        });
        until(|| told.lock().expect("lines").iter().any(|line: &Value| line["port"].is_u64())).await;
        let first = told.lock().expect("lines").remove(0);
        let port =
            |name: &str| first[name].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        let ports = [port("port"), port("mtls_port")];
        Some(Self { process, orders, directory, told, ports })
    }

    /// The application of one of the clients, with settings changed by `change`.
    pub(super) fn application(
        &self,
        symbolon: &Symbolon,
        client: &str,
        credential: Value,
        change: impl FnOnce(&mut Value),
    ) -> Application {
        let [port, mtls_port] = self.ports.map(|port| format!("127.0.0.1:{port}"));
        let mut settings = json!({
            "AzureAd": { "Authority": ISSUER, "ClientId": client, "ClientCredentials": [credential] },
            "Symbolon": {
                "AuthorityType": "Oidc",
                "AllowedAuthorities": [MTLS],
                "ConnectTo": { "idp.contoso.test": port, "mtls.idp.contoso.test": mtls_port },
                "TrustedRoots": [self.path("ca.pem")],
            },
        });
        change(&mut settings);
        let options = Settings::from_value(settings).application(None).expect("settings");
        symbolon.application(options).expect("an application")
    }

    /// A client's certificate as a credential.
    pub(super) fn certificate(&self, name: &str) -> Value {
        json!({ "SourceType": "Path", "CertificateDiskPath": self.path(&format!("{name}.pem")) })
    }

    /// The fingerprint of a client's certificate, as the provider's log has it.
    pub(super) fn fingerprint(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.fingerprint"))).expect("a fingerprint")
    }

    /// What its token endpoint saw since the last look: so many requests.
    pub(super) async fn seen(&self, requests: usize) -> Vec<Value> {
        // What it tells may come later than its answer.
        until(|| self.told.lock().expect("lines").len() >= requests).await;
        let seen = std::mem::take(&mut *self.told.lock().expect("lines"));
        assert_eq!(seen.len(), requests, "{seen:#?}");
        seen
    }

    /// Says what becomes of the next answer of the token endpoint.
    pub(super) async fn order(&mut self, fault: &str) {
        writeln!(self.orders, "{fault}").expect("it reads orders");
        until(|| self.told.lock().expect("lines").iter().any(|line| line["told"] == fault)).await;
        self.told.lock().expect("lines").retain(|line| line["told"].is_null());
    }

    /// Where the provider sends a user's browser in the end that goes to the URL.
    pub(super) fn visit(&self, url: &str, user: &str) -> url::Url {
        let job = json!({ "url": url, "port": self.ports[0], "ca": self.path("ca.pem"), "user": user });
        let output = Command::new("node").arg(self.path("browser.mjs")).arg(job.to_string()).output();
        let output = output.expect("node starts");
        let target = String::from_utf8_lossy(&output.stdout);
        target.parse().unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The files of a provider and its clients, and its settings.
fn settings(directory: &Path) -> Value {
    let ca = Ca::new("Root");
    let (key, certificate) =
        ca.issue(&["idp.contoso.test", "mtls.idp.contoso.test"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let path = |name: &str| directory.join(name);
    let write = |name: &str, content: String| fs::write(path(name), content).expect("a file");
    write("ca.pem", ca.certificate.pem());
    write("server.key", key.serialize_pem());
    write("server.pem", certificate.pem());
    let clients_ca = Ca::new("Clients");
    write("clients-ca.pem", clients_ca.certificate.pem());
    for (name, algorithm) in [("rsa", &rcgen::PKCS_RSA_SHA256), ("p256", &rcgen::PKCS_ECDSA_P256_SHA256)] {
        let (key, certificate) = clients_ca.issue(&["daemon.contoso.test"], algorithm);
        write_certificate(directory, name, &key, &certificate);
    }
    for name in ["self-signed", "stranger"] {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let parameters = CertificateParams::new([format!("{name}.contoso.test")]).expect("parameters");
        write_certificate(directory, name, &key, &parameters.self_signed(&key).expect("a certificate"));
    }
    let client = |id: &str, method: &str, mut metadata: Value| {
        metadata["client_id"] = id.into();
        metadata["token_endpoint_auth_method"] = method.into();
        if metadata["grant_types"].is_null() {
            metadata["grant_types"] = json!(["client_credentials"]);
            metadata["response_types"] = json!([]);
            metadata["redirect_uris"] = json!([]);
        }
        metadata
    };
    let web_app = json!({
        "certificate": path("rsa.pem"),
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "redirect_uris": [REDIRECT_URI],
    });
    let presents = json!({
        "tls_client_auth_san_dns": "daemon.contoso.test",
        "tls_client_certificate_bound_access_tokens": true,
    });
    let rsa = json!({ "certificate": path("rsa.pem") });
    let p256 = json!({ "certificate": path("p256.pem"), "kid": "configured" });
    let bound = json!({ "certificate": path("rsa.pem"), "tls_client_certificate_bound_access_tokens": true });
    let self_signed = json!({ "certificate": path("self-signed.pem") });
    json!({
        "issuer": ISSUER,
        "mtls": MTLS,
        "key": path("server.key"),
        "certificate": path("server.pem"),
        "clients_ca": path("clients-ca.pem"),
        "clients": [
            client("basic", "client_secret_basic", json!({ "client_secret": super::SECRET })),
            client("post", "client_secret_post", json!({ "client_secret": super::SECRET })),
            client("rsa", "private_key_jwt", rsa),
            client("p256", "private_key_jwt", p256),
            client("bound", "private_key_jwt", bound),
            client("presents", "tls_client_auth", presents),
            client("self-signed", "self_signed_tls_client_auth", self_signed),
            client("web-app", "private_key_jwt", web_app),
        ],
    })
}

fn write_certificate(directory: &Path, name: &str, key: &KeyPair, certificate: &Certificate) {
    let pem = certificate.pem() + &key.serialize_pem();
    fs::write(directory.join(format!("{name}.pem")), pem).expect("a file");
    let digest = <sha2::Sha256 as sha2::Digest>::digest(certificate.der());
    let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    fs::write(directory.join(format!("{name}.fingerprint")), pairs.join(":")).expect("a file");
}

struct Ca {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        Self { certificate, issuer: Issuer::new(parameters, key) }
    }

    fn issue(&self, names: &[&str], algorithm: &'static SignatureAlgorithm) -> (KeyPair, Certificate) {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let parameters = CertificateParams::new(names).expect("parameters");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        (key, certificate)
    }
}
