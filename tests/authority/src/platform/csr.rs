//! Certification requests (RFC 2986) as clients of the instance metadata service make them.

use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, KeyUsagePurpose,
    PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm, string::Ia5String,
};
use rustls_pki_types::CertificateDer;
use serde_json::Value;
use x509_parser::{
    asn1_rs::{self, Any, Err, FromDer as _, Oid, Utf8String},
    certification_request::X509CertificationRequest,
    public_key::PublicKey,
    signature_algorithm::SignatureAlgorithm as Signed,
};

use crate::{ClientCertificateIssuer, StartError, clock::date_time, encoding::from_base64_exactly};

/// A request whose signature is good. Its problems are texts for the client.
pub(super) struct CertificateSigningRequest {
    common_name: String,
    domain_component: String,
    cu_id: Option<Value>,
    key: RsaKey,
}

impl CertificateSigningRequest {
    /// Reads base64 of the DER form, without line breaks and without the lines of PEM.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let malformed = |what: &str| format!("The certificate signing request is malformed: {what}");
        let der = from_base64_exactly(text).ok_or_else(|| malformed("not base64"))?;
        let (rest, request) =
            X509CertificationRequest::from_der(&der).map_err(|_| malformed("not a PKCS#10 request"))?;
        if !rest.is_empty() {
            return Err(malformed("bytes follow it"));
        }
        let info = &request.certification_request_info;
        let Ok(PublicKey::RSA(_)) = info.subject_pki.parsed() else {
            return Err(malformed("the key is not an RSA key"));
        };
        let key = info.subject_pki.subject_public_key.data.to_vec();
        if !is_pss_sha256(&request) {
            return Err(malformed("the signature algorithm is not RSASSA-PSS with SHA-256"));
        }
        UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &key)
            .verify(info.raw, &request.signature_value.data)
            .map_err(|_| malformed("the signature is wrong"))?;
        let subject: Vec<_> = info
            .subject
            .iter_attributes()
            .map(|part| (part.attr_type().to_id_string(), part.as_str().unwrap_or_default()))
            .collect();
        let part =
            |oid: &str| subject.iter().find(|(own, _)| own == oid).map(|(_, value)| (*value).to_owned());
        match (subject.len(), part(COMMON_NAME), part(DOMAIN_COMPONENT)) {
            (2, Some(common_name), Some(domain_component)) => {
                Ok(Self { common_name, domain_component, cu_id: cu_id(&request), key: RsaKey(key) })
            }
            _ => Err(malformed("the subject is not CN={client id}, DC={tenant id}")),
        }
    }

    /// Checks what the request says about the identity and the machine.
    pub(super) fn check(&self, client_id: &str, tenant_id: &str, cu_id: &Value) -> Result<(), String> {
        let same = |own: &str, other: &str| own.eq_ignore_ascii_case(other);
        if !same(&self.common_name, client_id) || !same(&self.domain_component, tenant_id) {
            return Err("The subject of the certificate signing request is not the identity".to_owned());
        }
        match &self.cu_id {
            None => Err(format!("The certificate signing request lacks the attribute {CU_ID}")),
            Some(own) if own == cu_id => Ok(()),
            Some(_) => Err(format!(
                "The attribute {CU_ID} of the certificate signing request is not the machine's cuId"
            )),
        }
    }

    /// Issues the certificate (DER), valid from and to these times (seconds since 1970).
    pub(super) fn certify(
        &self,
        issuer: &ClientCertificateIssuer,
        validity: (u64, u64),
    ) -> Result<CertificateDer<'static>, StartError> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        let domain_component = Ia5String::try_from(self.domain_component.as_str())?;
        parameters.distinguished_name.push(
            DnType::CustomDnType(DOMAIN_COMPONENT.split('.').filter_map(|arc| arc.parse().ok()).collect()),
            DnValue::Ia5String(domain_component),
        );
        parameters.distinguished_name.push(DnType::CommonName, &*self.common_name);
        parameters.not_before = date_time(validity.0);
        parameters.not_after = date_time(validity.1);
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        parameters.use_authority_key_identifier_extension = true;
        issuer.certify(&parameters, &self.key)
    }
}

/// RSASSA-PSS (RFC 4055 section 3.1) with SHA-256 in both places and 32 bytes of salt.
fn is_pss_sha256(request: &X509CertificationRequest<'_>) -> bool {
    let Ok(Signed::RSASSA_PSS(parameters)) = Signed::try_from(&request.signature_algorithm) else {
        return false;
    };
    let mask = parameters.mask_gen_algorithm();
    parameters.hash_algorithm_oid().to_id_string() == SHA256
        && mask.is_ok_and(|mask| mask.hash.to_id_string() == SHA256)
        && parameters.salt_length() == 32
}

/// The attribute with the machine's ids: a UTF8String of JSON. Members that are null count as absent.
fn cu_id(request: &X509CertificationRequest<'_>) -> Option<Value> {
    let attributes = attributes(request.certification_request_info.raw).ok()?;
    let (_, value) = attributes.into_iter().find(|(oid, _)| oid.to_id_string() == CU_ID)?;
    let (rest, text) = Utf8String::from_der(value).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let mut id: Value = serde_json::from_str(text.as_ref()).ok()?;
    id.as_object_mut()?.retain(|_, value| !value.is_null());
    Some(id)
}

/// The attributes with the contents of their sets, which the parser drops where it does not know the attribute.
fn attributes(info: &[u8]) -> Result<Vec<(Oid<'_>, &[u8])>, Err<asn1_rs::Error>> {
    let (_, info) = Any::from_der(info)?;
    let (rest, _version) = Any::from_der(info.data)?;
    let (rest, _subject) = Any::from_der(rest)?;
    let (rest, _key) = Any::from_der(rest)?;
    let (_, all) = Any::from_der(rest)?;
    let (mut rest, mut found) = (all.data, Vec::new());
    while !rest.is_empty() {
        let (others, attribute) = Any::from_der(rest)?;
        let (set, oid) = Oid::from_der(attribute.data)?;
        let (_, set) = Any::from_der(set)?;
        found.push((oid, set.data));
        rest = others;
    }
    Ok(found)
}

struct RsaKey(Vec<u8>);

impl PublicKeyData for RsaKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

const COMMON_NAME: &str = "2.5.4.3";
const DOMAIN_COMPONENT: &str = "0.9.2342.19200300.100.1.25";
const SHA256: &str = "2.16.840.1.101.3.4.2.1";
/// The attribute for `cuId`.
const CU_ID: &str = "1.3.6.1.4.1.311.90.2.10";
