//! Logs, on standard error and only where they are asked for.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins to log what `filter` selects, else SYMBOLON_LOG, else RUST_LOG, else the default, else nothing.
pub(crate) fn start(
    filter: Option<&str>,
    default: Option<&'static str>,
    format: LogFormat,
) -> Result<(), Failure> {
    let from_environment = || VARIABLES.iter().find_map(|name| Some((*name, std::env::var(name).ok()?)));
    let (origin, filter) = match filter {
        Some(filter) => ("--log", filter.to_owned()),
        None => match from_environment().or(default.map(|filter| ("the default", filter.to_owned()))) {
            Some(found) => found,
            None => return Ok(()),
        },
    };
    let filter = EnvFilter::try_new(&filter).map_err(|error| {
        Failure::usage(format!("{origin} `{filter}`: {error}; accepted: a filter such as `symbolon=debug`"))
    })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Failure::internal(format!("logs can't be written: {error}")))
}

/// In order of precedence.
const VARIABLES: [&str; 2] = ["SYMBOLON_LOG", "RUST_LOG"];
