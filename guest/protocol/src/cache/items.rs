//! Entries.

use alloc::{format, string::String};
use core::fmt;

use super::{Components, json::Object};

/// An access token. Times are in seconds since the Unix epoch.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AccessTokenItem {
    /// `{uid}.{utid}` of the account; empty for the application's own tokens.
    pub home_account_id: String,
    /// The host name under which the authority's tokens are kept.
    pub environment: String,
    /// The authority's `client_info`, as it came.
    pub client_info: Option<String>,
    /// The client that it was issued to.
    pub client_id: String,
    /// The directory; empty where the authority has none.
    pub realm: String,
    /// Its scopes, sorted, separated by spaces.
    pub target: String,
    /// The token.
    pub secret: String,
    /// The scheme it is presented with, such as `Bearer`.
    pub token_type: String,
    /// `x5t#S256` of the certificate that it is bound to.
    pub key_id: Option<String>,
    /// Ties the token to one user assertion or session.
    pub user_assertion_hash: Option<String>,
    /// When it was stored.
    pub cached_at: u64,
    /// When it expires.
    pub expires_on: u64,
    /// Until when it may be used while the authority is down.
    pub extended_expires_on: Option<u64>,
    /// When a renewal is due.
    pub refresh_on: Option<u64>,
    /// What sets it apart from tokens for the same scopes.
    pub components: Components,
    /// What the account signs in with. For results: neither in a key nor in the JSON.
    pub username: Option<String>,
}

impl AccessTokenItem {
    /// MSAL's key of the entry within its partition.
    pub fn item_key(&self) -> String {
        let Self { home_account_id, environment, client_id, realm, target, token_type, .. } = self;
        let scheme = if self.has_plain_scheme() { String::new() } else { format!("-{token_type}") };
        let (kind, hash) = match self.components.hash() {
            Some(hash) => ("atext", format!("-{hash}")),
            None if scheme.is_empty() => ("accesstoken", String::new()),
            None => ("accesstoken_with_authscheme", String::new()),
        };
        let mut key =
            format!("{home_account_id}-{environment}-{kind}-{client_id}-{realm}-{target}{scheme}{hash}");
        key.make_ascii_lowercase();
        key
    }

    /// The entry as MSAL writes it.
    pub fn to_json(&self) -> String {
        let credential_type = if self.components.is_empty() { "AccessToken" } else { "ATExt" };
        let is_bearer = self.token_type.eq_ignore_ascii_case("bearer");
        Object::new()
            .text("home_account_id", &self.home_account_id)
            .text("environment", &self.environment)
            .optional("client_info", self.client_info.as_deref())
            .text("client_id", &self.client_id)
            .text("secret", &self.secret)
            .text("credential_type", credential_type)
            .text("realm", &self.realm)
            .text("target", &self.target)
            .optional("user_assertion_hash", self.user_assertion_hash.as_deref())
            .time("cached_at", Some(self.cached_at))
            .time("expires_on", Some(self.expires_on))
            // Twice, because readers of either name exist.
            .time("extended_expires_on", self.extended_expires_on)
            .time("ext_expires_on", self.extended_expires_on)
            .time("refresh_on", self.refresh_on)
            .optional("kid", self.key_id.as_deref())
            .text("token_type", if is_bearer { "" } else { &self.token_type })
            .components("ext", &self.components)
            .finish()
    }

    /// Whether the scheme is one of those that leave no trace in the key.
    fn has_plain_scheme(&self) -> bool {
        ["", "bearer", "ssh-cert"].iter().any(|plain| self.token_type.eq_ignore_ascii_case(plain))
    }
}

/// A refresh token.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RefreshTokenItem {
    /// `{uid}.{utid}` of the account.
    pub home_account_id: String,
    /// The host name under which the authority's tokens are kept.
    pub environment: String,
    /// The authority's `client_info`, as it came.
    pub client_info: Option<String>,
    /// The client that it was issued to.
    pub client_id: String,
    /// The family of clients that may share it.
    pub family_id: Option<String>,
    /// The token.
    pub secret: String,
    /// Ties the token to one user assertion or session.
    pub user_assertion_hash: Option<String>,
    /// What sets it apart.
    pub components: Components,
}

impl RefreshTokenItem {
    /// MSAL's key of the entry within its partition.
    pub fn item_key(&self) -> String {
        let owner = self.family_id.as_deref().filter(|family| !family.is_empty()).unwrap_or(&self.client_id);
        let hash = self.components.hash().map(|hash| format!("-{hash}")).unwrap_or_default();
        let mut key = format!("{}-{}-refreshtoken-{owner}--{hash}", self.home_account_id, self.environment);
        key.make_ascii_lowercase();
        key
    }

