//! Keys that open encrypted tokens (RFC 7516): certificates whose public half the authority has.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA256, HMAC_SHA512};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::error::LoadError;
use super::files;
use super::material::{MAX_BYTES, Material};
use super::secret::CertificatePassword;

/// A key that opens encrypted tokens. Cheap to clone; `Debug` shows nothing of it.
#[derive(Clone)]
pub struct DecryptionKey(Arc<OaepPrivateDecryptingKey>);

/// Why an encrypted token can't be opened. Says nothing of what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecryptionError {
    /// It has no five parts, or one of them isn't what it should be.
    #[error("the encrypted token is malformed")]
    Malformed,
    /// It is encrypted in a way that isn't accepted.
    #[error("the encryption of the token isn't supported")]
    Unsupported,
    /// No key opens it, or it was changed.
    #[error("the encrypted token can't be decrypted")]
    Failed,
}

/// RFC 7516 §4.1, what is needed of it.
#[derive(Deserialize)]
struct Header {
    alg: String,
    enc: String,
    zip: Option<String>,
    crit: Option<Vec<String>>,
}

impl DecryptionKey {
    /// Reads the private key of a certificate: PEM (PKCS#8) or PKCS#12, with an RSA key.
    ///
    /// # Errors
    ///
    /// [`LoadError`] says what was found and what is accepted.
    pub fn from_bytes(bytes: &[u8], password: Option<&CertificatePassword>) -> Result<Self, LoadError> {
        let material = Material::parse(bytes, password)?;
        let key = material.keys.iter().find_map(|key| match &**key {
            PrivateKeyDer::Pkcs8(der) => PrivateDecryptingKey::from_pkcs8(der.secret_pkcs8_der()).ok(),
            _ => None,
        });
        let key = key.and_then(|key| OaepPrivateDecryptingKey::new(key).ok());
        key.map(|key| Self(Arc::new(key))).ok_or(LoadError::NoPrivateKey)
    }

    /// Reads such a file. Blocks on the file system.
    ///
    /// # Errors
    ///
    /// As [`from_bytes`](Self::from_bytes); the file's path isn't part of the error.
    pub fn from_file(path: &Path, password: Option<&CertificatePassword>) -> Result<Self, LoadError> {
        Self::from_bytes(&files::read(path, MAX_BYTES)?, password)
    }

    fn unwrap(&self, algorithm: &'static OaepAlgorithm, wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut buffer = Zeroizing::new(vec![0; self.0.min_output_size()]);
        let length = self.0.decrypt(algorithm, wrapped, &mut buffer, None).ok()?.len();
        buffer.truncate(length);
        Some(buffer)
    }
}

impl fmt::Debug for DecryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecryptionKey").finish_non_exhaustive()
    }
}

/// What is in an encrypted token (compact serialization, RFC 7516 §7.1), by the first of the keys that opens it. The key is
/// wrapped by `RSA-OAEP` or `RSA-OAEP-256`, the content encrypted by `A128CBC-HS256`, `A256CBC-HS512`, `A128GCM` or `A256GCM`
/// (RFC 7518 §4.3, §5).
///
/// # Errors
///
/// [`DecryptionError`].
pub fn decrypt_token(token: &str, keys: &[DecryptionKey]) -> Result<String, DecryptionError> {
    let mut parts = token.split('.');
    let mut next = || parts.next().ok_or(DecryptionError::Malformed);
    let (protected, wrapped, iv, ciphertext, tag) = (next()?, next()?, next()?, next()?, next()?);
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| DecryptionError::Malformed);
    let header: Header =
        serde_json::from_slice(&decode(protected)?).map_err(|_| DecryptionError::Malformed)?;
    let (wrapped, iv, ciphertext, tag) = (decode(wrapped)?, decode(iv)?, decode(ciphertext)?, decode(tag)?);
    if header.zip.is_some() || header.crit.is_some() || parts.next().is_some() {
        return Err(DecryptionError::Unsupported);
    }
    let wrapping = match header.alg.as_str() {
        "RSA-OAEP" => &OAEP_SHA1_MGF1SHA1,
        "RSA-OAEP-256" => &OAEP_SHA256_MGF1SHA256,
        _ => return Err(DecryptionError::Unsupported),
    };
    let encryption = Encryption::parse(&header.enc).ok_or(DecryptionError::Unsupported)?;
    let sealed = Sealed { aad: protected.as_bytes(), iv: &iv, ciphertext: &ciphertext, tag: &tag };
    let open = |key: &DecryptionKey| encryption.open(&key.unwrap(wrapping, &wrapped)?, &sealed);
    let content = keys.iter().find_map(open).ok_or(DecryptionError::Failed)?;
    String::from_utf8(content).map_err(|_| DecryptionError::Malformed)
}

