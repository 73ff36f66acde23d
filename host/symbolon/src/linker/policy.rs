//! What a guest may have.

use std::time::Duration;

use http::Uri;

use crate::agent::AgentIdentity;
use crate::managed_identity::ManagedIdentityId;

/// What a guest may have. In the beginning nothing: what isn't allowed is refused.
///
/// Those who make one decide, in this order: by which flows the guest gets tokens ([`allow_flow`](Self::allow_flow)), for
/// which APIs ([`allow_api`](Self::allow_api)), and whether it may read them ([`token_form`](Self::token_form)).
///
/// Whatever is allowed, a guest has no say in what else the authority is sent: parameters, headers, claims of assertions, FMI
/// paths and attributes are refused. Claims of a challenge and of its own, a forced refresh and a correlation id it may give.
#[derive(Clone, Debug, Default)]
pub struct GuestPolicy {
    flows: Vec<GuestFlow>,
    apis: Vec<Api>,
    certificates: Vec<Origin>,
    tenants: Vec<String>,
    pub(super) form: TokenForm,
    pub(super) rate: Option<(u32, Duration)>,
}

/// How a guest comes by a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuestFlow {
    /// For the application itself.
    ForClient,
    /// For the user of a token that the guest has.
    OnBehalfOf,
    /// The same with a session key, and what comes after it. The keys are the guest's own: no other guest reaches a process
    /// by its key, nor does the host.
    LongRunningProcess,
    /// For users who are known already, and their list. They are the application's: those of all its guests.
    Silent,
    /// For the user of a refresh token that the guest has.
    ByRefreshToken,
    /// The sign-in of a person, from its URL to the token.
    ByAuthorizationCode,
    /// For the user of a name and password that the guest has.
    ByUsernamePassword,
    /// For whichever user the guest names, by a token that it has.
    ByUserFederatedIdentityCredential,
    /// For this very agent: with the user that is named here or, where none is, for itself and for users whose tokens the
    /// guest has.
    ForAgent(AgentIdentity),
    /// For this identity of the platform's.
    ForManagedIdentity(ManagedIdentityId),
}

/// In which form a guest gets its tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenForm {
    /// A handle in the token's place, which `send-authorized` accepts and nothing can read. Id tokens and codes are left out.
    #[default]
    Sealed,
    /// The token itself.
    Raw,
}

/// An API, by what its tokens are asked for.
#[derive(Clone, Debug)]
struct Api {
    /// Nothing where sealed tokens can't be sent to it.
    origin: Option<Origin>,
    scopes: Vec<String>,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    is_https: bool,
    /// In lower case.
    host: String,
    port: u16,
}

impl GuestPolicy {
    /// Nothing is allowed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the guest acquire tokens by this flow. The default is none.
    #[must_use]
    pub fn allow_flow(mut self, flow: GuestFlow) -> Self {
        self.flows.push(flow);
        self
    }

    /// Lets the guest acquire tokens for these scopes, and send them, sealed, to this origin: `https://host`, with a port
    /// where it isn't 443. On the loopback `http` is accepted too. The default is none.
    ///
    /// Scopes are compared as they are written. A token goes only to APIs that have all its scopes, so that the token of one
    /// API isn't shown to another; an API at several origins is allowed several times.
    ///
    /// # Errors
    ///
    /// [`OriginError`] where `origin` isn't one.
    pub fn allow_api<S: Into<String>>(
        mut self,
        origin: &str,
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Self, OriginError> {
        let origin = Origin::parse(origin).ok_or_else(|| OriginError { found: origin.to_owned() })?;
        let scopes = scopes.into_iter().map(Into::into).collect();
        self.apis.push(Api { origin: Some(origin), scopes });
        Ok(self)
    }

    /// Lets the guest acquire tokens for these scopes, and send them nowhere: for guests that get the token itself, or only
    /// ask whether there is one. The default is none.
    #[must_use]
    pub fn allow_scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.apis.push(Api { origin: None, scopes: scopes.into_iter().map(Into::into).collect() });
        self
    }

