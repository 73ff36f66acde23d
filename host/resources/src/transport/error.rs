use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError};

use super::watch::Seen;

/// Why a request got no complete answer.
///
/// `Display` is for people: it names the server, what happened and, where there is one, the remedy. It holds no secret,
/// no path, no query and no body. Decisions are made on [`TransportError::kind`] and [`TransportError::request_sent`].
#[derive(Clone)]
pub struct TransportError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: TransportErrorKind,
    authority: String,
    detail: String,
    request_sent: bool,
}

/// What went wrong, as the one who asked sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The application's configuration allows no requests to this scheme, host and port.
    PolicyRefused,
    /// The request can't be sent as it is: no authority in the URL, a method or header that is the host's own.
    InvalidRequest,
    /// The request brings a `content-length`. The host sets it, after the secret is in its place.
    ContentLengthGiven,
    /// The place for the secret isn't in the request.
    SecretPlaceMissing,
    /// The place for the secret isn't empty.
    SecretPlaceNotEmpty,
    /// The place for the secret is in the request more than once.
    SecretPlaceRepeated,
    /// The secret has a character that a header can't carry.
    SecretNotRepresentable,
    /// The host name could not be resolved.
    Dns,
    /// Nothing listens at the address.
    ConnectionRefused,
    /// No connection for another reason of the network: no route, no free descriptor.
    ConnectFailed,
    /// No connection within the time for connecting; the step that it was at.
    ConnectTimeout(ConnectStep),
    /// The proxy could not be reached, or refused the tunnel with this status.
    Proxy(Option<u16>),
    /// The server's certificate was issued by none of the trusted roots.
    CertificateUntrusted,
    /// The server's certificate is for other names.
    CertificateName,
    /// The server's certificate is expired or not yet valid.
    CertificateExpired,
    /// The server's certificate is invalid in another way.
    CertificateInvalid,
    /// The server refused the client certificate, with this TLS alert (RFC 8446 §6.2).
    ClientCertificateRefused(u8),
    /// The server did not ask for a client certificate, so the request was not sent.
    ClientCertificateNotRequested,
    /// The server accepts no signature that the client certificate's key can make, so the request was not sent.
    ClientCertificateUnusable,
    /// The server ended the connection with another TLS alert (RFC 8446 §6.2).
    TlsAlert(u8),
    /// The server asked for the client certificate after the handshake, by a renegotiation (TLS 1.2) or a post-handshake
    /// authentication (TLS 1.3), where none is presented.
    LateClientAuth,
    /// The TLS handshake failed for another reason: no common version or cipher suite, connection closed in it.
    TlsHandshake,
    /// The connection was closed or broken before the answer's head was complete.
    ResetBeforeHeaders,
    /// The connection was closed or broken inside the answer's body.
    ResetInBody,
    /// The answer isn't HTTP.
    MalformedResponse,
    /// The answer's body is longer than the limit.
    ResponseTooLarge,
    /// The request's body could not be read to its end.
    RequestBody,
    /// The attempt took longer than one attempt may; what it was waiting for.
    AttemptTimeout(Phase),
    /// Nothing came and nothing went for longer than that may last; what the attempt was waiting for.
    IdleTimeout(Phase),
    /// The deadline of the whole acquisition, or of the call, passed; what the attempt was waiting for.
    DeadlineExceeded(Phase),
}

/// What an attempt is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// A connection.
    Connecting,
    /// The head of the answer. Bytes of the request may have gone out.
    WaitingForHeaders,
    /// The rest of the answer.
    ReadingBody,
}

/// How far the making of a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectStep {
    /// Looking the name up.
    Resolving,
    /// Waiting for TCP.
    Tcp,
    /// Waiting for the proxy's answer to CONNECT.
    Proxy,
    /// Waiting for the TLS handshake.
    Tls,
}

impl TransportError {
    pub(crate) fn new(
        kind: TransportErrorKind,
        authority: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        let (authority, detail) = (authority.into(), detail.into());
        Self(Box::new(Inner { kind, authority, detail, request_sent: false }))
    }

    /// The request's body went out before, and nothing of it is left.
    pub fn nothing_to_send(uri: &http::Uri) -> Self {
        let detail = "not sent: the body is gone";
        Self::new(TransportErrorKind::RequestBody, uri.host().unwrap_or("request"), detail)
    }

