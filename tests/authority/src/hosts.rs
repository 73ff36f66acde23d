//! Which hosts there are: the login and mutual TLS hosts of every cloud, global and regional.

/// One cloud: hosts that are names of one authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cloud {
    /// Every login host, the one that clients should call first.
    pub(crate) aliases: Vec<String>,
    /// The host that clients should call.
    pub(crate) preferred_network: String,
    /// The host under whose name clients should keep tokens.
    pub(crate) preferred_cache: String,
    /// A region's login host is `{region}.{regional_login}`.
    pub(crate) regional_login: String,
    /// The global mutual TLS host; a region's is `{region}.{mtls}`. Some clouds have none.
    pub(crate) mtls: Option<String>,
}

/// What a host is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// A login host: never asks for a client certificate.
    Login,
    /// A mutual TLS host: asks for one in the first handshake.
    MutualTls,
}

/// A host name, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site<'a> {
    pub(crate) service: Service,
    pub(crate) cloud: &'a Cloud,
    pub(crate) region: Option<String>,
}

/// The hosts an authority answers for.
#[derive(Debug, Clone)]
pub(crate) struct Hosts {
    public: Cloud,
    clouds: Vec<Cloud>,
}

impl Hosts {
    /// The clouds of Microsoft, and a cloud of its own for each of `additional` (`login.contoso.test` brings
    /// `mtlsauth.contoso.test` and the regional hosts of both with it, as MSAL derives them).
    pub(crate) fn new(additional: &[String]) -> Self {
        let own = additional.iter().map(|host| Cloud::additional(&host.to_ascii_lowercase()));
        let [public, ..] = &BUILT_IN;
        Self { public: public.cloud(), clouds: BUILT_IN.iter().map(Row::cloud).chain(own).collect() }
    }

    /// The public cloud.
    pub(crate) fn public(&self) -> &Cloud {
        &self.public
    }

    pub(crate) fn clouds(&self) -> &[Cloud] {
        &self.clouds
    }

    pub(crate) fn site(&self, host: &str) -> Option<Site<'_>> {
        let host = host.to_ascii_lowercase();
        self.clouds.iter().find_map(|cloud| cloud.site(&host))
    }

    /// Every global host, and `*.{suffix}` for regional ones and for key vaults.
    pub(crate) fn patterns(&self) -> Vec<String> {
        let mut patterns = Vec::new();
        for cloud in &self.clouds {
            patterns.extend(cloud.aliases.iter().cloned());
            patterns.push(format!("*.{}", cloud.regional_login));
            if let Some(mtls) = &cloud.mtls {
                patterns.push(mtls.clone());
                patterns.push(format!("*.{mtls}"));
            }
        }
        patterns.push("*.vault.azure.net".to_owned());
        patterns
    }
}

impl Cloud {
    fn additional(host: &str) -> Self {
        Self {
            aliases: vec![host.to_owned()],
            preferred_network: host.to_owned(),
            preferred_cache: host.to_owned(),
            regional_login: host.to_owned(),
            mtls: host.strip_prefix("login.").map(|rest| format!("mtlsauth.{rest}")),
        }
    }

    fn site(&self, host: &str) -> Option<Site<'_>> {
        let site = |service, region| Some(Site { service, cloud: self, region });
        if self.aliases.iter().any(|alias| alias == host) {
            return site(Service::Login, None);
        }
        if let Some(mtls) = &self.mtls {
            if mtls == host {
                return site(Service::MutualTls, None);
            }
            if let Some(region) = region_before(host, mtls) {
                return site(Service::MutualTls, Some(region));
            }
        }
        region_before(host, &self.regional_login).and_then(|region| site(Service::Login, Some(region)))
    }
}

/// `westus2` of `westus2.login.microsoft.com`; a region is one label of ASCII letters and digits.
fn region_before(host: &str, suffix: &str) -> Option<String> {
    let region = host.strip_suffix(suffix)?.strip_suffix('.')?;
    let valid = !region.is_empty() && region.bytes().all(|b| b.is_ascii_alphanumeric());
    valid.then(|| region.to_owned())
}

struct Row {
    aliases: &'static [&'static str],
    preferred_cache: &'static str,
    regional_login: &'static str,
    mtls: Option<&'static str>,
}

impl Row {
    fn cloud(&self) -> Cloud {
        Cloud {
            aliases: self.aliases.iter().map(|&alias| alias.to_owned()).collect(),
            preferred_network: self.aliases.first().copied().unwrap_or_default().to_owned(),
            preferred_cache: self.preferred_cache.to_owned(),
            regional_login: self.regional_login.to_owned(),
            mtls: self.mtls.map(str::to_owned),
        }
    }
}