    /// Lets the guest present the application's certificate, without a token, to this origin: `https://host`, with a port where
    /// it isn't 443. The default is none.
    ///
    /// # Errors
    ///
    /// [`OriginError`] where `origin` isn't one.
    pub fn allow_certificate(mut self, origin: &str) -> Result<Self, OriginError> {
        let parsed = Origin::parse(origin).filter(|origin| origin.is_https);
        self.certificates.push(parsed.ok_or_else(|| OriginError { found: origin.to_owned() })?);
        Ok(self)
    }

    /// Lets the guest name this directory, by this name. The default is the application's own alone.
    #[must_use]
    pub fn allow_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenants.push(tenant.into());
        self
    }

    /// In which form the guest gets its tokens. The default is [`TokenForm::Sealed`].
    #[must_use]
    pub fn token_form(mut self, form: TokenForm) -> Self {
        self.form = form;
        self
    }

    /// How many calls the guest may make in how long, all its instances together, refused ones and requests that it sends
    /// included. After a burst of all of them there is one more for each part of the time that passes. The default is no limit.
    #[must_use]
    pub fn rate(mut self, calls: u32, per: Duration) -> Self {
        self.rate = Some((calls, per));
        self
    }

    pub(super) fn allows_flow(&self, flow: &GuestFlow) -> bool {
        self.flows.contains(flow)
    }

    /// Whether a token may be for these scopes, which must be those of one API.
    pub(super) fn allows_scopes(&self, scopes: &[String]) -> bool {
        !scopes.is_empty() && self.apis.iter().any(|api| api.has(scopes))
    }

    /// Whether a token for these scopes may go there.
    pub(super) fn allows_send(&self, uri: &Uri, scopes: &[String]) -> bool {
        let origin = Origin::of(uri);
        origin.is_some() && self.apis.iter().any(|api| api.origin == origin && api.has(scopes))
    }

    /// Whether the certificate may be presented anywhere.
    pub(super) fn allows_certificate(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// Whether the certificate may be presented there.
    pub(super) fn allows_certificate_at(&self, uri: &Uri) -> bool {
        Origin::of(uri).is_some_and(|origin| self.certificates.contains(&origin))
    }

    pub(super) fn allows_tenant(&self, tenant: &str) -> bool {
        self.tenants.iter().any(|allowed| allowed.eq_ignore_ascii_case(tenant))
    }
}

impl Api {
    fn has(&self, scopes: &[String]) -> bool {
        scopes.iter().all(|scope| self.scopes.contains(scope))
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let uri = Uri::try_from(text).ok()?;
        let is_bare = matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("/"));
        let origin = Self::of(&uri).filter(|_| is_bare)?;
        (origin.is_https || origin.is_loopback()).then_some(origin)
    }

    /// That of an absolute URL without user information.
    fn of(uri: &Uri) -> Option<Self> {
        let (authority, is_https) = match uri.scheme_str()? {
            "https" => (uri.authority()?, true),
            "http" => (uri.authority()?, false),
            _ => return None,
        };
        // `Authority` takes a port that is none for part of the text.
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" if is_https => 443,
            "" => 80,
            _ => authority.port_u16()?,
        };
        let host = authority.host().to_ascii_lowercase();
        (!host.is_empty()).then_some(Self { is_https, host, port })
    }

    fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Something that isn't an origin which tokens may be sent to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the origin of an API is {found:?}; accepted: https://host, with :port where it isn't 443 (on the loopback http too)"
)]
pub struct OriginError {
    found: String,
}

