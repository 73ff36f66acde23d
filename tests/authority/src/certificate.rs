//! Client certificates as the authority sees them: thumbprints, names, times, public key, chain.

use std::fmt;

use aws_lc_rs::{digest, signature};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
use x509_parser::{
    extensions::GeneralName,
    parse_x509_certificate,
    prelude::{X509Certificate, X509Name},
};

use crate::encoding::{base64url, from_base64, from_hex, hex};

/// A certificate's public half, parsed.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: CertificateDer<'static>,
    sha1: [u8; 20],
    sha256: [u8; 32],
    not_before_unix: u64,
    not_after_unix: u64,
    subject: Name,
    issuer: Name,
    dns_names: Vec<String>,
    public_key: Vec<u8>,
    elliptic: bool,
}

/// The certificate could not be read; the text says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an X.509 certificate: {0}")]
pub struct CertificateError(String);

impl Certificate {
    /// Parses DER.
    ///
    /// # Errors
    /// When `der` is not an X.509 certificate with an RSA or P-256 key.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let (rest, parsed) =
            parse_x509_certificate(der).map_err(|error| CertificateError(error.to_string()))?;
        if !rest.is_empty() {
            return Err(CertificateError("bytes follow it".into()));
        }
        Ok(Self {
            der: CertificateDer::from(der.to_vec()),
            sha1: digest_of(&digest::SHA1_FOR_LEGACY_USE_ONLY, der),
            sha256: digest_of(&digest::SHA256, der),
            not_before_unix: parsed.validity().not_before.timestamp().try_into().unwrap_or(0),
            not_after_unix: parsed.validity().not_after.timestamp().try_into().unwrap_or(0),
            subject: Name::new(parsed.subject()),
            issuer: Name::new(parsed.issuer()),
            dns_names: dns_names(&parsed),
            public_key: parsed.public_key().subject_public_key.data.to_vec(),
            elliptic: parsed.public_key().algorithm.algorithm
                == x509_parser::oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY,
        })
    }

    /// Parses the first certificate of a PEM text.
    ///
    /// # Errors
    /// As [`Certificate::from_der`], and when there is no certificate in the text.
    pub fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| CertificateError(error.to_string()))?;
        Self::from_der(&der)
    }

    /// The DER bytes.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// `x5t` (RFC 7515 section 4.1.7): base64url of the DER's SHA-1.
    #[must_use]
    pub fn x5t(&self) -> String {
        base64url(&self.sha1)
    }

    /// `x5t#S256` (RFC 7515 section 4.1.8): base64url of the DER's SHA-256.
    #[must_use]
    pub fn x5t_s256(&self) -> String {
        base64url(&self.sha256)
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn not_before_unix(&self) -> u64 {
        self.not_before_unix
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn not_after_unix(&self) -> u64 {
        self.not_after_unix
    }

    /// The subject, as in `CN=client, O=Contoso`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject.text
    }

    pub(crate) fn is_elliptic(&self) -> bool {
        self.elliptic
    }

    pub(crate) fn sha1_hex(&self) -> String {
        hex(&self.sha1)
    }

    pub(crate) fn is_valid_at(&self, unix: u64) -> bool {
        (self.not_before_unix..=self.not_after_unix).contains(&unix)
    }

    pub(crate) fn has(&self, thumbprint: Thumbprint) -> bool {
        match thumbprint {
            Thumbprint::Sha1(sha1) => self.sha1 == sha1,
            Thumbprint::Sha256(sha256) => self.sha256 == sha256,
        }
    }

    /// Whether `name` is the subject's common name, one of the DNS names, or the whole subject.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.subject.is(name) || self.dns_names.iter().any(|dns| dns.eq_ignore_ascii_case(name))
    }

    /// Whether `name` is the issuer's common name, or the whole issuer.
    pub(crate) fn is_issued_by(&self, name: &str) -> bool {
        self.issuer.is(name)
    }

    /// Whether a chain leads from this certificate through `intermediates` to one of `roots`.
    pub(crate) fn chains_to(
        &self,
        intermediates: &[Certificate],
        roots: &[Certificate],
        now_unix: u64,
    ) -> bool {
        let Ok(leaf) = webpki::EndEntityCert::try_from(&self.der) else { return false };
        let anchors: Vec<_> =
            roots.iter().filter_map(|root| webpki::anchor_from_trusted_cert(&root.der).ok()).collect();
        let intermediates: Vec<_> = intermediates.iter().map(|certificate| certificate.der.clone()).collect();
        leaf.verify_for_usage(
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all,
            &anchors,
            &intermediates,
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(now_unix)),
            webpki::KeyUsage::client_auth(),
            None,
            None,
        )
        .is_ok()
    }

    /// Verifies a JWS signature (RFC 7518 section 3) by `alg`.
    pub(crate) fn verifies(&self, alg: &str, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn signature::VerificationAlgorithm = match (alg, self.elliptic) {
            ("RS256", false) => &signature::RSA_PKCS1_2048_8192_SHA256,
            ("PS256", false) => &signature::RSA_PSS_2048_8192_SHA256,
            ("ES256", true) => &signature::ECDSA_P256_SHA256_FIXED,
            _ => return false,
        };
        signature::UnparsedPublicKey::new(algorithm, &self.public_key).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.subject.text)
            .field("x5t#S256", &self.x5t_s256())
            .finish()
    }
}

