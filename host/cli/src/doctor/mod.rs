//! `symbolon doctor`: what a component requires beside what this host provides, in words.

mod anatomy;
mod report;
mod role;
mod wasi;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use symbolon::{ComponentFinding, CredentialComponent, Settings, Symbolon};

use self::anatomy::Anatomy;
use self::report::DoctorReport;
use self::role::Role;
use crate::failure::{Failure, Status};
use crate::output;

/// Says what a component is for, what it requires, and which of that this host doesn't provide.
///
/// With --exercise a component that has credentials is run too, and every rule for it is tried out.
#[derive(Args, Debug)]
pub(crate) struct DoctorArguments {
    /// The component.
    #[arg(value_name = "COMPONENT")]
    component: PathBuf,

    /// Runs a component of the world credential-provider with the files and settings that CONFIG has for it in
    /// `Symbolon:CredentialProviders`, and tries out whether it does what docs/component.md asks.
    #[arg(long, value_name = "CONFIG")]
    exercise: Option<PathBuf>,

    /// The name in `Symbolon:CredentialProviders`. It may be left out where there is one only.
    #[arg(long, value_name = "NAME", requires = "exercise")]
    provider: Option<String>,

    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(arguments: &DoctorArguments) -> Result<Status, Failure> {
    let file = arguments.component.as_path();
    let bytes = fs::read(file).map_err(|error| Failure::file(file, &error))?;
    let anatomy = Anatomy::of(&bytes).map_err(|found| {
        Failure::usage(format!("{}: found {found}; accepted: a WebAssembly component", file.display()))
    })?;
    let role = Role::of(&anatomy);
    let mut report = DoctorReport::new(file, &bytes, &anatomy, role);
    if report.is_provided() {
        report.problem = link(role, &bytes)?;
    }
    if let Some(config) = &arguments.exercise {
        if role != Role::CredentialProvider {
            let accepted = "accepted: one that exports symbolon:credentials/provider and custody";
            let found = format!("{}: found a component that has no credentials", file.display());
            return Err(Failure::usage(format!("--exercise: {found}; {accepted}")));
        }
        report.rules = exercise(file, config, arguments.provider.as_deref())?;
    }
    if arguments.json {
        output::json(&report)?;
    } else {
        output::line(&output::printable(&report.to_text()))?;
    }
    match report.complaint() {
        None => Ok(Status::Ok),
        Some(complaint) => Err(Failure::configuration(complaint)),
    }
}

/// Why the engine doesn't take it though its interfaces have the right names. Slow where nothing of it was compiled.
fn link(role: Role, bytes: &[u8]) -> Result<Option<String>, Failure> {
    Ok(match role {
        Role::TokenAcquisition => {
            Symbolon::builder().component(bytes).build().err().map(|error| error.to_string())
        }
        Role::CredentialProvider => {
            let symbolon = Symbolon::builder().build()?;
            symbolon.check_credential_provider(bytes).err().map(|error| error.to_string())
        }
        Role::TokenClient | Role::ConcurrentTokenAcquisition | Role::None => None,
    })
}

fn exercise(
    component: &Path,
    config: &Path,
    provider: Option<&str>,
) -> Result<Vec<ComponentFinding>, Failure> {
    let configured = configured(config, provider)?.with_path(component);
    let symbolon = Symbolon::builder().build()?;
    symbolon
        .exercise_credential_provider(&configured)
        .map_err(|error| Failure::configuration(format!("{}: {error}", config.display())))
}

/// What the configuration has for the component.
fn configured(config: &Path, provider: Option<&str>) -> Result<CredentialComponent, Failure> {
    let settings = Settings::from_file(config).map(|settings| settings.with_environment(std::env::vars_os()));
    let providers =
        settings.and_then(|settings| settings.credential_providers()).map_err(symbolon::Error::from)?;
    let names: Vec<_> = providers.keys().cloned().collect();
    let mut fitting = providers
        .into_iter()
        .filter(|(name, _)| provider.is_none_or(|provider| name.eq_ignore_ascii_case(provider)));
    match (fitting.next(), fitting.next()) {
        (Some((_, only)), None) => Ok(only),
        (found, _) => {
            let found = match (found, provider) {
                (Some(_), _) => "several components that have credentials".to_owned(),
                (None, Some(provider)) => format!("no component of the name {provider:?}"),
                (None, None) => "no component that has credentials".to_owned(),
            };
            let place = format!("{}: Symbolon:CredentialProviders", config.display());
            let accepted = match names.is_empty() {
                true => "an entry with the Files and Settings of the component".to_owned(),
                false => format!("--provider with one of {}", names.join(", ")),
            };
            Err(Failure::usage(format!("{place}: found {found}; accepted: {accepted}")))
        }
    }
}
