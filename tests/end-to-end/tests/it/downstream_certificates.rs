//! A certificate in the place of a token: which, and what becomes of it when the API rejects it.

use std::sync::{Arc, Mutex};

use serde_json::json;
use symbolon::{CertificateAction, CertificateEvent, DownstreamApi, DownstreamErrorKind, Error, NotRetried};
use symbolon_authority::{
    Api, ApiBuilder, Ask, CertificateRefusal, CertificateRequest, ClientCertificate, Demand,
};
use symbolon_end_to_end::apis::{API, configure};
use symbolon_end_to_end::{World, engine, engine_with};

fn of_certificates() -> ApiBuilder {
    Api::builder().demand(Demand::Certificate).ask(Ask::Optional)
}

/// An application with certificates in files, and what its observer sees: the event's first letter, and which
/// certificate.
struct Setting {
    world: World,
    api: Api,
    certificates: Vec<ClientCertificate>,
    events: Arc<Mutex<Vec<String>>>,
    calling: DownstreamApi,
}

impl Setting {
    /// `credentials` are files `0.pem`, `1.pem` … by index; what isn't a number is a secret.
    async fn new(builder: ApiBuilder, credentials: &[Option<usize>]) -> Self {
        let world = World::start().await;
        let api = world.api(builder).await;
        let now = world.authority.clock().now_unix();
        let make = |name: usize| {
            CertificateRequest::new(&format!("{name}.contoso.test"), now)
                .self_signed()
                .expect("a certificate")
        };
        let certificates: Vec<_> = (0..3).map(make).collect();
        for (index, certificate) in certificates.iter().enumerate() {
            std::fs::write(world.path(&format!("{index}.pem")), certificate.pem()).expect("a file");
        }
        let entries = credentials.iter().map(|entry| match entry {
            Some(index) => json!({
                "SourceType": "Path", "CertificateDiskPath": world.path(&format!("{index}.pem")),
            }),
            None => json!({ "SourceType": "ClientSecret", "ClientSecret": "local only" }),
        });
        let entries: Vec<_> = entries.collect();
        let events = Arc::new(Mutex::new(Vec::new()));
        let known: Vec<_> = certificates.iter().map(|known| known.certificate().x5t_s256()).collect();
        let seen = events.clone();
        let observer = move |event: &CertificateEvent<'_>| {
            let thumbprint = event.certificate.thumbprint_sha256();
            let index = known.iter().position(|known| known == thumbprint);
            let action = match event.action {
                CertificateAction::Selected => "selected",
                CertificateAction::SuccessfullyUsed => "used",
                CertificateAction::Deselected(_) => "deselected",
                _ => "other",
            };
            seen.lock().expect("the events").push(format!("{action} {}", index.expect("one of ours")));
        };
        let symbolon = engine_with(|builder| builder.certificate_observer(Arc::new(observer)));
        let calling = world
            .application_with(&symbolon, "secret", |settings| {
                settings["AzureAd"]["ClientCredentials"] = entries.into();
                configure(settings, &api, json!({ "ProtocolScheme": "MTLS", "Scopes": null }));
            })
            .downstream_api(API)
            .expect("the API's settings");
        Self { world, api, certificates, events, calling }
    }

    fn accept(&self, index: usize) {
        self.api.accept([self.certificates[index].certificate()]);
    }

    /// The file of the first certificate has this one from now on.
    fn rotate(&self, index: usize) {
        std::fs::write(self.world.path("0.pem"), self.certificates[index].pem()).expect("a file");
    }

    fn events(&self) -> Vec<String> {
        std::mem::take(&mut *self.events.lock().expect("the events"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_certificate_is_presented_whatever_is_before_it() {
    let setting = Setting::new(of_certificates(), &[None, Some(1), Some(0)]).await;
    setting.accept(1);
    for _ in 0..2 {
        assert_eq!(setting.calling.get("a").send().await.expect("an answer").status(), 200);
        assert_eq!(setting.events(), ["selected 1", "used 1"], "on every call");
    }
    assert_eq!(setting.world.authority.log().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_certificate_nothing_is_sent() {
    let setting = Setting::new(of_certificates(), &[None]).await;
    let error = setting.calling.get("a").send().await.expect_err("no certificate");
    assert!(matches!(error, Error::Credential(_)), "{error}");
    assert!(error.to_string().contains("no certificate among the client credentials"), "{error}");
    assert_eq!(setting.api.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_rejects_the_certificate_has_it_read_again() {
    for status in [401, 403, 495, 496] {
        // Files are watched, too: where that was faster, there is nothing to reject.
        let mut tries = 0..10;
        while !is_read_again(status).await {
            assert!(tries.next().is_some(), "{status}: the certificate was never rejected");
        }
    }
}

/// Whether a certificate that was replaced before a call was rejected in it, and read again then.
async fn is_read_again(status: u16) -> bool {
    let setting = Setting::new(of_certificates(), &[Some(0)]).await;
    setting.api.refuse_by(CertificateRefusal::Status(status));
    setting.calling.get("a").send().await.expect("an answer");
    setting.events();
    setting.rotate(1);
    setting.accept(1);
    let response = setting.calling.post("a").body("text").send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    if response.presented().attempts == 1 {
        assert_eq!(setting.events(), ["selected 1", "used 1"]);
        return false;
    }
    assert_eq!(response.presented().attempts, 2);
    assert_eq!(setting.events(), ["selected 0", "deselected 0", "selected 1", "used 1"], "{status}");
    let log = setting.api.log();
    assert_eq!(log[2].body_length, 4, "the body was sent a second time");
    assert_ne!(log[1].connection, log[2].connection, "a new certificate has connections of its own");
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_rejects_the_certificate_too() {
    use CertificateRefusal::{BadCertificate, Expired, Revoked, UnknownAuthority};
    for builder in [of_certificates().tls12(), of_certificates().tls13()] {
        for refusal in [BadCertificate, Expired, Revoked, UnknownAuthority] {
            let setting = Setting::new(builder.clone(), &[Some(0), Some(1)]).await;
            setting.api.refuse_by(refusal);
            setting.accept(1);
            let response = setting.calling.post("a").body("text").send().await.expect("an answer");
            assert_eq!((response.status().as_u16(), response.presented().attempts), (200, 2), "{refusal:?}");
            assert_eq!(setting.events(), ["selected 0", "deselected 0", "selected 1", "used 1"]);
            assert_eq!(setting.api.log()[0].body_length, 4);
        }
        let setting = Setting::new(builder, &[Some(0)]).await;
        setting.api.refuse_by(Revoked);
        setting.accept(1);
        let error = setting.calling.get("a").send().await.expect_err("the alert");
        assert_eq!(error.downstream().expect("about the API").kind, DownstreamErrorKind::TransportFailed);
        let events = setting.events();
        assert_eq!(events, ["selected 0", "deselected 0", "selected 0"], "it is unchanged: {error:?}");
        assert_eq!(setting.api.connections(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_certificate_is_tried_in_the_place_of_a_rejected_one() {
    let setting = Setting::new(of_certificates(), &[Some(0), None, Some(2)]).await;
    setting.accept(2);
    let response = setting.calling.get("a").send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.presented().attempts), (200, 2));
    assert_eq!(setting.events(), ["selected 0", "deselected 0", "selected 2", "used 2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_third_attempt() {
    let setting = Setting::new(of_certificates(), &[Some(0), Some(1), Some(2)]).await;
    setting.accept(2);
    let response = setting.calling.get("a").send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.presented().attempts), (401, 2));
    assert_eq!(setting.events(), ["selected 0", "deselected 0", "selected 1", "deselected 1"]);
    assert_eq!(setting.api.log().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_certificate_is_not_tried_twice() {
    let setting = Setting::new(of_certificates(), &[Some(0)]).await;
    setting.accept(1);
    let response = setting.calling.get("a").send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.presented().attempts), (401, 1));
    assert_eq!(response.not_retried(), Some(&NotRetried::SameCertificate));
    assert_eq!(setting.api.log().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_gone_is_not_sent_again() {
    let setting = Setting::new(of_certificates(), &[Some(0), Some(1)]).await;
    setting.accept(1);
    let response = setting.calling.post("a").body(vec![0; 2 << 20]).send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.not_retried()), (401, Some(&NotRetried::Body)));
    assert_eq!(setting.api.log().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_request_rejects_only_where_that_is_said() {
    let setting = Setting::new(of_certificates(), &[Some(0), Some(1)]).await;
    setting.api.refuse_by(CertificateRefusal::Status(400));
    setting.accept(1);
    let response = setting.calling.get("a").send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.presented().attempts), (400, 1));
    assert_eq!(setting.events(), ["selected 0"]);

    let application = setting.calling.application().expect("an application");
    let mut options = setting.calling.options().clone();
    options.limits.rejected_by_bad_request = true;
    let response = application.downstream_api_with(API, options).get("a").send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.presented().attempts), (200, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_statuses_are_no_events() {
    let setting = Setting::new(of_certificates(), &[Some(0)]).await;
    for status in [302, 404, 429, 500] {
        let response = setting.calling.get(format!("status/{status}")).send().await.expect("an answer");
        assert_eq!((response.status().as_u16(), response.presented().attempts), (status, 1));
        assert_eq!(setting.events(), ["selected 0"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_ask_in_the_handshake_gets_nothing() {
    for scheme in ["MTLS", "MTLS_POP"] {
        for builder in [Api::builder().tls12(), Api::builder().tls13()] {
            let world = World::start().await;
            let api = world.api(builder).await;
            let calling = world.calling(&engine(), "bound", &api, json!({ "ProtocolScheme": scheme }));
            let error = calling.get("a").send().await.expect_err("nobody asks");
            assert_eq!(error.code(), "late-client-auth");
            let error = error.downstream().expect("about the API").clone();
            assert_eq!(error.kind, DownstreamErrorKind::LateClientAuth);
            assert!(!error.transport.expect("of the transport").request_sent());
            assert_eq!(api.log().len(), 0);
        }
    }
}
