//! Entries as the users of the cache give and get them: they borrow. How they lie in memory is another matter
//! ([`Cached`](super::Cached)).

use std::fmt;

use super::text;

/// An entry of the cache. Exhaustive on purpose: whoever adds a kind must see every place that tells them apart.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// An access token.
    AccessToken(AccessToken<'a>),
    /// A refresh token.
    RefreshToken(RefreshToken<'a>),
    /// An id token.
    IdToken(IdToken<'a>),
    /// An account.
    Account(Account<'a>),
    /// Application metadata.
    AppMetadata(AppMetadata<'a>),
}

/// An access token. Times are Unix seconds.
#[derive(Clone, Copy)]
pub struct AccessToken<'a> {
    /// `{uid}.{utid}` of the account; empty for the application's own tokens.
    pub home_account_id: &'a str,
    /// The host name under which the authority's tokens are kept.
    pub environment: &'a str,
    /// The client that it was issued to.
    pub client_id: &'a str,
    /// The directory; empty where the authority has none.
    pub realm: &'a str,
    /// Its scopes, separated by spaces.
    pub target: &'a str,
    /// The token.
    pub secret: &'a str,
    /// The scheme it is presented with.
    pub token_type: &'a str,
    /// What the account signs in with: for results, never for look-ups.
    pub username: Option<&'a str>,
    /// `x5t#S256` of the certificate that it is bound to.
    pub key_id: Option<&'a str>,
    /// Ties the token to one user assertion or session.
    pub user_assertion_hash: Option<&'a str>,
    /// When it was stored.
    pub cached_at: u64,
    /// When it expires.
    pub expires_on: u64,
    /// Until when it may be used while the authority is down.
    pub extended_expires_on: Option<u64>,
    /// When a renewal is due.
    pub refresh_on: Option<u64>,
    /// What sets it apart from tokens for the same scopes.
    pub components: Components<'a>,
}

/// A refresh token.
#[derive(Clone, Copy)]
pub struct RefreshToken<'a> {
    /// `{uid}.{utid}` of the account.
    pub home_account_id: &'a str,
    /// The host name under which the authority's tokens are kept.
    pub environment: &'a str,
    /// The client that it was issued to.
    pub client_id: &'a str,
    /// The family of clients that may share it.
    pub family_id: Option<&'a str>,
    /// The token.
    pub secret: &'a str,
    /// Ties the token to one user assertion or session.
    pub user_assertion_hash: Option<&'a str>,
    /// What sets it apart.
    pub components: Components<'a>,
}

/// An id token.
#[derive(Clone, Copy)]
pub struct IdToken<'a> {
    /// `{uid}.{utid}` of the account.
    pub home_account_id: &'a str,
    /// The host name under which the authority's tokens are kept.
    pub environment: &'a str,
    /// The client that it was issued to.
    pub client_id: &'a str,
    /// The directory.
    pub realm: &'a str,
    /// The token.
    pub secret: &'a str,
}

/// An account.
#[derive(Clone, Copy)]
pub struct Account<'a> {
    /// `{uid}.{utid}`.
    pub home_account_id: &'a str,
    /// The host name under which the authority's accounts are kept.
    pub environment: &'a str,
    /// The directory.
    pub realm: &'a str,
    /// The object id in that directory, else the subject.
    pub local_account_id: &'a str,
    /// What the person signs in with.
    pub username: &'a str,
    /// The display name.
    pub name: Option<&'a str>,
}

/// What is known about an application at an authority.
#[derive(Clone, Copy, Debug)]
pub struct AppMetadata<'a> {
    /// The host name under which the authority's entries are kept.
    pub environment: &'a str,
    /// The client.
    pub client_id: &'a str,
    /// The family of clients that it belongs to.
    pub family_id: Option<&'a str>,
}

/// Names and values, in the order of the names. Most entries have none.
#[derive(Clone, Copy, Default)]
pub struct Components<'a>(Pairs<'a>);

#[derive(Clone, Copy)]
enum Pairs<'a> {
    Given(&'a [(String, String)]),
    /// Names and values in turn, end to end.
    Packed(&'a str),
}

impl<'a> Components<'a> {
    /// These, which are in the order of the names.
    pub fn new(pairs: &'a [(String, String)]) -> Self {
        Self(Pairs::Given(pairs))
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    /// Names and values.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let (given, mut packed) = match self.0 {
            Pairs::Given(pairs) => (pairs, ""),
            Pairs::Packed(text) => (&[][..], text),
        };
        let packed = std::iter::from_fn(move || Some((text::take(&mut packed)?, text::take(&mut packed)?)));
        given.iter().map(|(name, value)| (&**name, &**value)).chain(packed)
    }

    /// The same, owned.
    pub fn to_vec(self) -> Vec<(String, String)> {
        self.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// From what [`pack`](Self::pack) gave.
    pub(super) fn packed(text: &'a str) -> Self {
        Self(Pairs::Packed(text))
    }

    pub(super) fn pack(self) -> String {
        let mut packed = String::new();
        for (name, value) in self.iter() {
            text::push(&mut packed, name);
            text::push(&mut packed, value);
        }
        packed
    }
}

impl Default for Pairs<'_> {
    fn default() -> Self {
        Self::Given(&[])
    }
}

impl fmt::Debug for AccessToken<'_> {
    /// Leaves out the token and who the user is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("environment", &self.environment)
            .field("client_id", &self.client_id)
            .field("realm", &self.realm)
            .field("target", &self.target)
            .field("token_type", &self.token_type)
            .field("key_id", &self.key_id)
            .field("cached_at", &self.cached_at)
            .field("expires_on", &self.expires_on)
            .field("extended_expires_on", &self.extended_expires_on)
            .field("refresh_on", &self.refresh_on)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RefreshToken<'_> {
    /// Leaves out the token and who the user is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken")
            .field("environment", &self.environment)
            .field("client_id", &self.client_id)
            .field("family_id", &self.family_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for IdToken<'_> {
    /// Leaves out the token and who the user is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdToken")
            .field("environment", &self.environment)
            .field("client_id", &self.client_id)
            .field("realm", &self.realm)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Account<'_> {
    /// Leaves out who the user is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("environment", &self.environment)
            .field("realm", &self.realm)
            .finish_non_exhaustive()
    }
}
