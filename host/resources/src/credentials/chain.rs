//! Which certificate a key belongs to, and what leads up from it.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::CertificateDer;
use rustls::sign::SigningKey;
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::public_key::PublicKey;

use super::error::LoadError;
use super::material::Material;

/// Finds the certificate of the key, checks the key's size, and puts the chain in order: leaf first, then issuer after
/// issuer as far as there are any. Certificates that aren't above the leaf are left out.
pub(super) fn build(
    material: Material,
) -> Result<(Vec<CertificateDer<'static>>, Arc<dyn SigningKey>), LoadError> {
    let ders = material.certificates;
    let mut certificates = Vec::with_capacity(ders.len());
    for der in &ders {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| LoadError::MalformedCertificate)?;
        certificates.push(certificate);
    }
    if material.keys.is_empty() {
        return Err(if certificates.is_empty() { LoadError::Unrecognized } else { LoadError::NoPrivateKey });
    }
    if certificates.is_empty() {
        return Err(LoadError::NoCertificate);
    }
    let mut matched = None;
    for der in &material.keys {
        let key = any_supported_type(der).map_err(|_| unsupported_key(&certificates))?;
        if let Some(leaf) = certificate_of(key.as_ref(), &certificates) {
            matched = Some((leaf, key));
            break;
        }
    }
    let (leaf, key) = matched.ok_or_else(|| LoadError::KeyMismatch { subjects: subjects(&certificates) })?;
    Ok((checked(leaf, &certificates)?, key))
}

/// The same for a key that is elsewhere.
pub(super) fn of_key(
    ders: &[CertificateDer<'static>],
    key: &dyn SigningKey,
) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let parsed = ders.iter().map(|der| X509Certificate::from_der(der).map(|(_, certificate)| certificate));
    let certificates: Vec<_> =
        parsed.collect::<Result<_, _>>().map_err(|_| LoadError::MalformedCertificate)?;
    let mismatch = || LoadError::KeyMismatch { subjects: subjects(&certificates) };
    checked(certificate_of(key, &certificates).ok_or_else(mismatch)?, &certificates)
}

fn checked(
    leaf: &X509Certificate<'_>,
    certificates: &[X509Certificate<'_>],
) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    check_size(leaf)?;
    let chain = ordered(leaf, certificates);
    Ok(chain.into_iter().map(|certificate| certificate.as_raw().to_vec().into()).collect())
}

/// The newest of the certificates with this very public key: a renewal may keep the key.
fn certificate_of<'a, 'b>(
    key: &dyn SigningKey,
    certificates: &'b [X509Certificate<'a>],
) -> Option<&'b X509Certificate<'a>> {
    let public_key = key.public_key()?;
    certificates
        .iter()
        .filter(|certificate| certificate.public_key().raw == public_key.as_ref())
        .max_by_key(|certificate| certificate.validity().not_before)
}

fn check_size(leaf: &X509Certificate<'_>) -> Result<(), LoadError> {
    match rsa_bits(leaf) {
        Some(bits) if !(2048..=8192).contains(&bits) => Err(wrong_size(bits)),
        _ => Ok(()),
    }
}

/// A key that TLS can't use doesn't say what it is, but the certificate beside it does.
fn unsupported_key(certificates: &[X509Certificate<'_>]) -> LoadError {
    certificates
        .iter()
        .filter_map(rsa_bits)
        .find(|bits| !(2048..=8192).contains(bits))
        .map_or_else(|| LoadError::UnsupportedKey("a private key of an unsupported kind".into()), wrong_size)
}

fn wrong_size(bits: usize) -> LoadError {
    LoadError::UnsupportedKey(format!("an RSA key of {bits} bits"))
}

fn rsa_bits(certificate: &X509Certificate<'_>) -> Option<usize> {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => Some(key.key_size()),
        _ => None,
    }
}

fn ordered<'a, 'b>(
    leaf: &'b X509Certificate<'a>,
    certificates: &'b [X509Certificate<'a>],
) -> Vec<&'b X509Certificate<'a>> {
    let mut chain = vec![leaf];
    let mut current = leaf;
    while let Some(issuer) = certificates.iter().find(|candidate| {
        issued(candidate, current) && !chain.iter().any(|known| known.as_raw() == candidate.as_raw())
    }) {
        chain.push(issuer);
        current = issuer;
    }
    chain
}

/// Whether one certificate names the other, and not itself, as its issuer (RFC 5280 §4.1.2.4), by key identifier too where both have
/// one (§4.2.1.1). The signature is for whoever is shown the chain to check.
fn issued(issuer: &X509Certificate<'_>, subject: &X509Certificate<'_>) -> bool {
    let self_issued = subject.subject().as_raw() == subject.issuer().as_raw();
    if self_issued || issuer.subject().as_raw() != subject.issuer().as_raw() {
        return false;
    }
    match (authority_key_id(subject), subject_key_id(issuer)) {
        (Some(wanted), Some(found)) => wanted == found,
        _ => true,
    }
}

fn authority_key_id<'a>(certificate: &X509Certificate<'a>) -> Option<&'a [u8]> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    })
}

fn subject_key_id<'a>(certificate: &X509Certificate<'a>) -> Option<&'a [u8]> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    })
}

fn subjects(certificates: &[X509Certificate<'_>]) -> String {
    let names: Vec<_> = certificates.iter().map(|certificate| certificate.subject().to_string()).collect();
    names.join("; ")
}
