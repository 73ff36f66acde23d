//! What of a request's headers is nobody's to forward.

use http::header::{AUTHORIZATION, CONNECTION, TE, TRAILER};
use http::{HeaderMap, HeaderName};
use symbolon::is_reserved_header;

/// Removes what belongs to the client's connection (RFC 9110 §7.6.1), and what upstream would believe though anyone can send
/// it. `authorization` stays: a plugin may act for the user whom it names, and must then take it out.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<_> = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()).collect();
    let named = named.join(",").to_ascii_lowercase();
    let is_named = |name: &HeaderName| named.split(',').any(|step| step.trim() == name.as_str());
    let is_doomed = |name: &HeaderName| {
        let is_believed = is_reserved_header(name.as_str()) && *name != AUTHORIZATION;
        is_believed || [CONNECTION, TE, TRAILER].contains(name) || is_named(name)
    };
    let doomed: Vec<_> = headers.keys().filter(|name| is_doomed(name)).cloned().collect();
    for name in doomed {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_or_believed_goes() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "Keep-Alive, X-Hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("x-forwarded-for", "192.0.2.1"),
            ("authorization", "Bearer user"),
            ("accept", "*/*"),
        ] {
            headers.insert(HeaderName::from_static(name), http::HeaderValue::from_static(value));
        }
        strip(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "authorization"]);
    }
}
