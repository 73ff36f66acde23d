//! The command line of Symbolon: Microsoft Entra ID tokens for confidential clients, acquired in a sandbox.
//!
//! Arguments, exit statuses and JSON members are a stable contract; [`failure`] has the statuses.

mod arguments;
mod call;
mod check;
mod completions;
mod component;
mod configuration;
mod demo;
mod doctor;
mod emulator;
mod failure;
mod logging;
mod output;
mod serve;
mod token;
mod trace;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};
use crate::failure::{Failure, Status};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let json = arguments.command.wants_json();
    match run(arguments) {
        Ok(status) => status.into(),
        Err(failure) => {
            failure.print(json);
            failure.status().into()
        }
    }
}

fn run(arguments: Arguments) -> Result<Status, Failure> {
    let command = arguments.command;
    logging::start(arguments.log.as_deref(), command.default_log(), arguments.log_format)?;
    let prepared = match &command {
        Command::Serve(arguments) => serve::prepare(arguments)?,
        _ => None,
    };
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::internal(format!("the asynchronous runtime can't start: {error}")))?;
    runtime.block_on(async {
        match command {
            Command::Demo(arguments) => demo::run(arguments).await,
            Command::Token(arguments) => token::run(*arguments).await,
            Command::Call(arguments) => call::run(*arguments).await,
            Command::Emulator(arguments) => emulator::run(arguments).await,
            Command::Check(arguments) => check::run(arguments).await,
            Command::Component(arguments) => component::run(&arguments),
            Command::Doctor(arguments) => doctor::run(&arguments),
            Command::Serve(arguments) => serve::run(arguments, prepared).await,
            Command::Completions(arguments) => completions::completions(&arguments),
            Command::Man(arguments) => completions::man(&arguments),
        }
    })
}

/// Help and version are asked for and go to standard output; everything else is a mistake.
fn usage(error: &clap::Error) -> ExitCode {
    // A reader that went away is no reason to fail.
    let _ = error.print();
    if error.use_stderr() { Status::Configuration.into() } else { Status::Ok.into() }
}
