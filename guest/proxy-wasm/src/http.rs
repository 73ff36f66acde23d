//! The core's requests, through clusters: Envoy has the connection, the names it trusts and the client certificate.

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType};
use symbolon_protocol::response::{
    HttpResponse, MAX_BODY_BYTES, TransportError, TransportErrorKind, wants_challenge, wants_date,
    wants_retry_after,
};
use symbolon_protocol::token_request::{HttpRequest, Method, UrlScheme};

/// Sends a request through a cluster and gives the number of the call.
pub(crate) fn send(cluster: &str, request: &HttpRequest) -> Result<u32, TransportError> {
    let own = [
        (":method", if request.method == Method::Get { "GET" } else { "POST" }),
        (":scheme", if request.scheme == UrlScheme::Http { "http" } else { "https" }),
        (":authority", &request.authority),
        (":path", &request.path_with_query),
    ];
    let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let headers = own.into_iter().chain(headers).collect();
    let body = Some(request.body.as_bytes()).filter(|body| !body.is_empty());
    let timeout = Duration::from_millis(request.answer_timeout_ms);
    hostcalls::dispatch_http_call(cluster, headers, body, Vec::new(), timeout)
        .map_err(|_| denied(format!("Envoy has no cluster {cluster}, or can't send through it")))
}

/// The answer to the call that Envoy reports now. Without headers there is none.
pub(crate) fn answer(headers: usize, body_bytes: usize) -> Result<HttpResponse, TransportError> {
    let status = header(":status").and_then(|status| status.parse().ok());
    let Some(status) = status.filter(|_| headers > 0) else {
        return Err(lost(TransportErrorKind::Connection, "Envoy has no answer".into()));
    };
    if body_bytes as u64 > MAX_BODY_BYTES {
        let detail = format!("more than {MAX_BODY_BYTES} bytes");
        return Err(lost(TransportErrorKind::ResponseTooLarge, detail));
    }
    let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, body_bytes);
    let body = body.ok().flatten().unwrap_or_default();
    match status {
        503 | 504 if header(FROM_UPSTREAM).is_none() => Err(local_reply(status, &body)),
        _ => Ok(HttpResponse {
            status,
            retry_after: header("retry-after").filter(|_| wants_retry_after(status)),
            challenge: header("www-authenticate").filter(|_| wants_challenge(status)),
            date: header("date").filter(|_| wants_date(status)),
            // Of interest where the platform issues certificates, which it doesn't to those without a key.
            server: None,
            body,
        }),
    }
}

/// What the core is told where a request may not go out.
pub(crate) fn denied(detail: String) -> TransportError {
    TransportError { kind: TransportErrorKind::Denied, detail, may_be_sent: false }
}

/// Where a cluster brings no answer Envoy makes one up, whose text says why.
fn local_reply(status: u16, text: &[u8]) -> TransportError {
    let kind = if status == 504 { TransportErrorKind::Timeout } else { TransportErrorKind::Connection };
    let text = String::from_utf8_lossy(text);
    lost(kind, text.lines().next().unwrap_or_default().chars().take(LONGEST_DETAIL).collect())
}

fn lost(kind: TransportErrorKind, detail: String) -> TransportError {
    TransportError { kind, detail, may_be_sent: true }
}

fn header(name: &str) -> Option<String> {
    let value = hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, name).ok()??;
    String::from_utf8(value).ok()
}

/// Envoy sets it on each answer of an upstream, and on none of its own.
const FROM_UPSTREAM: &str = "x-envoy-upstream-service-time";

const LONGEST_DETAIL: usize = 200;
