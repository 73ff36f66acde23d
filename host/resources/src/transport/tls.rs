use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};

use super::error::{TransportError, TransportErrorKind};
use super::pin::Pinned;
use super::roots::Roots;

/// TLS 1.2 or later, HTTP/2 or HTTP/1.1, without a client certificate. `None` when there are no roots to trust.
///
/// A `thumbprint` (SHA-1, in hexadecimal) is trusted in the place of the roots.
///
/// `bound` configurations are for connections that present a certificate. They resume no sessions: a resumed handshake
/// shows no certificate and asks for none, so what the server knows of the client would be what an earlier connection
/// had shown, and whether it asked would not be known. (rustls would not resume either, as each connection has a
/// presenter of its own; that is its reason, not ours to rely on.)
pub(super) fn client_config(
    crypto: &Arc<CryptoProvider>,
    roots: &Roots,
    thumbprint: Option<&str>,
    bound: bool,
) -> Option<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(crypto))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .ok()?;
    let builder = match thumbprint {
        None => builder.with_webpki_verifier(Arc::clone(roots.verifier.as_ref()?)),
        Some(thumbprint) => {
            let pinned = Pinned::new(thumbprint, Arc::clone(crypto));
            builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned))
        }
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec()];
    config.resumption = match bound {
        true => Resumption::disabled(),
        // Eight tickets for each of four authorities; few applications talk to more, and there may be thousands of them.
        false => Resumption::in_memory_sessions(32),
    };
    Some(Arc::new(config))
}

/// Presents one certificate in one handshake, and remembers whether it could.
pub(super) struct Presenter {
    key: Arc<CertifiedKey>,
    outcome: AtomicU8,
}

impl Presenter {
    /// A configuration for one connection, and the presenter that watches it.
    ///
    /// The copy is shallow. A presenter that all connections of a pool shared could not tell in whose handshake it was
    /// asked.
    pub(super) fn of_connection(
        base: &ClientConfig,
        key: &Arc<CertifiedKey>,
    ) -> (Arc<ClientConfig>, Arc<Self>) {
        let presenter = Arc::new(Self { key: Arc::clone(key), outcome: AtomicU8::new(NOT_ASKED) });
        let mut config = base.clone();
        config.client_auth_cert_resolver = Arc::clone(&presenter) as Arc<dyn ResolvesClientCert>;
        (Arc::new(config), presenter)
    }

    /// After the handshake, before the first byte of a request: was the certificate presented?
    pub(super) fn check(&self, authority: &str) -> Result<(), TransportError> {
        let (kind, detail) = match self.outcome.load(Ordering::Acquire) {
            PRESENTED => return Ok(()),
            UNUSABLE => (
                TransportErrorKind::ClientCertificateUnusable,
                "not sent: the server accepts no signature that the client certificate's key can make",
            ),
            _ => (
                TransportErrorKind::ClientCertificateNotRequested,
                "not sent: the server didn't ask for the client certificate that the request must present (is this \
                 the host for mutual TLS, and does a proxy in between end TLS?)",
            ),
        };
        Err(TransportError::new(kind, authority, detail))
    }
}

impl ResolvesClientCert for Presenter {
    /// Answers whatever issuers the server hints at: a request that must present this certificate has no other.
    fn resolve(&self, _issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let usable = self.key.key.choose_scheme(schemes).is_some();
        self.outcome.store(if usable { PRESENTED } else { UNUSABLE }, Ordering::Release);
        usable.then(|| Arc::clone(&self.key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Presenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presenter").finish_non_exhaustive()
    }
}

/// HTTP/2 in ALPN (RFC 9113 §3.1).
pub(super) const HTTP_2: &[u8] = b"h2";

const NOT_ASKED: u8 = 0;
const PRESENTED: u8 = 1;
const UNUSABLE: u8 = 2;
