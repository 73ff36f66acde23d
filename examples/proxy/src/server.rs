//! Accepting requests.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use symbolon::Symbolon;
use tokio::net::{TcpListener, TcpStream};
use wasmtime_wasi_http::WasiBody;

use crate::configuration::Configuration;
use crate::engine::{Failure, Plugins};
use crate::headers;
use crate::route::{self, Route};

/// How long a client may take for the head of a request.
const HEAD: Duration = Duration::from_secs(30);

/// A proxy that listens.
pub struct Proxy {
    listener: TcpListener,
    site: Arc<Site>,
}

/// What the connections share.
struct Site {
    routes: Vec<Arc<Route>>,
    /// Ticks while there are plugins to run.
    _plugins: Plugins,
}

impl Proxy {
    /// The proxy that a settings file describes, in its section `Proxy`. It accepts connections from now on, and answers
    /// them once it [serves](Self::serve).
    ///
    /// # Errors
    ///
    /// Where the file doesn't say what is needed, by file, path in it, what was found and what is accepted; where a plugin
    /// can't be loaded or the address can't be listened on.
    pub async fn from_file(file: impl AsRef<Path>) -> anyhow::Result<Self> {
        let configuration = Configuration::from_file(file.as_ref())?;
        let site = Arc::new(Site::new(&configuration)?);
        let listener = TcpListener::bind(configuration.listen);
        let listener = listener.await.with_context(|| format!("can't listen on {}", configuration.listen))?;
        Ok(Self { listener, site })
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// Where the operating system doesn't say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers requests until it is dropped.
    ///
    /// # Errors
    ///
    /// Where connections can't be accepted any more.
    pub async fn serve(self) -> anyhow::Result<()> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            tokio::spawn(connection(stream, self.site.clone()));
        }
    }
}

impl Site {
    fn new(configuration: &Configuration) -> anyhow::Result<Self> {
        let symbolon = Symbolon::builder().build()?;
        let plugins = Plugins::new().map_err(|error| anyhow!("plugins can't be run: {error:#}"))?;
        let (mut loaded, mut routes) = (HashMap::new(), Vec::new());
        for (prefix, settings) in &configuration.routes {
            let plugin = match configuration.plugin(settings) {
                None => None,
                Some(file) => Some(match loaded.get(&file) {
                    Some(plugin) => Clone::clone(plugin),
                    None => loaded.entry(file.clone()).or_insert(plugins.load(&file)?).clone(),
                }),
            };
            routes.push(Arc::new(Route::new(configuration, prefix, settings, plugin, &symbolon)?));
        }
        Ok(Self { routes, _plugins: plugins })
    }

    /// The route that takes most of the path.
    fn route(&self, path: &PathAndQuery) -> Option<&Arc<Route>> {
        let taking = self.routes.iter().filter_map(|route| Some((route.takes(path.path())?, route)));
        taking.max_by_key(|(length, _)| *length).map(|(_, route)| route)
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Response<WasiBody> {
        let Some(path) = request.uri().path_and_query().cloned() else {
            return refusal(StatusCode::NOT_FOUND);
        };
        if route::has_dots(path.path()) {
            return refusal(StatusCode::BAD_REQUEST);
        }
        let Some(route) = self.route(&path) else { return refusal(StatusCode::NOT_FOUND) };
        let Ok(upstream) = route.upstream(&path) else { return refusal(StatusCode::BAD_REQUEST) };
        *request.uri_mut() = upstream;
        headers::strip(request.headers_mut());
        let answer = match &route.plugin {
            Some(plugin) => plugin.handle(route, request).await.map(|answer| answer.map(WasiBody::new)),
            None => route.send(request).await.map_err(Failure::Upstream),
        };
        answer.unwrap_or_else(|failure| {
            tracing::warn!(path = path.path(), %failure, "the request failed");
            refusal(match failure {
                Failure::Busy => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::BAD_GATEWAY,
            })
        })
    }
}

async fn connection(stream: TcpStream, site: Arc<Site>) {
    // Without effect on what is answered, so that a failure is no reason to refuse.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let site = site.clone();
        async move { Ok::<_, Infallible>(site.answer(request).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection ended");
    }
}

/// An answer of the proxy's own. Why is in the log.
fn refusal(status: StatusCode) -> Response<WasiBody> {
    let mut response = Response::new(WasiBody::default());
    *response.status_mut() = status;
    response
}
