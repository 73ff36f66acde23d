//! Accepting connections: TCP, TLS by name, HTTP/1.1 or HTTP/2.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{HandshakeKind, ServerConnection, server::Acceptor};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::{
    Certificate, Source, answer,
    platform::Machine,
    state::State,
    stats::Connection,
    wire::{Plug, Wire},
};

/// A client that has not finished its handshake by then is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be accepted, as when the process is out of file descriptors.
const BREATH: Duration = Duration::from_millis(10);

/// A connection after its handshake, as requests see it.
pub(crate) struct Peer {
    pub(crate) connection: Connection,
    /// The client's chain, leaf first.
    pub(crate) chain: Vec<Certificate>,
    pub(crate) plug: Arc<Plug>,
    /// The machine whose endpoint of this source was called, if it was not the authority.
    pub(crate) machine: Option<(Arc<Machine>, Source)>,
}

/// Serves until it is dropped, which ends every connection.
pub(crate) async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, state.clone()));
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

async fn connection(stream: TcpStream, state: Arc<State>) {
    let id = state.counters.accepted();
    let plug = Arc::new(Plug::default());
    // Without effect on what is answered, so that a failure is no reason to refuse.
    let _ = stream.set_nodelay(true);
    let shaken = timeout(HANDSHAKE, handshake(Wire::new(stream, plug.clone()), &state)).await;
    let (host, tls) = match shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(shaken) => shaken,
        Err(error) => {
            tracing::debug!(connection = id, %error, "TLS handshake failed");
            return state.counters.failed();
        }
    };
    let chain = chain(tls.get_ref().1);
    let connection = describe(id, host, tls.get_ref().1, chain.first());
    state.counters.shaken(connection.clone());
    let h2 = connection.alpn.as_deref() == Some("h2");
    let peer = Arc::new(Peer { connection, chain, plug: plug.clone(), machine: None });
    let service = service_fn(move |request| {
        let (state, peer) = (state.clone(), peer.clone());
        async move { Ok::<_, Infallible>(answer::answer(state, peer, request).await) }
    });
    let io = TokioIo::new(tls);
    let served = async {
        if h2 {
            http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
        } else {
            http1::Builder::new().serve_connection(io, service).await
        }
    };
    tokio::select! {
        () = plug.pulled() => {}
        served = served => if let Err(error) = served {
            tracing::debug!(connection = id, %error, "connection ended");
        },
    }
}

async fn handshake(wire: Wire, state: &State) -> io::Result<(String, TlsStream<Wire>)> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), wire).await?;
    let host = start.client_hello().server_name().map(str::to_ascii_lowercase);
    let config = state.tls.config_for(host.as_deref());
    let tls = start.into_stream(config).await?;
    Ok((host.unwrap_or_default(), tls))
}

fn chain(tls: &ServerConnection) -> Vec<Certificate> {
    let chain = tls.peer_certificates().unwrap_or_default();
    chain.iter().filter_map(|der| Certificate::from_der(der).ok()).collect()
}

/// The connection for counts and log.
pub(crate) fn describe(
    id: u64,
    host: String,
    tls: &ServerConnection,
    certificate: Option<&Certificate>,
) -> Connection {
    Connection {
        id,
        host,
        resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
        tls_version: match tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2".to_owned(),
            _ => "TLSv1.3".to_owned(),
        },
        alpn: tls.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        client_certificate: certificate.map(Certificate::x5t_s256),
    }
}
