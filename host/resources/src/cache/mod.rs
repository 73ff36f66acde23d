//! The token cache. It sees keys and lifetimes, and no protocol.
//!
//! One [`TokenCache`] serves a process. Each application has its [`ApplicationCache`], with entries, keys and flights of its
//! own: an application can't name what another one stored. An entry lies under one or more keys, and each key leads to one
//! entry at most.
//!
//! Entries may belong to groups, which have keys of their own: those of a group are listed together
//! ([`ApplicationCache::members`]) and go together ([`ApplicationCache::remove_group`]).
//!
//! [`ApplicationCache::find`] is also the place where callers who want the same thing at the same time meet: one of them gets
//! a [`Ticket`] and brings it, the others wait. No lock is held while anyone waits, and looking up what is there never waits.
//!
//! [`ReuseMap`] is in front of it: the answers to whole requests, found without asking whoever makes the keys. A
//! [`SecondLevel`] may be behind it: entries that outlive the process, or that processes share.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Weak};

use crate::clock::Clock;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

mod cached;
mod common;
mod entry;
mod flight;
mod front;
mod groups;
mod key;
mod locks;
pub mod msal;
mod reuse;
pub mod second_level;
mod store;
mod text;

pub use cached::Cached;
pub use entry::{AccessToken, Account, AppMetadata, Components, Entry, IdToken, RefreshToken};
pub use flight::{Ticket, Watch};
pub use front::{Held, Recounted};
pub use reuse::{RequestDigest, RequestHasher, Reuse, ReuseMap, Reused};

use cached::{Draft, Kind, Value};
use common::{Common, Interner};
use flight::{End, Gate, Part};
use key::Keyspace;
use locks::lock;
use second_level::{FirstLevel, Led, SecondLevel, Stored, Wanted};
use store::{Change, Replacement, Store, Usage};

/// The name that the host gives to an application: the unit of isolation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApplicationId(Arc<str>);

impl ApplicationId {
    /// Any text; two applications are the same if it is.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much the cache may hold. Where there is more, entries are evicted: expired ones first, then the least recently used,
/// refresh tokens and accounts last. In a large cache the choice is made among a sample.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CacheLimits {
    /// Entries of all applications. The default is 1,000,000.
    pub max_entries: usize,
    /// Bytes of memory of all applications. The default is 1 GiB: room for some 650,000 tokens of 1.4 kB.
    pub max_bytes: usize,
    /// Entries of one application. The default is 500,000, so that no application takes everything.
    pub max_application_entries: usize,
    /// Bytes of one application. The default is 512 MiB.
    pub max_application_bytes: usize,
    /// Bytes of one entry, up to 128 MiB; a larger one isn't stored. The default is 256 KiB, more than any server takes in a
    /// header.
    pub max_entry_bytes: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self {
            max_entries: 1_000_000,
            max_bytes: 1 << 30,
            max_application_entries: 500_000,
            max_application_bytes: 512 << 20,
            max_entry_bytes: 256 << 10,
        }
    }
}

/// What the cache holds and what it did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStatistics {
    /// Entries held.
    pub entries: usize,
    /// Bytes of memory that they take.
    pub bytes: usize,
    /// Those among them that a user would have to sign in for again: refresh tokens and accounts.
    pub lasting: usize,
    /// Look-ups that found an entry.
    pub hits: u64,
    /// Look-ups that found none.
    pub misses: u64,
    /// Entries that had to make room.
    pub evictions: u64,
    /// For what, and what they were worth.
    pub evicted: Evictions,
    /// Flights led, taken-over ones included.
    pub flights_led: u64,
    /// Times that a caller waited for another one's flight.
    pub flights_joined: u64,
}

/// Entries that had to make room: by the limit that was exceeded, and among all of those the ones that stand out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evictions {
    /// For [`CacheLimits::max_application_entries`].
    pub application_entries: u64,
    /// For [`CacheLimits::max_application_bytes`].
    pub application_bytes: u64,
    /// For [`CacheLimits::max_entries`], of this application or, where all are meant, of any.
    pub entries: u64,
    /// For [`CacheLimits::max_bytes`], likewise.
    pub bytes: u64,
    /// Those that had expired: nobody misses them.
    pub expired: u64,
    /// Those that a user has to sign in for again: refresh tokens and accounts. Where there are any, there is too little room.
    pub lasting: u64,
}

