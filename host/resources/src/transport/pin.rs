use std::error::Error;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Trusts one server certificate by its SHA-1, whoever issued it and whatever its names and its validity are: the endpoint of
/// Service Fabric has a certificate of its own making, and its environment says which. The server still proves that it
/// has the key.
#[derive(Debug)]
pub(super) struct Pinned {
    /// In hexadecimal.
    thumbprint: String,
    crypto: Arc<CryptoProvider>,
}

impl Pinned {
    pub(super) fn new(thumbprint: &str, crypto: Arc<CryptoProvider>) -> Self {
        Self { thumbprint: thumbprint.to_owned(), crypto }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, end_entity);
        let found: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        match found.eq_ignore_ascii_case(&self.thumbprint) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::Other(OtherError(Arc::new(Unpinned { found }))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.crypto.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.crypto.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.signature_verification_algorithms.supported_schemes()
    }
}

/// The server's certificate is another one.
#[derive(Debug)]
struct Unpinned {
    found: String,
}

impl fmt::Display for Unpinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its SHA-1 thumbprint is {}, and IDENTITY_SERVER_THUMBPRINT says another one", self.found)
    }
}

impl Error for Unpinned {}
