//! A client of tonic, whose server answers with trailers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::{Buf, BufMut, Bytes};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use symbolon::DownstreamApiOptions;
use symbolon_end_to_end::{GRAPH, World, engine};
use symbolon_tower::AuthorizationLayer;
use tokio::net::TcpListener;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tower_layer::Layer as _;

use crate::client::Client;

/// A message is the bytes that it is.
#[derive(Clone, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = tonic::Status;

    fn encode(&mut self, message: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        into.put(message);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = tonic::Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, tonic::Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

type Seen = Arc<Mutex<Vec<HeaderMap>>>;

/// A server that asks the first time for a token with claims, and then answers with the message that it got.
async fn server() -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let seen = Seen::default();
    let theirs = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = theirs.clone();
            let service = service_fn(move |request| answer(request, seen.clone()));
            tokio::spawn(async move {
                http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await
            });
        }
    });
    (address, seen)
}

async fn answer(
    request: Request<Incoming>,
    seen: Seen,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let is_first = {
        let mut seen = seen.lock().expect("the log");
        seen.push(request.headers().clone());
        seen.len() == 1
    };
    let message = request.into_body().collect().await.expect("a body").to_bytes();
    if is_first {
        let challenge = r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ""#;
        let mut response = Response::new(http_body_util::Empty::new().boxed_unsync());
        *response.status_mut() = http::StatusCode::UNAUTHORIZED;
        response.headers_mut().insert("www-authenticate", HeaderValue::from_static(challenge));
        return Ok(response);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Ok(Frame::data(message)), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
    Ok(Response::builder().header("content-type", "application/grpc").body(body).expect("a response"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_authorized_challenged_and_answered() {
    let world = World::start().await;
    let (address, seen) = server().await;
    let url = format!("http://{address}");
    let mut options = DownstreamApiOptions::new(&url);
    (options.scopes, options.request_app_token) = (vec![GRAPH.to_owned()], true);
    let api = world.application(&engine(), "secret").downstream_api_with("greeter", options);

    let service = AuthorizationLayer::new(api).layer(Client::plain_http2(address));
    let mut client = tonic::client::Grpc::with_origin(service, url.parse().expect("a URL"));
    client.ready().await.expect("it is ready");
    let message = tonic::Request::new(Bytes::from_static(b"hello"));
    let path = http::uri::PathAndQuery::from_static("/greeter.Greeter/Greet");
    let answer = client.unary(message, path, Plain).await.expect("an answer");
    assert_eq!(answer.into_inner(), "hello");

    let seen = seen.lock().expect("the log");
    let [first, second] = &seen[..] else { panic!("two requests: {seen:?}") };
    assert_eq!(first["te"], "trailers");
    assert_eq!(second["te"], "trailers");
    assert!(first["authorization"].as_bytes().starts_with(b"Bearer ey"));
    assert_ne!(first["authorization"], second["authorization"]);
}