struct Sealed<'a> {
    aad: &'a [u8],
    iv: &'a [u8],
    ciphertext: &'a [u8],
    tag: &'a [u8],
}

enum Encryption {
    /// A key of so many bytes, half of it for the tag.
    CbcHmac(usize),
    /// A key of so many bytes.
    Gcm(usize),
}

impl Encryption {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "A128CBC-HS256" => Some(Self::CbcHmac(32)),
            "A256CBC-HS512" => Some(Self::CbcHmac(64)),
            "A128GCM" => Some(Self::Gcm(16)),
            "A256GCM" => Some(Self::Gcm(32)),
            _ => None,
        }
    }

    /// What was sealed with the key, unless something was changed.
    fn open(&self, key: &[u8], sealed: &Sealed<'_>) -> Option<Vec<u8>> {
        match self {
            Self::CbcHmac(length) if key.len() == *length => open_cbc(key, sealed),
            Self::Gcm(length) if key.len() == *length => open_gcm(key, sealed),
            _ => None,
        }
    }
}

/// RFC 7518 §5.2.2.2: the tag is looked at before anything is decrypted.
fn open_cbc(key: &[u8], sealed: &Sealed<'_>) -> Option<Vec<u8>> {
    let (for_tag, for_content) = key.split_at(key.len() / 2);
    let (digest, cipher) =
        if for_tag.len() == 16 { (HMAC_SHA256, &AES_128) } else { (HMAC_SHA512, &AES_256) };
    let mut context = hmac::Context::with_key(&hmac::Key::new(digest, for_tag));
    let bits = u64::try_from(sealed.aad.len()).ok()?.checked_mul(8)?;
    for part in [sealed.aad, sealed.iv, sealed.ciphertext, bits.to_be_bytes().as_slice()] {
        context.update(part);
    }
    let tag = context.sign();
    verify_slices_are_equal(tag.as_ref().get(..for_tag.len())?, sealed.tag).ok()?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(cipher, for_content).ok()?).ok()?;
    let iv: [u8; 16] = sealed.iv.try_into().ok()?;
    let mut content = sealed.ciphertext.to_vec();
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    Some(key.decrypt(&mut content, context).ok()?.to_vec())
}