/// The limit for which an entry makes room.
#[derive(Clone, Copy)]
enum Limit {
    ApplicationEntries,
    ApplicationBytes,
    Entries,
    Bytes,
}

/// The cache of a process. `E` is the error that a flight may end with.
pub struct TokenCache<E> {
    limits: CacheLimits,
    clock: Arc<dyn Clock>,
    seed: [u8; 16],
    total: Arc<Usage>,
    applications: Mutex<Applications<E>>,
}

struct Applications<E> {
    by_id: BTreeMap<ApplicationId, Weak<Namespace<E>>>,
    /// The application that was looked at last for something to evict.
    hand: Option<ApplicationId>,
    /// When there are so many, it is time to look which are gone.
    look_at: usize,
}

impl<E> Applications<E> {
    /// Not done when a namespace goes: its last holder may be one who has this lock.
    fn forget_the_gone(&mut self) {
        if self.by_id.len() >= self.look_at {
            self.by_id.retain(|_, namespace| namespace.strong_count() > 0);
            self.look_at = 2 * self.by_id.len() + 16;
        }
    }
}

impl<E> TokenCache<E> {
    /// An empty cache.
    pub fn new(limits: CacheLimits, clock: Arc<dyn Clock>) -> Arc<Self> {
        Self::with_seed(limits, clock, key::random_seed())
    }

    /// An empty cache that evicts the same entries whenever the same is done to it, for simulations. Whoever knows the seed
    /// can choose keys that collide.
    pub fn with_seed(limits: CacheLimits, clock: Arc<dyn Clock>, seed: [u8; 16]) -> Arc<Self> {
        Arc::new(Self {
            limits,
            clock,
            seed,
            total: Arc::default(),
            applications: Mutex::new(Applications { by_id: BTreeMap::new(), hand: None, look_at: 0 }),
        })
    }

    /// The part of the cache that is this application's. It lives as long as someone holds it: with the last holder its
    /// entries are gone.
    pub fn namespace(self: &Arc<Self>, application: ApplicationId) -> ApplicationCache<E> {
        let mut applications = lock(&self.applications);
        if let Some(namespace) = applications.by_id.get(&application).and_then(Weak::upgrade) {
            return ApplicationCache { namespace, second_level: None };
        }
        applications.forget_the_gone();
        let namespace = Arc::new(Namespace {
            keyspace: Keyspace::new(self.seed, application.as_str()),
            store: Store::new(Arc::clone(&self.total)),
            gate: Arc::new(Gate::new()),
            interner: Interner::default(),
            blanks: cached::Blanks::default(),
            counters: Counters::default(),
            cache: Arc::clone(self),
            application: application.clone(),
        });
        applications.by_id.insert(application, Arc::downgrade(&namespace));
        ApplicationCache { namespace, second_level: None }
    }

    /// The sum over all applications.
    pub fn statistics(&self) -> CacheStatistics {
        let namespaces: Vec<_> = lock(&self.applications).by_id.values().filter_map(Weak::upgrade).collect();
        let mut sum = CacheStatistics {
            entries: self.total.entries(),
            bytes: self.total.bytes(),
            lasting: self.total.lasting(),
            ..CacheStatistics::default()
        };
        for namespace in namespaces {
            namespace.counters.add_to(&mut sum);
        }
        sum
    }

    fn exceeded(&self) -> Option<Limit> {
        match &self.limits {
            limits if self.total.entries() > limits.max_entries => Some(Limit::Entries),
            limits if self.total.bytes() > limits.max_bytes => Some(Limit::Bytes),
            _ => None,
        }
    }

    /// Evicts until everything together is within the limits.
    fn make_room(&self) {
        while let Some(limit) = self.exceeded() {
            let now_unix = self.clock.now_unix();
            let candidates = self.next_to_search();
            let least = candidates
                .iter()
                .filter_map(|namespace| Some((namespace, namespace.store.least_worthy(now_unix)?)))
                .min_by_key(|(_, entry)| entry.worth(now_unix));
            match least {
                Some((namespace, entry)) => namespace.evict(&entry, limit, now_unix),
                // Whatever is left belongs to applications that are going away.
                None => return,
            }
        }
    }

