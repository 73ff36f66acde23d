//! What listeners with TLS have, and certificates with keys in PEM.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::server::{TLS, TlsSettings};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};

/// Why a listener can't have TLS: by which key, what was found, what is accepted. Holds no key.
pub(super) type Mistake = (&'static str, String, &'static str);

/// Reads the files.
pub(super) fn load(settings: &TlsSettings) -> Result<Arc<ServerConfig>, Mistake> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| mistake(TLS[0], &settings.certificate, error, IDENTITY))?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let roots = Arc::new(roots(file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            let verifier = verifier.map_err(|error| mistake(TLS[2], file, error, CERTIFICATES))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let identity = SingleCertAndKey::from(identity(&settings.certificate, &settings.key)?);
    let mut config = builder.with_cert_resolver(Arc::new(identity));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A session would outlive the certificate that it began with.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// A certificate with its chain, and the private key that belongs to it.
pub(super) fn identity(certificate: &Path, key: &Path) -> Result<CertifiedKey, Mistake> {
    let chain = certificates(TLS[0], certificate)?;
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| mistake(TLS[1], key, error, "a PEM file with a private key without a passphrase"))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider)
        .map_err(|error| mistake(TLS[0], certificate, error, IDENTITY))
}

fn roots(file: &Path) -> Result<RootCertStore, Mistake> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(TLS[2], file)? {
        roots.add(certificate).map_err(|error| mistake(TLS[2], file, error, CERTIFICATES))?;
    }
    Ok(roots)
}

fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Mistake> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(mistake(key, file, "no certificate in it", CERTIFICATES))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(mistake(key, file, error, CERTIFICATES)),
    }
}

fn mistake(key: &'static str, file: &Path, problem: impl fmt::Display, accepted: &'static str) -> Mistake {
    (key, format!("{}, which can't be used ({problem})", file.display()), accepted)
}

const IDENTITY: &str = "a certificate with its chain, and its key";
const CERTIFICATES: &str = "a PEM file with one or more certificates";
