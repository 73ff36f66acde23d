//! What would be random elsewhere, derived from the seed of the acquisition: the same seed gives the same values.

use alloc::string::String;

use sha2::{Digest, Sha256};

/// What a derived value is for. Values for different purposes are independent of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// The correlation id of a request that brought none.
    CorrelationId,
    /// The `jti` of a client assertion.
    AssertionId,
    /// The spread of renewals in the background.
    RefreshJitter,
    /// The PKCE verifier of a sign-in.
    CodeVerifier,
    /// The `state` of a sign-in.
    State,
    /// The `nonce` of a sign-in.
    Nonce,
    /// The name of a flight that nobody joins.
    Flight,
}

/// A random (version 4) UUID in lower case with dashes (RFC 9562). Each `counter` gives another one.
pub fn uuid(seed: &[u64; 4], purpose: Purpose, counter: u32) -> String {
    let [high, low] = draw(seed, purpose, counter);
    let version_4 = (high & !0xf000) | 0x4000;
    let variant_1 = (low & (u64::MAX >> 2)) | (1 << 63);
    alloc::format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        version_4 >> 32,
        (version_4 >> 16) & 0xffff,
        version_4 & 0xffff,
        variant_1 >> 48,
        variant_1 & 0xffff_ffff_ffff
    )
}

/// A number between `-bound` and `bound`, both included.
pub fn symmetric(seed: &[u64; 4], purpose: Purpose, bound: u32) -> i64 {
    let [number, _] = draw(seed, purpose, 0);
    let values = 2 * u64::from(bound) + 1;
    // The remainder is below 2^33.
    (number % values) as i64 - i64::from(bound)
}

/// Bytes that nobody can foretell who doesn't know the seed.
pub fn bytes<const N: usize>(seed: &[u64; 4], purpose: Purpose) -> [u8; N] {
    let mut bytes = [0; N];
    for (counter, chunk) in (0..).zip(bytes.chunks_mut(BLOCK_BYTES)) {
        chunk.iter_mut().zip(block(seed, purpose, counter)).for_each(|(byte, drawn)| *byte = drawn);
    }
    bytes
}

fn draw(seed: &[u64; 4], purpose: Purpose, counter: u32) -> [u64; 2] {
    let block = block(seed, purpose, counter);
    let word = |at: usize| block.iter().skip(at).take(8).fold(0, |word, byte| word << 8 | u64::from(*byte));
    [word(0), word(8)]
}

fn block(seed: &[u64; 4], purpose: Purpose, counter: u32) -> [u8; BLOCK_BYTES] {
    let mut hash = Sha256::new();
    for word in seed {
        hash.update(word.to_le_bytes());
    }
    hash.update([purpose as u8]);
    hash.update(counter.to_le_bytes());
    hash.finalize().into()
}

const BLOCK_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    #[test]
    fn values_repeat_for_the_same_inputs_and_differ_for_others() {
        let seed = [1, 2, 3, 4];
        let first = uuid(&seed, Purpose::AssertionId, 0);
        assert_eq!(first, uuid(&seed, Purpose::AssertionId, 0));
        let all: BTreeSet<_> = [
            first,
            uuid(&seed, Purpose::AssertionId, 1),
            uuid(&seed, Purpose::CorrelationId, 0),
            uuid(&[1, 2, 3, 5], Purpose::AssertionId, 0),
        ]
        .into();
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn bytes_are_digests_of_seed_purpose_and_counter() {
        let drawn = bytes::<40>(&[1, 2, 3, 4], Purpose::CodeVerifier);
        let hex: String = drawn.iter().map(|byte| alloc::format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "28259cb27c193735b67d4cd1bf43a118856310648b04425d9d9d471ad847e6c6\
             497d2cc8c9c5a3e4"
        );
        assert_ne!(bytes::<8>(&[1, 2, 3, 4], Purpose::State), bytes::<8>(&[1, 2, 3, 4], Purpose::Nonce));
    }

    proptest! {
        #[test]
        fn uuids_have_their_form(seed: [u64; 4], counter: u32) {
            let uuid = uuid(&seed, Purpose::CorrelationId, counter);
            let groups: alloc::vec::Vec<_> = uuid.split('-').collect();
            let lengths: alloc::vec::Vec<_> = groups.iter().map(|group| group.len()).collect();
            prop_assert_eq!(lengths, [8, 4, 4, 4, 12]);
            prop_assert!(groups[2].starts_with('4'));
            prop_assert!(groups[3].starts_with(['8', '9', 'a', 'b']));
        }

        #[test]
        fn jitter_stays_within_its_bound(seed: [u64; 4], bound in 0u32..1000) {
            let jitter = symmetric(&seed, Purpose::RefreshJitter, bound);
            prop_assert!(jitter.unsigned_abs() <= u64::from(bound));
        }
    }
}