    /// The next few applications that have entries.
    fn next_to_search(&self) -> Vec<Arc<Namespace<E>>> {
        let mut applications = lock(&self.applications);
        let after = applications.hand.take().map_or(Bound::Unbounded, Bound::Excluded);
        let found: Vec<_> = applications
            .by_id
            .range((after, Bound::Unbounded))
            .chain(&applications.by_id)
            .take(applications.by_id.len())
            .filter_map(|(_, namespace)| namespace.upgrade())
            .filter(|namespace| namespace.store.usage().entries() > 0)
            .take(APPLICATIONS_SEARCHED)
            .collect();
        applications.hand = found.last().map(|namespace| namespace.application.clone());
        found
    }
}

impl<E> fmt::Debug for TokenCache<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("limits", &self.limits)
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

/// Which entry is wanted, and what to do when there is none.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    /// Keys, in order of preference. An alternative is found when one entry holds all of its keys; an empty one never is.
    pub alternatives: &'a [Vec<String>],
    /// An access token that expires at this time or before counts as expired. Unix seconds.
    pub expires_after: u64,
    /// An access token that expires later than this is corrupt, and counts as absent. Unix seconds.
    pub expires_before: u64,
    /// Look past what the cache holds, and join only flights that begin after this call.
    pub bypass: bool,
    /// With `bypass`: what the cache holds shall be renewed before it expires, so what another process stored later than
    /// that will do.
    pub renews: bool,
    /// Names the flight that would bring the entry: of all callers that name it, one leads and the others wait. Absent
    /// where no flight is meant.
    pub flight: Option<&'a str>,
}

impl fmt::Debug for Lookup<'_> {
    /// Leaves out the keys, which may tell who the user is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup")
            .field("expires_after", &self.expires_after)
            .field("expires_before", &self.expires_before)
            .field("bypass", &self.bypass)
            .field("renews", &self.renews)
            .finish_non_exhaustive()
    }
}

/// Why the caller leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// There is no such entry.
    Absent,
    /// There is one, expired.
    Expired,
    /// The cache was bypassed.
    Bypassed,
}

/// What a look-up found.
#[derive(Debug)]
pub enum Found<E> {
    /// A usable entry.
    Hit(Arc<Cached>),
    /// None; the caller brings it.
    Lead {
        /// To be given back to [`ApplicationCache::put`] or [`ApplicationCache::fail`].
        ticket: Ticket<E>,
        /// Why the caller leads.
        absence: Absence,
        /// The time now, Unix milliseconds; the call may have waited.
        now_unix_ms: u64,
    },
    /// None; the caller that led could not bring it either, for this reason.
    Failed(E),
    /// None, and no flight was named.
    Miss,
}

/// An entry and where it goes.
#[derive(Clone, Copy)]
pub struct Saved<'a> {
    /// The entry.
    pub entry: Entry<'a>,
    /// The keys under which it is found. An entry without keys isn't stored: nobody would find it.
    pub keys: &'a [String],
    /// Further keys whose entries it replaces. Entries under `keys` are replaced in any case, wholly.
    pub replaces: &'a [String],
    /// The keys of the groups that it belongs to. Most belong to none.
    pub groups: &'a [String],
    /// The partition in a second level that MSAL shares.
    pub partition_key: &'a str,
    /// The name in that partition.
    pub item_key: &'a str,
}

impl fmt::Debug for Saved<'_> {
    /// Leaves out the keys, which may tell who the user is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saved").field("entry", &self.entry).finish_non_exhaustive()
    }
}

/// The cache of one application. Clones are the same cache.
pub struct ApplicationCache<E> {
    namespace: Arc<Namespace<E>>,
    second_level: Option<Arc<dyn SecondLevel>>,
}

struct Namespace<E> {
    application: ApplicationId,
    keyspace: Keyspace,
    store: Store,
    gate: Arc<Gate<E>>,
    interner: Interner,
    blanks: cached::Blanks,
    counters: Counters,
    cache: Arc<TokenCache<E>>,
}

