//! `symbolon:token/send-authorized`: requests with tokens that their sender can't read.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use symbolon_resources::configuration::ProtocolScheme;
use symbolon_resources::credentials::{Outcome, SelectedCredential};
use symbolon_resources::transport::{Body, RequestBody, TransportError};
use tracing::Instrument;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks};

use super::authorization::{Authorization, Proof};
use super::ctx::Guest;
use super::hooks::GuestSend;
use super::policy::GuestRefusal;
use crate::downstream::{DownstreamApiOptions, Verdict, is_forwardable_header, review};
use crate::engine::error_code;

/// Sends a request of a guest's. What is refused is an error of the answer, as everything is that comes later.
pub(super) fn send(
    guest: &Arc<Guest>,
    table: &mut ResourceTable,
    request: Resource<HostOutgoingRequest>,
    options: Option<Resource<RequestOptions>>,
    authorization: &Resource<Authorization>,
) -> wasmtime::Result<Result<Resource<HostFutureIncomingResponse>, ErrorCode>> {
    let authorization = table.get(authorization)?.clone();
    let mut hooks = Outgoing { guest: guest.clone(), authorization };
    let mut view = WasiHttpCtxView { hooks: &mut hooks, table, ctx: &mut WasiHttpCtx::new() };
    match view.handle(request, options) {
        Ok(response) => Ok(Ok(response)),
        Err(error) => error.downcast().map(Err),
    }
}

/// Sends the one request that it was made for.
struct Outgoing {
    guest: Arc<Guest>,
    authorization: Authorization,
}

type Worker = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = Result<(Response<WasiBody>, Worker), Error>;

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _body_outcome: Worker,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        let (parts, body) = request.into_parts();
        if let Err(refusal) = self.admit(&parts) {
            self.guest.refuse(refusal);
            return Box::new(std::future::ready(Err(denied(refusal))));
        }
        let span = tracing::debug_span!(
            "symbolon.guest.send",
            guest = &*self.guest.id,
            method = %parts.method,
            host = parts.uri.host().unwrap_or_default(),
        );
        let sending = send_with(self.authorization.clone(), parts, body, options.unwrap_or_default());
        Box::new(async { Ok((sending.await?, Box::new(async { Ok(()) }) as Worker)) }.instrument(span))
    }

    /// The transport sets it from the URL.
    fn set_host_header(&mut self) -> bool {
        false
    }
}

impl Outgoing {
    /// Whether the guest may send this. It is looked at as it goes out, whatever it was made by.
    fn admit(&self, parts: &Parts) -> Result<(), GuestRefusal> {
        let Self { guest, authorization } = self;
        guest.count()?;
        if !Arc::ptr_eq(guest, &authorization.guest) {
            return Err(GuestRefusal::Owner);
        }
        let is_allowed = match &authorization.proof {
            Proof::Token { scopes, .. } => guest.policy.allows_send(&parts.uri, scopes),
            Proof::Certificate(_) => guest.policy.allows_certificate_at(&parts.uri),
        };
        if !is_allowed {
            return Err(GuestRefusal::Origin);
        }
        // `TRACE` has the token sent back in a body (RFC 9110 §9.3.8).
        if matches!(parts.method, Method::TRACE | Method::CONNECT) {
            return Err(GuestRefusal::Method);
        }
        let is_fine = |name: &HeaderName| *name == CONTENT_LENGTH || is_forwardable_header(name);
        if !parts.headers.keys().all(is_fine) {
            return Err(GuestRefusal::Header);
        }
        let (host, path) = (parts.uri.host().unwrap_or_default(), parts.uri.path());
        let (id, scopes) = (&*guest.id, authorization.proof.scopes());
        let send = GuestSend { guest: id, method: &parts.method, host, path, scopes };
        match guest.hooks.as_ref().is_none_or(|hooks| hooks.allows_send(&send)) {
            true => Ok(()),
            false => Err(GuestRefusal::Hooks),
        }
    }
}

