//! Tokens over HTTP on loopback, for programs in any language: a server with the routes of the Entra ID SDK's sidecar.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use symbolon::{Settings, Symbolon};
//! use symbolon_sidecar::Sidecar;
//!
//! let settings = Settings::from_file("appsettings.json")?.with_environment(std::env::vars_os());
//! let sidecar = Sidecar::new(&Symbolon::builder().build()?, settings)?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
//! sidecar.serve(listener, std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```

mod caller;
mod dispatch;
mod health;
mod listener;
mod openapi;
mod overrides;
mod parameters;
mod problem;
mod rate;
mod routes;
mod serve;
mod validation;

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use symbolon::{Application, Clock, DownstreamApi, Settings, Symbolon, SystemClock};
use symbolon_resources::configuration::SidecarSettings;
use symbolon_telemetry::Telemetry;
use tokio::net::TcpListener;

pub use self::caller::{Caller, PeerCertificate, is_allowed};
pub use self::listener::{ListenError, Listener};
pub use self::openapi::description;
pub use self::overrides::{Ignored, effective_options};
pub use self::parameters::Parameters;
pub use self::problem::Problem;
pub use self::serve::GRACE;

use self::dispatch::Live;
use self::validation::Validator;

/// The server of one configuration after the other. Cheap to clone.
#[derive(Clone)]
pub struct Sidecar {
    live: Arc<Live>,
}

/// An application that is served.
struct State {
    application: Application,
    apis: Vec<DownstreamApi>,
    settings: SidecarSettings,
    validator: Validator,
}

impl Sidecar {
    /// A server for the application of the section `AzureAd` and the APIs of `DownstreamApis`, and for those of each of
    /// `Applications`, below `/apps/{name}`. Contacts nobody.
    ///
    /// # Errors
    ///
    /// [`symbolon::Error::Configuration`] with what is wrong with one of them, or with the section `Sidecar`;
    /// [`symbolon::Error::Transport`].
    pub fn new(symbolon: &Symbolon, settings: Settings) -> symbolon::Result<Self> {
        Self::with_clock(symbolon, settings, Arc::new(SystemClock))
    }

    /// The same, with another clock for the times of callers' tokens than the system's.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_clock(
        symbolon: &Symbolon,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> symbolon::Result<Self> {
        Ok(Self { live: Arc::new(Live::new(symbolon, &settings, clock)?) })
    }

    /// Serves by this configuration from now on. Requests that are under way end by the one that they began with. Tokens
    /// stay where an application is the same registration as before. Listeners stay as they are, but for the certificates
    /// of those with TLS.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new). Then everything stays as it is.
    pub fn reload(&self, settings: &Settings) -> symbolon::Result<()> {
        self.live.reload(settings)
    }

    /// Shows what this has recorded, to callers of this machine: `/metrics`, and with `Symbolon:Sidecar:AllowTrace` also
    /// `/Trace`. Spans of acquisitions are below those that requests name (`traceparent`).
    #[must_use]
    pub fn with_telemetry(self, telemetry: &Telemetry) -> Self {
        self.live.show(telemetry);
        self
    }

    /// The routes. Each request needs a [`Caller`] among its extensions, or as `ConnectInfo`: one without is a foreigner's.
    pub fn router(&self) -> Router {
        let live = Arc::clone(&self.live);
        Router::new().fallback(async move |request: Request| live.answer(request).await)
    }

    /// Serves until `stop` is there, and then what is under way.
    ///
    /// # Errors
    ///
    /// Where the listener fails.
    pub async fn serve(
        &self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let service = self.router().into_make_service_with_connect_info::<Caller>();
        axum::serve(listener, service).with_graceful_shutdown(stop).await
    }

    /// Serves on all of these until `stop` is there, and then what is under way, but for no longer than [`GRACE`].
    pub async fn serve_all(&self, listeners: Vec<Listener>, stop: impl Future<Output = ()>) {
        serve::serve(&self.live, listeners, stop).await;
    }
}

impl std::fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let generation = self.live.current.load();
        let names: Vec<_> = generation.applications.iter().map(|application| &application.name).collect();
        f.debug_struct("Sidecar").field("applications", &names).finish_non_exhaustive()
    }
}

impl State {
    fn new(symbolon: &Symbolon, settings: Settings, clock: Arc<dyn Clock>) -> symbolon::Result<Self> {
        let sidecar = settings.sidecar()?;
        let web_api = settings.web_api(None)?;
        let acquirer = symbolon.token_acquirer(settings.clone());
        let application = acquirer.application(None)?;
        let names = settings.downstream_api_names();
        let apis = names.map(|name| acquirer.downstream_api(name)).collect::<Result<_, _>>()?;
        let validator = Validator::new(&application, web_api, clock);
        Ok(Self { application, apis, settings: sidecar, validator })
    }

    fn strict(&self) -> bool {
        self.application.options().strict()
    }
}

impl Connected<IncomingStream<'_, TcpListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self::Address(*stream.remote_addr())
    }
}
