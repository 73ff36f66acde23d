//! Authorities: who issues tokens, and where.
//!
//! An authority is written as a URL. Its kind shows in the URL, except for generic OpenID Connect, which is chosen by
//! [`Authority::oidc`].

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use crate::{cloud::known_cloud, url::percent_encode};

/// What kind of server an authority is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthorityKind {
    /// Microsoft Entra ID: `https://{host}/{tenant}/`.
    Aad,
    /// Azure AD B2C: `https://{host}/tfp/{tenant}/{policy}/`.
    B2c,
    /// Microsoft Entra External ID: `https://{name}.ciamlogin.com/{tenant}/`.
    Ciam,
    /// Active Directory Federation Services: `https://{host}/adfs/`.
    Adfs,
    /// The datacenter security token service: `https://{host}/dstsv2/{tenant}/`.
    Dsts,
    /// Any OpenID Connect provider, by its issuer.
    Oidc,
}

/// How a JSON Web Signature is made (RFC 7518 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

/// An authority whose URL was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    kind: AuthorityKind,
    /// With the port when it isn't 443.
    host: String,
    /// Begins and ends with `/`, except for generic OpenID Connect, where it is as given and the query follows it.
    path: String,
}

impl Authority {
    /// Takes an authority by its URL, of any kind but generic OpenID Connect.
    ///
    /// The URL is lower-cased as a whole. What follows the segments that its kind needs is dropped, as MSAL does.
    ///
    /// # Errors
    ///
    /// A URL that isn't `https`, has no usable host, or misses a segment. The error says what is accepted.
    pub fn parse(url: &str) -> Result<Self, AuthorityError> {
        let lower = url.to_ascii_lowercase();
        Self::from_lower_case(&lower).map_err(|problem| AuthorityError::new(url, problem))
    }

    fn from_lower_case(url: &str) -> Result<Self, Problem> {
        let (host, rest) = split(url)?;
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        if !segments.iter().all(|segment| is_path_segment(segment)) {
            return Err(Problem::Path);
        }
        let kind = kind_of(&host, segments.first().copied());
        let path = match (kind, segments.as_slice()) {
            (AuthorityKind::B2c, [policy_root, tenant, policy, ..]) => {
                format!("/{policy_root}/{tenant}/{policy}/")
            }
            (AuthorityKind::Dsts, [root, tenant, ..]) => format!("/{root}/{tenant}/"),
            (AuthorityKind::Aad | AuthorityKind::Ciam | AuthorityKind::Adfs, [first, ..]) => {
                format!("/{first}/")
            }
            (AuthorityKind::Ciam, []) => {
                format!("/{}.onmicrosoft.com/", host.split('.').next().unwrap_or_default())
            }
            _ => return Err(Problem::MissingSegment(kind)),
        };
        Ok(Self { kind, host, path })
    }

