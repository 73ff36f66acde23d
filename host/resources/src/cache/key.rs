//! Keys as the cache keeps them.

use std::hash::{BuildHasher as _, RandomState};

use sha2::{Digest as _, Sha256};

/// A key, hashed together with the application that it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Digest([u8; 32]);

impl Digest {
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
