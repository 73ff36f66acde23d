//! `wasi:http/outgoing-handler`, on the application's own transport. There is no other way out.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use symbolon_resources::transport::{Presentation, Transport, TransportError, TransportErrorKind};
use tokio::time::Instant;
use tracing::Instrument;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::call::Call;
use crate::application::Inner;
use crate::managed_identity::IssuedCertificate;
use crate::recorder::{Event, RequestEnded};

/// What a guest may send in one request. Token requests are a few kilobytes, a certificate chain included.
const REQUEST_BODY_LIMIT: usize = 1024 * 1024;

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
        Err(_) => return Err(Error::HttpRequestBodySize(Some(REQUEST_BODY_LIMIT as u64))),
    };
    let request = http::Request::from_parts(parts, body);
    let began = Instant::now();
    let deadline = limit.map_or(call.deadline, |limit| call.deadline.min(began + limit));
    let answer = exchange(&call, request, presentation, way, deadline).await;
    call.add_http_duration(began.elapsed());
    answer.map_err(|error| call.transport_failed(error))
}

async fn exchange(
    call: &Call,
    request: http::Request<Bytes>,
    presentation: Presentation,
    way: Way,
    deadline: Instant,
) -> Result<http::Response<WasiBody>, TransportError> {
    let recorded = call.about_to_send(&request, &presentation);
    let began = Instant::now();
    let answer = whole_answer(way.transport(call, request.uri()), request, presentation, deadline).await;
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
    Ok(answer?.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync()))
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
pub(crate) fn error_code(error: &TransportError) -> Error {
    use TransportErrorKind as Kind;
    match error.kind() {
        Kind::PolicyRefused
        | Kind::InvalidRequest
        | Kind::ContentLengthGiven
        | Kind::ClientCertificateNotRequested
        | Kind::ClientCertificateUnusable => Error::HttpRequestDenied,
        Kind::Dns => Error::DnsError { rcode: None, info_code: None },
        Kind::ConnectionRefused => Error::ConnectionRefused,
        Kind::ConnectFailed | Kind::Proxy(_) => Error::DestinationUnavailable,
        Kind::ConnectTimeout(_) => Error::ConnectionTimeout,
        Kind::CertificateUntrusted
        | Kind::CertificateName
        | Kind::CertificateExpired
        | Kind::CertificateInvalid => Error::TlsCertificateError,
        Kind::ClientCertificateRefused(alert) | Kind::TlsAlert(alert) => {
            Error::TlsAlertReceived { alert_id: Some(alert), alert_message: None }
        }
        Kind::TlsHandshake | Kind::LateClientAuth => Error::TlsProtocolError,
        Kind::ResetBeforeHeaders => Error::ConnectionTerminated,
        Kind::ResetInBody => Error::HttpResponseIncomplete,
        Kind::MalformedResponse => Error::HttpProtocolError,
        Kind::ResponseTooLarge => Error::HttpResponseBodySize(None),
        Kind::AttemptTimeout(_) | Kind::DeadlineExceeded(_) => Error::ConnectionReadTimeout,
        kind => Error::InternalError(Some(format!("{kind:?}"))),
    }
}