async fn send_with(
    authorization: Authorization,
    mut parts: Parts,
    body: WasiBody,
    options: RequestOptions,
) -> Result<Response<WasiBody>, Error> {
    let Authorization { guest, proof } = authorization;
    let certificate = match &proof {
        Proof::Token { is_bound: false, .. } => None,
        Proof::Token { token, .. } => Some(token.binding_certificate().ok_or(Error::HttpRequestDenied)?),
        Proof::Certificate(selected) => Some(selected.binding().ok_or(Error::HttpRequestDenied)?),
    };
    if let Proof::Token { token, .. } = &proof {
        let header = token.authorization_header().ok_or(Error::HttpRequestDenied)?;
        parts.headers.insert(AUTHORIZATION, header);
    }
    let body = Measured::new(body, &mut parts.headers);
    let body = match body.left {
        // Kept, it can be sent again where a kept connection turns out to be closed.
        Some(length) if length <= BUFFERED as u64 => RequestBody::stream(body).buffered(BUFFERED).await,
        _ => Ok(RequestBody::stream(body)),
    };
    let body = body.map_err(|_| Error::HttpProtocolError)?;
    let idle = options.between_bytes_timeout.unwrap_or(IDLE);
    let transport = &guest.application.inner.api_transport;
    let exchange = transport.exchange(Request::from_parts(parts, body), certificate, None, idle);
    let answer = match options.first_byte_timeout {
        None => exchange.await,
        Some(limit) => {
            tokio::time::timeout(limit, exchange).await.map_err(|_| Error::ConnectionReadTimeout)?
        }
    };
    match proof {
        Proof::Token { token, .. } => {
            answer.map(|response| masked(response, token.access_token())).map_err(failed)
        }
        Proof::Certificate(selected) => {
            judge(&guest, &selected, &answer).await;
            answer.map(|response| response.map(|body| body.map_err(failed).boxed_unsync())).map_err(failed)
        }
    }
}

/// Tells the credentials what became of a certificate: once an API has rejected it, another one is next, if there is one.
async fn judge(
    guest: &Guest,
    selected: &SelectedCredential,
    answer: &Result<Response<Body>, TransportError>,
) {
    let mut options = DownstreamApiOptions::default();
    options.protocol_scheme = ProtocolScheme::Mtls;
    let outcome = match review(&guest.application, &options, answer, 1).await {
        Ok(Verdict::ReselectCertificate) => Outcome::Rejected,
        _ if answer.as_ref().is_ok_and(|response| response.status().is_success()) => Outcome::Used,
        _ => return,
    };
    guest.application.inner.credentials.report(selected, outcome);
}

/// A body with the length that the guest gave it, which the transport sets itself.
struct Measured {
    body: WasiBody,
    left: Option<u64>,
}

impl Measured {
    fn new(body: WasiBody, headers: &mut HeaderMap) -> Self {
        let length = headers.remove(CONTENT_LENGTH);
        Self { body, left: length.and_then(|length| length.to_str().ok()?.parse().ok()) }
    }
}

impl http_body::Body for Measured {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let frame = frame.map(|frame| frame.map(without_trailers));
        if frame.is_none() && self.left.is_some_and(|left| left > 0) {
            return Poll::Ready(Some(Err(Error::HttpRequestBodySize(None))));
        }
        if let (Some(left), Some(Ok(part))) = (&mut self.left, &frame) {
            *left = left.saturating_sub(part.data_ref().map_or(0, |part| part.len() as u64));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(|| self.body.size_hint(), SizeHint::with_exact)
    }
}

/// Trailers would be headers that nobody looked at.
fn without_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_data() {
        Ok(data) => Frame::data(data),
        Err(_) => Frame::data(Bytes::new()),
    }
}

/// The answer, without the token in its headers and trailers.
fn masked(mut response: Response<Body>, token: &str) -> Response<WasiBody> {
    mask(response.headers_mut(), token);
    let token: Box<str> = token.into();
    response.map(|body| {
        let body = body.map_frame(move |frame| match frame.into_trailers() {
            Ok(mut trailers) => {
                mask(&mut trailers, &token);
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        });
        body.map_err(failed).boxed_unsync()
    })
}

/// A value that has the token in it is replaced as a whole: what is around the token might say which part of it was left.
fn mask(headers: &mut HeaderMap, token: &str) {
    for value in headers.values_mut() {
        if value.as_bytes().windows(token.len().max(1)).any(|part| part == token.as_bytes()) {
            *value = HeaderValue::from_static(MASK);
        }
    }
}

fn failed(error: TransportError) -> Error {
    tracing::debug!(%error, "a guest's request failed");
    error_code(&error).into()
}

fn denied(refusal: GuestRefusal) -> Error {
    match refusal {
        GuestRefusal::Rate { .. } => Error::ConnectionLimitReached,
        _ => Error::HttpRequestDenied,
    }
}

/// Which bodies of known length are read before they are sent, in bytes. The others go out as they come.
const BUFFERED: usize = 64 * 1024;
/// How long nothing may come and nothing go, where the guest says nothing: as for calls of the program's own.
const IDLE: Duration = Duration::from_secs(100);
const MASK: &str = "(redacted)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_masked_wherever_it_is() {
        let mut headers = HeaderMap::new();
        for value in ["token", "Bearer token", "a=token;b", "tok en", "other"] {
            headers.append("x", HeaderValue::from_static(value));
        }
        mask(&mut headers, "token");
        let values: Vec<_> = headers.get_all("x").iter().collect();
        assert_eq!(values, [MASK, MASK, MASK, "tok en", "other"]);
    }
}
