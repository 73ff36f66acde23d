//! Which certificate files are read, and what is said of those that can't be.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod certificates;

use std::collections::BTreeSet;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use certificates::{Chain, Identity, fresh_rsa_key, pem, rsa_key, write};
use p12_keystore::EncryptionAlgorithm;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use symbolon_resources::credentials::{Binding, CertificatePassword, SignatureAlgorithm};
use tempfile::TempDir;

use SignatureAlgorithm::{Es256, Ps256, Rs256};

fn read(bytes: impl AsRef<[u8]>) -> Result<Binding, String> {
    Binding::from_bytes(bytes.as_ref(), None).map_err(|error| error.to_string())
}

fn read_with(bytes: impl AsRef<[u8]>, password: &str) -> Result<Binding, String> {
    let password = CertificatePassword::new(password);
    Binding::from_bytes(bytes.as_ref(), Some(&password)).map_err(|error| error.to_string())
}

fn assert_is(binding: &Binding, identity: &Identity) {
    assert_eq!(binding.chain(), [identity.certificate.der().clone()]);
    let signature = binding.sign(Rs256, b"input").unwrap();
    verify(&RSA_PKCS1_2048_8192_SHA256, &identity.key, &signature);
}

fn verify(algorithm: &'static dyn VerificationAlgorithm, key: &KeyPair, signature: &[u8]) {
    UnparsedPublicKey::new(algorithm, key.public_key_raw()).verify(b"input", signature).unwrap();
}

#[test]
fn pem_in_any_order_with_any_kind_of_rsa_key() {
    let identity = Identity::rsa("daemon");
    let (certificate, pkcs8) = (identity.certificate.pem(), identity.key.serialize_pem());
    // PKCS#1 is what PKCS#8 wraps: 26 bytes in front for an RSA key of this size.
    let pkcs1 = pem("RSA PRIVATE KEY", &identity.key.serialize_der()[26..]);
    let noise = "Bag Attributes\n    friendlyName: daemon\n";
    for file in [
        format!("{pkcs8}{certificate}"),
        format!("{certificate}{pkcs8}"),
        format!("{certificate}{pkcs1}"),
        format!("{noise}{certificate}\n{noise}{pkcs8}"),
        format!("{certificate}{pkcs8}").replace('\n', "\r\n"),
        format!("\u{feff}{certificate}{pkcs8}"),
    ] {
        assert_is(&read(&file).unwrap(), &identity);
    }
}

#[test]
fn encrypted_keys_and_pkcs12_old_and_new() {
    let identity = Identity::rsa("daemon");
    let files = [
        identity.encrypted_pem("pass word").into_bytes(),
        identity.pkcs12("pass word"),
        identity.old_pkcs12("pass word", EncryptionAlgorithm::PbeWithShaAnd40BitRc4Cbc),
        identity.old_pkcs12("pass word", EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc),
    ];
    for file in files {
        assert_is(&read_with(&file, "pass word").unwrap(), &identity);
    }
    assert_is(&read(identity.pkcs12("")).unwrap(), &identity);
}

