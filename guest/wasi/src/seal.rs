//! What goes into a store that others can read: encrypted, authenticated, and under names that tell nothing.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The key of `Symbolon:CacheKey`, bound to one application.
pub struct Seal {
    key: Zeroizing<[u8; 32]>,
}

/// The bytes of a nonce.
pub const NONCE_BYTES: usize = 24;

impl Seal {
    /// Takes 32 bytes in base64, for one application: entries of others don't open under it.
    ///
    /// # Errors
    ///
    /// What was found and is accepted.
    pub fn from_base64(key: &str, application: &[&str]) -> Result<Self, &'static str> {
        const ACCEPTED: &str =
            "Symbolon:CacheKey: found something else than 32 bytes; accepted: 32 random bytes in base64";
        let given = Zeroizing::new(BASE64_STANDARD.decode(key.trim()).map_err(|_| ACCEPTED)?);
        let key = <&[u8; 32]>::try_from(given.as_slice()).map_err(|_| ACCEPTED)?;
        Ok(Self::new(key, application))
    }

    /// Takes 32 bytes, for one application.
    pub fn new(key: &[u8; 32], application: &[&str]) -> Self {
        Self { key: Zeroizing::new(digest(key, application)) }
    }

    /// The name under which something is stored.
    pub fn name(&self, parts: &[&str]) -> String {
        let digest = digest(&*self.key, parts);
        digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a string can't fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// Encrypts a value for its name, with a nonce that is never used again.
    pub fn close(&self, name: &str, nonce: [u8; NONCE_BYTES], value: &[u8]) -> Option<Vec<u8>> {
        let payload = Payload { msg: value, aad: name.as_bytes() };
        let mut sealed = nonce.to_vec();
        sealed.extend(self.cipher().encrypt(XNonce::from_slice(&nonce), payload).ok()?);
        Some(sealed)
    }

    /// Decrypts a value that was encrypted for this name; `None` for anything else.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, msg) = sealed.split_at_checked(NONCE_BYTES)?;
        let payload = Payload { msg, aad: name.as_bytes() };
        self.cipher().decrypt(XNonce::from_slice(nonce), payload).ok().map(Zeroizing::new)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.key).into())
    }
}

impl core::fmt::Debug for Seal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seal")
    }
}

/// The key comes first and is of one length, each part after its length: no two inputs are the same bytes.
fn digest(key: &[u8], parts: &[&str]) -> [u8; 32] {
    let mut digest = Sha256::new_with_prefix(key);
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(application: &str) -> Seal {
        Seal::new(&[7; 32], &[application])
    }

    #[test]
    fn a_value_opens_under_its_name_and_application_alone() {
        let (own, other) = (seal("a"), seal("b"));
        let sealed = own.close("name", [1; NONCE_BYTES], b"canary").unwrap();
        assert_eq!(own.open("name", &sealed).as_deref().map(Vec::as_slice), Some(&b"canary"[..]));
        assert!(!sealed.windows(6).any(|bytes| bytes == b"canary"));
        assert_eq!(own.open("another", &sealed), None);
        assert_eq!(other.open("name", &sealed), None);
        assert_eq!(own.open("name", &sealed[..NONCE_BYTES]), None);
        let mut damaged = sealed;
        damaged[NONCE_BYTES] ^= 1;
        assert_eq!(own.open("name", &damaged), None);
    }

    #[test]
    fn names_tell_parts_apart() {
        let own = seal("a");
        assert_ne!(own.name(&["ab", "c"]), own.name(&["a", "bc"]));
        assert_ne!(own.name(&["x"]), seal("b").name(&["x"]));
        assert_eq!(own.name(&["x"]).len(), 64);
    }

    #[test]
    fn a_key_has_32_bytes() {
        for wrong in ["", "canary!", &BASE64_STANDARD.encode([7; 31])] {
            assert!(!Seal::from_base64(wrong, &[]).unwrap_err().contains("canary"));
        }
        let given = Seal::from_base64(&BASE64_STANDARD.encode([7; 32]), &["a"]).unwrap();
        assert_eq!(given.name(&["x"]), seal("a").name(&["x"]));
    }
}