    /// The entry as MSAL writes it.
    pub fn to_json(&self) -> String {
        Object::new()
            .text("home_account_id", &self.home_account_id)
            .text("environment", &self.environment)
            .optional("client_info", self.client_info.as_deref())
            .text("client_id", &self.client_id)
            .text("secret", &self.secret)
            .text("credential_type", "RefreshToken")
            .optional("family_id", self.family_id.as_deref())
            .optional("user_assertion_hash", self.user_assertion_hash.as_deref())
            .components("ext", &self.components)
            .finish()
    }
}

/// An id token.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IdTokenItem {
    /// `{uid}.{utid}` of the account.
    pub home_account_id: String,
    /// The host name under which the authority's tokens are kept.
    pub environment: String,
    /// The authority's `client_info`, as it came.
    pub client_info: Option<String>,
    /// The client that it was issued to.
    pub client_id: String,
    /// The directory.
    pub realm: String,
    /// The token.
    pub secret: String,
}

impl IdTokenItem {
    /// MSAL's key of the entry within its partition.
    pub fn item_key(&self) -> String {
        let Self { home_account_id, environment, client_id, realm, .. } = self;
        let mut key = format!("{home_account_id}-{environment}-idtoken-{client_id}-{realm}-");
        key.make_ascii_lowercase();
        key
    }

    /// The entry as MSAL writes it.
    pub fn to_json(&self) -> String {
        Object::new()
            .text("home_account_id", &self.home_account_id)
            .text("environment", &self.environment)
            .optional("client_info", self.client_info.as_deref())
            .text("client_id", &self.client_id)
            .text("secret", &self.secret)
            .text("credential_type", "IdToken")
            .text("realm", &self.realm)
            .finish()
    }
}

/// An account.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AccountItem {
    /// `{uid}.{utid}`.
    pub home_account_id: String,
    /// The host name under which the authority's accounts are kept.
    pub environment: String,
    /// The authority's `client_info`, as it came.
    pub client_info: Option<String>,
    /// The directory.
    pub realm: String,
    /// The object id in that directory, else the subject.
    pub local_account_id: String,
    /// What the person signs in with.
    pub username: String,
    /// The display name.
    pub name: Option<String>,
    /// The given name.
    pub given_name: Option<String>,
    /// The family name.
    pub family_name: Option<String>,
}

impl AccountItem {
    /// MSAL's key of the entry within its partition. Unlike the other keys it keeps its case.
    pub fn item_key(&self) -> String {
        format!("{}-{}-{}", self.home_account_id, self.environment, self.realm)
    }

    /// The entry as MSAL writes it.
    pub fn to_json(&self) -> String {
        Object::new()
            .text("home_account_id", &self.home_account_id)
            .text("environment", &self.environment)
            .optional("client_info", self.client_info.as_deref())
            .text("local_account_id", &self.local_account_id)
            .text("username", &self.username)
            .optional("name", self.name.as_deref())
            .optional("given_name", self.given_name.as_deref())
            .optional("family_name", self.family_name.as_deref())
            .text("authority_type", "MSSTS")
            .text("realm", &self.realm)
            .finish()
    }
}

/// What is known about an application at an authority.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppMetadataItem {
    /// The host name under which the authority's entries are kept.
    pub environment: String,
    /// The client.
    pub client_id: String,
    /// The family of clients that it belongs to.
    pub family_id: Option<String>,
}

impl AppMetadataItem {
    /// MSAL's key of the entry within its partition.
    pub fn item_key(&self) -> String {
        let mut key = format!("appmetadata-{}-{}", self.environment, self.client_id);
        key.make_ascii_lowercase();
        key
    }

    /// The entry as MSAL writes it.
    pub fn to_json(&self) -> String {
        Object::new()
            .text("environment", &self.environment)
            .text("client_id", &self.client_id)
            .optional("family_id", self.family_id.as_deref())
            .finish()
    }
}

/// Shows an entry by its key: what it holds is secret or personal.
macro_rules! debug_by_key {
    ($($item:ident),*) => {$(
        impl fmt::Debug for $item {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($item)).field(&self.item_key()).finish()
            }
        }
    )*};
}

