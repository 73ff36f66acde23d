//! The national clouds of Microsoft: which host names are one, where requests go, and under which name tokens are kept.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::fmt;

use crate::{
    authority::{Authority, AuthorityKind},
    instance::Instance,
    region::Region,
};

/// A cloud that is known without asking.
#[derive(Debug, PartialEq, Eq)]
pub struct Cloud {
    /// Every host name that it answers to.
    pub aliases: &'static [&'static str],
    /// The host to send requests to.
    pub preferred_network: &'static str,
    /// The host under which tokens are kept.
    pub preferred_cache: &'static str,
}

/// The cloud that a host belongs to. `host` is compared without regard to case, and has no port.
pub fn known_cloud(host: &str) -> Option<&'static Cloud> {
    CLOUDS.iter().find(|cloud| cloud.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(host)))
}

/// The audience of the tokens that workloads exchange for others at a cloud; `None` where it isn't known. `host` is
/// compared without regard to case, and has no port.
pub fn token_exchange_audience(host: &str) -> Option<&'static str> {
    match known_cloud(host)?.preferred_network {
        PUBLIC => Some("api://AzureADTokenExchange"),
        US_GOVERNMENT => Some("api://AzureADTokenExchangeUSGov"),
        CHINA => Some("api://AzureADTokenExchangeChina"),
        _ => None,
    }
}

/// The scope of tokens for an audience: `/.default` follows, if it isn't there already in any case.
pub fn exchange_scope(audience: &str) -> String {
    if exchange_resource(audience).len() < audience.len() {
        audience.to_owned()
    } else {
        format!("{audience}{DEFAULT}")
    }
}

/// The resource of a scope, as managed identities are asked for it: without `/.default`, in any case.
pub fn exchange_resource(audience: &str) -> &str {
    match audience.split_at_checked(audience.len().saturating_sub(DEFAULT.len())) {
        Some((resource, end)) if end.eq_ignore_ascii_case(DEFAULT) => resource,
        _ => audience,
    }
}

const DEFAULT: &str = "/.default";

/// Where requests for an authority go, and under which names its tokens are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The host to send requests to, with the port when it isn't 443.
    pub network_host: String,
    /// The host name under which tokens are written: exactly the one that MSAL writes.
    pub preferred_cache: String,
    /// The host names under which tokens are looked for, `preferred_cache` first.
    pub aliases: Vec<String>,
}

impl Environment {
    /// The same with the names that a cloud says it has. A regional host, or one for mutual TLS, stays what it is.
    pub(crate) fn learn(&mut self, instance: &Instance, port: &str, keeps_host: bool) {
        if !keeps_host {
            self.network_host = [instance.preferred_network.as_str(), port].concat();
            self.preferred_cache.clone_from(&instance.preferred_cache);
        }
        let known = core::mem::take(&mut self.aliases);
        let first = [self.preferred_cache.clone()];
        for name in first.iter().chain(&instance.aliases).chain(&known) {
            if !self.aliases.contains(name) {
                self.aliases.push(name.clone());
            }
        }
    }

    /// A host that is known by one name.
    pub(crate) fn of_host(host: &str) -> Environment {
        let name: String = host.into();
        Environment { network_host: name.clone(), preferred_cache: name.clone(), aliases: [name].into() }
    }
}

/// Where requests for `authority` go, and under which names its tokens are kept.
///
/// A region or `mtls` (the client certificate is presented in the TLS handshake) change the host at Microsoft Entra ID
/// alone; with either, tokens are written under the authority's own host, as MSAL does.
///
/// # Errors
///
/// `mtls` at a host that has no counterpart for it.
pub fn environment(
    authority: &Authority,
    region: Option<&Region>,
    mtls: bool,
) -> Result<Environment, MtlsNotSupported> {
    let (host, port) = authority.host_and_port();
    let is_aad = authority.kind() == AuthorityKind::Aad;
    let cloud = if is_aad { known_cloud(host) } else { None };
    let preferred_network = cloud.map_or(host, |cloud| cloud.preferred_network);
    let (network_host, preferred_cache) = match (region, mtls) {
        (_, true) if is_aad => (mtls_host(host, preferred_network, region)?, host),
        (Some(region), false) if is_aad => (regional_host(host, preferred_network, region), host),
        _ => (preferred_network.to_owned(), cloud.map_or(host, |cloud| cloud.preferred_cache)),
    };
    let others = cloud.map_or(&[][..], |cloud| cloud.aliases).iter().copied();
    let aliases = core::iter::once(preferred_cache).chain(others.filter(|alias| *alias != preferred_cache));
    Ok(Environment {
        network_host: network_host + port,
        preferred_cache: preferred_cache.to_owned(),
        aliases: aliases.map(str::to_owned).collect(),
    })
}

