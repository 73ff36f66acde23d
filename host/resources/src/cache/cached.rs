//! Entries as they lie in memory. A process may hold a million, so an entry is two small allocations: what changes and
//! what is looked at often, and its text. What it has in common with others is kept once ([`Common`]).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::common::Common;
use super::entry::{AccessToken, Account, AppMetadata, Components, Entry, IdToken, RefreshToken};
use super::key::{Digest, INDEX_BYTES, MEMBER_BYTES, Position};
use super::locks::lock;
use super::text::{self, Field, FieldSet, Fields, Text};
use crate::sync::Mutex;

/// An entry in the cache.
///
/// Whoever found it may keep it; [`is_alive`](Self::is_alive) says whether the cache still has it.
// 56 bytes, which with the counts of an `Arc` is just what an allocator gives. What a hit touches comes first.
#[repr(C)]
pub struct Cached {
    last_used: AtomicU32,
    refresh_not_before: AtomicU32,
    alive: AtomicBool,
    kind: Kind,
    /// Of its first key.
    position: Position,
    /// [`ABSENT`] for what isn't an access token.
    expires_on: u64,
    begun: u64,
    common: Option<Arc<Common>>,
    text: Text,
}

impl Cached {
    /// How long a claimed background refresh keeps others from claiming one, in milliseconds, rounded up to the next second
    /// of the clock: twice the time that a whole acquisition may take, so that it only runs out when whoever claimed it is
    /// gone.
    pub const REFRESH_LEASE_MS: u64 = 60_000;

    /// Packs an entry. `begun` is the flight that brought it; 0 for none.
    pub(super) fn new(draft: &Draft<'_>, common: Option<Arc<Common>>, begun: u64, now_unix: u64) -> Self {
        let in_common = common.as_deref().map(Common::fields).unwrap_or_default();
        Self {
            last_used: AtomicU32::new(low_bits(now_unix)),
            refresh_not_before: AtomicU32::new(0),
            alive: AtomicBool::new(true),
            kind: draft.kind,
            position: draft.position,
            expires_on: draft.expires_on,
            begun,
            text: Text::new(&draft.fields, FieldSet::ALL.without(in_common)),
            common,
        }
    }

    fn blank() -> Self {
        Self {
            last_used: AtomicU32::new(0),
            refresh_not_before: AtomicU32::new(0),
            alive: AtomicBool::new(false),
            kind: Kind::AppMetadata,
            position: Position(0),
            expires_on: ABSENT,
            begun: 0,
            text: Text::default(),
            common: None,
        }
    }

