//! What guests are told.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;
use wasmtime::component::ResourceTable;

use super::authorization::{Authorization, Proof};
use super::ctx::Guest;
use super::policy::{GuestRefusal, TokenForm};
use crate::acquire::AssertionKind;
use crate::engine::{types, wit};
use crate::error::{AcquisitionError, Error, ErrorKind};
use crate::result::{Account, AuthenticationResult, CacheRefreshReason, TokenSource};

/// A token that a guest gets.
pub(super) struct Acquired {
    pub(super) guest: Arc<Guest>,
    pub(super) token: AuthenticationResult,
    pub(super) scopes: Vec<String>,
    pub(super) is_bound: bool,
    /// The key by which the guest knows the process.
    pub(super) session_key: Option<String>,
}

impl Acquired {
    /// In the form that the guest gets. What the host does with answers (when they are renewed, where they are kept) is left
    /// out.
    pub(super) fn into_wit(self, table: &mut ResourceTable) -> wasmtime::Result<wit::AccessToken> {
        let Self { guest, token, scopes, is_bound, session_key } = self;
        let is_raw = guest.policy.form == TokenForm::Raw;
        let shown = |text: Option<&str>| text.filter(|_| is_raw).map(str::to_owned);
        Ok(wit::AccessToken {
            token_type: token.token_type().to_owned(),
            expires_on: token.expires_on_unix(),
            refresh_on: None,
            scopes: token.scopes().map(str::to_owned).collect(),
            tenant_id: token.tenant_id().map(str::to_owned),
            key_id: token.binding_certificate().map(|binding| binding.thumbprint_sha256().to_owned()),
            correlation_id: token.correlation_id().to_string(),
            source: match token.metadata().token_source {
                TokenSource::IdentityProvider => wit::TokenSource::IdentityProvider,
                TokenSource::Cache => wit::TokenSource::Cache,
            },
            token_endpoint: token.metadata().token_endpoint.as_deref().map(str::to_owned),
            refresh_reason: refresh_reason(token.metadata().cache_refresh_reason),
            region: token.metadata().region_used.as_deref().map(str::to_owned),
            account: token.account().map(account),
            id_token: shown(token.id_token()),
            spa_code: shown(token.spa_authorization_code()),
            session_key,
            reuse: None,
            cache_key: None,
            token: match is_raw {
                true => types::Token::Raw(token.access_token().to_owned()),
                false => {
                    let proof = Proof::Token { token, scopes, is_bound };
                    types::Token::Sealed(table.push(Authorization { guest, proof })?)
                }
            },
        })
    }
}

pub(super) fn account(account: Account) -> types::Account {
    let Account { home_account_id, environment, username } = account;
    types::Account { home_account_id, environment, username }
}

/// What the policy refuses. Nothing was sent.
pub(super) fn refusal(refusal: GuestRefusal, correlation_id: &str) -> types::Error {
    let message = refusal.to_string();
    match refusal {
        GuestRefusal::Rate { retry_after } => {
            let kind = types::ErrorKind::Throttled;
            let retry_after_ms = Some(millis(retry_after));
            types::Error {
                retryable: true,
                retry_after_ms,
                ..made(kind, "rate_limited", message, correlation_id)
            }
        }
        _ => made(types::ErrorKind::InvalidRequest, "not_allowed", message, correlation_id),
    }
}

