//! Connections, from their first byte to their last.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::caller::{Caller, HEALTH, PeerCertificate, PeerUser, READINESS};
use crate::dispatch::{ForProbes, Live, METRICS};
use crate::listener::{Listener, Purpose, Socket};

/// How long requests that are under way may take at the end.
pub const GRACE: Duration = Duration::from_secs(5);

/// Serves until `stop` is there, and then what is under way.
pub(crate) async fn serve(live: &Arc<Live>, listeners: Vec<Listener>, stop: impl Future<Output = ()>) {
    let (stopping, stopped) = watch::channel(());
    let mut accepting = JoinSet::new();
    for listener in listeners {
        let purpose = listener.purpose;
        let door = Door { live: Arc::clone(live), purpose, stopped: stopped.clone() };
        accepting.spawn(door.accept(listener));
    }
    drop(stopped);
    stop.await;
    drop(stopping);
    let ended = async { while accepting.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::warn!(name: "symbolon.sidecar.cut_off", "requests were under way for too long at the end");
        accepting.shutdown().await;
    }
}

/// What a listener's connections have in common.
#[derive(Clone)]
struct Door {
    live: Arc<Live>,
    purpose: Purpose,
    /// Closed when it is to end.
    stopped: watch::Receiver<()>,
}

/// Who is at the other end of a connection.
#[derive(Clone)]
struct Peer {
    caller: Caller,
    certificate: Option<PeerCertificate>,
    user: Option<PeerUser>,
}

impl Door {
    async fn accept(self, listener: Listener) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let has_tls = listener.has_tls();
        let mut connections = JoinSet::new();
        let mut stopped = self.stopped.clone();
        loop {
            while connections.try_join_next().is_some() {}
            let next = async {
                // Nobody closes it.
                let slot = Arc::clone(&slots).acquire_owned().await.map_err(io::Error::other)?;
                listener.socket.accept().await.map(|accepted| (accepted, slot))
            };
            let accepted = tokio::select! {
                accepted = next => accepted,
                _ = stopped.changed() => break,
            };
            let (stream, peer, slot) = match accepted {
                Ok((Some((stream, peer)), slot)) => (stream, peer, slot),
                Ok((None, _)) => continue,
                Err(error) => {
                    tracing::warn!(name: "symbolon.sidecar.accept", %error, "a connection can't be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let door = self.clone();
            connections.spawn(async move {
                match (stream, has_tls) {
                    (Stream::Tcp(stream), true) => door.serve_tls(stream, peer).await,
                    (Stream::Tcp(stream), false) => door.serve(stream, peer).await,
                    #[cfg(unix)]
                    (Stream::Unix(stream), _) => door.serve(stream, peer).await,
                }
                drop(slot);
            });
        }
        // Nobody gets in any more, and the last one may have a file to remove.
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    async fn serve_tls(self, stream: tokio::net::TcpStream, mut peer: Peer) {
        let Some(config) = self.live.current.load().server.tls_config.clone() else {
            tracing::error!(name: "symbolon.sidecar.no_tls", "the configuration has no section Tls any more");
            return;
        };
        let handshake = TlsAcceptor::from(config).accept(stream);
        let stream = match tokio::time::timeout(HANDSHAKE, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::info!(name: "symbolon.sidecar.handshake", %error, "a handshake failed");
                return;
            }
            Err(_) => return,
        };
        let presented = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        if let (Some(certificate), Caller::Address(address)) = (presented, peer.caller) {
            peer.certificate = Some(PeerCertificate(certificate.to_vec()));
            peer.caller = Caller::Certified(address);
        }
        self.serve(stream, peer).await;
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(mut self, stream: S, peer: Peer) {
        let (live, purpose) = (Arc::clone(&self.live), self.purpose);
        let service = service_fn(move |request: Request<Incoming>| {
            let (live, peer) = (Arc::clone(&live), peer.clone());
            async move { Ok::<_, Infallible>(answer(&live, purpose, peer, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = self.stopped.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

async fn answer(live: &Live, purpose: Purpose, peer: Peer, request: Request<Incoming>) -> Response {
    let path = request.uri().path();
    let is_for_probes = [HEALTH, READINESS, METRICS].iter().any(|open| path.eq_ignore_ascii_case(open));
    if purpose == Purpose::Health && !is_for_probes {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    let mut request = request.map(Body::new);
    let extensions = request.extensions_mut();
    extensions.insert(peer.caller);
    (purpose == Purpose::Health).then(|| extensions.insert(ForProbes));
    peer.certificate.map(|certificate| extensions.insert(certificate));
    peer.user.map(|user| extensions.insert(user));
    live.answer(request).await
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

impl Socket {
    /// The next connection; nothing where it is one of a user who may not have it.
    async fn accept(&self) -> io::Result<Option<(Stream, Peer)>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers are small, and written at once.
                let _ = stream.set_nodelay(true);
                let peer = Peer { caller: Caller::Address(address), certificate: None, user: None };
                Ok(Some((Stream::Tcp(stream), peer)))
            }
            #[cfg(unix)]
            Self::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                if !socket.allows(uid) {
                    tracing::warn!(name: "symbolon.sidecar.refused_user", uid, "a user who may not connect");
                    return Ok(None);
                }
                let peer = Peer { caller: Caller::Local, certificate: None, user: Some(PeerUser(uid)) };
                Ok(Some((Stream::Unix(stream), peer)))
            }
        }
    }
}

/// How many connections a listener has at once; further ones wait. Each may hold a few kilobytes for its headers.
const MAX_CONNECTIONS: usize = 4096;
/// How long a caller may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// And for the headers of a request. Connections on which nothing happens for longer are closed.
const HEADERS: Duration = Duration::from_secs(60);
/// Until a connection is accepted again where the system has no more of something.
const PAUSE: Duration = Duration::from_millis(100);