    /// Takes an OpenID Connect provider by its issuer URL, which is kept as given, query included.
    ///
    /// # Errors
    ///
    /// A URL that isn't `https` or has no usable host.
    pub fn oidc(url: &str) -> Result<Self, AuthorityError> {
        let (host, path) = split(url).map_err(|problem| AuthorityError::new(url, problem))?;
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AuthorityError::new(url, Problem::Path));
        }
        Ok(Self { kind: AuthorityKind::Oidc, host, path: path.to_owned() })
    }

    /// The same authority for another tenant.
    ///
    /// Forced, as a request's own tenant is, it replaces any tenant; otherwise only `common` and `organizations`.
    /// B2C, ADFS and generic OpenID Connect keep theirs in any case, as MSAL does.
    #[must_use]
    pub fn with_tenant(&self, tenant: &str, forced: bool) -> Self {
        if tenant.is_empty() || !(forced || self.is_multi_tenant()) {
            return self.clone();
        }
        let tenant = percent_encode(tenant);
        let path = match self.kind {
            AuthorityKind::Aad | AuthorityKind::Ciam => format!("/{tenant}/"),
            AuthorityKind::Dsts => format!("/dstsv2/{tenant}/"),
            AuthorityKind::B2c | AuthorityKind::Adfs | AuthorityKind::Oidc => return self.clone(),
        };
        Self { path, ..self.clone() }
    }

    /// The same authority at another host, such as `westeurope.login.microsoft.com` or `login.contoso.com:8443`.
    #[must_use]
    pub fn with_host(&self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self.clone() }
    }

    /// What kind of server it is.
    pub fn kind(&self) -> AuthorityKind {
        self.kind
    }

    /// The host, with the port when it isn't 443.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The tenant; `None` for ADFS and generic OpenID Connect, which have none.
    pub fn tenant(&self) -> Option<&str> {
        let position = match self.kind {
            AuthorityKind::Aad | AuthorityKind::Ciam => 1,
            AuthorityKind::B2c | AuthorityKind::Dsts => 2,
            AuthorityKind::Adfs | AuthorityKind::Oidc => return None,
        };
        self.path.split('/').nth(position)
    }

    /// Whether the tenant stands for many: `common` or `organizations`. The personal accounts' directory is one tenant.
    pub fn is_multi_tenant(&self) -> bool {
        self.tenant()
            .is_some_and(|t| t.eq_ignore_ascii_case("common") || t.eq_ignore_ascii_case("organizations"))
    }

    /// The authority as a URL that ends with `/`; for generic OpenID Connect the URL as given.
    pub fn canonical(&self) -> String {
        format!("https://{}{}", self.host, self.path)
    }

    /// Where tokens are asked for; `None` for generic OpenID Connect, whose metadata says it.
    pub fn token_endpoint(&self) -> Option<String> {
        self.endpoint("token")
    }

    /// Where people sign in; `None` for generic OpenID Connect, whose metadata says it.
    pub fn authorization_endpoint(&self) -> Option<String> {
        self.endpoint("authorize")
    }

    fn endpoint(&self, name: &str) -> Option<String> {
        let folder = match self.kind {
            AuthorityKind::Oidc => return None,
            AuthorityKind::Adfs => "oauth2/",
            _ => "oauth2/v2.0/",
        };
        Some(self.canonical() + folder + name)
    }

    /// Where a generic OpenID Connect provider publishes its metadata (OpenID Connect Discovery 1.0 §4); `None` for the
    /// other kinds.
    pub fn oidc_metadata_url(&self) -> Option<String> {
        if self.kind != AuthorityKind::Oidc {
            return None;
        }
        let query_at = self.path.find('?').unwrap_or(self.path.len());
        let (path, query) = self.path.split_at(query_at);
        let path = path.strip_suffix('/').unwrap_or(path);
        Some(format!("https://{}{path}/.well-known/openid-configuration{query}", self.host))
    }

    /// Where the names of the authority's cloud are asked for. Only Microsoft Entra ID has such a place: `uri` where one is
    /// configured, else at the authority's own host when it is a well-known one, at the public cloud's otherwise.
    pub fn instance_discovery_url(&self, uri: Option<&str>) -> Option<String> {
        if self.kind != AuthorityKind::Aad {
            return None;
        }
        let (name, port) = self.host_and_port();
        let host = if known_cloud(name).is_some() { name } else { "login.microsoftonline.com" };
        let endpoint = percent_encode(&self.authorization_endpoint()?);
        let place = match uri {
            Some(uri) => uri.to_owned(),
            None => ["https://", host, port, "/common/discovery/instance"].concat(),
        };
        Some([&place, "?api-version=1.1&authorization_endpoint=", &endpoint].concat())
    }

    /// Where AD FS says that it is trusted under its host name (WebFinger, RFC 7033), and the resource that the answer must
    /// name; `None` for the other kinds.
    pub fn webfinger_url(&self) -> Option<(String, String)> {
        let resource = ["https://", self.host_and_port().0].concat();
        let url =
            format!("https://{}/.well-known/webfinger?rel={TRUSTED_REALM}&resource={resource}", self.host);
        (self.kind == AuthorityKind::Adfs).then_some((url, resource))
    }

    /// How client assertions for this authority are signed, as MSAL does.
    pub fn signature_algorithm(&self) -> SignatureAlgorithm {
        match self.kind {
            AuthorityKind::Aad | AuthorityKind::B2c | AuthorityKind::Ciam => SignatureAlgorithm::Ps256,
            AuthorityKind::Adfs | AuthorityKind::Dsts | AuthorityKind::Oidc => SignatureAlgorithm::Rs256,
        }
    }

    /// Whether the authority understands `client_info`.
    pub fn supports_client_info(&self) -> bool {
        !matches!(self.kind, AuthorityKind::Adfs | AuthorityKind::Oidc)
    }

    /// The first segment of the path, where it has one.
    pub(crate) fn first_segment(&self) -> Option<&str> {
        self.path.split(['/', '?']).find(|segment| !segment.is_empty())
    }

    /// The host name, and `:port` or nothing.
    pub(crate) fn host_and_port(&self) -> (&str, &str) {
        self.host.split_at(self.host.find(':').unwrap_or(self.host.len()))
    }
}

