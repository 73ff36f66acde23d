//! Directories: of applications' own tokens, and of tokens that are assertions elsewhere.

use serde_json::json;
use symbolon_resources::{
    configuration::{self, ApplicationOptions},
    credentials::{AssertionContext, inner_tenant, tenant_of_endpoint},
};

use crate::{
    checks::Checks,
    host::optional,
    input::{Input, Read, Uncovered},
};

/// The tenant in which an application makes a token that is another's assertion.
pub(super) fn resolve_inner_tenant(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let text = |name: &str| Ok(given.text(name)?.unwrap_or_default().to_owned());
    let mut context = AssertionContext::new("", text("token_endpoint")?);
    context.authority = text("authority")?;
    context.tenant_id = given.text("tenant_id")?.map(str::to_owned);
    context.fmi_path = given.text("fmi_path")?.map(str::to_owned);
    let tenant = inner_tenant(&context, &text("configured_instance")?);
    checks.succeeded();
    checks.check("inner_tenant", optional(tenant.as_deref()));
    given.finish().and_then(|()| when.finish())
}

pub(super) fn extract_tenant_same_instance(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let [endpoint, instance] = ["token_endpoint", "configured_instance"].map(|name| given.text(name));
    let tenant = tenant_of_endpoint(endpoint?.unwrap_or_default(), instance?.unwrap_or_default());
    checks.succeeded();
    checks.check("tenant", optional(tenant.as_deref()));
    given.finish().and_then(|()| when.finish())
}

pub(super) fn resolve_app_tenant(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let [requested, configured, app_home] =
        ["requested", "configured", "app_home"].map(|name| given.text(name));
    match configuration::resolve_app_tenant(requested?, configured?, app_home?) {
        Ok(tenant) => {
            checks.succeeded();
            checks.check("tenant", optional(tenant));
        }
        Err(error) => {
            checks.refused(error.identity_web_code(), false);
            checks.check("tenant", optional(None));
        }
    }
    given.finish().and_then(|()| when.finish())
}

/// What of a configuration's tenant a request replaces.
pub(super) fn apply_tenant_override(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let mut azure_ad = json!({ "ClientId": "app" });
    for name in ["Instance", "TenantId", "AppHomeTenantId"] {
        if let Some(value) = given.text(name)?.filter(|value| !value.is_empty()) {
            azure_ad[name] =
                if name == "Instance" { value.to_owned() } else { Directory(value).name() }.into();
        }
    }
    let options = ApplicationOptions::from_value(json!({ "AzureAd": azure_ad }))
        .map_err(|error| Uncovered(error.to_string()))?;
    match options.app_tenant(given.text("tenant_argument")?) {
        Ok(tenant) => {
            checks.succeeded();
            checks.check("override", optional(tenant.as_deref().map(Directory::word)));
        }
        Err(error) => {
            checks.refused(error.identity_web_code(), false);
            checks.check("override", optional(None));
        }
    }
    given.finish().and_then(|()| when.finish())
}

/// A directory by a word that need not be the name of one. A configuration takes domain names only, for one.
pub(super) struct Directory<'a>(pub(super) &'a str);

impl Directory<'_> {
    const DOMAIN: &'static str = ".directory.example";
    const KINDS: [&'static str; 3] = ["adfs", "dstsv2", "tfp"];
    const WELL_KNOWN: [&'static str; 3] = ["common", "organizations", "consumers"];

    pub(super) fn name(&self) -> String {
        let is_guid = self.0.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
        let is_name = is_guid
            || self.0.contains('.')
            || Self::WELL_KNOWN.iter().any(|known| known.eq_ignore_ascii_case(self.0));
        if is_name { self.0.to_owned() } else { format!("{}{}", self.0, Self::DOMAIN) }
    }

    /// The URL of an authority, with a name in the place of a word.
    pub(super) fn names(url: &str) -> String {
        let mut segments: Vec<String> = url.split('/').map(str::to_owned).collect();
        let is_tenant =
            |segment: &&mut String| !segment.is_empty() && !Self::KINDS.contains(&segment.as_str());
        let is_first = |segment: &&mut String| !segment.is_empty();
        // Behind `https:`, nothing and the host.
        if let Some(tenant) = segments.iter_mut().skip(3).find(is_first).filter(is_tenant) {
            *tenant = Directory(tenant).name();
        }
        segments.join("/")
    }

    pub(super) fn word(name: &str) -> &str {
        name.strip_suffix(Self::DOMAIN).unwrap_or(name)
    }

    /// The URL, with the word that the name stood for.
    pub(super) fn words(url: &str) -> String {
        url.replace(Self::DOMAIN, "")
    }
}
