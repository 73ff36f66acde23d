//! What the token request asks by: the parameters that differ from flow to flow.

use alloc::format;
use alloc::string::{String, ToString};

use crate::authority::{Authority, AuthorityKind};
use crate::cloud;
use crate::form::Form;
use crate::request::{AssertionKind, AuthorizationCode, UserAssertion, UsernamePassword};
use crate::scopes::Scopes;
use crate::user::User;

/// What is exchanged for a token. Everything in it is secret.
#[derive(Clone)]
pub(crate) enum Grant {
    ClientCredentials,
    /// The same for the certificate of a managed identity.
    ManagedIdentity,
    OnBehalfOf(UserAssertion),
    RefreshToken {
        token: String,
        /// `{uid}.{utid}` of its user, where the cache says whose it is.
        home_account_id: Option<String>,
    },
    AuthorizationCode(AuthorizationCode),
    Password(UsernamePassword),
    UserFederated {
        user: User,
        /// The token that lets the client name users; absent until an agent has it.
        credential: Option<String>,
    },
}

impl Grant {
    /// The `scope` parameter. Its order is MSAL's for the flow.
    pub(crate) fn scope(&self, scopes: &Scopes) -> String {
        match self {
            Grant::ClientCredentials => scopes.to_request_string(),
            Grant::ManagedIdentity => cloud::exchange_scope(&scopes.to_request_string()),
            Grant::OnBehalfOf(_) | Grant::RefreshToken { .. } => scopes.with_reserved_sorted(),
            Grant::AuthorizationCode(code) => scopes.with_reserved_sorted_but(code.offline_access),
            Grant::Password(_) | Grant::UserFederated { .. } => scopes.with_reserved_first(),
        }
    }

    /// Sets the flow's own parameters, in MSAL's order.
    pub(crate) fn set_parameters(&self, form: &mut Form) {
        match self {
            Grant::ManagedIdentity => form.set("grant_type", "client_credentials"),
            Grant::ClientCredentials => {
                form.set("grant_type", "client_credentials");
                // What MSAL sends with client credentials; every other flow sends 1.
                form.set("client_info", "2");
            }
            Grant::OnBehalfOf(UserAssertion { assertion, kind }) => {
                form.set("client_info", "1");
                form.set("grant_type", assertion_grant(*kind));
                form.set("assertion", assertion);
                form.set("requested_token_use", "on_behalf_of");
            }
            Grant::RefreshToken { token, .. } => {
                form.set("client_info", "1");
                form.set("grant_type", "refresh_token");
                form.set("refresh_token", token);
            }
            Grant::AuthorizationCode(AuthorizationCode {
                code,
                redirect_uri,
                code_verifier,
                spa_code,
                ..
            }) => {
                form.set("client_info", "1");
                form.set("grant_type", "authorization_code");
                form.set("code", code);
                form.set("redirect_uri", redirect_uri);
                form.set_some("code_verifier", code_verifier.as_deref());
                form.set_some("return_spa_code", spa_code.then_some("1"));
            }
            Grant::Password(UsernamePassword { username, password }) => {
                form.set("grant_type", "password");
                form.set("username", username);
                form.set("password", password);
                form.set("client_info", "1");
            }
            Grant::UserFederated { user, credential } => {
                form.set("grant_type", "user_fic");
                form.set_some("user_federated_identity_credential", credential.as_deref());
                match user {
                    User::ObjectId(id) => form.set("user_id", id),
                    User::Username(name) => form.set("username", name),
                }
                form.set("client_info", "1");
            }
        }
    }

    /// Whose mailbox is near, so that the authority can answer from there: `x-anchormailbox`.
    pub(crate) fn anchor_mailbox(&self, authority: &Authority) -> Option<String> {
        let mailbox = match self {
            Grant::RefreshToken { home_account_id: Some(id), .. } => {
                let (uid, utid) = id.split_once('.')?;
                let known = !uid.is_empty() && !utid.is_empty();
                known.then(|| format!("oid:{uid}@{utid}"))
            }
            Grant::Password(UsernamePassword { username, .. }) => Some(format!("upn:{username}")),
            Grant::UserFederated { user, .. } => user.anchor_mailbox(authority.tenant()),
            _ => None,
        }?;
        let is_upn_at_b2c = authority.kind() == AuthorityKind::B2c && mailbox.starts_with("upn:");
        let is_header = mailbox.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        (!is_upn_at_b2c && is_header).then(|| mailbox.to_string())
    }

    /// What tells requests for different users apart where nothing else does.
    pub(crate) fn subject(&self) -> &str {
        match self {
            Grant::ClientCredentials | Grant::ManagedIdentity | Grant::OnBehalfOf(_) => "",
            Grant::RefreshToken { token, .. } => token,
            Grant::AuthorizationCode(code) => &code.code,
            Grant::Password(password) => &password.username,
            Grant::UserFederated { user: User::ObjectId(user) | User::Username(user), .. } => user,
        }
    }

    /// Whether the authority may have used it up once it was sent, so that it must not be sent again.
    ///
    /// Entra ID takes a refresh token again; of other servers that rotate them nobody knows.
    pub(crate) fn is_single_use(&self, authority: AuthorityKind) -> bool {
        match self {
            Grant::AuthorizationCode(_) => true,
            Grant::RefreshToken { .. } => matches!(authority, AuthorityKind::Oidc | AuthorityKind::Adfs),
            _ => false,
        }
    }

    /// Whether Entra ID's regional endpoints serve it, without a certificate in the handshake too.
    pub(crate) fn is_regional(&self) -> bool {
        matches!(self, Grant::ClientCredentials)
    }
}

fn assertion_grant(kind: AssertionKind) -> &'static str {
    match kind {
        AssertionKind::Jwt => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        AssertionKind::Saml11 => "urn:ietf:params:oauth:grant-type:saml1_1-bearer",
        AssertionKind::Saml2 => "urn:ietf:params:oauth:grant-type:saml2-bearer",
    }
}