/// The host that accepts client certificates in the TLS handshake.
fn mtls_host(
    host: &str,
    preferred_network: &str,
    region: Option<&Region>,
) -> Result<String, MtlsNotSupported> {
    let not_supported = || MtlsNotSupported::new(host);
    if WITHOUT_MTLS.contains(&host) || !host.starts_with(LOGIN) {
        return Err(not_supported());
    }
    let global = if preferred_network == PUBLIC {
        "mtlsauth.microsoft.com".to_owned()
    } else {
        format!("mtlsauth.{}", preferred_network.strip_prefix(LOGIN).ok_or_else(not_supported)?)
    };
    Ok(region.map_or(global.clone(), |region| format!("{}.{global}", region.as_str())))
}

/// Whether a host for mutual TLS, global or of a region, is known by its name's form alone: nobody has seen it live. Those of
/// the public cloud and of the US government's are known to be.
pub fn is_derived_mtls_host(host: &str) -> bool {
    let cloud = host.split_once("mtlsauth.").map(|(_, cloud)| cloud);
    cloud.is_some_and(|cloud| !["microsoft.com", "microsoftonline.us"].contains(&cloud))
}

fn regional_host(host: &str, preferred_network: &str, region: &Region) -> String {
    let region = region.as_str();
    let already = host.get(..region.len()).is_some_and(|start| start.eq_ignore_ascii_case(region))
        && host.as_bytes().get(region.len()) == Some(&b'.');
    if already {
        return host.to_owned();
    }
    let global = if preferred_network == PUBLIC { "login.microsoft.com" } else { preferred_network };
    format!("{region}.{global}")
}

/// A client certificate was to be presented to an authority that doesn't take any in the TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MtlsNotSupported {
    host: String,
    instead: Option<&'static str>,
}

impl MtlsNotSupported {
    /// The code of this error, as MSAL names it.
    pub const CODE: &'static str = "mtls_pop_not_supported_for_environment";

    fn new(host: &str) -> Self {
        let instead = known_cloud(host).map(|cloud| cloud.preferred_network);
        Self { host: host.to_owned(), instead: instead.filter(|name| name.starts_with(LOGIN)) }
    }
}

impl fmt::Display for MtlsNotSupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} takes no client certificates; use ", self.host)?;
        match self.instead {
            Some(instead) => f.write_str(instead),
            None => f.write_str("an authority whose host begins with login."),
        }
    }
}

impl core::error::Error for MtlsNotSupported {}

const PUBLIC: &str = "login.microsoftonline.com";
const US_GOVERNMENT: &str = "login.microsoftonline.us";
const CHINA: &str = "login.partner.microsoftonline.cn";
const LOGIN: &str = "login.";

/// Aliases that have no counterpart for mutual TLS, though they begin as those that have one.
const WITHOUT_MTLS: [&str; 2] = ["login.usgovcloudapi.net", "login.chinacloudapi.cn"];

const fn cloud(aliases: &'static [&'static str], preferred: &'static str) -> Cloud {
    Cloud { aliases, preferred_network: preferred, preferred_cache: preferred }
}

