//! Percent-encoding (RFC 3986).

use alloc::string::String;

/// Appends `value` to `out` with everything but unreserved characters percent-encoded (RFC 3986 §2.3).
pub fn push_percent_encoded(out: &mut String, value: &str) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// `value` with everything but unreserved characters percent-encoded (RFC 3986 §2.3).
pub fn percent_encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    push_percent_encoded(&mut out, value);
    out
}

#[cfg(test)]
mod tests {
    use super::percent_encode;

    #[test]
    fn unreserved_characters_stay() {
        assert_eq!(percent_encode("AZaz09-._~"), "AZaz09-._~");
    }

    #[test]
    fn everything_else_is_encoded_byte_by_byte_in_upper_case() {
        assert_eq!(percent_encode("https://h:1/ä b+c%"), "https%3A%2F%2Fh%3A1%2F%C3%A4%20b%2Bc%25");
    }
}
