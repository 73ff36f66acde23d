//! `wasi:http/outgoing-handler`, and the exchange of whole requests and answers beside it, on the application's own
//! transport. There is no other way out.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use http_body_util::{BodyExt, Full, Limited};
use symbolon_resources::transport::{Presentation, Transport, TransportError, TransportErrorKind};
use tokio::time::Instant;
use tracing::Instrument;
use wasmtime_wasi_http::p2::bindings::http::types::{
    DnsErrorPayload, ErrorCode, Method, Scheme, TlsAlertReceivedPayload,
};
use wasmtime_wasi_http::{DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::bindings::symbolon::credentials::transport;
use super::call::Call;
use crate::application::Inner;
use crate::managed_identity::IssuedCertificate;
use crate::recorder::{Event, RequestEnded};

/// What a guest may send in one request. Token requests are a few kilobytes, a certificate chain included.
const REQUEST_BODY_LIMIT: usize = 1024 * 1024;

/// What its headers may have, names and values together.
const REQUEST_HEADERS_LIMIT: usize = 128 * 1024;

/// Sends requests of one guest, with a credential presented or without.
pub(super) struct Outgoing {
    pub(super) call: Option<Arc<Call>>,
    /// Taken by the request that it was made for; a plain request presents nothing.
    pub(super) presentation: Option<Presentation>,
    pub(super) way: Way,
}

/// By which of an application's transports a request leaves: what is presented to the one is never sent by the other.
#[derive(Clone)]
pub(super) enum Way {
    /// To the authority, with a credential of the application's.
    Authority,
    /// To the platform, with a secret of its own.
    Platform,
    /// To the one place where a certificate brings tokens that the platform issued.
    Issued(Arc<IssuedCertificate>),
    /// To either, with nothing.
    ByUrl,
}

impl Way {
    fn transport<'a>(&'a self, call: &'a Call, uri: &http::Uri) -> &'a Transport {
        let Inner { transport, platform_transport, .. } = &*call.application;
        let is_platforms = match self {
            Self::Authority => false,
            Self::Platform => true,
            Self::Issued(issued) => return &issued.transport,
            Self::ByUrl => call.is_to_platform(uri),
        };
        if is_platforms { platform_transport } else { transport }
    }
}

type Worker = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = Result<(http::Response<WasiBody>, Worker), Error>;

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _body_outcome: Worker,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        let call = self.call.clone();
        let presentation = self.presentation.take().unwrap_or_default();
        let way = self.way.clone();
        let limit =
            options.and_then(|options| options.first_byte_timeout).filter(|_| matches!(way, Way::ByUrl));
        let sent = async move {
            let call = call.ok_or(Error::HttpRequestDenied)?;
            let response = send(call, request, presentation, way, limit).await?;
            Ok((response, Box::new(async { Ok(()) }) as Worker))
        };
        // It runs as a task of its own.
        Box::new(sent.in_current_span())
    }

    /// The transport sets it from the URL.
    fn set_host_header(&mut self) -> bool {
        false
    }
}

/// Sends a request and gives its whole answer: the guest reads it in one call, and what goes wrong inside the body is an
/// error of the request like any other.
///
/// The guest's own limit counts for plain requests, and may only shorten the host's: the limits of requests with a credential
/// are the same on both sides.
async fn send(
    call: Arc<Call>,
    request: http::Request<WasiBody>,
    presentation: Presentation,
    way: Way,
    limit: Option<Duration>,
) -> Result<http::Response<WasiBody>, Error> {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, REQUEST_BODY_LIMIT).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) => return Err(request_too_large().into()),
    };
    let request = http::Request::from_parts(parts, body);
    let deadline = limit.map_or(call.deadline, |limit| call.deadline.min(Instant::now() + limit));
    let answer = send_whole(&call, request, presentation, way, deadline).await?;
    Ok(answer.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync()))
}

/// The same in one call, without the streams and the task that `wasi:http` makes of a request.
pub(super) async fn exchange(
    outgoing: Outgoing,
    request: transport::Request,
) -> Result<transport::Response, ErrorCode> {
    let Outgoing { call, presentation, way } = outgoing;
    let call = call.ok_or(ErrorCode::HttpRequestDenied)?;
    let request = whole_request(request)?;
    let answer = send_whole(&call, request, presentation.unwrap_or_default(), way, call.deadline).await?;
    Ok(whole_response(answer))
}