static CLOUDS: [Cloud; 9] = [
    Cloud {
        aliases: &[PUBLIC, "login.windows.net", "login.microsoft.com", "sts.windows.net"],
        preferred_network: PUBLIC,
        preferred_cache: "login.windows.net",
    },
    cloud(&[CHINA, "login.chinacloudapi.cn"], CHINA),
    cloud(&["login.microsoftonline.de"], "login.microsoftonline.de"),
    cloud(&[US_GOVERNMENT, "login.usgovcloudapi.net"], US_GOVERNMENT),
    cloud(&["login-us.microsoftonline.com"], "login-us.microsoftonline.com"),
    cloud(
        &["login.windows-ppe.net", "sts.windows-ppe.net", "login.microsoft-ppe.com"],
        "login.windows-ppe.net",
    ),
    cloud(&["login.sovcloud-identity.fr"], "login.sovcloud-identity.fr"),
    cloud(&["login.sovcloud-identity.de"], "login.sovcloud-identity.de"),
    cloud(&["login.sovcloud-identity.sg"], "login.sovcloud-identity.sg"),
];

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn at(host: &str, region: Option<&str>, mtls: bool) -> Result<Environment, MtlsNotSupported> {
        let authority = Authority::parse(&format!("https://{host}/tenant")).expect("an authority");
        let region = region.map(|name| Region::parse(name).expect("a region"));
        environment(&authority, region.as_ref(), mtls)
    }

    fn network_host(host: &str, region: Option<&str>, mtls: bool) -> String {
        at(host, region, mtls).expect("a host").network_host
    }

    #[test]
    fn requests_go_to_the_preferred_host() {
        for (host, expected) in [
            ("login.windows.net", "login.microsoftonline.com"),
            ("sts.windows.net", "login.microsoftonline.com"),
            ("login.chinacloudapi.cn", "login.partner.microsoftonline.cn"),
            ("login.contoso.com:8443", "login.contoso.com:8443"),
        ] {
            assert_eq!(network_host(host, None, false), expected);
        }
    }

    #[test]
    fn a_region_goes_before_the_host() {
        for (host, expected) in [
            ("login.windows.net", "eastus.login.microsoft.com"),
            ("sts.windows.net", "eastus.login.microsoft.com"),
            ("login.chinacloudapi.cn", "eastus.login.partner.microsoftonline.cn"),
            ("login.usgovcloudapi.net", "eastus.login.microsoftonline.us"),
            ("login-us.microsoftonline.com", "eastus.login-us.microsoftonline.com"),
            ("login.contoso.com:8443", "eastus.login.contoso.com:8443"),
            ("eastus.login.microsoft.com", "eastus.login.microsoft.com"),
            ("eastus2.login.microsoft.com", "eastus.eastus2.login.microsoft.com"),
        ] {
            assert_eq!(network_host(host, Some("eastus"), false), expected);
        }
    }

    #[test]
    fn client_certificates_have_hosts_of_their_own() {
        for (host, expected) in [
            ("login.microsoftonline.com", "mtlsauth.microsoft.com"),
            ("login.windows.net", "mtlsauth.microsoft.com"),
            ("login.microsoft.com", "mtlsauth.microsoft.com"),
            ("login.microsoftonline.us", "mtlsauth.microsoftonline.us"),
            ("login.partner.microsoftonline.cn", "mtlsauth.partner.microsoftonline.cn"),
            ("login.sovcloud-identity.sg", "mtlsauth.sovcloud-identity.sg"),
            ("login.microsoftonline.de", "mtlsauth.microsoftonline.de"),
            ("login.windows-ppe.net", "mtlsauth.windows-ppe.net"),
            ("login.microsoft-ppe.com", "mtlsauth.windows-ppe.net"),
            ("login.contoso.com:8443", "mtlsauth.contoso.com:8443"),
        ] {
            assert_eq!(network_host(host, None, true), expected);
            assert_eq!(network_host(host, Some("eastus"), true), format!("eastus.{expected}"));
        }
    }

    #[test]
    fn a_host_that_takes_no_certificates_is_refused_with_one_that_does() {
        for (host, instead) in [
            ("login.usgovcloudapi.net", "login.microsoftonline.us"),
            ("login.chinacloudapi.cn", "login.partner.microsoftonline.cn"),
            ("sts.windows.net", "login.microsoftonline.com"),
            ("sts.windows-ppe.net", "login.windows-ppe.net"),
            ("login-us.microsoftonline.com", "begins with login."),
            ("mtlsauth.microsoft.com", "begins with login."),
            ("eastus.login.microsoft.com", "begins with login."),
        ] {
            for region in [None, Some("eastus")] {
                let message = at(host, region, true).expect_err(host).to_string();
                assert!(message.starts_with(host) && message.contains(instead), "{message}");
            }
        }
    }

    #[test]
    fn hosts_that_nobody_has_seen_are_told_from_those_that_are_live() {
        for live in ["mtlsauth.microsoft.com", "eastus.mtlsauth.microsoftonline.us", "login.contoso.com"] {
            assert!(!is_derived_mtls_host(live), "{live}");
        }
        for derived in [
            "mtlsauth.sovcloud-identity.fr",
            "x.mtlsauth.partner.microsoftonline.cn",
            "mtlsauth.contoso.com:8443",
        ] {
            assert!(is_derived_mtls_host(derived), "{derived}");
        }
    }

    #[test]
    fn tokens_are_written_where_msal_writes_them_and_looked_for_everywhere() {
        let global = at("login.microsoftonline.com", None, false).expect("an environment");
        assert_eq!(global.preferred_cache, "login.windows.net");
        assert_eq!(
            global.aliases,
            ["login.windows.net", "login.microsoftonline.com", "login.microsoft.com", "sts.windows.net"]
        );
        for (region, mtls) in [(Some("eastus"), false), (None, true), (Some("eastus"), true)] {
            let bound = at("login.microsoft.com", region, mtls).expect("an environment");
            assert_eq!(bound.preferred_cache, "login.microsoft.com");
            assert_eq!(
                bound.aliases,
                ["login.microsoft.com", "login.microsoftonline.com", "login.windows.net", "sts.windows.net"]
            );
        }
        let own = at("login.contoso.com:8443", None, false).expect("an environment");
        assert_eq!((own.preferred_cache.as_str(), own.aliases.len()), ("login.contoso.com", 1));
    }

    #[test]
    fn three_clouds_have_a_known_audience_for_the_exchange_of_tokens() {
        for (host, audience) in [
            ("login.microsoftonline.com", Some("api://AzureADTokenExchange")),
            ("STS.windows.net", Some("api://AzureADTokenExchange")),
            ("login.microsoftonline.us", Some("api://AzureADTokenExchangeUSGov")),
            ("login.usgovcloudapi.net", Some("api://AzureADTokenExchangeUSGov")),
            ("login.partner.microsoftonline.cn", Some("api://AzureADTokenExchangeChina")),
            ("login.chinacloudapi.cn", Some("api://AzureADTokenExchangeChina")),
            ("login.microsoftonline.de", None),
            ("login.sovcloud-identity.fr", None),
            ("login.contoso.com", None),
        ] {
            assert_eq!(token_exchange_audience(host), audience, "{host}");
        }
    }

    #[test]
    fn an_audience_and_its_scope_differ_by_the_default() {
        for (written, scope, resource) in [
            ("api://X", "api://X/.default", "api://X"),
            ("api://X/.default", "api://X/.default", "api://X"),
            ("api://X/.DEFAULT", "api://X/.DEFAULT", "api://X"),
            ("ü", "ü/.default", "ü"),
            ("défault", "défault/.default", "défault"),
            ("", "/.default", ""),
        ] {
            assert_eq!((exchange_scope(written).as_str(), exchange_resource(written)), (scope, resource));
        }
    }

    #[test]
    fn only_entra_id_has_regions_and_hosts_for_certificates() {
        for url in
            ["https://fs.contoso.com/adfs", "https://x.dsts.net/dstsv2/common", "https://x.ciamlogin.com"]
        {
            let authority = Authority::parse(url).expect("an authority");
            let region = Region::parse("eastus").expect("a region");
            let environment = environment(&authority, Some(&region), true).expect("an environment");
            assert_eq!(environment.network_host, authority.host());
        }
    }
}
