//! `symbolon token`: acquires tokens and prints them.

mod acquisition;
mod repeat;
mod result;
mod steps;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use symbolon::{Application, AuthenticationResult};

pub(crate) use self::acquisition::AcquisitionArguments;
use self::result::TokenOutput;
use crate::arguments::ConfigurationArguments;
use crate::failure::{Failure, Status};
use crate::{configuration, output};

/// Acquires a token and prints it.
///
/// Secrets come from the configuration, its files and the environment, never from arguments.
#[derive(Args, Debug)]
pub(crate) struct TokenArguments {
    #[command(flatten)]
    configuration: ConfigurationArguments,

    #[command(flatten)]
    acquisition: AcquisitionArguments,

    /// Runs several acquisitions one after the other, in one process with one cache. FILE is a JSON list of objects;
    /// their members are the flags above in camelCase, such as `{"scope": ["…/.default"], "forceRefresh": true}`. The
    /// flags are the defaults. Prints one line for each.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["repeat", "concurrency"])]
    steps: Option<PathBuf>,

    /// Acquires N times, prints the token once and a summary to standard error.
    #[arg(long, value_name = "N")]
    repeat: Option<NonZeroUsize>,

    /// Has up to M of the repeated acquisitions under way at once.
    #[arg(long, value_name = "M", requires = "repeat", default_value = "1")]
    concurrency: NonZeroUsize,

    /// What is printed. The default is `token`, and `json` with --steps.
    #[arg(long, value_enum, value_name = "WHAT")]
    output: Option<Output>,
}

/// What is printed of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// The access token.
    Token,
    /// The value of the Authorization header.
    Header,
    /// One JSON object with the token and what is known about it.
    Json,
}

impl TokenArguments {
    pub(crate) fn wants_json(&self) -> bool {
        self.output() == Output::Json
    }

    fn output(&self) -> Output {
        self.output.unwrap_or(if self.steps.is_some() { Output::Json } else { Output::Token })
    }
}

pub(crate) async fn run(arguments: TokenArguments) -> Result<Status, Failure> {
    let output = arguments.output();
    // All of the input is looked at before the first request.
    let steps = match &arguments.steps {
        Some(file) => steps::read(file, &arguments.acquisition)?,
        None => vec![arguments.acquisition],
    };
    for (index, step) in steps.iter().enumerate() {
        step.check().map_err(|problem| match &arguments.steps {
            Some(file) => Failure::usage(format!("{}: [{index}]: {problem}", file.display())),
            None => Failure::usage(problem),
        })?;
    }
    let application = configuration::application(&arguments.configuration)?;
    match (arguments.repeat, arguments.steps.is_some(), steps.as_slice()) {
        (Some(count), _, [acquisition]) => {
            repeat::run(&application, acquisition, count, arguments.concurrency, output).await
        }
        (_, false, [acquisition]) => {
            print(&acquisition.acquire(&application).await?, output)?;
            Ok(Status::Ok)
        }
        (_, _, steps) => run_steps(&application, steps, output).await,
    }
}

/// Runs every step, also after one that failed: a later one may be there to show that it works again. The status is
/// that of the first failure.
async fn run_steps(
    application: &Application,
    steps: &[AcquisitionArguments],
    output: Output,
) -> Result<Status, Failure> {
    let mut status = Status::Ok;
    for step in steps {
        match step.acquire(application).await {
            Ok(result) => print(&result, output)?,
            Err(error) => {
                let failure = Failure::from(error);
                failure.print(output == Output::Json);
                if output == Output::Json {
                    output::json(&failure.to_json())?;
                }
                if status == Status::Ok {
                    status = failure.status();
                }
            }
        }
    }
    Ok(status)
}

fn print(result: &AuthenticationResult, output: Output) -> Result<(), Failure> {
    match output {
        Output::Token => output::line(result.access_token()),
        Output::Header => output::line(&format!("{} {}", result.token_type(), result.access_token())),
        Output::Json => output::json(&TokenOutput::from(result)),
    }
}
