use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;

use super::assertion_policy::Refusal;
use super::chain;
use super::component::{ComponentCredential, ComponentProblem};
use super::distinguished_name::DistinguishedName;
use super::error::{CredentialError, EntryFailure, LoadError, Unavailable};
use super::files;
use super::material::{MAX_BYTES, Material};
use super::secret::CertificatePassword;

/// How a JSON Web Signature is made (RFC 7518 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256, salt as long as the digest.
    Ps256,
    /// ECDSA on P-256 with SHA-256; the signature is `r || s`, 64 bytes.
    Es256,
}

impl SignatureAlgorithm {
    /// The value of `alg` in a header (RFC 7518 §3.1).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
        }
    }

    fn scheme(self) -> SignatureScheme {
        match self {
            Self::Rs256 => SignatureScheme::RSA_PKCS1_SHA256,
            Self::Ps256 => SignatureScheme::RSA_PSS_SHA256,
            Self::Es256 => SignatureScheme::ECDSA_NISTP256_SHA256,
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One certificate with its private key, its chain and its generation number.
///
/// What an acquisition holds stays what it was, whatever is replaced meanwhile: assertion, TLS handshake and
/// proof-of-possession key come from one certificate. `Debug` shows subject, thumbprint and generation only.
pub struct Binding {
    certified_key: Arc<CertifiedKey>,
    algorithms: Vec<SignatureAlgorithm>,
    subject: String,
    distinguished_name: DistinguishedName,
    thumbprint_sha256: String,
    thumbprint_sha1: String,
    thumbprint_hex: String,
    not_before_unix: u64,
    not_after_unix: u64,
    generation: u64,
    signs_elsewhere: bool,
    /// The component that has the private key.
    component: Option<Arc<dyn ComponentCredential>>,
    /// Says nothing about the certificate: another one took its place.
    retired: AtomicBool,
}

impl Binding {
    /// Reads a certificate with its private key: PEM (sections in any order; PKCS#8, PKCS#1 or SEC1 key; encrypted
    /// PKCS#8 with the password) or PKCS#12 (PFX).
    ///
    /// # Errors
    ///
    /// [`LoadError`] says what was found and what is accepted. The period of validity isn't looked at here, see
    /// [`Binding::check_validity`].
    pub fn from_bytes(bytes: &[u8], password: Option<&CertificatePassword>) -> Result<Self, LoadError> {
        Self::from_material(Material::parse(bytes, password)?)
    }

    /// Reads such a file. Blocks on the file system.
    ///
    /// # Errors
    ///
    /// As [`Binding::from_bytes`]; the file's path isn't part of the error.
    pub fn from_file(path: &Path, password: Option<&CertificatePassword>) -> Result<Self, LoadError> {
        Self::from_bytes(&files::read(path, MAX_BYTES)?, password)
    }

    /// Reads a certificate and its private key from one or more files together.
    pub(super) fn from_parts<'a>(
        files: impl Iterator<Item = &'a [u8]>,
        password: Option<&CertificatePassword>,
    ) -> Result<Self, LoadError> {
        let mut material = Material::new(Vec::new(), Vec::new());
        for file in files {
            material.append(Material::parse(file, password)?);
        }
        Self::from_material(material)
    }

    /// Takes certificates in any order and the private key of one of them.
    ///
    /// # Errors
    ///
    /// [`LoadError`] when the key belongs to none of the certificates or is of an unsupported kind.
    pub fn from_der(
        certificates: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, LoadError> {
        Self::from_material(Material::new(certificates, vec![key]))
    }

    fn from_material(material: Material) -> Result<Self, LoadError> {
        let (chain, key) = chain::build(material)?;
        Self::new(chain, key)
    }

    /// Takes certificates in any order and the private key of one of them.
    pub(crate) fn from_signing_key(
        certificates: Vec<CertificateDer<'static>>,
        key: Arc<dyn SigningKey>,
    ) -> Result<Self, LoadError> {
        Self::new(chain::of_key(&certificates, key.as_ref())?, key)
    }

    /// The same with a key that is elsewhere.
    #[cfg(feature = "pkcs11")]
    pub(super) fn from_remote_key(
        certificates: Vec<CertificateDer<'static>>,
        key: Arc<dyn SigningKey>,
    ) -> Result<Self, LoadError> {
        let chain = chain::of_key(&certificates, key.as_ref())?;
        Ok(Self { signs_elsewhere: true, ..Self::new(chain, key)? })
    }

    /// The same for a key that a component has, which signs assertions by rules of its own.
    pub(super) fn of_component(
        certificates: Vec<CertificateDer<'static>>,
        key: Arc<dyn SigningKey>,
        component: Arc<dyn ComponentCredential>,
    ) -> Result<Self, LoadError> {
        let chain = chain::of_key(&certificates, key.as_ref())?;
        let algorithms = component.description().algorithms.clone();
        let component = Some(component);
        Ok(Self { algorithms, signs_elsewhere: true, component, ..Self::new(chain, key)? })
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: Arc<dyn SigningKey>) -> Result<Self, LoadError> {
        let leaf = chain.first().ok_or(LoadError::NoCertificate)?;
        let (_, certificate) =
            X509Certificate::from_der(leaf).map_err(|_| LoadError::MalformedCertificate)?;
        let validity = certificate.validity();
        Ok(Self {
            algorithms: algorithms(key.as_ref()),
            subject: certificate.subject().to_string(),
            distinguished_name: DistinguishedName::of(certificate.subject()),
            thumbprint_sha256: thumbprint(&SHA256, leaf),
            thumbprint_sha1: thumbprint(&SHA1_FOR_LEGACY_USE_ONLY, leaf),
            thumbprint_hex: hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, leaf).as_ref()),
            not_before_unix: u64::try_from(validity.not_before.timestamp()).unwrap_or(0),
            not_after_unix: u64::try_from(validity.not_after.timestamp()).unwrap_or(0),
            generation: next_generation(),
            signs_elsewhere: false,
            component: None,
            retired: AtomicBool::new(false),
            certified_key: Arc::new(CertifiedKey::new(chain, key)),
        })
    }

    /// Signs with the private key: `RS256`, `PS256`, or `ES256` as `r || s` (RFC 7518 §3). Takes up to a millisecond
    /// of processor time and does not block on anything else, unless the key [is elsewhere](Self::signs_elsewhere).
    ///
    /// This is the bare operation. What comes from a guest goes through [`super::SelectedCredential`], which checks
    /// what is signed.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Unsupported`] when the key can't make this kind of signature; of a key that is elsewhere also
    /// [`CredentialError::Unavailable`], when it can't be reached.
    pub fn sign(&self, algorithm: SignatureAlgorithm, input: &[u8]) -> Result<Vec<u8>, CredentialError> {
        let failure = |reason| {
            let (place, source) = (self.subject.clone(), "certificate".to_owned());
            EntryFailure { place, source, reason }
        };
        self.try_sign(algorithm, input).map_err(|problem| problem.into_error(failure))
    }

    /// The same with the bare reason of a failure.
    pub(super) fn try_sign(
        &self,
        algorithm: SignatureAlgorithm,
        input: &[u8],
    ) -> Result<Vec<u8>, SigningProblem> {
        let unsupported = || SigningProblem::Final(self.cannot_sign(algorithm));
        if let Some(component) = &self.component {
            if !self.algorithms.contains(&algorithm) {
                return Err(unsupported());
            }
            return component.sign_assertion(algorithm, input).map_err(|error| match error.problem {
                ComponentProblem::Unsupported => {
                    SigningProblem::Final(CredentialError::Unsupported(error.to_string()))
                }
                ComponentProblem::Refused => {
                    tracing::warn!(%error, "signature refused by the component that has the key");
                    SigningProblem::Final(CredentialError::Refused(Refusal::Component))
                }
                _ => SigningProblem::Passing(error.into()),
            });
        }
        let key = &self.certified_key.key;
        let signer = key.choose_scheme(&[algorithm.scheme()]).ok_or_else(unsupported)?;
        let signature = signer.sign(input).map_err(|error| match (self.signs_elsewhere, error) {
            (true, rustls::Error::General(reason)) => SigningProblem::Passing(LoadError::Signature(reason)),
            _ => unsupported(),
        })?;
        match algorithm {
            SignatureAlgorithm::Es256 => fixed_width_p256(&signature).ok_or_else(unsupported),
            SignatureAlgorithm::Rs256 | SignatureAlgorithm::Ps256 => Ok(signature),
        }
    }

    /// Says whether the certificate may be used at a time, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`LoadError::Expired`] or [`LoadError::NotYetValid`].
    pub fn check_validity(&self, now_unix: u64) -> Result<(), LoadError> {
        if now_unix > self.not_after_unix {
            return Err(LoadError::Expired {
                subject: self.subject.clone(),
                not_after_unix: self.not_after_unix,
            });
        }
        if now_unix < self.not_before_unix {
            let subject = self.subject.clone();
            return Err(LoadError::NotYetValid { subject, not_before_unix: self.not_before_unix });
        }
        Ok(())
    }

    /// The certificate and what its file had of the chain above it: leaf first, never empty.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified_key.cert
    }

    /// The certificate's subject, such as `CN=daemon.contoso.com`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// `x5t#S256`: base64url without padding of the SHA-256 of the leaf's DER (RFC 7515 §4.1.8).
    pub fn thumbprint_sha256(&self) -> &str {
        &self.thumbprint_sha256
    }

    /// `x5t`: base64url without padding of the SHA-1 of the leaf's DER (RFC 7515 §4.1.7).
    pub fn thumbprint_sha1(&self) -> &str {
        &self.thumbprint_sha1
    }

    /// The SHA-1 of the leaf's DER as 40 upper-case hexadecimal digits: what .NET and the Windows store call the
    /// thumbprint.
    pub fn thumbprint_hex(&self) -> &str {
        &self.thumbprint_hex
    }

    pub(super) fn distinguished_name(&self) -> &DistinguishedName {
        &self.distinguished_name
    }

    /// The end of the leaf's validity, in seconds since 1970.
    pub fn not_after_unix(&self) -> u64 {
        self.not_after_unix
    }

    /// The beginning of the leaf's validity, in seconds since 1970.
    pub fn not_before_unix(&self) -> u64 {
        self.not_before_unix
    }

    /// A number that no other binding of this process has: one generation, one TLS configuration, one set of
    /// connections.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What [`Binding::sign`] can make. Empty for a key that serves for TLS only (P-384, P-521, Ed25519).
    pub fn algorithms(&self) -> &[SignatureAlgorithm] {
        &self.algorithms
    }

    /// Whether the private key isn't the host's but in a token, or a component's: a signature then takes as long as that
    /// does, and blocks. Otherwise it takes up to a millisecond of processor time.
    pub fn signs_elsewhere(&self) -> bool {
        self.signs_elsewhere
    }

    /// Another one has taken its place: connections that present it are kept no longer, whoever still holds it.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Chain and key for TLS client authentication.
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified_key)
    }

    fn cannot_sign(&self, algorithm: SignatureAlgorithm) -> CredentialError {
        let accepted: Vec<_> = self.algorithms.iter().map(|a| a.as_str()).collect();
        let accepted = match accepted.is_empty() {
            true => "only its use in a TLS handshake".to_owned(),
            false => accepted.join(", "),
        };
        CredentialError::Unsupported(format!(
            "the key of certificate {} can't sign with {algorithm}; accepted: {accepted}",
            self.subject
        ))
    }
}

