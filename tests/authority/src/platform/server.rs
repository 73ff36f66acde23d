//! Accepting connections at a platform's endpoints: plain HTTP, and TLS for Service Fabric.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{machine::Machine, source::Source};
use crate::{
    Certificate, StartError, answer,
    clock::date_time,
    server::{Peer, describe},
    stats::Connection,
    wire::{Plug, Wire},
};

/// A client that has not finished its handshake by then is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be accepted, as when the process is out of file descriptors.
const BREATH: Duration = Duration::from_millis(10);

/// Serves until it is dropped, which ends every connection.
pub(super) async fn serve(
    listener: TcpListener,
    machine: Arc<Machine>,
    source: Source,
    tls: Option<Arc<ServerConfig>>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, machine.clone(), source, tls.clone()));
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

/// The configuration of Service Fabric's endpoint, with a new certificate.
pub(super) fn fabric_tls(now_unix: u64) -> Result<(Arc<ServerConfig>, Certificate), StartError> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "Service Fabric");
    parameters.not_before = date_time(now_unix) - time::Duration::DAY;
    parameters.not_after = date_time(now_unix) + time::Duration::days(397);
    let der = parameters.self_signed(&key)?.der().clone();
    let certificate =
        Certificate::from_der(&der).map_err(|error| StartError::Certificate(error.to_string()))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![der], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), certificate))
}

async fn connection(
    stream: TcpStream,
    machine: Arc<Machine>,
    source: Source,
    tls: Option<Arc<ServerConfig>>,
) {
    let id = machine.counters.accepted();
    let plug = Arc::new(Plug::default());
    // Without effect on what is answered, so that a failure is no reason to refuse.
    let _ = stream.set_nodelay(true);
    let wire = Wire::new(stream, plug.clone());
    let host = source.name().to_owned();
    let Some(tls) = tls else {
        let connection = Connection {
            id,
            host,
            resumed: false,
            tls_version: String::new(),
            alpn: None,
            client_certificate: None,
        };
        return requests(wire, plug, connection, machine, source).await;
    };
    let shaken = timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(wire)).await;
    match shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) => {
            let connection = describe(id, host, stream.get_ref().1, None);
            requests(stream, plug, connection, machine, source).await;
        }
        Err(error) => {
            tracing::debug!(connection = id, %error, "TLS handshake failed");
            machine.counters.failed();
        }
    }
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    plug: Arc<Plug>,
    connection: Connection,
    machine: Arc<Machine>,
    source: Source,
) {
    let id = connection.id;
    machine.counters.shaken(connection.clone());
    let state = machine.state.clone();
    let peer = Arc::new(Peer {
        connection,
        chain: Vec::new(),
        plug: plug.clone(),
        machine: Some((machine, source)),
    });
    let service = service_fn(move |request| {
        let (state, peer) = (state.clone(), peer.clone());
        async move { Ok::<_, Infallible>(answer::answer(state, peer, request).await) }
    });
    tokio::select! {
        () = plug.pulled() => {}
        served = http1::Builder::new().serve_connection(TokioIo::new(stream), service) => {
            if let Err(error) = served {
                tracing::debug!(connection = id, %error, "connection ended");
            }
        }
    }
}
