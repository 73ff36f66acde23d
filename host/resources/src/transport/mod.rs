//! How requests leave: TLS connections of an application's own, kept per certificate, with the credential presented on
//! the way out.
//!
//! A [`Transport`] belongs to one application and shares nothing with others but the process's root certificates
//! ([`TransportShared`]). What it guarantees for every request, plain or with a credential:
//!
//! * it goes only where the application's [`EgressPolicy`] allows, and a redirect is an answer like any other;
//! * a certificate that is to be presented is presented in that very handshake, or the request isn't sent;
//! * a new certificate (a new [`Binding`]) has connections of its own, and no TLS session
//!   of the one before is resumed;
//! * a secret goes into the one empty place meant for it, or the request isn't sent;
//! * the answer is complete within its deadline and its size, or there is a [`TransportError`].

mod body;
mod connect;
mod connect_to;
mod deadline;
mod error;
mod options;
mod pin;
mod pool;
mod presentation;
mod proxy;
mod request_body;
mod roots;
mod tls;
mod watch;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use hyper::body::Incoming;
use rustls::crypto::CryptoProvider;
use tokio::time::Instant;
use tracing::Instrument;

use self::connect::{Connector, Origin};
use self::deadline::Deadline;
use self::pool::{Counters, Lease, Limits, Outgoing, Pool, Unanswered, millis};
use self::proxy::NoProxy;
use self::roots::{RootCache, Roots};

use crate::credentials::{Binding, EgressPolicy};
use crate::platform::Platform;
use crate::threads::Threads;

pub use self::body::Body;
pub use self::connect_to::ConnectTo;
pub use self::error::{ConnectStep, Phase, TransportError, TransportErrorKind};
pub use self::options::{TransportOptions, TransportOptionsError};
pub use self::presentation::{Place, Presentation};
pub use self::proxy::Proxy;
pub use self::request_body::RequestBody;

/// What all transports of a process share: the root certificates, and what the environment says about them and about
/// proxies.
#[derive(Debug)]
pub struct TransportShared {
    crypto: Arc<CryptoProvider>,
    roots: RootCache,
    proxy: Option<Proxy>,
    no_proxy: NoProxy,
}

impl TransportShared {
    /// Reads `SSL_CERT_FILE`, `SSL_CERT_DIR`, `HTTPS_PROXY` and `NO_PROXY` (the last two in lower case first, as curl
    /// does) from `environment`, usually `|name| std::env::var(name).ok()`. The root certificates are read when the
    /// first application needs them.
    ///
    /// # Errors
    ///
    /// [`TransportOptionsError::Proxy`] when the proxy's URL can't be used.
    pub fn new(environment: impl Fn(&str) -> Option<String>) -> Result<Arc<Self>, TransportOptionsError> {
        let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let first_of = |names: [&'static str; 2]| {
            let set =
                |name| environment(name).filter(|value| !value.trim().is_empty()).map(|value| (name, value));
            names.into_iter().find_map(set)
        };
        let proxy = first_of(["https_proxy", "HTTPS_PROXY"])
            .map(|(name, url)| Proxy::parse(&url, name))
            .transpose()?;
        let no_proxy =
            first_of(["no_proxy", "NO_PROXY"]).map(|(_, list)| NoProxy::parse(&list)).unwrap_or_default();
        let roots =
            RootCache::new(Arc::clone(&crypto), environment("SSL_CERT_FILE"), environment("SSL_CERT_DIR"));
        Ok(Arc::new(Self { crypto, roots, proxy, no_proxy }))
    }
}

/// The way out of one application. Connections and TLS configurations are made when first needed.
pub struct Transport {
    crypto: Arc<CryptoProvider>,
    /// `None` where the caller chooses: for APIs, which no guest names.
    policy: Option<Arc<EgressPolicy>>,
    connector: Arc<Connector>,
    /// The one server certificate that is trusted, by its SHA-1 in hexadecimal, where it is known.
    thumbprint: Option<String>,
    limits: Limits,
    attempt_timeout: Duration,
    max_response_bytes: usize,
    counters: Arc<Counters>,
    pools: RwLock<Vec<Entry>>,
}

/// A pool and whose it is.
struct Entry {
    /// `None` for requests that present no certificate. Else the certificate; when nobody holds it any more, no request
    /// can ask for this pool again, and when another took its place, few do.
    binding: Option<(u64, Weak<Binding>)>,
    pool: Arc<Pool>,
}

