//! Which headers a call brings.

use http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, HOST, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::DownstreamApi;
use crate::error::Result;

/// Whether a header is nobody's to add to a call: it says who calls, or where, and proxies and platforms believe it. In
/// whatever case; the same list as Microsoft.Identity.Web's.
pub fn is_reserved_header(name: &str) -> bool {
    let begins =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
        || RESERVED_PREFIXES.iter().any(|prefix| begins(prefix))
}

/// The `accept` header and the extra ones. `given` are those of the call, which win over the `configured` ones of the same
/// name.
pub(super) fn collect(
    api: &DownstreamApi,
    accept: Option<&str>,
    configured: &[(String, String)],
    given: &[(String, String)],
) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(8);
    match accept {
        None => _ = headers.insert(ACCEPT, HeaderValue::from_static("application/json")),
        Some("") => {}
        Some(accept) => _ = headers.insert(ACCEPT, value(api, "accept", accept)?),
    }
    let is_given = |name: &str| given.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
    let configured = configured.iter().filter(|(name, _)| !is_given(name));
    for (name, text) in configured.chain(given) {
        let skip = |why| tracing::warn!(api = api.name(), header = name, "a header is left out: {why}");
        let Ok(parsed) = HeaderName::try_from(name.as_str()) else {
            return Err(api.mistake(format!("{name:?} is no name of a header (RFC 9110 §5.1)")));
        };
        if is_reserved_header(name) {
            skip("it is reserved");
        } else if CONNECTIONS.contains(&parsed) {
            skip("it is the connection's");
        } else if headers.contains_key(&parsed) {
            skip("it is there already");
        } else {
            headers.insert(parsed, value(api, name, text)?);
        }
    }
    Ok(headers)
}

/// Whether a header of somebody else's request may stay in it: neither reserved nor the connection's.
pub(crate) fn is_forwardable(name: &HeaderName) -> bool {
    !is_reserved_header(name.as_str()) && !CONNECTIONS.contains(name) && *name != PROXY_AUTHORIZATION
}

/// Removes what is nobody's to forward.
pub(super) fn strip(headers: &mut HeaderMap) {
    let doomed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_reserved_header(name.as_str()) || (CONNECTIONS.contains(name) && **name != TE))
        .cloned()
        .collect();
    for name in doomed {
        headers.remove(name);
    }
}

fn value(api: &DownstreamApi, name: &str, text: &str) -> Result<HeaderValue> {
    HeaderValue::try_from(text).map_err(|_| {
        api.mistake(format!("the value of `{name}` is none that a header can hold (RFC 9110 §5.5)"))
    })
}

const RESERVED: [&str; 8] = [
    "Authorization",
    "Cookie",
    "Host",
    "X-MS-CLIENT-PRINCIPAL",
    "X-MS-CLIENT-PRINCIPAL-ID",
    "X-MS-CLIENT-PRINCIPAL-IDP",
    "X-MS-CLIENT-PRINCIPAL-NAME",
    "X-Original-URL",
];
const RESERVED_PREFIXES: [&str; 2] = ["X-Forwarded-", "X-MS-TOKEN-"];

/// What belongs to one connection (RFC 9110 §7.6.1), or depends on the body as it is sent.
const CONNECTIONS: [HeaderName; 8] = [
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    HeaderName::from_static("keep-alive"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_are_those_that_others_believe() {
        for name in [
            "authorization",
            "COOKIE",
            "Host",
            "X-Original-URL",
            "x-ms-client-principal",
            "X-MS-CLIENT-PRINCIPAL-ID",
            "X-MS-CLIENT-PRINCIPAL-NAME",
            "X-MS-CLIENT-PRINCIPAL-IDP",
            "X-Forwarded-For",
            "x-forwarded-",
            "X-MS-TOKEN-AAD-ID-TOKEN",
        ] {
            assert!(is_reserved_header(name), "{name}");
        }
        for name in [
            "",
            "Proxy-Authorization",
            "X-Forwarded",
            "X-MS-TOKEN",
            "X-MS-CLIENT-PRINCIPAL-X",
            "Ünicode-x",
            "Content-Length",
        ] {
            assert!(!is_reserved_header(name), "{name}");
        }
    }
}
