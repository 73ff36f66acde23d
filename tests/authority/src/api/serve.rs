//! Accepting an API's connections.

use std::{convert::Infallible, io, sync::Arc, sync::atomic::Ordering, time::Duration};

use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{Shared, answer};
use crate::Certificate;

/// A connection, as its requests see it.
pub(super) struct Peer {
    pub(super) connection: u64,
    /// `x5t#S256`.
    pub(super) certificate: Option<String>,
}

/// Serves until it is dropped, which ends every connection.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, config: Arc<ServerConfig>) {
    let acceptor = TlsAcceptor::from(config);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let id = shared.connections.fetch_add(1, Ordering::Relaxed);
                    connections.spawn(connection(id, stream, acceptor.clone(), shared.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    sleep(BREATH).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(id: u64, stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    // Without effect on what is answered, so that a failure is no reason to refuse.
    let _ = stream.set_nodelay(true);
    let shaken = timeout(HANDSHAKE, acceptor.accept(stream)).await;
    let tls = match shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(tls) => tls,
        Err(error) => return tracing::debug!(connection = id, %error, "TLS handshake failed"),
    };
    let leaf = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certificate = leaf.and_then(|der| Certificate::from_der(der).ok()).map(|leaf| leaf.x5t_s256());
    let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let peer = Arc::new(Peer { connection: id, certificate });
    let service = service_fn(move |request| {
        let (shared, peer) = (shared.clone(), peer.clone());
        async move { Ok::<_, Infallible>(answer::answer(shared, peer, request).await) }
    });
    let io = TokioIo::new(tls);
    let served = match is_http2 {
        true => http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await,
        false => http1::Builder::new().serve_connection(io, service).await,
    };
    if let Err(error) = served {
        tracing::debug!(connection = id, %error, "connection ended");
    }
}

/// A client that has not finished its handshake by then is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be accepted.
const BREATH: Duration = Duration::from_millis(10);