/// How AD FS is related to the realm that trusts it.
pub(crate) const TRUSTED_REALM: &str = "http://schemas.microsoft.com/rel/trusted-realm";

/// A URL that isn't an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityError {
    found: String,
    problem: Problem,
}

impl AuthorityError {
    fn new(url: &str, problem: Problem) -> Self {
        // What stands before an `@` may be a password.
        let found = url.rsplit('@').next().unwrap_or_default().to_string();
        Self { found, problem }
    }
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an authority: {}", self.found, self.problem)
    }
}

impl core::error::Error for AuthorityError {}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    Scheme,
    User,
    Host,
    Port,
    Path,
    MissingSegment(AuthorityKind),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "accepted is an https URL, such as https://login.microsoftonline.com/contoso.com",
            Self::User => "a user name before the host is not accepted",
            Self::Host => "its host is not a DNS name; accepted are ASCII letters, digits, hyphens and dots",
            Self::Port => "its port is not a number from 1 to 65535",
            Self::Path => "its path holds characters that a URL can't have, or dot segments",
            Self::MissingSegment(AuthorityKind::B2c) => "accepted is https://{host}/tfp/{tenant}/{policy}",
            Self::MissingSegment(AuthorityKind::Dsts) => "accepted is https://{host}/dstsv2/{tenant}",
            Self::MissingSegment(_) => "it names no tenant; accepted is https://{host}/{tenant}",
        })
    }
}

/// The host, with the port when it isn't 443, and what follows.
fn split(url: &str) -> Result<(String, &str), Problem> {
    const SCHEME: &str = "https://";
    let has_scheme = url.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME));
    let after_scheme = if has_scheme { url.get(SCHEME.len()..) } else { None }.ok_or(Problem::Scheme)?;
    let end = after_scheme.find(['/', '?', '#']).unwrap_or(after_scheme.len());
    let (authority, rest) = after_scheme.split_at(end);
    if authority.contains('@') {
        return Err(Problem::User);
    }
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    if !is_host_name(host) {
        return Err(Problem::Host);
    }
    match port.parse::<u16>() {
        Ok(443) => Ok((host.to_owned(), rest)),
        Ok(port) if port > 0 => Ok((format!("{host}:{port}"), rest)),
        _ => Err(Problem::Port),
    }
}

fn is_host_name(host: &str) -> bool {
    host.split('.').all(|label| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    })
}

/// Whether it is a path segment (RFC 3986 §3.3) that stays one when the URL is resolved.
fn is_path_segment(segment: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte);
    !matches!(segment, "." | "..") && segment.bytes().all(allowed)
}

