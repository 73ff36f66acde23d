//! Which authority a request goes to: the application's, or another one that the request names.

use alloc::format;
use alloc::string::ToString;

use crate::authority::{Authority, AuthorityKind};
use crate::cloud::known_cloud;
use crate::error::Error;
use crate::instance::Instance;
use crate::parameters::present;
use crate::request::{Application, Options};

/// The authority of a request, with its tenant, by MSAL's rules for both.
///
/// # Errors
///
/// `invalid_authority`, `authority_type_mismatch`, `authority_host_mismatch`, `B2C_authority_host_mismatch`,
/// `authority_override_regional`, `invalid_tenant`.
pub(crate) fn requested(
    application: &Application,
    configured: &Authority,
    options: &Options,
) -> Result<Authority, Error> {
    let tenant = present(options.tenant_id.as_deref());
    let Some(url) = present(options.authority.as_deref()) else { return with_tenant(configured, tenant) };
    let parsed = match configured.kind() {
        AuthorityKind::Oidc => Authority::oidc(url),
        _ => Authority::parse(url),
    };
    let named = parsed.map_err(|error| Error::invalid_request("invalid_authority", error.to_string()))?;
    if let Some(code) = mismatch(application, configured, &named) {
        let message = format!(
            "{} can't take the place of {}; accepted is an authority of its type, at its host or another name of that, \
             and at its host where a region is configured.",
            named.canonical(),
            configured.canonical()
        );
        return Err(Error::invalid_request(code, message));
    }
    with_tenant(if named.is_multi_tenant() { configured } else { &named }, tenant)
}

/// Why an authority can't take the place of the application's, if it can't.
fn mismatch(application: &Application, configured: &Authority, named: &Authority) -> Option<&'static str> {
    match named.kind() {
        kind if kind != configured.kind() => Some("authority_type_mismatch"),
        AuthorityKind::Ciam | AuthorityKind::Oidc => None,
        _ if named.host() == configured.host() => None,
        AuthorityKind::B2c => Some("B2C_authority_host_mismatch"),
        AuthorityKind::Aad if present(application.azure_region.as_deref()).is_some() => {
            Some("authority_override_regional")
        }
        AuthorityKind::Aad if is_same_cloud(application, configured, named) => None,
        _ => Some("authority_host_mismatch"),
    }
}

/// Whether both are names of one cloud, in the application's own table where it brings one.
fn is_same_cloud(application: &Application, configured: &Authority, named: &Authority) -> bool {
    let ((known, port), (name, other_port)) = (configured.host_and_port(), named.host_and_port());
    let own = present(application.instance_metadata.as_deref());
    port == other_port
        && match own {
            Some(table) => Instance::of_answer(table.as_bytes(), known)
                .is_some_and(|cloud| cloud.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))),
            None => known_cloud(known).is_some_and(|cloud| cloud.aliases.contains(&name)),
        }
}

fn with_tenant(authority: &Authority, tenant: Option<&str>) -> Result<Authority, Error> {
    let Some(tenant) = tenant else { return Ok(authority.clone()) };
    let tenant = tenant.trim();
    let is_name = tenant.len() <= MAX_TENANT_BYTES
        && tenant.starts_with(|c: char| c.is_ascii_alphanumeric())
        && tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    if is_name {
        return Ok(authority.with_tenant(&tenant.to_ascii_lowercase(), true));
    }
    Err(Error::invalid_request(
        "invalid_tenant",
        format!("{tenant:?} is no tenant; its id (a GUID) or one of its domains is."),
    ))
}

