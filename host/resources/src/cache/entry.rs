//! What the cache holds: entries as its users see them, and as they lie in memory.
//!
//! A user gives and gets [`Entry`], which borrows. [`Cached`] keeps it packed, because a process may hold a million: all
//! text of an entry that is its own in one allocation, wiped when it is freed; what all tokens of a client have in common
//! once per application ([`Interner`]).

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::key::{Digest, Keys, Membership};
use super::locks::lock;

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
    /// What sets it apart from tokens for the same scopes: names and values, in the order of the names.
    pub components: &'a [(String, String)],
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
    /// What sets it apart: names and values, in the order of the names.
    pub components: &'a [(String, String)],
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

/// An entry in the cache.
///
/// Whoever found it may keep it; [`is_alive`](Self::is_alive) says whether the cache still has it.
// The fields that a hit touches come first, side by side in memory.
#[repr(C)]
pub struct Cached {
    refresh_not_before: AtomicU64,
    last_used: AtomicU32,
    alive: AtomicBool,
    bytes: u32,
    begun: u64,
    keys: Keys,
    packed: Packed,
}

impl Cached {
    /// How long a claimed background refresh keeps others from claiming one, in milliseconds: twice the time that a whole
    /// acquisition may take, so that it only runs out when whoever claimed it is gone.
    pub const REFRESH_LEASE_MS: u64 = 60_000;

    /// Packs an entry. `begun` is the flight that brought it; 0 for none.
    pub(super) fn new(entry: Entry<'_>, keys: Keys, begun: u64, now_unix: u64, interner: &Interner) -> Self {
        let (packed, text_bytes) = Packed::new(entry, interner);
        let bytes = size_of::<Self>() + ARC_COUNTS + text_bytes + keys.bytes();
        Self {
            refresh_not_before: AtomicU64::new(0),
            last_used: AtomicU32::new(low_bits(now_unix)),
            alive: AtomicBool::new(true),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            begun,
            keys,
            packed,
        }
    }

