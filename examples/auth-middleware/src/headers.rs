//! Which headers go through.

use alloc::string::String;
use alloc::vec::Vec;

/// The headers of a message, in order.
pub(crate) type Headers = Vec<(String, Vec<u8>)>;

/// Without those that are about the connection (RFC 9110 §7.6.1), and without the names in `others`.
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
    let named = named_by_connection(&headers);
    let is_dropped = |name: &str| {
        let mut dropped =
            OF_A_CONNECTION.iter().chain(others).copied().chain(named.iter().map(String::as_str));
        dropped.any(|dropped| dropped.eq_ignore_ascii_case(name))
    };
    headers.into_iter().filter(|(name, _)| !is_dropped(name)).collect()
}

fn named_by_connection(headers: &Headers) -> Vec<String> {
    let values = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("connection"));
    let texts = values.filter_map(|(_, value)| core::str::from_utf8(value).ok());
    texts.flat_map(|text| text.split(',')).map(|name| name.trim().into()).collect()
}
