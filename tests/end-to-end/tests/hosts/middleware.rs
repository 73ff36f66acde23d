//! The auth middleware on any host: what stands behind it, what it is configured with, and what it must do.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use symbolon_authority::{Api, Endpoint, Fault, FaultRule};
use symbolon_compose::{Absent, Parts, compose};
use symbolon_end_to_end::apis::of_tokens;
use symbolon_end_to_end::guests::component;
use symbolon_end_to_end::keys::{PASSPHRASE, encrypted};
use symbolon_end_to_end::{GRAPH, World};

/// The middleware, joined with everything that it needs. `None` where the compiler can't build it.
pub(crate) fn joined(absent: &[Absent]) -> Option<Vec<u8>> {
    let built = built()?;
    let parts = Parts {
        protocol: &built.protocol,
        application: &built.application,
        host: &built.host,
        credentials: &built.credentials,
        absent: &built.absent,
    };
    Some(compose(&parts, Some(&built.plugin), absent).expect("one component"))
}

struct Built {
    protocol: Vec<u8>,
    application: Vec<u8>,
    host: Vec<u8>,
    credentials: Vec<u8>,
    absent: Vec<u8>,
    plugin: Vec<u8>,
}

fn built() -> Option<&'static Built> {
    static BUILT: OnceLock<Option<Built>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        Some(Built {
            protocol: symbolon::Component.bytes().to_vec(),
            application: component("symbolon-wasi-application")?,
            host: component("symbolon-wasi-host")?,
            credentials: component("symbolon-example-credential-provider")?,
            absent: component("symbolon-wasi-absent")?,
            plugin: component("symbolon-example-auth-middleware")?,
        })
    });
    built.as_ref()
}

/// An authority and an API on the loopback address, both under the name `localhost`.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) api: Api,
}

/// How the client authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    Secret,
    AssertionFile,
    Certificate,
    CertificateText,
}

/// Names and values, as an environment has them.
pub(crate) type Settings = Vec<(String, String)>;

impl Stage {
    pub(crate) async fn start() -> Self {
        let world = World::start_with(|authority| authority.host("localhost")).await;
        let api = world.api(of_tokens().host("localhost")).await;
        Self { world, api }
    }

    /// The configuration of the middleware.
    pub(crate) fn settings(&self, credential: Credential) -> Settings {
        let (sample, entry) = match credential {
            Credential::Secret => ("secret", self.secret()),
            Credential::AssertionFile => ("federated", self.assertion_file()),
            Credential::Certificate => ("certificate", self.certificate()),
            Credential::CertificateText => ("certificate", self.certificate_text()),
        };
        let azure_ad = &self.world.settings(sample)["AzureAd"];
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let entry =
            entry.into_iter().map(|(name, value)| (format!("AzureAd__ClientCredentials__0__{name}"), value));
        let own = [
            ("AzureAd__Instance", format!("https://localhost:{}/", self.world.authority.address().port())),
            ("AzureAd__TenantId", text(&azure_ad["TenantId"])),
            ("AzureAd__ClientId", text(&azure_ad["ClientId"])),
            ("Symbolon__ValidateAuthority", "false".into()),
            ("DownstreamApi__BaseUrl", format!("https://localhost:{}/", self.api.address().port())),
            ("DownstreamApi__Scopes__0", GRAPH.into()),
        ];
        own.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(entry).collect()
    }

    fn entry(&self, sample: &str) -> Value {
        self.world.settings(sample)["AzureAd"]["ClientCredentials"][0].clone()
    }

    fn secret(&self) -> Vec<(&'static str, String)> {
        let secret = self.entry("secret")["ClientSecret"].as_str().expect("the secret").to_owned();
        vec![("SourceType", "ClientSecret".into()), ("ClientSecret", secret)]
    }

    fn assertion_file(&self) -> Vec<(&'static str, String)> {
        let path =
            self.entry("federated")["SignedAssertionFileDiskPath"].as_str().expect("a path").to_owned();
        vec![("SourceType", "SignedAssertionFilePath".into()), ("SignedAssertionFileDiskPath", path)]
    }

    fn encrypted_pem(&self) -> String {
        let entry = self.entry("certificate");
        let pem = std::fs::read_to_string(entry["CertificateDiskPath"].as_str().expect("a path"));
        encrypted(&pem.expect("the sample's key"))
    }

    fn certificate_text(&self) -> Vec<(&'static str, String)> {
        vec![
            ("SourceType", "Base64Encoded".into()),
            ("Base64EncodedValue", BASE64_STANDARD.encode(self.encrypted_pem())),
            ("CertificatePassword", PASSPHRASE.into()),
        ]
    }