    /// The entry.
    pub fn entry(&self) -> Entry<'_> {
        self.packed.entry()
    }

    /// The entry, if it is an access token.
    pub fn access_token(&self) -> Option<AccessToken<'_>> {
        match self.entry() {
            Entry::AccessToken(token) => Some(token),
            _ => None,
        }
    }

    /// Whether the cache still has it. Once removed, replaced or evicted, it never comes back.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// What it takes in memory, in bytes, with its share of the cache's index.
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Claims the refresh of this entry in the background. Of all who ask, one gets it; after
    /// [`REFRESH_LEASE_MS`](Self::REFRESH_LEASE_MS), the next. A refresh that succeeds replaces the entry, and there is
    /// nothing left to claim.
    pub fn claim_refresh(&self, now_unix_ms: u64) -> bool {
        let not_before = self.refresh_not_before.load(Ordering::Acquire);
        now_unix_ms >= not_before
            && self
                .refresh_not_before
                .compare_exchange(
                    not_before,
                    now_unix_ms.saturating_add(Self::REFRESH_LEASE_MS),
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// Whether [`claim_refresh`](Self::claim_refresh) could succeed.
    pub(super) fn refresh_is_claimable(&self, now_unix_ms: u64) -> bool {
        now_unix_ms >= self.refresh_not_before.load(Ordering::Relaxed)
    }

    pub(super) fn keys(&self) -> &[Digest] {
        self.keys.as_slice()
    }

    /// None for an entry without groups.
    pub(super) fn membership(&self) -> Option<&Membership> {
        self.keys.membership()
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    pub(super) fn touch(&self, now_unix: u64) {
        // Read first: most of the time it is right already, and a write would take the cache line from other cores.
        let now = low_bits(now_unix);
        if self.last_used.load(Ordering::Relaxed) != now {
            self.last_used.store(now, Ordering::Relaxed);
        }
    }

    /// In which order entries are evicted, least first: expired ones, then the least recently used, refresh tokens and
    /// accounts last.
    pub(super) fn worth(&self, now_unix: u64) -> (Value, u32) {
        (self.value(now_unix), self.last_used.load(Ordering::Relaxed))
    }

    pub(super) fn value(&self, now_unix: u64) -> Value {
        match &self.packed {
            Packed::AccessToken { times, .. } if times.usable_until() <= now_unix => Value::Expired,
            _ if self.is_lasting() => Value::Lasting,
            _ => Value::Usable,
        }
    }

    pub(super) fn is_lasting(&self) -> bool {
        matches!(self.packed, Packed::RefreshToken { .. } | Packed::Account { .. })
    }

    pub(super) fn kill(&self) {
        self.alive.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("entry", &self.entry())
            .field("alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}

/// What an entry is good for, least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    /// Nothing any more.
    Expired,
    /// It saves a request.
    Usable,
    /// It saves a person a sign-in.
    Lasting,
}

/// What the tokens of one client at one authority have in common. Empty where an entry has no such field.
struct Names {
    environment: Box<str>,
    client_id: Box<str>,
    token_type: Box<str>,
}

impl Names {
    fn are(&self, environment: &str, client_id: &str, token_type: &str) -> bool {
        &*self.environment == environment && &*self.client_id == client_id && &*self.token_type == token_type
    }

    fn len(&self) -> usize {
        self.environment.len() + self.client_id.len() + self.token_type.len()
    }
}

/// Keeps [`Names`] once for all entries of an application.
#[derive(Default)]
pub(super) struct Interner(Mutex<Vec<Arc<Names>>>);

impl Interner {
    /// So few that looking through them is quick; an application has one or two.
    const MAX_NAMES: usize = 16;
    /// Longer ones are charged to their entries, or else they would be outside of every bound.
    const MAX_LEN: usize = 512;

    /// The names, and how many bytes the entry is charged for them: none if they are kept for all.
    fn intern(&self, environment: &str, client_id: &str, token_type: &str) -> (Arc<Names>, usize) {
        let mut known = lock(&self.0);
        if let Some(names) = known.iter().find(|names| names.are(environment, client_id, token_type)) {
            return (Arc::clone(names), 0);
        }
        let names = Arc::new(Names {
            environment: environment.into(),
            client_id: client_id.into(),
            token_type: token_type.into(),
        });
        if known.len() == Self::MAX_NAMES {
            known.retain(|names| Arc::strong_count(names) > 1);
        }
        if known.len() == Self::MAX_NAMES || names.len() > Self::MAX_LEN {
            let charged = names.len() + size_of::<Names>() + ARC_COUNTS;
            return (names, charged);
        }
        known.push(Arc::clone(&names));
        (names, 0)
    }
}

/// The strings of an entry, end to end in one allocation that is wiped when it is freed. `N` is one less than there are.
struct Text<const N: usize> {
    text: Zeroizing<Box<str>>,
    /// Where each but the first begins, with the bit [`ABSENT`] on those that are absent, not empty.
    starts: [u32; N],
}

/// Kept with a start, so that no entry has a field of its own for it.
const ABSENT: u32 = 1 << 31;

impl<const N: usize> Text<N> {
    fn new(first: &str, others: [Option<&str>; N]) -> Self {
        // The exact capacity: a buffer that grows would leave copies behind.
        let length = others.iter().flatten().map(|string| string.len()).sum::<usize>() + first.len();
        let mut text = String::with_capacity(length);
        text.push_str(first);
        let starts = others.map(|string| {
            let start = u32::try_from(text.len()).map_or(!ABSENT, |start| start.min(!ABSENT));
            text.push_str(string.unwrap_or_default());
            if string.is_some() { start } else { start | ABSENT }
        });
        Self { text: Zeroizing::new(text.into_boxed_str()), starts }
    }

    fn get(&self, i: usize) -> &str {
        let position = |start: &u32| (start & !ABSENT) as usize;
        let start = i.checked_sub(1).and_then(|i| self.starts.get(i)).map_or(0, position);
        let end = self.starts.get(i).map_or(self.text.len(), position);
        self.text.get(start..end).unwrap_or_default()
    }

    fn option(&self, i: usize) -> Option<&str> {
        let start = i.checked_sub(1).and_then(|i| self.starts.get(i));
        start.is_none_or(|start| start & ABSENT == 0).then(|| self.get(i))
    }
}

/// The times of an access token. `u64::MAX`, which no clock shows, stands for "absent".
struct Times {
    cached_at: u64,
    expires_on: u64,
    extended_expires_on: u64,
    refresh_on: u64,
}

impl Times {
    const ABSENT: u64 = u64::MAX;

    fn option(time: u64) -> Option<u64> {
        (time != Self::ABSENT).then_some(time)
    }

    fn usable_until(&self) -> u64 {
        Self::option(self.extended_expires_on)
            .map_or(self.expires_on, |extended| extended.max(self.expires_on))
    }
}

/// Few entries have any, so the others have only a pointer.
struct Components(Option<Box<Pairs>>);
struct Pairs(Box<[(String, String)]>);

impl Components {
    fn new(pairs: &[(String, String)]) -> Self {
        Self((!pairs.is_empty()).then(|| Box::new(Pairs(pairs.into()))))
    }

    fn as_slice(&self) -> &[(String, String)] {
        self.0.as_deref().map_or(&[], |pairs| &pairs.0)
    }

    fn bytes(&self) -> usize {
        let text: usize = self.as_slice().iter().map(|(name, value)| name.len() + value.len()).sum();
        self.0.as_deref().map_or(0, size_of_val) + size_of_val(self.as_slice()) + text
    }
}

/// An entry in its form in memory. The order of the strings in each `text` is that of `new` and `entry` below.
enum Packed {
    AccessToken { names: Arc<Names>, text: Text<6>, times: Times, components: Components },
    RefreshToken { names: Arc<Names>, text: Text<3>, components: Components },
    IdToken { names: Arc<Names>, text: Text<2> },
    Account { names: Arc<Names>, text: Text<4> },
    AppMetadata { names: Arc<Names>, text: Text<1> },
}

impl Packed {
    /// Also says how many bytes it takes outside of itself.
    fn new(entry: Entry<'_>, interner: &Interner) -> (Self, usize) {
        match entry {
            Entry::AccessToken(t) => {
                let (names, charged) = interner.intern(t.environment, t.client_id, t.token_type);
                let text = Text::new(
                    t.home_account_id,
                    [
                        Some(t.realm),
                        Some(t.target),
                        Some(t.secret),
                        t.username,
                        t.key_id,
                        t.user_assertion_hash,
                    ],
                );
                let times = Times {
                    cached_at: t.cached_at,
                    expires_on: t.expires_on,
                    extended_expires_on: t.extended_expires_on.unwrap_or(Times::ABSENT),
                    refresh_on: t.refresh_on.unwrap_or(Times::ABSENT),
                };
                let components = Components::new(t.components);
                let bytes = charged + text.text.len() + components.bytes();
                (Self::AccessToken { names, text, times, components }, bytes)
            }
            Entry::RefreshToken(t) => {
                let (names, charged) = interner.intern(t.environment, t.client_id, "");
                let text = Text::new(t.home_account_id, [t.family_id, Some(t.secret), t.user_assertion_hash]);
                let components = Components::new(t.components);
                let bytes = charged + text.text.len() + components.bytes();
                (Self::RefreshToken { names, text, components }, bytes)
            }
            Entry::IdToken(t) => {
                let (names, charged) = interner.intern(t.environment, t.client_id, "");
                let text = Text::new(t.home_account_id, [Some(t.realm), Some(t.secret)]);
                let bytes = charged + text.text.len();
                (Self::IdToken { names, text }, bytes)
            }
            Entry::Account(a) => {
                let (names, charged) = interner.intern(a.environment, "", "");
                let text = Text::new(
                    a.home_account_id,
                    [Some(a.realm), Some(a.local_account_id), Some(a.username), a.name],
                );
                let bytes = charged + text.text.len();
                (Self::Account { names, text }, bytes)
            }
            Entry::AppMetadata(m) => {
                let (names, charged) = interner.intern(m.environment, m.client_id, "");
                let text = Text::new("", [m.family_id]);
                let bytes = charged + text.text.len();
                (Self::AppMetadata { names, text }, bytes)
            }
        }
    }

    fn entry(&self) -> Entry<'_> {
        match self {
            Self::AccessToken { names, text, times, components } => Entry::AccessToken(AccessToken {
                home_account_id: text.get(0),
                environment: &names.environment,
                client_id: &names.client_id,
                realm: text.get(1),
                target: text.get(2),
                secret: text.get(3),
                token_type: &names.token_type,
                username: text.option(4),
                key_id: text.option(5),
                user_assertion_hash: text.option(6),
                cached_at: times.cached_at,
                expires_on: times.expires_on,
                extended_expires_on: Times::option(times.extended_expires_on),
                refresh_on: Times::option(times.refresh_on),
                components: components.as_slice(),
            }),
            Self::RefreshToken { names, text, components } => Entry::RefreshToken(RefreshToken {
                home_account_id: text.get(0),
                environment: &names.environment,
                client_id: &names.client_id,
                family_id: text.option(1),
                secret: text.get(2),
                user_assertion_hash: text.option(3),
                components: components.as_slice(),
            }),
            Self::IdToken { names, text } => Entry::IdToken(IdToken {
                home_account_id: text.get(0),
                environment: &names.environment,
                client_id: &names.client_id,
                realm: text.get(1),
                secret: text.get(2),
            }),
            Self::Account { names, text } => Entry::Account(Account {
                home_account_id: text.get(0),
                environment: &names.environment,
                realm: text.get(1),
                local_account_id: text.get(2),
                username: text.get(3),
                name: text.option(4),
            }),
            Self::AppMetadata { names, text } => Entry::AppMetadata(AppMetadata {
                environment: &names.environment,
                client_id: &names.client_id,
                family_id: text.option(1),
            }),
        }
    }
}

/// Enough to tell which of two times is later, until 2106.
fn low_bits(unix: u64) -> u32 {
    unix as u32
}

/// The two counts in front of what an `Arc` points to.
const ARC_COUNTS: usize = 2 * size_of::<usize>();
