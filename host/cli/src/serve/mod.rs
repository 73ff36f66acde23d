//! `symbolon serve`: the sidecar as a process.

mod hardening;
mod notify;
mod print;
mod signals;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use symbolon::{Settings, Symbolon};
use symbolon_resources::configuration::{ListenAddress, ServerSettings};
use symbolon_resources::watch::FileWatch;
use symbolon_sidecar::{ListenError, Listener, Sidecar};
use symbolon_telemetry::Telemetry;

use self::signals::{Signal, Signals};
use crate::failure::{Failure, Status};
use crate::output;

/// Serves tokens over HTTP to the programs of this machine, as the Entra ID SDK's sidecar does.
///
/// Ends within 5 seconds of SIGTERM or SIGINT, when what is under way is answered. Reads its configuration again when the
/// file changes, and at SIGHUP; one that can't work leaves the one before in use.
#[derive(Args, Debug)]
pub(crate) struct ServeArguments {
    /// The configuration: JSON with comments, as Microsoft.Identity.Web reads it. Environment variables such as
    /// `AzureAd__ClientCredentials__0__ClientSecret` override it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Where to listen: a loopback address, `tls:ADDR:PORT` or `unix:PATH`. May be repeated. The default is the
    /// configuration's Symbolon:Sidecar:Listen, else 127.0.0.1:5000 and [::1]:5000.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<String>,

    /// Where to answer for health (/healthz, /readyz) and with metrics (/metrics), and nothing else, on any network: for
    /// those who watch from elsewhere. The default is the configuration's Symbolon:Sidecar:HealthListen, else nowhere.
    #[arg(long, value_name = "ADDR:PORT")]
    health_listen: Option<SocketAddr>,

    /// Prints the configuration as it is understood, with the origin of each value and without secrets, and ends.
    #[arg(long)]
    print_config: bool,

    /// When it is ready, says so in one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is done before there are threads.
pub(crate) struct Prepared {
    watch: FileWatch,
}

/// Reads the configuration, and gives up what the process doesn't need: each of its threads must have done so.
pub(crate) fn prepare(arguments: &ServeArguments) -> Result<Option<Prepared>, Failure> {
    if arguments.print_config {
        return Ok(None);
    }
    let settings = settings(&arguments.config)?;
    let server = settings.server().map_err(symbolon::Error::from)?;
    hardening::apply(&arguments.config, &settings, &server, &addresses(arguments, &server)?)?;
    // From here on no change is missed.
    let watch = FileWatch::new(watched(&arguments.config, &server));
    Ok(Some(Prepared { watch }))
}

pub(crate) async fn run(arguments: ServeArguments, prepared: Option<Prepared>) -> Result<Status, Failure> {
    let settings = settings(&arguments.config)?;
    let server = settings.server().map_err(symbolon::Error::from)?;
    let Some(Prepared { watch }) = prepared else {
        print::print(&settings)?;
        return Ok(Status::Ok);
    };
    let signals = Signals::listen()
        .map_err(|error| Failure::internal(format!("signals can't be received: {error}")))?;
    let telemetry = Telemetry::new(|name| std::env::var(name).ok())
        .map_err(|error| Failure::configuration(error.to_string()))?;
    let symbolon = Symbolon::builder().recorder(telemetry.recorder()).build()?;
    telemetry.observe(&symbolon);
    let sidecar = Sidecar::new(&symbolon, settings)?.with_telemetry(&telemetry);
    let listeners = listen(&arguments, &server).await?;
    tell_ready(&arguments, &listeners)?;
    notify::ready();
    let stopped = until_stopped(&arguments.config, &sidecar, &telemetry, watch, signals);
    sidecar.serve_all(listeners, stopped).await;
    telemetry.shut_down(LAST_EXPORT).await;
    Ok(Status::Ok)
}

/// Follows the configuration until a signal says that it is enough.
async fn until_stopped(
    config: &Path,
    sidecar: &Sidecar,
    telemetry: &Telemetry,
    mut watch: FileWatch,
    mut signals: Signals,
) {
    loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            () = watch.changed() => Signal::Reload,
        };
        match signal {
            Signal::Reload => {
                notify::reloading();
                reload(config, sidecar, telemetry);
                notify::ready();
            }
            Signal::Stop => break,
        }
    }
    notify::stopping();
    tracing::info!(name: "symbolon.serve.stopping", "ends when what is under way is answered");
}

