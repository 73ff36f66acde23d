//! What can go wrong with a call, beside the acquisition of its token.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use symbolon_resources::transport::{TransportError, TransportErrorKind};

use crate::error::Error;

/// A call that didn't end as it should: what became of it, and what the API said. Holds no token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DownstreamError {
    /// What became of it.
    pub kind: DownstreamErrorKind,
    /// The API's name.
    pub api: Arc<str>,
    /// A sentence for people.
    pub message: String,
    /// The status of the answer, where there was one.
    pub status: Option<StatusCode>,
    /// The beginning of the answer's body, at most 4,096 characters, what looks like a token left out. Of an error that is
    /// about a status.
    pub body: Option<String>,
    /// The ids by which the API's logs know the call: its headers `client-request-id`, `request-id`, `x-correlation-id`,
    /// `x-ms-correlation-request-id`, `x-ms-request-id` and `traceresponse`, by name.
    pub correlation_ids: Vec<(String, String)>,
    /// What the transport saw, where no complete answer arrived.
    pub transport: Option<TransportError>,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DownstreamErrorKind {
    /// It can't be sent as it is: no base URL, a header that none is. Nothing was sent.
    InvalidRequest,
    /// No complete answer arrived: name resolution, connection, TLS, or a deadline.
    TransportFailed,
    /// The server didn't ask for the client certificate in the TLS handshake. Whether it never asks, or later, by a
    /// renegotiation (TLS 1.2) or post-handshake authentication (TLS 1.3): it can't be presented then.
    LateClientAuth,
    /// The call didn't end within its time.
    DeadlineExceeded,
    /// The API answered with a status of 400 or above, and the caller wants that to be an error.
    Refused,
    /// The answer is longer than may be read into memory.
    ResponseTooLarge,
    /// The answer isn't what the caller wants to read.
    MalformedResponse,
}

impl DownstreamErrorKind {
    /// The name of the kind in logs and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid-request",
            Self::TransportFailed => "transport-failed",
            Self::LateClientAuth => "late-client-auth",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::Refused => "refused",
            Self::ResponseTooLarge => "response-too-large",
            Self::MalformedResponse => "malformed-response",
        }
    }
}

impl fmt::Display for DownstreamErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl DownstreamError {
    pub(super) fn new(kind: DownstreamErrorKind, api: &Arc<str>, message: impl Into<String>) -> Self {
        Self {
            kind,
            api: api.clone(),
            message: message.into(),
            status: None,
            body: None,
            correlation_ids: Vec::new(),
            transport: None,
        }
    }

    /// No complete answer arrived.
    pub(super) fn transport(api: &Arc<str>, error: TransportError) -> Self {
        use TransportErrorKind as Kind;
        let kind = match error.kind() {
            Kind::LateClientAuth | Kind::ClientCertificateNotRequested => DownstreamErrorKind::LateClientAuth,
            Kind::DeadlineExceeded(_) | Kind::IdleTimeout(_) => DownstreamErrorKind::DeadlineExceeded,
            Kind::InvalidRequest => DownstreamErrorKind::InvalidRequest,
            _ => DownstreamErrorKind::TransportFailed,
        };
        Self { transport: Some(error.clone()), ..Self::new(kind, api, error.to_string()) }
    }

    /// The API answered with a status that the caller doesn't want.
    pub(super) fn refused(api: &Arc<str>, status: StatusCode, headers: &HeaderMap, body: String) -> Self {
        let ids = headers.iter().filter(|(name, _)| CORRELATION.contains(&name.as_str()));
        let ids = ids.filter_map(|(name, id)| Some((name.as_str().to_owned(), id.to_str().ok()?.to_owned())));
        let message = format!("the API answered {status}");
        Self {
            status: Some(status),
            body: Some(body),
            correlation_ids: ids.collect(),
            ..Self::new(DownstreamErrorKind::Refused, api, message)
        }
    }

    /// Whether the same call may succeed later, as far as one can know.
    pub fn is_retryable(&self) -> bool {
        match self.kind {
            DownstreamErrorKind::TransportFailed | DownstreamErrorKind::DeadlineExceeded => true,
            DownstreamErrorKind::Refused => self.status.is_some_and(|status| {
                status.is_server_error()
                    || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
            }),
            _ => false,
        }
    }
}

impl fmt::Display for DownstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.api, self.kind, self.message)?;
        for (name, id) in &self.correlation_ids {
            write!(f, "; {name}: {id}")?;
        }
        match self.body.as_deref() {
            Some(body) if !body.is_empty() => write!(f, ": {body}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for DownstreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.transport.as_ref().and_then(std::error::Error::source)
    }
}

impl From<DownstreamError> for Error {
    fn from(error: DownstreamError) -> Self {
        Self::Downstream(Arc::new(error))
    }
}

const CORRELATION: [&str; 6] = [
    "client-request-id",
    "request-id",
    "traceresponse",
    "x-correlation-id",
    "x-ms-correlation-request-id",
    "x-ms-request-id",
];