impl<E> ApplicationCache<E> {
    /// The same in front of a second level: what isn't here is looked up there, and what comes and goes here does so there.
    ///
    /// For the first who asks for the namespace: the others should have the same.
    #[must_use]
    pub fn with_second_level(mut self, second_level: Arc<dyn SecondLevel>) -> Self
    where
        E: Send + Sync + 'static,
    {
        let first_level: Weak<Namespace<E>> = Arc::downgrade(&self.namespace);
        second_level.attach(first_level);
        self.second_level = Some(second_level);
        self
    }

    /// Looks an entry up. Waits while another caller leads the named flight; when that one ends, looks again.
    ///
    /// A caller that gives up (drops the future) disturbs nobody.
    pub async fn find(&self, lookup: Lookup<'_>) -> Found<E> {
        self.find_joining(lookup, &|| {}).await
    }

    /// The same, and calls `joins` each time before it waits for another caller.
    pub async fn find_joining(&self, lookup: Lookup<'_>, joins: &(dyn Fn() + Sync)) -> Found<E> {
        let namespace = &*self.namespace;
        // What a caller that looks past the cache may use is what a later flight than these brought.
        let since = if lookup.bypass { namespace.gate.latest() } else { 0 };
        let found = loop {
            if let Look::Hit(entry) = namespace.look(&lookup, since) {
                break Found::Hit(entry);
            }
            let Some(flight) = lookup.flight else {
                break self.find_behind(&lookup).await.map_or(Found::Miss, Found::Hit);
            };
            let ticket = match namespace.gate.enter(namespace.keyspace.digest(flight)) {
                Part::Leads(ticket) => ticket,
                Part::Waits(end) => {
                    Counters::count(&namespace.counters.joined);
                    joins();
                    match end.await {
                        Ok(End::HandedOver(ticket)) => ticket,
                        Ok(End::Failed(begun, error)) if begun > since => break Found::Failed(error),
                        // Stored; or a failure of a flight that began too early to be ours.
                        _ => continue,
                    }
                }
            };
            // The flight that brings it may have ended between the look and the lead.
            break match namespace.look(&lookup, since) {
                Look::Hit(entry) => {
                    ticket.stored();
                    Found::Hit(entry)
                }
                Look::Nothing(absence) => self.lead(ticket, absence, &lookup, flight, since).await,
            };
        };
        let counters = &namespace.counters;
        Counters::count(if matches!(found, Found::Hit(_)) { &counters.hits } else { &counters.misses });
        found
    }

    /// Looks an entry up in the second level, and keeps it here.
    async fn find_behind(&self, lookup: &Lookup<'_>) -> Option<Arc<Cached>> {
        let second_level = self.second_level.as_deref()?;
        let wanted = self.namespace.wanted(lookup);
        if !wanted.is_lookup() {
            return None;
        }
        // What is removed while the second level is asked mustn't come back.
        let flight = self.namespace.gate.enter_alone();
        let stored = second_level.find(wanted).await?;
        self.namespace.keep(&stored, flight.begun());
        match self.namespace.look(lookup, 0) {
            Look::Hit(entry) => Some(entry),
            Look::Nothing(_) => None,
        }
    }

    /// Leads a flight, unless another process has brought what is wanted.
    async fn lead(
        &self,
        mut ticket: Ticket<E>,
        absence: Absence,
        lookup: &Lookup<'_>,
        flight: &str,
        since: u64,
    ) -> Found<E> {
        let namespace = &*self.namespace;
        if let Some(second_level) = &self.second_level {
            match second_level.lead(namespace.wanted(lookup), flight).await {
                Led::Lead(lease) => ticket.lease = Some(lease),
                Led::Found(stored) => {
                    namespace.keep(&stored, ticket.begun());
                    if let Look::Hit(entry) = namespace.look(lookup, since) {
                        ticket.stored();
                        return Found::Hit(entry);
                    }
                }
            }
        }
        Counters::count(&namespace.counters.led);
        Found::Lead { ticket, absence, now_unix_ms: namespace.cache.clock.now_unix_ms() }
    }

