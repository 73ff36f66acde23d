use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ClientConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::connect::{Connector, Origin, Stream, TlsIdentity};
use super::error::{ConnectStep, TransportError, TransportErrorKind};
use super::request_body::RequestBody;
use super::watch::{LastWords, Seen, Watch, Watched};

/// What a connection carries.
pub(super) type Outgoing = Request<RequestBody>;

/// The connections of one application that present one certificate, or none, by origin.
///
/// An HTTP/1.1 connection is either kept here or lent to one request; an HTTP/2 connection stays here and counts its
/// requests. The lock is held for a look-up only, never across an await.
pub(super) struct Pool {
    pub(super) connector: Arc<Connector>,
    pub(super) config: Option<Arc<ClientConfig>>,
    pub(super) client: Option<Arc<CertifiedKey>>,
    /// Whether the client's signature blocks for longer than a moment.
    pub(super) client_blocks: bool,
    pub(super) limits: Limits,
    pub(super) counters: Arc<Counters>,
    pub(super) kept: Mutex<HashMap<Origin, Kept>>,
}

/// How long a pool's connections may be made and kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connect_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) max_idle: usize,
}

/// What an application's transport has done so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections_opened: AtomicU64,
    pub(super) requests_sent: AtomicU64,
}

/// The connections to one origin. Of each kind the one used last is taken first, so that the others can expire.
#[derive(Default)]
pub(super) struct Kept {
    idle: Vec<Idle>,
    shared: Vec<Shared>,
}

struct Idle {
    id: u64,
    since: Instant,
    sender: http1::SendRequest<RequestBody>,
    watch: Arc<Watch>,
}

struct Shared {
    id: u64,
    since: Instant,
    in_flight: usize,
    sender: http2::SendRequest<RequestBody>,
    watch: Arc<Watch>,
}

/// The right to send one request on a connection. Dropped, it closes an HTTP/1.1 connection, on which an answer may
/// still be outstanding; [`Lease::release`] gives it back.
pub(super) struct Lease {
    pool: Arc<Pool>,
    origin: Origin,
    id: u64,
    sender: Sender,
    /// What TLS says on this connection.
    watch: Arc<Watch>,
    /// Whether it served no request before.
    fresh: bool,
}

enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    Http2 { sender: http2::SendRequest<RequestBody>, _in_flight: InFlight },
}

/// One request under way on an HTTP/2 connection.
struct InFlight {
    pool: Arc<Pool>,
    origin: Origin,
    id: u64,
}

type Spoken = (Sender, Arc<Watch>);

impl Pool {
    /// A connection that is open, as far as is known.
    pub(super) fn checkout(self: &Arc<Self>, origin: &Origin) -> Option<Lease> {
        let mut all = self.lock();
        let kept = all.get_mut(origin)?;
        if let Some((id, sender, watch)) = kept.take_shared() {
            let sender = Sender::Http2 { sender, _in_flight: self.in_flight(origin, id) };
            return Some(self.lease(origin, id, sender, watch, false));
        }
        let Idle { id, sender, watch, .. } = kept.take_idle()?;
        Some(self.lease(origin, id, Sender::Http1(sender), watch, false))
    }

    /// A new connection.
    pub(super) async fn connect(self: &Arc<Self>, origin: &Origin) -> Result<Lease, TransportError> {
        let began = Instant::now();
        let mut step = ConnectStep::Resolving;
        let identity = TlsIdentity {
            config: self.config.as_ref(),
            client: self.client.as_ref(),
            blocks: self.client_blocks,
        };
        let connecting = self.connector.connect(origin, identity, &mut step);
        let stream = match tokio::time::timeout(self.limits.connect_timeout, connecting).await {
            Ok(connected) => connected?,
            Err(_) => return Err(self.took_too_long(origin, step)),
        };
        let id = self.counters.connections_opened.fetch_add(1, Ordering::Relaxed);
        let (sender, watch) = match stream {
            Stream::Plain(stream) => self.speak_http1(origin, id, stream).await?,
            Stream::Http1(stream) => self.speak_http1(origin, id, stream).await?,
            Stream::Http2(stream) => self.speak_http2(origin, id, stream).await?,
        };
        tracing::debug!(
            name: "symbolon.transport.connect",
            host = origin.as_str(),
            bound = self.client.is_some(),
            http2 = matches!(sender, Sender::Http2 { .. }),
            elapsed_ms = millis(began.elapsed()),
            "connected"
        );
        Ok(self.lease(origin, id, sender, watch, true))
    }

