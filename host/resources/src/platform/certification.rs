//! Keys for the certificates that the platform issues, and the requests for those (RFC 2986).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::SigningKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::PlatformError;
use crate::credentials::{Binding, LoadError};

/// A private key that the platform hasn't certified yet. It exists in this process only, and nothing reads it out.
pub struct PlatformKey {
    key: Arc<dyn SigningKey>,
    public_key: Vec<u8>,
}

/// What the platform wants to read in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSubject {
    /// The identity's client id: the common name.
    pub client_id: String,
    /// Its directory: the domain component.
    pub tenant_id: String,
    /// The ids of the machine, a JSON object.
    pub machine: String,
}

impl PlatformKey {
    /// Makes an RSA key of 2048 bits, as MSAL does. Takes about a tenth of a second of processor time.
    ///
    /// # Errors
    ///
    /// [`PlatformError::NoKey`].
    pub fn generate() -> Result<Self, PlatformError> {
        let no_key = |_| PlatformError::NoKey;
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(no_key)?;
        let der: Pkcs8V1Der<'_> = pair.as_der().map_err(no_key)?;
        let key = any_supported_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.as_ref())))
            .map_err(|_| PlatformError::NoKey)?;
        let public_key = key.public_key().ok_or(PlatformError::NoKey)?.to_vec();
        Ok(Self { key, public_key })
    }

    /// The public half: a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), DER.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The request for a certificate (RFC 2986 §4), DER, signed with RSASSA-PSS and SHA-256: subject `CN={client id},
    /// DC={tenant id}`, and the ids of the machine as an attribute.
    ///
    /// # Errors
    ///
    /// [`PlatformError::NotASubject`] for a subject that is empty, too long, or not ASCII where it must be.
    pub fn request(&self, subject: &CertificateSubject) -> Result<Vec<u8>, PlatformError> {
        let CertificateSubject { client_id, tenant_id, machine } = subject;
        let fits = |text: &str, longest: usize| (1..=longest).contains(&text.len());
        if !fits(client_id, MAX_NAME) || !fits(tenant_id, MAX_NAME) || !fits(machine, MAX_MACHINE) {
            return Err(PlatformError::NotASubject);
        }
        if !tenant_id.is_ascii() {
            return Err(PlatformError::NotASubject);
        }
        // A name's text has its parts the other way round (RFC 4514 §2.1).
        let name = [
            name_part(DOMAIN_COMPONENT, IA5_STRING, tenant_id),
            name_part(COMMON_NAME, UTF8_STRING, client_id),
        ];
        let value = der(SET, &der(UTF8_STRING, machine.as_bytes()));
        let attribute = der(SEQUENCE, &[der(OBJECT_ID, MACHINE), value].concat());
        let info = [
            der(INTEGER, &[0]),
            der(SEQUENCE, &name.concat()),
            self.public_key.clone(),
            der(CONTEXT_0, &attribute),
        ];
        let info = der(SEQUENCE, &info.concat());
        let signer =
            self.key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]).ok_or(PlatformError::NoKey)?;
        let signature = signer.sign(&info).map_err(|_| PlatformError::NoKey)?;
        let signature = der(BIT_STRING, &[&[0], signature.as_slice()].concat());
        Ok(der(SEQUENCE, &[info, pss_sha256(), signature].concat()))
    }

    /// The key with its certificate (DER).
    ///
    /// # Errors
    ///
    /// [`LoadError`] for a certificate that can't be read, or is for another key.
    pub fn certified(&self, certificate: Vec<u8>) -> Result<Binding, LoadError> {
        Binding::from_signing_key(vec![CertificateDer::from(certificate)], Arc::clone(&self.key))
    }
}

impl fmt::Debug for PlatformKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlatformKey").finish_non_exhaustive()
    }
}

fn name_part(kind: &[u8], tag: u8, text: &str) -> Vec<u8> {
    let part = [der(OBJECT_ID, kind), der(tag, text.as_bytes())].concat();
    der(SET, &der(SEQUENCE, &part))
}

