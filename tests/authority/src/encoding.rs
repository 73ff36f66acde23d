//! Base64 in both alphabets, hexadecimal, random bytes and identifiers.

use aws_lc_rs::rand;
use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::URL_SAFE_NO_PAD},
};

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD_LENIENT: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const URL_LENIENT: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// Base64url without padding (RFC 7515 section 2).
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes base64url without padding, and nothing else.
pub(crate) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Base64 in the standard alphabet, padded.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD_LENIENT.encode(bytes)
}

/// Decodes either alphabet, padded or not. White space is skipped: MSAL for Python sends `x5c` with the line breaks
/// of the PEM file.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text: String = text.split_ascii_whitespace().collect();
    STANDARD_LENIENT.decode(&text).or_else(|_| URL_LENIENT.decode(&text)).ok()
}

/// Decodes the standard alphabet, padded, and nothing else.
pub(crate) fn from_base64_exactly(text: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// Decodes hexadecimal digits, with or without `:` and spaces between them.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> =
        text.chars().filter(|c| !matches!(c, ':' | ' ')).map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let byte = |[high, low]: &[u32; 2]| u8::try_from(high * 16 + low).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// Upper-case hexadecimal digits, as Windows and the Azure portal show a thumbprint.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// A random (version 4) identifier, dashed and in lower case.
pub(crate) fn random_guid() -> String {
    let mut bytes: [u8; 16] = random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    guid(&bytes)
}

/// An identifier that is always the same for the same `name`, where Entra ID has one that nobody here knows
/// (the object id of a service principal).
pub(crate) fn derived_guid(name: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    guid(&bytes)
}

/// The 16 bytes of a dashed identifier.
pub(crate) fn guid_bytes(text: &str) -> Option<[u8; 16]> {
    let dashed = text.len() == 36 && [8, 13, 18, 23].iter().all(|&at| text.as_bytes().get(at) == Some(&b'-'));
    let digits: String = text.chars().filter(|&c| c != '-').collect();
    if dashed && digits.len() == 32 { from_hex(&digits)?.try_into().ok() } else { None }
}

/// A secret of 256 random bits, in base64url.
pub(crate) fn random_secret() -> String {
    base64url(&random::<32>())
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if rand::fill(&mut bytes).is_err() {
        // aws-lc aborts the process itself when the system has no randomness; there is no other failure.
        std::process::abort();
    }
    bytes
}

fn guid(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_in_either_alphabet() {
        let bytes = [0xfb, 0xef, 0xff, 0x01];
        for text in ["++//AQ==", "++//AQ", "--__AQ==", "--__AQ", "++//\nAQ==\n"] {
            assert_eq!(from_base64(text).as_deref(), Some(&bytes[..]), "{text}");
        }
        assert_eq!(from_base64url("--__AQ=="), None);
        assert_eq!(from_base64_exactly("++//AQ=="), Some(bytes.to_vec()));
        assert_eq!(from_base64_exactly("++//\nAQ=="), None);
    }

    #[test]
    fn identifiers() {
        let guid = random_guid();
        assert_eq!(guid_bytes(&guid).map(|bytes| super::guid(&bytes)), Some(guid));
        assert_eq!(derived_guid("a"), derived_guid("a"));
        assert_ne!(derived_guid("a"), derived_guid("b"));
        assert_eq!(guid_bytes("contoso.com"), None);
    }

    #[test]
    fn hexadecimal() {
        assert_eq!(from_hex("0A:ff 10"), Some(vec![10, 255, 16]));
        assert_eq!(from_hex("0A1"), None);
        assert_eq!(hex(&[10, 255]), "0AFF");
    }
}
