use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Uri;
use http::uri::{Authority, Scheme};
use rustls::ClientConfig;
use rustls::sign::CertifiedKey;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{Connect, TlsConnector};

use super::connect_to::ConnectTo;
use super::error::{ConnectStep, TransportError, TransportErrorKind};
use super::proxy::{NoProxy, Proxy, TunnelError, is_local};
use super::roots::Roots;
use super::tls::{HTTP_2, Presenter};
use crate::threads::Threads;

/// Where a request goes by its URL: what connections are kept by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
}

impl Origin {
    /// The origin of an absolute http or https URL without user information.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let (scheme, authority) = (uri.scheme()?, uri.authority()?);
        let usable = !authority.host().is_empty() && !authority.as_str().contains('@');
        usable.then(|| Self { scheme: scheme.clone(), authority: authority.clone() })
    }

    /// The host, an IPv6 address without its brackets.
    pub(super) fn host(&self) -> &str {
        let host = self.authority.host();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    pub(super) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    pub(super) fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// `host` or `host:port`, as in the URL.
    pub(super) fn as_str(&self) -> &str {
        self.authority.as_str()
    }

    /// The value of a `host` header: without the port when it is the scheme's own (RFC 9110 §7.2).
    pub(super) fn host_header(&self) -> &str {
        match (self.is_https(), self.authority.port_u16()) {
            (true, Some(443)) | (false, Some(80)) => self.authority.host(),
            _ => self.authority.as_str(),
        }
    }
}

/// Makes connections as an application's options say.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) connect_to: ConnectTo,
    pub(super) proxy: Option<Proxy>,
    pub(super) no_proxy: NoProxy,
    pub(super) roots: Arc<Roots>,
    /// Where handshakes wait in which somebody else signs.
    pub(super) threads: Threads,
}

/// What a connection proves its own identity with, and how it checks the server's.
#[derive(Debug)]
pub(super) struct TlsIdentity<'a> {
    pub(super) config: Option<&'a Arc<ClientConfig>>,
    pub(super) client: Option<&'a Arc<CertifiedKey>>,
    /// Whether the client's signature blocks for longer than a moment.
    pub(super) blocks: bool,
}

/// A connection on which nothing has been sent.
pub(super) enum Stream {
    Plain(TcpStream),
    Http1(Box<TlsStream<TcpStream>>),
    Http2(Box<TlsStream<TcpStream>>),
}