fn kind_of(host: &str, first_segment: Option<&str>) -> AuthorityKind {
    let name = host.split(':').next().unwrap_or_default();
    match first_segment {
        _ if name.ends_with(".ciamlogin.com") => AuthorityKind::Ciam,
        Some("adfs") => AuthorityKind::Adfs,
        Some("dstsv2") => AuthorityKind::Dsts,
        Some("tfp") => AuthorityKind::B2c,
        _ => AuthorityKind::Aad,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(url: &str) -> Authority {
        Authority::parse(url).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn each_kind_has_its_canonical_form_tenant_and_token_endpoint() {
        for (url, kind, canonical, tenant, token_endpoint) in [
            (
                "https://Login.MicrosoftOnline.com:443/Contoso.com/ignored/segments?q#f",
                AuthorityKind::Aad,
                "https://login.microsoftonline.com/contoso.com/",
                Some("contoso.com"),
                "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token",
            ),
            (
                "https://contoso.b2clogin.com/tfp/contoso.onmicrosoft.com/B2C_1_signin/more",
                AuthorityKind::B2c,
                "https://contoso.b2clogin.com/tfp/contoso.onmicrosoft.com/b2c_1_signin/",
                Some("contoso.onmicrosoft.com"),
                "https://contoso.b2clogin.com/tfp/contoso.onmicrosoft.com/b2c_1_signin/oauth2/v2.0/token",
            ),
            (
                "https://Contoso.ciamlogin.com",
                AuthorityKind::Ciam,
                "https://contoso.ciamlogin.com/contoso.onmicrosoft.com/",
                Some("contoso.onmicrosoft.com"),
                "https://contoso.ciamlogin.com/contoso.onmicrosoft.com/oauth2/v2.0/token",
            ),
            (
                "https://contoso.ciamlogin.com/adfs/",
                AuthorityKind::Ciam,
                "https://contoso.ciamlogin.com/adfs/",
                Some("adfs"),
                "https://contoso.ciamlogin.com/adfs/oauth2/v2.0/token",
            ),
            (
                "https://fs.contoso.com:8443/ADFS/",
                AuthorityKind::Adfs,
                "https://fs.contoso.com:8443/adfs/",
                None,
                "https://fs.contoso.com:8443/adfs/oauth2/token",
            ),
            (
                "https://west.dsts.core.windows.net/dstsv2/tenant",
                AuthorityKind::Dsts,
                "https://west.dsts.core.windows.net/dstsv2/tenant/",
                Some("tenant"),
                "https://west.dsts.core.windows.net/dstsv2/tenant/oauth2/v2.0/token",
            ),
        ] {
            let authority = parse(url);
            assert_eq!(authority.kind(), kind, "{url}");
            assert_eq!(authority.canonical(), canonical);
            assert_eq!(authority.tenant(), tenant);
            assert_eq!(authority.token_endpoint().as_deref(), Some(token_endpoint));
            assert_eq!(authority.oidc_metadata_url(), None);
        }
    }

    #[test]
    fn people_sign_in_beside_the_token_endpoint() {
        for (url, endpoint) in [
            ("https://h.com/t", "https://h.com/t/oauth2/v2.0/authorize"),
            ("https://h.com/tfp/t/p", "https://h.com/tfp/t/p/oauth2/v2.0/authorize"),
            ("https://t.ciamlogin.com", "https://t.ciamlogin.com/t.onmicrosoft.com/oauth2/v2.0/authorize"),
            ("https://h.com/dstsv2/t", "https://h.com/dstsv2/t/oauth2/v2.0/authorize"),
            ("https://h.com/adfs", "https://h.com/adfs/oauth2/authorize"),
        ] {
            assert_eq!(parse(url).authorization_endpoint().as_deref(), Some(endpoint));
        }
        let oidc = Authority::oidc("https://idp.contoso.com").expect("an authority");
        assert_eq!(oidc.authorization_endpoint(), None);
    }

    #[test]
    fn what_is_no_authority_is_refused_with_what_is_accepted() {
        for (url, said) in [
            ("", "https URL"),
            ("login.microsoftonline.com/common", "https URL"),
            ("http://login.microsoftonline.com/common", "https URL"),
            ("https:///common", "DNS name"),
            ("https://login microsoft/common", "DNS name"),
            ("https://login..com/common", "DNS name"),
            ("https://login.microsoftonline.com", "https://{host}/{tenant}"),
            ("https://login.microsoftonline.com//?tenant=x", "https://{host}/{tenant}"),
            ("https://login.microsoftonline.com:0/common", "65535"),
            ("https://login.microsoftonline.com:x/common", "65535"),
            ("https://login.microsoftonline.com/con toso", "characters"),
            ("https://login.microsoftonline.com/../common", "dot segments"),
            ("https://contoso.b2clogin.com/tfp/contoso", "/tfp/{tenant}/{policy}"),
            ("https://x.dsts.core.windows.net/dstsv2/", "/dstsv2/{tenant}"),
        ] {
            let message = Authority::parse(url).expect_err(url).to_string();
            assert!(message.contains(said), "{message}");
        }
    }

    #[test]
    fn a_password_in_the_url_is_not_repeated() {
        let message =
            Authority::parse("https://u:hunter2@login.microsoftonline.com/x").unwrap_err().to_string();
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn generic_oidc_is_kept_as_given() {
        let authority = Authority::oidc("https://IDP.contoso.com/Issuer/?X=1").expect("an authority");
        assert_eq!(authority.canonical(), "https://IDP.contoso.com/Issuer/?X=1");
        assert_eq!(authority.token_endpoint(), None);
        assert_eq!(
            authority.oidc_metadata_url().as_deref(),
            Some("https://IDP.contoso.com/Issuer/.well-known/openid-configuration?X=1")
        );
        assert_eq!(
            Authority::oidc("https://h?x=1").expect("an authority").oidc_metadata_url().as_deref(),
            Some("https://h/.well-known/openid-configuration?x=1")
        );
        assert!(Authority::oidc("http://h/").is_err());
    }

    #[test]
    fn an_unforced_tenant_replaces_only_what_stands_for_many() {
        for (url, tenant) in [
            ("https://h.com/common", "https://h.com/t/"),
            ("https://h.com/organizations", "https://h.com/t/"),
            ("https://h.com/consumers", "https://h.com/consumers/"),
            (
                "https://h.com/9188040d-6c67-4c5b-b112-36a304b66dad",
                "https://h.com/9188040d-6c67-4c5b-b112-36a304b66dad/",
            ),
            ("https://h.com/dstsv2/common", "https://h.com/dstsv2/t/"),
            ("https://h.com/dstsv2/x", "https://h.com/dstsv2/x/"),
        ] {
            assert_eq!(parse(url).with_tenant("t", false).canonical(), tenant);
        }
    }

    #[test]
    fn a_forced_tenant_replaces_any_where_there_are_tenants() {
        for (url, tenant) in [
            ("https://h.com/x", "https://h.com/t/"),
            ("https://x.ciamlogin.com", "https://x.ciamlogin.com/t/"),
            ("https://h.com/dstsv2/x", "https://h.com/dstsv2/t/"),
            ("https://h.com/tfp/x/p", "https://h.com/tfp/x/p/"),
            ("https://h.com/adfs", "https://h.com/adfs/"),
        ] {
            assert_eq!(parse(url).with_tenant("t", true).canonical(), tenant);
        }
    }

    #[test]
    fn a_tenant_stays_one_path_segment() {
        let authority = parse("https://h.com/x").with_tenant("../evil?x=", true);
        assert_eq!(authority.canonical(), "https://h.com/..%2Fevil%3Fx%3D/");
    }

    #[test]
    fn instance_discovery_asks_a_host_it_knows_about_the_authority_as_given() {
        assert_eq!(
            parse("https://login.contoso.com:8443/tenant").instance_discovery_url(None).as_deref(),
            Some(
                "https://login.microsoftonline.com:8443/common/discovery/instance?api-version=1.1\
                 &authorization_endpoint=https%3A%2F%2Flogin.contoso.com%3A8443%2Ftenant%2Foauth2%2Fv2.0%2Fauthorize"
            )
        );
        let known = parse("https://login.microsoftonline.us/t").instance_discovery_url(None).expect("a URL");
        assert!(known.starts_with("https://login.microsoftonline.us/common/discovery/instance?"), "{known}");
        assert_eq!(parse("https://h.com/adfs").instance_discovery_url(None), None);
        let own =
            parse("https://login.microsoftonline.us/t").instance_discovery_url(Some("https://d.test/names"));
        let own = own.expect("a URL");
        assert!(
            own.starts_with("https://d.test/names?api-version=1.1&authorization_endpoint=https%3A%2F%2F"),
            "{own}"
        );
    }

    #[test]
    fn ad_fs_alone_is_asked_by_webfinger() {
        let (url, resource) = parse("https://fs.contoso.com:8443/adfs").webfinger_url().expect("a URL");
        assert_eq!(
            url,
            "https://fs.contoso.com:8443/.well-known/webfinger?rel=http://schemas.microsoft.com/rel/trusted-realm&\
             resource=https://fs.contoso.com"
        );
        assert_eq!(resource, "https://fs.contoso.com");
        assert_eq!(parse("https://login.microsoftonline.com/t").webfinger_url(), None);
    }

    proptest! {
        #[test]
        fn an_authority_is_a_safe_url_whatever_is_given(url in "https://[a-z]{1,5}(:[0-9]{1,3})?(/[a-zA-Zé.@%?# ]{0,6}){0,4}|.{0,24}", tenant in ".{0,8}") {
            for authority in [Authority::parse(&url), Authority::oidc(&url)].into_iter().flatten() {
                let host = authority.host();
                prop_assert!(host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-_".contains(&byte)), "{}", host);
                let prefix = format!("https://{host}/");
                prop_assert!(authority.token_endpoint().is_none_or(|endpoint| endpoint.starts_with(&prefix)));
                if authority.kind() != AuthorityKind::Oidc {
                    let again = authority.with_tenant(&tenant, true);
                    let canonical = again.canonical();
                    prop_assert!(canonical.starts_with(&prefix) && canonical.is_ascii());
                    prop_assert_eq!(again.path.matches('/').count(), authority.path.matches('/').count());
                    prop_assert_eq!(Authority::parse(&authority.canonical()), Ok(authority));
                }
            }
        }
    }
}
