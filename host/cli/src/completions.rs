//! `symbolon completions` and `symbolon man`: what the command line's definition says, for shells and for people.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::failure::{Failure, Status};
use crate::output;

/// Writes what completes the command line in a shell to standard output.
#[derive(Args, Debug)]
pub(crate) struct CompletionsArguments {
    /// The shell.
    shell: Shell,
}

/// Writes the manual pages, one for each command.
#[derive(Args, Debug)]
pub(crate) struct ManArguments {
    /// The directory for them. It is made where it isn't there.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

pub(crate) fn completions(arguments: &CompletionsArguments) -> Result<Status, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "symbolon", &mut script);
    output::write(&script)?;
    Ok(Status::Ok)
}

pub(crate) fn man(arguments: &ManArguments) -> Result<Status, Failure> {
    let directory = &arguments.output;
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), directory))
        .map_err(|error| Failure::file(directory, &error))?;
    Ok(Status::Ok)
}
