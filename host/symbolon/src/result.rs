//! What an acquisition gives.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use symbolon_resources::cache::Held;
use symbolon_resources::credentials::Binding;
use uuid::Uuid;
use zeroize::Zeroizing;

/// An access token and what is known about it. Cheap to clone.
#[derive(Clone)]
pub struct AuthenticationResult {
    pub(crate) token: TokenEntry,
    pub(crate) correlation_id: Uuid,
    pub(crate) binding: Option<Arc<Binding>>,
    pub(crate) beside: Option<Arc<Beside>>,
    pub(crate) metadata: AuthenticationResultMetadata,
}

/// What few answers bring beside the token.
#[derive(Default)]
pub(crate) struct Beside {
    id_token: Option<Zeroizing<String>>,
    spa_code: Option<Zeroizing<String>>,
    session_key: Option<String>,
}

impl Beside {
    pub(crate) fn new(
        id_token: Option<String>,
        spa_code: Option<String>,
        session_key: Option<String>,
    ) -> Option<Arc<Self>> {
        if id_token.is_none() && spa_code.is_none() && session_key.is_none() {
            return None;
        }
        let (id_token, spa_code) = (id_token.map(Zeroizing::new), spa_code.map(Zeroizing::new));
        Some(Arc::new(Self { id_token, spa_code, session_key }))
    }

    pub(crate) fn of_session(key: Option<&str>) -> Option<Arc<Self>> {
        Self::new(None, None, key.map(ToOwned::to_owned))
    }
}

/// A user.
#[doc(alias = "IAccount")]
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Account {
    /// `{uid}.{utid}`, the object id and the directory of the user's home: the same wherever the user is a guest.
    pub home_account_id: String,
    /// The host name under which the authority keeps the account.
    pub environment: String,
    /// What the person signs in with.
    pub username: String,
}

impl fmt::Debug for Account {
    /// Leaves out what the person signs in with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("home_account_id", &self.home_account_id)
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}

impl From<crate::engine::Account> for Account {
    fn from(account: crate::engine::Account) -> Self {
        let crate::engine::Account { home_account_id, environment, username } = account;
        Self { home_account_id, environment, username }
    }
}

/// Where the token's bytes are.
#[derive(Clone)]
pub(crate) enum TokenEntry {
    /// In the cache's entry.
    Cached(Held),
    /// Here, because the cache doesn't have them, or no longer.
    Own(Arc<OwnToken>),
}

/// A token that isn't in the cache.
pub(crate) struct OwnToken {
    pub(crate) secret: Zeroizing<String>,
    pub(crate) token_type: String,
    pub(crate) expires_on: u64,
    pub(crate) target: String,
    pub(crate) realm: String,
    pub(crate) account: Option<Account>,
}

/// What both kinds of entry know.
impl TokenEntry {
    fn secret(&self) -> &str {
        match self {
            Self::Cached(entry) => entry.secret(),
            Self::Own(token) => &token.secret,
        }
    }

    fn token_type(&self) -> &str {
        match self {
            Self::Cached(entry) => entry.token_type(),
            Self::Own(token) => &token.token_type,
        }
    }

    fn expires_on(&self) -> u64 {
        match self {
            Self::Cached(entry) => entry.expires_on().unwrap_or_default(),
            Self::Own(token) => token.expires_on,
        }
    }

    fn target(&self) -> &str {
        match self {
            Self::Cached(entry) => entry.access_token().map_or("", |token| token.target),
            Self::Own(token) => &token.target,
        }
    }

    fn realm(&self) -> &str {
        match self {
            Self::Cached(entry) => entry.access_token().map_or("", |token| token.realm),
            Self::Own(token) => &token.realm,
        }
    }
}

impl AuthenticationResult {
    /// The token.
    #[doc(alias = "AccessToken")]
    pub fn access_token(&self) -> &str {
        self.token.secret()
    }

    /// The scheme of the `Authorization` header: `Bearer` or `mtls_pop`.
    pub fn token_type(&self) -> &str {
        self.token.token_type()
    }

