//! A certificate is presented in its own connections, or nothing is sent.

use std::sync::Arc;

use rustls::HandshakeKind;
use symbolon_resources::clock::SystemClock;
use symbolon_resources::configuration::ApplicationOptions;
use symbolon_resources::credentials::{CredentialDescription, CredentialProvider, SigningBudget};
use symbolon_resources::transport::TransportErrorKind as Kind;

use crate::support::{Application, Authority, Clients, Server, Setup, TLS12_ONLY, TLS13_ONLY, crypto};

const H1: &[&[u8]] = &[b"http/1.1"];
const H2: &[&[u8]] = &[b"h2"];

/// Every combination of TLS version and HTTP version.
fn setups(clients: &Clients) -> Vec<Setup> {
    let mut setups = Vec::new();
    for versions in [TLS12_ONLY, TLS13_ONLY] {
        for alpn in [H1, H2] {
            setups.push(Setup {
                versions,
                alpn: alpn.to_vec(),
                clients: clients.clone(),
                ..Setup::default()
            });
        }
    }
    setups
}

#[tokio::test]
async fn the_server_sees_the_certificate() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    for setup in setups(&Clients::Required(clients.certificate.clone())) {
        let server = Server::start(&authority, setup).await;
        let application = Application::new(&authority, &server);
        let binding = clients.binding("daemon");
        for _ in 0..3 {
            application.get_bound("/", &binding).await.unwrap();
        }
        assert_eq!(server.clients(), [Some(binding.chain()[0].clone())]);
        assert_eq!(server.requests().len(), 3);
    }
}

#[tokio::test]
async fn bound_and_plain_requests_share_no_connection() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    for setup in setups(&Clients::Optional(clients.certificate.clone())) {
        let server = Server::start(&authority, setup).await;
        let application = Application::new(&authority, &server);
        let binding = clients.binding("daemon");
        application.get("/").await.unwrap();
        application.get_bound("/", &binding).await.unwrap();
        application.get("/").await.unwrap();
        assert_eq!(server.clients(), [None, Some(binding.chain()[0].clone())]);
        assert_eq!(application.transport.statistics().pools, 2);
    }
}

#[tokio::test]
async fn a_new_certificate_has_new_connections_and_no_session_of_the_old_one() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    for setup in setups(&Clients::Optional(clients.certificate.clone())) {
        let server = Server::start(&authority, setup).await;
        // Without kept connections every request needs a handshake, which could be a resumption.
        let application =
            Application::with(&authority, &server, |options| options.idle_timeout = Default::default());
        let (old, new) = (clients.binding("daemon"), clients.binding("daemon"));
        for (binding, ended) in [(&old, 1), (&old, 2), (&new, 3), (&old, 4)] {
            application.get_bound("/", binding).await.unwrap();
            server.wait_until_ended(ended).await;
        }
        assert_eq!(server.handshakes(), [HandshakeKind::Full; 4]);
        let seen = |binding: &Arc<symbolon_resources::credentials::Binding>| Some(binding.chain()[0].clone());
        assert_eq!(server.clients(), [seen(&old), seen(&old), seen(&new), seen(&old)]);
        // The control: the server does resume, and sees it, where nothing is presented.
        for ended in [5, 6] {
            application.get("/").await.unwrap();
            server.wait_until_ended(ended).await;
        }
        assert_eq!(server.handshakes().last(), Some(&HandshakeKind::Resumed));
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_holds_leaves_no_connections() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    for setup in setups(&Clients::Required(clients.certificate.clone())) {
        let server = Server::start(&authority, setup).await;
        let application = Application::new(&authority, &server);
        let (old, new) = (clients.binding("daemon"), clients.binding("daemon"));
        application.get_bound("/", &old).await.unwrap();
        application.get_bound("/", &new).await.unwrap();
        assert_eq!(application.transport.statistics().pools, 2);
        drop(old);
        application.get_bound("/", &new).await.unwrap();
        server.wait_until_ended(1).await;
        assert_eq!(application.transport.statistics().pools, 1);
        assert_eq!(server.accepted(), 2);
    }
}

