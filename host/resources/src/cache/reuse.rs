//! The reuse map: answers to whole requests, so that the same request needn't be thought through again.
//!
//! Whoever answers decides for how long an answer stands ([`Reuse`]); the map only remembers. It points to the cache's entry
//! and doesn't keep it: when that is removed, replaced or evicted, the answer is gone.

use std::fmt;
use std::hash::Hasher as _;
use std::sync::{Arc, Weak};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hashbrown::HashTable;
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::sync::RwLock;

use super::cached::{Cached, Value};
use super::front::{self, Held};
use super::key::random_seed;
use super::locks::{read, write};
use super::store::sample;

/// Stands for a request: equal requests have equal digests.
///
/// SipHash-2-4 of the request, 128 bits, under a key that only this map of this process has and that nothing reveals. It is
/// used as what it is, a message authentication code: two requests that differ have the same digest with a chance of
/// 2⁻¹²⁸, whoever chose them, so a record needn't hold its request. Measured on 180 bytes in 9 fields, on two shared cores:
/// SHA-256, with the processor's own instructions for it, takes 228 ns, this 110 ns.
///
/// In the place of a long field, such as a user's token, stands its tag by AES-GMAC (NIST SP 800-38D), under a secret key of
/// its own and always the same nonce. That reveals nothing, because no tag leaves the map, and is the universal hash that
/// GMAC is built on: two fields of up to 2 kB have the same tag with a chance below 2⁻¹²⁰. On 2 kB it takes 121 ns, SipHash
/// 807 ns, SHA-256 1.3 µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestDigest([u64; 2]);

/// Makes a [`RequestDigest`]. The caller gives all fields that make a difference, always in the same order.
// Inlined into the caller's crate: calls would cost as much again as the hashing.
#[derive(Clone)]
pub struct RequestHasher<'a> {
    hasher: SipHasher24,
    long_fields: &'a LessSafeKey,
}

impl RequestHasher<'_> {
    /// A field of any length. Its length is part of it, so that neighbours can't run into each other.
    #[inline]
    pub fn field(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        self.number(bytes.len() as u64);
        match (bytes.len() >= LONG_FIELD).then(|| tag(self.long_fields, bytes)).flatten() {
            Some(tag) => self.hasher.write(&tag),
            None => self.hasher.write(bytes),
        }
        self
    }

    /// A field that may be absent, which is something else than empty.
    #[inline]
    pub fn optional(&mut self, bytes: Option<impl AsRef<[u8]>>) -> &mut Self {
        self.hasher.write_u8(if bytes.is_some() { PRESENT } else { ABSENT });
        if let Some(bytes) = bytes {
            self.field(bytes);
        }
        self
    }

    /// A number: a flag, a case, or how many fields of a list follow.
    #[inline]
    pub fn number(&mut self, number: u64) -> &mut Self {
        // Most are small, and each byte takes time.
        match u8::try_from(number) {
            Ok(small) if small < PRESENT => self.hasher.write_u8(small),
            _ => {
                self.hasher.write_u8(LARGE);
                self.hasher.write_u64(number);
            }
        }
        self
    }

    /// The digest of all fields so far.
    #[inline]
    pub fn finish(&self) -> RequestDigest {
        let hash = self.hasher.finish128();
        RequestDigest([hash.h1, hash.h2])
    }
}

impl fmt::Debug for RequestHasher<'_> {
    /// Leaves out the state, which holds the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHasher").finish_non_exhaustive()
    }
}

/// For how long an answer stands. Times are Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reuse {
    /// From here on the question must be asked again.
    pub until: u64,
    /// From here on a renewal in the background is due; the answer still stands.
    pub refresh_from: Option<u64>,
    /// The generation of the certificate that the answer is bound to: it stands while that one is in use.
    pub generation: Option<u64>,
}

/// An answer that stands.
#[derive(Debug)]
pub struct Reused {
    /// The entry, still in the cache.
    pub entry: Held,
    /// Whether a renewal is due that nobody is at yet: see [`Cached::claim_refresh`].
    pub refresh_due: bool,
}

