//! The public half of a key as a JSON Web Key.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// The SHA-256 thumbprint (RFC 7638 §3), base64url without padding. Nothing for a key that is neither RSA nor on P-256.
pub(super) fn thumbprint(key: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    let encode = |number: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(number);
    // The members that name the key, in the order of their names.
    let members = match key.parsed().ok()? {
        PublicKey::RSA(rsa) => {
            let [e, n] = [rsa.exponent, rsa.modulus].map(|number| encode(without_leading_zeros(number)));
            format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)
        }
        PublicKey::EC(point) => {
            // Uncompressed (SEC 1 §2.3.3): only a point on a curve of 256 bits has this length. Curves of the same length
            // have no name that could be told to anybody here.
            let coordinates = point.data().strip_prefix(&[4]).filter(|it| it.len() == 2 * COORDINATE)?;
            let (x, y) = coordinates.split_at(COORDINATE);
            format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, encode(x), encode(y))
        }
        _ => return None,
    };
    Some(encode(digest(&SHA256, members.as_bytes()).as_ref()))
}

/// DER puts a zero before a number whose first bit would pass for its sign.
fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    number.get(first..).unwrap_or_default()
}

const COORDINATE: usize = 32;

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PublicKeyData as _};
    use x509_parser::prelude::FromDer as _;

    use super::*;

    fn thumbprint_of(spki: &[u8]) -> Option<String> {
        thumbprint(&SubjectPublicKeyInfo::from_der(spki).unwrap().1)
    }

    /// The key of RFC 7638 §3.1, as an X.509 public key.
    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZ\
            CiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb\
            9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1j\
            F44-csFCur-kEgU8awapJzKnqDKgw";
        let mut spki = vec![
            0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01,
            0x01, 0x05, 0x00, 0x03, 0x82, 0x01, 0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01,
            0x00,
        ];
        spki.extend(BASE64_URL_SAFE_NO_PAD.decode(n).unwrap());
        spki.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
        let thumbprint = thumbprint_of(&spki).unwrap();
        assert_eq!(thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn keys_that_sign_no_assertions_have_none() {
        let spki = |algorithm| KeyPair::generate_for(algorithm).unwrap().subject_public_key_info();
        assert!(thumbprint_of(&spki(&rcgen::PKCS_ECDSA_P256_SHA256)).is_some());
        assert_eq!(thumbprint_of(&spki(&rcgen::PKCS_ECDSA_P384_SHA384)), None);
        assert_eq!(thumbprint_of(&spki(&rcgen::PKCS_ED25519)), None);
    }
}