fn open_gcm(key: &[u8], sealed: &Sealed<'_>) -> Option<Vec<u8>> {
    let cipher = if key.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
    let key = LessSafeKey::new(UnboundKey::new(cipher, key).ok()?);
    let nonce: [u8; NONCE_LEN] = sealed.iv.try_into().ok()?;
    let mut content = [sealed.ciphertext, sealed.tag].concat();
    let nonce = Nonce::assume_unique_for_key(nonce);
    // A shorter tag would be easier to guess.
    if sealed.tag.len() != cipher.tag_len() {
        return None;
    }
    Some(key.open_in_place(nonce, Aad::from(sealed.aad), &mut content).ok()?.to_vec())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::cipher::{EncryptionContext, PaddedBlockEncryptingKey};
    use aws_lc_rs::rsa::{KeySize, OaepPublicEncryptingKey};

    use super::*;

    fn pair() -> (DecryptionKey, OaepPublicEncryptingKey) {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).expect("a key");
        let public = OaepPublicEncryptingKey::new(key.public_key()).expect("its public half");
        let der =
            aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&key).expect("PKCS#8");
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            base64::prelude::BASE64_STANDARD.encode(der.as_ref())
        );
        (DecryptionKey::from_bytes(pem.as_bytes(), None).expect("a key for decryption"), public)
    }

    /// RFC 7516 §5.1, by the other half of the library.
    fn encrypt(public: &OaepPublicEncryptingKey, alg: &str, enc: &str, content: &[u8]) -> [String; 5] {
        let wrapping = if alg == "RSA-OAEP" { &OAEP_SHA1_MGF1SHA1 } else { &OAEP_SHA256_MGF1SHA256 };
        let length = match enc {
            "A128GCM" => 16,
            "A256CBC-HS512" => 64,
            _ => 32,
        };
        let key: Vec<u8> = (0..length).map(|index| index * 3 + 1).collect();
        let mut wrapped = vec![0; public.ciphertext_size()];
        let wrapped = public.encrypt(wrapping, &key, &mut wrapped, None).expect("wrapped").to_vec();
        let header = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}","enc":"{enc}","cty":"JWT"}}"#));
        let (iv, ciphertext, tag) = match enc.contains("GCM") {
            true => {
                let cipher = if length == 16 { &AES_128_GCM } else { &AES_256_GCM };
                let sealing = LessSafeKey::new(UnboundKey::new(cipher, &key).expect("a key"));
                let mut sealed = content.to_vec();
                let nonce = Nonce::assume_unique_for_key([7; NONCE_LEN]);
                sealing
                    .seal_in_place_append_tag(nonce, Aad::from(header.as_bytes()), &mut sealed)
                    .expect("sealed");
                let tag = sealed.split_off(sealed.len() - 16);
                (vec![7; NONCE_LEN], sealed, tag)
            }
            false => {
                let (for_tag, for_content) = key.split_at(key.len() / 2);
                let (digest, cipher) =
                    if length == 32 { (HMAC_SHA256, &AES_128) } else { (HMAC_SHA512, &AES_256) };
                let encrypting = PaddedBlockEncryptingKey::cbc_pkcs7(
                    UnboundCipherKey::new(cipher, for_content).expect("a key"),
                );
                let mut sealed = content.to_vec();
                let context = EncryptionContext::Iv128(FixedLength::from([9; 16]));
                encrypting.expect("a cipher").less_safe_encrypt(&mut sealed, context).expect("sealed");
                let bits = (header.len() as u64 * 8).to_be_bytes();
                let input =
                    [header.as_bytes(), [9; 16].as_slice(), sealed.as_slice(), bits.as_slice()].concat();
                let tag =
                    hmac::sign(&hmac::Key::new(digest, for_tag), &input).as_ref()[..for_tag.len()].to_vec();
                (vec![9; 16], sealed, tag)
            }
        };
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        [header, encode(&wrapped), encode(&iv), encode(&ciphertext), encode(&tag)]
    }

    #[test]
    fn what_was_encrypted_for_a_key_is_opened_by_it_and_nothing_that_was_changed() {
        let ((key, public), (other, _)) = (pair(), pair());
        for alg in ["RSA-OAEP", "RSA-OAEP-256"] {
            for enc in ["A128CBC-HS256", "A256CBC-HS512", "A128GCM", "A256GCM"] {
                let parts = encrypt(&public, alg, enc, b"a.signed.token");
                let opened = decrypt_token(&parts.join("."), &[other.clone(), key.clone()]);
                assert_eq!(opened.as_deref(), Ok("a.signed.token"), "{alg} {enc}");
                assert_eq!(
                    decrypt_token(&parts.join("."), std::slice::from_ref(&other)),
                    Err(DecryptionError::Failed)
                );
                for part in 1..5 {
                    let mut changed = parts.clone();
                    let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(&changed[part]).expect("base64");
                    bytes[0] ^= 1;
                    changed[part] = BASE64_URL_SAFE_NO_PAD.encode(bytes);
                    let opened = decrypt_token(&changed.join("."), std::slice::from_ref(&key));
                    assert_eq!(opened, Err(DecryptionError::Failed), "{alg} {enc} {part}");
                }
                // The tag covers the header, however it is written.
                let mut changed = parts.clone();
                let header = format!(r#"{{"enc":"{enc}","alg":"{alg}"}}"#);
                changed[0] = BASE64_URL_SAFE_NO_PAD.encode(header);
                assert_eq!(
                    decrypt_token(&changed.join("."), std::slice::from_ref(&key)),
                    Err(DecryptionError::Failed)
                );
                // As much of a tag as there is isn't enough.
                let mut cut = parts;
                cut[4] = cut[4][..8].to_owned();
                assert_eq!(
                    decrypt_token(&cut.join("."), std::slice::from_ref(&key)),
                    Err(DecryptionError::Failed)
                );
            }
        }
    }

    #[test]
    fn other_encryptions_are_refused() {
        let (key, public) = pair();
        let parts = encrypt(&public, "RSA-OAEP", "A128GCM", b"token");
        for header in [
            r#"{"alg":"RSA1_5","enc":"A128GCM"}"#,
            r#"{"alg":"dir","enc":"A128GCM"}"#,
            r#"{"alg":"RSA-OAEP","enc":"none"}"#,
            r#"{"alg":"RSA-OAEP","enc":"A128GCM","zip":"DEF"}"#,
            r#"{"alg":"RSA-OAEP","enc":"A128GCM","crit":["x"]}"#,
        ] {
            let mut parts = parts.clone();
            parts[0] = BASE64_URL_SAFE_NO_PAD.encode(header);
            let opened = decrypt_token(&parts.join("."), std::slice::from_ref(&key));
            assert_eq!(opened, Err(DecryptionError::Unsupported), "{header}");
        }
        for malformed in ["", "a.b.c", "a.b.c.d.e", "e30.b.c.d.e"] {
            assert_eq!(
                decrypt_token(malformed, std::slice::from_ref(&key)),
                Err(DecryptionError::Malformed),
                "{malformed}"
            );
        }
    }
}