/// The reuse map of one application.
pub struct ReuseMap {
    hash_key: [u8; 16],
    long_fields: LessSafeKey,
    max_records_per_shard: usize,
    shards: [Shard; SHARDS],
}

/// A part of the map, on cache lines of its own.
#[derive(Default)]
#[repr(align(64))]
struct Shard(RwLock<HashTable<Record<Weak<Cached>>>>);

/// An answer that is remembered, with the entry that `E` points to. A million of these should be small.
pub(super) struct Record<E> {
    pub(super) request: RequestDigest,
    pub(super) entry: E,
    /// Later times than there are, in 2106, are this early.
    until: u32,
    /// [`NONE`] where none is due.
    refresh_from: u32,
    /// [`NONE`] where the answer isn't bound.
    generation: u32,
}

impl ReuseMap {
    /// An empty map for up to `max_records` answers, rounded up to the next multiple of 32. When it is full, an answer that
    /// no longer stands makes room, else the least recently used of a few.
    pub fn new(max_records: usize) -> Self {
        Self {
            hash_key: random_seed(),
            long_fields: tag_key(random_seed()),
            max_records_per_shard: max_records.div_ceil(SHARDS),
            shards: std::array::from_fn(|_| Shard::default()),
        }
    }

    /// Begins the digest of a request. Digests of one map mean nothing to another.
    #[inline]
    pub fn request(&self) -> RequestHasher<'_> {
        RequestHasher { hasher: SipHasher24::new_with_key(&self.hash_key), long_fields: &self.long_fields }
    }

    /// The answer to a request, if there is one that stands now. `generation` is that of the application's certificate.
    pub fn get(&self, request: RequestDigest, now_unix_ms: u64, generation: Option<u64>) -> Option<Reused> {
        if let Some(reused) = front::get(request, now_unix_ms, generation) {
            return Some(reused);
        }
        let shard = read(self.shard(request));
        let record = find(&shard, request)?.upgrade()?;
        drop(shard);
        let refresh_due = record.stands(&record.entry, now_unix_ms, generation)?;
        Some(Reused { entry: front::hold(record), refresh_due })
    }

    /// Remembers an answer, in the place of an earlier one to the same request.
    pub fn remember(&self, request: RequestDigest, entry: &Arc<Cached>, reuse: Reuse, now_unix_ms: u64) {
        let Some(record) = Record::new(request, entry, reuse) else { return };
        let mut shard = write(self.shard(request));
        if let Some(known) = shard.find_mut(request.position(), |record| record.request == request) {
            *known = record;
            return;
        }
        if shard.len() >= self.max_records_per_shard {
            evict(&mut shard, request, now_unix_ms / 1000);
        }
        shard.insert_unique(request.position(), record, |record| record.request.position());
    }

    /// How many answers are remembered, those that no longer stand included.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| read(&shard.0).len()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, request: RequestDigest) -> &RwLock<HashTable<Record<Weak<Cached>>>> {
        &self.shards[request.0[1] as usize % SHARDS].0
    }
}

impl RequestDigest {
    fn position(self) -> u64 {
        self.0[0]
    }

    /// Among those of a thread. Neither the position nor the shard say anything about it.
    pub(super) fn place(self) -> usize {
        (self.0[1] >> 32) as usize
    }
}

impl Record<Weak<Cached>> {
    /// None for a generation too high to be kept: such an answer has to be asked for each time.
    fn new(request: RequestDigest, entry: &Arc<Cached>, reuse: Reuse) -> Option<Self> {
        let time = |unix: u64| u32::try_from(unix).unwrap_or(NONE);
        let generation = reuse.generation.map_or(Some(NONE), |generation| {
            u32::try_from(generation).ok().filter(|generation| *generation != NONE)
        });
        Some(Self {
            request,
            entry: Arc::downgrade(entry),
            until: time(reuse.until),
            refresh_from: reuse.refresh_from.map_or(NONE, time),
            generation: generation?,
        })
    }

