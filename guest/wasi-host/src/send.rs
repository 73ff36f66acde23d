//! Sends requests through the host's `wasi:http`, to the hosts that the configuration allows.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use symbolon_protocol::response::MAX_BODY_BYTES;
use symbolon_wasi::place::Headers;

use crate::bindings::wasi::http::outgoing_handler;
use crate::bindings::wasi::http::types::{
    ErrorCode, Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
    http_error_code,
};
use crate::bindings::wasi::io::streams::{InputStream, StreamError};
use crate::state::state;

/// A request with its whole body.
pub(crate) struct Request {
    pub(crate) headers: Headers,
    pub(crate) method: Method,
    pub(crate) scheme: Option<Scheme>,
    pub(crate) authority: String,
    pub(crate) path_with_query: Option<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) limits: Limits,
}

/// In nanoseconds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) connect: Option<u64>,
    pub(crate) first_byte: Option<u64>,
}

/// Whether a request shows a credential.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    Nothing,
    Credential,
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

/// Sends a request and reads its answer. Redirects aren't followed.
pub(crate) fn send(request: Request, trust: Trust) -> Result<Answer, ErrorCode> {
    let (outgoing, options) = outgoing(&request, trust)?;
    let content = outgoing.body().map_err(|()| internal("the request has no body"))?;
    let future = outgoing_handler::handle(outgoing, Some(options))?;
    let written = write(&content, &request.body);
    let finished = written.and_then(|()| OutgoingBody::finish(content, None));
    let pollable = future.subscribe();
    pollable.block();
    drop(pollable);
    match future.get() {
        Some(Ok(Ok(response))) => read(&response),
        // The connection says better than the body why it was lost.
        Some(Ok(Err(code))) => Err(code),
        Some(Err(())) | None => finished.and(Err(internal("the future of the answer was empty"))),
    }
}

fn outgoing(request: &Request, trust: Trust) -> Result<(OutgoingRequest, RequestOptions), ErrorCode> {
    let state = state().map_err(|message| internal(&message))?;
    let host = request.authority.strip_suffix(":443").unwrap_or(&request.authority);
    let is_allowed = match trust {
        Trust::Nothing => state.egress.allows(host),
        Trust::Credential => state.egress.allows_credential(host),
    };
    if !is_allowed || !matches!(request.scheme, Some(Scheme::Https)) {
        return Err(ErrorCode::HttpRequestDenied);
    }
    if request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        return Err(ErrorCode::HttpRequestDenied);
    }
    let (scheme, authority) = match state.gateway() {
        Some(gateway) => (Scheme::Http, gateway),
        None => (Scheme::Https, request.authority.as_str()),
    };
    let mut headers = request.headers.clone();
    headers.push(("content-length".into(), request.body.len().to_string().into_bytes()));
    let headers = Fields::from_list(&headers).map_err(|_| internal("the host doesn't accept the headers"))?;
    let (outgoing, options) = (OutgoingRequest::new(headers), RequestOptions::new());
    outgoing
        .set_method(&request.method)
        .and_then(|()| outgoing.set_scheme(Some(&scheme)))
        .and_then(|()| outgoing.set_authority(Some(authority)))
        .and_then(|()| outgoing.set_path_with_query(request.path_with_query.as_deref()))
        .map_err(|()| internal("the host doesn't accept the URL"))?;
    // Some hosts have no time limits; the protocol's own are kept by whoever runs the component then.
    let _ = options.set_connect_timeout(request.limits.connect);
    let _ = options.set_first_byte_timeout(request.limits.first_byte);
    Ok((outgoing, options))
}

fn write(content: &OutgoingBody, mut bytes: &[u8]) -> Result<(), ErrorCode> {
    let stream = content.write().map_err(|()| internal("the body can't be written"))?;
    while !bytes.is_empty() {
        let room = stream.check_write().map_err(broken)?;
        if room == 0 {
            stream.subscribe().block();
            continue;
        }
        let (chunk, rest) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        stream.write(chunk).map_err(broken)?;
        bytes = rest;
    }
    Ok(())
}

fn read(response: &IncomingResponse) -> Result<Answer, ErrorCode> {
    let (status, headers) = (response.status(), response.headers().entries());
    let content = response.consume().map_err(|()| internal("the body was taken"))?;
    let stream = content.stream().map_err(|()| internal("the body was taken"))?;
    Ok(Answer { status, headers, body: read_all(&stream)? })
}

fn read_all(stream: &InputStream) -> Result<Vec<u8>, ErrorCode> {
    let mut body = Vec::new();
    loop {
        match stream.blocking_read(MAX_BODY_BYTES) {
            Ok(chunk) => body.extend_from_slice(&chunk),
            Err(StreamError::Closed) => return Ok(body),
            Err(error) => return Err(broken(error)),
        }
        if body.len() as u64 > MAX_BODY_BYTES {
            return Err(ErrorCode::HttpResponseBodySize(None));
        }
    }
}

fn broken(error: StreamError) -> ErrorCode {
    match error {
        StreamError::LastOperationFailed(error) => {
            http_error_code(&error).unwrap_or(ErrorCode::HttpResponseIncomplete)
        }
        StreamError::Closed => ErrorCode::ConnectionTerminated,
    }
}

fn internal(message: &str) -> ErrorCode {
    ErrorCode::InternalError(Some(message.to_string()))
}
