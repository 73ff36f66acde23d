//! Which hosts an application may talk to.

use std::collections::BTreeSet;

use url::Url;

/// The hosts an application may talk to, and address client assertions to: its authority's host, the other names of
/// the same cloud, their forms in the configured region, the forms that ask for a client certificate
/// (`mtlsauth.…`), and whatever the configuration adds. All by https. The platform's own endpoints have a policy of their
/// own, and are asked by plain http where the platform says so.
///
/// The set is finite, unless the region is to be detected: a region that isn't configured has no host in it, so that not even a look-up of a name that a
/// guest made up leaves the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressPolicy {
    hosts: BTreeSet<(String, u16)>,
    /// Those that are asked by plain http.
    plain: BTreeSet<(String, u16)>,
    /// What any region may be put in front of.
    regional: BTreeSet<(String, u16)>,
}

/// Which regions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegionRule<'a> {
    /// This one.
    Named(&'a str),
    /// The one that is detected: the policy can't know it.
    Detected,
}

impl<'a> RegionRule<'a> {
    /// The rule of a configured region.
    pub(crate) fn of(region: &'a str) -> Self {
        if region == "TryAutoDetect" { Self::Detected } else { Self::Named(region) }
    }
}

impl EgressPolicy {
    /// The policy for authorities, each a host and a port, in a region.
    pub(crate) fn new<'a>(
        authorities: impl IntoIterator<Item = (&'a str, u16)>,
        region: Option<RegionRule<'_>>,
    ) -> Self {
        let (mut hosts, mut regional) = (BTreeSet::new(), BTreeSet::new());
        for (host, port) in authorities {
            let host = host.to_ascii_lowercase();
            let name = match region {
                Some(RegionRule::Named(name)) => Some(name),
                _ => None,
            };
            hosts.extend(names(&host, name).into_iter().map(|name| (name, port)));
            if region == Some(RegionRule::Detected) {
                regional.extend(regional_names(&host).into_iter().map(|name| (name, port)));
            }
        }
        Self { hosts, plain: BTreeSet::new(), regional }
    }

    /// The same with one more host, by https.
    pub(crate) fn with_host(mut self, host: &str, port: u16) -> Self {
        self.hosts.insert((host.to_owned(), port));
        self
    }

    /// The policy for these origins and no others, each a scheme, a host (an IPv6 address without its brackets) and a port.
    pub(crate) fn of_origins(origins: impl IntoIterator<Item = (String, String, u16)>) -> Self {
        let [hosts, plain, regional] = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
        let mut policy = Self { hosts, plain, regional };
        for (scheme, host, port) in origins {
            let hosts = if scheme == "https" { &mut policy.hosts } else { &mut policy.plain };
            hosts.insert((host.to_ascii_lowercase(), port));
        }
        policy
    }

    /// The policy for the one origin of an endpoint that the platform names for its certificates: a host for mutual TLS of
    /// a known cloud, in any region, or one that this policy allows. `None` for any other.
    pub fn of_platform_endpoint(&self, url: &str) -> Option<Self> {
        let url = Url::parse(url).ok().filter(|url| url.scheme() == "https" && url.username().is_empty())?;
        let (host, port) = (url.host_str()?, url.port_or_known_default()?);
        let is_mtls = |host: &str| CLOUDS.iter().any(|cloud| cloud.mtls == Some(host));
        let is_regional = host.split_once('.').is_some_and(|(region, rest)| {
            (1..=LONGEST_REGION).contains(&region.len())
                && region.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && is_mtls(rest)
        });
        let is_known = port == 443 && (is_mtls(host) || is_regional);
        (is_known || self.allows("https", host, port))
            .then(|| Self::of_origins([("https".to_owned(), host.to_owned(), port)]))
    }

    /// Whether a request may go there. `host` as in a URL, in any case.
    pub fn allows(&self, scheme: &str, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        match scheme.to_ascii_lowercase().as_str() {
            "https" => self.hosts.contains(&(host.clone(), port)) || self.is_regional(&host, port),
            "http" => self.plain.contains(&(host, port)),
            _ => false,
        }
    }

    /// Whether it is the host of some region.
    fn is_regional(&self, host: &str, port: u16) -> bool {
        let is_region =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        host.split_once('.').is_some_and(|(region, rest)| {
            is_region(region) && self.regional.contains(&(rest.to_owned(), port))
        })
    }

    /// Every host that is allowed by https, with its port, in alphabetical order.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, u16)> {
        self.hosts.iter().map(|(host, port)| (host.as_str(), *port))
    }
}

/// Whether a host is a name of a cloud that is known.
pub(crate) fn is_known_host(host: &str) -> bool {
    CLOUDS.iter().any(|cloud| cloud.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(host)))
}

