//! TLS: the certificate by the name asked for, the client's certificate at mutual TLS hosts.

use std::{fmt, sync::Arc};

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    server::{
        ClientHello, ResolvesServerCert, ServerSessionMemoryCache,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::{
    Certificate, StartError,
    ca::CertificateAuthority,
    hosts::{Hosts, Service},
    platform,
};

/// How many TLS sessions can be resumed at a time, per kind of host.
const SESSIONS: usize = 4096;

/// One configuration for login hosts and one for mutual TLS hosts: their sessions are apart.
pub(crate) struct Tls {
    pub(crate) ca: Arc<CertificateAuthority>,
    hosts: Arc<Hosts>,
    login: Arc<ServerConfig>,
    mutual: Arc<ServerConfig>,
}

impl Tls {
    /// With `demand`, a handshake without a client certificate fails at mutual TLS hosts.
    pub(crate) fn new(
        ca: Arc<CertificateAuthority>,
        hosts: Arc<Hosts>,
        demand: bool,
    ) -> Result<Self, StartError> {
        let names = Arc::new(Names { ca: ca.clone(), hosts: hosts.clone() });
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            || ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let verifier = Arc::new(AnyClientCertificate { provider: provider.clone(), demand });
        let login = builder()?.with_no_client_auth().with_cert_resolver(names.clone());
        let mutual = builder()?.with_client_cert_verifier(verifier).with_cert_resolver(names);
        Ok(Self { ca, hosts, login: finish(login), mutual: finish(mutual) })
    }

    pub(crate) fn config_for(&self, host: Option<&str>) -> Arc<ServerConfig> {
        match host.and_then(|host| self.hosts.site(host)) {
            Some(site) if site.service == Service::MutualTls => self.mutual.clone(),
            // An unknown name fails in this configuration: no certificate is found for it.
            _ => self.login.clone(),
        }
    }
}

fn finish(mut config: ServerConfig) -> Arc<ServerConfig> {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    Arc::new(config)
}

struct Names {
    ca: Arc<CertificateAuthority>,
    hosts: Arc<Hosts>,
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name()?.to_ascii_lowercase();
        if self.hosts.site(&host).is_none() && platform::vault_name(&host).is_none() {
            return None;
        }
        self.ca.certified_key(&host).ok()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

/// Takes every certificate whose key the client proves to hold. Whether the application may use it is decided
/// with the request, where a refusal can say why.
#[derive(Debug)]
struct AnyClientCertificate {
    provider: Arc<CryptoProvider>,
    demand: bool,
}

impl ClientCertVerifier for AnyClientCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.demand
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
        match Certificate::from_der(end_entity) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(_) => Err(Error::InvalidCertificate(rustls::CertificateError::BadEncoding)),
        }
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
            &self.provider.signature_verification_algorithms,
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
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
