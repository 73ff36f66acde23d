//! Private keys in a token of PKCS#11 sign assertions and answer in handshakes. Needs SoftHSM (`softhsm2` in Debian).

#![cfg(all(feature = "pkcs11", unix))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod certificates;
#[path = "transport/support.rs"]
#[allow(dead_code, reason = "the transport's tests use the rest")]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use certificates::{Identity, fresh_rsa_key, write};
use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData as _};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use support::{Application, Authority, Clients, Server, Setup, TLS12_ONLY, TLS13_ONLY};
use symbolon_resources::clock::SystemClock;
use symbolon_resources::configuration::ApplicationOptions;
use symbolon_resources::credentials::{
    Binding, CredentialError, CredentialProvider, CredentialStatus, SignatureAlgorithm, SigningBudget,
};
use tempfile::TempDir;

const PIN: &str = "canary-1234";

/// Where distributions put the library.
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib/pkcs11/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];

/// The library reads its configuration's place from the environment, once. So each test is a process of its own, with a
/// directory of tokens of its own.
fn in_a_process_with_tokens(name: &str, test: impl FnOnce(&Tokens)) {
    if !MODULES.into_iter().any(|module| Path::new(module).exists()) {
        assert!(std::env::var_os("CI").is_none(), "no SoftHSM (softhsm2 in Debian) at any of {MODULES:?}");
        eprintln!("skipped: needs SoftHSM (softhsm2 in Debian)");
        return;
    }
    if let Some(directory) = std::env::var_os("SYMBOLON_TEST_TOKENS") {
        return test(&Tokens { directory: directory.into() });
    }
    let directory = TempDir::new().unwrap();
    std::fs::create_dir(directory.path().join("tokens")).unwrap();
    let tokens = directory.path().join("tokens").display().to_string();
    let configuration = write(&directory, "softhsm2.conf", format!("directories.tokendir = {tokens}\n"));
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env("SOFTHSM2_CONF", configuration)
        .env("SYMBOLON_TEST_TOKENS", directory.path())
        .status()
        .unwrap();
    assert!(status.success());
}

struct Tokens {
    directory: PathBuf,
}

impl Tokens {
    fn module() -> &'static str {
        let found = MODULES.into_iter().find(|module| Path::new(module).exists());
        found.unwrap_or_else(|| panic!("no SoftHSM (softhsm2 in Debian) at any of {MODULES:?}"))
    }

    fn run(arguments: &[&str]) {
        let output = Command::new("softhsm2-util").args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn initialize(label: &str) {
        Self::run(&["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "5678"]);
    }

    fn import(&self, token: &str, label: &str, id: &str, key_pem: &str) {
        let file = self.directory.join(format!("{label}.key"));
        std::fs::write(&file, key_pem).unwrap();
        let file_name = file.to_str().unwrap();
        Self::run(&["--import", file_name, "--token", token, "--label", label, "--id", id, "--pin", PIN]);
        std::fs::remove_file(file).unwrap();
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn entry(&self, certificate: &str, uri: &str) -> Value {
        json!({
            "SourceType": "Path",
            "CertificateDiskPath": self.file("certificate.pem", certificate),
            "CertificateKeyUri": format!("{uri}?module-path={}", Self::module()),
            "CertificatePassword": PIN,
        })
    }
}

fn provider(entry: Value) -> CredentialProvider {
    let azure_ad = json!({ "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": [entry] });
    let options = ApplicationOptions::from_value(json!({ "AzureAd": azure_ad })).unwrap();
    CredentialProvider::new(&options, Arc::new(SystemClock))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn binding(entry: Value) -> Arc<Binding> {
    let selected = block_on(async move { provider(entry).select(&SigningBudget::new()).await.unwrap() });
    selected.binding().unwrap().clone()
}

fn reason(entry: Value) -> String {
    match block_on(async move { provider(entry).select(&SigningBudget::new()).await.unwrap_err() }) {
        CredentialError::Unavailable(unavailable) => unavailable.entries()[0].reason.to_string(),
        error => panic!("{error}"),
    }
}

fn verify(algorithm: &'static dyn VerificationAlgorithm, key: &KeyPair, signature: &[u8]) {
    UnparsedPublicKey::new(algorithm, key.der_bytes()).verify(b"message", signature).unwrap();
}

#[test]
fn keys_sign_without_leaving_their_token() {
    in_a_process_with_tokens("keys_sign_without_leaving_their_token", |tokens| {
        Tokens::initialize("daemon");
        let rsa = Identity::rsa("rsa");
        let curve = Identity::new("curve", KeyPair::generate().unwrap());
        tokens.import("daemon", "rsa key", "01", &rsa.key.serialize_pem());
        tokens.import("daemon", "curve", "02", &curve.key.serialize_pem());

        let on_token = binding(tokens.entry(&rsa.certificate.pem(), "pkcs11:token=daemon;object=rsa%20key"));
        assert_eq!(on_token.algorithms(), [SignatureAlgorithm::Ps256, SignatureAlgorithm::Rs256]);
        assert!(on_token.signs_elsewhere());
        let sign = |binding: &Binding, algorithm| binding.sign(algorithm, b"message").unwrap();
        verify(&RSA_PSS_2048_8192_SHA256, &rsa.key, &sign(&on_token, SignatureAlgorithm::Ps256));
        verify(&RSA_PKCS1_2048_8192_SHA256, &rsa.key, &sign(&on_token, SignatureAlgorithm::Rs256));

        // The PIN from a file, the certificate that belongs to the key among others.
        let pin = tokens.file("pin", &format!("{PIN}\n"));
        let certificates = rsa.certificate.pem() + &curve.certificate.pem();
        let mut entry = tokens.entry(&certificates, "pkcs11:id=%02");
        let uri = format!("{}&pin-source={}", entry["CertificateKeyUri"].as_str().unwrap(), pin.display());
        entry["CertificateKeyUri"] = json!(uri);
        entry["CertificatePassword"] = Value::Null;
        let on_token = binding(entry);
        assert_eq!((on_token.subject(), on_token.chain().len()), ("CN=curve", 1));
        verify(&ECDSA_P256_SHA256_FIXED, &curve.key, &sign(&on_token, SignatureAlgorithm::Es256));

        // Many at once: a session each.
        let on_token = &on_token;
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(move || {
                    for _ in 0..8 {
                        let signature = sign(on_token, SignatureAlgorithm::Es256);
                        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, on_token_key(on_token))
                            .verify(b"message", &signature)
                            .unwrap();
                    }
                });
            }
        });
    });
}

