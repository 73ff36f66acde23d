//! The flows of the token endpoint.

use serde::{Deserialize, Serialize};

use crate::{
    refusal::{self, Refusal},
    request::Form,
};

/// A flow. In JSON it goes by the name of its grant, `on_behalf_of` apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Flow {
    /// A token for the application itself.
    ClientCredentials,
    /// A token for the user of a JWT or SAML assertion.
    OnBehalfOf,
    /// A token for the user of a refresh token.
    RefreshToken,
    /// A token for a user who signed in with a browser.
    AuthorizationCode,
    /// A token for an agent's user.
    UserFic,
    /// A token for a user by name and password.
    Password,
}

impl Flow {
    /// The flows that the mutual TLS hosts serve when a registration does not say which.
    pub const OVER_MTLS: [Self; 4] =
        [Self::ClientCredentials, Self::OnBehalfOf, Self::RefreshToken, Self::AuthorizationCode];

    /// Every flow.
    pub const ALL: [Self; 6] = [
        Self::ClientCredentials,
        Self::OnBehalfOf,
        Self::RefreshToken,
        Self::AuthorizationCode,
        Self::UserFic,
        Self::Password,
    ];

    pub(crate) fn of(form: &Form) -> Result<Self, Refusal> {
        Ok(match form.require("grant_type")? {
            "client_credentials" => Self::ClientCredentials,
            JWT_BEARER | SAML_1_1_BEARER | SAML_2_BEARER => Self::OnBehalfOf,
            "refresh_token" => Self::RefreshToken,
            "authorization_code" => Self::AuthorizationCode,
            "user_fic" => Self::UserFic,
            "password" => Self::Password,
            other => {
                return Err(refusal::GRANT_UNSUPPORTED
                    .because(format!("The app requested an unsupported grant type '{other}'.")));
            }
        })
    }
}

pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
pub(crate) const SAML_1_1_BEARER: &str = "urn:ietf:params:oauth:grant-type:saml1_1-bearer";
pub(crate) const SAML_2_BEARER: &str = "urn:ietf:params:oauth:grant-type:saml2-bearer";
