//! Tenants, and the resources that tokens are for.

use crate::ConditionalAccess;

/// A directory (tenant).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id, a dashed GUID in lower case.
    pub id: String,
    /// The domains that name it as well.
    pub domains: Vec<String>,
}

impl Tenant {
    /// A tenant with its domains.
    pub fn new<D: Into<String>>(id: &str, domains: impl IntoIterator<Item = D>) -> Self {
        Self { id: id.to_ascii_lowercase(), domains: domains.into_iter().map(Into::into).collect() }
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.id.eq_ignore_ascii_case(name)
            || self.domains.iter().any(|domain| domain.eq_ignore_ascii_case(name))
    }
}

/// An API that tokens are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The identifiers it is asked for by, without `/.default`, such as `https://graph.microsoft.com`.
    pub identifiers: Vec<String>,
    /// Its application id: the `aud` of a version 2 token.
    pub app_id: String,
    /// 1 or 2: which version of tokens it takes. A version 1 token's `aud` is the identifier as asked for.
    pub token_version: u8,
    /// The application roles it defines.
    pub roles: Vec<String>,
    /// The delegated scopes it defines.
    pub scopes: Vec<String>,
    /// What it demands of users.
    pub conditional_access: Vec<ConditionalAccess>,
}

impl Resource {
    /// A resource that takes version 2 tokens, and defines no roles and the delegated scope `user_impersonation`.
    #[must_use]
    pub fn new(identifier: &str, app_id: &str) -> Self {
        Self {
            identifiers: vec![identifier.to_owned()],
            app_id: app_id.to_owned(),
            token_version: 2,
            roles: Vec::new(),
            scopes: vec!["user_impersonation".to_owned()],
            conditional_access: Vec::new(),
        }
    }

    /// Defines these delegated scopes instead of `user_impersonation`.
    #[must_use]
    pub fn scopes<'a>(mut self, scopes: impl IntoIterator<Item = &'a str>) -> Self {
        self.scopes = scopes.into_iter().map(str::to_owned).collect();
        self
    }

    /// Refuses users (50076) until the request's `claims` ask for all of these: an object as in
    /// `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`, which the refusal carries.
    #[must_use]
    pub fn requires_claims(self, claims: serde_json::Value) -> Self {
        self.conditional_access(ConditionalAccess::multi_factor().claims(claims))
    }

    /// Demands something of users; repeat it for more. The default is nothing.
    #[must_use]
    pub fn conditional_access(mut self, policy: ConditionalAccess) -> Self {
        self.conditional_access.push(policy);
        self
    }

    /// Adds an application role.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        self.roles.push(role.to_owned());
        self
    }

    /// Takes version 1 tokens.
    #[must_use]
    pub fn version_1(mut self) -> Self {
        self.token_version = 1;
        self
    }

    pub(crate) fn is(&self, identifier: &str) -> bool {
        let plain = |text: &str| text.trim_end_matches('/').to_ascii_lowercase();
        self.app_id.eq_ignore_ascii_case(identifier)
            || self.identifiers.iter().any(|own| plain(own) == plain(identifier))
    }
}
