//! Sends requests and reads their answers: those on which a credential is presented through
//! `symbolon:credentials/transport`, others through `wasi:http`.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use symbolon_protocol::credential::Presentation;
use symbolon_protocol::response::{
    HttpResponse, MAX_BODY_BYTES, TransportError, TransportErrorKind, wants_challenge, wants_date,
    wants_retry_after,
};
use symbolon_protocol::token_request::{self, HttpRequest, UrlScheme};

use crate::bindings::symbolon::credentials::provider::Credential;
use crate::bindings::symbolon::credentials::transport;
use crate::bindings::wasi::http::outgoing_handler;
use crate::bindings::wasi::http::types::{
    Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme, http_error_code,
};
use crate::bindings::wasi::io::streams::{InputStream, StreamError};
use crate::{convert, error_code};

/// Sends a request, presents the credential where it asks for that, and waits for the whole answer.
pub(crate) fn send(
    mut request: HttpRequest,
    credential: Option<&Credential>,
) -> Result<HttpResponse, TransportError> {
    let presentation = core::mem::take(&mut request.presentation);
    if presentation == Presentation::default() {
        return send_plain(request);
    }
    let credential = credential.ok_or_else(|| internal("no credential is selected"))?;
    exchange(request, credential, &convert::presentation(presentation))
}

/// In one call: each call to the host costs more than its bytes.
fn exchange(
    request: HttpRequest,
    credential: &Credential,
    how: &transport::Presentation,
) -> Result<HttpResponse, TransportError> {
    let is_plain = request.scheme == UrlScheme::Http;
    let request = transport::Request {
        method: method(request.method),
        scheme: scheme(request.scheme),
        authority: request.authority,
        path_with_query: request.path_with_query,
        headers: request.headers,
        body: request.body.into_bytes(),
        connect_timeout_ms: request.connect_timeout_ms,
        first_byte_timeout_ms: request.answer_timeout_ms,
    };
    let answer = transport::exchange(&request, credential, how).map_err(error_code::transport_error)?;
    let transport::Response { status, mut headers, body } = answer;
    let header = |name: &str| {
        let at = headers.iter().position(|(other, _)| other == name)?;
        Some(headers.swap_remove(at).1)
    };
    Ok(answered(status, is_plain, header, body))
}

/// By `wasi:http` as it is.
fn send_plain(request: HttpRequest) -> Result<HttpResponse, TransportError> {
    let options = Some(options(&request)?);
    let is_plain = request.scheme == UrlScheme::Http;
    let future =
        outgoing_handler::handle(outgoing(request)?, options).map_err(error_code::transport_error)?;
    future.subscribe().block();
    match future.get() {
        Some(Ok(response)) => read(&response.map_err(error_code::transport_error)?, is_plain),
        Some(Err(())) | None => Err(internal("the future of the answer was empty")),
    }
}

/// The request with its whole body: it is written and finished before the request goes out.
fn outgoing(request: HttpRequest) -> Result<OutgoingRequest, TransportError> {
    let HttpRequest { method, scheme, authority, path_with_query, headers, body, .. } = request;
    let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
    let headers = Fields::from_list(&headers).map_err(|error| internal(&format!("headers: {error:?}")))?;
    let outgoing = OutgoingRequest::new(headers);
    let set = outgoing
        .set_method(&self::method(method))
        .and_then(|()| outgoing.set_scheme(Some(&self::scheme(scheme))))
        .and_then(|()| outgoing.set_authority(Some(&authority)))
        .and_then(|()| outgoing.set_path_with_query(Some(&path_with_query)));
    set.map_err(|()| internal("the host doesn't accept the URL"))?;
    let content = outgoing.body().map_err(|()| internal("the request has no body"))?;
    write(&content, body.as_bytes())?;
    OutgoingBody::finish(content, None).map_err(error_code::transport_error)?;
    Ok(outgoing)
}

