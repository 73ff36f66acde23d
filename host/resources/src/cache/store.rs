//! The entries of one application and their index.
//!
//! The index is a hash table of (key, entry), an entry being in it once for each of its keys, in [`SHARDS`] parts with a
//! lock each. Reading takes one lock, shared. Writing takes the locks of all keys that it changes, in ascending order, and
//! holds them together, so that nobody sees half of a change. The lock of the groups comes before those, and only where an
//! entry that comes or goes belongs to a group.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, RwLock, RwLockWriteGuard};

use super::cached::Cached;
use super::flight::Gate;
use super::groups::Groups;
use super::key::{Digest, Position};
use super::locks::{lock, read, write};

/// Few enough that an application with one token takes little memory.
pub(super) const SHARDS: usize = 16;

/// How many entries and bytes there are.
#[derive(Debug, Default)]
pub(super) struct Usage {
    entries: AtomicUsize,
    bytes: AtomicUsize,
    lasting: AtomicUsize,
}

impl Usage {
    pub(super) fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn lasting(&self) -> usize {
        self.lasting.load(Ordering::Relaxed)
    }

    fn add(&self, entry: &Cached) {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(entry.bytes(), Ordering::Relaxed);
        self.lasting.fetch_add(usize::from(entry.is_lasting()), Ordering::Relaxed);
    }

    fn subtract(&self, entry: &Cached) {
        self.entries.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(entry.bytes(), Ordering::Relaxed);
        self.lasting.fetch_sub(usize::from(entry.is_lasting()), Ordering::Relaxed);
    }
}

/// One key of an entry, in the index.
pub(super) struct Slot {
    key: Digest,
    entry: Arc<Cached>,
}

type Shard = HashTable<Slot>;

/// An entry to be stored, where, and the keys whose entries it replaces beside its own.
pub(super) struct Replacement {
    pub(super) entry: Arc<Cached>,
    pub(super) keys: Vec<Digest>,
    pub(super) replaces: Vec<Digest>,
}

impl Replacement {
    fn keys(&self) -> impl Iterator<Item = &Digest> {
        self.keys.iter().chain(&self.replaces)
    }
}

/// What changes at once.
#[derive(Default)]
pub(super) struct Change {
    /// Their entries are removed before anything is stored.
    pub(super) replaced_groups: Vec<Digest>,
    /// In the order in which they are stored.
    pub(super) replacements: Vec<Replacement>,
    /// The flight that brings it.
    pub(super) begun: Option<u64>,
}

impl Change {
    fn keys(&self) -> impl Iterator<Item = &Digest> {
        self.replacements.iter().flat_map(Replacement::keys)
    }

    fn groups(&self) -> impl Iterator<Item = Digest> {
        let brought = self.replacements.iter().flat_map(|replacement| replacement.entry.groups());
        brought.chain(self.replaced_groups.iter().copied())
    }

    /// What it needs locked, as far as that can be told without looking.
    fn scope(&self) -> Scope {
        let shards = ShardSet::of(self.keys().map(Digest::position));
        Scope { groups: self.groups().next().is_some(), shards }
    }
}

/// The entries of one application.
pub(super) struct Store {
    groups: Mutex<Groups>,
    shards: [RwLock<Shard>; SHARDS],
    usage: Usage,
    /// Of all applications.
    total: Arc<Usage>,
    /// What flights up to this one bring is no longer wanted.
    cleared: AtomicU64,
    /// How many entries with groups there were.
    numbered: AtomicU64,
    /// Where the next search for something to evict begins.
    hand: AtomicUsize,
}

