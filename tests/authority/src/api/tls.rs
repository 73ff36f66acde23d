//! The TLS of an API: one host, and client certificates by its rules.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    server::{
        ClientHello, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{ApiBuilder, Ask, CertificateRefusal, Shared};
use crate::{Certificate, StartError};

/// The configuration of an API's connections.
pub(super) fn config(builder: &ApiBuilder, shared: &Arc<Shared>) -> Result<Arc<ServerConfig>, StartError> {
    let key = shared.authority.tls.ca.certified_key(&builder.host)?;
    let crypto = Arc::new(aws_lc_rs::default_provider());
    let config =
        ServerConfig::builder_with_provider(crypto.clone()).with_protocol_versions(builder.versions)?;
    let clients = Clients { crypto, required: builder.ask == Ask::Required, shared: shared.clone() };
    let config = match builder.ask {
        Ask::Never => config.with_no_client_auth(),
        Ask::Optional | Ask::Required => config.with_client_cert_verifier(Arc::new(clients)),
    };
    let mut config = config.with_cert_resolver(Arc::new(Own(key)));
    config.alpn_protocols = match builder.http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl ResolvesServerCert for Own {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

struct Clients {
    crypto: Arc<CryptoProvider>,
    required: bool,
    shared: Arc<Shared>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("required", &self.required).finish_non_exhaustive()
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let certificate =
            Certificate::from_der(end_entity).map_err(|_| Error::from(CertificateError::BadEncoding))?;
        let reason = match self.shared.refusal(&certificate.x5t_s256()) {
            None | Some(CertificateRefusal::Status(_)) => return Ok(ClientCertVerified::assertion()),
            Some(CertificateRefusal::BadCertificate) => CertificateError::BadEncoding,
            Some(CertificateRefusal::Expired) => CertificateError::Expired,
            Some(CertificateRefusal::Revoked) => CertificateError::Revoked,
            Some(CertificateRefusal::UnknownAuthority) => CertificateError::UnknownIssuer,
        };
        Err(Error::InvalidCertificate(reason))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.crypto.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.crypto.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.signature_verification_algorithms.supported_schemes()
    }
}