#[test]
fn a_file_that_does_not_open_says_so() {
    let identity = Identity::rsa("daemon");
    let (pem, pfx) = (identity.encrypted_pem("right"), identity.pkcs12("right"));
    let accepted = "accepted: the password that it was made with";
    for (found, what) in [
        (read_with(&pem, "wrong"), "a private key that CertificatePassword doesn't open"),
        (read_with(&pfx, "wrong"), "a PKCS#12 file that CertificatePassword doesn't open"),
        (read(&pem), "a private key that is encrypted, and no CertificatePassword"),
        (read(&pfx), "a PKCS#12 file that is encrypted, and no CertificatePassword"),
    ] {
        assert_eq!(found.unwrap_err(), format!("found {what}; {accepted}"));
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let identity = Identity::rsa("daemon");
    let file = identity.certificate.pem() + &fresh_rsa_key().serialize_pem();
    let expected = "found a private key that doesn't match the certificate (CN=daemon); \
                    accepted: a certificate and its own private key";
    assert_eq!(read(file).unwrap_err(), expected);
}

#[test]
fn half_a_file_says_which_half_is_missing() {
    let identity = Identity::rsa("daemon");
    let both = "accepted: a certificate and its private key";
    let key = identity.key.serialize_der();
    for file in [identity.certificate.pem().into_bytes(), identity.certificate.der().to_vec()] {
        let elsewhere = "in one file, or the key in CertificateKeyDiskPath";
        let expected = format!("found a certificate without a private key; {both} {elsewhere}");
        assert_eq!(read(file).unwrap_err(), expected);
    }
    for file in [identity.key.serialize_pem().into_bytes(), key] {
        assert_eq!(read(file).unwrap_err(), format!("found no certificate; {both}"));
    }
}

#[test]
fn what_is_no_certificate_file_says_so() {
    let identity = Identity::rsa("daemon");
    let accepted = "accepted: PEM with a certificate and its private key, or PKCS#12 (PFX)";
    let unrecognized = format!("found neither PEM nor PKCS#12; {accepted}");
    for file in [&b""[..], b"hello", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        assert_eq!(read(file).unwrap_err(), unrecognized);
    }
    let cut = &identity.pem()[..600];
    assert_eq!(read(cut).unwrap_err(), format!("found a damaged PEM section; {accepted}"));
    let pfx = identity.pkcs12("x");
    assert_eq!(read_with(&pfx[..pfx.len() - 9], "x").unwrap_err(), unrecognized);
    let huge = vec![b' '; (1 << 20) + 1];
    assert_eq!(read(huge).unwrap_err(), "found more than 1 MiB; accepted: a PEM or PKCS#12 (PFX) file");
}

#[test]
fn traditional_encryption_is_named_with_its_remedy() {
    let identity = Identity::rsa("daemon");
    let file = identity.certificate.pem()
        + "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let expected = "found a private key in OpenSSL's traditional encryption (`openssl pkcs8 -topk8` converts it); \
                    accepted: encrypted PKCS#8 (PBES2) in PEM, or PKCS#12 with AES, 3DES or RC2";
    assert_eq!(read_with(file, "x").unwrap_err(), expected);
}

#[test]
fn short_rsa_keys_are_refused() {
    let expected = "found an RSA key of 1024 bits; accepted: RSA of 2048 to 8192 bits, EC on P-256, \
                    and for TLS only EC on P-384 or P-521 and Ed25519";
    assert_eq!(read(include_str!("certificates/rsa1024.pem")).unwrap_err(), expected);
}

#[test]
fn the_chain_is_put_in_order_and_strangers_are_left_out() {
    let chain = Chain::new();
    let stranger = Identity::rsa("stranger");
    let file = [
        chain.root.pem(),
        Identity::new("other", fresh_rsa_key()).certificate.pem(),
        chain.leaf.certificate.pem(),
        chain.leaf.key.serialize_pem(),
        chain.intermediate.pem(),
        chain.leaf.certificate.pem(),
    ]
    .concat();
    let binding = read(&file).unwrap();
    let expected = [&chain.leaf.certificate, &chain.intermediate, &chain.root].map(|c| c.der().clone());
    assert_eq!(binding.chain(), expected);
    assert_eq!(binding.certified_key().cert, expected);
    // The stranger's self-signed certificate has the leaf's key: the newer one of two is taken.
    assert_eq!(stranger.key.public_key_raw(), chain.leaf.key.public_key_raw());
}

#[test]
fn of_two_certificates_with_the_key_the_newer_is_taken() {
    let old = Identity::valid("daemon", rsa_key(), 2000, 2030);
    let new = Identity::valid("daemon", rsa_key(), 2020, 2050);
    for file in [old.pem() + &new.certificate.pem(), new.pem() + &old.certificate.pem()] {
        assert_eq!(read(file).unwrap().chain(), [new.certificate.der().clone()]);
    }
}

#[test]
fn of_two_keys_the_one_with_a_certificate_is_taken() {
    let identity = Identity::rsa("daemon");
    assert_is(&read(fresh_rsa_key().serialize_pem() + &identity.pem()).unwrap(), &identity);
}

#[test]
fn rsa_signs_ps256_and_rs256() {
    let identity = Identity::rsa("daemon");
    let binding = read(identity.pem()).unwrap();
    assert_eq!(binding.algorithms(), [Ps256, Rs256]);
    verify(&RSA_PSS_2048_8192_SHA256, &identity.key, &binding.sign(Ps256, b"input").unwrap());
    verify(&RSA_PKCS1_2048_8192_SHA256, &identity.key, &binding.sign(Rs256, b"input").unwrap());
    let error = binding.sign(Es256, b"input").unwrap_err().to_string();
    assert_eq!(error, "the key of certificate CN=daemon can't sign with ES256; accepted: PS256, RS256");
}

#[test]
fn p256_signs_es256_with_a_fixed_width() {
    let identity = Identity::new("daemon", KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap());
    let binding = read(identity.pem()).unwrap();
    assert_eq!(binding.algorithms(), [Es256]);
    // Every 128th signature or so has a part with a leading zero byte.
    for _ in 0..600 {
        let signature = binding.sign(Es256, b"input").unwrap();
        assert_eq!(signature.len(), 64);
        verify(&ECDSA_P256_SHA256_FIXED, &identity.key, &signature);
    }
    assert!(binding.sign(Ps256, b"input").is_err());
}

#[test]
fn other_keys_serve_for_tls_only() {
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let identity = Identity::new("daemon", KeyPair::generate_for(algorithm).unwrap());
        let binding = read(identity.pem()).unwrap();
        assert!(binding.algorithms().is_empty());
        let error = binding.sign(Es256, b"input").unwrap_err().to_string();
        let expected = "the key of certificate CN=daemon can't sign with ES256; accepted: only its use in a TLS handshake";
        assert_eq!(error, expected);
        binding.certified_key().keys_match().unwrap();
    }
}

