//! Certificates and keys made on the spot, and the files that people keep them in.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use p12_keystore::{
    Certificate as P12Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKey,
    PrivateKeyChain,
};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256,
    RsaKeySize, date_time_ymd,
};
use tempfile::TempDir;

/// What the authority would know: a certificate, and its key.
pub(crate) struct Identity {
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyPair,
}

impl Identity {
    /// Self-signed, for 1975 to 4096.
    pub(crate) fn new(name: &str, key: KeyPair) -> Self {
        Self::valid(name, key, 1975, 4096)
    }

    pub(crate) fn rsa(name: &str) -> Self {
        Self::new(name, rsa_key())
    }

    /// Self-signed, from the first day of a year to the first day of another.
    pub(crate) fn valid(name: &str, key: KeyPair, from: i32, to: i32) -> Self {
        let mut params = params(name);
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, key }
    }

    /// Key first, as OpenSSL writes it.
    pub(crate) fn pem(&self) -> String {
        self.key.serialize_pem() + &self.certificate.pem()
    }

    pub(crate) fn pkcs12(&self, password: &str) -> Vec<u8> {
        pkcs12(self, password, EncryptionAlgorithm::PbeWithHmacSha256AndAes256, MacAlgorithm::HmacSha256)
    }

    /// As Windows and OpenSSL before 3.0 write it: RC2 and 3DES, SHA-1.
    pub(crate) fn old_pkcs12(&self, password: &str, algorithm: EncryptionAlgorithm) -> Vec<u8> {
        pkcs12(self, password, algorithm, MacAlgorithm::HmacSha1)
    }

    /// Certificate and PKCS#8 key encrypted with PBES2.
    pub(crate) fn encrypted_pem(&self, password: &str) -> String {
        let parameters = pkcs8::pkcs5::pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(
            1000,
            b"saltsaltsaltsalt",
            [7; 16],
        );
        let key = self.key.serialize_der();
        let info = pkcs8::PrivateKeyInfoRef::try_from(key.as_slice()).unwrap();
        let encrypted = info.encrypt_with_params(parameters.unwrap(), password).unwrap();
        self.certificate.pem() + &pem("ENCRYPTED PRIVATE KEY", encrypted.as_bytes())
    }
}

/// A root, an intermediate and a leaf.
pub(crate) struct Chain {
    pub(crate) root: Certificate,
    pub(crate) intermediate: Certificate,
    pub(crate) leaf: Identity,
}

impl Chain {
    pub(crate) fn new() -> Self {
        let (root_key, intermediate_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let (root_params, intermediate_params) = (authority("root"), authority("intermediate"));
        let root = root_params.self_signed(&root_key).unwrap();
        let root_issuer = Issuer::from_params(&root_params, &root_key);
        let intermediate = intermediate_params.signed_by(&intermediate_key, &root_issuer).unwrap();
        let issuer = Issuer::from_params(&intermediate_params, &intermediate_key);
        let key = rsa_key();
        let mut leaf_params = params("leaf");
        leaf_params.use_authority_key_identifier_extension = true;
        let certificate = leaf_params.signed_by(&key, &issuer).unwrap();
        Self { root, intermediate, leaf: Identity { certificate, key } }
    }
}

/// An RSA key of 2048 bits. Making one takes long, so the second test to ask gets a copy.
pub(crate) fn rsa_key() -> KeyPair {
    static KEY: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let key = KEY.get_or_init(|| fresh_rsa_key().serialize_der());
    KeyPair::try_from(key.as_slice()).unwrap()
}

pub(crate) fn fresh_rsa_key() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let body = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A file in a directory of the test's own.
pub(crate) fn write(directory: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.use_authority_key_identifier_extension = true;
    params
}

fn pkcs12(
    identity: &Identity,
    password: &str,
    encryption: EncryptionAlgorithm,
    mac: MacAlgorithm,
) -> Vec<u8> {
    let certificate = P12Certificate::from_der(identity.certificate.der()).unwrap();
    let key = PrivateKey::from_der(&identity.key.serialize_der()).unwrap();
    let mut store = KeyStore::new();
    let chain = PrivateKeyChain::new("1", key, [certificate]);
    store.add_entry("key", KeyStoreEntry::PrivateKeyChain(chain));
    let writer = store.writer(password).encryption_algorithm(encryption).mac_algorithm(mac);
    writer.encryption_iterations(1000).mac_iterations(1000).write().unwrap()
}