/// RSASSA-PSS with SHA-256 in both places and as much salt (RFC 4055 §3.1).
fn pss_sha256() -> Vec<u8> {
    let sha256 = der(SEQUENCE, &[der(OBJECT_ID, SHA256), der(NULL, &[])].concat());
    let mask = der(SEQUENCE, &[der(OBJECT_ID, MGF1), sha256.clone()].concat());
    let salt = der(INTEGER, &[32]);
    let parameters = [der(CONTEXT_0, &sha256), der(CONTEXT_0 + 1, &mask), der(CONTEXT_0 + 2, &salt)].concat();
    der(SEQUENCE, &[der(OBJECT_ID, RSASSA_PSS), der(SEQUENCE, &parameters)].concat())
}

/// A tag, the length and the content (X.690 §8.1).
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut encoded = vec![tag];
    if let ([] | [..=0x7f], Ok(length)) = (&significant[..], u8::try_from(content.len())) {
        encoded.push(length);
    } else {
        encoded.push(0x80 | u8::try_from(significant.len()).unwrap_or_default());
        encoded.extend(significant);
    }
    encoded.extend_from_slice(content);
    encoded
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
const OBJECT_ID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const IA5_STRING: u8 = 0x16;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, constructed.
const CONTEXT_0: u8 = 0xa0;

/// 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// 0.9.2342.19200300.100.1.25.
const DOMAIN_COMPONENT: &[u8] = &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25];
/// 1.3.6.1.4.1.311.90.2.10.
const MACHINE: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 90, 2, 10];
/// 1.2.840.113549.1.1.10.
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
/// 1.2.840.113549.1.1.8.
const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8];
/// 2.16.840.1.101.3.4.2.1.
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];

/// Ids are GUIDs.
const MAX_NAME: usize = 256;

const MAX_MACHINE: usize = 4096;

#[cfg(test)]
mod tests {
    use x509_parser::asn1_rs::FromDer;
    use x509_parser::certification_request::X509CertificationRequest;

    use super::*;

    fn subject(machine: &str) -> CertificateSubject {
        let (client_id, tenant_id) = ("client".to_owned(), "tenant".to_owned());
        CertificateSubject { client_id, tenant_id, machine: machine.to_owned() }
    }

    #[test]
    fn a_request_says_who_and_where_and_is_signed_by_its_key() {
        let key = PlatformKey::generate().unwrap();
        let machine = format!(r#"{{"vmId":"{}"}}"#, "x".repeat(300));
        let der = key.request(&subject(&machine)).unwrap();
        let (rest, request) = X509CertificationRequest::from_der(&der).unwrap();
        assert!(rest.is_empty());
        let info = &request.certification_request_info;
        assert_eq!(info.subject.to_string(), "DC=tenant, CN=client");
        assert_eq!(info.subject_pki.raw, key.public_key());
        assert!(der.windows(machine.len()).any(|part| part == machine.as_bytes()));
        let public = aws_lc_rs::signature::UnparsedPublicKey::new(
            &aws_lc_rs::signature::RSA_PSS_2048_8192_SHA256,
            &info.subject_pki.subject_public_key.data,
        );
        public.verify(info.raw, &request.signature_value.data).unwrap();
    }

    #[test]
    fn a_subject_that_no_platform_has_is_refused() {
        let key = PlatformKey::generate().unwrap();
        let tenant = CertificateSubject { tenant_id: "tenänt".to_owned(), ..subject("{}") };
        for wrong in [subject(""), subject(&"x".repeat(MAX_MACHINE + 1)), tenant] {
            assert_eq!(key.request(&wrong), Err(PlatformError::NotASubject));
        }
    }

    #[test]
    fn a_certificate_for_another_key_is_refused() {
        let key = PlatformKey::generate().unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["x".to_owned()]).unwrap();
        assert!(matches!(key.certified(other.cert.der().to_vec()), Err(LoadError::KeyMismatch { .. })));
        assert!(matches!(key.certified(vec![0x30]), Err(LoadError::MalformedCertificate)));
    }

    #[test]
    fn lengths_are_written_in_as_few_bytes_as_they_take() {
        assert_eq!(der(4, &[]), [4, 0]);
        for (length, head) in [(127, &[4, 127][..]), (128, &[4, 0x81, 128]), (256, &[4, 0x82, 1, 0])] {
            assert_eq!(der(4, &vec![0; length])[..head.len()], *head);
        }
    }
}
