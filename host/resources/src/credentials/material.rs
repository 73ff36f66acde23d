//! What a certificate file holds, before anything is known to belong together.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error as Pkcs12Error;
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::asn1_rs::{FromDer, Integer, Sequence};
use x509_parser::certificate::X509Certificate;
use zeroize::Zeroizing;

use super::error::LoadError;
use super::secret::CertificatePassword;

/// Certificates and private keys in the order in which they were found. The keys are wiped on drop.
pub(super) struct Material {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) keys: Vec<Zeroizing<PrivateKeyDer<'static>>>,
}

impl Material {
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>, keys: Vec<PrivateKeyDer<'static>>) -> Self {
        Self { certificates, keys: keys.into_iter().map(Zeroizing::new).collect() }
    }

    /// Reads PEM or PKCS#12, whichever it is.
    pub(super) fn parse(bytes: &[u8], password: Option<&CertificatePassword>) -> Result<Self, LoadError> {
        if bytes.len() > MAX_BYTES {
            return Err(LoadError::TooLarge);
        }
        // A byte order mark would hide the first line of a PEM file.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        match bytes.windows(PEM_BEGIN.len()).any(|window| window == PEM_BEGIN) {
            true => Self::from_pem(bytes, password),
            false => Self::from_pkcs12(bytes, password),
        }
    }

    fn from_pem(bytes: &[u8], password: Option<&CertificatePassword>) -> Result<Self, LoadError> {
        let text = std::str::from_utf8(bytes).map_err(|_| LoadError::Damaged("PEM file"))?;
        // OpenSSL's own encryption of PKCS#1 derives the key with one round of MD5. It is a header inside the
        // section, which no PEM reader but OpenSSL's knows.
        if text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(LoadError::UnsupportedEncryption(
                "a private key in OpenSSL's traditional encryption (`openssl pkcs8 -topk8` converts it)",
            ));
        }
        let mut material = Self::new(Vec::new(), Vec::new());
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
            let (kind, der) = section.map_err(|_| LoadError::Damaged("PEM section"))?;
            match kind {
                SectionKind::Certificate => material.certificates.push(der.into()),
                SectionKind::PrivateKey => material.push_key(PrivateKeyDer::Pkcs8(der.into())),
                SectionKind::RsaPrivateKey => material.push_key(PrivateKeyDer::Pkcs1(der.into())),
                SectionKind::EcPrivateKey => material.push_key(PrivateKeyDer::Sec1(der.into())),
                _ => {}
            }
        }
        for section in encrypted_sections(text) {
            material.push_key(decrypt(section, password)?);
        }
        Ok(material)
    }

    fn from_pkcs12(bytes: &[u8], password: Option<&CertificatePassword>) -> Result<Self, LoadError> {
        if !looks_like_pkcs12(bytes) {
            return Err(what_else(bytes));
        }
        let archive = Pkcs12Archive::from_pkcs12(bytes, password.map_or("", CertificatePassword::expose))
            .map_err(|error| pkcs12_error(&error, password.is_some()))?;
        let mut material = Self::new(Vec::new(), Vec::new());
        for bag in &archive.certs {
            material.certificates.push(bag.cert.as_der().to_vec().into());
        }
        for bag in &archive.keys {
            material.push_key(PrivateKeyDer::Pkcs8(bag.key.as_der().to_vec().into()));
        }
        Ok(material)
    }

    /// Adds what another file holds.
    pub(super) fn append(&mut self, other: Self) {
        self.certificates.extend(other.certificates);
        self.keys.extend(other.keys);
    }

    fn push_key(&mut self, key: PrivateKeyDer<'static>) {
        self.keys.push(Zeroizing::new(key));
    }
}

/// The base64 of each `ENCRYPTED PRIVATE KEY` section (RFC 7468 §11), which the PEM reader passes over.
fn encrypted_sections(text: &str) -> impl Iterator<Item = &str> {
    text.split("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        .skip(1)
        .map(|tail| tail.split("-----END").next().unwrap_or_default())
}

fn decrypt(
    section: &str,
    password: Option<&CertificatePassword>,
) -> Result<PrivateKeyDer<'static>, LoadError> {
    const WHAT: &str = "a private key";
    let base64: String = section.split_ascii_whitespace().collect();
    let der = BASE64_STANDARD.decode(base64).map_err(|_| LoadError::Damaged("PEM section"))?;
    let info = EncryptedPrivateKeyInfoRef::try_from(der.as_slice()).map_err(|_| {
        // The parser knows PBES2 only. What is well-formed beside it is an older scheme.
        match Sequence::from_der(&der) {
            Ok((b"", _)) => UNSUPPORTED_PKCS8,
            _ => LoadError::Damaged("encrypted private key"),
        }
    })?;
    let password = password.ok_or(LoadError::PasswordRequired(WHAT))?;
    match info.decrypt(password.expose()) {
        Ok(plain) => Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(plain.as_bytes().to_vec()))),
        Err(pkcs8::Error::EncryptedPrivateKey(
            pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. } | pkcs8::pkcs5::Error::NoPbes1CryptSupport,
        )) => Err(UNSUPPORTED_PKCS8),
        Err(_) => Err(LoadError::WrongPassword(WHAT)),
    }
}

/// `SEQUENCE { INTEGER 3, … }` (RFC 7292 §4).
fn looks_like_pkcs12(bytes: &[u8]) -> bool {
    Sequence::from_der(bytes)
        .ok()
        .and_then(|(_, pfx)| Integer::from_der(&pfx.content).ok().map(|(_, version)| version.as_ref() == [3]))
        .unwrap_or(false)
}

/// Names what people most often give in place of a PKCS#12 file.
fn what_else(bytes: &[u8]) -> LoadError {
    if X509Certificate::from_der(bytes).is_ok() {
        return LoadError::NoPrivateKey;
    }
    match PrivateKeyDer::try_from(bytes).map(|key| any_supported_type(&key)) {
        Ok(Ok(_)) => LoadError::NoCertificate,
        _ => LoadError::Unrecognized,
    }
}

fn pkcs12_error(error: &Pkcs12Error, with_password: bool) -> LoadError {
    const WHAT: &str = "a PKCS#12 file";
    match error {
        // Without a MAC, a wrong password shows only as padding that makes no sense.
        Pkcs12Error::MacError(_) | Pkcs12Error::UnpadError | Pkcs12Error::Pkcs5Error(_) => {
            match with_password {
                true => LoadError::WrongPassword(WHAT),
                false => LoadError::PasswordRequired(WHAT),
            }
        }
        Pkcs12Error::UnsupportedEncryptionScheme => {
            LoadError::UnsupportedEncryption("a PKCS#12 file with an unusual encryption")
        }
        Pkcs12Error::UnsupportedMacAlgorithm => {
            LoadError::UnsupportedEncryption("a PKCS#12 file with an unusual MAC")
        }
        _ => LoadError::Damaged("PKCS#12 file"),
    }
}

const PEM_BEGIN: &[u8] = b"-----BEGIN ";

/// Certificate files are a few kB; a limit keeps a wrong path (a disk image, a device) from filling the memory.
pub(super) const MAX_BYTES: usize = 1 << 20;

const UNSUPPORTED_PKCS8: LoadError =
    LoadError::UnsupportedEncryption("a private key with an encryption other than PBES2");
