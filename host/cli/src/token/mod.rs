//! `symbolon token`: acquires tokens and prints them.

mod acquisition;
mod arguments;
mod files;
mod origin;
mod repeat;
mod result;
mod step;
mod steps;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use symbolon::{Application, AuthenticationResult};

use self::acquisition::Earlier;
use self::arguments::AcquisitionArguments;
use self::origin::Origin;
use self::result::{AccountOutput, TokenOutput};
use self::step::{Reader, Step};
use crate::arguments::ConfigurationArguments;
use crate::failure::{Failure, Status};
use crate::trace::{Trace, TraceArguments};
use crate::{configuration, output};

/// Acquires a token and prints it.
///
/// Secrets come from the configuration, the environment and files, never from arguments.
#[derive(Args, Debug)]
pub(crate) struct TokenArguments {
    #[command(flatten)]
    configuration: ConfigurationArguments,

    #[command(flatten)]
    acquisition: AcquisitionArguments,

    /// Runs several acquisitions one after the other, in one process with one cache. FILE is a JSON list of objects;
    /// their members are the flags in camelCase, such as `{"scope": ["…/.default"], "forceRefresh": true}`; relative
    /// paths start at FILE's directory. The flags are the defaults. A step may also be `{"flow": "stop-long-running"}`
    /// with a `sessionKey`, `{"flow": "accounts"}`, or `{"flow": "remove-account"}` with an `account`; both members have
    /// the defaults of the flags. Prints one line for each.
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

    #[command(flatten)]
    trace: TraceArguments,
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
    let trace = arguments.trace.begin()?;
    let outcome = acquire(arguments, &trace).await;
    trace.end(outcome)
}

async fn acquire(arguments: TokenArguments, trace: &Trace) -> Result<Status, Failure> {
    let output = arguments.output();
    let options = configuration::options(&arguments.configuration)?;
    // All of the input is looked at before the first request.
    let mut reader = Reader::new(options.strict());
    let steps = match &arguments.steps {
        Some(file) => steps::read(file, &arguments.acquisition, &mut reader)?,
        None => {
            let defaults = AcquisitionArguments::default();
            vec![reader.read(arguments.acquisition, &defaults, Origin::CommandLine)?]
        }
    };
    for warning in reader.warnings {
        output::warning(&warning, output == Output::Json);
    }
    let application = configuration::application(options, trace)?;
    match (arguments.repeat, arguments.steps.is_some(), steps.as_slice()) {
        (Some(count), _, [Step::Acquire(acquisition)]) => {
            repeat::run(&application, acquisition, count, arguments.concurrency, output).await
        }
        (_, false, [Step::Acquire(acquisition)]) => {
            print(&acquisition.acquire(&application, &Earlier::default()).await?, output)?;
            Ok(Status::Ok)
        }
        (_, _, steps) => run_steps(&application, steps, output).await,
    }
}

/// Runs every step, also after one that failed: a later one may be there to show that it works again. The status is
/// that of the first failure.
async fn run_steps(application: &Application, steps: &[Step], output: Output) -> Result<Status, Failure> {
    let (mut status, mut earlier) = (Status::Ok, Earlier::default());
    for step in steps {
        match run_step(application, step, &mut earlier).await {
            Ok(Done::Acquired(result)) => print(&result, output)?,
            Ok(Done::Other(value)) => output::json(&value)?,
            Err(failure) => {
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

/// What a step came to.
enum Done {
    Acquired(Box<AuthenticationResult>),
    /// What is printed.
    Other(Value),
}

async fn run_step(application: &Application, step: &Step, earlier: &mut Earlier) -> Result<Done, Failure> {
    Ok(match step {
        Step::Acquire(acquisition) => {
            let result = acquisition.acquire(application, earlier).await?;
            earlier.remember(acquisition, &result);
            Done::Acquired(Box::new(result))
        }
        Step::StopLongRunning(key) => {
            let key = earlier.session_key(key.as_deref())?;
            Done::Other(json!({ "stopped": application.stop_long_running_process(key).await? }))
        }
        Step::Accounts => {
            let accounts = application.accounts().await?.into_iter().map(AccountOutput::from);
            Done::Other(json!({ "accounts": accounts.collect::<Vec<_>>() }))
        }
        Step::RemoveAccount(account) => {
            let account = earlier.account(application, account.as_deref()).await?;
            Done::Other(json!({ "removed": application.remove_account(&account).await? }))
        }
    })
}

fn print(result: &AuthenticationResult, output: Output) -> Result<(), Failure> {
    match output {
        Output::Token => output::line(result.access_token()),
        Output::Header => output::line(&format!("{} {}", result.token_type(), result.access_token())),
        Output::Json => output::json(&TokenOutput::from(result)),
    }
}