    /// The value of the `Authorization` header, marked sensitive. Nothing for a token that no header can hold.
    #[doc(alias = "CreateAuthorizationHeader")]
    pub fn authorization_header(&self) -> Option<HeaderValue> {
        let mut value =
            HeaderValue::try_from(format!("{} {}", self.token_type(), self.access_token())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// When the token expires.
    pub fn expires_on(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.expires_on_unix())
    }

    /// When the token expires, in seconds since 1970-01-01T00:00:00Z.
    pub fn expires_on_unix(&self) -> u64 {
        self.token.expires_on()
    }

    /// What the token is for, as the authority said, else as asked.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.token.target().split(' ').filter(|scope| !scope.is_empty())
    }

    /// The directory that issued the token; nothing where the authority has none.
    pub fn tenant_id(&self) -> Option<&str> {
        Some(self.token.realm()).filter(|realm| !realm.is_empty())
    }

    /// The user; nothing for the application's own tokens, and where the authority didn't say who it is.
    pub fn account(&self) -> Option<Account> {
        match &self.token {
            TokenEntry::Own(token) => token.account.clone(),
            TokenEntry::Cached(entry) => {
                let token = entry.access_token().filter(|token| !token.home_account_id.is_empty())?;
                Some(Account {
                    home_account_id: token.home_account_id.to_owned(),
                    environment: token.environment.to_owned(),
                    username: token.username.unwrap_or_default().to_owned(),
                })
            }
        }
    }

    /// What the authority says about the user, as it said it (OpenID Connect Core §2). Nothing where the token comes from
    /// the cache.
    pub fn id_token(&self) -> Option<&str> {
        self.beside.as_ref()?.id_token.as_ref().map(|token| token.as_str())
    }

    /// The code for the single-page application, where one was asked for.
    #[doc(alias = "SpaAuthCode")]
    pub fn spa_authorization_code(&self) -> Option<&str> {
        self.beside.as_ref()?.spa_code.as_ref().map(|code| code.as_str())
    }

    /// The key of the long-running process, whether the caller chose it or not.
    #[doc(alias = "LongRunningWebApiSessionKey")]
    pub fn long_running_session_key(&self) -> Option<&str> {
        self.beside.as_ref()?.session_key.as_deref()
    }

    /// The id that correlates this call with the authority's logs.
    pub fn correlation_id(&self) -> Uuid {
        self.correlation_id
    }

    /// The certificate that the token is bound to. It must be presented on connections to the API.
    #[doc(alias = "BindingCertificate")]
    pub fn binding_certificate(&self) -> Option<&Arc<Binding>> {
        self.binding.as_ref()
    }

    /// How the token came about.
    pub fn metadata(&self) -> &AuthenticationResultMetadata {
        &self.metadata
    }
}

impl fmt::Debug for AuthenticationResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticationResult")
            .field("token_type", &self.token_type())
            .field("expires_on_unix", &self.expires_on_unix())
            .field("scopes", &self.token.target())
            .field("correlation_id", &self.correlation_id)
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

/// How a token came about.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AuthenticationResultMetadata {
    /// Where it came from.
    pub token_source: TokenSource,
    /// The endpoint that issued it; nothing from the cache.
    pub token_endpoint: Option<Arc<str>>,
    /// Why the cache didn't serve.
    pub cache_refresh_reason: CacheRefreshReason,
    /// The region whose endpoint was used.
    pub region_used: Option<Arc<str>>,
    /// How long the call took, from its start to its result.
    pub duration_total: Duration,
    /// How much of that was spent on requests to the authority.
    pub duration_in_http: Duration,
}

/// Where a token came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenSource {
    /// The authority issued it for this call.
    IdentityProvider,
    /// It was in the cache, or another call brought it meanwhile.
    #[default]
    Cache,
}

impl TokenSource {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IdentityProvider => "identityProvider",
            Self::Cache => "cache",
        }
    }
}

/// Why the cache didn't serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheRefreshReason {
    /// It did.
    #[default]
    NotApplicable,
    /// The caller forced it, or sent claims.
    ForceRefreshOrClaims,
    /// It held no such token.
    NoCachedAccessToken,
    /// The token it held had expired.
    Expired,
    /// The token it held was due for renewal.
    ProactivelyRefreshed,
}

impl CacheRefreshReason {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotApplicable => "notApplicable",
            Self::ForceRefreshOrClaims => "forceRefreshOrClaims",
            Self::NoCachedAccessToken => "noCachedAccessToken",
            Self::Expired => "expired",
            Self::ProactivelyRefreshed => "proactivelyRefreshed",
        }
    }
}
