//! Between the generated types and ours.

use std::sync::Arc;
use std::time::Duration;

use symbolon_resources::credentials::Binding;
use zeroize::Zeroizing;

use super::bindings::symbolon::token::types;
use super::call::Call;
use super::{Answer, RawAnswer, wit};
use crate::error::{AcquisitionError, Error, ErrorKind, Result};
use crate::result::{
    AuthenticationResultMetadata, Beside, CacheRefreshReason, OwnToken, TokenEntry, TokenSource,
};

/// What an acquisition brought.
pub(crate) struct Acquired {
    pub(crate) token: TokenEntry,
    /// The certificate that the token is bound to.
    pub(crate) binding: Option<Arc<Binding>>,
    pub(crate) correlation_id: String,
    pub(crate) beside: Option<Arc<Beside>>,
    pub(crate) metadata: AuthenticationResultMetadata,
    /// Until when the token answers the same request, and from when it is due for renewal; Unix seconds.
    pub(crate) reuse: Option<(u64, Option<u64>)>,
}

/// What the guest's answer means to the caller.
pub(super) fn outcome(call: &Call, outcome: Result<RawAnswer, types::Error>) -> Result<Answer> {
    match outcome {
        Ok(RawAnswer::Acquired(token)) => Ok(Answer::Acquired(Box::new(acquired(call, token)?))),
        Ok(RawAnswer::Authorize(request)) => Ok(Answer::Authorize(request)),
        Ok(RawAnswer::Removed(removed)) => Ok(Answer::Removed(removed)),
        Ok(RawAnswer::Accounts(accounts)) => Ok(Answer::Accounts(accounts)),
        Ok(RawAnswer::Reviewed(verdict)) => Ok(Answer::Reviewed(verdict)),
        Err(error) => Err(Error::Acquisition(Arc::new(acquisition_error(call, error)))),
    }
}

fn acquired(call: &Call, token: wit::AccessToken) -> Result<Acquired> {
    let types::Token::Raw(secret) = token.token else {
        return Err(Error::Engine(
            "the component gave a sealed token, which this host gave it none of".into(),
        ));
    };
    let binding = match token.key_id.as_deref() {
        Some(key_id) => match call.binding(key_id) {
            Some(binding) => Some(binding),
            None => {
                return Err(Error::Engine(
                    "the component bound a token to a certificate it wasn't given".into(),
                ));
            }
        },
        None => None,
    };
    let cached = token.cache_key.as_deref().and_then(|key| call.application.cache.get(key));
    let entry =
        match cached.filter(|entry| entry.access_token().is_some_and(|cached| cached.secret == secret)) {
            Some(entry) => TokenEntry::Cached(entry.into()),
            None => TokenEntry::Own(Arc::new(OwnToken {
                secret: Zeroizing::new(secret),
                token_type: token.token_type,
                expires_on: token.expires_on,
                target: token.scopes.join(" "),
                realm: token.tenant_id.clone().unwrap_or_default(),
                account: token.account.map(Into::into),
            })),
        };
    let beside = Beside::new(token.id_token, token.spa_code, token.session_key);
    let reuse = token.reuse.map(|reuse| (reuse.until, reuse.refresh_from));
    let metadata = AuthenticationResultMetadata {
        token_source: token.source.into(),
        token_endpoint: token.token_endpoint.map(Into::into),
        cache_refresh_reason: token.refresh_reason.into(),
        region_used: token.region.map(Into::into),
        duration_total: Duration::ZERO,
        duration_in_http: call.http_duration(),
    };
    Ok(Acquired { token: entry, binding, correlation_id: token.correlation_id, beside, metadata, reuse })
}

fn acquisition_error(call: &Call, error: types::Error) -> AcquisitionError {
    let kind = error.kind.into();
    // A request that failed and was then retried with success leaves its words behind; they belong to this error only.
    let transport = match kind {
        ErrorKind::TransportFailed | ErrorKind::OutcomeUnknown | ErrorKind::ProtocolViolation => {
            call.transport_error()
        }
        _ => None,
    };
    AcquisitionError {
        kind,
        code: error.code,
        message: error.message,
        retryable: error.retryable,
        retry_after: error.retry_after_ms.map(Duration::from_millis),
        status: error.status,
        aadsts_codes: error.aadsts_codes,
        suberror: error.suberror,
        claims: error.claims,
        correlation_id: error.correlation_id,
        trace_id: error.trace_id,
        timestamp: error.timestamp,
        transport,
    }
}

impl From<types::ErrorKind> for ErrorKind {
    fn from(kind: types::ErrorKind) -> Self {
        match kind {
            types::ErrorKind::InvalidRequest => Self::InvalidRequest,
            types::ErrorKind::InteractionRequired => Self::InteractionRequired,
            types::ErrorKind::InvalidClient => Self::InvalidClient,
            types::ErrorKind::Refused => Self::Refused,
            types::ErrorKind::Throttled => Self::Throttled,
            types::ErrorKind::TemporarilyUnavailable => Self::TemporarilyUnavailable,
            types::ErrorKind::TransportFailed => Self::TransportFailed,
            types::ErrorKind::OutcomeUnknown => Self::OutcomeUnknown,
            types::ErrorKind::CredentialUnavailable => Self::CredentialUnavailable,
            types::ErrorKind::CredentialUnsupported => Self::CredentialUnsupported,
            types::ErrorKind::BoundTransportNotEnabled => Self::BoundTransportNotEnabled,
            types::ErrorKind::ProtocolViolation => Self::ProtocolViolation,
        }
    }
}

impl From<wit::TokenSource> for TokenSource {
    fn from(source: wit::TokenSource) -> Self {
        match source {
            wit::TokenSource::IdentityProvider => Self::IdentityProvider,
            wit::TokenSource::Cache => Self::Cache,
        }
    }
}

impl From<wit::CacheRefreshReason> for CacheRefreshReason {
    fn from(reason: wit::CacheRefreshReason) -> Self {
        match reason {
            wit::CacheRefreshReason::NotApplicable => Self::NotApplicable,
            wit::CacheRefreshReason::ForceRefreshOrClaims => Self::ForceRefreshOrClaims,
            wit::CacheRefreshReason::NoCachedAccessToken => Self::NoCachedAccessToken,
            wit::CacheRefreshReason::Expired => Self::Expired,
            wit::CacheRefreshReason::ProactivelyRefreshed => Self::ProactivelyRefreshed,
        }
    }
}