    /// The same while the entry can't go. None where it is gone.
    fn upgrade(&self) -> Option<Record<Arc<Cached>>> {
        let &Self { request, ref entry, until, refresh_from, generation } = self;
        Some(Record { request, entry: entry.upgrade()?, until, refresh_from, generation })
    }

    /// In which order records are evicted, least first.
    fn worth(&self, now_unix: u64) -> Option<(Value, u32)> {
        let entry =
            self.entry.upgrade().filter(|entry| now_unix < u64::from(self.until) && entry.is_alive())?;
        Some(entry.worth(now_unix))
    }
}

impl<E> Record<E> {
    /// Whether the answer stands now, and if so, whether a renewal is due that nobody is at yet. `entry` is its own.
    #[inline]
    pub(super) fn stands(&self, entry: &Cached, now_unix_ms: u64, generation: Option<u64>) -> Option<bool> {
        let now_unix = now_unix_ms / 1000;
        let is_current = self.generation == NONE || Some(u64::from(self.generation)) == generation;
        if now_unix >= u64::from(self.until) || !is_current || !entry.is_alive() {
            return None;
        }
        entry.touch(now_unix);
        Some(now_unix >= u64::from(self.refresh_from) && entry.refresh_is_claimable(now_unix_ms))
    }

    /// The same with another pointer to the entry.
    pub(super) fn map<F>(self, pointer: impl FnOnce(E) -> F) -> Record<F> {
        let Self { request, entry, until, refresh_from, generation } = self;
        Record { request, entry: pointer(entry), until, refresh_from, generation }
    }
}

impl fmt::Debug for ReuseMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReuseMap").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// # Panics
///
/// Never: the key has the length that the algorithm wants.
#[expect(clippy::expect_used, reason = "16 bytes are a key of AES-128")]
fn tag_key(key: [u8; 16]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).expect("16 bytes are a key of AES-128"))
}

/// What stands for a long field. It has none beyond the algorithm's limits, and is hashed like a short one then.
fn tag(key: &LessSafeKey, bytes: &[u8]) -> Option<[u8; 16]> {
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(bytes), &mut []).ok()?;
    tag.as_ref().try_into().ok()
}

/// Most records lie where their digest alone says, so that is looked at first: a look-up through the table reads its tags,
/// waits for them, and then waits for the record.
fn find(shard: &HashTable<Record<Weak<Cached>>>, request: RequestDigest) -> Option<&Record<Weak<Cached>>> {
    let home = request.position() as usize & shard.num_buckets().wrapping_sub(1);
    let is_it = |record: &&Record<_>| record.request == request;
    shard.get_bucket(home).filter(is_it).or_else(|| shard.find(request.position(), |record| is_it(&record)))
}

/// Removes the least worthy of a few records, chosen by the request that needs the room, which is as good as at random.
fn evict(shard: &mut HashTable<Record<Weak<Cached>>>, request: RequestDigest, now_unix: u64) {
    let start = request.position() as usize % shard.num_buckets().max(1);
    let least =
        sample(shard, start, SAMPLE).min_by_key(|record| record.worth(now_unix)).map(|record| record.request);
    if let Some(least) = least
        && let Ok(record) = shard.find_entry(least.position(), |record| record.request == least)
    {
        record.remove();
    }
}

/// From how many bytes on a field is a long one: there both ways take about 80 ns.
const LONG_FIELD: usize = 256;
const SHARDS: usize = 32;
const SAMPLE: usize = 8;
/// A time that isn't, and the generation of an answer that isn't bound.
const NONE: u32 = u32::MAX;
/// What stands in front of a field that may be absent, in the place of one that is, and in front of a large number. Smaller
/// numbers are a byte.
const PRESENT: u8 = 253;
const ABSENT: u8 = 254;
const LARGE: u8 = 255;
