//! Sealing: what lies in a store that others can reach is encrypted, and can't be changed or moved unnoticed.
//!
//! A sealed value is `0x01`, the id of its key (8 bytes), a random nonce (12 bytes), the ciphertext and the tag (16 bytes):
//! AES-256-GCM (NIST SP 800-38D) with the value's full name as associated data, so that it opens under that name alone. Each
//! name has a key of its own, derived from the configured one by HKDF-SHA-256 (RFC 5869): how often a key may be used with
//! random nonces, 2³² times, then bounds how often one value is written, not all of them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::credentials::{CredentialServices, VaultSecret};
use crate::transport::TransportOptions;

/// The keys of a second level: the first seals, all open. `Debug` shows their ids only.
#[derive(Clone)]
pub struct KeyRing(Arc<[Key]>);

struct Key {
    id: [u8; ID_LEN],
    material: Prk,
}

impl KeyRing {
    /// Keys of 32 random bytes each. None if there is none.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a [u8; 32]>) -> Option<Self> {
        let keys: Arc<[Key]> = keys.into_iter().filter_map(Key::new).collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// What tells the keys apart, first the one that seals: the beginning of a digest, which tells nothing about the key.
    pub fn ids(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|key| BASE64_URL_SAFE_NO_PAD.encode(key.id))
    }

    pub(super) fn seal(&self, name: &str, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.0.first()?;
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let mut sealed = Vec::with_capacity(HEADER_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.push(SEALED);
        sealed.extend_from_slice(&key.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let body = sealed.get_mut(HEADER_LEN..)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(name.as_bytes());
        let tag = key.of(name)?.seal_in_place_separate_tag(nonce, aad, body).ok()?;
        sealed.extend_from_slice(tag.as_ref());
        Some(sealed)
    }

    /// None for what isn't a value that one of the keys sealed under this name.
    pub(super) fn open(&self, name: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (header, body) = sealed.split_at_checked(HEADER_LEN)?;
        let (id, nonce) = header.strip_prefix(&[SEALED])?.split_at_checked(ID_LEN)?;
        let key = self.0.iter().find(|key| key.id == id)?.of(name)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = key.open_in_place(nonce, Aad::from(name.as_bytes()), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }
}

impl Key {
    fn new(bytes: &[u8; 32]) -> Option<Self> {
        let material = Salt::new(HKDF_SHA256, b"symbolon second level").extract(bytes);
        let mut id = [0; ID_LEN];
        material.expand(&[b"id"], Length(ID_LEN)).ok()?.fill(&mut id).ok()?;
        Some(Self { id, material })
    }

    fn of(&self, name: &str) -> Option<LessSafeKey> {
        let info = [b"value".as_slice(), name.as_bytes()];
        let mut bytes = Zeroizing::new([0; 32]);
        self.material.expand(&info, Length(32)).ok()?.fill(&mut *bytes).ok()?;
        UnboundKey::new(&AES_256_GCM, &*bytes).ok().map(LessSafeKey::new)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRing").field(&self.ids().collect::<Vec<_>>()).finish()
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Where a key is.
#[derive(Clone, PartialEq)]
pub enum KeySource {
    /// Here.
    Key(Arc<Zeroizing<[u8; 32]>>),
    /// In a vault, from where it is fetched when it is first needed.
    KeyVault(VaultSecret),
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(_) => f.write_str("Key(..)"),
            Self::KeyVault(secret) => f.debug_tuple("KeyVault").field(secret).finish(),
        }
    }
}

/// How values lie in the store.
#[derive(Clone, Debug)]
pub enum Sealing {
    /// Encrypted and authenticated.
    Sealed(KeyRing),
    /// The same with keys of which some must be fetched. Until they are there, the second level isn't used.
    Fetched(Arc<[KeySource]>),
    /// In the clear: whoever can read the store has the tokens, and whoever can write it chooses them.
    Clear,
}

impl Sealing {
    pub(super) fn seal(&self, name: &str, plain: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Sealed(ring) => ring.seal(name, plain),
            Self::Fetched(_) => None,
            Self::Clear => Some([&[CLEAR], plain].concat()),
        }
    }

    /// Fetches the keys that are elsewhere.
    pub(super) async fn fetched(
        sources: &[KeySource],
        services: &CredentialServices,
        options: &TransportOptions,
    ) -> Result<Self, String> {
        let mut keys = Vec::with_capacity(sources.len());
        for source in sources {
            keys.push(match source {
                KeySource::Key(key) => Zeroizing::clone(key),
                KeySource::KeyVault(secret) => {
                    let value = secret.fetch(services, options).await.map_err(|error| error.to_string())?;
                    key_of(value.as_bytes())
                        .ok_or_else(|| format!("{secret} holds something else than a key"))?
                }
            });
        }
        KeyRing::new(keys.iter().map(|key| &**key)).map(Self::Sealed).ok_or_else(|| "no key".to_owned())
    }

    /// A value in the clear is none where they are sealed, and the other way round.
    pub(super) fn open(&self, name: &str, value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Sealed(ring) => ring.open(name, value),
            Self::Fetched(_) => None,
            Self::Clear => value.strip_prefix(&[CLEAR]).map(|plain| Zeroizing::new(plain.to_vec())),
        }
    }
}