    /// Marks that bytes of the request may have reached the server.
    pub(crate) fn sent(mut self) -> Self {
        self.0.request_sent = true;
        self
    }

    /// Takes the mark back: hyper knows that nothing was written.
    pub(super) fn unsent(mut self) -> Self {
        self.0.request_sent = false;
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> TransportErrorKind {
        self.0.kind
    }

    /// The server that the request was for, `host` or `host:port` as in its URL.
    pub fn authority(&self) -> &str {
        &self.0.authority
    }

    /// What happened, without the server's name.
    pub(super) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Whether the server may have acted on the request: bytes of it may have gone out and nothing shows that they were
    /// discarded. What must not happen twice must not be sent again then.
    pub fn request_sent(&self) -> bool {
        self.0.request_sent
    }

    /// An error that hyper reports between the request and the answer's head, and why TLS ended the connection, if it
    /// did.
    ///
    /// `first_on_bound` is whether it was the first request on a connection that presented a certificate: with TLS 1.3
    /// the server's verdict on it arrives only now. A server that refuses it has not read the request (RFC 8446 §4.4.4).
    pub(super) fn exchange(
        authority: &str,
        error: &hyper::Error,
        seen: Option<Seen>,
        first_on_bound: bool,
    ) -> Self {
        if let Some(Seen::LateClientAuth) = seen {
            let detail = "the server asked for a client certificate after the handshake, which isn't supported; it must \
                          ask in the handshake (for every path, or on a host name or port of its own)";
            return Self::new(TransportErrorKind::LateClientAuth, authority, detail).sent();
        }
        if let Some(Seen::Alert(alert)) = seen {
            let refusal = Self::alert(authority, alert, first_on_bound);
            let unread = matches!(refusal.kind(), TransportErrorKind::ClientCertificateRefused(_));
            return if unread { refusal } else { refusal.sent() };
        }
        if error.is_user() {
            let detail = format!("the request's body could not be read to its end ({})", innermost(error));
            return Self::new(TransportErrorKind::RequestBody, authority, detail).sent();
        }
        if error.is_parse() {
            return Self::new(TransportErrorKind::MalformedResponse, authority, format!("not HTTP: {error}"))
                .sent();
        }
        let hint = if first_on_bound { ", perhaps because it refused the client certificate" } else { "" };
        let detail = format!("the connection was closed before an answer{hint} ({})", innermost(error));
        Self::new(TransportErrorKind::ResetBeforeHeaders, authority, detail).sent()
    }

    /// Whether the server says, by ending the connection in order or by refusing the stream, that it didn't process the
    /// request (RFC 9113 §6.8, §8.7). nginx ends connections after 1,000 requests.
    pub(super) fn is_unprocessed(error: &hyper::Error) -> bool {
        let error = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
        error.filter(|error| error.is_remote()).is_some_and(|error| match error.reason() {
            Some(h2::Reason::NO_ERROR) => error.is_go_away(),
            reason => error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM),
        })
    }

    /// An error that hyper reports inside the answer's body.
    pub(super) fn body(authority: &str, error: &hyper::Error) -> Self {
        let (kind, what) = match error.is_parse() || is_malformed(error) {
            true => (TransportErrorKind::MalformedResponse, "the answer's body isn't HTTP"),
            false => (TransportErrorKind::ResetInBody, "the connection was closed inside the answer"),
        };
        Self::new(kind, authority, format!("{what} ({})", innermost(error))).sent()
    }

    /// A TCP connection that could not be made, to the server or to the proxy in front of it.
    pub(super) fn tcp(authority: &str, target: &str, error: &io::Error) -> Self {
        let (kind, what) = match error.kind() {
            io::ErrorKind::ConnectionRefused => (TransportErrorKind::ConnectionRefused, "nothing listens at"),
            _ => (TransportErrorKind::ConnectFailed, "no connection to"),
        };
        Self::new(kind, authority, format!("{what} {target} ({error})"))
    }

