//! JSON Web Tokens: taking them apart, and signing them with RS256.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{self, RsaKeyPair},
};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_RSA_SHA256};
use serde_json::{Map, Value, json};
use time::Duration;
use x509_parser::public_key::PublicKey;

use crate::{
    Certificate, StartError,
    clock::date_time,
    encoding::{base64, base64url, from_base64url},
};

/// A compact JWS (RFC 7515 section 7.1), taken apart; nothing is verified.
pub(crate) struct Jwt {
    pub(crate) header: Map<String, Value>,
    pub(crate) payload: Map<String, Value>,
    pub(crate) signing_input: String,
    pub(crate) signature: Vec<u8>,
}

impl Jwt {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (signing_input, signature) = text.rsplit_once('.')?;
        let (header, payload) = signing_input.split_once('.')?;
        Some(Self {
            header: serde_json::from_slice(&from_base64url(header)?).ok()?,
            payload: serde_json::from_slice(&from_base64url(payload)?).ok()?,
            signing_input: signing_input.to_owned(),
            signature: from_base64url(signature)?,
        })
    }

    pub(crate) fn header_text(&self, name: &str) -> Option<&str> {
        self.header.get(name)?.as_str()
    }

    pub(crate) fn claim_text(&self, name: &str) -> Option<&str> {
        self.payload.get(name)?.as_str()
    }

    /// The `x5t#S256` of the certificate that the token is bound to (RFC 8705 section 3.1).
    pub(crate) fn bound_to(&self) -> Option<&str> {
        self.payload.get("cnf")?.get("x5t#S256")?.as_str()
    }
}

/// An RSA key that signs tokens, with the self-signed certificate it is published in.
pub(crate) struct SigningKey {
    pair: RsaKeyPair,
    pem: String,
    certificate: Certificate,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl SigningKey {
    pub(crate) fn generate(name: &str, now_unix: u64) -> Result<Self, StartError> {
        Self::new(&KeyPair::generate_for(&PKCS_RSA_SHA256)?, name, now_unix)
    }

    /// The key of a PEM text (PKCS#8).
    pub(crate) fn from_pem(pem: &str, name: &str, now_unix: u64) -> Result<Self, StartError> {
        Self::new(&KeyPair::from_pem(pem)?, name, now_unix)
    }

    fn new(key: &KeyPair, name: &str, now_unix: u64) -> Result<Self, StartError> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.not_before = date_time(now_unix) - Duration::DAY;
        parameters.not_after = date_time(now_unix) + Duration::days(3650);
        let invalid = |text: &str| StartError::Certificate(format!("the key of {name}: {text}"));
        let der = parameters.self_signed(key)?.der().clone();
        let (modulus, exponent) = rsa_numbers(&der).ok_or_else(|| invalid("not an RSA key"))?;
        Ok(Self {
            pair: RsaKeyPair::from_pkcs8(&key.serialize_der())
                .map_err(|error| invalid(&error.to_string()))?,
            pem: key.serialize_pem(),
            certificate: Certificate::from_der(&der).map_err(|error| invalid(&error.to_string()))?,
            modulus,
            exponent,
        })
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The key's name in `kid`: base64url of the SHA-256 of its modulus, so that it outlives the certificate.
    pub(crate) fn id(&self) -> String {
        base64url(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.modulus).as_ref())
    }

    /// A signed token (RS256) with these claims. A failure to sign gives an empty signature, which nobody accepts.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "typ": "JWT", "alg": "RS256", "kid": self.id() });
        let input = signing_input(&header, claims);
        format!("{input}.{}", base64url(&self.signature(input.as_bytes())))
    }

    /// The signature (RS256) of these bytes.
    pub(crate) fn signature(&self, bytes: &[u8]) -> Vec<u8> {
        let mut signed = vec![0; self.pair.public_modulus_len()];
        let outcome = self.pair.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), bytes, &mut signed);
        if outcome.is_err() {
            signed.clear();
        }
        signed
    }

    /// The public half as a JSON Web Key (RFC 7517), with the members that Entra ID publishes.
    pub(crate) fn jwk(&self, issuer: &str) -> Value {
        json!({
            "kty": "RSA",
            "use": "sig",
            "kid": self.id(),
            "x5t": self.certificate.x5t(),
            "n": base64url(&self.modulus),
            "e": base64url(&self.exponent),
            "x5c": [base64(self.certificate.der())],
            "cloud_instance_name": "microsoftonline.com",
            "issuer": issuer,
        })
    }
}

/// Header and payload, encoded and joined (RFC 7515 section 5.1).
pub(crate) fn signing_input(header: &Value, claims: &Value) -> String {
    format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()))
}

fn rsa_numbers(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let PublicKey::RSA(key) = certificate.public_key().parsed().ok()? else { return None };
    let unsigned = |bytes: &[u8]| bytes.iter().skip_while(|&&byte| byte == 0).copied().collect::<Vec<u8>>();
    Some((unsigned(key.modulus), unsigned(key.exponent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_what_its_certificate_verifies() {
        let key = SigningKey::generate("test", 1_700_000_000).unwrap();
        let jwt = Jwt::parse(&key.sign(&json!({ "sub": "a" }))).unwrap();
        assert_eq!(jwt.claim_text("sub"), Some("a"));
        assert!(key.certificate().verifies("RS256", jwt.signing_input.as_bytes(), &jwt.signature));
        assert!(!key.certificate().verifies("PS256", jwt.signing_input.as_bytes(), &jwt.signature));
        assert!(!key.certificate().verifies("RS256", b"something else", &jwt.signature));
        let same = SigningKey::from_pem(key.pem(), "test", 1_800_000_000).unwrap();
        assert_eq!(same.id(), key.id());
    }

    #[test]
    fn what_is_no_token() {
        for text in ["", "a.b", "a.b.c", "e30.e30", "e30.W10.", "e30=.e30.AA"] {
            assert!(Jwt::parse(text).is_none(), "{text}");
        }
        assert!(Jwt::parse("e30.e30.").is_some());
    }
}
