//! The entries of one application and their index.
//!
//! The index is a hash table of (key, entry), an entry being in it once for each of its keys, in [`SHARDS`] parts with a
//! lock each. Reading takes one lock, shared. Writing takes the locks of all keys that it changes, in ascending order, and
//! holds them together, so that nobody sees half of a change.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{RwLock, RwLockWriteGuard};

use super::entry::Cached;
use super::key::Digest;
use super::locks::{read, write};

/// Few enough that an application with one token takes little memory.
pub(super) const SHARDS: usize = 16;

/// How many entries and bytes there are.
#[derive(Debug, Default)]
pub(super) struct Usage {
    entries: AtomicUsize,
    bytes: AtomicUsize,
}

impl Usage {
    pub(super) fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn subtract(&self, bytes: usize) {
        self.entries.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// One key of an entry, in the index.
pub(super) struct Slot {
    entry: Arc<Cached>,
    /// Which of the entry's keys this is.
    key: u32,
    /// The key's position, so that a table that grows needn't read its entries.
    position: u32,
}

impl Slot {
    fn is_at(&self, key: &Digest) -> bool {
        self.position == key.position() && self.entry.keys().get(self.key as usize) == Some(key)
    }
}

/// The table takes the bucket from the low bits and a tag from the high ones.
fn spread(position: u32) -> u64 {
    u64::from(position) << 32 | u64::from(position)
}

type Shard = HashTable<Slot>;

/// An entry to be stored, and the keys whose entries it replaces beside its own.
pub(super) struct Replacement {
    pub(super) entry: Arc<Cached>,
    pub(super) replaces: Vec<Digest>,
}

impl Replacement {
    fn keys(&self) -> impl Iterator<Item = &Digest> {
        self.entry.keys().iter().chain(&self.replaces)
    }
}

/// The entries of one application.
pub(super) struct Store {
    shards: [RwLock<Shard>; SHARDS],
    usage: Usage,
    /// Of all applications.
    total: Arc<Usage>,
    /// What flights up to this one bring is no longer wanted.
    cleared: AtomicU64,
    /// Where the next search for something to evict begins.
    hand: AtomicUsize,
}

impl Store {
    pub(super) fn new(total: Arc<Usage>) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::new(Shard::new())),
            usage: Usage::default(),
            total,
            cleared: AtomicU64::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    pub(super) fn usage(&self) -> &Usage {
        &self.usage
    }

    pub(super) fn get(&self, key: &Digest) -> Option<Arc<Cached>> {
        holder(&read(self.shard(key)), key).map(Arc::clone)
    }

    /// Stores all of `replacements`, in their order, or none: none if `begun`, the flight that brings them, began before
    /// everything was cleared.
    pub(super) fn put(&self, replacements: &[Replacement], begun: Option<u64>) {
        let mut shards = ShardSet::of(replacements.iter().flat_map(Replacement::keys));
        let mut locked = loop {
            let locked = self.lock(shards);
            // What is replaced may have further keys, in shards that aren't locked yet.
            let needed = replacements
                .iter()
                .flat_map(Replacement::keys)
                .filter_map(|key| locked.holder(key))
                .fold(shards, |set, replaced| set.with(ShardSet::of(replaced.keys())));
            if needed == shards {
                break locked;
            }
            shards = needed;
        };
        if begun.is_some_and(|begun| begun <= self.cleared.load(Ordering::Acquire)) {
            return;
        }
        for replacement in replacements {
            for key in replacement.keys() {
                if let Some(replaced) = locked.holder(key).map(Arc::clone) {
                    self.take(&mut locked, &replaced);
                }
            }
            locked.insert(&replacement.entry);
            self.usage.add(replacement.entry.bytes());
            self.total.add(replacement.entry.bytes());
        }
    }

    /// Removes an entry from under all of its keys. Returns whether it was still there.
    pub(super) fn remove(&self, entry: &Arc<Cached>) -> bool {
        let mut locked = self.lock(ShardSet::of(entry.keys()));
        let there = entry.is_alive();
        if there {
            self.take(&mut locked, entry);
        }
        there
    }

    /// Removes everything, and whatever flights up to `begun` will bring.
    pub(super) fn clear(&self, begun: u64) {
        self.cleared.fetch_max(begun, Ordering::AcqRel);
        let mut locked = self.lock(ShardSet::ALL);
        for shard in locked.0.iter_mut().flatten() {
            for slot in std::mem::take(&mut **shard) {
                if slot.entry.is_alive() {
                    slot.entry.kill();
                    self.subtract(&slot.entry);
                }
            }
        }
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
        &self.shards[key.shard()]
    }

    fn lock(&self, set: ShardSet) -> Locked<'_> {
        let mut locked = Locked(Default::default());
        for (i, (shard, guard)) in self.shards.iter().zip(&mut locked.0).enumerate() {
            if set.contains(i) {
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

    fn subtract(&self, entry: &Cached) {
        self.usage.subtract(entry.bytes());
        self.total.subtract(entry.bytes());
    }
}

impl Drop for Store {
    /// Takes the application's entries out of the totals, and marks them dead for whoever still has one.
    fn drop(&mut self) {
        self.clear(u64::MAX);
    }
}

/// Shards locked for writing, in ascending order.
struct Locked<'a>([Option<RwLockWriteGuard<'a, Shard>>; SHARDS]);

impl Locked<'_> {
    fn holder(&self, key: &Digest) -> Option<&Arc<Cached>> {
        holder(self.0[key.shard()].as_ref()?, key)
    }

    fn insert(&mut self, entry: &Arc<Cached>) {
        for (key, i) in entry.keys().iter().zip(0..) {
            if let Some(shard) = &mut self.0[key.shard()] {
                let slot = Slot { entry: Arc::clone(entry), key: i, position: key.position() };
                shard.insert_unique(spread(key.position()), slot, |slot| spread(slot.position));
            }
        }
    }

    fn remove(&mut self, entry: &Arc<Cached>) {
        for key in entry.keys() {
            if let Some(shard) = &mut self.0[key.shard()]
                && let Ok(slot) = shard.find_entry(spread(key.position()), |slot| slot.is_at(key))
            {
                slot.remove();
            }
        }
    }
}

fn holder<'a>(shard: &'a Shard, key: &Digest) -> Option<&'a Arc<Cached>> {
    shard.find(spread(key.position()), |slot| slot.is_at(key)).map(|slot| &slot.entry)
}

/// Some of the shards, a bit each.
#[derive(Clone, Copy, PartialEq)]
struct ShardSet(u16);

impl ShardSet {
    const ALL: Self = Self(u16::MAX);

    fn of<'a>(keys: impl IntoIterator<Item = &'a Digest>) -> Self {
        Self(keys.into_iter().fold(0, |set, key| set | 1 << key.shard()))
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
