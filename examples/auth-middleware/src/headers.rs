//! Which headers go through.

use alloc::string::String;
use alloc::vec::Vec;

/// The headers of a message, in order.
pub(crate) type Headers = Vec<(String, Vec<u8>)>;

/// Without those that are about the connection (RFC 9110 §7.6.1), and without the names in `others`. What a `connection`
/// header names goes through where hosts keep that header to themselves, as all known ones do.
pub(crate) fn end_to_end(headers: Headers, others: &[&str]) -> Headers {
    const OF_A_CONNECTION: [&str; 10] = [
        "connection",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    let is_dropped =
        |name: &str| OF_A_CONNECTION.iter().chain(others).any(|dropped| dropped.eq_ignore_ascii_case(name));
    headers.into_iter().filter(|(name, _)| !is_dropped(name)).collect()
}
