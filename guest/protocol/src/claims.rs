//! The `claims` parameter: what the client can handle, what an API's challenge demands, and what the client itself wants.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::json::{Object, Value, push_string};

/// Merges a client's capabilities, the claims of a challenge and the client's own claims into the value of the
/// parameter; `None` when there is nothing to send. An empty string counts as absent.
///
/// Objects merge member by member, arrays are joined, and otherwise the later source wins. Members keep their order, new
/// ones follow. A `null` overrides nothing. A single source is sent as it was given.
///
/// # Errors
///
/// A source that has to be merged and isn't a JSON object.
pub fn merge(
    capabilities: &[String],
    claims: Option<&str>,
    client_claims: Option<&str>,
) -> Result<Option<String>, InvalidClaims> {
    let capabilities = capabilities_claim(capabilities);
    let mut sources = [client_claims, claims, capabilities.as_deref()]
        .into_iter()
        .flatten()
        .filter(|source| !source.is_empty());
    let Some(last) = sources.next() else { return Ok(None) };
    let mut merged = String::from(last);
    for earlier in sources {
        let mut out = String::with_capacity(earlier.len() + merged.len());
        merge_objects(&mut out, object(earlier)?, object(&merged)?, 0)?;
        merged = out;
    }
    Ok(Some(merged))
}

/// The names of the members of a JSON object, in order.
///
/// # Errors
///
/// Anything that isn't a JSON object.
pub(crate) fn names(json: &str) -> Result<Vec<String>, InvalidClaims> {
    Ok(object(json)?.into_iter().map(|(name, _)| name).collect())
}

/// The claim that says what the client can handle.
fn capabilities_claim(capabilities: &[String]) -> Option<String> {
    if capabilities.is_empty() {
        return None;
    }
    let mut claim = String::from(r#"{"access_token":{"xms_cc":{"values":["#);
    for (position, capability) in capabilities.iter().enumerate() {
        separate(&mut claim, position);
        push_string(&mut claim, capability);
    }
    claim.push_str("]}}}");
    Some(claim)
}

type Members<'a> = Vec<(String, Value<'a>)>;

fn merge_objects(
    out: &mut String,
    first: Members<'_>,
    second: Members<'_>,
    depth: u8,
) -> Result<(), InvalidClaims> {
    if depth > MAX_DEPTH {
        return Err(InvalidClaims("it is nested too deeply"));
    }
    let is_new = |name: &str| first.iter().all(|(known, _)| known != name);
    out.push('{');
    for (position, (name, value)) in first.iter().enumerate() {
        separate(out, position);
        push_name(out, name);
        match second.iter().find(|(other, _)| other == name) {
            Some((_, other)) => merge_values(out, *value, *other, depth)?,
            None => push_compact(out, value.0),
        }
    }
    for (position, (name, value)) in (first.len()..).zip(second.iter().filter(|(name, _)| is_new(name))) {
        separate(out, position);
        push_name(out, name);
        push_compact(out, value.0);
    }
    out.push('}');
    Ok(())
}

fn merge_values(
    out: &mut String,
    first: Value<'_>,
    second: Value<'_>,
    depth: u8,
) -> Result<(), InvalidClaims> {
    match (first.0.as_bytes().first(), second.0.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => merge_objects(out, object(first.0)?, object(second.0)?, depth + 1)?,
        (Some(b'['), Some(b'[')) => {
            out.push('[');
            for (position, item) in first.items().into_iter().chain(second.items()).enumerate() {
                separate(out, position);
                push_compact(out, item.0);
            }
            out.push(']');
        }
        (_, Some(b'n')) => push_compact(out, first.0),
        _ => push_compact(out, second.0),
    }
    Ok(())
}

/// The members of a JSON object, in order, names unescaped, values as written.
fn object(json: &str) -> Result<Members<'_>, InvalidClaims> {
    let Object(members) = Object::parse(json.as_bytes()).ok_or(InvalidClaims("it is not a JSON object"))?;
    Ok(members)
}

fn separate(out: &mut String, position: usize) {
    if position > 0 {
        out.push(',');
    }
}

fn push_name(out: &mut String, name: &str) {
    push_string(out, name);
    out.push(':');
}

/// Appends valid JSON without the white space between its tokens.
fn push_compact(out: &mut String, json: &str) {
    let (mut in_string, mut escaped) = (false, false);
    for character in json.chars() {
        if in_string || !character.is_ascii_whitespace() {
            out.push(character);
        }
        in_string ^= character == '"' && !escaped;
        escaped = in_string && character == '\\' && !escaped;
    }
}

/// How deep objects may be nested to be merged.
const MAX_DEPTH: u8 = 32;

/// Claims had to be merged with others and could not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidClaims(&'static str);

