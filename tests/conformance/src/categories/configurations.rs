//! Where an application's tokens come from, as its configuration says.

use serde_json::{Value, json};
use symbolon_resources::configuration::{ApplicationOptions, ConfigurationError};

use super::tenants::Directory;
use crate::{
    checks::Checks,
    input::{Input, Read, Uncovered},
};

/// What becomes of `Authority`, `Instance` and `TenantId`.
pub(super) fn parse_authority(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    // Nothing that a configuration can say.
    given.flag("PreserveAuthority")?;
    check(options(&given, &[]), checks, |options, checks| {
        checks.check("Instance", options.instance());
        checks.check("TenantId", options.tenant_id().map(Directory::word));
        let is_ignored = options.warnings().iter().any(|warning| warning.place.path().ends_with("Authority"));
        checks.check("log", is_ignored.then_some("ignored-warning"));
    })?;
    given.finish().and_then(|()| when.finish())
}

/// How an instance is written.
pub(super) fn prepare_instance(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    check(options(&given, &[("TenantId", "contoso.com")]), checks, |options, checks| {
        checks.check("PreparedInstance", options.instance());
    })?;
    given.finish().and_then(|()| when.finish())
}

/// The authority of a directory for customers.
pub(super) fn ciam_authority(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let url = given.text("Instance")?.or(given.text("Authority")?).unwrap_or_default();
    if !url.split('/').nth(2).is_some_and(|host| host.ends_with(".ciamlogin.com")) {
        return Err(Uncovered("no directory for customers is at that host".into()));
    }
    check(options(&given, &[]), checks, |options, checks| {
        checks.check("Authority", Directory::words(options.authority()));
        checks.check("TenantId", options.tenant_id().map(Directory::word));
        checks.check("Instance", options.instance());
    })?;
    given.finish().and_then(|()| when.finish())
}

fn check(
    options: Read<Result<ApplicationOptions, ConfigurationError>>,
    checks: &mut Checks<'_>,
    succeeded: impl FnOnce(&ApplicationOptions, &mut Checks<'_>),
) -> Read<()> {
    match options? {
        Ok(options) => {
            checks.succeeded();
            succeeded(&options, checks);
        }
        Err(_) => checks.refused("invalid_configuration", false),
    }
    Ok(())
}

/// The options of a configuration with the input's values, and these where it has none.
fn options(
    given: &Input<'_>,
    defaults: &[(&str, &str)],
) -> Read<Result<ApplicationOptions, ConfigurationError>> {
    let mut azure_ad = json!({ "ClientId": "app" });
    for (name, value) in defaults {
        azure_ad[*name] = (*value).into();
    }
    for name in ["Authority", "Instance", "TenantId", "Domain", "SignUpSignInPolicyId"] {
        let Some(value) = given.text(name)? else { continue };
        azure_ad[name] = match name {
            "Authority" => Directory::names(value),
            "TenantId" if !value.is_empty() => Directory(value).name(),
            _ => value.to_owned(),
        }
        .into();
    }
    Ok(ApplicationOptions::from_value(Value::from_iter([("AzureAd".to_owned(), azure_ad)])))
}
