//! `symbolon check`: what a configuration comes to, before anything is sent.

mod api;
mod report;
mod token_cache;

use clap::Args;
use symbolon::{Application, Clock, Symbolon, SystemClock};

use self::report::{CheckReport, OnlineReport};
use self::token_cache::TokenCacheReport;
use crate::arguments::ConfigurationArguments;
use crate::failure::{Failure, Status};
use crate::{configuration, output};

/// Loads a configuration and reports on it: each credential, and what would be sent where.
///
/// Contacts nothing unless --online is given.
#[derive(Args, Debug)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    configuration: ConfigurationArguments,

    /// Acquires a token too.
    #[arg(long)]
    online: bool,

    /// What the token of --online is for.
    #[arg(long, value_name = "SCOPE", default_value = "https://graph.microsoft.com/.default")]
    scope: String,

    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn run(arguments: CheckArguments) -> Result<Status, Failure> {
    let options = configuration::options(&arguments.configuration)?;
    let token_cache = options.token_cache().cloned();
    // A file is another process's, where one runs.
    let application = Symbolon::builder().build()?.application(options.without_token_cache())?;
    let credentials = match arguments.online {
        true => application.try_credentials().await,
        false => application.check_credentials().await,
    };
    let mut report = CheckReport::new(
        &arguments.configuration,
        application.options(),
        &credentials,
        SystemClock.now_unix(),
    );
    if let Some(options) = &token_cache {
        report.token_cache = Some(TokenCacheReport::new(options, arguments.online).await);
    }
    // Without a usable credential, the list of them says more than the attempt.
    let failure = match (report.has_usable_credential(), arguments.online) {
        (false, _) => Some(Failure::configuration("no client credential can be used")),
        (true, _) if !report.apis_are_sound() => {
            Some(Failure::configuration("an API of DownstreamApis can't be called as it is"))
        }
        _ if report.has_broken_component() => {
            Some(Failure::configuration("a component breaks a rule for those that have credentials"))
        }
        (true, false) => None,
        (true, true) => {
            let (online, failure) = go_online(&application, &arguments.scope).await;
            report.online = Some(online);
            failure
        }
    };
    if arguments.json {
        output::json(&report)?;
    } else {
        output::line(&output::printable(&report.to_text()))?;
    }
    failure.map_or(Ok(Status::Ok), Err)
}

async fn go_online(application: &Application, scope: &str) -> (OnlineReport, Option<Failure>) {
    match application.acquire_token_for_client([scope]).with_force_refresh(true).await {
        Ok(token) => (OnlineReport::acquired(&token), None),
        Err(error) => (OnlineReport::failed(&error), Some(error.into())),
    }
}
