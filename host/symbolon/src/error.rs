//! What can go wrong, and what the caller does about it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use http::HeaderValue;
use symbolon_resources::configuration::ConfigurationError;
use symbolon_resources::credentials::CredentialError;
use symbolon_resources::transport::{TransportError, TransportOptionsError};
use uuid::Uuid;

use crate::downstream::DownstreamError;

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration can't work as it is. Nothing was sent.
    #[error(transparent)]
    Configuration(#[from] Arc<ConfigurationError>),

    /// The settings of the transport can't be used: a file with trusted roots, or a proxy.
    #[error(transparent)]
    Transport(Arc<TransportOptionsError>),

    /// A certificate can't be put into the place that was named.
    #[error(transparent)]
    Credential(#[from] Arc<CredentialError>),

    /// The acquisition ended without a token, by a decision of the protocol.
    #[error(transparent)]
    Acquisition(#[from] Arc<AcquisitionError>),

    /// The call of an API didn't end as it should, for another reason than its token.
    #[error(transparent)]
    Downstream(#[from] Arc<DownstreamError>),

    /// The guest was stopped: it broke one of its limits, or is broken itself. Only this call is affected.
    #[error("the protocol guest was stopped: {0}")]
    Guest(GuestFailure),

    /// As many acquisitions run as the engine allows.
    #[error("{limit} acquisitions are in flight, which is the limit (Builder::max_in_flight)")]
    InFlightLimit {
        /// The limit.
        limit: usize,
    },

    /// As many acquisitions of the application run as the engine allows it, so that others have room.
    #[error(
        "{limit} acquisitions of the application are in flight, which is the limit (Builder::max_in_flight_per_application)"
    )]
    ApplicationInFlightLimit {
        /// The limit.
        limit: usize,
    },

    /// The acquisition didn't end within its time.
    #[error("the acquisition didn't end within {} s", .limit.as_secs_f32())]
    DeadlineExceeded {
        /// The time it had.
        limit: Duration,
    },

    /// The engine can't be made on this machine, or the component isn't one that it can run.
    #[error("the WebAssembly engine: {0}")]
    Engine(Arc<str>),
}

impl Error {
    /// Whether the same call may succeed later, as far as one can know.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Acquisition(error) => error.retryable,
            Self::Downstream(error) => error.is_retryable(),
            Self::InFlightLimit { .. }
            | Self::ApplicationInFlightLimit { .. }
            | Self::DeadlineExceeded { .. } => true,
            Self::Configuration(_)
            | Self::Transport(_)
            | Self::Credential(_)
            | Self::Guest(_)
            | Self::Engine(_) => false,
        }
    }

    /// How long to wait before the next attempt, where the authority or the credential provider said.
    pub fn retry_after(&self) -> Option<Duration> {
        self.acquisition()?.retry_after
    }

    /// The correlation id that the authority reported, else the call's own.
    pub fn correlation_id(&self) -> Option<&str> {
        self.acquisition().map(|error| error.correlation_id.as_str())
    }

    /// The numbers of the authority's `AADSTS…` codes.
    pub fn aadsts_codes(&self) -> &[u32] {
        self.acquisition().map_or(&[], |error| &error.aadsts_codes)
    }

    /// The claims that the next request must carry, JSON.
    pub fn claims(&self) -> Option<&str> {
        self.acquisition()?.claims.as_deref()
    }

    /// What a web API answers its own caller with, in `WWW-Authenticate` beside the status 401, where a token needs claims
    /// that only the caller's user can bring: `Bearer error="insufficient_claims", claims="…"`, the claims in base64url.
    /// Nothing where the error has no claims.
    ///
    /// It is the challenge that clients of Entra ID know from its own APIs (RFC 6750 §3 has the form).
    pub fn www_authenticate(&self) -> Option<HeaderValue> {
        let claims = BASE64_URL_SAFE.encode(self.claims()?);
        HeaderValue::try_from(format!(r#"Bearer error="insufficient_claims", claims="{claims}""#)).ok()
    }

    /// A stable code: that of the protocol's decision, else the kind of error.
    pub fn code(&self) -> &str {
        match self {
            Self::Configuration(_) | Self::Transport(_) => "invalid_configuration",
            Self::Credential(_) => "invalid_credential",
            Self::Acquisition(error) => &error.code,
            Self::Downstream(error) => error.kind.as_str(),
            Self::Guest(_) => "guest_stopped",
            Self::InFlightLimit { .. } => "in_flight_limit",
            Self::ApplicationInFlightLimit { .. } => "application_in_flight_limit",
            Self::DeadlineExceeded { .. } => "deadline_exceeded",
            Self::Engine(_) => "engine_failed",
        }
    }

    /// A component answered a question with the answer to another one.
    pub(crate) fn unexpected_answer() -> Self {
        Self::Engine("the component answered another question than it was asked".into())
    }

    /// A mistake in the request, found before the protocol was asked.
    pub(crate) fn invalid_request(code: &str, message: impl Into<String>, correlation_id: Uuid) -> Self {
        Self::Acquisition(Arc::new(AcquisitionError {
            kind: ErrorKind::InvalidRequest,
            code: code.to_owned(),
            message: message.into(),
            retryable: false,
            retry_after: None,
            status: None,
            aadsts_codes: Vec::new(),
            suberror: None,
            claims: None,
            correlation_id: correlation_id.to_string(),
            trace_id: None,
            timestamp: None,
            transport: None,
        }))
    }

    /// What became of the call of an API, where that is what failed.
    pub fn downstream(&self) -> Option<&DownstreamError> {
        match self {
            Self::Downstream(error) => Some(error),
            _ => None,
        }
    }

    /// The protocol's decision, where there is one.
    pub fn acquisition(&self) -> Option<&AcquisitionError> {
        match self {
            Self::Acquisition(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ConfigurationError> for Error {
    fn from(error: ConfigurationError) -> Self {
        Self::Configuration(Arc::new(error))
    }
}

impl From<CredentialError> for Error {
    fn from(error: CredentialError) -> Self {
        Self::Credential(Arc::new(error))
    }
}

/// What the caller does about an acquisition that ended without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request or the configuration can't work as it is: mend it. Nothing was sent.
    InvalidRequest,
    /// A person must sign in, consent or answer a challenge. MSAL's `MsalUiRequiredException`.
    InteractionRequired,
    /// The authority doesn't accept the client or its credential.
    InvalidClient,
    /// The authority refused the request for another reason.
    Refused,
    /// The authority asked for a pause.
    Throttled,
    /// The authority can't answer now.
    TemporarilyUnavailable,
    /// No complete answer arrived: name resolution, connection, TLS, or the deadline.
    TransportFailed,
    /// The request may have had its effect though no answer arrived. It must not be sent again.
    OutcomeUnknown,
    /// There is no usable credential.
    CredentialUnavailable,
    /// The credential at hand can't authenticate the client in the way that is asked.
    CredentialUnsupported,
    /// The authority doesn't let this application bind its connection to a certificate.
    BoundTransportNotEnabled,
    /// The answer isn't what the protocol allows.
    ProtocolViolation,
}

impl ErrorKind {
    /// The name of the kind in logs and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid-request",
            Self::InteractionRequired => "interaction-required",
            Self::InvalidClient => "invalid-client",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::TemporarilyUnavailable => "temporarily-unavailable",
            Self::TransportFailed => "transport-failed",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::CredentialUnavailable => "credential-unavailable",
            Self::CredentialUnsupported => "credential-unsupported",
            Self::BoundTransportNotEnabled => "bound-transport-not-enabled",
            Self::ProtocolViolation => "protocol-violation",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An acquisition that ended without a token: the decision, and what the authority said.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AcquisitionError {
    /// What the caller does about it.
    pub kind: ErrorKind,
    /// A stable code. MSAL's where MSAL has one, such as `invalid_grant` or `token_type_mismatch`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// How long to wait before that.
    pub retry_after: Option<Duration>,
    /// The status of the authority's answer.
    pub status: Option<u16>,
    /// The numbers of the `AADSTS…` codes, in the authority's order.
    pub aadsts_codes: Vec<u32>,
    /// The authority's `suberror`.
    pub suberror: Option<String>,
    /// The claims that the next request must carry, JSON.
    pub claims: Option<String>,
    /// The correlation id that the authority reported, else the call's own.
    pub correlation_id: String,
    /// The authority's trace id.
    pub trace_id: Option<String>,
    /// The authority's timestamp, as it wrote it.
    pub timestamp: Option<String>,
    /// What the transport saw, where no complete answer arrived.
    pub transport: Option<Arc<TransportError>>,
}

impl fmt::Display for AcquisitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Some(transport) => write!(f, "{}: {transport}", self.code),
            None => write!(f, "{}: {}", self.code, self.message),
        }
    }
}

impl std::error::Error for AcquisitionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.transport.as_ref().and_then(|transport| std::error::Error::source(&**transport))
    }
}

