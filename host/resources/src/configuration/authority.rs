//! `Instance`, `TenantId` and `Authority`: where an application's tokens come from.

use url::Url;

use super::environment::Environment;
use super::error::{Place, quoted};
use super::reader::{Findings, Located};

/// An authority that was checked.
#[derive(Debug)]
pub(super) struct Authority {
    /// Without a slash at the end.
    pub(super) url: String,
    pub(super) tenant_id: Option<String>,
    /// The parts that made it, by key.
    pub(super) origins: Vec<(&'static str, Located<String>)>,
    host: String,
    port: u16,
}

impl Authority {
    pub(super) fn origin(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

/// Microsoft.Identity.Web's rules: an authority beside an instance or a tenant is ignored with a warning; alone it is
/// taken apart. Where they are silent, the environment says the instance, and a tenant where one is needed.
pub(super) fn resolve(
    authority: Option<Located<String>>,
    instance: Option<Located<String>>,
    tenant_id: Option<Located<String>>,
    environment: &Environment,
    section: &Place,
    findings: &mut Findings,
) -> Option<Authority> {
    let given = |value: &Located<String>| !value.value.is_empty();
    let (instance, tenant_id) = (instance.filter(given), tenant_id.filter(given));
    match authority.filter(given) {
        Some(authority) if instance.is_none() && tenant_id.is_none() => from_authority(authority, findings),
        ignored => {
            if let Some(authority) = ignored {
                findings.warning(authority.place, "is ignored beside Instance or TenantId");
            }
            let instance = instance.or_else(|| environment.authority_host.clone());
            from_instance(instance, tenant_id, environment.tenant_id.as_ref(), section, findings)
        }
    }
}

fn from_instance(
    instance: Option<Located<String>>,
    tenant_id: Option<Located<String>>,
    default_tenant_id: Option<&Located<String>>,
    section: &Place,
    findings: &mut Findings,
) -> Option<Authority> {
    let mut origins = Vec::new();
    let by_default = || Located { value: DEFAULT_INSTANCE.to_owned(), place: Place::default() };
    origins.push(("Instance", instance.clone().unwrap_or_else(by_default)));
    let url = match instance {
        Some(instance) => checked_url(instance, findings),
        None => https_url(DEFAULT_INSTANCE),
    };
    let is_complete = |url: &Url| ciam_tenant(url).is_some() || !url.path().trim_matches('/').is_empty();
    let default_tenant_id = default_tenant_id.filter(|_| url.as_ref().is_some_and(|url| !is_complete(url)));
    let tenant = match tenant_id.or_else(|| default_tenant_id.cloned()) {
        Some(tenant) => {
            origins.push(("TenantId", tenant.clone()));
            checked_tenant(&tenant.value, tenant.place, findings)
        }
        None => url.as_ref().and_then(|url| tenant_of_instance(url, section, findings)),
    };
    let (url, tenant) = (url?, tenant?);
    let mut path = url.path().trim_matches('/').to_owned();
    if let Some(tenant) = &tenant {
        path = if path.is_empty() { tenant.clone() } else { format!("{path}/{tenant}") };
    }
    assemble(&url, &path, tenant, origins)
}

/// An instance without a tenant is complete for `contoso.ciamlogin.com`, whose tenant is in the name, and where the
/// path names something else than a tenant, as AD FS's does.
fn tenant_of_instance(url: &Url, section: &Place, findings: &mut Findings) -> Option<Option<String>> {
    if let Some(tenant) = ciam_tenant(url) {
        return Some(Some(tenant));
    }
    if url.path().trim_matches('/').is_empty() {
        findings.problem(section.child("TenantId"), "nothing", TENANTS);
        return None;
    }
    Some(None)
}

fn from_authority(authority: Located<String>, findings: &mut Findings) -> Option<Authority> {
    let place = authority.place.clone();
    let written = authority.clone();
    let url = checked_url(authority, findings)?;
    let mut path = url.path().trim_matches('/').to_owned();
    let first = path.split('/').next().unwrap_or_default().to_owned();
    let tenant = if first.is_empty() {
        let Some(tenant) = ciam_tenant(&url) else {
            findings.problem(place, format!("{} without a tenant", quoted(url.as_str())), AUTHORITIES);
            return None;
        };
        path.clone_from(&tenant);
        Some(tenant)
    } else if NOT_TENANTS.iter().any(|segment| segment.eq_ignore_ascii_case(&first)) {
        None
    } else {
        checked_tenant(&first, place, findings)?
    };
    assemble(&url, &path, tenant, vec![("Authority", written)])
}

fn assemble(
    url: &Url,
    path: &str,
    tenant_id: Option<String>,
    origins: Vec<(&'static str, Located<String>)>,
) -> Option<Authority> {
    let (host, port) = origin(url)?;
    let authority = match port {
        443 => format!("https://{host}/{path}"),
        _ => format!("https://{host}:{port}/{path}"),
    };
    Some(Authority { url: authority, tenant_id, origins, host: host.to_owned(), port })
}

fn checked_url(written: Located<String>, findings: &mut Findings) -> Option<Url> {
    let url = https_url(&written.value);
    if url.is_none() {
        let accepted = "an https URL, such as \"https://login.microsoftonline.com\"";
        findings.problem(written.place, quoted(&written.value), accepted);
    }
    url
}

/// An https URL with nothing but host, port and path.
pub(super) fn https_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    (url.scheme() == "https" && bare).then_some(url)
}

pub(super) fn origin(url: &Url) -> Option<(&str, u16)> {
    Some((url.host_str()?, url.port_or_known_default()?))
}

pub(super) fn checked_tenant(tenant: &str, place: Place, findings: &mut Findings) -> Option<Option<String>> {
    if is_tenant(tenant) {
        return Some(Some(tenant.to_owned()));
    }
    findings.problem(place, quoted(tenant), TENANTS);
    None
}

fn is_tenant(text: &str) -> bool {
    let well_known = ["common", "organizations", "consumers"];
    well_known.iter().any(|name| name.eq_ignore_ascii_case(text)) || is_guid(text) || is_domain(text)
}

/// `8-4-4-4-12` hexadecimal digits.
fn is_guid(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// At least two labels of letters, digits and inner hyphens (RFC 1123 §2.1).
fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(label)
}

/// `contoso.onmicrosoft.com` for `contoso.ciamlogin.com`.
fn ciam_tenant(url: &Url) -> Option<String> {
    let (name, _) = url.host_str()?.split_once(".ciamlogin.com").filter(|(_, rest)| rest.is_empty())?;
    let at_root = url.path().trim_matches('/').is_empty();
    (at_root && !name.contains('.')).then(|| format!("{name}.onmicrosoft.com"))
}

/// The public cloud.
const DEFAULT_INSTANCE: &str = "https://login.microsoftonline.com";

/// First segments of an authority's path that mark a kind of authority.
const NOT_TENANTS: [&str; 3] = ["adfs", "dstsv2", "tfp"];

const TENANTS: &str =
    "a GUID, a domain name such as \"contoso.onmicrosoft.com\", \"common\", \"organizations\", \"consumers\"";

const AUTHORITIES: &str =
    "an https URL with a tenant, such as \"https://login.microsoftonline.com/contoso.onmicrosoft.com\"";
