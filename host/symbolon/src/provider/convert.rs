//! Between the words of the interface and the host's.

use std::time::Duration;

use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use symbolon_resources::credentials::{
    AssertionContext, ComponentDescription, ComponentError, ComponentProblem, CredentialKind, Outcome,
    SignatureAlgorithm,
};
use zeroize::Zeroize;

use super::bindings::exports::symbolon::credentials::{custody, provider};

/// What an instance is given, wiped when it has it.
pub(super) struct Wiped(pub(super) custody::Configuration);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.settings.iter_mut().for_each(|setting| setting.value.zeroize());
        self.0.files.iter_mut().for_each(|file| file.content.zeroize());
        self.0.seed.zeroize();
    }
}

/// What a component writes is cut to one line.
pub(super) fn error(error: provider::Error) -> ComponentError {
    let problem = match error.kind {
        provider::ErrorKind::NotConfigured | provider::ErrorKind::Unavailable => {
            ComponentProblem::Unavailable
        }
        provider::ErrorKind::Unsupported => ComponentProblem::Unsupported,
        provider::ErrorKind::Refused => ComponentProblem::Refused,
    };
    let line = error.message.chars().map(|c| if c.is_control() { ' ' } else { c });
    let converted = ComponentError::new(problem, line.take(MAX_MESSAGE).collect::<String>());
    match error.retry_after_ms {
        Some(pause) => converted.with_retry_after(Duration::from_millis(pause)),
        None => converted,
    }
}

/// What the component says of its credential, as far as the host doesn't go by its own configuration.
pub(super) fn description(
    said: provider::Description,
    schemes: &[custody::SignatureScheme],
) -> Result<ComponentDescription, ComponentError> {
    let description = ComponentDescription::new(match said.kind {
        provider::CredentialKind::ClientSecret => CredentialKind::ClientSecret,
        provider::CredentialKind::Certificate => CredentialKind::Certificate,
        provider::CredentialKind::SignedAssertion => CredentialKind::SignedAssertion,
    });
    let Some(certificate) = said.certificate else {
        return match description.kind {
            CredentialKind::Certificate => {
                let message = "found a credential of the kind certificate without a certificate";
                Err(ComponentError::new(ComponentProblem::Component, message))
            }
            _ => Ok(description),
        };
    };
    let chain = certificate.chain.into_iter().map(CertificateDer::from).collect();
    let algorithms = certificate.algorithms.into_iter().map(|algorithm| match algorithm {
        provider::SignatureAlgorithm::Rs256 => SignatureAlgorithm::Rs256,
        provider::SignatureAlgorithm::Ps256 => SignatureAlgorithm::Ps256,
        provider::SignatureAlgorithm::Es256 => SignatureAlgorithm::Es256,
    });
    let known = |scheme: &custody::SignatureScheme| {
        SCHEMES.iter().find(|(_, said)| said == scheme).map(|(known, _)| *known)
    };
    let schemes = schemes.iter().filter_map(known).collect();
    Ok(description.with_certificate(chain, algorithms.collect(), schemes))
}

pub(super) fn algorithm(
    algorithm: SignatureAlgorithm,
) -> Result<provider::SignatureAlgorithm, ComponentError> {
    match algorithm {
        SignatureAlgorithm::Rs256 => Ok(provider::SignatureAlgorithm::Rs256),
        SignatureAlgorithm::Ps256 => Ok(provider::SignatureAlgorithm::Ps256),
        SignatureAlgorithm::Es256 => Ok(provider::SignatureAlgorithm::Es256),
        _ => Err(unsupported()),
    }
}

pub(super) fn scheme(scheme: SignatureScheme) -> Result<custody::SignatureScheme, ComponentError> {
    let found = SCHEMES.iter().find(|(known, _)| *known == scheme);
    found.map(|(_, said)| *said).ok_or_else(unsupported)
}

pub(super) fn outcome(outcome: Outcome) -> provider::Outcome {
    match outcome {
        Outcome::Rejected => provider::Outcome::Rejected,
        _ => provider::Outcome::Used,
    }
}

pub(super) fn context(context: &AssertionContext) -> provider::AssertionContext {
    provider::AssertionContext {
        client_id: context.client_id.clone(),
        token_endpoint: context.token_endpoint.clone(),
        authority: context.authority.clone(),
        tenant_id: context.tenant_id.clone(),
        fmi_path: context.fmi_path.clone(),
        claims: context.claims.clone(),
        client_capabilities: context.client_capabilities.clone(),
        correlation_id: context.correlation_id.clone().unwrap_or_default(),
    }
}

fn unsupported() -> ComponentError {
    ComponentError::new(ComponentProblem::Unsupported, "the interface has no name for this kind of signature")
}

/// Characters of a component's message.
const MAX_MESSAGE: usize = 400;

/// The names of TLS (RFC 8446 §4.2.3) and those of the interface.
pub(super) const SCHEMES: [(SignatureScheme, custody::SignatureScheme); 10] = [
    (SignatureScheme::RSA_PKCS1_SHA256, custody::SignatureScheme::RsaPkcs1Sha256),
    (SignatureScheme::RSA_PKCS1_SHA384, custody::SignatureScheme::RsaPkcs1Sha384),
    (SignatureScheme::RSA_PKCS1_SHA512, custody::SignatureScheme::RsaPkcs1Sha512),
    (SignatureScheme::ECDSA_NISTP256_SHA256, custody::SignatureScheme::EcdsaSecp256r1Sha256),
    (SignatureScheme::ECDSA_NISTP384_SHA384, custody::SignatureScheme::EcdsaSecp384r1Sha384),
    (SignatureScheme::ECDSA_NISTP521_SHA512, custody::SignatureScheme::EcdsaSecp521r1Sha512),
    (SignatureScheme::RSA_PSS_SHA256, custody::SignatureScheme::RsaPssRsaeSha256),
    (SignatureScheme::RSA_PSS_SHA384, custody::SignatureScheme::RsaPssRsaeSha384),
    (SignatureScheme::RSA_PSS_SHA512, custody::SignatureScheme::RsaPssRsaeSha512),
    (SignatureScheme::ED25519, custody::SignatureScheme::Ed25519),
];
