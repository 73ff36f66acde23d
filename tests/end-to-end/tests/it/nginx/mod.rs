//! Certificates are presented to nginx, which checks them: without a token, while they are replaced, and when it doesn't
//! accept them.

mod server;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use symbolon::{DownstreamApi, DownstreamResponse, ManualClock, NotRetried, Settings, Symbolon};
use symbolon_authority::{CertificateRequest, ClientCertificateIssuer};
use symbolon_end_to_end::{engine, engine_with};
use tempfile::TempDir;

use self::server::{HOST, Nginx, Port, now_unix};

/// A certificate that nginx accepts.
fn known(nginx: &Nginx, name: &str) -> String {
    nginx.issue(&CertificateRequest::new(name, now_unix())).pem()
}

/// One of an issuer that nginx doesn't know.
fn unknown(name: &str) -> String {
    let issuer = ClientCertificateIssuer::new("Somebody else", now_unix()).expect("an issuer");
    issuer.issue(&CertificateRequest::new(name, now_unix())).expect("a certificate").pem()
}

/// Certificate files, and an application that has them as credentials, in this order.
struct Caller {
    directory: TempDir,
    api: DownstreamApi,
}

impl Caller {
    fn new(nginx: &Nginx, port: Port, certificates: &[String]) -> Self {
        Self::with(nginx, port, certificates, &engine(), json!({ "ProtocolScheme": "MTLS" }), json!({}))
    }

    fn with(
        nginx: &Nginx,
        port: Port,
        certificates: &[String],
        engine: &Symbolon,
        api: Value,
        limits: Value,
    ) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let credentials = certificates.iter().enumerate().map(|(at, certificate)| {
            let name = format!("{at}.pem");
            write(&directory.path().join(&name), certificate);
            json!({ "SourceType": "Path", "CertificateDiskPath": name })
        });
        let mut settings = json!({
            "AzureAd": {
                "Instance": "https://login.microsoftonline.com/",
                "TenantId": "contoso.com",
                "ClientId": "11111111-2222-3333-4444-555555555555",
                "ClientCredentials": credentials.collect::<Vec<_>>(),
            },
            "DownstreamApis": { "nginx": api },
            "Symbolon": {
                "ConnectTo": { HOST: nginx.address(port).to_string() },
                "TrustedRoots": [nginx.root()],
                "DownstreamApis": { "nginx": limits },
            },
        });
        settings["DownstreamApis"]["nginx"]["BaseUrl"] = format!("https://{HOST}").into();
        let file = directory.path().join("appsettings.json");
        write(&file, &settings.to_string());
        let settings = Settings::from_file(file).expect("settings");
        let application = engine.application(settings.application(None).expect("options"));
        let api = application.expect("an application").downstream_api("nginx").expect("an API");
        Self { directory, api }
    }

    async fn call(&self) -> DownstreamResponse {
        self.api.get("orders").send().await.expect("an answer")
    }

    /// Puts another certificate into the place of the first, in one step.
    fn replace(&self, certificate: &str) {
        let (new, first) = (self.directory.path().join("new.pem"), self.directory.path().join("0.pem"));
        write(&new, certificate);
        std::fs::rename(new, first).expect("the file in its place");
    }
}

