//! `Instance`, `TenantId` and `Authority`: where an application's tokens come from.

use url::Url;

use super::environment::Environment;
use super::error::{Place, quoted};
use super::reader::{Findings, Located};

/// What is written about an authority.
pub(super) struct Written {
    pub(super) authority: Option<Located<String>>,
    pub(super) instance: Option<Located<String>>,
    pub(super) tenant_id: Option<Located<String>>,
    /// Where users sign in by a policy of a directory for customers (B2C): its name, and that of the directory.
    pub(super) policy: Option<Located<String>>,
    pub(super) domain: Option<Located<String>>,
}

/// An authority that was checked.
#[derive(Debug)]
pub(super) struct Authority {
    /// Without a slash at the end.
    pub(super) url: String,
    /// What comes before the tenant, with one slash at the end.
    pub(super) instance: String,
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

/// An OpenID Connect provider, whose issuer is the authority as it is written.
pub(super) fn of_provider(written: Written, section: &Place, findings: &mut Findings) -> Option<Authority> {
    const ACCEPTED: &str = "the issuer of an OpenID Connect provider, an https URL";
    for ignored in [written.instance, written.tenant_id, written.policy].into_iter().flatten() {
        findings.warning(ignored.place, "is ignored at an OpenID Connect provider");
    }
    let Some(issuer) = written.authority.filter(|authority| !authority.value.is_empty()) else {
        findings.problem(section.child("Authority"), "nothing", ACCEPTED);
        return None;
    };
    let url = Url::parse(&issuer.value).ok().filter(|url| {
        url.scheme() == "https"
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
    });
    let Some((host, port)) = url.as_ref().and_then(origin) else {
        findings.problem(issuer.place, quoted(&issuer.value), ACCEPTED);
        return None;
    };
    Some(Authority {
        url: issuer.value.clone(),
        instance: format!("{}/", issuer.value.trim_end_matches('/')),
        tenant_id: None,
        origins: vec![("Authority", issuer)],
        host: host.to_owned(),
        port,
    })
}

/// Microsoft.Identity.Web's rules: an authority beside an instance or a tenant is ignored with a warning; alone it is
/// taken apart. Where they are silent, the environment says the instance, and a tenant where one is needed.
pub(super) fn resolve(
    written: Written,
    environment: &Environment,
    section: &Place,
    findings: &mut Findings,
) -> Option<Authority> {
    let given = |value: Option<Located<String>>| value.filter(|value| !value.value.is_empty());
    let (instance, tenant_id) = (given(written.instance), given(written.tenant_id));
    let policy = given(written.policy);
    // What Microsoft.Identity.Web computes of nothing is nothing.
    let authority = given(written.authority).filter(|authority| authority.value != "//v2.0");
    let authority = match authority {
        Some(authority) if instance.is_none() && tenant_id.is_none() => from_authority(authority, findings),
        ignored => {
            if let Some(authority) = ignored {
                findings.warning(authority.place, "is ignored beside Instance or TenantId");
            }
            let instance = instance.or_else(|| environment.authority_host.clone());
            let from_environment = environment.tenant_id.as_ref().filter(|_| policy.is_none());
            let is_complete = policy.is_some();
            from_instance(instance, tenant_id, from_environment, is_complete, section, findings)
        }
    };
    match policy {
        Some(policy) => by_policy(authority?, policy, given(written.domain), findings),
        None => authority,
    }
}

fn from_instance(
    instance: Option<Located<String>>,
    tenant_id: Option<Located<String>>,
    default_tenant_id: Option<&Located<String>>,
    needs_no_tenant: bool,
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
        None if needs_no_tenant => Some(None),
        None => url.as_ref().and_then(|url| tenant_of_instance(url, section, findings)),
    };
    let (url, tenant) = (url?, tenant?);
    let instance = url.path().trim_matches('/');
    let path = join(instance, tenant.as_deref().unwrap_or_default());
    assemble(&url, instance, &path, tenant, origins)
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
    let path = url.path().trim_matches('/');
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let first = segments.next().unwrap_or_default();
    let second = segments.next().map(str::to_owned);
    let origins = vec![("Authority", written)];
    match first.to_ascii_lowercase().as_str() {
        "" => {
            let Some(tenant) = ciam_tenant(&url) else {
                findings.problem(place, format!("{} without a tenant", quoted(url.as_str())), AUTHORITIES);
                return None;
            };
            assemble(&url, "", &tenant, Some(tenant.clone()), origins)
        }
        "adfs" => assemble(&url, path, path, None, origins),
        "dstsv2" => assemble(&url, first, path, second, origins),
        "tfp" => assemble(&url, "", path, second, origins),
        _ => {
            let tenant = checked_tenant(first, place, findings)?;
            assemble(&url, "", path, tenant, origins)
        }
    }
}

/// The authority of a policy: `{instance}/tfp/{directory}/{policy}`. The directory is the configured one, the tenant, or the
/// first label of the host.
fn by_policy(
    authority: Authority,
    policy: Located<String>,
    domain: Option<Located<String>>,
    findings: &mut Findings,
) -> Option<Authority> {
    let is_segment =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if !is_segment(&policy.value) {
        findings.problem(policy.place, quoted(&policy.value), "the name of a policy, such as \"B2C_1_susi\"");
        return None;
    }
    if let Some(domain) = domain.as_ref().filter(|domain| !is_tenant(&domain.value)) {
        findings.problem(domain.place.clone(), quoted(&domain.value), TENANTS);
        return None;
    }
    let Authority { mut instance, tenant_id, mut origins, host, port, .. } = authority;
    let prefix = instance.trim_end_matches('/').len();
    if let Some(rest) = instance.get(..prefix).and_then(|instance| instance.strip_suffix("/tfp")) {
        instance = format!("{rest}/");
    }
    let of_host = || format!("{}.onmicrosoft.com", host.split('.').next().unwrap_or_default());
    let directory = domain.map(|domain| domain.value).or_else(|| tenant_id.clone()).unwrap_or_else(of_host);
    let url = format!("{instance}tfp/{directory}/{}", policy.value);
    origins.push(("SignUpSignInPolicyId", policy));
    Some(Authority { url, instance, tenant_id: Some(directory), origins, host, port })
}

fn assemble(
    url: &Url,
    instance: &str,
    path: &str,
    tenant_id: Option<String>,
    origins: Vec<(&'static str, Located<String>)>,
) -> Option<Authority> {
    let (host, port) = origin(url)?;
    let root = match port {
        443 => format!("https://{host}/"),
        _ => format!("https://{host}:{port}/"),
    };
    let instance = if instance.is_empty() { root.clone() } else { format!("{root}{instance}/") };
    Some(Authority { url: root + path, instance, tenant_id, origins, host: host.to_owned(), port })
}

/// Two parts of a path, either of which may be empty.
fn join(first: &str, second: &str) -> String {
    let slash = if first.is_empty() || second.is_empty() { "" } else { "/" };
    format!("{first}{slash}{second}")
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

const TENANTS: &str =
    "a GUID, a domain name such as \"contoso.onmicrosoft.com\", \"common\", \"organizations\", \"consumers\"";

const AUTHORITIES: &str =
    "an https URL with a tenant, such as \"https://login.microsoftonline.com/contoso.onmicrosoft.com\"";