/// What a region is put in front of: with a client certificate or without.
fn regional_names(host: &str) -> Vec<String> {
    let cloud = CLOUDS.iter().find(|cloud| cloud.aliases.contains(&host));
    let mtls = match cloud {
        Some(cloud) => cloud.mtls.map(str::to_owned),
        None => host.strip_prefix("login.").map(|rest| format!("mtlsauth.{rest}")),
    };
    let regional = cloud.map_or(host, |cloud| cloud.regional).to_owned();
    std::iter::once(regional).chain(mtls).collect()
}

fn names(host: &str, region: Option<&str>) -> Vec<String> {
    let cloud = CLOUDS.iter().find(|cloud| cloud.aliases.contains(&host));
    let mut names: Vec<String> = match cloud {
        Some(cloud) => cloud.aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        None => vec![host.to_owned()],
    };
    let regional = regional_names(host);
    if let Some(region) = region {
        let region = region.to_ascii_lowercase();
        names.extend(regional.iter().map(|name| format!("{region}.{name}")));
    }
    // Without a region the host for certificates is another one than the authority's own.
    names.extend(regional.into_iter().skip(1));
    names
}

/// A group of host names that are the same cloud.
struct Cloud {
    aliases: &'static [&'static str],
    /// What a region is put in front of.
    regional: &'static str,
    /// The host that asks for a client certificate.
    mtls: Option<&'static str>,
}

const CLOUDS: &[Cloud] = &[
    Cloud {
        aliases: &[
            "login.microsoftonline.com",
            "login.windows.net",
            "login.microsoft.com",
            "sts.windows.net",
        ],
        regional: "login.microsoft.com",
        mtls: Some("mtlsauth.microsoft.com"),
    },
    Cloud {
        aliases: &["login.partner.microsoftonline.cn", "login.chinacloudapi.cn"],
        regional: "login.partner.microsoftonline.cn",
        mtls: Some("mtlsauth.partner.microsoftonline.cn"),
    },
    Cloud {
        aliases: &["login.microsoftonline.de"],
        regional: "login.microsoftonline.de",
        mtls: Some("mtlsauth.microsoftonline.de"),
    },
    Cloud {
        aliases: &["login.microsoftonline.us", "login.usgovcloudapi.net"],
        regional: "login.microsoftonline.us",
        mtls: Some("mtlsauth.microsoftonline.us"),
    },
    Cloud {
        aliases: &["login-us.microsoftonline.com"],
        regional: "login-us.microsoftonline.com",
        mtls: None,
    },
    Cloud {
        aliases: &["login.windows-ppe.net", "sts.windows-ppe.net", "login.microsoft-ppe.com"],
        regional: "login.windows-ppe.net",
        mtls: Some("mtlsauth.windows-ppe.net"),
    },
    Cloud {
        aliases: &["login.sovcloud-identity.fr"],
        regional: "login.sovcloud-identity.fr",
        mtls: Some("mtlsauth.sovcloud-identity.fr"),
    },
    Cloud {
        aliases: &["login.sovcloud-identity.de"],
        regional: "login.sovcloud-identity.de",
        mtls: Some("mtlsauth.sovcloud-identity.de"),
    },
    Cloud {
        aliases: &["login.sovcloud-identity.sg"],
        regional: "login.sovcloud-identity.sg",
        mtls: Some("mtlsauth.sovcloud-identity.sg"),
    },
];

