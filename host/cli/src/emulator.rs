//! `symbolon emulator`: the local authority alone, for development and tests.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use symbolon_authority::{Authority, StartError};
use tempfile::TempDir;

use crate::failure::{Failure, Status};
use crate::output;

/// Runs a local Entra ID until it is interrupted.
///
/// It answers for the real host names, checks what Entra ID checks and issues real tokens that nobody else accepts.
#[derive(Args, Debug)]
pub(crate) struct EmulatorArguments {
    /// Where to listen. The default is a free port of the loopback address.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0", hide_default_value = true)]
    listen: String,

    /// Keeps its CA, keys, application registrations (`applications.json`), ready-made configuration files and tokens of
    /// sample users here. The default is a directory that is removed at the end.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// When it is ready, says so in one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn run(arguments: EmulatorArguments) -> Result<Status, Failure> {
    let data = Data::open(arguments.data.as_deref())?;
    let signals = Signals::listen()
        .map_err(|error| Failure::internal(format!("signals can't be received: {error}")))?;
    let authority = start(&arguments.listen, data.path()).await?;
    let ready = Ready::new(&authority, data.path())?;
    if arguments.json {
        output::json(&ready)?;
    } else {
        output::line(&ready.to_text())?;
    }
    signals.interrupted().await;
    authority.shutdown();
    Ok(Status::Ok)
}

/// Starts an authority with control port that keeps everything in `directory`.
pub(crate) async fn start(listen: &str, directory: &Path) -> Result<Authority, Failure> {
    let builder = Authority::builder().listen(listen).data_dir(directory).control(true);
    builder
        .start()
        .await
        .map_err(|error: StartError| Failure::usage(format!("the authority can't start: {error}")))
}

/// The directory that the authority keeps everything in.
pub(crate) enum Data {
    Kept(PathBuf),
    /// Removed at the end.
    Temporary(TempDir),
}

impl Data {
    /// The directory, made where it isn't there, or a temporary one.
    pub(crate) fn open(directory: Option<&Path>) -> Result<Self, Failure> {
        let Some(directory) = directory else {
            let directory = tempfile::Builder::new().prefix("symbolon-").tempdir();
            return directory
                .map(Self::Temporary)
                .map_err(|error| Failure::file(&std::env::temp_dir(), &error));
        };
        // The configuration files name other files of the directory, and must work from everywhere.
        let absolute = fs::create_dir_all(directory).and_then(|()| directory.canonicalize());
        absolute.map(Self::Kept).map_err(|error| Failure::file(directory, &error))
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(directory) => directory.path(),
        }
    }
}

/// What those who use the authority have to know.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    address: String,
    control_address: Option<String>,
    ca_path: PathBuf,
    data_directory: PathBuf,
    client_ids: Vec<String>,
    /// For the `ConnectTo` of a configuration.
    connect_to: BTreeMap<String, String>,
    /// Ready-made configuration files, by the name of their application.
    configurations: BTreeMap<String, PathBuf>,
    /// What sample users call sample APIs with: `{user}` calls `web-api`, `{user}-{name}` another.
    user_assertions: BTreeMap<String, PathBuf>,
}

impl Ready {
    fn new(authority: &Authority, directory: &Path) -> Result<Self, Failure> {
        Ok(Self {
            address: authority.address().to_string(),
            control_address: authority.control_address().map(|address| address.to_string()),
            ca_path: directory.join("ca.pem"),
            data_directory: directory.to_owned(),
            client_ids: authority.client_ids(),
            connect_to: authority.connect_to().into_iter().map(|(host, to)| (host, to.to_string())).collect(),
            configurations: files(directory, "appsettings-", ".json")?,
            user_assertions: files(directory, "user-assertion-", ".jwt")?,
        })
    }

    fn to_text(&self) -> String {
        let mut lines = vec![
            format!("the authority listens on {}", self.address),
            format!("CA certificate: {}", self.ca_path.display()),
        ];
        lines.extend(self.control_address.iter().map(|address| format!("control port: http://{address}")));
        lines.push(format!("registrations: {}", self.data_directory.join("applications.json").display()));
        lines.push("it answers for:".to_owned());
        lines.extend(self.connect_to.keys().map(|host| format!("  {host}")));
        lines.push("ready-made configurations, for `symbolon token --config`:".to_owned());
        lines.extend(self.configurations.values().map(|file| format!("  {}", file.display())));
        lines.push("what users call the APIs among them with, for `--user-assertion-file`:".to_owned());
        lines.extend(self.user_assertions.values().map(|file| format!("  {}", file.display())));
        lines.join("\n")
    }
}

/// The files `{prefix}{name}{suffix}` by name.
fn files(directory: &Path, prefix: &str, suffix: &str) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| Failure::file(directory, &error))?;
    let named = entries.into_iter().filter_map(|entry| {
        let file = entry.file_name().into_string().ok()?;
        let name = file.strip_prefix(prefix)?.strip_suffix(suffix)?;
        Some((name.to_owned(), entry.path()))
    });
    Ok(named.collect())
}

/// Interrupt and, on Unix, termination. Listened for before the authority starts, so that none is missed.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    #[cfg(unix)]
    async fn interrupted(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn interrupted(self) {
        // Without a way to be interrupted, it runs until it is killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