    /// The entry.
    pub fn entry(&self) -> Entry<'_> {
        let mut fields = Fields::default();
        if let Some(common) = &self.common {
            common.read(&mut fields);
        }
        fields.read(&self.text);
        self.kind.entry(&fields, self.expires_on)
    }

    /// The entry, if it is an access token.
    pub fn access_token(&self) -> Option<AccessToken<'_>> {
        match self.entry() {
            Entry::AccessToken(token) => Some(token),
            _ => None,
        }
    }

    /// The token: an access token, refresh token or id token. Empty for an entry that is none.
    ///
    /// For what is asked at each call: of [`entry`](Self::entry) all is read.
    pub fn secret(&self) -> &str {
        self.get(Field::Secret).unwrap_or_default()
    }

    /// The type of an access token, such as `Bearer`; empty for anything else.
    pub fn token_type(&self) -> &str {
        self.get(Field::TokenType).unwrap_or_default()
    }

    /// Whether the cache still has it. Once removed, replaced or evicted, it never comes back.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// What it takes in memory, in bytes, with its share of the cache's index and of what it has in common with others.
    pub fn bytes(&self) -> usize {
        allocated(size_of::<Self>() + ARC_COUNTS)
            + allocated(self.text.len())
            + self.positions().count() * INDEX_BYTES
            + self.groups().count() * MEMBER_BYTES
            + self.common.as_deref().map_or(0, Common::charged)
    }

    /// Claims the refresh of this entry in the background. Of all who ask, one gets it; after
    /// [`REFRESH_LEASE_MS`](Self::REFRESH_LEASE_MS), the next. A refresh that succeeds replaces the entry, and there is
    /// nothing left to claim.
    pub fn claim_refresh(&self, now_unix_ms: u64) -> bool {
        let not_before = self.refresh_not_before.load(Ordering::Acquire);
        let lease_ends = now_unix_ms.saturating_add(Self::REFRESH_LEASE_MS).div_ceil(1000);
        now_unix_ms / 1000 >= u64::from(not_before)
            && self
                .refresh_not_before
                .compare_exchange(not_before, low_bits(lease_ends), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether [`claim_refresh`](Self::claim_refresh) could succeed.
    pub(super) fn refresh_is_claimable(&self, now_unix_ms: u64) -> bool {
        now_unix_ms / 1000 >= u64::from(self.refresh_not_before.load(Ordering::Relaxed))
    }

    /// When it expires, if it is an access token. Unix seconds.
    pub fn expires_on(&self) -> Option<u64> {
        (self.kind == Kind::AccessToken).then_some(self.expires_on)
    }

    /// Where its keys are in the index.
    pub(super) fn positions(&self) -> impl Iterator<Item = Position> {
        let others = text::positions_in(self.text.get(Field::OtherKeys).unwrap_or_default());
        std::iter::once(self.position).chain(others)
    }

    /// The groups that it belongs to, each once.
    pub(super) fn groups(&self) -> impl Iterator<Item = Digest> {
        let digests = |field| text::digests_in(self.get(field).unwrap_or_default());
        digests(Field::Group).chain(digests(Field::OtherGroups))
    }

    /// Of an entry with groups: higher than that of older ones.
    pub(super) fn number(&self) -> u64 {
        self.text.get(Field::Number).map_or(0, text::number)
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
        // Most haven't expired, so the text needn't be looked at.
        let is_usable = |time: u64| time > now_unix;
        let extended = || self.get(Field::ExtendedExpiresOn).map(text::number);
        match self.kind {
            Kind::RefreshToken | Kind::Account => Value::Lasting,
            _ if is_usable(self.expires_on) || extended().is_some_and(is_usable) => Value::Usable,
            _ => Value::Expired,
        }
    }

    pub(super) fn is_lasting(&self) -> bool {
        matches!(self.kind, Kind::RefreshToken | Kind::Account)
    }

    pub(super) fn kill(&self) {
        self.alive.store(false, Ordering::Release);
    }

    fn get(&self, field: Field) -> Option<&str> {
        self.text.get(field).or_else(|| self.common.as_deref()?.get(field))
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

/// An entry that is about to be packed, and its keys.
pub(super) struct Draft<'a> {
    pub(super) kind: Kind,
    pub(super) fields: Fields<Cow<'a, str>>,
    pub(super) keys: Vec<Digest>,
    /// Further keys whose entries it replaces.
    pub(super) replaces: Vec<Digest>,
    position: Position,
    expires_on: u64,
}

impl<'a> Draft<'a> {
    /// `keys` and `groups` are there once each, and `number` is higher than that of older entries. None without keys.
    pub(super) fn new(
        entry: Entry<'a>,
        keys: Vec<Digest>,
        replaces: Vec<Digest>,
        groups: &[Digest],
        number: u64,
    ) -> Option<Self> {
        let (first, others) = keys.split_first()?;
        let (kind, mut fields, expires_on) = taken_apart(entry);
        fields.set_text(Field::OtherKeys, text::positions(others.iter().map(Digest::position)));
        if let Some((group, others)) = groups.split_first() {
            fields.set_text(Field::Group, text::digests(&[*group]));
            fields.set_text(Field::OtherGroups, text::digests(others));
            fields.set_number(Field::Number, Some(number));
        }
        Some(Self { kind, fields, position: first.position(), keys, replaces, expires_on })
    }
}

/// What kind of entry it is.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    AccessToken,
    RefreshToken,
    IdToken,
    Account,
    AppMetadata,
}

fn taken_apart(entry: Entry<'_>) -> (Kind, Fields<Cow<'_, str>>, u64) {
    let mut fields = Fields::default();
    let mut expires_on = ABSENT;
    let kind = match entry {
        Entry::AccessToken(t) => {
            fields.set_text(Field::HomeAccountId, t.home_account_id);
            fields.set_text(Field::Environment, t.environment);
            fields.set_text(Field::ClientId, t.client_id);
            fields.set_text(Field::Realm, t.realm);
            fields.set_text(Field::Target, t.target);
            fields.set_text(Field::Secret, t.secret);
            fields.set_text(Field::TokenType, t.token_type);
            fields.set(Field::Username, t.username);
            fields.set(Field::KeyId, t.key_id);
            fields.set(Field::UserAssertionHash, t.user_assertion_hash);
            fields.set_number(Field::CachedAt, Some(t.cached_at));
            fields.set_number(Field::ExtendedExpiresOn, t.extended_expires_on);
            fields.set_number(Field::RefreshOn, t.refresh_on);
            fields.set_text(Field::Components, t.components.pack());
            expires_on = t.expires_on;
            Kind::AccessToken
        }
        Entry::RefreshToken(t) => {
            fields.set_text(Field::HomeAccountId, t.home_account_id);
            fields.set_text(Field::Environment, t.environment);
            fields.set_text(Field::ClientId, t.client_id);
            fields.set(Field::FamilyId, t.family_id);
            fields.set_text(Field::Secret, t.secret);
            fields.set(Field::UserAssertionHash, t.user_assertion_hash);
            fields.set_text(Field::Components, t.components.pack());
            Kind::RefreshToken
        }
        Entry::IdToken(t) => {
            fields.set_text(Field::HomeAccountId, t.home_account_id);
            fields.set_text(Field::Environment, t.environment);
            fields.set_text(Field::ClientId, t.client_id);
            fields.set_text(Field::Realm, t.realm);
            fields.set_text(Field::Secret, t.secret);
            Kind::IdToken
        }
        Entry::Account(a) => {
            fields.set_text(Field::HomeAccountId, a.home_account_id);
            fields.set_text(Field::Environment, a.environment);
            fields.set_text(Field::Realm, a.realm);
            fields.set_text(Field::LocalAccountId, a.local_account_id);
            fields.set_text(Field::Username, a.username);
            fields.set(Field::Name, a.name);
            Kind::Account
        }
        Entry::AppMetadata(m) => {
            fields.set_text(Field::Environment, m.environment);
            fields.set_text(Field::ClientId, m.client_id);
            fields.set(Field::FamilyId, m.family_id);
            Kind::AppMetadata
        }
    };
    (kind, fields, expires_on)
}

impl Kind {
    /// Whether entries of this kind may have the field at this place.
    pub(super) fn has(self, place: usize) -> bool {
        self.fields().has(place) || GROUPS.has(place)
    }

    fn fields(self) -> FieldSet {
        use Field::*;
        const ACCESS_TOKEN: FieldSet = FieldSet::of(&[
            HomeAccountId,
            Environment,
            ClientId,
            Realm,
            Target,
            TokenType,
            Username,
            KeyId,
            UserAssertionHash,
            CachedAt,
            ExtendedExpiresOn,
            RefreshOn,
            Components,
        ]);
        const REFRESH_TOKEN: FieldSet =
            FieldSet::of(&[HomeAccountId, Environment, ClientId, FamilyId, UserAssertionHash, Components]);
        const ID_TOKEN: FieldSet = FieldSet::of(&[HomeAccountId, Environment, ClientId, Realm]);
        const ACCOUNT: FieldSet =
            FieldSet::of(&[HomeAccountId, Environment, Realm, LocalAccountId, Username, Name]);
        const APP_METADATA: FieldSet = FieldSet::of(&[Environment, ClientId, FamilyId]);
        match self {
            Self::AccessToken => ACCESS_TOKEN,
            Self::RefreshToken => REFRESH_TOKEN,
            Self::IdToken => ID_TOKEN,
            Self::Account => ACCOUNT,
            Self::AppMetadata => APP_METADATA,
        }
    }

    fn entry<'a>(self, fields: &Fields<&'a str>, expires_on: u64) -> Entry<'a> {
        let text = |field| fields.text(field);
        let components = || Components::packed(text(Field::Components));
        match self {
            Self::AccessToken => Entry::AccessToken(AccessToken {
                home_account_id: text(Field::HomeAccountId),
                environment: text(Field::Environment),
                client_id: text(Field::ClientId),
                realm: text(Field::Realm),
                target: text(Field::Target),
                secret: text(Field::Secret),
                token_type: text(Field::TokenType),
                username: fields.option(Field::Username),
                key_id: fields.option(Field::KeyId),
                user_assertion_hash: fields.option(Field::UserAssertionHash),
                cached_at: fields.number(Field::CachedAt).unwrap_or_default(),
                expires_on,
                extended_expires_on: fields.number(Field::ExtendedExpiresOn),
                refresh_on: fields.number(Field::RefreshOn),
                components: components(),
            }),
            Self::RefreshToken => Entry::RefreshToken(RefreshToken {
                home_account_id: text(Field::HomeAccountId),
                environment: text(Field::Environment),
                client_id: text(Field::ClientId),
                family_id: fields.option(Field::FamilyId),
                secret: text(Field::Secret),
                user_assertion_hash: fields.option(Field::UserAssertionHash),
                components: components(),
            }),
            Self::IdToken => Entry::IdToken(IdToken {
                home_account_id: text(Field::HomeAccountId),
                environment: text(Field::Environment),
                client_id: text(Field::ClientId),
                realm: text(Field::Realm),
                secret: text(Field::Secret),
            }),
            Self::Account => Entry::Account(Account {
                home_account_id: text(Field::HomeAccountId),
                environment: text(Field::Environment),
                realm: text(Field::Realm),
                local_account_id: text(Field::LocalAccountId),
                username: text(Field::Username),
                name: fields.option(Field::Name),
            }),
            Self::AppMetadata => Entry::AppMetadata(AppMetadata {
                environment: text(Field::Environment),
                client_id: text(Field::ClientId),
                family_id: fields.option(Field::FamilyId),
            }),
        }
    }
}