/// With the checks that `wasi:http` makes; the transport's own come after it.
fn whole_request(request: transport::Request) -> Result<http::Request<Bytes>, ErrorCode> {
    let transport::Request { method, scheme, authority, path_with_query, headers, body, .. } = request;
    if body.len() > REQUEST_BODY_LIMIT {
        return Err(request_too_large());
    }
    let scheme = match scheme {
        Scheme::Https => http::uri::Scheme::HTTPS,
        Scheme::Http => http::uri::Scheme::HTTP,
        Scheme::Other(_) => return Err(ErrorCode::HttpProtocolError),
    };
    let too_large = || ErrorCode::HttpRequestHeaderSectionSize(Some(REQUEST_HEADERS_LIMIT as u32));
    if headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > REQUEST_HEADERS_LIMIT {
        return Err(too_large());
    }
    let uri = http::Uri::builder().scheme(scheme).authority(authority).path_and_query(path_with_query);
    let mut whole = http::Request::new(Bytes::from(body));
    *whole.uri_mut() = uri.build().map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
    *whole.method_mut() = known_method(method)?;
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|_| ErrorCode::HttpRequestDenied)?;
        if DEFAULT_FORBIDDEN_HEADERS.contains(&name) {
            return Err(ErrorCode::HttpRequestDenied);
        }
        let value = HeaderValue::try_from(value).map_err(|_| ErrorCode::HttpRequestDenied)?;
        // There may be more of them than a map takes.
        whole.headers_mut().try_append(name, value).map_err(|_| too_large())?;
    }
    Ok(whole)
}

fn known_method(method: Method) -> Result<http::Method, ErrorCode> {
    match method {
        Method::Get => Ok(http::Method::GET),
        Method::Post => Ok(http::Method::POST),
        Method::Head => Ok(http::Method::HEAD),
        Method::Put => Ok(http::Method::PUT),
        Method::Delete => Ok(http::Method::DELETE),
        Method::Options => Ok(http::Method::OPTIONS),
        Method::Patch => Ok(http::Method::PATCH),
        Method::Connect | Method::Trace | Method::Other(_) => Err(ErrorCode::HttpRequestMethodInvalid),
    }
}

fn whole_response(response: http::Response<Bytes>) -> transport::Response {
    let (parts, body) = response.into_parts();
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    };
    transport::Response {
        status: parts.status.as_u16(),
        headers: parts.headers.iter().filter_map(text).collect(),
        body: body.into(),
    }
}

fn request_too_large() -> ErrorCode {
    ErrorCode::HttpRequestBodySize(Some(REQUEST_BODY_LIMIT as u64))
}

async fn send_whole(
    call: &Call,
    request: http::Request<Bytes>,
    presentation: Presentation,
    way: Way,
    deadline: Instant,
) -> Result<http::Response<Bytes>, ErrorCode> {
    let recorded = call.about_to_send(&request, &presentation);
    let began = Instant::now();
    let answer = whole_answer(way.transport(call, request.uri()), request, presentation, deadline).await;
    call.add_http_duration(began.elapsed());
    if let Some(request) = &recorded {
        let answered = answer.as_ref();
        call.record(|| {
            Event::RequestEnded(RequestEnded {
                request,
                outcome: answered.map(|answer| answer.status().as_u16()),
                body_bytes: answered.ok().map(|answer| answer.body().len()),
                duration: began.elapsed(),
            })
        });
    }
    answer.map_err(|error| call.transport_failed(error))
}

async fn whole_answer(
    transport: &Transport,
    request: http::Request<Bytes>,
    presentation: Presentation,
    deadline: Instant,
) -> Result<http::Response<Bytes>, TransportError> {
    let response = transport.send(request, presentation, deadline).await?;
    let (parts, body) = response.into_parts();
    Ok(http::Response::from_parts(parts, body.collect().await?.to_bytes()))
}

/// What the guest learns about a failed request. People get the transport's own words besides.
pub(crate) fn error_code(error: &TransportError) -> ErrorCode {
    use TransportErrorKind as Kind;
    match error.kind() {
        Kind::PolicyRefused
        | Kind::InvalidRequest
        | Kind::ContentLengthGiven
        | Kind::ClientCertificateNotRequested
        | Kind::ClientCertificateUnusable => ErrorCode::HttpRequestDenied,
        Kind::Dns => ErrorCode::DnsError(DnsErrorPayload { rcode: None, info_code: None }),
        Kind::ConnectionRefused => ErrorCode::ConnectionRefused,
        Kind::ConnectFailed | Kind::Proxy(_) => ErrorCode::DestinationUnavailable,
        Kind::ConnectTimeout(_) => ErrorCode::ConnectionTimeout,
        Kind::CertificateUntrusted
        | Kind::CertificateName
        | Kind::CertificateExpired
        | Kind::CertificateInvalid => ErrorCode::TlsCertificateError,
        Kind::ClientCertificateRefused(alert) | Kind::TlsAlert(alert) => {
            ErrorCode::TlsAlertReceived(TlsAlertReceivedPayload {
                alert_id: Some(alert),
                alert_message: None,
            })
        }
        Kind::TlsHandshake | Kind::LateClientAuth => ErrorCode::TlsProtocolError,
        Kind::ResetBeforeHeaders => ErrorCode::ConnectionTerminated,
        Kind::ResetInBody => ErrorCode::HttpResponseIncomplete,
        Kind::MalformedResponse => ErrorCode::HttpProtocolError,
        Kind::ResponseTooLarge => ErrorCode::HttpResponseBodySize(None),
        Kind::AttemptTimeout(_) | Kind::DeadlineExceeded(_) => ErrorCode::ConnectionReadTimeout,
        kind => ErrorCode::InternalError(Some(format!("{kind:?}"))),
    }
}