/// What a transport has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportStatistics {
    /// Connections that were made, TLS handshake included.
    pub connections_opened: u64,
    /// Requests that were given to a connection.
    pub requests_sent: u64,
    /// Pools alive: one per certificate in use, and one for requests without. Those of certificates that were replaced are
    /// let go with the next request.
    pub pools: usize,
}

impl Transport {
    /// A transport that sends only where `policy` allows.
    ///
    /// # Errors
    ///
    /// [`TransportOptionsError`] when a file with trusted roots, the application's or one that the environment names,
    /// can't be used.
    pub fn new(
        shared: &TransportShared,
        policy: Arc<EgressPolicy>,
        options: &TransportOptions,
    ) -> Result<Self, TransportOptionsError> {
        let proxy = options.proxy.as_ref().or(shared.proxy.as_ref()).cloned();
        Self::make(shared, Some(policy), options, proxy, None)
    }

    /// A transport to whichever API its caller names, for [`exchange`](Self::exchange).
    ///
    /// # Errors
    ///
    /// As [`Transport::new`].
    pub fn to_apis(
        shared: &TransportShared,
        options: &TransportOptions,
    ) -> Result<Self, TransportOptionsError> {
        let proxy = options.proxy.as_ref().or(shared.proxy.as_ref()).cloned();
        Self::make(shared, None, options, proxy, None)
    }

    fn make(
        shared: &TransportShared,
        policy: Option<Arc<EgressPolicy>>,
        options: &TransportOptions,
        proxy: Option<Proxy>,
        thumbprint: Option<&str>,
    ) -> Result<Self, TransportOptionsError> {
        let connector = Connector {
            connect_to: options.connect_to.clone(),
            proxy,
            no_proxy: shared.no_proxy.clone(),
            roots: shared.roots.with_files(&options.trusted_roots)?,
            threads: Threads::default(),
        };
        Ok(Self {
            crypto: Arc::clone(&shared.crypto),
            policy,
            connector: Arc::new(connector),
            thumbprint: thumbprint.map(str::to_owned),
            limits: Limits {
                connect_timeout: options.connect_timeout,
                idle_timeout: options.idle_timeout,
                max_idle: options.max_idle_connections,
            },
            attempt_timeout: options.attempt_timeout,
            max_response_bytes: options.max_response_bytes,
            counters: Arc::default(),
            pools: RwLock::default(),
        })
    }

    /// A transport that sends only to the platform's own endpoints: by plain http where the platform names such a one,
    /// never through a proxy, and to Service Fabric's endpoint by its certificate's thumbprint.
    ///
    /// # Errors
    ///
    /// As [`Transport::new`].
    pub fn to_platform(
        shared: &TransportShared,
        platform: &Platform,
        options: &TransportOptions,
    ) -> Result<Self, TransportOptionsError> {
        let policy = Some(Arc::new(platform.egress()));
        Self::make(shared, policy, options, None, platform.server_thumbprint())
    }

    /// Whether requests may go there.
    pub fn allows(&self, uri: &Uri) -> bool {
        Origin::of(uri).is_some_and(|origin| self.permits(&origin))
    }

    fn permits(&self, origin: &Origin) -> bool {
        let allows =
            |policy: &EgressPolicy| policy.allows(origin.scheme.as_str(), origin.host(), origin.port());
        self.policy.as_deref().is_none_or(allows)
    }

