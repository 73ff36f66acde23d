//! From the files and the environment to an application.

use symbolon::{Application, ApplicationOptions, Settings, Symbolon};

use crate::arguments::ConfigurationArguments;
use crate::failure::Failure;
use crate::trace::Trace;

/// The options of the application that the command line names, with what the environment overrides.
pub(crate) fn options(arguments: &ConfigurationArguments) -> Result<ApplicationOptions, Failure> {
    let options = Settings::from_file(&arguments.config)
        .and_then(|settings| {
            settings.with_environment(std::env::vars_os()).application(arguments.section.as_deref())
        })
        .map_err(symbolon::Error::from)?;
    Ok(options)
}

/// An application on an engine of its own, whose acquisitions are recorded where that is asked for.
pub(crate) fn application(options: ApplicationOptions, trace: &Trace) -> Result<Application, Failure> {
    // There are no others to leave room for.
    let builder = Symbolon::builder().max_in_flight_per_application(usize::MAX);
    let symbolon = trace.record(builder).build()?;
    Ok(symbolon.application(options)?)
}
