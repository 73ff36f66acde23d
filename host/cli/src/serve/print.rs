//! The configuration as it is understood.

use symbolon::Settings;
use symbolon_resources::configuration::ValueOrigin;

use crate::failure::Failure;
use crate::output;

/// Prints each value with its origin, once, those of applications with what they are where nobody says.
pub(super) fn print(settings: &Settings) -> Result<(), Failure> {
    let mut values = settings.values().map_err(symbolon::Error::from)?;
    let names: Vec<_> = settings.application_names().map(str::to_owned).collect();
    if settings.has_default_application() || names.is_empty() {
        add(&mut values, settings)?;
    }
    for name in names {
        add(&mut values, &settings.of_application(&name).map_err(symbolon::Error::from)?)?;
    }
    let lines: Vec<_> = values.iter().map(line).collect();
    output::line(&output::printable(&lines.join("\n")))
}

/// Reads all of an application, so that what is wrong with it shows here.
fn add(values: &mut Vec<ValueOrigin>, settings: &Settings) -> Result<(), Failure> {
    let error = symbolon::Error::from;
    let options = settings.application(None).map_err(error)?;
    settings.sidecar().map_err(error)?;
    settings.web_api(None).map_err(error)?;
    for api in settings.downstream_api_names() {
        settings.downstream_api(api).map_err(error)?;
    }
    for value in options.origins() {
        if !values.iter().any(|known| known.key.eq_ignore_ascii_case(&value.key)) {
            values.push(value.clone());
        }
    }
    Ok(())
}

fn line(value: &ValueOrigin) -> String {
    let written = match &value.value {
        Some(value) => serde_json::Value::from(value.as_str()).to_string(),
        None => "(not shown)".to_owned(),
    };
    let line = value.place.line().map(|line| format!(":{line}")).unwrap_or_default();
    format!("{} = {written}  # {}{line}", value.key, value.place.source())
}