    /// Sends one request and gives its answer, whatever its status, once the head is there.
    ///
    /// The URL is absolute; `host` and `content-length` are set here. One attempt is made: a request is sent a second
    /// time only when a kept connection turned out to be closed before a byte of it was written. `deadline` is that of
    /// the acquisition; the attempt has its own limit as well, and both cover the body.
    ///
    /// # Errors
    ///
    /// [`TransportError`] says what happened, and whether the server may have seen the request.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        presentation: Presentation,
        deadline: Instant,
    ) -> Result<Response<Body>, TransportError> {
        let began = Instant::now();
        let span = tracing::debug_span!(
            "symbolon.transport.send",
            host = request.uri().host().unwrap_or_default(),
            bound = presentation.certificate.is_some(),
        );
        async {
            let answer = self.attempt(request, presentation, deadline).await;
            let elapsed_ms = millis(began.elapsed());
            match &answer {
                Ok(response) => {
                    let status = response.status().as_u16();
                    tracing::debug!(outcome = "answered", status, elapsed_ms, "a request was answered");
                }
                Err(error) => {
                    tracing::debug!(outcome = ?error.kind(), %error, elapsed_ms, "a request failed");
                }
            }
            answer
        }
        .instrument(span)
        .await
    }

    /// What this transport has done so far.
    pub fn statistics(&self) -> TransportStatistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TransportStatistics {
            connections_opened: read(&self.counters.connections_opened),
            requests_sent: read(&self.counters.requests_sent),
            pools: self.pools.read().unwrap_or_else(PoisonError::into_inner).len(),
        }
    }

    async fn attempt(
        &self,
        request: Request<Bytes>,
        presentation: Presentation,
        deadline: Instant,
    ) -> Result<Response<Body>, TransportError> {
        let deadline = Deadline::new(self.attempt_timeout, deadline);
        let (origin, request) = self.prepare(request, &presentation)?;
        self.run(&origin, request, presentation.certificate.as_ref(), deadline, self.max_response_bytes).await
    }

    /// Sends one request to an API and gives its answer, whatever its status, once the head is there. The answer's body
    /// is as long as it is.
    ///
    /// The URL is absolute, https or http; `host` is set here, and `content-length` where the length is known. With a
    /// `certificate` the request goes out only on a connection in whose handshake that was presented. One attempt is made,
    /// as with [`send`](Self::send). `deadline` covers the answer's body, and so does `idle`: how long nothing may come
    /// and nothing go.
    ///
    /// # Errors
    ///
    /// [`TransportError`] says what happened, and whether the server may have seen the request.
    pub async fn exchange(
        &self,
        mut request: Request<RequestBody>,
        certificate: Option<&Arc<Binding>>,
        deadline: Option<Instant>,
        idle: Duration,
    ) -> Result<Response<Body>, TransportError> {
        let origin = self.origin(request.uri())?;
        if certificate.is_some() && !origin.is_https() {
            let detail = "not sent: a client certificate can only be presented over https";
            return Err(TransportError::new(TransportErrorKind::InvalidRequest, origin.as_str(), detail));
        }
        let sent = request.body_mut().watched();
        if sent.is_none() && expects_body(request.method()) {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(0));
        }
        self.run(&origin, request, certificate, Deadline::of_call(deadline, idle, sent), usize::MAX).await
    }

    /// Sends a request that may go out.
    async fn run(
        &self,
        origin: &Origin,
        request: Outgoing,
        certificate: Option<&Arc<Binding>>,
        mut deadline: Deadline,
        limit: usize,
    ) -> Result<Response<Body>, TransportError> {
        let mut phase = Phase::Connecting;
        if deadline.is_past() {
            return Err(deadline.passed(origin.as_str(), phase));
        }
        let pool = self.pool(certificate);
        let exchanged = tokio::select! {
            biased;
            exchanged = exchange(&pool, origin, request, &mut phase) => Some(exchanged),
            () = deadline.reached() => None,
        };
        let Some(exchanged) = exchanged else { return Err(deadline.passed(origin.as_str(), phase)) };
        let (response, lease) = exchanged?;
        let (head, incoming) = response.into_parts();
        let body = Body::new(origin.as_str().to_owned(), incoming, limit, deadline, lease)?;
        Ok(Response::from_parts(head, body))
    }

    /// Checks a request and puts the secret into it. Whether it may go there at all comes first.
    fn prepare(
        &self,
        request: Request<Bytes>,
        presentation: &Presentation,
    ) -> Result<(Origin, Outgoing), TransportError> {
        let (mut parts, mut body) = request.into_parts();
        let origin = self.origin(&parts.uri)?;
        let refused = |kind, detail: String| TransportError::new(kind, origin.as_str(), detail);
        if parts.method == Method::CONNECT {
            return Err(refused(
                TransportErrorKind::InvalidRequest,
                "not sent: CONNECT is the host's own".to_owned(),
            ));
        }
        if let Some(name) = reserved_header(&parts.headers) {
            let kind = match *name {
                CONTENT_LENGTH => TransportErrorKind::ContentLengthGiven,
                _ => TransportErrorKind::InvalidRequest,
            };
            return Err(refused(kind, format!("not sent: the header `{name}` is the host's to set")));
        }
        if let Some((place, secret)) = &presentation.secret {
            body = place
                .fill(secret, &mut parts.headers, body)
                .map_err(|misplaced| refused(misplaced.kind, misplaced.to_string()))?;
        }
        if !body.is_empty() || expects_body(&parts.method) {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Ok((origin, Request::from_parts(parts, RequestBody::whole(body))))
    }

    /// Where a request goes, if it may go there.
    fn origin(&self, uri: &Uri) -> Result<Origin, TransportError> {
        let Some(origin) = Origin::of(uri) else {
            let detail = "not sent: the URL is not an absolute one of http or https without user information";
            let host = uri.host().unwrap_or("request");
            return Err(TransportError::new(TransportErrorKind::InvalidRequest, host, detail));
        };
        if !self.permits(&origin) {
            let detail =
                "not sent: the application's configuration allows no requests to this scheme, host and port";
            return Err(TransportError::new(TransportErrorKind::PolicyRefused, origin.as_str(), detail));
        }
        Ok(origin)
    }

    /// The pool of this certificate, or of none; made when it is first asked for.
    fn pool(&self, binding: Option<&Arc<Binding>>) -> Arc<Pool> {
        let generation = binding.map(|binding| binding.generation());
        let found = {
            let pools = self.pools.read().unwrap_or_else(PoisonError::into_inner);
            let stale = pools.iter().any(Entry::is_retired);
            let entry = pools.iter().find(|entry| entry.generation() == generation);
            entry.filter(|_| !stale).map(|entry| Arc::clone(&entry.pool))
        };
        found.unwrap_or_else(|| self.make_pool(binding))
    }

    /// Lets go of the pools whose certificate is out of use, and makes the one that is asked for, unless another request has
    /// done so meanwhile. What is under way on a pool that is let go comes to its end.
    fn make_pool(&self, binding: Option<&Arc<Binding>>) -> Arc<Pool> {
        let generation = binding.map(|binding| binding.generation());
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|entry| !entry.is_retired());
        if let Some(entry) = pools.iter().find(|entry| entry.generation() == generation) {
            return Arc::clone(&entry.pool);
        }
        let pool = Arc::new(Pool {
            connector: Arc::clone(&self.connector),
            config: tls::client_config(
                &self.crypto,
                self.roots(),
                self.thumbprint.as_deref(),
                binding.is_some(),
            ),
            client: binding.map(|binding| binding.certified_key()),
            client_blocks: binding.is_some_and(|binding| binding.signs_elsewhere()),
            limits: self.limits,
            counters: Arc::clone(&self.counters),
            kept: std::sync::Mutex::default(),
        });
        // A certificate whose time is over serves what began before, on connections that nobody keeps.
        if binding.is_none_or(|binding| !binding.is_retired()) {
            let binding = binding.map(|binding| (binding.generation(), Arc::downgrade(binding)));
            pools.push(Entry { binding, pool: Arc::clone(&pool) });
        }
        pool
    }

    fn roots(&self) -> &Roots {
        &self.connector.roots
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("statistics", &self.statistics()).finish_non_exhaustive()
    }
}