/// Writes the body, at once where the host takes it at once: each call to the host costs more than its bytes.
fn write(body: &OutgoingBody, mut bytes: &[u8]) -> Result<(), TransportError> {
    let stream = body.write().map_err(|()| internal("the body can't be written"))?;
    while !bytes.is_empty() {
        let room = stream.check_write().map_err(broken)?;
        if room == 0 {
            stream.subscribe().block();
            continue;
        }
        let length = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let (chunk, rest) = bytes.split_at(length);
        stream.write(chunk).map_err(broken)?;
        bytes = rest;
    }
    Ok(())
}

fn options(request: &HttpRequest) -> Result<RequestOptions, TransportError> {
    let options = RequestOptions::new();
    options
        .set_connect_timeout(Some(nanoseconds(request.connect_timeout_ms)))
        .and_then(|()| options.set_first_byte_timeout(Some(nanoseconds(request.answer_timeout_ms))))
        .map_err(|()| internal("the host doesn't accept the time limits"))?;
    Ok(options)
}

fn method(method: token_request::Method) -> Method {
    match method {
        token_request::Method::Get => Method::Get,
        token_request::Method::Post => Method::Post,
    }
}

fn scheme(scheme: UrlScheme) -> Scheme {
    match scheme {
        UrlScheme::Http => Scheme::Http,
        UrlScheme::Https => Scheme::Https,
    }
}

/// What the core reads of an answer.
fn answered(
    status: u16,
    is_plain: bool,
    mut header: impl FnMut(&str) -> Option<String>,
    body: Vec<u8>,
) -> HttpResponse {
    HttpResponse {
        status,
        retry_after: wants_retry_after(status).then(|| header("retry-after")).flatten(),
        challenge: wants_challenge(status).then(|| header("www-authenticate")).flatten(),
        date: wants_date(status).then(|| header("date")).flatten(),
        server: is_plain.then(|| header("server")).flatten(),
        body,
    }
}

fn read(response: &IncomingResponse, is_plain: bool) -> Result<HttpResponse, TransportError> {
    let content = response.consume().map_err(|()| internal("the body was taken"))?;
    let stream = content.stream().map_err(|()| internal("the body was taken"))?;
    let body = read_all(&stream)?;
    Ok(answered(response.status(), is_plain, |name| header(response, name), body))
}

fn header(response: &IncomingResponse, name: &str) -> Option<String> {
    let value = response.headers().get(name).into_iter().next()?;
    String::from_utf8(value).ok()
}

/// Reads to the end, and one byte beyond what is allowed at most.
fn read_all(stream: &InputStream) -> Result<Vec<u8>, TransportError> {
    let mut body = Vec::new();
    loop {
        let room = MAX_BODY_BYTES + 1 - body.len() as u64;
        match stream.blocking_read(room) {
            Ok(chunk) if body.is_empty() => body = chunk,
            Ok(chunk) => body.extend_from_slice(&chunk),
            Err(StreamError::Closed) => return Ok(body),
            Err(error) => return Err(broken(error)),
        }
        if body.len() as u64 > MAX_BODY_BYTES {
            let detail = format!("more than {MAX_BODY_BYTES} bytes");
            return Err(TransportError {
                kind: TransportErrorKind::ResponseTooLarge,
                detail,
                may_be_sent: true,
            });
        }
    }
}

fn broken(error: StreamError) -> TransportError {
    match error {
        StreamError::LastOperationFailed(error) => match http_error_code(&error) {
            Some(code) => error_code::transport_error(code),
            None => TransportError {
                kind: TransportErrorKind::Connection,
                detail: "the stream failed".to_string(),
                may_be_sent: true,
            },
        },
        StreamError::Closed => internal("the stream was closed"),
    }
}

/// Something that went wrong before the request was sent.
fn internal(detail: &str) -> TransportError {
    TransportError { kind: TransportErrorKind::Internal, detail: detail.to_owned(), may_be_sent: false }
}

fn nanoseconds(milliseconds: u64) -> u64 {
    milliseconds.saturating_mul(1_000_000)
}