#[test]
fn each_binding_has_its_own_generation() {
    let file = Identity::rsa("daemon").pem();
    let generations: BTreeSet<_> = (0..5).map(|_| read(&file).unwrap().generation()).collect();
    assert_eq!(generations.len(), 5);
}

#[test]
fn validity_is_inclusive_and_says_when() {
    let binding = read(Identity::valid("daemon", rsa_key(), 2020, 2021).pem()).unwrap();
    let (from, to) = (1_577_836_800, 1_609_459_200);
    assert_eq!((binding.not_before_unix(), binding.not_after_unix()), (from, to));
    assert!(binding.check_validity(from).is_ok() && binding.check_validity(to).is_ok());
    let accepted = "accepted: a certificate that is valid now";
    assert_eq!(
        binding.check_validity(to + 1).unwrap_err().to_string(),
        format!("found a certificate (CN=daemon) that expired at 2021-01-01T00:00:00Z; {accepted}")
    );
    assert_eq!(
        binding.check_validity(from - 1).unwrap_err().to_string(),
        format!("found a certificate (CN=daemon) that isn't valid before 2020-01-01T00:00:00Z; {accepted}")
    );
}

#[test]
fn files_that_can_not_be_read_say_so() {
    let directory = TempDir::new().unwrap();
    let error = |path: &std::path::Path| Binding::from_file(path, None).unwrap_err().to_string();
    let missing = "found no file there; accepted: a PEM or PKCS#12 (PFX) file";
    assert_eq!(error(&directory.path().join("missing.pem")), missing);
    assert!(
        error(directory.path()).starts_with("found a file that can't be read (is a directory); accepted: ")
    );
    let good = write(&directory, "good.pem", Identity::rsa("daemon").pem());
    assert!(Binding::from_file(&good, None).is_ok());
    #[cfg(target_os = "linux")]
    assert!(error("/dev/zero".as_ref()).starts_with("found more than 1 MiB; accepted: "));
}

#[test]
fn debug_shows_the_public_half_only() {
    let identity = Identity::rsa("daemon");
    let binding = read(identity.pem()).unwrap();
    let expected = format!(
        "Binding {{ subject: \"CN=daemon\", thumbprint_sha256: \"{}\", generation: {}, .. }}",
        binding.thumbprint_sha256(),
        binding.generation()
    );
    assert_eq!(format!("{binding:?}"), expected);
}