/// What a guest asked for and may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GuestRefusal {
    /// A flow, an agent or an identity that it isn't allowed.
    #[error("the guest may not acquire tokens by this flow, or for this agent or identity")]
    Flow,
    /// A scope that it isn't allowed, scopes of several APIs, or none.
    #[error("the guest may not acquire tokens for these scopes")]
    Scopes,
    /// The certificate without a token, which it isn't allowed for any origin.
    #[error("the guest may not present the application's certificate")]
    Certificate,
    /// A directory that it isn't allowed.
    #[error("the guest may not name this directory")]
    Tenant,
    /// Something that no guest may ask for; its name in the interface.
    #[error("a guest may not give `{0}`")]
    Parameter(&'static str),
    /// More calls than it may make.
    #[error("the guest calls more often than it may")]
    Rate {
        /// How long until it may call again.
        retry_after: Duration,
    },
    /// A request to where its token may not go: another scheme, host or port, or another API's.
    #[error("the guest may not send this token there")]
    Origin,
    /// A request by a method that shows the token, or leaves the connection to the guest: `TRACE`, `CONNECT`.
    #[error("a guest may not send a token with this method")]
    Method,
    /// A request with a header that says who calls, or where, or that is the connection's: `authorization` and the like.
    #[error("a guest may not give this header beside a token")]
    Header,
    /// Another guest's token.
    #[error("the token is another guest's")]
    Owner,
    /// What its host's hooks don't allow.
    #[error("the host doesn't allow it")]
    Hooks,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> GuestPolicy {
        let policy = GuestPolicy::new().allow_api("https://API.contoso.test", ["a", "b"]).expect("an origin");
        let policy = policy.allow_api("http://127.0.0.1:8080/", ["a"]).expect("an origin on the loopback");
        policy.allow_scopes(["c"])
    }

    fn scopes(scopes: &[&str]) -> Vec<String> {
        scopes.iter().copied().map(str::to_owned).collect()
    }

    #[test]
    fn a_token_is_for_one_api() {
        for (asked, allowed) in [
            (&["a"][..], true),
            (&["b", "a"], true),
            (&["c"], true),
            (&[], false),
            (&["a", "c"], false),
            (&["a b"], false),
            (&["A"], false),
            (&[""], false),
        ] {
            assert_eq!(policy().allows_scopes(&scopes(asked)), allowed, "{asked:?}");
        }
    }

    #[test]
    fn a_token_goes_where_its_scopes_are_at_home() {
        for (url, asked, allowed) in [
            ("https://api.contoso.test", &["a"][..], true),
            ("https://api.contoso.test:443/x?y", &["a", "b"], true),
            ("https://api.contoso.test/x", &["c"], false),
            ("http://127.0.0.1:8080/x", &["a"], true),
            ("http://127.0.0.1:8080/x", &["a", "b"], false),
            ("http://127.0.0.1/x", &["a"], false),
            ("http://api.contoso.test/x", &["a"], false),
            ("https://api.contoso.test:8443/x", &["a"], false),
            ("https://api.contoso.test./x", &["a"], false),
            ("https://api.contoso.test.evil.test/x", &["a"], false),
            ("https://user@api.contoso.test/x", &["a"], false),
            ("https://api.contoso.test@evil.test/x", &["a"], false),
            ("https://evil.test/https://api.contoso.test", &["a"], false),
            ("https://[::1]/x", &["a"], false),
            ("/x", &["a"], false),
        ] {
            let uri = Uri::try_from(url).expect("a URL");
            assert_eq!(policy().allows_send(&uri, &scopes(asked)), allowed, "{url} {asked:?}");
        }
    }

    #[test]
    fn a_certificate_goes_where_it_is_allowed_and_is_encrypted() {
        assert!(!policy().allows_certificate());
        assert!(policy().allow_certificate("http://127.0.0.1:8080").is_err());
        let policy = policy().allow_certificate("https://mtls.contoso.test:8443").expect("an origin");
        let allowed = |url| policy.allows_certificate_at(&Uri::from_static(url));
        assert!(policy.allows_certificate() && allowed("https://MTLS.contoso.test:8443/x"));
        assert!(!allowed("https://mtls.contoso.test/x") && !allowed("https://api.contoso.test/x"));
    }

    #[test]
    fn origins_are_https_or_loopback() {
        for origin in
            ["https://h", "https://h:8443/", "http://localhost:1", "http://[::1]:1", "http://127.0.0.2"]
        {
            assert!(Origin::parse(origin).is_some(), "{origin}");
        }
        for none in [
            "http://h",
            "https://h/path",
            "https://h?q",
            "https://u@h",
            "h",
            "h:443",
            "ftp://h",
            "",
            "https://",
            "https://h:port",
            "https://h:99999",
            "http://10.0.0.1",
            "http://localhost.evil.test",
        ] {
            assert!(Origin::parse(none).is_none(), "{none}");
        }
    }
}