/// A domain name has at most 253 characters (RFC 1035 §2.3.4).
const MAX_TENANT_BYTES: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Authority {
        Authority::parse(url).unwrap_or_else(|error| panic!("{error}"))
    }

    fn requested_at(configured: &str, url: &str, application: &Application) -> Result<Authority, Error> {
        let options = Options { authority: Some(url.to_string()), ..Options::default() };
        requested(application, &parse(configured), &options)
    }

    #[test]
    fn a_request_may_name_an_authority_of_the_same_type_and_cloud() {
        let application = Application::default();
        for (configured, url, expected) in [
            (
                "https://login.microsoftonline.com/a",
                "https://login.microsoftonline.com/B",
                "login.microsoftonline.com/b",
            ),
            ("https://login.microsoftonline.com/a", "https://login.windows.net/b", "login.windows.net/b"),
            // Such a tenant is no choice: the application's own stands.
            (
                "https://login.microsoftonline.com/a",
                "https://login.windows.net/common",
                "login.microsoftonline.com/a",
            ),
            (
                "https://login.microsoftonline.com/a",
                "https://login.windows.net/consumers",
                "login.windows.net/consumers",
            ),
            ("https://a.ciamlogin.com", "https://b.ciamlogin.com", "b.ciamlogin.com/b.onmicrosoft.com"),
            ("https://b2c.test/tfp/t/p", "https://b2c.test/tfp/t/q", "b2c.test/tfp/t/q"),
            ("https://x.dsts.test/dstsv2/a", "https://x.dsts.test/dstsv2/b", "x.dsts.test/dstsv2/b"),
        ] {
            let authority = requested_at(configured, url, &application).expect(url);
            assert_eq!(authority.canonical(), format!("https://{expected}/"));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let plain = Application::default();
        let regional = Application { azure_region: Some("eastus".into()), ..Application::default() };
        let own = Application {
            instance_metadata: Some(
                r#"{"metadata":[{"preferred_network":"a.test","preferred_cache":"a.test","aliases":["a.test","b.test"]}]}"#
                    .into(),
            ),
            ..Application::default()
        };
        for (application, configured, url, code) in [
            (
                &plain,
                "https://login.microsoftonline.com/a",
                "https://login.microsoftonline.us/a",
                "authority_host_mismatch",
            ),
            (
                &plain,
                "https://login.microsoftonline.com/a",
                "https://login.windows.net:8443/a",
                "authority_host_mismatch",
            ),
            (
                &plain,
                "https://login.contoso.test/a",
                "https://login.fabrikam.test/a",
                "authority_host_mismatch",
            ),
            (&own, "https://a.test/t", "https://c.test/t", "authority_host_mismatch"),
            (
                &plain,
                "https://fs.contoso.test/adfs",
                "https://fs.fabrikam.test/adfs",
                "authority_host_mismatch",
            ),
            (
                &plain,
                "https://x.dsts.test/dstsv2/a",
                "https://y.dsts.test/dstsv2/a",
                "authority_host_mismatch",
            ),
            (&plain, "https://b2c.test/tfp/t/p", "https://other.test/tfp/t/p", "B2C_authority_host_mismatch"),
            (
                &plain,
                "https://login.microsoftonline.com/a",
                "https://login.microsoftonline.com/adfs",
                "authority_type_mismatch",
            ),
            (&plain, "https://b2c.test/tfp/t/p", "https://b2c.test/t", "authority_type_mismatch"),
            (
                &plain,
                "https://login.microsoftonline.com/a",
                "http://login.microsoftonline.com/a",
                "invalid_authority",
            ),
            (
                &regional,
                "https://login.microsoftonline.com/a",
                "https://login.windows.net/a",
                "authority_override_regional",
            ),
        ] {
            let error = requested_at(configured, url, application).expect_err(url);
            assert_eq!(error.code, code, "{error}");
        }
        requested_at("https://a.test/t", "https://b.test/u", &own).expect("a name of the same cloud");
        requested_at("https://login.microsoftonline.com/a", "https://login.microsoftonline.com/b", &regional)
            .expect("the same host");
    }

    #[test]
    fn the_tenant_is_that_of_the_request_in_any_case() {
        let options = Options {
            authority: Some("https://login.windows.net/b".into()),
            tenant_id: Some("Contoso.com".into()),
            ..Options::default()
        };
        let configured = parse("https://login.microsoftonline.com/a");
        let authority = requested(&Application::default(), &configured, &options).expect("an authority");
        assert_eq!(authority.canonical(), "https://login.windows.net/contoso.com/");
        let provider = Authority::oidc("https://idp.test/Realm").expect("an issuer");
        let options =
            Options { authority: Some("https://other.test/Realm?x=1".into()), ..Options::default() };
        let authority = requested(&Application::default(), &provider, &options).expect("an issuer");
        assert_eq!(authority.canonical(), "https://other.test/Realm?x=1");
    }
}
