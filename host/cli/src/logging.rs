//! Logs, on standard error and only where they are asked for.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// Begins to log what `filter` selects, else SYMBOLON_LOG, else RUST_LOG, else nothing.
pub(crate) fn start(filter: Option<&str>) -> Result<(), Failure> {
    let from_environment = || VARIABLES.iter().find_map(|name| Some((*name, std::env::var(name).ok()?)));
    let (origin, filter) = match filter {
        Some(filter) => ("--log", filter.to_owned()),
        None => match from_environment() {
            Some(found) => found,
            None => return Ok(()),
        },
    };
    let filter = EnvFilter::try_new(&filter).map_err(|error| {
        Failure::usage(format!("{origin} `{filter}`: {error}; accepted: a filter such as `symbolon=debug`"))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init()
        .map_err(|error| Failure::internal(format!("logs can't be written: {error}")))
}

/// In order of precedence.
const VARIABLES: [&str; 2] = ["SYMBOLON_LOG", "RUST_LOG"];
