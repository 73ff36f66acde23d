//! What single requests do otherwise: when they are held back, what their assertions say, what names a cloud.

use serde_json::{Map, Value};

use super::{Members, Rule};

pub(super) static RULES: [Rule; 6] = [
    Rule {
        name: "users-are-held-back-apart",
        about: "`throttling`: `second_call`, `status`",
        when: "the second call is for another user, path or flow than the one that was refused",
        instead: "it is sent",
        reason: "the users of an API don't hold each other up",
        apply: |category, input, expect| {
            if category == "throttling" && is_anothers(input) {
                expect_sent(expect);
            }
        },
    },
    Rule {
        name: "clients-are-confidential",
        about: "`throttling`: `second_call`, `status`",
        when: "a public client holds back of its own accord, which wasn't asked for a pause",
        instead: "the call is sent",
        reason: "there are no public clients here, and confidential ones keep the pauses that they are asked for",
        apply: |category, input, expect| {
            let refusal = input.get("first_response");
            let is_asked = refusal.and_then(|refusal| refusal.get("retry_after")).is_some();
            let is_public = input.get("client").is_some_and(|client| client == "public");
            if category == "throttling" && is_public && !is_asked {
                expect_sent(expect);
                expect.remove("throttle_seconds");
            }
        },
    },
    Rule {
        name: "pauses-are-kept-under-digests",
        about: "`throttling`: `key`",
        when: "the key of a pause is expected",
        instead: "base64url of a SHA-256, 43 characters",
        reason: "keys name flow, path and user too, each with its length, and say nothing of any to who reads them",
        apply: |category, _, expect| {
            if category == "throttling" && expect.remove("key").is_some() {
                expect.insert("key_length".to_owned(), 43.into());
            }
        },
    },
    Rule {
        name: "standard-claims-are-not-repeated",
        about: "`client_assertion`: all members",
        when: "an extra claim has the name of one that assertions have anyway",
        instead: "the error `reserved_claim`",
        reason: "a name that appears twice means something else to each reader (RFC 7519 §4)",
        apply: |category, input, expect| {
            let extra = EXTRA_CLAIMS.iter().find_map(|name| input.get(*name));
            let parsed = extra.and_then(|extra| match extra {
                Value::String(text) => serde_json::from_str::<Value>(text).ok(),
                other => Some(other.clone()),
            });
            let names = parsed.as_ref().and_then(Value::as_object).into_iter().flat_map(Map::keys);
            let is_standard =
                |name: &String| ["aud", "iss", "sub", "nbf", "exp", "jti", "iat"].contains(&name.as_str());
            if category == "client_assertion" && names.into_iter().any(is_standard) {
                *expect = Map::from_iter([("error_code".to_owned(), "reserved_claim".into())]);
            }
        },
    },
    Rule {
        name: "certificates-alone-are-presented",
        about: "`authenticate`: all members",
        when: "a certificate is to be presented without a token, and the credential is none",
        instead: "the error `credential_unavailable`, when the certificate is selected",
        reason: "what isn't a certificate can't be meant, and one may stand behind it",
        apply: |category, input, expect| {
            let given = |name: &str| input.get("given").and_then(|given| given.get(name)?.as_str());
            let is_mtls = given("ProtocolScheme").is_some_and(|scheme| scheme.eq_ignore_ascii_case("MTLS"));
            let fails = expect.get("error").is_some_and(|error| !error.is_null());
            if category == "authenticate" && is_mtls && fails {
                *expect = Map::from_iter([("error".to_owned(), "credential_unavailable".into())]);
            }
        },
    },
    Rule {
        name: "well-known-clouds-are-known",
        about: "`instance_discovery`: `url`",
        when: "the host is a name of a cloud of the built-in table, and no other place is configured",
        instead: "nobody is asked",
        reason: "the table says the same",
        apply: |category, input, expect| {
            let host = input.get("authority").and_then(Value::as_str).and_then(|url| url.split('/').nth(2));
            let is_known = host.is_some_and(|host| symbolon_protocol::cloud::known_cloud(host).is_some());
            let is_counted = expect.contains_key("network_calls");
            if category == "instance_discovery" && is_known && is_counted {
                expect.insert("network_calls".to_owned(), 0.into());
            }
        },
    },
];

/// The names under which extra claims may come.
pub(crate) const EXTRA_CLAIMS: [&str; 4] =
    ["extra_client_assertion_claims", "extra_claims", "client_claims", "claims"];

/// Whether the second call differs from the first in whom or what it is for, beside its scopes and claims.
fn is_anothers(input: &Members) -> bool {
    const APART: [&str; 18] = [
        "flow",
        "user_assertion",
        "assertion",
        "user",
        "user_id",
        "user_object_id",
        "oid",
        "username",
        "upn",
        "key",
        "session_key",
        "obo_cache_key",
        "refresh_token",
        "fmi_path",
        "client_assertion_fmi_path",
        "fmi_path_for_client_assertion",
        "credential_fmi_path",
        "agent_app_id",
    ];
    let second = input.get("second_call").and_then(Value::as_object);
    second.into_iter().flatten().any(|(name, value)| {
        APART.contains(&name.as_str()) && !value.is_null() && input.get(name) != Some(value)
    })
}

fn expect_sent(expect: &mut Members) {
    if let Some(second) = expect.get_mut("second_call").filter(|second| *second == "throttled") {
        *second = "sent".into();
        expect.remove("status");
        expect.remove("error_code");
    }
}
