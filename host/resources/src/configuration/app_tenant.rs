//! The directory that an application's own tokens come from.

/// The tenant of an application's own token, as Microsoft.Identity.Web resolves it: the one that is asked for, else the
/// configured one, in whose place stands `app_home` where it is `common` or `organizations`. Empty counts as absent.
///
/// # Errors
///
/// [`AppTenantError`] when that comes to `common` or `organizations`.
pub fn resolve_app_tenant<'a>(
    requested: Option<&'a str>,
    configured: Option<&'a str>,
    app_home: Option<&'a str>,
) -> Result<Option<&'a str>, AppTenantError> {
    let [requested, configured, app_home] =
        [requested, configured, app_home].map(|tenant| tenant.filter(|tenant| !tenant.is_empty()));
    let configured = || match app_home {
        Some(_) if configured.is_some_and(stands_for_many) => app_home,
        _ => configured,
    };
    match requested.or_else(configured) {
        Some(tenant) if stands_for_many(tenant) => Err(AppTenantError { tenant: tenant.to_owned() }),
        tenant => Ok(tenant),
    }
}

/// Not `consumers`, which is one directory.
fn stands_for_many(tenant: &str) -> bool {
    ["common", "organizations"].iter().any(|name| name.eq_ignore_ascii_case(tenant))
}

/// An application has tokens of its own in one directory at a time. Microsoft.Identity.Web's IDW10405.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the tenant of an application's own token should be a tenant id or a domain name, found {tenant:?}; name one in the \
     request, in AzureAd:TenantId or in AzureAd:AppHomeTenantId"
)]
#[non_exhaustive]
pub struct AppTenantError {
    /// `common` or `organizations`, as it was written.
    pub tenant: String,
}

impl AppTenantError {
    /// The code of Microsoft.Identity.Web's error with the same meaning.
    pub fn identity_web_code(&self) -> &'static str {
        "IDW10405"
    }
}