impl Store {
    pub(super) fn new(total: Arc<Usage>) -> Self {
        Self {
            groups: Mutex::default(),
            shards: std::array::from_fn(|_| RwLock::new(Shard::new())),
            usage: Usage::default(),
            total,
            cleared: AtomicU64::new(0),
            numbered: AtomicU64::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    pub(super) fn usage(&self) -> &Usage {
        &self.usage
    }

    pub(super) fn get(&self, key: &Digest) -> Option<Arc<Cached>> {
        holder(&read(self.shard(key)), key).map(Arc::clone)
    }

    /// The living entries of a group, oldest first.
    pub(super) fn members(&self, group: Digest) -> Vec<Arc<Cached>> {
        lock(&self.groups).members(group).map(Arc::clone).collect()
    }

    /// A number for an entry with groups, higher than those before.
    pub(super) fn next_number(&self) -> u64 {
        self.numbered.fetch_add(1, Ordering::Relaxed)
    }

    /// Does all of a change, or nothing: nothing if the flight that brings it began before everything was cleared, or before
    /// a group that it is about was removed.
    pub(super) fn put<E>(&self, change: &Change, gate: &Gate<E>) {
        let mut locked = self.lock_for(change);
        if change.begun.is_some_and(|begun| {
            begun <= self.cleared.load(Ordering::Acquire) || locked.refuses(change.groups(), begun)
        }) {
            return;
        }
        for group in &change.replaced_groups {
            self.take_group(&mut locked, *group, gate);
        }
        for replacement in &change.replacements {
            for key in replacement.keys() {
                if let Some(replaced) = locked.holder(key).map(Arc::clone) {
                    self.take(&mut locked, &replaced);
                }
            }
            locked.insert(replacement);
            self.usage.add(&replacement.entry);
            self.total.add(&replacement.entry);
        }
    }

    /// Removes an entry from under all of its keys. Returns whether it was still there.
    pub(super) fn remove(&self, entry: &Arc<Cached>) -> bool {
        let mut locked = self.lock(Scope::NOTHING.with(entry));
        let there = entry.is_alive();
        if there {
            self.take(&mut locked, entry);
        }
        there
    }

    /// Removes the entries of a group, and whatever the flights in the air will bring for it. Returns whether there was any.
    pub(super) fn remove_group<E>(&self, group: Digest, gate: &Gate<E>) -> bool {
        let mut locked = self.lock_for(&Change { replaced_groups: vec![group], ..Change::default() });
        self.take_group(&mut locked, group, gate)
    }

    /// Removes everything, and whatever the flights in the air will bring.
    pub(super) fn clear<E>(&self, gate: &Gate<E>) {
        let mut locked = self.lock(Scope::EVERYTHING);
        // Read under the locks: a flight that begins later finds nothing any more that it could renew.
        self.cleared.store(gate.latest(), Ordering::Release);
        self.take_all(&mut locked);
    }

    /// What to evict first, among a few entries of each shard; in a small cache, among all. See [`Cached::worth`].
    pub(super) fn least_worthy(&self, now_unix: u64) -> Option<Arc<Cached>> {
        let hand = self.hand.fetch_add(SAMPLE_PER_SHARD, Ordering::Relaxed);
        let mut least: Option<Arc<Cached>> = None;
        for shard in &self.shards {
            let shard = read(shard);
            for slot in sample(&shard, hand, SAMPLE_PER_SHARD) {
                if least.as_ref().is_none_or(|least| slot.entry.worth(now_unix) < least.worth(now_unix)) {
                    least = Some(Arc::clone(&slot.entry));
                }
            }
        }
        least
    }

    fn shard(&self, key: &Digest) -> &RwLock<Shard> {
        &self.shards[key.position().shard()]
    }

    /// Locks what a change needs, what it replaces included.
    fn lock_for(&self, change: &Change) -> Locked<'_> {
        let mut scope = change.scope();
        loop {
            let locked = self.lock(scope);
            // What is replaced may have further keys, in shards that aren't locked yet, and groups.
            let needed = locked.replaced_by(change).fold(scope, |scope, replaced| scope.with(replaced));
            if needed == scope {
                return locked;
            }
            scope = needed;
        }
    }

    fn lock(&self, scope: Scope) -> Locked<'_> {
        let groups = scope.groups.then(|| lock(&self.groups));
        let mut locked = Locked { groups, shards: Default::default() };
        for (i, (shard, guard)) in self.shards.iter().zip(&mut locked.shards).enumerate() {
            if scope.shards.contains(i) {
                *guard = Some(write(shard));
            }
        }
        locked
    }

    fn take(&self, locked: &mut Locked<'_>, entry: &Arc<Cached>) {
        entry.kill();
        locked.remove(entry);
        self.subtract(entry);
    }

    fn take_group<E>(&self, locked: &mut Locked<'_>, group: Digest, gate: &Gate<E>) -> bool {
        let members: Vec<_> = locked.members(group).map(Arc::clone).collect();
        for entry in &members {
            self.take(locked, entry);
        }
        if let Some(groups) = &mut locked.groups {
            groups.refuse(group, gate);
        }
        !members.is_empty()
    }

    fn take_all(&self, locked: &mut Locked<'_>) {
        for shard in locked.shards.iter_mut().flatten() {
            for slot in std::mem::take(&mut **shard) {
                if slot.entry.is_alive() {
                    slot.entry.kill();
                    self.subtract(&slot.entry);
                }
            }
        }
        if let Some(groups) = &mut locked.groups {
            **groups = Groups::default();
        }
    }

