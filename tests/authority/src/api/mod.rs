//! An API that takes the authority's tokens, or client certificates in their place, and says what it saw.

mod answer;
mod guard;
mod serve;
mod tls;

use std::{
    collections::VecDeque,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rustls::SupportedProtocolVersion;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{Authority, Certificate, StartError, lock, state::State, write};

/// What an API is made of. Every setting has a default that works.
#[derive(Debug, Clone)]
#[must_use]
pub struct ApiBuilder {
    listen: String,
    host: String,
    demand: Demand,
    ask: Ask,
    versions: &'static [&'static SupportedProtocolVersion],
    http2: bool,
}

/// What an API demands of each request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Demand {
    /// Nothing.
    Nothing,
    /// A token of the authority for this audience, as a bearer token; where it is bound (`cnf.x5t#S256`), by the scheme
    /// `mtls_pop` and with that certificate on the connection.
    Token(String),
    /// A client certificate that it [accepts](Api::accept).
    Certificate,
}

/// Whether an API asks for a client certificate in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// It doesn't.
    Never,
    /// It does, and goes on without.
    Optional,
    /// It does, and refuses a handshake without.
    Required,
}

/// How an API refuses a certificate that it doesn't accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateRefusal {
    /// By the status of its answer.
    Status(u16),
    /// In the handshake, by the alert `bad_certificate`.
    BadCertificate,
    /// In the handshake, by the alert `certificate_expired`.
    Expired,
    /// In the handshake, by the alert `certificate_revoked`.
    Revoked,
    /// In the handshake, by the alert `unknown_ca`.
    UnknownAuthority,
}

/// A request as an API saw it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ApiRequest {
    /// Which connection it came on, counted from 0.
    pub connection: u64,
    /// `1` or `2`.
    pub http_version: u8,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query, as it came.
    pub query: Option<String>,
    /// All headers but `authorization`.
    pub headers: Vec<(String, String)>,
    /// The scheme of the header `authorization`.
    pub authorization_scheme: Option<String>,
    /// The claims of the token, where it is one of the authority's.
    pub token: Option<Value>,
    /// The `x5t#S256` of the client certificate of the connection.
    pub client_certificate: Option<String>,
    /// How long the body was, in bytes.
    pub body_length: u64,
    /// The SHA-256 of the body, in hexadecimal.
    pub body_sha256: String,
    /// What was answered.
    pub status: u16,
}

impl ApiRequest {
    /// The value of the first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

impl ApiBuilder {
    /// Where to listen: an address and port. The default is a free port of the loopback address.
    pub fn listen(mut self, address: impl ToString) -> Self {
        self.listen = address.to_string();
        self
    }

    /// The host name that its certificate is for. The default is `api.contoso.test`.
    pub fn host(mut self, host: &str) -> Self {
        self.host = host.to_ascii_lowercase();
        self
    }

    /// What it demands. The default is nothing.
    pub fn demand(mut self, demand: Demand) -> Self {
        self.demand = demand;
        self
    }

    /// Whether it asks for a client certificate. The default is never.
    pub fn ask(mut self, ask: Ask) -> Self {
        self.ask = ask;
        self
    }

    /// Speaks no other version of TLS than 1.2. The default is 1.2 and 1.3.
    pub fn tls12(mut self) -> Self {
        self.versions = TLS12;
        self
    }

    /// Speaks no other version of TLS than 1.3.
    pub fn tls13(mut self) -> Self {
        self.versions = TLS13;
        self
    }

    /// Whether it speaks HTTP/2 beside HTTP/1.1. The default is yes.
    pub fn http2(mut self, speak: bool) -> Self {
        self.http2 = speak;
        self
    }

    /// Starts it. Its certificate is issued by the authority's CA.
    ///
    /// # Errors
    /// When the address can't be listened on, or the certificate can't be made.
    pub async fn start(self, authority: &Authority) -> Result<Api, StartError> {
        let authority = authority.state().clone();
        let listen = |source| StartError::Listen { address: self.listen.clone(), source };
        let listener = TcpListener::bind(&self.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let shared = Arc::new(Shared {
            demand: self.demand.clone(),
            rules: RwLock::default(),
            scripted: Mutex::default(),
            log: Mutex::default(),
            connections: AtomicU64::new(0),
            authority,
        });
        let config = tls::config(&self, &shared)?;
        let task = tokio::spawn(serve::serve(listener, shared.clone(), config));
        Ok(Api { host: self.host, address, shared, task })
    }
}

/// A running API. It answers every path with what it saw, in JSON; `/status/{status}`, `/bytes/{length}`, `/echo`,
/// `/redirect?to={url}&status={status}`, `/silence` and `/stall` (a head, and no body) do what they say. It ends when it is
/// dropped.
pub struct Api {
    host: String,
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What the connections of an API share.
pub(crate) struct Shared {
    demand: Demand,
    rules: RwLock<Rules>,
    scripted: Mutex<VecDeque<Scripted>>,
    log: Mutex<Vec<ApiRequest>>,
    connections: AtomicU64,
    authority: Arc<State>,
}

/// An answer that was ordered: status and headers.
type Scripted = (u16, Vec<(String, String)>);

/// What may change while it runs.
#[derive(Default)]
struct Rules {
    /// `x5t#S256`; none for whichever.
    accepted: Option<Vec<String>>,
    refusal: Option<CertificateRefusal>,
    /// What a token must have among its `acrs`.
    acrs: Option<String>,
}

impl Api {
    /// An API with the defaults.
    pub fn builder() -> ApiBuilder {
        ApiBuilder {
            listen: "127.0.0.1:0".to_owned(),
            host: "api.contoso.test".to_owned(),
            demand: Demand::Nothing,
            ask: Ask::Never,
            versions: rustls::ALL_VERSIONS,
            http2: true,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its host name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `https://{host}`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.host)
    }

    /// Accepts these client certificates and no others from now on. The default is every one.
    pub fn accept<'c>(&self, certificates: impl IntoIterator<Item = &'c Certificate>) {
        let accepted = certificates.into_iter().map(Certificate::x5t_s256).collect();
        write(&self.shared.rules).accepted = Some(accepted);
    }

    /// How it refuses the others. The default is the status 401.
    pub fn refuse_by(&self, refusal: CertificateRefusal) {
        write(&self.shared.rules).refusal = Some(refusal);
    }

    /// Takes only tokens with this among their `acrs` from now on: the others get a claims challenge.
    pub fn demand_acrs(&self, value: &str) {
        write(&self.shared.rules).acrs = Some(value.to_owned());
    }

    /// Answers the next request with this status and these headers, whatever it is. May be said several times.
    pub fn answer_next<'h>(&self, status: u16, headers: impl IntoIterator<Item = (&'h str, &'h str)>) {
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        lock(&self.shared.scripted).push_back((status, headers));
    }

    /// What it saw so far.
    #[must_use]
    pub fn log(&self) -> Vec<ApiRequest> {
        lock(&self.shared.log).clone()
    }

    /// Forgets what it saw.
    pub fn clear_log(&self) {
        lock(&self.shared.log).clear();
    }

    /// How many connections it accepted.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

impl Drop for Api {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("host", &self.host)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
