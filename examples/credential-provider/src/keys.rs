//! A certificate and its private key, out of a PEM file in which the key is encrypted.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use p256::ecdsa;
use p256::ecdsa::signature::{RandomizedSigner, SignatureEncoding, Signer};
use rand_chacha::ChaCha20Rng;
use rsa::pkcs8::{EncodePublicKey, EncryptedPrivateKeyInfo, PrivateKeyInfo, SecretDocument};
use rsa::{RsaPrivateKey, pkcs1v15, pss};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::Certificate as X509;
use x509_cert::der::{DecodePem, Encode};

use crate::bindings::exports::symbolon::credentials::custody::SignatureScheme;
use crate::bindings::exports::symbolon::credentials::provider::{Certificate, SignatureAlgorithm};

/// A certificate, what leads up from it, and its key.
pub(crate) struct Keys {
    key: Key,
    chain: Vec<Vec<u8>>,
    not_after: u64,
}

enum Key {
    Rsa(RsaPrivateKey),
    P256(ecdsa::SigningKey),
}

impl Keys {
    /// The key of the file, and the certificate in it that belongs to the key.
    pub(crate) fn parse(file: &[u8], passphrase: &str) -> Result<Self, String> {
        const ACCEPTED: &str = "accepted: PEM, with CERTIFICATE and ENCRYPTED PRIVATE KEY";
        let text =
            core::str::from_utf8(file).map_err(|_| format!("found keys that are no text; {ACCEPTED}"))?;
        let (mut certificates, mut key) = (Vec::new(), None);
        for (label, pem) in sections(text) {
            match label {
                "CERTIFICATE" => {
                    let parsed = X509::from_pem(pem);
                    certificates
                        .push(parsed.map_err(|_| format!("found a damaged certificate; {ACCEPTED}"))?);
                }
                "ENCRYPTED PRIVATE KEY" => key = Some(Key::decrypt(pem, passphrase)?),
                _ => {}
            }
        }
        let key = key.ok_or_else(|| format!("found no encrypted private key; {ACCEPTED}"))?;
        let own = key.public_key().ok_or("found a private key that has no public one")?;
        let is_own = |certificate: &X509| {
            certificate.tbs_certificate.subject_public_key_info.to_der().is_ok_and(|public| public == own)
        };
        let (mut own, others): (Vec<_>, Vec<_>) = certificates.into_iter().partition(is_own);
        // A renewal may keep the key, and the file the certificate before it.
        own.sort_by_key(|certificate| certificate.tbs_certificate.validity.not_before.to_unix_duration());
        let leaf = own.pop().ok_or("found no certificate of the private key; accepted: both in one file")?;
        let not_after = leaf.tbs_certificate.validity.not_after.to_unix_duration().as_secs();
        let chain =
            core::iter::once(&leaf).chain(&others).filter_map(|certificate| certificate.to_der().ok());
        Ok(Self { key, chain: chain.collect(), not_after })
    }