/// Why a guest was stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GuestFailure {
    /// It ran longer than its budget allows; time in which it waited isn't counted.
    #[error("it ran for more than its {} ms of CPU time", .budget.as_millis())]
    CpuBudget {
        /// The budget.
        budget: Duration,
    },
    /// It asked for more memory than it may have.
    #[error("it asked for more than its {limit} bytes of memory")]
    MemoryLimit {
        /// The limit.
        limit: usize,
    },
    /// Its calls nest too deeply.
    #[error("it ran out of stack")]
    StackOverflow,
    /// It did what WebAssembly or its interfaces forbid.
    #[error("it trapped: {0}")]
    Trap(Arc<str>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_make_a_challenge() {
        let error = |claims: Option<&str>| match Error::invalid_request("code", "message", Uuid::nil()) {
            Error::Acquisition(error) => {
                let claims = claims.map(ToOwned::to_owned);
                Error::Acquisition(Arc::new(AcquisitionError { claims, ..(*error).clone() }))
            }
            other => other,
        };
        // What makes a quotation mark and a line break of a header harmless.
        let claims = "{\"access_token\":{\"nbf\":{\"value\":\"?>~\"}}}\r\n";
        let header = error(Some(claims)).www_authenticate().expect("a challenge");
        let header = header.to_str().expect("text");
        let encoded = header
            .strip_prefix(r#"Bearer error="insufficient_claims", claims=""#)
            .and_then(|rest| rest.strip_suffix('"'))
            .expect("the form of the challenge");
        assert_eq!(BASE64_URL_SAFE.decode(encoded).expect("base64url"), claims.as_bytes());
        assert_eq!(error(None).www_authenticate(), None);
    }
}