/// A certificate's digest, as registrations and assertions name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thumbprint {
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

impl Thumbprint {
    /// Reads hexadecimal digits or base64 of either alphabet; 20 bytes are SHA-1, 32 are SHA-256.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        from_hex(text).and_then(Self::from_bytes).or_else(|| from_base64(text).and_then(Self::from_bytes))
    }

    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        match bytes.len() {
            20 => bytes.try_into().ok().map(Self::Sha1),
            32 => bytes.try_into().ok().map(Self::Sha256),
            _ => None,
        }
    }

    pub(crate) fn hex(&self) -> String {
        match self {
            Self::Sha1(bytes) => hex(bytes),
            Self::Sha256(bytes) => hex(bytes),
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
struct Name {
    text: String,
    common_name: Option<String>,
}

impl Name {
    fn new(name: &X509Name<'_>) -> Self {
        let common_name = name.iter_common_name().next().and_then(|cn| cn.as_str().ok());
        Self { text: name.to_string(), common_name: common_name.map(str::to_owned) }
    }

    fn is(&self, name: &str) -> bool {
        let normal = |text: &str| {
            text.split(',').map(|part| part.trim().to_ascii_lowercase()).collect::<Vec<_>>().join(",")
        };
        self.common_name.as_ref().is_some_and(|cn| cn.eq_ignore_ascii_case(name))
            || normal(&self.text) == normal(name)
    }
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(dns) => Some((*dns).to_owned()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(dns).collect()
}

fn digest_of<const N: usize>(algorithm: &'static digest::Algorithm, bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.iter_mut().zip(digest::digest(algorithm, bytes).as_ref()).for_each(|(to, from)| *to = *from);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprints_in_every_encoding() {
        let sha1 = [0xfb; 20];
        for text in [
            "fbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfbfb",
            "FB:FB:FB:FB:FB:FB:FB:FB:FB:FB:FB:FB:FB:FB:FB:FB:FB:FB:FB:FB",
            "-_v7-_v7-_v7-_v7-_v7-_v7-_s",
            "+/v7+/v7+/v7+/v7+/v7+/v7+/s=",
        ] {
            assert_eq!(Thumbprint::parse(text), Some(Thumbprint::Sha1(sha1)), "{text}");
        }
        assert_eq!(Thumbprint::parse(&base64url(&[1; 32])), Some(Thumbprint::Sha256([1; 32])));
        assert_eq!(Thumbprint::parse("AAAA"), None);
    }
}