/// What became of an acquisition. What is wrong with the host's own configuration, credentials and limits is not for guests:
/// they learn that there is something, the log has what.
pub(super) fn error(guest: &Guest, error: Error, correlation_id: Uuid) -> types::Error {
    match &error {
        Error::Acquisition(decision) if !is_the_hosts(decision.kind) => decided(decision),
        _ => {
            tracing::warn!(guest = &*guest.id, %error, "a guest got no token");
            let kind = match &error {
                Error::Acquisition(decision) => kind(decision.kind),
                Error::InFlightLimit { .. } | Error::ApplicationInFlightLimit { .. } => {
                    types::ErrorKind::TemporarilyUnavailable
                }
                Error::DeadlineExceeded { .. } => types::ErrorKind::TransportFailed,
                _ => types::ErrorKind::CredentialUnavailable,
            };
            let message = "the host can't acquire this token; its log says why".to_owned();
            types::Error {
                retryable: error.is_retryable(),
                retry_after_ms: error.retry_after().map(millis),
                ..made(kind, error.code(), message, &correlation_id.to_string())
            }
        }
    }
}

/// Whether an error is about what the host has and the guest doesn't see.
fn is_the_hosts(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::CredentialUnavailable | ErrorKind::CredentialUnsupported)
}

fn decided(error: &AcquisitionError) -> types::Error {
    types::Error {
        kind: kind(error.kind),
        code: error.code.clone(),
        message: error.message.clone(),
        retryable: error.retryable,
        retry_after_ms: error.retry_after.map(millis),
        status: error.status,
        aadsts_codes: error.aadsts_codes.clone(),
        suberror: error.suberror.clone(),
        claims: error.claims.clone(),
        correlation_id: error.correlation_id.clone(),
        trace_id: error.trace_id.clone(),
        timestamp: error.timestamp.clone(),
    }
}

fn made(kind: types::ErrorKind, code: &str, message: String, correlation_id: &str) -> types::Error {
    types::Error {
        kind,
        code: code.to_owned(),
        message,
        retryable: false,
        retry_after_ms: None,
        status: None,
        aadsts_codes: Vec::new(),
        suberror: None,
        claims: None,
        correlation_id: correlation_id.to_owned(),
        trace_id: None,
        timestamp: None,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn kind(kind: ErrorKind) -> types::ErrorKind {
    match kind {
        ErrorKind::InvalidRequest => types::ErrorKind::InvalidRequest,
        ErrorKind::InteractionRequired => types::ErrorKind::InteractionRequired,
        ErrorKind::InvalidClient => types::ErrorKind::InvalidClient,
        ErrorKind::Refused => types::ErrorKind::Refused,
        ErrorKind::Throttled => types::ErrorKind::Throttled,
        ErrorKind::TemporarilyUnavailable => types::ErrorKind::TemporarilyUnavailable,
        ErrorKind::TransportFailed => types::ErrorKind::TransportFailed,
        ErrorKind::OutcomeUnknown => types::ErrorKind::OutcomeUnknown,
        ErrorKind::CredentialUnavailable => types::ErrorKind::CredentialUnavailable,
        ErrorKind::CredentialUnsupported => types::ErrorKind::CredentialUnsupported,
        ErrorKind::BoundTransportNotEnabled => types::ErrorKind::BoundTransportNotEnabled,
        ErrorKind::ProtocolViolation => types::ErrorKind::ProtocolViolation,
    }
}

fn refresh_reason(reason: CacheRefreshReason) -> wit::CacheRefreshReason {
    match reason {
        CacheRefreshReason::NotApplicable => wit::CacheRefreshReason::NotApplicable,
        CacheRefreshReason::ForceRefreshOrClaims => wit::CacheRefreshReason::ForceRefreshOrClaims,
        CacheRefreshReason::NoCachedAccessToken => wit::CacheRefreshReason::NoCachedAccessToken,
        CacheRefreshReason::Expired => wit::CacheRefreshReason::Expired,
        CacheRefreshReason::ProactivelyRefreshed => wit::CacheRefreshReason::ProactivelyRefreshed,
    }
}

impl From<wit::AssertionKind> for AssertionKind {
    fn from(kind: wit::AssertionKind) -> Self {
        match kind {
            wit::AssertionKind::Jwt => Self::Jwt,
            wit::AssertionKind::Saml11 => Self::Saml11,
            wit::AssertionKind::Saml2 => Self::Saml2,
        }
    }
}
