//! An issuer of federated assertions, as a CI system or a cluster would be.

use serde_json::json;

use crate::{StartError, encoding::random_guid, jwt::SigningKey};

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

pub(crate) struct FederationIssuer(SigningKey);

impl FederationIssuer {
    pub(crate) fn new(now_unix: u64) -> Result<Self, StartError> {
        SigningKey::generate("Symbolon test issuer", now_unix).map(Self)
    }

    pub(crate) fn from_pem(pem: &str, now_unix: u64) -> Result<Self, StartError> {
        SigningKey::from_pem(pem, "Symbolon test issuer", now_unix).map(Self)
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.0
    }

    pub(crate) fn issue(&self, assertion: &FederatedAssertion, now_unix: u64) -> String {
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
        self.0.sign(&claims)
    }
}
