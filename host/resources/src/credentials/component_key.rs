//! What a component has, in the host's words: its certificates with keys that sign elsewhere, its secrets, its assertions.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;

use super::binding::Binding;
use super::component::{ComponentCredential, ComponentError, ComponentProblem};
use super::error::LoadError;
use super::loaded::Loaded;
use super::selected::CredentialKind;
use super::source::Local;

/// Takes a credential over. A certificate's key has to sign once, to show that it is the certificate's. Blocks.
pub(super) fn load(credential: Arc<dyn ComponentCredential>) -> Result<Loaded, LoadError> {
    let description = credential.description();
    let has_certificate = !description.chain.is_empty();
    let local = match description.kind {
        CredentialKind::Certificate => Local::Certificate(Arc::new(binding(&credential)?)),
        CredentialKind::ClientSecret => Local::Secret(credential.secret()?),
        CredentialKind::SignedAssertion => {
            let binding = has_certificate.then(|| binding(&credential).map(Arc::new)).transpose()?;
            Local::Component(Arc::clone(&credential), binding)
        }
    };
    Ok(Loaded { component: Some(credential), ..Loaded::new(local) })
}

fn binding(credential: &Arc<dyn ComponentCredential>) -> Result<Binding, LoadError> {
    let description = credential.description();
    let leaf = description.chain.first().ok_or(LoadError::NoCertificate)?;
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| LoadError::MalformedCertificate)?;
    if let Some(scheme) = description.schemes.first() {
        prove(credential.as_ref(), *scheme, &certificate)?;
    }
    let key = ComponentKey {
        credential: Arc::clone(credential),
        algorithm: algorithm(description.schemes.first()),
        public_key: certificate.public_key().raw.into(),
    };
    Binding::of_component(description.chain.clone(), Arc::new(key), Arc::clone(credential))
}

/// Has a handshake signed that never took place, and verifies that with the certificate.
fn prove(
    credential: &dyn ComponentCredential,
    scheme: SignatureScheme,
    certificate: &X509Certificate<'_>,
) -> Result<(), LoadError> {
    let message = example_of_handshake(scheme);
    let signature = credential.sign_handshake(scheme, &message)?;
    let key = &certificate.public_key().subject_public_key.data;
    match handshake_verifies(scheme, key, &message, &signature) {
        true => Ok(()),
        false => Err(LoadError::KeyMismatch { subjects: certificate.subject().to_string() }),
    }
}

/// What a client signs in a handshake that never took place, in the version of TLS that has the scheme.
pub fn example_of_handshake(scheme: SignatureScheme) -> Vec<u8> {
    match scheme {
        SignatureScheme::RSA_PKCS1_SHA256
        | SignatureScheme::RSA_PKCS1_SHA384
        | SignatureScheme::RSA_PKCS1_SHA512 => example_of_tls12(),
        _ => example_of_tls13(),
    }
}

/// What a client signs in TLS 1.3 (RFC 8446 §4.4.3), with a digest of nothing.
fn example_of_tls13() -> Vec<u8> {
    [[b' '; 64].as_slice(), b"TLS 1.3, client CertificateVerify\0", &[0; 32]].concat()
}

/// What a client signs in TLS 1.2 (RFC 5246 §7.4.8), after a `ClientHello` with one suite and without extensions.
pub fn example_of_tls12() -> Vec<u8> {
    [[1, 0, 0, 41, 3, 3].as_slice(), &[0; 32], &[0, 0, 2, 0xc0, 0x2f, 1, 0]].concat()
}

/// Whether a certificate's key, as its bit string has it, verifies the signature of a handshake.
pub fn handshake_verifies(scheme: SignatureScheme, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    verification(scheme)
        .is_some_and(|algorithm| UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok())
}

/// How a signature of a handshake is verified.
fn verification(scheme: SignatureScheme) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match scheme {
        SignatureScheme::RSA_PKCS1_SHA256 => &RSA_PKCS1_2048_8192_SHA256,
        SignatureScheme::RSA_PKCS1_SHA384 => &RSA_PKCS1_2048_8192_SHA384,
        SignatureScheme::RSA_PKCS1_SHA512 => &RSA_PKCS1_2048_8192_SHA512,
        SignatureScheme::RSA_PSS_SHA256 => &RSA_PSS_2048_8192_SHA256,
        SignatureScheme::RSA_PSS_SHA384 => &RSA_PSS_2048_8192_SHA384,
        SignatureScheme::RSA_PSS_SHA512 => &RSA_PSS_2048_8192_SHA512,
        SignatureScheme::ECDSA_NISTP256_SHA256 => &ECDSA_P256_SHA256_ASN1,
        SignatureScheme::ECDSA_NISTP384_SHA384 => &ECDSA_P384_SHA384_ASN1,
        SignatureScheme::ECDSA_NISTP521_SHA512 => &ECDSA_P521_SHA512_ASN1,
        SignatureScheme::ED25519 => &ED25519,
        _ => return None,
    })
}

/// A private key that a component has, for handshakes. Signing takes as long as the component does.
struct ComponentKey {
    credential: Arc<dyn ComponentCredential>,
    algorithm: SignatureAlgorithm,
    /// `SubjectPublicKeyInfo` of the certificate that the key belongs to.
    public_key: Vec<u8>,
}

impl SigningKey for ComponentKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let schemes = &self.credential.description().schemes;
        let scheme = schemes.iter().copied().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(ComponentSigner { credential: Arc::clone(&self.credential), scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.public_key.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
}

impl fmt::Debug for ComponentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct ComponentSigner {
    credential: Arc<dyn ComponentCredential>,
    scheme: SignatureScheme,
}

impl Signer for ComponentSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signed = self.credential.sign_handshake(self.scheme, message);
        signed.map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

fn algorithm(scheme: Option<&SignatureScheme>) -> SignatureAlgorithm {
    match scheme {
        Some(SignatureScheme::ED25519) => SignatureAlgorithm::ED25519,
        Some(
            SignatureScheme::ECDSA_NISTP256_SHA256
            | SignatureScheme::ECDSA_NISTP384_SHA384
            | SignatureScheme::ECDSA_NISTP521_SHA512,
        ) => SignatureAlgorithm::ECDSA,
        _ => SignatureAlgorithm::RSA,
    }
}

impl From<ComponentError> for LoadError {
    fn from(error: ComponentError) -> Self {
        Self::Component(error)
    }
}

/// A credential whose description and deeds differ.
pub(super) fn contradiction(message: &str) -> LoadError {
    LoadError::Component(ComponentError::new(ComponentProblem::Component, message))
}
