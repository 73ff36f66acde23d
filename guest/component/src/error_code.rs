//! What the codes of `wasi:http` mean to the core.

use alloc::format;
use alloc::string::String;

use symbolon_protocol::response::{TransportError, TransportErrorKind};

use crate::words::ErrorCode;

pub(crate) fn transport_error(code: ErrorCode) -> TransportError {
    let (detail, kind) = (detail(&code), transport_error_kind(&code));
    TransportError { kind, detail, may_be_sent: may_be_sent(&code) }
}

/// Whether bytes of the request may have reached the server: not, where there was no connection to send them on.
fn may_be_sent(code: &ErrorCode) -> bool {
    use ErrorCode as Code;
    !matches!(
        code,
        Code::DnsTimeout
            | Code::DnsError(_)
            | Code::DestinationNotFound
            | Code::DestinationUnavailable
            | Code::DestinationIpProhibited
            | Code::DestinationIpUnroutable
            | Code::ConnectionRefused
            | Code::ConnectionTimeout
            | Code::ConnectionLimitReached
            | Code::TlsProtocolError
            | Code::TlsCertificateError
            | Code::TlsAlertReceived(_)
            | Code::HttpRequestDenied
    )
}

fn transport_error_kind(code: &ErrorCode) -> TransportErrorKind {
    use ErrorCode as Code;
    match code {
        Code::DnsTimeout | Code::DnsError(_) => TransportErrorKind::NameResolution,
        Code::DestinationNotFound
        | Code::DestinationUnavailable
        | Code::DestinationIpUnroutable
        | Code::ConnectionRefused
        | Code::ConnectionTerminated
        | Code::ConnectionLimitReached
        | Code::HttpResponseIncomplete => TransportErrorKind::Connection,
        Code::ConnectionTimeout
        | Code::ConnectionReadTimeout
        | Code::ConnectionWriteTimeout
        | Code::HttpResponseTimeout => TransportErrorKind::Timeout,
        Code::TlsProtocolError | Code::TlsAlertReceived(_) => TransportErrorKind::Tls,
        Code::TlsCertificateError => TransportErrorKind::ServerCertificate,
        Code::HttpRequestDenied | Code::DestinationIpProhibited => TransportErrorKind::Denied,
        Code::HttpResponseBodySize(_)
        | Code::HttpResponseHeaderSectionSize(_)
        | Code::HttpResponseHeaderSize(_)
        | Code::HttpResponseTrailerSectionSize(_)
        | Code::HttpResponseTrailerSize(_) => TransportErrorKind::ResponseTooLarge,
        Code::HttpProtocolError
        | Code::HttpResponseTransferCoding(_)
        | Code::HttpResponseContentCoding(_)
        | Code::HttpUpgradeFailed
        | Code::LoopDetected => TransportErrorKind::Protocol,
        Code::HttpRequestLengthRequired
        | Code::HttpRequestBodySize(_)
        | Code::HttpRequestMethodInvalid
        | Code::HttpRequestUriInvalid
        | Code::HttpRequestUriTooLong
        | Code::HttpRequestHeaderSectionSize(_)
        | Code::HttpRequestHeaderSize(_)
        | Code::HttpRequestTrailerSectionSize(_)
        | Code::HttpRequestTrailerSize(_)
        | Code::ConfigurationError
        | Code::InternalError(_) => TransportErrorKind::Internal,
    }
}

/// The name of the code, and what the host says beside it.
fn detail(code: &ErrorCode) -> String {
    match code {
        ErrorCode::DnsError(payload) => format!("DNS-error {}", payload.rcode.as_deref().unwrap_or_default()),
        ErrorCode::TlsAlertReceived(payload) => {
            format!("TLS-alert-received {}", payload.alert_message.as_deref().unwrap_or_default())
        }
        ErrorCode::InternalError(Some(message)) => message.clone(),
        other => String::from(name(other)),
    }
}

/// The name of a code in the interface `wasi:http/types`. Those that say the same to people share one.
fn name(code: &ErrorCode) -> &'static str {
    match code {
        ErrorCode::DnsTimeout => "DNS-timeout",
        ErrorCode::DestinationNotFound => "destination-not-found",
        ErrorCode::DestinationUnavailable => "destination-unavailable",
        ErrorCode::DestinationIpProhibited => "destination-IP-prohibited",
        ErrorCode::DestinationIpUnroutable => "destination-IP-unroutable",
        ErrorCode::ConnectionRefused => "connection-refused",
        ErrorCode::ConnectionTerminated => "connection-terminated",
        ErrorCode::ConnectionTimeout => "connection-timeout",
        ErrorCode::ConnectionReadTimeout => "connection-read-timeout",
        ErrorCode::ConnectionWriteTimeout => "connection-write-timeout",
        ErrorCode::ConnectionLimitReached => "connection-limit-reached",
        ErrorCode::TlsProtocolError => "TLS-protocol-error",
        ErrorCode::TlsCertificateError => "TLS-certificate-error",
        ErrorCode::HttpRequestDenied => "HTTP-request-denied",
        ErrorCode::HttpResponseIncomplete => "HTTP-response-incomplete",
        ErrorCode::HttpResponseBodySize(_) => "HTTP-response-body-size",
        ErrorCode::HttpResponseTimeout => "HTTP-response-timeout",
        ErrorCode::HttpProtocolError => "HTTP-protocol-error",
        ErrorCode::ConfigurationError => "configuration-error",
        ErrorCode::InternalError(_) => "internal-error",
        _ => "another error of wasi:http",
    }
}
