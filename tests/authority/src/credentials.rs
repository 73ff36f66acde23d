//! Client certificates to develop and test with: self-signed, or issued by an authority made here.

use std::fmt;

use p12_keystore::{KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{Certificate, StartError, clock::date_time};

/// The kind of a client's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KeyKind {
    /// RSA, 2048 bits: PS256 and RS256.
    #[default]
    Rsa,
    /// P-256: ES256.
    EllipticCurve,
}

/// What a new client certificate says.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    /// The subject's common name.
    pub common_name: String,
    /// Seconds since 1970.
    pub not_before_unix: u64,
    /// Seconds since 1970.
    pub not_after_unix: u64,
    /// RSA when not said otherwise.
    pub key: KeyKind,
}

impl CertificateRequest {
    /// An RSA certificate that is valid from a day before `now_unix` for a year.
    #[must_use]
    pub fn new(common_name: &str, now_unix: u64) -> Self {
        Self {
            common_name: common_name.to_owned(),
            not_before_unix: now_unix.saturating_sub(DAY),
            not_after_unix: now_unix.saturating_add(365 * DAY),
            key: KeyKind::default(),
        }
    }

    /// Another validity, in seconds since 1970.
    #[must_use]
    pub fn valid(mut self, not_before_unix: u64, not_after_unix: u64) -> Self {
        (self.not_before_unix, self.not_after_unix) = (not_before_unix, not_after_unix);
        self
    }

    /// Another kind of key.
    #[must_use]
    pub fn key(mut self, key: KeyKind) -> Self {
        self.key = key;
        self
    }

    /// Makes the key and signs the certificate with it.
    ///
    /// # Errors
    /// When the key can't be made.
    pub fn self_signed(self) -> Result<ClientCertificate, StartError> {
        let key = generate(self.key)?;
        let certificate = self.parameters().self_signed(&key)?;
        ClientCertificate::new(vec![certificate.der().clone()], key)
    }

    /// Signs the certificate with the key of another one: a renewal that keeps the key.
    ///
    /// # Errors
    /// When the key can't be read.
    pub fn renewing(self, other: &ClientCertificate) -> Result<ClientCertificate, StartError> {
        let key = KeyPair::try_from(&other.key())?;
        let certificate = self.parameters().self_signed(&key)?;
        ClientCertificate::new(vec![certificate.der().clone()], key)
    }

    fn parameters(&self) -> CertificateParams {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, &*self.common_name);
        parameters.not_before = date_time(self.not_before_unix);
        parameters.not_after = date_time(self.not_after_unix);
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        parameters.use_authority_key_identifier_extension = true;
        parameters
    }
}

/// A client certificate with its key and chain. `Debug` shows the public half only.
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    leaf: Certificate,
    key: KeyPair,
}

impl ClientCertificate {
    fn new(chain: Vec<CertificateDer<'static>>, key: KeyPair) -> Result<Self, StartError> {
        let der = chain.first().map(|der| &**der).unwrap_or_default();
        let leaf = Certificate::from_der(der).map_err(|error| StartError::Certificate(error.to_string()))?;
        Ok(Self { leaf, chain, key })
    }

    /// The public half of the leaf.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.leaf
    }

    /// Leaf first, then the issuing authority where there is one.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The private key, PKCS#8.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()))
    }

    /// The chain in PEM, leaf first.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.chain.iter().map(|der| pem("CERTIFICATE", der)).collect()
    }

    /// The private key in PEM, PKCS#8.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Private key, then chain: one PEM file as `CertificateDiskPath` takes it.
    #[must_use]
    pub fn pem(&self) -> String {
        self.key_pem() + &self.certificate_pem()
    }

    /// A PFX (PKCS#12) file with key and chain, encrypted with `password`.
    ///
    /// # Errors
    /// When the file can't be built.
    pub fn pfx(&self, password: &str) -> Result<Vec<u8>, StartError> {
        let failed = |error: p12_keystore::error::Error| StartError::Certificate(format!("PFX: {error}"));
        let key = PrivateKey::from_der(&self.key.serialize_der()).map_err(failed)?;
        let chain: Result<Vec<_>, _> =
            self.chain.iter().map(|der| p12_keystore::Certificate::from_der(der)).collect();
        let mut store = KeyStore::new();
        let entry =
            PrivateKeyChain::new(crate::encoding::random::<20>().as_slice(), key, chain.map_err(failed)?);
        store.add_entry("client", KeyStoreEntry::PrivateKeyChain(entry));
        store.writer(password).write().map_err(failed)
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("certificate", &self.leaf).finish_non_exhaustive()
    }
}

/// An authority that issues client certificates, for applications registered by subject name and issuer.
pub struct ClientCertificateIssuer {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl ClientCertificateIssuer {
    /// A new self-signed issuer, valid from a day before `now_unix` for ten years.
    ///
    /// # Errors
    /// When the key can't be made.
    pub fn new(common_name: &str, now_unix: u64) -> Result<Self, StartError> {
        let request = CertificateRequest::new(common_name, now_unix)
            .valid(now_unix.saturating_sub(DAY), now_unix.saturating_add(3650 * DAY));
        let mut parameters = request.parameters();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        parameters.extended_key_usages.clear();
        let key = generate(KeyKind::EllipticCurve)?;
        let certificate = parameters.self_signed(&key)?.der().clone();
        Ok(Self { certificate, issuer: Issuer::new(parameters, key) })
    }

    /// Issues a client certificate.
    ///
    /// # Errors
    /// When the key can't be made.
    pub fn issue(&self, request: &CertificateRequest) -> Result<ClientCertificate, StartError> {
        let key = generate(request.key)?;
        let leaf = request.parameters().signed_by(&key, &self.issuer)?;
        ClientCertificate::new(vec![leaf.der().clone(), self.certificate.clone()], key)
    }

    /// Signs a certificate of these parameters for a key that is not known here.
    pub(crate) fn certify(
        &self,
        parameters: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>, StartError> {
        Ok(parameters.signed_by(key, &self.issuer)?.der().clone())
    }

    /// The issuer's own certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }
}

impl fmt::Debug for ClientCertificateIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificateIssuer").finish_non_exhaustive()
    }
}

fn generate(kind: KeyKind) -> Result<KeyPair, StartError> {
    let algorithm = match kind {
        KeyKind::Rsa => &PKCS_RSA_SHA256,
        KeyKind::EllipticCurve => &PKCS_ECDSA_P256_SHA256,
    };
    Ok(KeyPair::generate_for(algorithm)?)
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = crate::encoding::base64(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for (at, character) in text.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem + &format!("\n-----END {label}-----\n")
}

const DAY: u64 = 24 * 60 * 60;