debug_by_key!(AccessTokenItem, RefreshTokenItem, IdTokenItem, AccountItem);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn access_token() -> AccessTokenItem {
        AccessTokenItem {
            home_account_id: "Uid.Utid".into(),
            environment: "login.windows.net".into(),
            client_id: "Client".into(),
            realm: "Contoso.com".into(),
            target: "r/B r/c".into(),
            secret: "the secret".into(),
            token_type: "Bearer".into(),
            cached_at: 1_700_000_000,
            expires_on: 1_700_003_600,
            ..AccessTokenItem::default()
        }
    }

    fn value(json: &str) -> Value {
        serde_json::from_str(json).expect(json)
    }

    #[test]
    fn the_key_of_an_access_token_tells_scheme_and_components() {
        let plain = access_token();
        assert_eq!(plain.item_key(), "uid.utid-login.windows.net-accesstoken-client-contoso.com-r/b r/c");
        let ssh = AccessTokenItem { token_type: "ssh-cert".into(), ..plain.clone() };
        assert_eq!(ssh.item_key(), plain.item_key());
        let pop =
            AccessTokenItem { token_type: "mtls_pop".into(), key_id: Some("kid".into()), ..plain.clone() };
        assert_eq!(
            pop.item_key(),
            "uid.utid-login.windows.net-accesstoken_with_authscheme-client-contoso.com-r/b r/c-mtls_pop"
        );
        let components: Components = [("key3", "value3"), ("key4", "value4")].into_iter().collect();
        let extended = AccessTokenItem { components: components.clone(), ..plain };
        assert_eq!(
            extended.item_key(),
            "uid.utid-login.windows.net-atext-client-contoso.com-r/b r/c-3-rg6_wyjx5bcy0c3cqq7gajtzgsqy3oxqpwj4y8k4u"
        );
        let both = AccessTokenItem { components, ..pop };
        assert!(
            both.item_key().contains("-atext-client-contoso.com-r/b r/c-mtls_pop-3-rg6"),
            "{}",
            both.item_key()
        );
    }

    #[test]
    fn the_key_of_an_application_token_begins_with_the_separator() {
        let item = AccessTokenItem { home_account_id: String::new(), ..access_token() };
        assert!(item.item_key().starts_with("-login.windows.net-accesstoken-"));
    }

    #[test]
    fn the_other_keys_are_msals() {
        let refresh = RefreshTokenItem {
            home_account_id: "uid.utid".into(),
            environment: "env".into(),
            client_id: "Client".into(),
            ..RefreshTokenItem::default()
        };
        assert_eq!(refresh.item_key(), "uid.utid-env-refreshtoken-client--");
        let family = RefreshTokenItem { family_id: Some("1".into()), ..refresh.clone() };
        assert_eq!(family.item_key(), "uid.utid-env-refreshtoken-1--");
        let partitioned = RefreshTokenItem {
            components: [("key3", "value3"), ("key4", "value4")].into_iter().collect(),
            ..refresh
        };
        assert_eq!(
            partitioned.item_key(),
            "uid.utid-env-refreshtoken-client---3-rg6_wyjx5bcy0c3cqq7gajtzgsqy3oxqpwj4y8k4u"
        );
        let id_token = IdTokenItem {
            home_account_id: "Uid.Utid".into(),
            environment: "env".into(),
            client_id: "Client".into(),
            realm: "Realm".into(),
            ..IdTokenItem::default()
        };
        assert_eq!(id_token.item_key(), "uid.utid-env-idtoken-client-realm-");
        let account = AccountItem {
            home_account_id: "Uid.Utid".into(),
            environment: "env".into(),
            realm: "Realm".into(),
            ..AccountItem::default()
        };
        assert_eq!(account.item_key(), "Uid.Utid-env-Realm");
        let metadata =
            AppMetadataItem { environment: "env".into(), client_id: "Client".into(), family_id: None };
        assert_eq!(metadata.item_key(), "appmetadata-env-client");
    }

    #[test]
    fn the_json_of_an_access_token_has_strings_only_and_nothing_empty() {
        assert_eq!(
            value(&access_token().to_json()),
            json!({
                "home_account_id": "Uid.Utid",
                "environment": "login.windows.net",
                "client_id": "Client",
                "secret": "the secret",
                "credential_type": "AccessToken",
                "realm": "Contoso.com",
                "target": "r/B r/c",
                "cached_at": "1700000000",
                "expires_on": "1700003600",
            })
        );
    }

    #[test]
    fn the_json_of_a_bound_token_with_components_has_them() {
        let item = AccessTokenItem {
            token_type: "mtls_pop".into(),
            key_id: Some("kid".into()),
            user_assertion_hash: Some("hash".into()),
            extended_expires_on: Some(3),
            refresh_on: Some(4),
            components: [("fmi_path", "a\"b")].into_iter().collect(),
            ..access_token()
        };
        let json = value(&item.to_json());
        for (name, expected) in [
            ("credential_type", json!("ATExt")),
            ("token_type", json!("mtls_pop")),
            ("kid", json!("kid")),
            ("user_assertion_hash", json!("hash")),
            ("extended_expires_on", json!("3")),
            ("ext_expires_on", json!("3")),
            ("refresh_on", json!("4")),
            ("ext", json!({ "fmi_path": "a\"b" })),
        ] {
            assert_eq!(json[name], expected, "{name}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", access_token());
        assert!(shown.contains("accesstoken") && !shown.contains("the secret"), "{shown}");
    }
}
