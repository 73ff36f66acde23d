//! Where it is reached, and by whom.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;

use crate::server::{HEADER, Server, configuration, get, refused, try_get};
use crate::site::Site;

#[test]
fn a_program_of_the_machine_gets_a_header() {
    let site = Site::start();
    let server = Server::start(&configuration(&site, |_| {}));
    let answer = server.get(HEADER);
    assert!(answer.token().split('.').count() == 3);
    assert_eq!(answer.header("cache-control"), Some("no-cache, no-store, must-revalidate"));
    assert_eq!(server.get("/healthz").body, "Healthy");
    assert_eq!(server.get("/nothing").status, 404);
    server.stop();
}

#[test]
fn it_listens_where_the_configuration_says_and_the_environment_overrides() {
    let site = Site::start();
    let config = configuration(&site, |settings| {
        settings["Symbolon"]["Sidecar"]["Listen"] = json!(["127.0.0.1:0", "unix:serve.sock"]);
        settings["DownstreamApis"]["api"]["Scopes"] = json!(["api://nobody/.default"]);
    });
    let server = Server::start_with(&config, |command| {
        command.env("DownstreamApis__api__Scopes__0", crate::site::SCOPE);
    });
    let socket = site.path("serve.sock");
    assert_eq!(server.addresses[1], format!("unix:{}", socket.display()));
    assert_eq!(server.get(HEADER).status, 200);
    assert_eq!(get(UnixStream::connect(&socket).unwrap(), HEADER).status, 200);
    server.stop();
}

#[test]
fn other_machines_are_not_listened_to_without_their_certificates() {
    let site = Site::start();
    let config = configuration(&site, |_| {});
    for (address, expected) in [
        ("0.0.0.0:0", "other machines can reach without TLS; accepted: a loopback address"),
        ("tls:127.0.0.1:0", "no section Symbolon:Sidecar:Tls"),
        ("localhost:5000", "accepted: ADDR:PORT with a loopback address"),
    ] {
        let text = refused(&config, &["--listen", address]);
        assert!(
            text.contains(&format!("--listen: found \"{address}\"")) && text.contains(expected),
            "{text}"
        );
    }
    let taken = TcpStream::connect(site.authority.address()).unwrap().peer_addr().unwrap().to_string();
    let text = refused(&config, &["--listen", &taken]);
    assert!(text.contains(&format!("can't listen on {taken}")), "{text}");

    let config = configuration(&site, |settings| {
        settings["Symbolon"]["Sidecar"]["Listen"] = json!(["192.0.2.1:1"]);
    });
    let text = refused(&config, &[]);
    assert!(text.contains("Symbolon:Sidecar:Listen:0: found \"192.0.2.1:1\""), "{text}");
}

#[test]
fn a_socket_of_the_file_system_is_its_users_own() {
    let site = Site::start();
    let socket = site.path("own.sock");
    let address = format!("unix:{}", socket.display());
    let config = configuration(&site, |_| {});
    let listen = |command: &mut std::process::Command| {
        command.args(["--listen", &address]);
    };
    // What a process left that was killed.
    drop(UnixListener::bind(&socket).unwrap());
    let server = Server::start_with(&config, listen);
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(get(UnixStream::connect(&socket).unwrap(), HEADER).status, 200);

    let text = refused(&config, &["--listen", &address]);
    assert!(text.contains("another process listens there"));
    server.stop();
    assert!(!socket.exists(), "it is removed at the end");

    fs::write(&socket, "a file").unwrap();
    let text = refused(&config, &["--listen", &address]);
    assert!(text.contains("something else than a socket"));
    assert_eq!(fs::read_to_string(&socket).unwrap(), "a file");
    fs::remove_file(&socket).unwrap();

    let config = configuration(&site, |settings| {
        settings["Symbolon"]["Sidecar"]["AllowedUids"] = json!([4_000_000]);
    });
    let server = Server::start_with(&config, listen);
    assert!(try_get(UnixStream::connect(&socket).unwrap(), HEADER).is_none(), "this user may not");
    assert!(server.stop().contains("a user who may not connect"));
}