    /// A TLS handshake that failed. `roots` says in words which roots were trusted.
    pub(super) fn handshake(authority: &str, error: &io::Error, roots: &str, bound: bool) -> Self {
        match tls_error(error) {
            Some(rustls::Error::InvalidCertificate(reason)) => Self::certificate(authority, reason, roots),
            Some(rustls::Error::AlertReceived(alert)) => Self::alert(authority, *alert, bound),
            Some(other) => Self::new(
                TransportErrorKind::TlsHandshake,
                authority,
                format!("TLS handshake failed: {other}"),
            ),
            None => {
                let detail = format!("the connection was closed in the TLS handshake ({error})");
                Self::new(TransportErrorKind::TlsHandshake, authority, detail)
            }
        }
    }

    fn certificate(authority: &str, reason: &CertificateError, roots: &str) -> Self {
        use CertificateError as Reason;
        use TransportErrorKind as Kind;
        let (kind, why) = match reason {
            Reason::UnknownIssuer => (
                Kind::CertificateUntrusted,
                format!(
                    "it was issued by none of the trusted roots ({roots}); if its issuer should be trusted, name the \
                     issuer's PEM file in `Symbolon:TrustedRoots` or in the environment variable SSL_CERT_FILE"
                ),
            ),
            Reason::NotValidForNameContext { presented, .. } => {
                (Kind::CertificateName, format!("it is for {}, not for this host", listed(presented)))
            }
            Reason::NotValidForName => (Kind::CertificateName, "it is not for this host".to_owned()),
            Reason::ExpiredContext { time, not_after } => {
                let days = time.as_secs().saturating_sub(not_after.as_secs()) / SECONDS_PER_DAY;
                (Kind::CertificateExpired, format!("it expired {days} days ago, by this machine's clock"))
            }
            Reason::Expired => {
                (Kind::CertificateExpired, "it is expired, by this machine's clock".to_owned())
            }
            Reason::NotValidYet | Reason::NotValidYetContext { .. } => {
                (Kind::CertificateExpired, "it is not valid yet, by this machine's clock".to_owned())
            }
            Reason::Other(other) => (Kind::CertificateInvalid, other.to_string()),
            other => (Kind::CertificateInvalid, other.to_string()),
        };
        Self::new(kind, authority, format!("the server's certificate is not trusted: {why}"))
    }

    fn alert(authority: &str, alert: AlertDescription, bound: bool) -> Self {
        let code = u8::from(alert);
        if bound && CLIENT_CERTIFICATE_ALERTS.contains(&alert) {
            let detail = format!("the server refused the client certificate (TLS alert {alert:?})");
            return Self::new(TransportErrorKind::ClientCertificateRefused(code), authority, detail);
        }
        let remedy = match alert {
            AlertDescription::CertificateRequired => "; it wants a client certificate",
            _ => "",
        };
        let detail = format!("the server ended the connection with the TLS alert {alert:?}{remedy}");
        Self::new(TransportErrorKind::TlsAlert(code), authority, detail)
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.authority, self.0.detail)
    }
}

impl fmt::Debug for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportError")
            .field("kind", &self.0.kind)
            .field("authority", &self.0.authority)
            .field("detail", &self.0.detail)
            .field("request_sent", &self.0.request_sent)
            .finish()
    }
}

impl StdError for TransportError {}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "a connection",
            Self::WaitingForHeaders => "the answer",
            Self::ReadingBody => "the rest of the answer",
        })
    }
}

impl fmt::Display for ConnectStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolving => "the name to be resolved",
            Self::Tcp => "TCP",
            Self::Proxy => "the proxy",
            Self::Tls => "the TLS handshake",
        })
    }
}

pub(super) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// hyper reports malformed chunks as input errors.
fn is_malformed(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidInput)
}

/// The cause of all causes: the layers above it say no more than that there was an error.
fn innermost(error: &hyper::Error) -> String {
    let mut cause: &dyn StdError = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// At most three names of a certificate, which may have a hundred.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    match (names.len(), names.len().saturating_sub(SHOWN)) {
        (0, _) => "no host name".to_owned(),
        (_, 0) => shown.join(", "),
        (_, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// The alerts by which a server refuses a client certificate, or the lack of one (RFC 8446 §6.2).
const CLIENT_CERTIFICATE_ALERTS: [AlertDescription; 8] = [
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
    AlertDescription::CertificateRequired,
];