/// Why there is no signature.
pub(super) enum SigningProblem {
    /// Nothing will change that.
    Final(CredentialError),
    /// What has the key failed.
    Passing(LoadError),
}

impl SigningProblem {
    /// What callers learn, with the entry that failed where that is what happened.
    pub(super) fn into_error(self, failure: impl FnOnce(LoadError) -> EntryFailure) -> CredentialError {
        match self {
            Self::Final(error) => error,
            Self::Passing(reason) => {
                let retry_after = reason.retry_after();
                CredentialError::Unavailable(Unavailable { entries: vec![failure(reason)], retry_after })
            }
        }
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("subject", &self.subject)
            .field("thumbprint_sha256", &self.thumbprint_sha256)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// A number that nothing else has that is loaded in this process.
pub(super) fn next_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// `x5t#S256` and `x5t` of a certificate's DER: base64url without padding of its SHA-256 and SHA-1.
pub fn certificate_thumbprints(der: &[u8]) -> (String, String) {
    (thumbprint(&SHA256, der), thumbprint(&SHA1_FOR_LEGACY_USE_ONLY, der))
}

fn thumbprint(algorithm: &'static Algorithm, der: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest(algorithm, der))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn algorithms(key: &dyn SigningKey) -> Vec<SignatureAlgorithm> {
    [SignatureAlgorithm::Ps256, SignatureAlgorithm::Rs256, SignatureAlgorithm::Es256]
        .into_iter()
        .filter(|algorithm| key.choose_scheme(&[algorithm.scheme()]).is_some())
        .collect()
}

/// Turns `SEQUENCE { INTEGER r, INTEGER s }` (RFC 3279 §2.2.3), which TLS signs with, into `r || s` (RFC 7518 §3.4).
fn fixed_width_p256(der: &[u8]) -> Option<Vec<u8>> {
    const WIDTH: usize = 32;
    let (_, sequence) = x509_parser::asn1_rs::Sequence::from_der(der).ok()?;
    let (rest, r) = x509_parser::asn1_rs::Integer::from_der(&sequence.content).ok()?;
    let (_, s) = x509_parser::asn1_rs::Integer::from_der(rest).ok()?;
    let mut fixed = Vec::with_capacity(2 * WIDTH);
    for integer in [r.as_ref(), s.as_ref()] {
        let first = integer.iter().position(|byte| *byte != 0)?;
        let magnitude = integer.get(first..)?;
        fixed.resize(fixed.len() + WIDTH.checked_sub(magnitude.len())?, 0);
        fixed.extend_from_slice(magnitude);
    }
    Some(fixed)
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    /// `CN=trwalke.onmicrosoft.com`, whose thumbprints the tests of MSAL.NET pin.
    const CERTIFICATE: &str = "\
        MIIDQjCCAiqgAwIBAgIQTuexEO9cdYhC0jy1nmS6jTANBgkqhkiG9w0BAQsFADAiMSAwHgYDVQQDDBd0cndhbGtlLm9ubWljcm9z\
        b2Z0LmNvbTAeFw0xNzA4MTExODEzMTBaFw0xODA4MTExODMzMTBaMCIxIDAeBgNVBAMMF3Ryd2Fsa2Uub25taWNyb3NvZnQuY29t\
        MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA5Qe3Ah/E97K0o288gYUNa0H8FO/w8pb1dvls/boQDoZxUD11TpAQrKZw\
        stS6+ulGF6cHmj44AH8MNBKNUbW2L1NTjFG9bltaSXpJXzbIH/cUppF9rxngZ0CM7cHtuoccBPBVEuQiJ86pD7qlqE2EA2BdBmfz\
        3Hd41rybdaWkHMxMcBC7nh6w87/KoyikKXCMLUUyRTJLSivo+gfKJsiYGAjqZ54aJraP5LMiPG2qYTOZR6wMme93mYRp85sqGTvg\
        zRCq37STH2HmcYilUQ9kZFe5SR+1vOki97XLg+H7FuFtkSMM7dEnTWkDv+BJ1ZQvCEj623cJxXlq0fd7hVUxIQIDAQABo3QwcjAO\
        BgNVHQ8BAf8EBAMCBaAwHQYDVR0lBBYwFAYIKwYBBQUHAwIGCCsGAQUFBwMBMCIGA1UdEQQbMBmCF3Ryd2Fsa2Uub25taWNyb3Nv\
        ZnQuY29tMB0GA1UdDgQWBBSauRo9cNk8J6RTLWMQSyUQnxjQzDANBgkqhkiG9w0BAQsFAAOCAQEAhYl1I8qETtvVt6m/YrGknA90\
        R/FtIePt/ViBae3mxPJWlVoq5fTTriQcuPHXfI5kbjTQJIwCVTT/CRSlKkzRcrSsQUxxHNE7IdpvvDbkf6AMPxQhNACHQd0cIWms\
        mf+ItKsC70LKQ+93+VgmBsv2j8XwF0JTqwuKoqXnDjCzHvmU67xhPY6CSPA/0XOiVTx1BDWd5cPdsH2bZnAeApsvrzU8W7iPgV/o\
        N9MMfogocvDUXd6T+QGLMAYoInHXsqG6+SEarqRDUPQZOHo5Ax4Mvhsnd2b4u5d5Y/R0z0wUwtOiF0Tu+w79JIqDRYaaJLTKxZ+2\
        DyYOu54u0LGsGhki1g==";

    #[test]
    fn thumbprints_are_those_of_msal() {
        let der = BASE64_STANDARD.decode(CERTIFICATE).unwrap();
        assert_eq!(thumbprint(&SHA1_FOR_LEGACY_USE_ONLY, &der), "5wxQ2k6mb5QimllLwRLLS0_ynrQ");
        let in_hex = hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, &der).as_ref());
        assert_eq!(in_hex, "E70C50DA4EA66F94229A594BC112CB4B4FF29EB4");
        assert_eq!(thumbprint(&SHA256, &der), "bmQeK7jALQuzsm3zZhXskUB41iAU0lyzzX2AKJAtiZ8");
    }

    #[test]
    fn short_parts_of_a_signature_are_padded_and_long_ones_refused() {
        let short = [0x30, 0x07, 0x02, 0x01, 0x05, 0x02, 0x02, 0x00, 0x80];
        let fixed = fixed_width_p256(&short).unwrap();
        assert_eq!((fixed.len(), fixed[31], fixed[63]), (64, 5, 0x80));
        assert_eq!(fixed.iter().filter(|byte| **byte != 0).count(), 2);
        let mut long = vec![0x30, 0x26, 0x02, 0x21, 0x01];
        long.extend([0xff; 32]);
        long.extend([0x02, 0x01, 0x01]);
        assert!(fixed_width_p256(&long).is_none());
        assert!(fixed_width_p256(&[0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x01]).is_none());
        assert!(fixed_width_p256(b"").is_none());
    }
}