    pub(crate) fn certificate(&self) -> Certificate {
        let leaf = self.chain.first().map(Vec::as_slice).unwrap_or_default();
        Certificate {
            chain: self.chain.clone(),
            thumbprint_sha256: BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(leaf)),
            thumbprint_sha1: BASE64_URL_SAFE_NO_PAD.encode(Sha1::digest(leaf)),
            // The host works it out of the certificate.
            key_id: None,
            not_after: self.not_after,
            algorithms: match self.key {
                Key::Rsa(_) => Vec::from([SignatureAlgorithm::Ps256, SignatureAlgorithm::Rs256]),
                Key::P256(_) => Vec::from([SignatureAlgorithm::Es256]),
            },
        }
    }

    pub(crate) fn schemes(&self) -> &'static [SignatureScheme] {
        match self.key {
            Key::Rsa(_) => &[
                SignatureScheme::RsaPssRsaeSha256,
                SignatureScheme::RsaPssRsaeSha384,
                SignatureScheme::RsaPssRsaeSha512,
                SignatureScheme::RsaPkcs1Sha256,
                SignatureScheme::RsaPkcs1Sha384,
                SignatureScheme::RsaPkcs1Sha512,
            ],
            Key::P256(_) => &[SignatureScheme::EcdsaSecp256r1Sha256],
        }
    }

    /// A signature as JWS has it.
    pub(crate) fn sign(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        random: &mut ChaCha20Rng,
    ) -> Option<Vec<u8>> {
        match (&self.key, algorithm) {
            (Key::Rsa(key), SignatureAlgorithm::Rs256) => pkcs1::<Sha256>(key, message, random),
            (Key::Rsa(key), SignatureAlgorithm::Ps256) => pss::<Sha256>(key, message, random),
            (Key::P256(key), SignatureAlgorithm::Es256) => {
                let signature: ecdsa::Signature = key.try_sign(message).ok()?;
                Some(signature.to_vec())
            }
            _ => None,
        }
    }

    /// A signature as TLS has it.
    pub(crate) fn sign_handshake(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
        random: &mut ChaCha20Rng,
    ) -> Option<Vec<u8>> {
        match (&self.key, scheme) {
            (Key::Rsa(key), SignatureScheme::RsaPkcs1Sha256) => pkcs1::<Sha256>(key, message, random),
            (Key::Rsa(key), SignatureScheme::RsaPkcs1Sha384) => pkcs1::<Sha384>(key, message, random),
            (Key::Rsa(key), SignatureScheme::RsaPkcs1Sha512) => pkcs1::<Sha512>(key, message, random),
            (Key::Rsa(key), SignatureScheme::RsaPssRsaeSha256) => pss::<Sha256>(key, message, random),
            (Key::Rsa(key), SignatureScheme::RsaPssRsaeSha384) => pss::<Sha384>(key, message, random),
            (Key::Rsa(key), SignatureScheme::RsaPssRsaeSha512) => pss::<Sha512>(key, message, random),
            (Key::P256(key), SignatureScheme::EcdsaSecp256r1Sha256) => {
                let signature: ecdsa::Signature = key.try_sign(message).ok()?;
                Some(signature.to_der().as_bytes().to_vec())
            }
            _ => None,
        }
    }
}

impl Key {
    fn decrypt(pem: &str, passphrase: &str) -> Result<Self, String> {
        const DAMAGED: &str = "found a damaged private key; accepted: encrypted PKCS#8 (PBES2)";
        let (_, encrypted) = SecretDocument::from_pem(pem).map_err(|_| DAMAGED)?;
        let encrypted = EncryptedPrivateKeyInfo::try_from(encrypted.as_bytes()).map_err(|_| DAMAGED)?;
        let decrypted = encrypted.decrypt(passphrase).map_err(|_| {
            "found a private key that this passphrase doesn't open; accepted: PBES2 with AES and the right passphrase"
        })?;
        let key = PrivateKeyInfo::try_from(decrypted.as_bytes()).map_err(|_| DAMAGED)?;
        if let Ok(key) = RsaPrivateKey::try_from(key.clone()) {
            return Ok(Self::Rsa(key));
        }
        match p256::SecretKey::try_from(key) {
            Ok(key) => Ok(Self::P256(key.into())),
            Err(_) => Err("found a private key of another kind; accepted: RSA, or EC on P-256".into()),
        }
    }

    /// `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7).
    fn public_key(&self) -> Option<Vec<u8>> {
        let encoded = match self {
            Self::Rsa(key) => key.to_public_key().to_public_key_der(),
            Self::P256(key) => key.verifying_key().to_public_key_der(),
        };
        encoded.ok().map(|encoded| encoded.into_vec())
    }
}

/// The randomness blinds the operation, which makes the time that it takes tell nothing of the key.
fn pkcs1<D>(key: &RsaPrivateKey, message: &[u8], random: &mut ChaCha20Rng) -> Option<Vec<u8>>
where
    D: Digest + rsa::pkcs8::AssociatedOid,
{
    let key = pkcs1v15::SigningKey::<D>::new(key.clone());
    Some(key.try_sign_with_rng(random, message).ok()?.to_vec())
}

/// The salt is as long as the digest.
fn pss<D>(key: &RsaPrivateKey, message: &[u8], random: &mut ChaCha20Rng) -> Option<Vec<u8>>
where
    D: Digest + sha2::digest::FixedOutputReset,
{
    let key = pss::BlindedSigningKey::<D>::new(key.clone());
    Some(key.try_sign_with_rng(random, message).ok()?.to_vec())
}

/// The sections of a PEM file (RFC 7468), by label.
fn sections(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    core::iter::from_fn(move || {
        let begin = rest.find("-----BEGIN ")?;
        let from_begin = rest.get(begin..)?;
        let label = from_begin.get("-----BEGIN ".len()..)?.split("-----").next()?;
        let end = from_begin.find(&*format!("-----END {label}-----"))? + "-----END -----".len() + label.len();
        rest = from_begin.get(end..)?;
        Some((label, from_begin.get(..end)?))
    })
}