/// Of the names of regions, `germanywestcentral` is among the longest.
const LONGEST_REGION: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_that_is_detected_may_be_any() {
        let policy = EgressPolicy::new([("login.windows.net", 443)], Some(RegionRule::Detected));
        for host in ["westus2.login.microsoft.com", "eastus.mtlsauth.microsoft.com", "login.microsoft.com"] {
            assert!(policy.allows("https", host, 443), "{host}");
        }
        for host in
            ["a.b.login.microsoft.com", "west-us.login.microsoft.com", ".login.microsoft.com", "x.evil.com"]
        {
            assert!(!policy.allows("https", host, 443), "{host}");
        }
        assert!(!policy.allows("https", "westus2.login.microsoft.com", 8443));
    }

    #[test]
    fn a_platform_names_hosts_for_mutual_tls_only() {
        let policy = EgressPolicy::new([("login.contoso.com", 8443)], None);
        let allowed = |url: &str| policy.of_platform_endpoint(url).is_some();
        for url in [
            "https://mtlsauth.microsoft.com/t/oauth2/v2.0/token",
            "https://WESTUS2.mtlsauth.microsoft.com/",
            "https://usgovvirginia.mtlsauth.microsoftonline.us/",
            "https://mtlsauth.contoso.com:8443/",
        ] {
            assert!(allowed(url), "{url}");
        }
        for url in [
            "http://mtlsauth.microsoft.com/",
            "https://mtlsauth.microsoft.com:444/",
            "https://a.b.mtlsauth.microsoft.com/",
            "https://.mtlsauth.microsoft.com/",
            "https://a-b.mtlsauth.microsoft.com/",
            "https://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.mtlsauth.microsoft.com/",
            "https://user@mtlsauth.microsoft.com/",
            "https://xmtlsauth.microsoft.com/",
            "https://mtlsauth.microsoft.com.evil.example/",
            "https://westus2.mtlsauth.contoso.com:8443/",
            "mtlsauth.microsoft.com",
        ] {
            assert!(!allowed(url), "{url}");
        }
        let one = policy.of_platform_endpoint("https://westus2.mtlsauth.microsoft.com/t").unwrap();
        assert_eq!(one.hosts().collect::<Vec<_>>(), [("westus2.mtlsauth.microsoft.com", 443)]);
        assert!(!one.allows("https", "mtlsauth.contoso.com", 8443));
    }

    fn hosts(authority: &str, region: Option<&str>) -> Vec<String> {
        let policy = EgressPolicy::new([(authority, 443)], region.map(RegionRule::of));
        policy.hosts().map(|(host, _)| host.to_owned()).collect()
    }

    #[test]
    fn a_cloud_is_all_its_names() {
        let expected = [
            "login.microsoft.com",
            "login.microsoftonline.com",
            "login.windows.net",
            "mtlsauth.microsoft.com",
            "sts.windows.net",
        ];
        for alias in ["login.microsoftonline.com", "LOGIN.windows.net", "sts.windows.net"] {
            assert_eq!(hosts(alias, None), expected);
        }
        assert_eq!(hosts("login-us.microsoftonline.com", None), ["login-us.microsoftonline.com"]);
    }

    #[test]
    fn only_the_configured_region_is_reached() {
        let policy =
            EgressPolicy::new([("login.microsoftonline.com", 443)], Some(RegionRule::Named("WestEurope")));
        assert!(policy.allows("https", "westeurope.login.microsoft.com", 443));
        assert!(policy.allows("https", "westeurope.mtlsauth.microsoft.com", 443));
        assert!(!policy.allows("https", "eastus.login.microsoft.com", 443));
        assert!(!policy.allows("https", "westeurope.login.microsoftonline.com", 443));
        assert!(!policy.allows("https", "a.westeurope.login.microsoft.com", 443));
    }

    #[test]
    fn an_unknown_host_has_the_same_forms() {
        assert_eq!(
            hosts("login.contoso.test", Some("r")),
            [
                "login.contoso.test",
                "mtlsauth.contoso.test",
                "r.login.contoso.test",
                "r.mtlsauth.contoso.test"
            ]
        );
        assert_eq!(hosts("contoso.ciamlogin.com", None), ["contoso.ciamlogin.com"]);
    }

    #[test]
    fn origins_are_allowed_exactly() {
        let origin = |scheme: &str, host: &str, port| (scheme.to_owned(), host.to_owned(), port);
        let policy = EgressPolicy::of_origins([
            origin("http", "169.254.169.254", 80),
            origin("https", "LocalHost", 2377),
            origin("http", "::1", 8080),
        ]);
        assert!(policy.allows("http", "169.254.169.254", 80));
        assert!(policy.allows("HTTPS", "localhost", 2377));
        assert!(policy.allows("http", "::1", 8080));
        for (scheme, host, port) in [
            ("https", "169.254.169.254", 80),
            ("https", "169.254.169.254", 443),
            ("http", "169.254.169.254", 8080),
            ("http", "localhost", 2377),
            ("ftp", "::1", 8080),
        ] {
            assert!(!policy.allows(scheme, host, port), "{scheme}://{host}:{port}");
        }
    }

    #[test]
    fn scheme_port_and_foreign_hosts_are_refused() {
        let policy = EgressPolicy::new([("login.microsoftonline.us", 8443)], None);
        assert!(policy.allows("https", "login.microsoftonline.us", 8443));
        assert!(policy.allows("HTTPS", "Login.UsGovCloudApi.net", 8443));
        assert!(!policy.allows("http", "login.microsoftonline.us", 8443));
        assert!(!policy.allows("https", "login.microsoftonline.us", 443));
        assert!(!policy.allows("https", "login.microsoftonline.us.", 8443));
        assert!(!policy.allows("https", "login.microsoftonline.com", 8443));
        assert!(!policy.allows("https", "evil-login.microsoftonline.us", 8443));
    }
}
