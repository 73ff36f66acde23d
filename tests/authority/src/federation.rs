//! An issuer of federated assertions, as a CI system or a cluster would be.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use crate::{
    Certificate, StartError,
    encoding::{base64url, random_guid},
    jwt,
};

/// The issuer of the assertions that [`Authority::federated_assertion`](crate::Authority::federated_assertion) makes.
pub const FEDERATION_ISSUER: &str = "https://issuer.symbolon.test";

/// The claims of a federated assertion.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct FederatedAssertion {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) audience: String,
    pub(crate) lifetime_seconds: u64,
    pub(crate) bound_to: Option<String>,
}

impl FederatedAssertion {
    /// An assertion for ten minutes about `subject`, for the audience `api://AzureADTokenExchange`.
    pub fn new(subject: &str) -> Self {
        Self {
            issuer: FEDERATION_ISSUER.to_owned(),
            subject: subject.to_owned(),
            audience: "api://AzureADTokenExchange".to_owned(),
            lifetime_seconds: 600,
            bound_to: None,
        }
    }

    /// Claims to be of another issuer (signed by the same key).
    pub fn issuer(mut self, issuer: &str) -> Self {
        self.issuer = issuer.to_owned();
        self
    }

    /// Is for another audience.
    pub fn audience(mut self, audience: &str) -> Self {
        self.audience = audience.to_owned();
        self
    }

    /// Lives this long.
    pub fn lifetime_seconds(mut self, seconds: u64) -> Self {
        self.lifetime_seconds = seconds;
        self
    }

    /// Is bound to the certificate with this `x5t#S256` (`cnf`, RFC 8705 section 3.1): for `jwt-pop`.
    pub fn bound_to(mut self, x5t_s256: &str) -> Self {
        self.bound_to = Some(x5t_s256.to_owned());
        self
    }
}

/// Signs with ES256: another key and another algorithm than the authority's own tokens.
pub(crate) struct FederationIssuer {
    pair: EcdsaKeyPair,
    pem: String,
    certificate: Certificate,
}

impl FederationIssuer {
    pub(crate) fn generate() -> Result<Self, StartError> {
        Self::new(&KeyPair::generate()?)
    }

    /// The key of a PEM text (PKCS#8, P-256).
    pub(crate) fn from_pem(pem: &str) -> Result<Self, StartError> {
        Self::new(&KeyPair::from_pem(pem)?)
    }

    fn new(key: &KeyPair) -> Result<Self, StartError> {
        let invalid =
            |problem: String| StartError::Certificate(format!("the key of the test issuer: {problem}"));
        let certificate = CertificateParams::default().self_signed(key)?;
        Ok(Self {
            pair: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der())
                .map_err(|error| invalid(error.to_string()))?,
            pem: key.serialize_pem(),
            certificate: Certificate::from_der(certificate.der())
                .map_err(|error| invalid(error.to_string()))?,
        })
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn issue(&self, assertion: &FederatedAssertion, now_unix: u64) -> String {
        let header = json!({ "typ": "JWT", "alg": "ES256", "kid": self.certificate.x5t_s256() });
        let mut claims = json!({
            "iss": assertion.issuer,
            "sub": assertion.subject,
            "aud": assertion.audience,
            "iat": now_unix,
            "nbf": now_unix,
            "exp": now_unix + assertion.lifetime_seconds,
            "jti": random_guid(),
        });
        if let Some(thumbprint) = &assertion.bound_to {
            claims["cnf"] = json!({ "x5t#S256": thumbprint });
        }
        let input = jwt::signing_input(&header, &claims);
        // A failure to sign gives an empty signature, which nobody accepts.
        let signed = self.pair.sign(&SystemRandom::new(), input.as_bytes());
        format!("{input}.{}", signed.map(|signature| base64url(signature.as_ref())).unwrap_or_default())
    }
}