/// Instance discovery's table, with the regional and mutual TLS hosts that clients derive from it.
const BUILT_IN: [Row; 9] = [
    Row {
        aliases: &[
            "login.microsoftonline.com",
            "login.windows.net",
            "login.microsoft.com",
            "sts.windows.net",
        ],
        preferred_cache: "login.windows.net",
        regional_login: "login.microsoft.com",
        mtls: Some("mtlsauth.microsoft.com"),
    },
    Row {
        aliases: &["login.partner.microsoftonline.cn", "login.chinacloudapi.cn"],
        preferred_cache: "login.partner.microsoftonline.cn",
        regional_login: "login.partner.microsoftonline.cn",
        mtls: Some("mtlsauth.partner.microsoftonline.cn"),
    },
    Row {
        aliases: &["login.microsoftonline.de"],
        preferred_cache: "login.microsoftonline.de",
        regional_login: "login.microsoftonline.de",
        mtls: Some("mtlsauth.microsoftonline.de"),
    },
    Row {
        aliases: &["login.microsoftonline.us", "login.usgovcloudapi.net"],
        preferred_cache: "login.microsoftonline.us",
        regional_login: "login.microsoftonline.us",
        mtls: Some("mtlsauth.microsoftonline.us"),
    },
    Row {
        aliases: &["login-us.microsoftonline.com"],
        preferred_cache: "login-us.microsoftonline.com",
        regional_login: "login-us.microsoftonline.com",
        mtls: None,
    },
    Row {
        aliases: &["login.windows-ppe.net", "sts.windows-ppe.net", "login.microsoft-ppe.com"],
        preferred_cache: "login.windows-ppe.net",
        regional_login: "login.windows-ppe.net",
        mtls: Some("mtlsauth.windows-ppe.net"),
    },
    Row {
        aliases: &["login.sovcloud-identity.fr"],
        preferred_cache: "login.sovcloud-identity.fr",
        regional_login: "login.sovcloud-identity.fr",
        mtls: Some("mtlsauth.sovcloud-identity.fr"),
    },
    Row {
        aliases: &["login.sovcloud-identity.de"],
        preferred_cache: "login.sovcloud-identity.de",
        regional_login: "login.sovcloud-identity.de",
        mtls: Some("mtlsauth.sovcloud-identity.de"),
    },
    Row {
        aliases: &["login.sovcloud-identity.sg"],
        preferred_cache: "login.sovcloud-identity.sg",
        regional_login: "login.sovcloud-identity.sg",
        mtls: Some("mtlsauth.sovcloud-identity.sg"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(host: &str) -> Option<(Service, Option<String>, String)> {
        let hosts = Hosts::new(&["login.contoso.test".to_owned()]);
        hosts.site(host).map(|site| (site.service, site.region, site.cloud.preferred_network.clone()))
    }

    #[test]
    fn knows_global_hosts() {
        let public = || "login.microsoftonline.com".to_owned();
        assert_eq!(found("STS.windows.net"), Some((Service::Login, None, public())));
        assert_eq!(found("mtlsauth.microsoft.com"), Some((Service::MutualTls, None, public())));
        assert_eq!(found("mtlsauth.microsoftonline.com"), None);
    }

    #[test]
    fn knows_regional_hosts_by_their_exact_form() {
        let region = |host| found(host).and_then(|(service, region, _)| region.map(|r| (service, r)));
        assert_eq!(region("westus2.login.microsoft.com"), Some((Service::Login, "westus2".into())));
        assert_eq!(region("westus2.mtlsauth.microsoft.com"), Some((Service::MutualTls, "westus2".into())));
        assert_eq!(
            region("chinaeast2.mtlsauth.partner.microsoftonline.cn"),
            Some((Service::MutualTls, "chinaeast2".into()))
        );
        for wrong in ["westus2.login.microsoftonline.com", "a.b.login.microsoft.com", ".login.microsoft.com"]
        {
            assert_eq!(found(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_additional_host_brings_its_mutual_tls_and_regional_hosts() {
        for host in [
            "login.contoso.test",
            "mtlsauth.contoso.test",
            "r1.login.contoso.test",
            "r1.mtlsauth.contoso.test",
        ] {
            assert!(found(host).is_some(), "{host}");
        }
    }
}
