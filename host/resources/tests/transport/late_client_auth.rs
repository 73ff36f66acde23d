//! A server that asks for a client certificate after the handshake.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rcgen::CertificateParams;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ConnectionTrafficSecrets, ServerConfig};
use symbolon_resources::transport::{ConnectTo, TransportErrorKind as Kind, TransportOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{Application, Authority, TLS13_ONLY, crypto, get};

fn application(authority: &Authority, address: SocketAddr) -> Application {
    let to = address.to_string();
    let connect_to = ConnectTo::parse([("*.example.com", to.as_str())]).unwrap();
    Application::in_environment(
        authority,
        TransportOptions { connect_to, ..TransportOptions::default() },
        &[],
    )
}

/// OpenSSL's server renegotiates when it is told to.
#[tokio::test]
async fn a_renegotiation_is_refused_by_its_name() {
    let authority = Authority::new("servers");
    let (certificate, key) = authority.issue(CertificateParams::new(vec!["*.example.com".into()]).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let PrivateKeyDer::Pkcs8(key) = key else { unreachable!("rcgen writes PKCS#8") };
    let (certificate, key) = (file("cert.der", &certificate), file("key.der", key.secret_pkcs8_der()));
    let child = Command::new("openssl")
        .args([
            "s_server",
            "-accept",
            "127.0.0.1:0",
            "-tls1_2",
            "-certform",
            "DER",
            "-keyform",
            "DER",
            "-cert",
        ])
        .arg(certificate)
        .arg("-key")
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Ended(child);
    let mut input = server.0.stdin.take().unwrap();
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let accepts = lines.find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned)).unwrap();
    let ordered = std::thread::spawn(move || {
        let has_request = lines.any(|line| line.starts_with("GET "));
        input.write_all(b"R\n").and_then(|()| input.flush()).unwrap();
        (has_request, input, lines)
    });
    let error = application(&authority, accepts.parse().unwrap()).send(get("/"), Default::default()).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), Kind::LateClientAuth, "{error}");
    assert!(error.request_sent());
    assert!(ordered.join().unwrap().0);
}

/// No server that keeps to RFC 8446 §4.6.2 asks a client that didn't offer it; this one does.
#[tokio::test]
async fn a_post_handshake_request_is_refused_by_its_name() {
    let authority = Authority::new("servers");
    let (certificate, key) = authority.issue(CertificateParams::new(vec!["*.example.com".into()]).unwrap());
    let mut provider = (*crypto()).clone();
    provider.cipher_suites = vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let builder = ServerConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(TLS13_ONLY).unwrap().with_no_client_auth();
    let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
    config.enable_secret_extraction = true;
    config.send_tls13_tickets = 0;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut tls = TlsAcceptor::from(Arc::new(config)).accept(tcp).await.unwrap();
        assert!(tls.read(&mut [0; 1024]).await.unwrap() > 0, "the request");
        let (mut tcp, connection) = tls.into_inner();
        let secrets = connection.dangerous_extract_secrets().unwrap();
        tcp.write_all(&certificate_request(secrets.tx)).await.unwrap();
        tcp
    });
    let error = application(&authority, address).send(get("/"), Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::LateClientAuth, "{error}");
    assert!(error.request_sent());
    drop(server.await.unwrap());
}

/// A record with the message that asks for a certificate with an ECDSA signature (RFC 8446 §4.3.2 and §5.2).
fn certificate_request((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Vec<u8> {
    let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else { unreachable!("the only suite") };
    const MESSAGE: [u8; 16] = [13, 0, 0, 12, 1, 7, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3];
    const HANDSHAKE: u8 = 22;
    let mut content: Vec<u8> = MESSAGE.into_iter().chain([HANDSHAKE]).collect();
    let length = u8::try_from(content.len() + 16).unwrap();
    let header = [23, 3, 3, 0, length];
    let mut nonce: [u8; 12] = iv.as_ref().try_into().unwrap();
    nonce.iter_mut().skip(4).zip(sequence.to_be_bytes()).for_each(|(byte, number)| *byte ^= number);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.as_ref()).unwrap());
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(header), &mut content).unwrap();
    header.into_iter().chain(content).collect()
}

/// A process that doesn't outlive its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
