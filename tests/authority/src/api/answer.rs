//! What an API answers.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use aws_lc_rs::digest::{self, SHA256};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::{ApiRequest, Shared, guard::Presented, serve::Peer};
use crate::{encoding::hex, lock};

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

pub(super) async fn answer(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    request: Request<Incoming>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let presented = Presented::read(&head.headers, &shared);
    let mut seen = ApiRequest {
        connection: peer.connection,
        http_version: if head.version == Version::HTTP_2 { 2 } else { 1 },
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        headers: headers(&head.headers),
        authorization_scheme: presented.scheme.clone(),
        token: presented.claims.clone().map(Value::Object),
        client_certificate: peer.certificate.clone(),
        body_length: 0,
        body_sha256: String::new(),
        status: 200,
    };
    let scripted = lock(&shared.scripted).pop_front();
    let refused = match &scripted {
        Some(_) => None,
        None => shared.admit(&presented, peer.certificate.as_deref()).err(),
    };
    if let Some(refused) = refused {
        seen.status = refused.status;
        // As servers do that decide by the head: the body isn't read.
        lock(&shared.log).push(seen);
        let mut response = json_response(refused.status, &json!({ "error": refused.why }));
        let challenge = refused.challenge.and_then(|text| HeaderValue::try_from(text).ok());
        if let Some(challenge) = challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        return response;
    }
    if head.uri.path() == "/echo" {
        lock(&shared.log).push(seen);
        return Response::new(body.boxed_unsync());
    }
    (seen.body_length, seen.body_sha256) = digested(body).await;
    let mut response = match scripted {
        Some((status, headers)) => scripted_response(status, headers),
        None => by_path(&seen),
    };
    seen.status = response.status().as_u16();
    if head.uri.path() == "/silence" {
        lock(&shared.log).push(seen);
        return std::future::pending().await;
    }
    lock(&shared.log).push(seen);
    response.headers_mut().insert("x-ms-request-id", HeaderValue::from_static("the-apis-own"));
    response
}

fn by_path(seen: &ApiRequest) -> Response<Body> {
    let parameter = |name: &str| {
        let query = seen.query.as_deref().unwrap_or_default();
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned())
    };
    let mut steps = seen.path.trim_start_matches('/').splitn(2, '/');
    match (steps.next(), steps.next()) {
        (Some("status"), Some(status)) => json_response(status.parse().unwrap_or(400), &report(seen)),
        (Some("bytes"), Some(length)) => {
            let zeros = Zeros(length.parse().unwrap_or(0));
            Response::new(zeros.map_err(|never| match never {}).boxed_unsync())
        }
        (Some("stall"), None) => Response::new(Stalled.map_err(|never| match never {}).boxed_unsync()),
        (Some("redirect"), None) => {
            let status = parameter("status").and_then(|status| status.parse().ok()).unwrap_or(302);
            scripted_response(status, vec![("location".to_owned(), parameter("to").unwrap_or_default())])
        }
        _ => json_response(200, &report(seen)),
    }
}

/// What it saw.
fn report(seen: &ApiRequest) -> Value {
    let headers: Map<String, Value> =
        seen.headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let token = seen.token.as_ref().map(|token| {
        json!({ "aud": token["aud"], "appid": token["azp"], "acrs": token["acrs"], "cnf": token["cnf"] })
    });
    json!({
        "method": seen.method,
        "path": seen.path,
        "query": seen.query,
        "headers": headers,
        "authorizationScheme": seen.authorization_scheme,
        "token": token,
        "clientCertificate": seen.client_certificate.as_ref().map(|x5t| json!({ "x5t#S256": x5t })),
        "bodyLength": seen.body_length,
        "bodySha256": seen.body_sha256,
    })
}

fn json_response(status: u16, value: &Value) -> Response<Body> {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let mut response = scripted_response(status, headers);
    *response.body_mut() = Full::from(value.to_string()).map_err(|never| match never {}).boxed_unsync();
    response
}

fn scripted_response(status: u16, headers: Vec<(String, String)>) -> Response<Body> {
    let mut response = Response::new(Full::default().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn headers(headers: &http::HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| *name != header::AUTHORIZATION)
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

async fn digested(mut body: Incoming) -> (u64, String) {
    let (mut length, mut context) = (0, digest::Context::new(&SHA256));
    while !body.is_end_stream() {
        let Some(Ok(frame)) = body.frame().await else { break };
        if let Some(part) = frame.data_ref() {
            length += part.len() as u64;
            context.update(part);
        }
    }
    (length, hex(context.finish().as_ref()))
}

/// So many zeros.
struct Zeros(u64);

impl http_body::Body for Zeros {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        static PART: [u8; 64 * 1024] = [0; 64 * 1024];
        let length = self.0.min(PART.len() as u64);
        self.0 -= length;
        let part = usize::try_from(length)
            .ok()
            .and_then(|length| PART.get(..length))
            .filter(|part| !part.is_empty());
        Poll::Ready(part.map(|part| Ok(Frame::data(Bytes::from_static(part)))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0)
    }
}

/// A body that never comes.
struct Stalled;

impl http_body::Body for Stalled {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}