/// The public key of the certificate.
fn on_token_key(binding: &Binding) -> Vec<u8> {
    let key = binding.certified_key();
    let info = key.key.public_key().unwrap();
    // The point is what ends the structure.
    info.as_ref()[info.as_ref().len() - 65..].to_vec()
}

#[test]
fn a_key_on_a_token_answers_in_handshakes() {
    in_a_process_with_tokens("a_key_on_a_token_answers_in_handshakes", |tokens| {
        Tokens::initialize("daemon");
        let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "daemon");
        let (certificate, key) = clients.issue(params);
        let PrivateKeyDer::Pkcs8(key) = key else { panic!("another kind of key") };
        tokens.import("daemon", "daemon", "01", &certificates::pem("PRIVATE KEY", key.secret_pkcs8_der()));
        let pem = certificates::pem("CERTIFICATE", &certificate);
        let on_token = binding(tokens.entry(&pem, "pkcs11:object=daemon;type=private"));
        block_on(async {
            for versions in [TLS12_ONLY, TLS13_ONLY] {
                let clients = Clients::Required(clients.certificate.clone());
                let server = Server::start(&authority, Setup { versions, clients, ..Setup::default() }).await;
                let application = Application::new(&authority, &server);
                application.get_bound("/", &on_token).await.unwrap();
                assert_eq!(server.clients(), [Some(certificate.clone())]);
            }
        });
    });
}

#[test]
fn what_a_token_can_not_do_says_why() {
    in_a_process_with_tokens("what_a_token_can_not_do_says_why", |tokens| {
        for label in ["one", "other"] {
            Tokens::initialize(label);
        }
        let identity = Identity::rsa("daemon");
        tokens.import("one", "key", "01", &identity.key.serialize_pem());
        tokens.import("one", "twin", "02", &fresh_rsa_key().serialize_pem());
        let pem = identity.certificate.pem();
        let which = "accepted: an object or id that names one, and the PIN if there is one";
        let tokens_that = "accepted: a token or serial that names one";
        for (uri, expected) in [
            ("pkcs11:object=key", format!("PKCS#11: found 2 tokens that fit; {tokens_that}")),
            ("pkcs11:token=third;object=key", format!("PKCS#11: found 0 tokens that fit; {tokens_that}")),
            ("pkcs11:token=one;object=third", format!("PKCS#11: found 0 private keys that fit; {which}")),
            (
                "pkcs11:token=one;object=twin",
                "found a private key that doesn't match the certificate (CN=daemon); accepted: a certificate and its own private key".to_owned(),
            ),
        ] {
            assert_eq!(reason(tokens.entry(&pem, uri)), expected);
        }
        let mut no_pin = tokens.entry(&pem, "pkcs11:token=one;object=key");
        no_pin["CertificatePassword"] = Value::Null;
        assert_eq!(reason(no_pin), format!("PKCS#11: found 0 private keys that fit; {which}"));

        let mut wrong = tokens.entry(&pem, "pkcs11:token=one;object=key");
        wrong["CertificatePassword"] = json!("canary-9999");
        let provider = provider(wrong);
        let error = block_on(provider.select(&SigningBudget::new())).unwrap_err();
        // A token locks itself after some attempts.
        assert_eq!(error.retry_after().map(|pause| pause.as_secs()), Some(600));
        let shown = format!("{error} {error:?} {:?}", provider);
        assert!(
            shown.contains("found a PIN that the token doesn't accept") && !shown.contains("canary"),
            "{shown}"
        );
        assert!(matches!(block_on(provider.check())[0].status, CredentialStatus::Unusable(_)));

        let mut nowhere = tokens.entry(&pem, "pkcs11:object=key");
        nowhere["CertificateKeyUri"] = json!("pkcs11:object=key?module-path=/nonexistent.so");
        let expected =
            "PKCS#11: found no library of PKCS#11 at module-path; accepted: the one of the token's maker";
        assert_eq!(reason(nowhere), expected);
    });
}