impl InvalidClaims {
    /// The code of this error, as MSAL names it.
    pub const CODE: &'static str = "invalid_json_claims_format";
}

impl fmt::Display for InvalidClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a claims parameter can't be merged with the others: {}; accepted is a JSON object", self.0)
    }
}

impl core::error::Error for InvalidClaims {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use proptest::prelude::*;

    use super::*;

    fn merged(capabilities: &[&str], claims: &str, client_claims: &str) -> String {
        let capabilities: Vec<String> = capabilities.iter().map(ToString::to_string).collect();
        merge(&capabilities, Some(claims), Some(client_claims)).expect("valid claims").expect("claims")
    }

    #[test]
    fn nothing_makes_nothing() {
        assert_eq!(merge(&[], None, None), Ok(None));
        assert_eq!(merge(&[], Some(""), Some("")), Ok(None));
    }

    #[test]
    fn a_single_source_is_sent_as_given() {
        assert_eq!(merged(&[], "{ \"a\" : 1 }", ""), "{ \"a\" : 1 }");
        assert_eq!(merged(&[], "", "not even JSON"), "not even JSON");
        assert_eq!(
            merged(&["cp1", "c\"2"], "", ""),
            r#"{"access_token":{"xms_cc":{"values":["cp1","c\"2"]}}}"#
        );
    }

    #[test]
    fn members_keep_their_order_and_new_ones_follow() {
        assert_eq!(
            merged(
                &["cp1", "cp2"],
                r#"{"access_token":{"nbf":{"essential":true, "value":"1701477303"}}}"#,
                ""
            ),
            r#"{"access_token":{"xms_cc":{"values":["cp1","cp2"]},"nbf":{"essential":true,"value":"1701477303"}}}"#
        );
        assert_eq!(merged(&[], r#"{"b":1,"a":2}"#, r#"{"c":3,"b":4}"#), r#"{"b":4,"a":2,"c":3}"#);
    }

    #[test]
    fn arrays_are_joined_and_otherwise_the_later_source_wins() {
        assert_eq!(
            merged(&[], r#"{"a":[1, {"x":2}],"b":{"c":1}}"#, r#"{"a":[ 3 ],"b":[2]}"#),
            r#"{"a":[1,{"x":2},3],"b":[2]}"#
        );
        assert_eq!(
            merged(
                &["cp1"],
                r#"{"access_token":{"xms_cc":{"values":["x"]}}}"#,
                r#"{"access_token":{"xms_cc":{"values":["y"]}}}"#
            ),
            r#"{"access_token":{"xms_cc":{"values":["cp1","x","y"]}}}"#
        );
    }

    #[test]
    fn a_null_overrides_nothing_and_appears_once() {
        assert_eq!(merged(&[], r#"{"a":1}"#, r#"{"a":null,"b":null}"#), r#"{"a":1,"b":null}"#);
        assert_eq!(merged(&[], r#"{"a":null}"#, r#"{"a":{"b":1}}"#), r#"{"a":{"b":1}}"#);
    }

    #[test]
    fn numbers_and_strings_stay_as_written() {
        assert_eq!(
            merged(
                &[],
                r#"{"a":1.50e2,"b":"\u00e9 \" \\"}"#,
                r#"{"c":123456789012345678901234567890,"d":" é "}"#
            ),
            r#"{"a":1.50e2,"b":"\u00e9 \" \\","c":123456789012345678901234567890,"d":" é "}"#
        );
    }

    #[test]
    fn what_is_no_object_can_not_be_merged() {
        for (claims, client_claims) in
            [("not-json", "{}"), ("[]", "{}"), ("{}", "1"), ("{} x", "{}"), ("{\"a\":}", "{}")]
        {
            merge(&[], Some(claims), Some(client_claims)).expect_err(claims);
        }
        merge(&["cp1".into()], Some("null"), None).expect_err("null");
    }

    #[test]
    fn nesting_has_a_limit() {
        let deep = |levels: usize| "{\"a\":".repeat(levels) + "1" + &"}".repeat(levels);
        assert!(merge(&[], Some(&deep(20)), Some(&deep(20))).is_ok());
        assert!(merge(&[], Some(&deep(10_000)), Some(&deep(10_000))).is_err());
    }

    proptest! {
        #[test]
        fn any_input_ends_in_an_answer_and_a_merge_in_json(a in ".{0,40}", b in r#"[{}\[\]":,a1n \\]{0,40}"#) {
            for (first, second) in [(&a, &b), (&b, &a), (&b, &b)] {
                if let Ok(Some(merged)) = merge(&["cp1".into()], Some(first), Some(second)) {
                    prop_assert!(serde_json::from_str::<serde_json::Value>(&merged).is_ok());
                }
            }
        }
    }
}