    fn took_too_long(&self, origin: &Origin, step: ConnectStep) -> TransportError {
        let seconds = self.limits.connect_timeout.as_secs_f32();
        let detail = format!("no connection within {seconds} s, waiting for {step}");
        TransportError::new(TransportErrorKind::ConnectTimeout(step), origin.as_str(), detail)
    }

    async fn speak_http1<S>(
        self: &Arc<Self>,
        origin: &Origin,
        id: u64,
        stream: S,
    ) -> Result<Spoken, TransportError>
    where
        S: AsyncRead + AsyncWrite + LastWords + Unpin + Send + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_RESPONSE_HEAD);
        let (stream, watch) = Watched::new(stream);
        match builder.handshake(TokioIo::new(stream)).await {
            Ok((sender, connection)) => {
                self.spawn(origin, id, connection);
                Ok((Sender::Http1(sender), watch))
            }
            Err(error) => Err(self.failed(origin, &error, &watch, true)),
        }
    }

    async fn speak_http2<S>(
        self: &Arc<Self>,
        origin: &Origin,
        id: u64,
        stream: S,
    ) -> Result<Spoken, TransportError>
    where
        S: AsyncRead + AsyncWrite + LastWords + Unpin + Send + 'static,
    {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_header_list_size(MAX_RESPONSE_HEAD as u32);
        let (stream, watch) = Watched::new(stream);
        match builder.handshake(TokioIo::new(stream)).await {
            Ok((sender, connection)) => {
                self.spawn(origin, id, connection);
                let shared = Shared {
                    id,
                    since: Instant::now(),
                    in_flight: 1,
                    sender: sender.clone(),
                    watch: Arc::clone(&watch),
                };
                self.lock().entry(origin.clone()).or_default().shared.push(shared);
                Ok((Sender::Http2 { sender, _in_flight: self.in_flight(origin, id) }, watch))
            }
            Err(error) => Err(self.failed(origin, &error, &watch, true)),
        }
    }

    /// What an error of hyper's means on a connection of this pool.
    fn failed(&self, origin: &Origin, error: &hyper::Error, watch: &Watch, fresh: bool) -> TransportError {
        use AlertDescription::{HandshakeFailure, NoRenegotiation};
        let bound = self.client.is_some();
        let seen = watch.seen().and_then(|seen| match seen {
            // rustls refuses to renegotiate (RFC 5746 §4.5), which ends the handshake that the server wanted.
            Seen::Alert(HandshakeFailure | NoRenegotiation) if !bound => Some(Seen::LateClientAuth),
            Seen::Alert(_) if !fresh => None,
            seen => Some(seen),
        });
        TransportError::exchange(origin.as_str(), error, seen, bound && fresh)
    }

    fn spawn<C>(self: &Arc<Self>, origin: &Origin, id: u64, connection: C)
    where
        C: Future<Output = hyper::Result<()>> + Send + 'static,
    {
        tokio::spawn(drive(connection, Arc::downgrade(self), origin.clone(), id, self.limits.idle_timeout));
    }

    fn lease(
        self: &Arc<Self>,
        origin: &Origin,
        id: u64,
        sender: Sender,
        watch: Arc<Watch>,
        fresh: bool,
    ) -> Lease {
        Lease { pool: Arc::clone(self), origin: origin.clone(), id, sender, watch, fresh }
    }

    fn in_flight(self: &Arc<Self>, origin: &Origin, id: u64) -> InFlight {
        InFlight { pool: Arc::clone(self), origin: origin.clone(), id }
    }

    fn keep(&self, origin: &Origin, id: u64, sender: http1::SendRequest<RequestBody>, watch: Arc<Watch>) {
        let mut kept = self.lock();
        let idle = &mut kept.entry(origin.clone()).or_default().idle;
        if idle.len() >= self.limits.max_idle {
            idle.remove(0);
        }
        if self.limits.max_idle > 0 {
            idle.push(Idle { id, since: Instant::now(), sender, watch });
        }
    }

    fn returned(&self, origin: &Origin, id: u64) {
        let mut kept = self.lock();
        let Some(kept) = kept.get_mut(origin) else { return };
        if let Some(shared) = kept.shared.iter_mut().find(|shared| shared.id == id) {
            shared.in_flight = shared.in_flight.saturating_sub(1);
            shared.since = Instant::now();
        }
    }

    /// Lets go of a connection that has been idle for too long, which closes it. Gives the time to ask again.
    fn expire(&self, origin: &Origin, id: u64) -> Instant {
        let now = Instant::now();
        let mut kept = self.lock();
        let idle_since = kept.get(origin).and_then(|kept| kept.idle_since(id)).unwrap_or(now);
        let end = idle_since + self.limits.idle_timeout;
        if end > now {
            return end;
        }
        remove(&mut kept, origin, id);
        now + self.limits.idle_timeout
    }

    /// Lends a connection to nobody any more.
    fn forget(&self, origin: &Origin, id: u64) {
        remove(&mut self.lock(), origin, id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn take_shared(&mut self) -> Option<(u64, http2::SendRequest<RequestBody>, Arc<Watch>)> {
        let usable = |shared: &&mut Shared| shared.in_flight < MAX_STREAMS && !shared.sender.is_closed();
        let shared = self.shared.iter_mut().rev().find(usable)?;
        shared.in_flight += 1;
        Some((shared.id, shared.sender.clone(), Arc::clone(&shared.watch)))
    }

    fn take_idle(&mut self) -> Option<Idle> {
        while let Some(idle) = self.idle.pop() {
            if !idle.sender.is_closed() {
                return Some(idle);
            }
        }
        None
    }

    fn idle_since(&self, id: u64) -> Option<Instant> {
        let idle = self.idle.iter().find(|idle| idle.id == id).map(|idle| idle.since);
        idle.or_else(|| {
            let shared = self.shared.iter().find(|shared| shared.id == id && shared.in_flight == 0)?;
            Some(shared.since)
        })
    }
}

impl Lease {
    /// Sends the request. [`Unanswered::Unsent`] has it back when the connection served a request before, and had been closed
    /// before a byte of this one was written, or the server didn't process it: it goes on another one then.
    pub(super) async fn send(&mut self, request: Outgoing) -> Result<Response<Incoming>, Unanswered> {
        self.pool.counters.requests_sent.fetch_add(1, Ordering::Relaxed);
        let mut again = None;
        let answer = match &mut self.sender {
            Sender::Http1(sender) => sender.try_send_request(for_http1(request, &self.origin)).await,
            Sender::Http2 { sender, .. } => {
                again = copy(&request);
                sender.try_send_request(for_http2(request, &self.origin)).await
            }
        };
        answer.map_err(|mut failure| {
            let error = self.pool.failed(&self.origin, failure.error(), &self.watch, self.fresh);
            // What failed one request has nothing for the next, whether its end was noticed yet or not.
            self.pool.forget(&self.origin, self.id);
            let unsent = match (failure.take_message(), TransportError::is_unprocessed(failure.error())) {
                (None, false) => return Unanswered::Failed(error),
                (None, true) => again,
                (message, _) => message,
            };
            match unsent.filter(|_| !self.fresh) {
                Some(request) => Unanswered::Unsent(Box::new(request)),
                None => Unanswered::Failed(error.unsent()),
            }
        })
    }

    /// Waits until the connection takes a request: after an answer, HTTP/1.1 needs a moment.
    pub(super) async fn ready(&mut self) {
        // A connection that is closed says so when it is given the request.
        let _ = match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await,
            Sender::Http2 { sender, .. } => sender.ready().await,
        };
    }

    /// Lends the connection to nobody any more, after an answer that broke off.
    pub(super) fn abandon(self) {
        self.pool.forget(&self.origin, self.id);
    }

    /// Gives the connection back after a complete answer.
    pub(super) fn release(self) {
        if let Sender::Http1(sender) = self.sender {
            self.pool.keep(&self.origin, self.id, sender, self.watch);
        }
    }
}