/// Which way a connection takes.
#[derive(Debug)]
enum Route<'a> {
    Direct(&'a str, u16),
    Tunnel(&'a Proxy),
}

impl Connector {
    /// Connects, through a proxy where one is due, and completes the TLS handshake. `step` says how far it got, to the
    /// one who loses patience.
    pub(super) async fn connect(
        &self,
        origin: &Origin,
        identity: TlsIdentity<'_>,
        step: &mut ConnectStep,
    ) -> Result<Stream, TransportError> {
        let tcp = match self.route(origin) {
            Route::Direct(host, port) => tcp_connect(origin.as_str(), host, port, step).await?,
            Route::Tunnel(proxy) => tunnel(origin, proxy, step).await?,
        };
        if !origin.is_https() {
            return Ok(Stream::Plain(tcp));
        }
        *step = ConnectStep::Tls;
        self.handshake(origin, identity, tcp).await
    }

    /// `ConnectTo` says where this host is, so it decides alone; then a proxy, but never for hosts on this machine and
    /// link-local ones, for plain HTTP, which goes to no others, and for those in `NO_PROXY`.
    fn route<'a>(&'a self, origin: &'a Origin) -> Route<'a> {
        let (host, port) = (origin.host(), origin.port());
        if let Some((host, port)) = self.connect_to.target(host, port) {
            return Route::Direct(host, port);
        }
        match &self.proxy {
            Some(proxy) if origin.is_https() && !is_local(host) && !self.no_proxy.matches(host, port) => {
                Route::Tunnel(proxy)
            }
            _ => Route::Direct(host, port),
        }
    }

    async fn handshake(
        &self,
        origin: &Origin,
        identity: TlsIdentity<'_>,
        tcp: TcpStream,
    ) -> Result<Stream, TransportError> {
        let authority = origin.as_str();
        let Some(config) = identity.config else { return Err(no_roots(authority, &self.roots)) };
        let name = ServerName::try_from(origin.host())
            .map_err(|_| {
                TransportError::new(
                    TransportErrorKind::InvalidRequest,
                    authority,
                    "not a host name that TLS can check",
                )
            })?
            .to_owned();
        let (config, presenter) = match identity.client {
            Some(key) => {
                let (config, presenter) = Presenter::of_connection(config, key);
                (config, Some(presenter))
            }
            None => (Arc::clone(config), None),
        };
        let connecting = TlsConnector::from(config).connect(name, tcp);
        let connected = match identity.blocks {
            true => self.on_blocking_thread(connecting).await,
            false => connecting.await,
        };
        let stream = connected.map_err(|error| {
            TransportError::handshake(authority, &error, &self.roots.description, presenter.is_some())
        })?;
        if let Some(presenter) = presenter {
            presenter.check(authority)?;
        }
        let stream = Box::new(stream);
        match stream.get_ref().1.alpn_protocol() {
            Some(HTTP_2) => Ok(Stream::Http2(stream)),
            _ => Ok(Stream::Http1(stream)),
        }
    }

    /// Runs a handshake in which somebody else signs where nobody else is kept waiting. A thread can't be called off, so it
    /// has an end of its own, when the one who waits has long lost patience.
    async fn on_blocking_thread(&self, connecting: Connect<TcpStream>) -> io::Result<TlsStream<TcpStream>> {
        let runtime = Handle::current();
        let patient =
            async { tokio::time::timeout(LONGEST_HANDSHAKE, connecting).await.map_err(io::Error::from)? };
        let connected = self.threads.run(move || runtime.block_on(patient)).await;
        connected.ok_or_else(|| io::Error::other("the handshake came to no end"))?
    }
}

fn no_roots(authority: &str, roots: &Roots) -> TransportError {
    let detail = format!(
        "no server is trusted: there are no root certificates ({}); install the platform's, or name a PEM file in \
         `Symbolon:TrustedRoots` or in the environment variable SSL_CERT_FILE",
        roots.description
    );
    TransportError::new(TransportErrorKind::CertificateUntrusted, authority, detail)
}

async fn tunnel(origin: &Origin, proxy: &Proxy, step: &mut ConnectStep) -> Result<TcpStream, TransportError> {
    let failed = |status: Option<u16>, detail: String| {
        TransportError::new(TransportErrorKind::Proxy(status), origin.as_str(), detail)
    };
    let (host, port) = proxy.address();
    let mut tcp = tcp_connect(origin.as_str(), host, port, step)
        .await
        .map_err(|error| failed(None, format!("the proxy can't be reached: {}", error.detail())))?;
    *step = ConnectStep::Proxy;
    let target = format!("{}:{}", origin.authority.host(), origin.port());
    match proxy.tunnel(&mut tcp, &target).await {
        Ok(()) => Ok(tcp),
        Err(TunnelError::Refused(status)) => {
            Err(failed(Some(status), format!("the proxy {proxy} {}", TunnelError::Refused(status))))
        }
        Err(error) => Err(failed(None, format!("the proxy {proxy} {error}"))),
    }
}

async fn tcp_connect(
    authority: &str,
    host: &str,
    port: u16,
    step: &mut ConnectStep,
) -> Result<TcpStream, TransportError> {
    *step = ConnectStep::Resolving;
    let addresses = resolve(host, port).await.map_err(|error| {
        TransportError::new(
            TransportErrorKind::Dns,
            authority,
            format!("the name {host} can't be resolved ({error})"),
        )
    })?;
    *step = ConnectStep::Tcp;
    let connected =
        first_to_connect(addresses).await.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
    connected.map_err(|error| TransportError::tcp(authority, &format!("{host}:{port}"), &error))
}

async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    match addresses.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "it has no address")),
        false => Ok(families_alternating(addresses)),
    }
}

/// The resolver's order, but with the families alternating, so that one that is broken costs one delay and not one per
/// address (RFC 8305 §4).
fn families_alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return addresses };
    let first_is_v6 = first.is_ipv6();
    let count = addresses.len();
    let (one, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut ordered = Vec::with_capacity(count);
    while ordered.len() < count {
        ordered.extend(one.next());
        ordered.extend(other.next());
    }
    ordered
}

/// Tries the addresses in turn, the next one when the one before has failed or kept silent for a while (RFC 8305 §5).
/// Gives the first failure when all fail: it is that of the address the resolver prefers.
async fn first_to_connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    loop {
        if let Some(address) = waiting.next() {
            attempts.push(TcpStream::connect(address));
        }
        let more = waiting.len() > 0;
        tokio::select! {
            attempt = attempts.next() => match attempt {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => _ = failure.get_or_insert(error),
                None => return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
            },
            () = tokio::time::sleep(ATTEMPT_DELAY), if more => {}
        }
    }
}

/// For a handshake that blocks a thread.
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(60);

/// Between the beginnings of two attempts (RFC 8305 §8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Option<Origin> {
        Origin::of(&url.parse().unwrap())
    }

    #[test]
    fn an_origin_has_a_host_and_a_port() {
        let cases = [
            ("https://a.example/x", "a.example", 443),
            ("https://a.example:8443/x", "a.example", 8443),
            ("http://169.254.169.254/x", "169.254.169.254", 80),
            ("https://[::1]:1/x", "::1", 1),
        ];
        for (url, host, port) in cases {
            let origin = origin(url).unwrap();
            assert_eq!((origin.host(), origin.port()), (host, port));
        }
        assert!(origin("https://user:password@a.example/").is_none());
        assert!(origin("/x").is_none());
        assert_eq!(origin("https://A.example/"), origin("https://a.EXAMPLE/"));
    }

    #[test]
    fn families_alternate_beginning_with_the_preferred() {
        let addresses =
            |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let mixed = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"]);
        assert_eq!(families_alternating(mixed), addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]));
        assert!(families_alternating(Vec::new()).is_empty());
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_followed_by_the_next() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let open = listener.local_addr().unwrap();
        let stream = first_to_connect(vec![closed, open]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        let error = first_to_connect(vec![closed]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
