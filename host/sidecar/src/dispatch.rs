//! From a request to the application that it is for.

use std::hash::RandomState;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode, Uri};
use symbolon::{Clock, Settings, Symbolon};
use symbolon_resources::configuration::ServerSettings;
use symbolon_telemetry::{Telemetry, TraceParent};
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::caller::{self, HEALTH, READINESS};
use crate::health::Readiness;
use crate::problem::Problem;
use crate::rate::{Excess, Limiter};
use crate::{State, routes};

/// What stays while configurations come and go.
pub(crate) struct Live {
    pub(crate) symbolon: Symbolon,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) current: ArcSwap<Generation>,
    hasher: RandomState,
    telemetry: OnceLock<Operations>,
}

/// What a server shows of its process.
struct Operations {
    telemetry: Telemetry,
    router: Router,
}

/// What one configuration comes to. Requests that are under way keep the one that they began with.
pub(crate) struct Generation {
    pub(crate) applications: Vec<Served>,
    pub(crate) server: ServerSettings,
    readiness: Readiness,
}

/// An application, and the way to it.
pub(crate) struct Served {
    /// That in the path; `None` is the one at the root.
    pub(crate) name: Option<String>,
    pub(crate) state: Arc<State>,
    router: Router,
    limiter: Limiter,
}

impl Live {
    pub(crate) fn new(
        symbolon: &Symbolon,
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> symbolon::Result<Self> {
        let current = ArcSwap::from_pointee(Generation::new(symbolon, settings, &clock)?);
        let (hasher, telemetry) = (RandomState::new(), OnceLock::new());
        Ok(Self { symbolon: symbolon.clone(), clock, current, hasher, telemetry })
    }

    /// Puts another configuration in the place of this one.
    pub(crate) fn reload(&self, settings: &Settings) -> symbolon::Result<()> {
        let next = Generation::new(&self.symbolon, settings, &self.clock)?;
        self.current.store(Arc::new(next));
        self.keep_traces();
        Ok(())
    }

    /// Shows what this one has recorded, too. The first counts.
    pub(crate) fn show(&self, telemetry: &Telemetry) {
        let router = symbolon_telemetry::router(telemetry);
        let _ = self.telemetry.set(Operations { telemetry: telemetry.clone(), router });
        self.keep_traces();
    }

    /// Where that is wanted.
    fn keep_traces(&self) {
        if let Some(operations) = self.telemetry.get() {
            operations.telemetry.traces().enable(self.current.load().server.allow_trace);
        }
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, request: Request) -> Response {
        routes::forbid_storing(self.dispatch(request).await).await
    }

    async fn dispatch(&self, request: Request) -> Response {
        let generation = self.current.load_full();
        let path = request.uri().path();
        let caller = caller::of_request(&request);
        let is_local = caller.is_some_and(caller::is_local);
        if path.eq_ignore_ascii_case(HEALTH) {
            return "Healthy".into_response();
        }
        if path.eq_ignore_ascii_case(READINESS) {
            return generation.readiness.answer(&generation.applications, is_local).await;
        }
        let shows_metrics = path == METRICS && request.extensions().get::<ForProbes>().is_some();
        // Comes before everything else: who isn't of this machine learns nothing but that the server lives.
        if !is_local && !shows_metrics {
            return StatusCode::FORBIDDEN.into_response();
        }
        if let Some(operations) = self.telemetry.get().filter(|_| is_of_operations(path)) {
            return oneshot(&operations.router, request).await;
        }
        match generation.select(request) {
            Some((application, request)) => {
                let caller = TraceParent::of(request.headers());
                caller.around(application.answer(request, &self.hasher)).await
            }
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

impl Generation {
    fn new(symbolon: &Symbolon, settings: &Settings, clock: &Arc<dyn Clock>) -> symbolon::Result<Self> {
        let server = settings.server()?;
        let names: Vec<_> = settings.application_names().map(str::to_owned).collect();
        let mut applications = Vec::with_capacity(names.len() + 1);
        // Without any, the error says what is missing.
        if settings.has_default_application() || names.is_empty() {
            applications.push(Served::new(None, symbolon, settings.clone(), clock)?);
        }
        for name in names {
            let settings = settings.of_application(&name)?;
            applications.push(Served::new(Some(name), symbolon, settings, clock)?);
        }
        Ok(Self { applications, server, readiness: Readiness::default() })
    }

    /// The application that the path names, and the request as that one knows it.
    fn select(&self, mut request: Request) -> Option<(&Served, Request)> {
        let name = request.uri().path().strip_prefix(APPLICATIONS).map(|rest| {
            let end = rest.find('/').unwrap_or(rest.len());
            (rest[..end].to_owned(), APPLICATIONS.len() + end)
        });
        let Some((name, end)) = name else {
            let application = self.applications.iter().find(|known| known.name.is_none());
            return application.map(|application| (application, request));
        };
        let is_it = |known: &&Served| known.name.as_ref().is_some_and(|it| it.eq_ignore_ascii_case(&name));
        let application = self.applications.iter().find(is_it)?;
        *request.uri_mut() = without_start(request.uri(), end)?;
        Some((application, request))
    }
}

/// The URI without so many bytes of its path.
fn without_start(uri: &Uri, end: usize) -> Option<Uri> {
    let rest = uri.path_and_query()?.as_str().get(end..).filter(|rest| rest.starts_with('/'))?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(rest).ok()?);
    Uri::from_parts(parts).ok()
}

impl Served {
    fn new(
        name: Option<String>,
        symbolon: &Symbolon,
        settings: Settings,
        clock: &Arc<dyn Clock>,
    ) -> symbolon::Result<Self> {
        let state = Arc::new(State::new(symbolon, settings, Arc::clone(clock))?);
        let limiter = Limiter::new(&state.settings.limits);
        Ok(Self { name, router: routes::router(Arc::clone(&state)), state, limiter })
    }

    async fn answer(&self, request: Request, hasher: &RandomState) -> Response {
        let caller = caller::identity(&request, hasher);
        match self.limiter.admit(caller, Instant::now()) {
            Ok(_admission) => oneshot(&self.router, request).await,
            Err(excess) => too_many(&excess),
        }
    }
}

/// Whether it is a path of what is shown of the process.
fn is_of_operations(path: &str) -> bool {
    path == METRICS || path == "/Trace" || path.starts_with("/Trace/")
}

async fn oneshot(router: &Router, request: Request) -> Response {
    // Routers answer everything themselves.
    match router.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn too_many(excess: &Excess) -> Response {
    let (detail, after) = match excess {
        Excess::Rate(after) => ("You ask more often than this application lets each caller ask.", *after),
        Excess::InFlight => {
            ("More requests are under way than this application may have at once.", Duration::from_secs(1))
        }
    };
    let seconds = after.as_secs_f64().ceil().max(1.0);
    let mut response = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).into_response();
    if let Ok(seconds) = HeaderValue::try_from(format!("{seconds}")) {
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

/// On a listener for those who watch the process from elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct ForProbes;

/// The path of the page of metrics.
pub(crate) const METRICS: &str = "/metrics";
/// What the paths of applications that have names begin with.
const APPLICATIONS: &str = "/apps/";