    fn certificate(&self) -> Vec<(&'static str, String)> {
        let path = self.world.path("encrypted.pem");
        std::fs::write(&path, self.encrypted_pem()).expect("a file");
        vec![
            ("SourceType", "Path".into()),
            ("CertificateDiskPath", path.display().to_string()),
            ("CertificatePassword", PASSPHRASE.into()),
        ]
    }

    /// How many requests the token endpoint has seen.
    pub(crate) fn token_requests(&self) -> usize {
        self.world.token_requests().len()
    }

    /// Without a token, nothing is forwarded. Waits for a host that listens before it has the component, and answers 404.
    pub(crate) async fn it_fails_closed(&self, front: &str) {
        let fault = self.world.authority.faults().add(
            FaultRule::once(Fault::Refusal {
                code: 7000215,
                error: "invalid_client".into(),
                status: 401,
                message: String::new(),
                suberror: None,
                claims: None,
                retry_after: None,
            })
            .always()
            .endpoint(Endpoint::Token),
        );
        let before = self.api.log().len();
        let mut answer = get(front, "/things").await;
        for _ in 0..200 {
            if answer.status() != 404 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            answer = get(front, "/things").await;
        }
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (502, &b"invalid_client"[..]));
        assert_eq!(self.api.log().len(), before, "nothing may reach the API without a token");
        self.world.authority.faults().remove(fault);
    }

    /// What reaches the API has the application's token in the place of the caller's, and is the caller's otherwise.
    pub(crate) async fn it_forwards(&self, front: &str) {
        let request = Request::get(format!("{front}/things/%2e?x=1%20y"))
            .header("authorization", "Bearer forged")
            .header("x-custom", "kept");
        let answer = send(request.body(Full::default()).expect("a request")).await;
        assert_eq!(answer.status(), 200, "{:?}", answer.body());
        assert_eq!(answer.headers()["x-ms-request-id"], "the-apis-own");
        let seen = self.api.log().pop().expect("a request at the API");
        assert_eq!((seen.path.as_str(), seen.query.as_deref()), ("/things/%2e", Some("x=1%20y")));
        assert_eq!(seen.authorization_scheme.as_deref(), Some("Bearer"));
        assert!(seen.token.is_some(), "a token of the authority");
        assert_eq!(seen.header("x-custom"), Some("kept"));
    }

    /// Bodies go through in both directions, as they are.
    pub(crate) async fn it_passes_bodies_on(&self, front: &str) {
        let body = Bytes::from((0..300_000_u32).map(|number| (number % 251) as u8).collect::<Vec<_>>());
        let request = Request::builder().method(Method::PUT).uri(format!("{front}/echo"));
        let answer = send(request.body(Full::new(body.clone())).expect("a request")).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.into_body() == body, "another body came back");
    }

    /// A claims challenge is answered with a token that has the claims.
    pub(crate) async fn it_answers_challenges(&self, front: &str) {
        self.api.demand_acrs("c1");
        let answer = get(front, "/things").await;
        assert_eq!(answer.status(), 200, "{:?}", answer.body());
        let statuses: Vec<u16> = self.api.log().iter().rev().take(2).map(|seen| seen.status).collect();
        assert_eq!(statuses, [200, 401]);
    }
}

/// A request and its whole answer, without a proxy or TLS.
pub(crate) async fn get(front: &str, path: &str) -> Response<Bytes> {
    send(Request::get(format!("{front}{path}")).body(Full::default()).expect("a request")).await
}

async fn send(request: Request<Full<Bytes>>) -> Response<Bytes> {
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let exchange = async {
        let (head, body) = client.request(request).await.expect("an answer").into_parts();
        Response::from_parts(head, body.collect().await.expect("its body").to_bytes())
    };
    tokio::time::timeout(Duration::from_secs(60), exchange).await.expect("an answer in time")
}

/// A process of another host. It ends with the test.
pub(crate) struct Server(Child);

impl Server {
    /// Starts it and waits until something listens on the port.
    pub(crate) async fn start(command: &mut Command, port: u16) -> Self {
        let mut server = Self(command.process_group(0).spawn().expect("the host starts"));
        for _ in 0..1200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return server;
            }
            assert!(server.0.try_wait().expect("its state").is_none(), "the host ended at once");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the host doesn't listen");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // With the processes that it has started itself. It may have ended; nobody waits for it otherwise.
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.0.wait();
    }
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its number").port()
}
