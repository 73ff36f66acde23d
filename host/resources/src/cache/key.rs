//! Keys as the cache keeps them.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use siphasher::sip128::{Hasher128 as _, SipHasher24};

/// A key, hashed together with the application that it belongs to.
///
/// SipHash-2-4, 128 bits, under a key that only this process has, as in [`RequestDigest`](super::RequestDigest): two keys
/// have the same digest with a chance of 2⁻¹²⁸, whoever chose them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Digest(pub(super) [u64; 2]);

impl Digest {
    /// One that is no key's, but for a chance of 2⁻⁶⁴.
    pub(super) fn of_number(number: u64) -> Self {
        Self([number, 0])
    }

    /// Where the key lies in the index.
    pub(super) fn position(&self) -> Position {
        Position(self.0[0] as u32)
    }
}

/// Where a key lies in the index: so much of its digest that few others lie there, too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Position(pub(super) u32);

impl Position {
    /// Which of the shards has the key.
    pub(super) fn shard(self) -> usize {
        self.0 as usize % super::store::SHARDS
    }

    /// Where in the shard: a table takes the bucket from the low bits and a tag from the high ones.
    pub(super) fn hash(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.0.rotate_right(super::store::SHARDS.ilog2()))
    }
}

/// Makes the keys of one application, which differ from all keys of all others.
#[derive(Clone)]
pub(super) struct Keyspace(SipHasher24);

impl Keyspace {
    /// `seed` is the process's own, so that nobody outside can choose keys that collide.
    pub(super) fn new(seed: [u8; 16], application: &str) -> Self {
        let mut hasher = SipHasher24::new_with_key(&seed);
        hasher.write_u64(application.len() as u64);
        hasher.write(application.as_bytes());
        Self(hasher)
    }

    /// The digest of the length of the application's id, that id, and the key.
    pub(super) fn digest(&self, key: &str) -> Digest {
        let mut hasher = self.0;
        hasher.write(key.as_bytes());
        let hash = hasher.finish128();
        Digest([hash.h1, hash.h2])
    }

    /// The digests of keys, each once, in the order of the keys.
    pub(super) fn digests(&self, keys: &[String]) -> Vec<Digest> {
        let mut known = HashSet::with_capacity(keys.len());
        keys.iter().map(|key| self.digest(key)).filter(|digest| known.insert(*digest)).collect()
    }
}

/// What a key takes in the index: its slot and control byte at a load of three quarters.
pub(super) const INDEX_BYTES: usize = (size_of::<super::store::Slot>() + 1) * 4 / 3;
/// What a member takes in its group: its place in a tree whose nodes are two thirds full.
pub(super) const MEMBER_BYTES: usize = size_of::<super::groups::Member>() * 3 / 2;

/// 16 bytes that nobody outside of this process knows: the standard library keys its hash tables from the operating
/// system's generator, and their hash (SipHash-1-3) of anything is as unpredictable as that key.
pub(super) fn random_seed() -> [u8; 16] {
    let state = RandomState::new();
    let mut seed = [0; 16];
    for (half, bytes) in seed.chunks_exact_mut(8).enumerate() {
        bytes.copy_from_slice(&state.hash_one(half).to_le_bytes());
    }
    seed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_application_and_by_process() {
        let digest = |seed, application, key| Keyspace::new(seed, application).digest(key).0;
        let [one, other] = [random_seed(), random_seed()];
        assert_ne!(one, other);
        assert_eq!(digest(one, "app", "key"), digest(one, "app", "key"));
        assert_ne!(digest(one, "app", "key"), digest(other, "app", "key"));
        assert_ne!(digest(one, "app", "key"), digest(one, "api", "key"));
        assert_ne!(digest(one, "app", "key"), digest(one, "ap", "pkey"));
        assert_ne!(digest(one, "", "appkey"), digest(one, "app", "key"));
    }
}