fn write(path: &Path, content: &str) {
    std::fs::write(path, content).expect("a file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_without_a_token_is_enough() {
    let Some(nginx) = Nginx::start().await else { return };
    let caller = Caller::new(&nginx, Port::Demands, &[known(&nginx, "client")]);
    for _ in 0..2 {
        let response = caller.call().await;
        assert_eq!(response.status(), 200);
        assert!(response.presented().header.value().is_none());
        let body: Value = response.json().await.expect("JSON");
        assert_eq!(body, json!({ "verified": "SUCCESS", "subject": "CN=client" }));
    }
    let seen = nginx.seen(2).await;
    assert!(seen.iter().all(|seen| seen.verified == "SUCCESS" && seen.authorization.is_empty()), "{seen:#?}");
    assert_eq!(seen[0].connection, seen[1].connection, "the connection is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_presents_none_is_told_401() {
    let Some(nginx) = Nginx::start().await else { return };
    let certificates = [known(&nginx, "client")];
    let nothing = Caller::with(&nginx, Port::Asks, &certificates, &engine(), json!({}), json!({}));
    assert_eq!(nothing.call().await.status(), 401);
    let certificate = Caller::new(&nginx, Port::Asks, &certificates);
    assert_eq!(certificate.call().await.status(), 200);
    let seen = nginx.seen(2).await;
    assert_eq!((&*seen[0].verified, &*seen[1].verified), ("NONE", "SUCCESS"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_replaced_in_the_middle_of_a_run() {
    let Some(nginx) = Nginx::start().await else { return };
    let caller = Arc::new(Caller::new(&nginx, Port::Demands, &[known(&nginx, "old")]));
    // One of them goes on until all have gone over to the new one.
    let run = |caller: Arc<Caller>| async move {
        let mut subjects = Vec::new();
        while subjects.iter().filter(|subject| *subject == "CN=new").count() < 20 {
            let response = caller.call().await;
            assert_eq!(response.status(), 200, "after {} calls", subjects.len());
            let body: Value = response.json().await.expect("JSON");
            subjects.push(body["subject"].as_str().unwrap_or_default().to_owned());
        }
        subjects
    };
    assert_eq!(caller.call().await.status(), 200);
    let runs: Vec<_> = (0..4).map(|_| tokio::spawn(run(caller.clone()))).collect();
    caller.replace(&known(&nginx, "new"));
    let mut calls = 1;
    for run in runs {
        let subjects = tokio::time::timeout(std::time::Duration::from_secs(30), run).await;
        let subjects = subjects.expect("the new certificate is used in time").expect("a run");
        let first_new = subjects.iter().position(|subject| subject == "CN=new").unwrap_or_default();
        assert!(subjects[first_new..].iter().all(|subject| subject == "CN=new"), "{subjects:?}");
        calls += subjects.len();
    }
    let seen = nginx.seen(calls).await;
    assert_eq!(seen[0].subject, "CN=old");
    for request in &seen {
        let same = |other: &&server::Seen| other.connection == request.connection;
        assert!(seen.iter().filter(same).all(|other| other.subject == request.subject), "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_accepted_gives_way_to_the_next() {
    let Some(nginx) = Nginx::start().await else { return };
    let caller = Caller::new(&nginx, Port::DemandsAndSaysSo, &[unknown("wrong"), known(&nginx, "right")]);
    let response = caller.call().await;
    assert_eq!((response.status().as_u16(), response.presented().attempts), (200, 2));
    assert_eq!(caller.call().await.presented().attempts, 1, "it is remembered");
    let seen = nginx.seen(3).await;
    assert_eq!((&*seen[0].status, &*seen[0].subject), ("495", "CN=wrong"));
    assert!(seen[0].verified.starts_with("FAILED:"), "{seen:#?}");
    assert!(seen[1..].iter().all(|seen| seen.subject == "CN=right"), "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_has_expired_gives_way_to_the_next() {
    let Some(nginx) = Nginx::start().await else { return };
    let (now, day) = (now_unix(), 24 * 60 * 60);
    let valid =
        |name, until| nginx.issue(&CertificateRequest::new(name, now).valid(now - 30 * day, until)).pem();
    let certificates = [valid("expired", now - day), valid("valid", now + day)];
    // Whose clock is slow doesn't see it before nginx does.
    let slow = engine_with(|builder| builder.clock(Arc::new(ManualClock::new((now - 2 * day) * 1000))));
    let api = json!({ "ProtocolScheme": "MTLS" });
    let caller = Caller::with(&nginx, Port::DemandsAndSaysSo, &certificates, &slow, api, json!({}));
    let response = caller.call().await;
    assert_eq!((response.status().as_u16(), response.presented().attempts), (200, 2));
    let seen = nginx.seen(2).await;
    assert_eq!(seen[0].verified, "FAILED:certificate has expired");
    assert_eq!(seen[1].subject, "CN=valid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_certificate_is_tried_once() {
    let Some(nginx) = Nginx::start().await else { return };
    let caller = Caller::new(&nginx, Port::DemandsAndSaysSo, &[unknown("wrong")]);
    let response = caller.call().await;
    assert_eq!((response.status().as_u16(), response.presented().attempts), (495, 1));
    assert_eq!(response.not_retried(), Some(&NotRetried::SameCertificate));
    nginx.seen(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_400_of_nginx_counts_where_it_is_configured() {
    let Some(nginx) = Nginx::start().await else { return };
    let certificates = [unknown("wrong"), known(&nginx, "right")];
    let caller = Caller::new(&nginx, Port::Demands, &certificates);
    let response = caller.call().await;
    assert_eq!((response.status().as_u16(), response.presented().attempts), (400, 1));

    let (api, limits) = (json!({ "ProtocolScheme": "MTLS" }), json!({ "RejectedByBadRequest": true }));
    let caller = Caller::with(&nginx, Port::Demands, &certificates, &engine(), api, limits);
    let response = caller.call().await;
    assert_eq!((response.status().as_u16(), response.presented().attempts), (200, 2));
    nginx.seen(3).await;
}
