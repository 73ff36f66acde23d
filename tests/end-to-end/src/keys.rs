//! Where the private keys of the sample applications are.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pkcs8::PrivateKeyInfoRef;
use pkcs8::pkcs5::pbes2::Parameters;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};

/// A component that has the keys of an encrypted file.
pub const CREDENTIAL_PROVIDER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/credential-provider.wasm"));
/// A component that has other credentials, or attacks its host: which, its setting `Order` says.
pub const HOSTILE_PROVIDER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hostile-provider.wasm"));
/// The passphrase of the file of keys.
pub const PASSPHRASE: &str = "canary passphrase";

/// Where the private keys of the sample applications are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// In the host, which reads them from files.
    #[default]
    Host,
    /// In a component, which the host runs.
    Component,
    /// In a token of SoftHSM.
    Token,
}

impl Keys {
    /// Changes settings with keys in PEM files so that the keys are here.
    pub(crate) fn place(self, directory: &Path, settings: &mut Value) {
        match self {
            Self::Host => {}
            Self::Component => in_component(directory, settings),
            Self::Token => on_token(directory, settings),
        }
    }
}

/// The token that has the keys.
pub const TOKEN: &str = "daemon";
/// Its PIN.
pub const PIN: &str = "canary-1234";

/// SoftHSM's library, where it is installed.
pub fn softhsm() -> Option<&'static str> {
    // Where distributions put it.
    let places = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm2.so",
        "/usr/lib/pkcs11/libsofthsm2.so",
        "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    ];
    places.into_iter().find(|module| Path::new(module).exists())
}

/// The certificate and the encrypted key of a PEM file that has them in the clear, as the component takes them.
///
/// # Panics
///
/// Where there is no such file.
#[expect(clippy::expect_used, reason = "a test can't go on without it")]
pub fn encrypted(pem: &str) -> String {
    const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
    const END: &str = "-----END PRIVATE KEY-----";
    let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).expect("a private key");
    let info = PrivateKeyInfoRef::try_from(key.secret_pkcs8_der()).expect("PKCS#8");
    let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(2048, b"saltsaltsaltsalt", [7; 16]);
    let key = info.encrypt_with_params(parameters.expect("parameters"), PASSPHRASE).expect("encryption");
    let (before, rest) = pem.split_once(BEGIN).expect("the key's beginning");
    let (_, after) = rest.split_once(END).expect("the key's end");
    let lines = BASE64_STANDARD.encode(key.as_bytes());
    let lines = lines.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n");
    let label = "ENCRYPTED PRIVATE KEY-----";
    format!("{before}-----BEGIN {label}\n{}-----END {label}{after}", lines.collect::<String>())
}

#[expect(clippy::expect_used, reason = "a test can't go on without it")]
fn in_component(directory: &Path, settings: &mut Value) {
    let component = directory.join("credential-provider.wasm");
    std::fs::write(&component, CREDENTIAL_PROVIDER).expect("the component");
    let entries = settings["AzureAd"]["ClientCredentials"].as_array_mut();
    let keys = entries.into_iter().flatten().filter(|entry| entry["CertificateDiskPath"].is_string());
    let mut providers = Map::new();
    for (number, entry) in keys.enumerate() {
        let pem = std::fs::read_to_string(entry["CertificateDiskPath"].as_str().unwrap_or_default());
        let (name, file) = (format!("keys-{number}"), directory.join(format!("keys-{number}.pem")));
        std::fs::write(&file, encrypted(&pem.expect("the sample's key"))).expect("the file of the component");
        let mut placed = json!({
            "SourceType": "CustomSignedAssertion", "CustomSignedAssertionProviderName": name,
        });
        if let Some(bound) = entry.get("UseBoundCredential") {
            placed["UseBoundCredential"] = bound.clone();
        }
        *entry = placed;
        let files = json!({ "keys": file });
        let settings = json!({ "Passphrase": PASSPHRASE });
        let provider = json!({ "Component": component, "Files": files, "Settings": settings });
        providers.insert(name, provider);
    }
    settings["Symbolon"]["CredentialProviders"] = Value::Object(providers);
}

/// Each time under a label of its own, which then names one key.
#[expect(clippy::expect_used, reason = "a test can't go on without it")]
fn on_token(directory: &Path, settings: &mut Value) {
    static IMPORTED: AtomicUsize = AtomicUsize::new(0);
    let entries = settings["AzureAd"]["ClientCredentials"].as_array_mut();
    for entry in entries.into_iter().flatten().filter(|entry| entry["CertificateDiskPath"].is_string()) {
        let number = IMPORTED.fetch_add(1, Ordering::Relaxed);
        let (label, path) =
            (format!("key-{number}"), |end: &str| directory.join(format!("token-{number}.{end}")));
        let pem = std::fs::read_to_string(entry["CertificateDiskPath"].as_str().unwrap_or_default());
        let pem = pem.expect("the sample's key");
        let (before, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----").expect("a private key");
        let (key, after) = rest.split_once("-----END PRIVATE KEY-----").expect("all of it");
        let (certificate, key_file) = (path("crt"), path("key"));
        std::fs::write(&certificate, format!("{before}{after}")).expect("the certificates");
        let key = format!("-----BEGIN PRIVATE KEY-----{key}-----END PRIVATE KEY-----\n");
        std::fs::write(&key_file, key).expect("the key");
        let id = format!("{:02}", number + 1);
        let imported = Command::new("softhsm2-util")
            .args(["--token", TOKEN, "--label", &label, "--id", &id, "--pin", PIN, "--import"])
            .arg(&key_file)
            .output();
        let imported = imported.expect("softhsm2-util");
        assert!(imported.status.success(), "{imported:?}");
        std::fs::remove_file(&key_file).expect("the key is on the token alone");
        let module = softhsm().unwrap_or_default();
        entry["CertificateDiskPath"] = json!(certificate);
        entry["CertificateKeyUri"] =
            format!("pkcs11:token={TOKEN};object={label}?module-path={module}").into();
        entry["CertificatePassword"] = PIN.into();
    }
}
