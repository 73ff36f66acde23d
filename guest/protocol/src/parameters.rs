//! What callers add to a token request: parameters, headers, and names of their own for the cache.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::cache::Components;
use crate::error::Error;
use crate::request::CachePartition;

/// Of parameters whose names differ in case alone the last counts.
pub(crate) fn query_parameters(given: &[(String, String)]) -> Result<Vec<(String, String)>, Error> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    for (name, value) in given.iter().filter(|(name, _)| !name.trim().is_empty()) {
        if contains(&COMPONENT_NAMES, name) {
            return Err(reserved("query parameter", name));
        }
        take(&mut parameters, name);
        parameters.push((name.clone(), value.clone()));
    }
    Ok(parameters)
}

/// Whether the parameters can go into a URL as they are: unreserved characters and `%` with two digits (RFC 3986 §2).
pub(crate) fn require_encoded(parameters: &[(String, String)]) -> Result<(), Error> {
    match parameters.iter().find(|(name, value)| !is_encoded(name) || !is_encoded(value)) {
        None => Ok(()),
        Some((name, _)) => Err(Error::invalid_request(
            "invalid_extra_query_parameter",
            format!("The extra query parameter {name:?} is said to be percent-encoded, and isn't."),
        )),
    }
}

fn is_encoded(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_whole = match byte {
            b'%' => {
                let mut is_digit = || bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit());
                is_digit() && is_digit()
            }
            byte => byte.is_ascii_alphanumeric() || b"-._~".contains(&byte),
        };
        if !is_whole {
            return false;
        }
    }
    true
}

pub(crate) fn body_parameters(
    given: &[(String, String)],
    query: &[(String, String)],
) -> Result<Vec<(String, String)>, Error> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    let given = given.iter().filter(|(name, value)| !name.trim().is_empty() && !value.trim().is_empty());
    for (name, value) in given {
        let name_of_query = query.iter().any(|(other, _)| other == name);
        if contains(&BODY_NAMES, name) || contains(&COMPONENT_NAMES, name) || name_of_query {
            return Err(reserved("body parameter", name));
        }
        parameters.retain(|(other, _)| other != name);
        parameters.push((name.clone(), value.clone()));
    }
    Ok(parameters)
}

pub(crate) fn headers(given: &[(String, String)]) -> Result<Vec<(String, String)>, Error> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in given.iter().filter(|(name, value)| !name.is_empty() && !value.is_empty()) {
        let is_token =
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
        let is_text = value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
        if !is_token || !is_text {
            return Err(Error::invalid_request(
                "invalid_extra_header",
                format!(
                    "The extra header {name:?} isn't a header: its name or value has characters that none may have."
                ),
            ));
        }
        if contains(&HEADER_NAMES, name) || name.to_ascii_lowercase().starts_with("proxy-") {
            return Err(reserved("header", name));
        }
        take(&mut headers, name);
        headers.push((name.clone(), value.clone()));
    }
    Ok(headers)
}

/// Refuses parameters that have one of these names in any case.
pub(crate) fn require_unreserved(given: &[(String, String)], names: &[&str]) -> Result<(), Error> {
    match given.iter().find(|(name, _)| contains(names, name)) {
        None => Ok(()),
        Some((name, _)) => Err(reserved("query parameter", name)),
    }
}

fn reserved(what: &str, name: &str) -> Error {
    Error::invalid_request(
        "reserved_parameter",
        format!(
            "The extra {what} {name:?} is one that the protocol sets or keys its cache by; take it away."
        ),
    )
}

/// Takes a pair out by its name, without regard to case.
pub(crate) fn take(pairs: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let at = pairs.iter().position(|(other, _)| other.eq_ignore_ascii_case(name))?;
    Some(pairs.remove(at).1)
}

/// What sets the token apart. The marks go before the names of the parameters: of the query, of those of it that are encoded
/// already, and of the body.
pub(crate) fn components(
    flow_parameters: &[(&'static str, String)],
    client_claims: Option<&str>,
    partitions: &[(String, String)],
    marks: [&str; 3],
    parameters: [&[(String, String)]; 3],
) -> Components {
    let mut components = Components::new();
    for (name, value) in flow_parameters {
        components.insert(*name, value.as_str());
    }
    if let Some(claims) = client_claims {
        components.insert("client_claims", claims);
    }
    for (name, value) in partitions {
        components.insert(name.as_str(), value.as_str());
    }
    for (mark, parameters) in marks.into_iter().zip(parameters) {
        for (name, value) in parameters {
            components.insert(format!("{mark}{name}"), value.as_str());
        }
    }
    components
}

/// The caller's own partitions. Their names mustn't be those of parameters, or one could stand for the other.
pub(crate) fn partitions(
    given: &[CachePartition],
    parameters: [&[(String, String)]; 3],
) -> Result<Vec<(String, String)>, Error> {
    for partition in given {
        let is_parameter =
            parameters.iter().any(|pairs| pairs.iter().any(|(name, _)| *name == partition.name));
        if partition.name.trim().is_empty() || contains(&COMPONENT_NAMES, &partition.name) || is_parameter {
            return Err(reserved("cache partition", &partition.name));
        }
    }
    Ok(given.iter().map(|partition| (partition.name.clone(), partition.value.clone())).collect())
}

/// What is there and says something.
pub(crate) fn present(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.trim().is_empty())
}

fn contains(names: &[&str], name: &str) -> bool {
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// Names of cache-key components that have a meaning of their own.
const COMPONENT_NAMES: [&str; 9] = [
    "attribute_tokens",
    "attributes",
    "cert_sn",
    "client_claims",
    "credential_fmi_path",
    "extra_client_assertion_claims",
    "fmi_path",
    "mi_att",
    "mi_minstrength",
];

/// Parameters of a token request that the protocol sets in one flow or another.
const BODY_NAMES: [&str; 22] = [
    "assertion",
    "claims",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_info",
    "client_secret",
    "code",
    "code_verifier",
    "grant_type",
    "password",
    "redirect_uri",
    "refresh_token",
    "req_cnf",
    "requested_token_use",
    "resource",
    "return_spa_code",
    "scope",
    "token_type",
    "user_federated_identity_credential",
    "user_id",
    "username",
];

/// Headers that the host or the transport sets, or that would change what is understood of the answer.
const HEADER_NAMES: [&str; 14] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