    /// Replaces all entries of `replaced_groups` by `entries`, at once, and ends the flight of the ticket. What other flights
    /// in the air bring for `replaced_groups` isn't stored.
    ///
    /// Nothing changes if an entry is larger than one may be, if the cache was cleared since the flight began, or if a group
    /// was removed since then that is among `replaced_groups` or has one of `entries`. Without a ticket, nothing but the size
    /// is in the way.
    pub fn put(&self, ticket: Option<Ticket<E>>, replaced_groups: &[String], entries: &[Saved<'_>]) {
        self.keep(ticket.as_ref(), replaced_groups, entries);
        if let Some(ticket) = ticket {
            ticket.stored();
        }
    }

    /// The same in the second level, too. Whoever waits here needn't wait for that one.
    pub async fn put_through(
        &self,
        mut ticket: Option<Ticket<E>>,
        replaced_groups: &[String],
        entries: &[Saved<'_>],
    ) {
        self.keep(ticket.as_ref(), replaced_groups, entries);
        let lease = ticket.as_mut().and_then(|ticket| ticket.lease.take());
        if let Some(ticket) = ticket {
            ticket.stored();
        }
        if let Some(second_level) = &self.second_level {
            let change = second_level::Change { replaced_groups, entries };
            second_level.put(lease, change).await;
        }
    }

    fn keep(&self, ticket: Option<&Ticket<E>>, replaced_groups: &[String], entries: &[Saved<'_>]) {
        let namespace = &*self.namespace;
        let begun = ticket.map(Ticket::begun);
        if let Some(replacements) = namespace.replacements(begun.unwrap_or(0), entries) {
            let replaced_groups = namespace.keyspace.digests(replaced_groups);
            namespace.store.put(&Change { replaced_groups, replacements, begun }, &namespace.gate);
        }
        namespace.make_room();
        namespace.cache.make_room();
    }

    /// Ends the flight without an entry. Everyone who waits gets the error.
    pub fn fail(&self, ticket: Ticket<E>, error: &E)
    where
        E: Clone,
    {
        ticket.failed(error);
    }

    /// The entry under a key, whether it has expired or not.
    pub fn get(&self, key: &str) -> Option<Arc<Cached>> {
        self.namespace.store.get(&self.namespace.keyspace.digest(key))
    }

    /// Removes the entry under a key, from all of its keys. Returns whether there was one.
    pub fn remove(&self, key: &str) -> bool {
        self.get(key).is_some_and(|entry| self.namespace.store.remove(&entry))
    }

    /// The entries of a group, oldest first, whether they have expired or not.
    pub fn members(&self, group: &str) -> Vec<Arc<Cached>> {
        self.namespace.store.members(self.namespace.keyspace.digest(group))
    }

    /// Removes the entries of a group, from all of their keys. Returns whether there was any.
    ///
    /// What flights in the air bring for the group isn't stored either. A flight that begins later may bring some again, and
    /// finds nothing of the old ones: whoever renews an entry has to look it up after the flight began, not before.
    pub fn remove_group(&self, group: &str) -> bool {
        self.namespace.store.remove_group(self.namespace.keyspace.digest(group), &self.namespace.gate)
    }

    /// The same in the second level, too, and in the first levels of all processes that share it.
    pub async fn remove_group_through(&self, group: &str) -> bool {
        let removed = self.remove_group(group);
        match &self.second_level {
            Some(second_level) => second_level.remove_group(group).await || removed,
            None => removed,
        }
    }

    /// The entries of a group, those included that only the second level has.
    pub async fn members_through(&self, group: &str) -> Vec<Arc<Cached>> {
        if let Some(second_level) = &self.second_level {
            let flight = self.namespace.gate.enter_alone();
            for stored in second_level.members(group).await {
                if stored.keys.first().is_some_and(|key| self.get(key).is_none()) {
                    self.namespace.keep(&stored, flight.begun());
                }
            }
        }
        self.members(group)
    }

    /// Removes everything that is the application's. What flights in the air bring isn't stored either.
    pub fn clear(&self) {
        self.namespace.store.clear(&self.namespace.gate);
    }

    /// The application.
    pub fn application(&self) -> &ApplicationId {
        &self.namespace.application
    }

    /// What there is of this application, and what was done for it.
    pub fn statistics(&self) -> CacheStatistics {
        let usage = self.namespace.store.usage();
        let mut statistics = CacheStatistics {
            entries: usage.entries(),
            bytes: usage.bytes(),
            lasting: usage.lasting(),
            ..CacheStatistics::default()
        };
        self.namespace.counters.add_to(&mut statistics);
        statistics
    }
}

#[cfg(test)]
impl<E> ApplicationCache<E> {
    /// How many members of groups and how many removed groups are kept.
    pub fn kept_of_groups(&self) -> (usize, usize) {
        self.namespace.store.kept_of_groups()
    }
}

impl<E> Clone for ApplicationCache<E> {
    fn clone(&self) -> Self {
        Self { namespace: Arc::clone(&self.namespace), second_level: self.second_level.clone() }
    }
}

impl<E> fmt::Debug for ApplicationCache<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApplicationCache")
            .field("application", self.application())
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

enum Look {
    Hit(Arc<Cached>),
    Nothing(Absence),
}

impl<E> Namespace<E> {
    /// Looks at what the cache holds of flights later than `since`.
    fn look(&self, lookup: &Lookup<'_>, since: u64) -> Look {
        let mut absence = if lookup.bypass { Absence::Bypassed } else { Absence::Absent };
        for keys in lookup.alternatives {
            let Some(entry) = self.holder_of_all(keys) else { continue };
            if lookup.bypass && entry.begun() <= since {
                continue;
            }
            match entry.expires_on() {
                Some(expires_on) if expires_on > lookup.expires_before => {}
                Some(expires_on) if expires_on <= lookup.expires_after => {
                    if absence == Absence::Absent {
                        absence = Absence::Expired;
                    }
                }
                _ => {
                    entry.touch(self.cache.clock.now_unix());
                    return Look::Hit(entry);
                }
            }
        }
        Look::Nothing(absence)
    }

    fn holder_of_all(&self, keys: &[String]) -> Option<Arc<Cached>> {
        let (first, others) = keys.split_first()?;
        loop {
            let entry = self.store.get(&self.keyspace.digest(first))?;
            let holds = |key: &String| {
                self.store.get(&self.keyspace.digest(key)).is_some_and(|other| Arc::ptr_eq(&entry, &other))
            };
            if others.iter().all(holds) {
                return Some(entry);
            }
            // While it is there, so are all of its keys. If it has just been replaced, look at the one in its place.
            if entry.is_alive() {
                return None;
            }
        }
    }

    /// What is wanted of the second level: nothing where the cache is bypassed, but for what is newer where it is a renewal.
    fn wanted<'a>(&self, lookup: &Lookup<'a>) -> Wanted<'a> {
        let held = || lookup.alternatives.iter().find_map(|keys| self.holder_of_all(keys));
        let stored_after = lookup
            .bypass
            .then(|| held().and_then(|entry| entry.access_token().map(|token| token.cached_at)))
            .flatten();
        Wanted {
            alternatives: if lookup.bypass && !lookup.renews { &[] } else { lookup.alternatives },
            expires_after: lookup.expires_after,
            expires_before: lookup.expires_before,
            stored_after,
        }
    }

    /// Keeps what the second level has, unless it was removed since `begun`.
    fn keep(&self, stored: &Stored, begun: u64) {
        let saved = Saved {
            entry: stored.entry.entry(),
            keys: &stored.keys,
            replaces: &[],
            groups: &stored.groups,
            partition_key: "",
            item_key: "",
        };
        if let Some(replacements) = self.replacements(begun, &[saved]) {
            let change = Change { replacements, begun: Some(begun), ..Change::default() };
            self.store.put(&change, &self.gate);
        }
        self.make_room();
        self.cache.make_room();
    }

    /// Packs entries. None if one of them is too large.
    fn replacements(&self, begun: u64, entries: &[Saved<'_>]) -> Option<Vec<Replacement>> {
        let now_unix = self.cache.clock.now_unix();
        let max_bytes = self.cache.limits.max_entry_bytes.min(text::MAX_LENGTH);
        let drafts: Vec<_> = entries.iter().filter_map(|saved| self.draft(saved)).collect();
        // What the metadata has in common with the others are names at most.
        let (metadata, others): (Vec<_>, Vec<_>) =
            drafts.iter().partition(|draft| draft.kind == Kind::AppMetadata);
        let [metadata, others] = [metadata, others].map(|drafts| Common::of(&drafts, &self.interner));
        let mut replacements = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let common = if draft.kind == Kind::AppMetadata { &metadata } else { &others };
            let entry = Cached::new(&draft, common.clone(), begun, now_unix);
            let bytes = entry.bytes();
            if bytes > max_bytes {
                tracing::warn!(application = %self.application, bytes, "entry is too large for the cache");
                return None;
            }
            let Draft { keys, replaces, .. } = draft;
            replacements.push(Replacement {
                entry: self.blanks.fill(entry, self.store.usage().entries()),
                keys,
                replaces,
            });
        }
        Some(replacements)
    }

    fn draft<'a>(&self, saved: &Saved<'a>) -> Option<Draft<'a>> {
        let [keys, replaces, groups] =
            [saved.keys, saved.replaces, saved.groups].map(|keys| self.keyspace.digests(keys));
        let number = if groups.is_empty() { 0 } else { self.store.next_number() };
        Draft::new(saved.entry, keys, replaces, &groups, number)
    }

    /// Evicts until the application is within its limits.
    fn make_room(&self) {
        while let Some(limit) = self.exceeded() {
            let now_unix = self.cache.clock.now_unix();
            let Some(entry) = self.store.least_worthy(now_unix) else { return };
            self.evict(&entry, limit, now_unix);
        }
    }

    fn exceeded(&self) -> Option<Limit> {
        let (limits, usage) = (&self.cache.limits, self.store.usage());
        if usage.entries() > limits.max_application_entries {
            return Some(Limit::ApplicationEntries);
        }
        (usage.bytes() > limits.max_application_bytes).then_some(Limit::ApplicationBytes)
    }

    fn evict(&self, entry: &Arc<Cached>, limit: Limit, now_unix: u64) {
        if !self.store.remove(entry) {
            return;
        }
        Counters::count(&self.counters.evictions[limit as usize]);
        match entry.value(now_unix) {
            Value::Expired => Counters::count(&self.counters.evicted_expired),
            Value::Usable => {}
            Value::Lasting => Counters::count(&self.counters.evicted_lasting),
        }
    }
}

