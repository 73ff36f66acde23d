//! What a call presents.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use symbolon_resources::configuration::ProtocolScheme;
use symbolon_resources::credentials::{Binding, Outcome, SelectedCredential};

use super::options::DownstreamApiOptions;
use crate::acquire::UserAssertion;
use crate::acquirer::{token_for_app, token_for_user};
use crate::application::Application;
use crate::error::{Error, Result};
use crate::result::AuthenticationResult;
use crate::session_key::SessionKey;

/// What a call presents: Microsoft.Identity.Web's `AuthorizationHeaderInformation`. `Debug` shows no token.
#[doc(alias = "AuthorizationHeaderInformation")]
#[derive(Clone)]
pub struct AuthorizationHeader {
    scheme: ProtocolScheme,
    value: Option<HeaderValue>,
    proof: Proof,
}

#[derive(Clone)]
enum Proof {
    Nothing,
    Token(AuthenticationResult),
    Certificate(Box<SelectedCredential>),
}

impl AuthorizationHeader {
    /// By which scheme.
    pub fn protocol_scheme(&self) -> ProtocolScheme {
        self.scheme
    }

    /// The value of the `Authorization` header, marked sensitive. Nothing where no token is presented.
    #[doc(alias = "AuthorizationHeaderValue")]
    pub fn value(&self) -> Option<&HeaderValue> {
        self.value.as_ref()
    }

    /// The certificate that must be presented in the TLS handshake of the very connection on which the header is sent.
    #[doc(alias = "BindingCertificate")]
    pub fn binding_certificate(&self) -> Option<&Arc<Binding>> {
        match &self.proof {
            Proof::Nothing => None,
            Proof::Token(result) => {
                result.binding_certificate().filter(|_| self.scheme == ProtocolScheme::MtlsPop)
            }
            Proof::Certificate(selected) => selected.binding(),
        }
    }

    /// The token and what is known about it. Nothing where no token is presented.
    pub fn authentication_result(&self) -> Option<&AuthenticationResult> {
        match &self.proof {
            Proof::Token(result) => Some(result),
            _ => None,
        }
    }

    /// The key of the long-running process, whether the caller chose it or not.
    #[doc(alias = "LongRunningWebApiSessionKey")]
    pub fn long_running_session_key(&self) -> Option<&str> {
        self.authentication_result()?.long_running_session_key()
    }

    /// Tells the credentials what became of a certificate that stood in for a token.
    pub(super) fn report(&self, application: &Application, outcome: Outcome) {
        if let Proof::Certificate(selected) = &self.proof {
            application.inner.credentials.report(selected, outcome);
        }
    }

    /// Whether the same certificate is presented as by the other.
    pub(super) fn presents_same_certificate(&self, other: &Self) -> bool {
        let generation = |header: &Self| header.binding_certificate().map(|binding| binding.generation());
        generation(self) == generation(other)
    }
}

impl fmt::Debug for AuthorizationHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationHeader")
            .field("scheme", &self.scheme)
            .field("authentication_result", &self.authentication_result())
            .field("certificate", &self.binding_certificate().map(|binding| binding.thumbprint_sha256()))
            .finish_non_exhaustive()
    }
}

/// Acquires what a call presents. `claims` are those of a challenge. A session key that was to be allocated is in `key`
/// afterwards.
pub(super) async fn authorize(
    application: &Application,
    options: &DownstreamApiOptions,
    user_assertion: Option<&UserAssertion<'_>>,
    key: &mut Option<SessionKey>,
    claims: Option<String>,
) -> Result<AuthorizationHeader> {
    let scheme = options.protocol_scheme;
    let scope = options.scopes.first();
    let acquire = &options.acquire_token_options;
    let for_app = options.request_app_token || acquire.managed_identity.is_some();
    match scheme {
        ProtocolScheme::Mtls => {
            let selected = application.inner.credentials.select_certificate().await.map_err(Error::from)?;
            return Ok(AuthorizationHeader {
                scheme,
                value: None,
                proof: Proof::Certificate(Box::new(selected)),
            });
        }
        ProtocolScheme::MtlsPop if !for_app => {
            let message = "the token of a user can't be bound to a certificate (MTLS_POP); RequestAppToken must be true";
            return Err(mistake(options, "IDW10116", message));
        }
        ProtocolScheme::MtlsPop if scope.is_none() => {
            let message = "there are no scopes to ask a bound token for (MTLS_POP)";
            return Err(mistake(options, "invalid_request", message));
        }
        _ => {}
    }
    let Some(scope) = scope else {
        tracing::debug!("a call without scopes presents nothing");
        return Ok(AuthorizationHeader { scheme, value: None, proof: Proof::Nothing });
    };
    let challenged;
    let acquire = match claims {
        None => acquire,
        Some(claims) => {
            let mut options = acquire.clone();
            options.claims = Some(claims);
            challenged = options;
            &challenged
        }
    };
    let result = match for_app {
        true => token_for_app(application, scope, acquire, scheme == ProtocolScheme::MtlsPop).await?,
        false => {
            token_for_user(
                application,
                &options.scopes,
                user_assertion.map(UserAssertion::borrowed),
                acquire,
                key,
            )
            .await?
        }
    };
    if scheme == ProtocolScheme::MtlsPop && result.binding_certificate().is_none() {
        return Err(Error::Engine("a token that was to be bound to a certificate came without one".into()));
    }
    let Some(value) = result.authorization_header() else {
        return Err(Error::Engine("the token is none that a header can hold".into()));
    };
    Ok(AuthorizationHeader { scheme, value: Some(value), proof: Proof::Token(result) })
}

fn mistake(options: &DownstreamApiOptions, code: &str, message: &str) -> Error {
    Error::invalid_request(code, message, options.acquire_token_options.correlation_id.unwrap_or_default())
}
