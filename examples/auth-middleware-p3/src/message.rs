//! A request on its way to the next handler, and the answer in that one's place.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use wit_bindgen::{FutureReader, StreamReader, StreamResult, StreamWriter};

use crate::Failure;
use crate::bindings::wasi::http0_3_0::types::{
    ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme, Trailers,
};
use crate::bindings::{wit_future, wit_stream};
use crate::headers::{Headers, end_to_end};
use crate::token::Token;

/// How many bytes are read at a time.
const PIECE: usize = 64 * 1024;

/// A request to be passed on.
pub(crate) struct Message {
    method: Method,
    scheme: Option<Scheme>,
    authority: Option<String>,
    path_with_query: Option<String>,
    options: Option<RequestOptions>,
    /// Without what the caller is known by, and without those of the caller's connection.
    headers: Headers,
    body: Body,
}

enum Body {
    Absent,
    /// With what of it was read to see whether there is one. From then on it is copied: wasmtime 48 loses what is on its way in
    /// a stream of its own that was read and is handed on.
    Unsent(Vec<u8>, StreamReader<u8>, FutureReader<Result<Option<Trailers>, ErrorCode>>),
    Gone,
}

impl Message {
    pub(crate) async fn new(request: Request) -> Self {
        let method = request.get_method();
        let (scheme, authority) = (request.get_scheme(), request.get_authority());
        let (path_with_query, options) = (request.get_path_with_query(), request.get_options());
        let options = options.map(|options| options.clone());
        let headers = end_to_end(request.get_headers().copy_all(), &["authorization"]);
        let (_, processed) = wit_future::new(|| Ok(()));
        let (mut stream, trailers) = Request::consume_body(request, processed);
        let (_, first) = stream.read(Vec::with_capacity(PIECE)).await;
        let body = if first.is_empty() { Body::Absent } else { Body::Unsent(first, stream, trailers) };
        Self { method, scheme, authority, path_with_query, options, headers, body }
    }

    /// Whether it can be sent a second time.
    pub(crate) fn may_be_repeated(&self) -> bool {
        matches!(self.body, Body::Absent)
    }

    /// The request with the token in the place of whatever the caller was known by.
    pub(crate) fn authorized(&mut self, token: &Token) -> Result<Request, Failure> {
        let mut headers = self.headers.clone();
        headers.push(("authorization".into(), token.authorization.clone()));
        let headers = Fields::from_list(&headers).map_err(|_| Failure::refused(400, "invalid_headers"))?;
        let options = self.options.as_ref().map(RequestOptions::clone);
        let (request, _) = match core::mem::replace(&mut self.body, Body::Gone) {
            Body::Unsent(first, rest, trailers) => {
                let (content, contents) = wit_stream::new();
                wit_bindgen::spawn_local(copy(first, rest, content));
                Request::new(headers, Some(contents), trailers, options)
            }
            Body::Absent => {
                self.body = Body::Absent;
                Request::new(headers, None, wit_future::new(|| Ok(None)).1, options)
            }
            Body::Gone => return Err(Failure::refused(500, "body_gone")),
        };
        request
            .set_method(&self.method)
            .and_then(|()| request.set_scheme(self.scheme.as_ref()))
            .and_then(|()| request.set_authority(self.authority.as_deref()))
            .and_then(|()| request.set_path_with_query(self.path_with_query.as_deref()))
            .map_err(|()| Failure::refused(400, "invalid_request"))?;
        Ok(request)
    }
}

/// Passes a body on, piece by piece, for as long as somebody reads it.
async fn copy(first: Vec<u8>, mut rest: StreamReader<u8>, mut content: StreamWriter<u8>) {
    let mut piece = first;
    while content.write_all(piece).await.is_empty() {
        let (result, read) = rest.read(Vec::with_capacity(PIECE)).await;
        if read.is_empty() && result == StreamResult::Dropped {
            return;
        }
        piece = read;
    }
}

/// Answers in the next handler's place.
pub(crate) fn refusal(status: u16, code: String, retry_after_seconds: Option<u64>) -> Response {
    let mut headers: Headers = [("content-type".into(), b"text/plain".to_vec())].into();
    if let Some(seconds) = retry_after_seconds {
        headers.push(("retry-after".into(), seconds.to_string().into_bytes()));
    }
    let (mut body, content) = wit_stream::new();
    let headers = Fields::from_list(&headers).unwrap_or_else(|_| Fields::new());
    let (response, _) = Response::new(headers, Some(content), wit_future::new(|| Ok(None)).1);
    // Only a status that isn't one is refused.
    let _ = response.set_status_code(status);
    // Nobody may read it, which is theirs to say.
    wit_bindgen::spawn_local(async move { drop(body.write_all(code.into_bytes()).await) });
    response
}
