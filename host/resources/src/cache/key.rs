//! Keys as the cache keeps them: those that an entry lies under, and those of the groups that it belongs to.

use std::hash::{BuildHasher as _, RandomState};

use sha2::{Digest as _, Sha256};

/// A key, hashed together with the application that it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    /// One that is no key's, but for a chance of 2⁻¹⁹².
    pub(super) fn of_number(number: u64) -> Self {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_le_bytes());
        Self(digest)
    }

    /// Which of the shards has the key.
    pub(super) fn shard(&self) -> usize {
        usize::from(self.0[0]) % super::store::SHARDS
    }

    /// Where the key lies in its shard.
    pub(super) fn position(&self) -> u32 {
        u32::from_le_bytes([self.0[1], self.0[2], self.0[3], self.0[4]])
    }
}

/// Makes the keys of one application, which differ from all keys of all others.
#[derive(Clone)]
pub(super) struct Keyspace(Sha256);

impl Keyspace {
    /// `seed` is the process's own, so that nobody outside can choose keys that collide in the index.
    pub(super) fn new(seed: [u8; 16], application: &str) -> Self {
        let length = (application.len() as u64).to_le_bytes();
        Self(Sha256::new().chain_update(seed).chain_update(length).chain_update(application))
    }

    /// SHA-256 of the seed, the length of the application's id, that id, and the key.
    pub(super) fn digest(&self, key: &str) -> Digest {
        Digest(self.0.clone().chain_update(key).finalize().into())
    }
}

/// The keys of an entry, and the groups that it belongs to. Most have one key and no group.
pub(super) enum Keys {
    One([Digest; 1]),
    Many { keys: Box<[Digest]>, membership: Option<Box<Membership>> },
}

impl Keys {
    /// None if there are no keys.
    pub(super) fn new(keys: Vec<Digest>, membership: Option<Membership>) -> Option<Self> {
        let keys = sorted(keys);
        match (&*keys, membership) {
            ([], _) => None,
            ([key], None) => Some(Self::One([*key])),
            (_, membership) => Some(Self::Many { membership: membership.map(Box::new), keys }),
        }
    }

    pub(super) fn as_slice(&self) -> &[Digest] {
        match self {
            Self::One(key) => key,
            Self::Many { keys, .. } => keys,
        }
    }

    pub(super) fn membership(&self) -> Option<&Membership> {
        match self {
            Self::One(_) => None,
            Self::Many { membership, .. } => membership.as_deref(),
        }
    }

    /// What they take in memory outside of themselves, with their share of the index and of the groups.
    pub(super) fn bytes(&self) -> usize {
        let outside = match self {
            Self::One(_) => 0,
            Self::Many { keys, .. } => size_of_val::<[Digest]>(keys),
        };
        outside + self.as_slice().len() * INDEX_BYTES + self.membership().map_or(0, Membership::bytes)
    }
}

/// The groups of an entry.
pub(super) struct Membership {
    groups: Box<[Digest]>,
    number: u64,
}

impl Membership {
    /// `number` is the entry's own, and higher than that of older ones.
    pub(super) fn new(groups: Vec<Digest>, number: u64) -> Self {
        Self { groups: sorted(groups), number }
    }

    pub(super) fn groups(&self) -> &[Digest] {
        &self.groups
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.groups.len() * (size_of::<Digest>() + MEMBER_BYTES)
    }
}

/// In ascending order, each once.
fn sorted(mut digests: Vec<Digest>) -> Box<[Digest]> {
    digests.sort_unstable();
    digests.dedup();
    digests.into_boxed_slice()
}

/// What a key takes in the index: its slot and control byte at a load of three quarters.
const INDEX_BYTES: usize = (size_of::<super::store::Slot>() + 1) * 4 / 3;
/// What a member takes in its group: its place in a tree whose nodes are two thirds full.
const MEMBER_BYTES: usize = size_of::<super::groups::Member>() * 3 / 2;

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