#[tokio::test]
async fn a_server_that_does_not_ask_gets_nothing() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    for setup in setups(&Clients::NotAsked) {
        let server = Server::start(&authority, setup).await;
        let application = Application::new(&authority, &server);
        let error = application.get_bound("/", &clients.binding("daemon")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::ClientCertificateNotRequested);
        assert!(!error.request_sent());
        assert!(
            error.to_string().starts_with("login.example.com: not sent: the server didn't ask"),
            "{error}"
        );
        server.wait_until_ended(1).await;
        assert!(server.requests().is_empty());
    }
}

#[tokio::test]
async fn a_server_that_cannot_check_the_key_gets_nothing() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let mut ed25519_only = rustls::crypto::CryptoProvider::clone(&crypto());
    let algorithms = ed25519_only.signature_verification_algorithms;
    let is_ed25519 =
        |(scheme, _): &&(rustls::SignatureScheme, _)| *scheme == rustls::SignatureScheme::ED25519;
    ed25519_only.signature_verification_algorithms.mapping =
        Vec::leak(algorithms.mapping.iter().filter(is_ed25519).copied().collect());
    let clients_asked = Clients::Optional(clients.certificate.clone());
    let setup = Setup { crypto: Arc::new(ed25519_only), clients: clients_asked, ..Setup::default() };
    let server = Server::start(&authority, setup).await;
    let application = Application::new(&authority, &server);
    let error = application.get_bound("/", &clients.binding("daemon")).await.unwrap_err();
    assert_eq!((error.kind(), error.request_sent()), (Kind::ClientCertificateUnusable, false), "{error}");
    server.wait_until_ended(1).await;
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_refused_certificate_is_told_from_a_broken_connection() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    for setup in setups(&Clients::Required(Authority::new("other clients").certificate)) {
        let server = Server::start(&authority, setup).await;
        let application = Application::new(&authority, &server);
        let error = application.get_bound("/", &clients.binding("daemon")).await.unwrap_err();
        // unknown_ca (RFC 8446 §6.2)
        assert_eq!(
            (error.kind(), error.request_sent()),
            (Kind::ClientCertificateRefused(48), false),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_refuses_a_plain_request() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    for setup in setups(&Clients::Required(clients.certificate.clone())) {
        let is_tls12 = setup.versions == TLS12_ONLY;
        let server = Server::start(&authority, setup).await;
        let error = Application::new(&authority, &server).get("/").await.unwrap_err();
        // certificate_required, or handshake_failure before TLS 1.3 had it (RFC 5246 §7.4.6)
        let expected = if is_tls12 { [40, 116] } else { [116, 116] };
        assert!(expected.iter().any(|code| error.kind() == Kind::TlsAlert(*code)), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_that_was_replaced_leaves_no_connections_though_it_is_held() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    for setup in setups(&Clients::Required(clients.certificate.clone())) {
        let server = Server::start(&authority, setup).await;
        let application = Application::new(&authority, &server);
        let [old, new] = ["old", "new"].map(|name| Arc::into_inner(clients.binding(name)).unwrap());
        let options = ApplicationOptions::builder("app").tenant_id("contoso.com");
        let options = options.credential(CredentialDescription::from_certificate(old)).build().unwrap();
        let provider = CredentialProvider::new(&options, Arc::new(SystemClock));
        let selected = provider.select(&SigningBudget::new()).await.unwrap();
        let old = selected.binding().unwrap();
        application.get_bound("/", old).await.unwrap();
        let new = provider.replace_certificate(0, new).unwrap();
        application.get_bound("/", &new).await.unwrap();
        server.wait_until_ended(1).await;
        // What began with the old one ends with it.
        application.get_bound("/", old).await.unwrap();
        server.wait_until_ended(2).await;
        application.get_bound("/", &new).await.unwrap();
        assert_eq!((application.transport.statistics().pools, server.accepted()), (1, 3));
    }
}
