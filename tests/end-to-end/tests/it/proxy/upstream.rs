//! A server without TLS that tells how bodies end, and leaves them where they are.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A running server.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// How each request's body ended that was read: its length, and whether it was whole.
    pub(crate) ends: mpsc::UnboundedReceiver<(u64, bool)>,
    /// How much of the long answer was taken.
    pub(crate) given: Arc<AtomicU64>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (told, ends) = mpsc::unbounded_channel();
        let given = Arc::new(AtomicU64::new(0));
        let counter = given.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (told, counter) = (told.clone(), counter.clone());
                let service = service_fn(move |request| answer(request, told.clone(), counter.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, ends, given }
    }

    /// The settings of it as an API, for which no token is needed.
    pub(crate) fn settings(&self) -> Value {
        json!({ "BaseUrl": format!("http://{}/base", self.address), "RequestAppToken": true })
    }
}

async fn answer(
    request: Request<Incoming>,
    told: mpsc::UnboundedSender<(u64, bool)>,
    given: Arc<AtomicU64>,
) -> Result<Response<Long>, Infallible> {
    let (parts, mut body) = request.into_parts();
    match parts.uri.path().rsplit('/').next() {
        // Without reading what comes.
        Some("stuck") => std::future::pending().await,
        Some("long") => return Ok(Response::new(Long { left: LONG, given })),
        _ => {}
    }
    let (mut length, mut is_whole) = (0, true);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => length += frame.data_ref().map_or(0, |part| part.len() as u64),
            Err(_) => is_whole = false,
        }
    }
    let _ = told.send((length, is_whole));
    let seen = Response::builder().header("x-seen", parts.uri.to_string());
    let seen = seen.header(
        "x-length",
        parts.headers.get("content-length").cloned().unwrap_or("none".parse().expect("a value")),
    );
    Ok(seen.body(Long { left: 0, given }).expect("a response"))
}

/// How long the long body is, in bytes.
pub(crate) const LONG: u64 = 100 << 20;
static PART: [u8; 64 * 1024] = [7; 64 * 1024];

/// So many bytes, counted as they are taken.
pub(crate) struct Long {
    pub(crate) left: u64,
    pub(crate) given: Arc<AtomicU64>,
}

impl Body for Long {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.left.min(PART.len() as u64);
        self.left -= length;
        self.given.fetch_add(length, Ordering::Relaxed);
        let part = &PART[..usize::try_from(length).expect("a length")];
        Poll::Ready((!part.is_empty()).then(|| Ok(Frame::data(Bytes::from_static(part)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
