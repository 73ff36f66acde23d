//! What the command line looks like. The doc comments are the help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::logging::LogFormat;
use crate::{call, check, completions, component, demo, doctor, emulator, serve, token};

/// Microsoft Entra ID tokens for confidential clients, acquired in a WebAssembly sandbox that never holds a key.
#[derive(Debug, Parser)]
#[command(name = "symbolon", version, after_help = EXIT_STATUS, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Logs to standard error what FILTER selects, such as `symbolon=debug`. The default is the environment's
    /// SYMBOLON_LOG, else RUST_LOG, else nothing; for `serve`, warnings and what happens to the process.
    #[arg(long, global = true, value_name = "FILTER", display_order = 100)]
    pub(crate) log: Option<String>,

    /// How it logs.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", display_order = 101)]
    pub(crate) log_format: LogFormat,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::DemoArguments),
    Token(Box<token::TokenArguments>),
    Call(Box<call::CallArguments>),
    Emulator(emulator::EmulatorArguments),
    Check(check::CheckArguments),
    Component(component::ComponentArguments),
    Doctor(doctor::DoctorArguments),
    Serve(serve::ServeArguments),
    Completions(completions::CompletionsArguments),
    Man(completions::ManArguments),
}

impl Command {
    /// What is logged where nobody says: of a process that nobody watches, what is worth knowing later.
    pub(crate) fn default_log(&self) -> Option<&'static str> {
        matches!(self, Self::Serve(_)).then_some("warn,symbolon=info")
    }

    /// Whether errors are wanted as JSON too.
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Demo(arguments) => arguments.json,
            Self::Token(arguments) => arguments.wants_json(),
            Self::Emulator(arguments) => arguments.json,
            Self::Check(arguments) => arguments.json,
            Self::Doctor(arguments) => arguments.json,
            Self::Serve(arguments) => arguments.json,
            Self::Call(_) | Self::Component(_) | Self::Completions(_) | Self::Man(_) => false,
        }
    }
}

/// Where an application is configured.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConfigurationArguments {
    /// The configuration: JSON with comments, as Microsoft.Identity.Web reads it. Environment variables such as
    /// `AzureAd__ClientCredentials__0__ClientSecret` override it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,

    /// The section that configures the application. The default is `AzureAd`.
    #[arg(long, value_name = "NAME")]
    pub(crate) section: Option<String>,
}

const EXIT_STATUS: &str = "\
Exit status:
  0  it worked
  2  usage, configuration, no usable credential, a component that this host can't run
  3  the authority (or API, with --fail) answered and the answer can't be used: refusal, throttling, redirect,
     protocol violation;
     or a person must sign in: no token of this user, no long-running process of this session key
  4  no complete answer: name resolution, connection, TLS, reset, deadline
  5  the sandbox stopped the protocol code, a limit of this process, a bug";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn usage_errors_are_told_from_help() {
        for (line, is_error) in [
            (&["symbolon"][..], true),
            (&["symbolon", "tokens"], true),
            (&["symbolon", "token"], true),
            (&["symbolon", "token", "--config", "a", "--flow", "implicit"], true),
            (&["symbolon", "token", "--config", "a", "--client-secret", "x"], true),
            (&["symbolon", "component"], true),
            (&["symbolon", "--help"], false),
            (&["symbolon", "token", "--help"], false),
            (&["symbolon", "--version"], false),
        ] {
            let error = Arguments::try_parse_from(line).expect_err("none of these runs");
            assert_eq!(error.use_stderr() && error.exit_code() == 2, is_error, "{line:?}");
        }
    }
}