    fn subtract(&self, entry: &Cached) {
        self.usage.subtract(entry);
        self.total.subtract(entry);
    }
}

#[cfg(test)]
impl Store {
    /// How many members of groups and how many removed groups are kept.
    pub(super) fn kept_of_groups(&self) -> (usize, usize) {
        lock(&self.groups).kept()
    }
}

impl Drop for Store {
    /// Takes the application's entries out of the totals, and marks them dead for whoever still has one.
    fn drop(&mut self) {
        self.take_all(&mut self.lock(Scope::EVERYTHING));
    }
}

/// What is locked for writing.
struct Locked<'a> {
    groups: Option<MutexGuard<'a, Groups>>,
    shards: [Option<RwLockWriteGuard<'a, Shard>>; SHARDS],
}

impl Locked<'_> {
    fn holder(&self, key: &Digest) -> Option<&Arc<Cached>> {
        holder(self.shards[key.position().shard()].as_ref()?, key)
    }

    fn members(&self, group: Digest) -> impl Iterator<Item = &Arc<Cached>> {
        self.groups.iter().flat_map(move |groups| groups.members(group))
    }

    fn replaced_by(&self, change: &Change) -> impl Iterator<Item = &Arc<Cached>> {
        let members = change.replaced_groups.iter().flat_map(|group| self.members(*group));
        change.keys().filter_map(|key| self.holder(key)).chain(members)
    }

    fn refuses(&self, mut groups: impl Iterator<Item = Digest>, begun: u64) -> bool {
        self.groups.as_ref().is_some_and(|known| groups.any(|group| known.refuses(group, begun)))
    }

    fn insert(&mut self, Replacement { entry, keys, .. }: &Replacement) {
        for key in keys {
            let position = key.position();
            if let Some(shard) = &mut self.shards[position.shard()] {
                let slot = Slot { key: *key, entry: Arc::clone(entry) };
                shard.insert_unique(position.hash(), slot, |slot| slot.key.position().hash());
            }
        }
        if let Some(groups) = &mut self.groups {
            groups.add(entry);
        }
    }

    fn remove(&mut self, entry: &Arc<Cached>) {
        for position in entry.positions() {
            if let Some(shard) = &mut self.shards[position.shard()]
                && let Ok(slot) = shard.find_entry(position.hash(), |slot| Arc::ptr_eq(&slot.entry, entry))
            {
                slot.remove();
            }
        }
        if let Some(groups) = &mut self.groups {
            groups.remove(entry);
        }
    }
}

fn holder<'a>(shard: &'a Shard, key: &Digest) -> Option<&'a Arc<Cached>> {
    shard.find(key.position().hash(), |slot| slot.key == *key).map(|slot| &slot.entry)
}

/// What to lock.
#[derive(Clone, Copy, PartialEq)]
struct Scope {
    groups: bool,
    shards: ShardSet,
}

impl Scope {
    const NOTHING: Self = Self { groups: false, shards: ShardSet(0) };
    const EVERYTHING: Self = Self { groups: true, shards: ShardSet(u16::MAX) };

    /// So much as to store or to remove the entry, too.
    fn with(self, entry: &Cached) -> Self {
        Self {
            groups: self.groups || entry.groups().next().is_some(),
            shards: self.shards.with(ShardSet::of(entry.positions())),
        }
    }
}

/// Some of the shards, a bit each.
#[derive(Clone, Copy, PartialEq)]
struct ShardSet(u16);

impl ShardSet {
    fn of(positions: impl Iterator<Item = Position>) -> Self {
        Self(positions.fold(0, |set, position| set | 1 << position.shard()))
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn contains(self, shard: usize) -> bool {
        self.0 & 1 << shard != 0
    }
}

const _: () = assert!(SHARDS == u16::BITS as usize, "a shard set has a bit for each shard");

/// Up to `count` items of a table, from bucket `start` on, and round.
pub(super) fn sample<T>(table: &HashTable<T>, start: usize, count: usize) -> impl Iterator<Item = &T> {
    let buckets = table.num_buckets();
    (0..buckets).filter_map(move |i| table.get_bucket((start + i) % buckets)).take(count)
}

/// 64 entries altogether: the one to be evicted is then, nearly always, of the least worthy twentieth.
const SAMPLE_PER_SHARD: usize = 4;