/// Certificates of an authority for callers and of the listener.
struct Certificates {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    fn new(directory: &Path) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(directory.join("callers.pem"), issuer.pem()).unwrap();
        let certificates = Self { issuer };
        certificates.write_server(directory, "localhost");
        fs::write(directory.join("caller.pem"), certificates.pem("caller")).unwrap();
        certificates
    }

    fn pem(&self, name: &str) -> String {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.signed_by(&key, &self.issuer).unwrap().pem() + &key.serialize_pem()
    }

    fn write_server(&self, directory: &Path, name: &str) {
        let next = directory.join("listener.next");
        fs::write(&next, self.pem(name)).unwrap();
        fs::rename(next, directory.join("listener.pem")).unwrap();
    }

    fn connect(
        &self,
        server: &Server,
        caller: Option<&Path>,
        name: &str,
    ) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_root_certificates(roots);
        let config = match caller {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let chain = vec![CertificateDer::from_pem_file(file).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(file).unwrap()).unwrap()
            }
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), server.connect())
    }
}

#[test]
fn with_tls_callers_are_let_in_by_their_certificates() {
    let site = Site::start();
    let certificates = Certificates::new(&site.path(""));
    let config = configuration(&site, |settings| {
        settings["Symbolon"]["Sidecar"] = json!({
            "Listen": "tls:0.0.0.0:0",
            "Tls": { "CertificateDiskPath": "listener.pem", "ClientCaDiskPath": "callers.pem" },
        });
    });
    let mut server = Server::start_with(&config, |_| {});
    server.addresses[0] = server.addresses[0].replace("0.0.0.0", "127.0.0.1");
    let caller = site.path("caller.pem");
    assert_eq!(get(certificates.connect(&server, Some(&caller), "localhost"), HEADER).status, 200);
    assert!(try_get(certificates.connect(&server, None, "localhost"), "/healthz").is_none());
    let foreign = Certificates::new(tempfile::tempdir().unwrap().path());
    fs::write(site.path("foreign.pem"), foreign.pem("caller")).unwrap();
    let caller_of_others = site.path("foreign.pem");
    assert!(
        try_get(certificates.connect(&server, Some(&caller_of_others), "localhost"), "/healthz").is_none()
    );

    // Another certificate of its own, while it serves.
    certificates.write_server(&site.path(""), "renewed.test");
    server.until("renewed", |server| {
        try_get(certificates.connect(server, Some(&caller), "renewed.test"), HEADER)
            .is_some_and(|answer| answer.status == 200)
    });
    server.stop();
}

#[test]
fn files_for_tls_that_cannot_be_used_are_named() {
    let site = Site::start();
    Certificates::new(&site.path(""));
    fs::write(site.path("empty.pem"), "").unwrap();
    let error = |tls: serde_json::Value| {
        let config = configuration(&site, |settings| {
            settings["Symbolon"]["Sidecar"] = json!({ "Listen": "tls:127.0.0.1:0", "Tls": tls });
        });
        refused(&config, &[])
    };
    for (tls, expected) in [
        (json!({}), "Tls: found no CertificateDiskPath"),
        (json!({ "CertificateDiskPath": "none.pem" }), "Tls:CertificateDiskPath: found "),
        (json!({ "CertificateDiskPath": "empty.pem" }), "(no certificate in it)"),
        (json!({ "CertificateDiskPath": "listener.pem", "CertificateKeyDiskPath": "caller.pem" }), "Tls:"),
        (
            json!({ "CertificateDiskPath": "listener.pem", "ClientCaDiskPath": "empty.pem" }),
            "Tls:ClientCaDiskPath",
        ),
        (json!({ "CertificateDiskPath": "listener.pem", "ClientCA": "callers.pem" }), "an unknown key"),
    ] {
        let text = error(tls.clone());
        assert!(text.contains(expected) && text.contains("accepted: "), "{tls}: {text}");
    }
}