impl<E: Send + Sync> FirstLevel for Namespace<E> {
    fn group_removed(&self, group: &str) {
        self.store.remove_group(self.keyspace.digest(group), &self.gate);
    }

    fn removals_missed(&self) {
        self.store.clear(&self.gate);
    }
}

/// Kept per application, so that applications don't share their cache lines.
#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    /// By [`Limit`].
    evictions: [AtomicU64; 4],
    evicted_expired: AtomicU64,
    evicted_lasting: AtomicU64,
    led: AtomicU64,
    joined: AtomicU64,
}

impl Counters {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn add_to(&self, sum: &mut CacheStatistics) {
        sum.hits += self.hits.load(Ordering::Relaxed);
        sum.misses += self.misses.load(Ordering::Relaxed);
        let evictions = |limit: Limit| self.evictions[limit as usize].load(Ordering::Relaxed);
        let evicted = &mut sum.evicted;
        evicted.application_entries += evictions(Limit::ApplicationEntries);
        evicted.application_bytes += evictions(Limit::ApplicationBytes);
        evicted.entries += evictions(Limit::Entries);
        evicted.bytes += evictions(Limit::Bytes);
        evicted.expired += self.evicted_expired.load(Ordering::Relaxed);
        evicted.lasting += self.evicted_lasting.load(Ordering::Relaxed);
        sum.evictions =
            evicted.application_entries + evicted.application_bytes + evicted.entries + evicted.bytes;
        sum.flights_led += self.led.load(Ordering::Relaxed);
        sum.flights_joined += self.joined.load(Ordering::Relaxed);
    }
}

/// How many applications are searched for the entry to evict when all together have too many.
const APPLICATIONS_SEARCHED: usize = 8;