impl Entry {
    fn generation(&self) -> Option<u64> {
        self.binding.as_ref().map(|(generation, _)| *generation)
    }

    fn is_retired(&self) -> bool {
        let is_out_of_use =
            |binding: &Weak<Binding>| binding.upgrade().is_none_or(|binding| binding.is_retired());
        self.binding.as_ref().is_some_and(|(_, binding)| is_out_of_use(binding))
    }
}

/// Sends a request on a kept connection or a new one. `phase` says how far it got, to the one who loses patience.
async fn exchange(
    pool: &Arc<Pool>,
    origin: &Origin,
    mut request: Outgoing,
    phase: &mut Phase,
) -> Result<(Response<Incoming>, Lease), TransportError> {
    loop {
        *phase = Phase::Connecting;
        let mut lease = match pool.checkout(origin) {
            Some(lease) => lease,
            // Boxed, because this is rare and its state is large.
            None => Box::pin(pool.connect(origin)).await?,
        };
        lease.ready().await;
        *phase = Phase::WaitingForHeaders;
        match lease.send(request).await {
            Ok(response) => return Ok((response, lease)),
            Err(Unanswered::Failed(error)) => return Err(error),
            Err(Unanswered::Unsent(unsent)) => request = *unsent,
        }
    }
}

/// The name of a header that the caller has set and must not: what belongs to the connection, and what depends on the
/// body as it is sent.
fn reserved_header(headers: &HeaderMap) -> Option<&HeaderName> {
    const RESERVED: [HeaderName; 7] =
        [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, UPGRADE, TE, TRAILER, PROXY_AUTHORIZATION];
    headers.keys().find(|name| RESERVED.contains(name))
}

fn expects_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}
