//! Sends requests through `symbolon:concurrent/transport` and reads their answers.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

use symbolon_protocol::credential::Presentation;
use symbolon_protocol::response::{
    HttpResponse, MAX_BODY_BYTES, TransportError, TransportErrorKind, wants_challenge, wants_date,
    wants_retry_after,
};
use symbolon_protocol::token_request::{self, HttpRequest, UrlScheme};
use wit_bindgen::{FutureReader, StreamReader, StreamResult, StreamWriter};

use crate::bindings::symbolon::concurrent::transport;
use crate::bindings::wasi::http0_3_0::client;
use crate::bindings::wasi::http0_3_0::types::{
    ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme,
};
use crate::bindings::{wit_future, wit_stream};
use crate::words::provider::Credential;
use crate::{convert, error_code};

/// Sends a request, presents the credential where it asks for that, and waits for the whole answer.
pub(crate) async fn send(
    mut request: HttpRequest,
    credential: Option<&Credential>,
) -> Result<HttpResponse, TransportError> {
    let presentation = core::mem::take(&mut request.presentation);
    let is_plain = request.scheme == UrlScheme::Http;
    let body = core::mem::take(&mut request.body);
    let (outgoing, content) = outgoing(request)?;
    let write = write(content, body);
    let response = if presentation == Presentation::default() {
        beside(client::send(outgoing), write).await
    } else {
        let credential = credential.ok_or_else(|| internal("no credential is selected"))?;
        beside(transport::send(outgoing, credential, convert::presentation(presentation)), write).await
    };
    read(response.map_err(error_code::transport_error)?, is_plain).await
}

/// The request, and where its body goes.
fn outgoing(request: HttpRequest) -> Result<(Request, StreamWriter<u8>), TransportError> {
    let options = options(&request)?;
    let HttpRequest { method, scheme, authority, path_with_query, headers, .. } = request;
    let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
    let headers = Fields::from_list(&headers).map_err(|error| internal(&format!("headers: {error:?}")))?;
    let (content, contents) = wit_stream::new();
    // Nothing follows the body: what is given here is what the end of its writer says.
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (outgoing, _) = Request::new(headers, Some(contents), trailers, Some(options));
    let set = outgoing
        .set_method(&match method {
            token_request::Method::Get => Method::Get,
            token_request::Method::Post => Method::Post,
        })
        .and_then(|()| {
            outgoing.set_scheme(Some(&match scheme {
                UrlScheme::Http => Scheme::Http,
                UrlScheme::Https => Scheme::Https,
            }))
        })
        .and_then(|()| outgoing.set_authority(Some(&authority)))
        .and_then(|()| outgoing.set_path_with_query(Some(&path_with_query)));
    set.map_err(|()| internal("the host doesn't accept the URL"))?;
    Ok((outgoing, content))
}

fn options(request: &HttpRequest) -> Result<RequestOptions, TransportError> {
    let options = RequestOptions::new();
    options
        .set_connect_timeout(Some(nanoseconds(request.connect_timeout_ms)))
        .and_then(|()| options.set_first_byte_timeout(Some(nanoseconds(request.answer_timeout_ms))))
        .map_err(|_| internal("the host doesn't accept the time limits"))?;
    Ok(options)
}

async fn write(mut content: StreamWriter<u8>, body: String) {
    // Whoever reads no further has answered, which says more.
    let _ = content.write_all(body.into_bytes()).await;
}

/// Waits for the first, and lets the second go on meanwhile.
async fn beside<T>(first: impl Future<Output = T>, second: impl Future<Output = ()>) -> T {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let mut is_done = false;
    poll_fn(|context| {
        if let Poll::Ready(result) = first.as_mut().poll(context) {
            return Poll::Ready(result);
        }
        if !is_done {
            is_done = second.as_mut().poll(context).is_ready();
        }
        Poll::Pending
    })
    .await
}

async fn read(response: Response, is_plain: bool) -> Result<HttpResponse, TransportError> {
    let status = response.get_status_code();
    let header = |name: &str| {
        let value = response.get_headers().get(name).into_iter().next()?;
        String::from_utf8(value).ok()
    };
    let retry_after = if wants_retry_after(status) { header("retry-after") } else { None };
    let challenge = if wants_challenge(status) { header("www-authenticate") } else { None };
    let date = if wants_date(status) { header("date") } else { None };
    let server = if is_plain { header("server") } else { None };
    let (_, processed) = wit_future::new(|| Ok(()));
    let (stream, end) = Response::consume_body(response, processed);
    let body = read_all(stream, end).await?;
    Ok(HttpResponse { status, retry_after, challenge, date, server, body })
}

/// Reads to the end, and one byte beyond what is allowed at most.
async fn read_all<T>(
    mut stream: StreamReader<u8>,
    end: FutureReader<Result<T, ErrorCode>>,
) -> Result<Vec<u8>, TransportError> {
    let mut body = Vec::new();
    loop {
        let room = MAX_BODY_BYTES + 1 - body.len() as u64;
        if body.len() == body.capacity() {
            body.reserve(usize::try_from(room).unwrap_or(usize::MAX).min(CHUNK));
        }
        let (result, filled) = stream.read(body).await;
        body = filled;
        if body.len() as u64 > MAX_BODY_BYTES {
            let detail = format!("more than {MAX_BODY_BYTES} bytes");
            return Err(TransportError {
                kind: TransportErrorKind::ResponseTooLarge,
                detail,
                may_be_sent: true,
            });
        }
        if result == StreamResult::Dropped {
            // A body that broke off ends as one that is whole; here they differ.
            end.await.map_err(error_code::transport_error)?;
            return Ok(body);
        }
    }
}

/// Something that went wrong before the request was sent.
fn internal(detail: &str) -> TransportError {
    TransportError { kind: TransportErrorKind::Internal, detail: detail.to_owned(), may_be_sent: false }
}

fn nanoseconds(milliseconds: u64) -> u64 {
    milliseconds.saturating_mul(1_000_000)
}

/// Bytes that are read at a time.
const CHUNK: usize = 16 * 1024;