/// Reads a key: 32 bytes as they are, or in base64, or in hexadecimal.
///
/// # Errors
///
/// What is wrong with the file, as an end of the sentence "the file, …".
pub fn read_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("which can't be read ({})", error.kind()))?;
    key_of(&Zeroizing::new(bytes)).ok_or_else(|| "which holds something else than a key".to_owned())
}

/// What [`read_key`] accepts.
pub const KEY_ACCEPTED: &str =
    "32 random bytes, as they are, in base64, or in hexadecimal (such as from: openssl rand -hex 32)";

pub(super) fn key_of(bytes: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let exactly = |bytes: &[u8]| bytes.try_into().ok().map(Zeroizing::new);
    exactly(bytes).or_else(|| {
        let text = std::str::from_utf8(bytes).ok()?.trim();
        match text.len() {
            64 => exactly(&hexadecimal(text)?),
            _ => exactly(&Zeroizing::new(BASE64_STANDARD.decode(text).ok()?)),
        }
    })
}

fn hexadecimal(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digits = text.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map(byte).collect::<Option<Vec<_>>>().map(Zeroizing::new)
}

const SEALED: u8 = 1;
const CLEAR: u8 = b'{';
const ID_LEN: usize = 8;
const HEADER_LEN: usize = 1 + ID_LEN + NONCE_LEN;

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(keys: &[u8]) -> KeyRing {
        let keys: Vec<_> = keys.iter().map(|byte| [*byte; 32]).collect();
        KeyRing::new(&keys).unwrap()
    }

    #[test]
    fn a_value_opens_under_its_own_name_only() {
        let sealed = ring(&[1]).seal("name", b"token").unwrap();
        assert!(!sealed.windows(5).any(|bytes| bytes == b"token"));
        assert_eq!(ring(&[1]).open("name", &sealed).as_deref().map(Vec::as_slice), Some(&b"token"[..]));
        assert!(ring(&[1]).open("nam", &sealed).is_none());
        assert!(ring(&[2]).open("name", &sealed).is_none());
        assert_ne!(ring(&[1]).seal("name", b"token"), Some(sealed));
    }

    #[test]
    fn no_bit_of_a_value_can_change() {
        let ring = ring(&[1]);
        let sealed = ring.seal("name", b"token").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(ring.open("name", &changed).is_none(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(ring.open("name", &sealed[..length]).is_none(), "{length} bytes");
        }
    }

    #[test]
    fn keys_rotate() {
        let (old, both, new) = (ring(&[1]), ring(&[2, 1]), ring(&[2]));
        let sealed = old.seal("name", b"token").unwrap();
        assert!(both.open("name", &sealed).is_some());
        assert!(new.open("name", &sealed).is_none());
        let sealed = both.seal("name", b"token").unwrap();
        assert!(new.open("name", &sealed).is_some());
        assert_eq!(both.ids().next(), new.ids().next());
    }

    #[test]
    fn clear_and_sealed_values_are_not_mistaken_for_each_other() {
        let (sealing, clear) = (Sealing::Sealed(ring(&[1])), Sealing::Clear);
        assert!(sealing.open("name", &clear.seal("name", b"token").unwrap()).is_none());
        assert!(clear.open("name", &sealing.seal("name", b"token").unwrap()).is_none());
    }

    #[test]
    fn keys_are_read_in_three_forms() {
        let key = [7; 32];
        let hex = "07".repeat(32) + "\n";
        for form in [key.to_vec(), hex.into_bytes(), BASE64_STANDARD.encode(key).into_bytes()] {
            assert_eq!(key_of(&form).as_deref(), Some(&key));
        }
        for other in ["", "07", &"zz".repeat(32), &BASE64_STANDARD.encode([7; 31])] {
            assert!(key_of(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let text = format!("{:?}", Sealing::Sealed(ring(&[0x41])));
        assert!(!text.contains("AAAA") && !text.contains("65, 65"), "{text}");
    }
}