/// What became of a request that got no answer.
pub(super) enum Unanswered {
    /// Nothing: a kept connection turned out to be closed before a byte of the request was written, or the server says that
    /// it didn't process it.
    Unsent(Box<Outgoing>),
    Failed(TransportError),
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.pool.returned(&self.origin, self.id);
    }
}

fn remove(all: &mut HashMap<Origin, Kept>, origin: &Origin, id: u64) {
    let Some(kept) = all.get_mut(origin) else { return };
    kept.idle.retain(|idle| idle.id != id);
    kept.shared.retain(|shared| shared.id != id);
    if kept.idle.is_empty() && kept.shared.is_empty() {
        all.remove(origin);
    }
}

/// Runs a connection to its end, and sees to it that it doesn't idle for ever.
async fn drive<C>(connection: C, pool: Weak<Pool>, origin: Origin, id: u64, idle_timeout: Duration)
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    let mut look = pin!(tokio::time::sleep(idle_timeout));
    let ended = loop {
        tokio::select! {
            ended = &mut connection => break ended,
            () = &mut look => {
                let next = pool.upgrade().map(|pool| pool.expire(&origin, id));
                look.as_mut().reset(next.unwrap_or_else(|| Instant::now() + idle_timeout));
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(name: "symbolon.transport.closed", host = origin.as_str(), %error, "a connection ended");
    }
    if let Some(pool) = pool.upgrade() {
        pool.forget(&origin, id);
    }
}

/// The same request, where its body can be sent again.
fn copy(request: &Outgoing) -> Option<Outgoing> {
    let mut copy = Request::new(request.body().again()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// HTTP/1.1 has the host in a header and the rest in the request line (RFC 9112 §3.2.1).
fn for_http1(mut request: Outgoing, origin: &Origin) -> Outgoing {
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    if let Ok(host) = HeaderValue::from_str(origin.host_header()) {
        request.headers_mut().insert(HOST, host);
    }
    request
}

/// HTTP/2 has both in pseudo-headers, which hyper makes of an absolute URL (RFC 9113 §8.3.1).
fn for_http2(mut request: Outgoing, origin: &Origin) -> Outgoing {
    request.headers_mut().remove(HOST);
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(origin.scheme.clone());
    parts.authority = Some(origin.authority.clone());
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    request
}

/// Whole milliseconds, for log fields.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How many requests share an HTTP/2 connection before another is opened: what servers allow at least (RFC 9113
/// §6.5.2).
const MAX_STREAMS: usize = 100;

/// An HTTP/2 connection with requests under way is asked for a sign of life this often …
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// … and given up without one, so that a dead connection fails one attempt and not the next as well.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer's head may be, in bytes.
const MAX_RESPONSE_HEAD: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::transport::connect_to::ConnectTo;
    use crate::transport::proxy::NoProxy;
    use crate::transport::roots::Roots;

    fn pool() -> Arc<Pool> {
        let roots = Arc::new(Roots { verifier: None, description: String::new() });
        let (connect_to, no_proxy, threads) = (ConnectTo::default(), NoProxy::default(), Threads::default());
        let connector = Connector { connect_to, proxy: None, no_proxy, roots, threads };
        let second = Duration::from_secs(1);
        Arc::new(Pool {
            connector: Arc::new(connector),
            config: None,
            client: None,
            client_blocks: false,
            limits: Limits { connect_timeout: second, idle_timeout: second, max_idle: 1 },
            counters: Arc::default(),
            kept: Mutex::default(),
        })
    }

    fn request() -> Outgoing {
        Request::post("https://a.example/x").body(RequestBody::from("body")).unwrap()
    }

    /// A connection that ends between its checkout and the request: what no look at it can exclude.
    #[tokio::test]
    async fn a_request_that_was_not_written_comes_back_from_a_kept_connection() {
        let pool = pool();
        let origin = Origin::of(request().uri()).unwrap();
        let (near, far) = tokio::io::duplex(1024);
        let (sender, watch) = pool.speak_http1(&origin, 0, near).await.unwrap();
        pool.lease(&origin, 0, sender, watch, false).release();
        let mut lease = pool.checkout(&origin).unwrap();
        drop(far);
        lease.ready().await;
        match lease.send(request()).await {
            Err(Unanswered::Unsent(request)) => assert_eq!(request.uri(), "/x"),
            Err(Unanswered::Failed(error)) => panic!("{error}"),
            Ok(_) => panic!("nobody can have answered"),
        }
    }

    #[tokio::test]
    async fn a_request_that_was_not_written_on_a_new_connection_was_not_sent() {
        let pool = pool();
        let origin = Origin::of(request().uri()).unwrap();
        let (near, far) = tokio::io::duplex(1024);
        let (sender, watch) = pool.speak_http1(&origin, 0, near).await.unwrap();
        let mut lease = pool.lease(&origin, 0, sender, watch, true);
        drop(far);
        lease.ready().await;
        match lease.send(request()).await {
            Err(Unanswered::Failed(error)) => {
                assert_eq!(error.kind(), TransportErrorKind::ResetBeforeHeaders);
                assert!(!error.request_sent());
            }
            _ => panic!("a new connection is tried once"),
        }
    }

    /// A connection to a server that ends it in order and hasn't processed the request.
    async fn ended_by_server(pool: &Arc<Pool>, fresh: bool) -> Lease {
        let origin = Origin::of(request().uri()).unwrap();
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(async move {
            // SETTINGS, before anything else is said (RFC 9113 §3.4).
            far.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"body") {
                far.read_buf(&mut read).await.unwrap();
            }
            // GOAWAY: the last stream that was processed is 0, and nothing is wrong.
            far.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
            std::future::pending::<()>().await;
        });
        let (sender, watch) = pool.speak_http2(&origin, 0, near).await.unwrap();
        let mut lease = pool.lease(&origin, 0, sender, watch, fresh);
        lease.ready().await;
        lease
    }

    #[tokio::test]
    async fn a_request_that_the_server_did_not_process_comes_back() {
        let pool = pool();
        match ended_by_server(&pool, false).await.send(request()).await {
            Err(Unanswered::Unsent(request)) => {
                assert_eq!((request.method(), request.uri().path()), (&http::Method::POST, "/x"));
                assert_eq!(request.body().bytes().unwrap(), "body");
            }
            Err(Unanswered::Failed(error)) => panic!("{error}"),
            Ok(_) => panic!("nobody can have answered"),
        }
        match ended_by_server(&pool, true).await.send(request()).await {
            Err(Unanswered::Failed(error)) => assert!(!error.request_sent(), "{error}"),
            _ => panic!("a new connection is tried once"),
        }
    }

    #[test]
    fn a_request_is_addressed_as_its_connection_wants_it() {
        let origin = Origin::of(&"https://a.example:443/x?y".parse().unwrap()).unwrap();
        let mut outgoing = request();
        for _ in 0..2 {
            outgoing = for_http1(outgoing, &origin);
            assert_eq!(
                (outgoing.uri().to_string(), &outgoing.headers()[HOST]),
                ("/x".into(), &"a.example".parse().unwrap())
            );
            outgoing = for_http2(outgoing, &origin);
            assert_eq!(outgoing.uri(), "https://a.example:443/x");
            assert!(!outgoing.headers().contains_key(HOST));
        }
    }
}