/// Memory for entries, allocated many at a time where there are many: so they lie side by side, and not each behind a
/// token. Of a million, in the order in which they came, a look-up took 1.1 times as long as in a standard map before that,
/// 0.75 times since: the processor finds a page sooner where there are fewer of them.
#[derive(Default)]
pub(super) struct Blanks(Mutex<Vec<Arc<Cached>>>);

impl Blanks {
    /// Moves an entry there, where the cache holds so many.
    pub(super) fn fill(&self, entry: Cached, held: usize) -> Arc<Cached> {
        let Some(mut blank) = self.take(held) else { return Arc::new(entry) };
        match Arc::get_mut(&mut blank) {
            Some(place) => *place = entry,
            None => return Arc::new(entry),
        }
        blank
    }

    fn take(&self, held: usize) -> Option<Arc<Cached>> {
        let mut blanks = lock(&self.0);
        if blanks.is_empty() {
            let many = (held / 16).min(Self::MAX);
            blanks.extend(std::iter::repeat_with(|| Arc::new(Cached::blank())).take(many));
        }
        blanks.pop()
    }

    /// 80 kB.
    const MAX: usize = 1024;
}

/// What the C library's allocator takes for an allocation of so many bytes; others take about as much.
pub(super) fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}

/// Enough to tell which of two times is later, until 2106.
fn low_bits(unix: u64) -> u32 {
    unix as u32
}

/// The two counts in front of what an `Arc` points to.
pub(super) const ARC_COUNTS: usize = 2 * size_of::<usize>();
/// A time that no clock shows.
const ABSENT: u64 = u64::MAX;
/// What entries of every kind have.
const GROUPS: FieldSet = FieldSet::of(&[Field::Group, Field::OtherGroups]);