fn reload(config: &Path, sidecar: &Sidecar, telemetry: &Telemetry) {
    let read = settings(config).and_then(|settings| Ok(sidecar.reload(&settings)?));
    telemetry.configuration_reloaded(read.is_ok());
    match read {
        Ok(()) => tracing::info!(name: "symbolon.serve.reloaded", "serves by the configuration as it is now"),
        Err(failure) => tracing::error!(
            name: "symbolon.serve.reload_failed",
            "the configuration as it is now can't be used, and the one before stays in use: {failure}"
        ),
    }
}

fn settings(config: &Path) -> Result<Settings, Failure> {
    let settings = Settings::from_file(config).map_err(symbolon::Error::from)?;
    Ok(settings.with_environment(std::env::vars_os()))
}

/// The files whose change is another configuration.
fn watched(config: &Path, server: &ServerSettings) -> Vec<PathBuf> {
    let mut files = vec![config.to_path_buf()];
    if let Some(tls) = &server.tls {
        files.extend([tls.certificate.clone(), tls.key.clone()]);
        files.extend(tls.client_ca.clone());
    }
    files
}

/// Where it is to listen. Nothing where nobody says.
fn addresses(arguments: &ServeArguments, server: &ServerSettings) -> Result<Vec<ListenAddress>, Failure> {
    if arguments.listen.is_empty() {
        return Ok(server.listen.clone());
    }
    let address = |text: &String| {
        let found = |found: String, accepted: &str| {
            Failure::usage(format!("--listen: found {found}; accepted: {accepted}"))
        };
        let address = text.parse::<ListenAddress>();
        let address = address.map_err(|()| found(format!("{text:?}"), ListenAddress::ACCEPTED))?;
        address.check(server.tls.as_ref()).map_err(|(what, accepted)| found(what, accepted))?;
        Ok(address)
    };
    arguments.listen.iter().map(address).collect()
}

async fn listen(arguments: &ServeArguments, server: &ServerSettings) -> Result<Vec<Listener>, Failure> {
    let addresses = addresses(arguments, server)?;
    let mut listeners = Vec::new();
    if addresses.is_empty() {
        let [v4, v6] = ListenAddress::DEFAULT;
        listeners.push(Listener::bind(&v4, &[]).await.map_err(cannot_listen)?);
        match Listener::bind(&v6, &[]).await {
            Ok(listener) => listeners.push(listener),
            // Machines without IPv6 have no such address.
            Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {}
            Err(error) => return Err(cannot_listen(error)),
        }
    }
    for address in &addresses {
        listeners.push(Listener::bind(address, &server.allowed_uids).await.map_err(cannot_listen)?);
    }
    if let Some(address) = arguments.health_listen.or(server.health_listen) {
        listeners.push(Listener::bind_for_health(address).await.map_err(cannot_listen)?);
    }
    Ok(listeners)
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn cannot_listen(error: ListenError) -> Failure {
    Failure::usage(error.to_string())
}

/// What those who start it wait for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    addresses: Vec<String>,
    health_address: Option<String>,
}

fn tell_ready(arguments: &ServeArguments, listeners: &[Listener]) -> Result<(), Failure> {
    let address = |listener: &Listener| listener.address().to_string();
    let (health, others): (Vec<_>, Vec<_>) = listeners.iter().partition(|listener| listener.is_for_health());
    let ready = Ready {
        addresses: others.into_iter().map(address).collect(),
        health_address: health.into_iter().map(address).next(),
    };
    if arguments.json {
        return output::json(&ready);
    }
    let mut lines: Vec<_> = ready.addresses.iter().map(|address| format!("listens on {address}")).collect();
    lines.extend(ready.health_address.iter().map(|address| format!("answers for its health on {address}")));
    output::line(&lines.join("\n"))
}

/// How long a collector is waited for at the end.
const LAST_EXPORT: Duration = Duration::from_secs(2);
