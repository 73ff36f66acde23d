//! Where Symbolon deviates from what the vectors expect, on purpose.
//!
//! A rule looks at a vector's input and says what must come out instead. It never looks at a vector's name, and what it
//! says is compared as exactly as what the vector said. The compatibility notes have the same list.

use serde_json::{Map, Value};
use symbolon_protocol::{assertion::JWT_POP, cloud::known_cloud, region::Region, url::percent_encode};

use crate::{ordered::Json, vectors::Vector};

type Members = Map<String, Value>;

/// One rule.
struct Rule {
    name: &'static str,
    /// Categories and the member of the expectation.
    about: &'static str,
    /// When it applies, judged by the input.
    when: &'static str,
    /// What is expected instead.
    instead: &'static str,
    reason: &'static str,
    /// Changes the expectation, where the rule applies.
    apply: fn(category: &str, input: &Members, expect: &mut Members),
}

/// What is expected of a vector, and the names of the rules that changed it.
pub(crate) fn apply(vector: &Vector) -> (Members, Vec<&'static str>) {
    let mut expect = vector.expect.clone();
    let mut changed_by = Vec::new();
    for rule in &RULES {
        let before = expect.clone();
        (rule.apply)(&vector.category, &vector.input, &mut expect);
        if expect != before {
            changed_by.push(rule.name);
        }
    }
    (expect, changed_by)
}

/// The rules as lines of a Markdown table.
pub(crate) fn table() -> Vec<String> {
    let head =
        ["| Rule | What | When | Instead | Why |".to_owned(), "| --- | --- | --- | --- | --- |".to_owned()];
    let row = |rule: &Rule| {
        let Rule { name, about, when, instead, reason, .. } = rule;
        format!("| {name} | {about} | {when} | {instead} | {reason} |")
    };
    head.into_iter().chain(RULES.iter().map(row)).collect()
}

static RULES: [Rule; 13] = [
    Rule {
        name: "assertion-chain-is-array",
        about: "`client_assertion`: `header_json`",
        when: "the assertion carries `x5c`",
        instead: "an array of the certificates, leaf first",
        reason: "RFC 7515 §4.1.6",
        apply: |category, input, expect| {
            if category == "client_assertion" && is_true(input, "send_x5c") {
                rewrite(expect, "header_json", |header| {
                    for (_, value) in
                        header.members_mut().into_iter().flatten().filter(|(name, _)| name == "x5c")
                    {
                        if let Json::Scalar(leaf) = value {
                            *value = Json::Array(vec![Json::Scalar(std::mem::take(leaf))]);
                        }
                    }
                });
            }
        },
    },
    Rule {
        name: "assertion-times-are-numbers",
        about: "`client_assertion`: `payload_json`",
        when: "always",
        instead: "`nbf` and `exp` are numbers, and `iat` follows, equal to `nbf`",
        reason: "RFC 7519 §4.1 makes them numbers; `iat` dates the assertion",
        apply: |category, _, expect| {
            if category == "client_assertion" {
                rewrite(expect, "payload_json", with_numeric_times);
            }
        },
    },
    Rule {
        name: "own-product-name",
        about: "`token_request`: headers `x-client-SKU`, `x-client-Ver`",
        when: "the header is expected",
        instead: "Symbolon's name and version",
        reason: "the authority's statistics tell libraries apart by them",
        apply: |category, _, expect| {
            if category == "token_request" {
                let own = [("x-client-sku", "Symbolon"), ("x-client-ver", env!("CARGO_PKG_VERSION"))];
                for (name, value) in members_of(expect, "headers") {
                    if let Some((_, own)) = own.iter().find(|(own, _)| name.eq_ignore_ascii_case(own)) {
                        *value = (*own).into();
                    }
                }
            }
        },
    },
    Rule {
        name: "query-is-encoded",
        about: "`token_request`: `url`",
        when: "an extra query parameter holds characters that aren't unreserved",
        instead: "the parameter percent-encoded",
        reason: "a value must not be able to add parameters or to break the URL",
        apply: |category, input, expect| {
            if category == "token_request" {
                encode_query(input, expect);
            }
        },
    },
    Rule {
        name: "invalid-region-is-refused",
        about: "`host_map`, `token_request`, `telemetry_header`, `region_discovery`: all members",
        when: "the region that is named isn't made of ASCII letters and digits",
        instead: "the error `invalid_region`",
        reason: "a request that silently goes to the global endpoint hides the mistake",
        apply: |category, input, expect| {
            let name = match category {
                "host_map" | "token_request" | "telemetry_header" => "region",
                "region_discovery" => "configured",
                _ => return,
            };
            if input.get(name).and_then(Value::as_str).is_some_and(|name| Region::parse(name).is_err()) {
                *expect = Map::from_iter([("error_code".to_owned(), "invalid_region".into())]);
            }
        },
    },
    Rule {
        name: "look-ups-by-every-name",
        about: "`host_map`: `entry.aliases`",
        when: "the host belongs to a cloud with several names",
        instead: "every name of the cloud, first the one under which tokens are written",
        reason: "a region or mutual TLS that is switched on finds the tokens that are there",
        apply: |category, input, expect| {
            if category == "host_map" {
                widen_aliases(input, expect);
            }
        },
    },
    Rule {
        name: "warm-cache-serves-regions",
        about: "`cache_behaviour`: `hit`, `sources`, `network_calls`",
        when: "a token was stored without a region and is asked for with one",
        instead: "the cached token",
        reason: "the region changes where a token is asked for, not what it is",
        apply: |category, input, expect| {
            let region_of =
                |members: &Members, name: &str| members.get(name).is_some_and(|region| !region.is_null());
            let stored = input.get("at").and_then(Value::as_object);
            let applies = stored.is_some_and(|stored| !region_of(stored, "region"))
                && region_of(input, "request_region");
            if category == "cache_behaviour" && applies && expect.get("hit") == Some(&Value::Bool(false)) {
                expect.insert("hit".into(), true.into());
                expect.get_mut("network_calls").into_iter().for_each(|calls| *calls = 0.into());
            }
        },
    },
    Rule {
        name: "query-always-partitions",
        about: "`cache_behaviour`: `components`",
        when: "an extra query parameter isn't to be part of the cache's keys",
        instead: "it is",
        reason: "a parameter may change the token, and a cache must not guess that it doesn't",
        apply: |category, input, expect| {
            if category == "cache_behaviour" && expect.contains_key("components") {
                partition_by_query(input, expect);
            }
        },
    },
    Rule {
        name: "null-claims-are-dropped",
        about: "`claims_merge`: `claims`",
        when: "a later source has `null` for a member that an earlier one has",
        instead: "the earlier value, once",
        reason: "a name that appears twice in an object means something else to each reader (RFC 8259 §4)",
        apply: |category, input, expect| {
            let is_null = |name: &str| {
                input.get(name).and_then(Value::as_str).is_some_and(|json| json.contains("null"))
            };
            if category == "claims_merge" && (is_null("claims") || is_null("client_claims")) {
                rewrite(expect, "claims", Json::drop_repeated_nulls);
            }
        },
    },
    Rule {
        name: "assertion-is-asked-for-once",
        about: "`credential_matrix`: `callback_calls_cumulative`",
        when: "the credential gives assertions",
        instead: "one call for each request that goes to the network, none for an answer from the cache",
        reason: "an assertion that nobody sends is a signature or a network request wasted",
        apply: |category, input, expect| {
            let requests = input.get("requests").and_then(Value::as_array);
            let credential = input.get("credential").and_then(Value::as_str).unwrap_or_default();
            let applies = category == "credential_matrix" && credential.contains("assertion");
            if let (true, Some(requests), Some(calls)) =
                (applies, requests, expect.get_mut("callback_calls_cumulative"))
            {
                let total = requests.iter().scan(0, |total, source| {
                    *total += u64::from(source == "network");
                    Some(*total)
                });
                *calls = total.collect();
            }
        },
    },
    Rule {
        name: "credentials-fail-when-used",
        about: "`credential_matrix`: `when`, `error_code`",
        when: "a credential can't be bound, or its provider gives none",
        instead: "an error of the acquisition; `credential_unavailable` when there is no credential",
        reason: "which of several credentials is used is known when it is selected; a missing one may come back",
        apply: |category, input, expect| {
            if category == "credential_matrix" {
                expect.get_mut("when").into_iter().for_each(|when| *when = "acquisition".into());
                if is_true(input, "provider_returns_null") {
                    expect.insert("error_code".into(), "credential_unavailable".into());
                }
            }
        },
    },
    Rule {
        name: "bound-assertion-is-bound",
        about: "`credential_matrix`: `error_code`",
        when: "a bound connection is configured and the assertion brings its certificate",
        instead: "the certificate in the handshake and an assertion of type `jwt-pop`",
        reason: "the setting asks for what such an assertion does anyway",
        apply: |category, input, expect| {
            let credential = input.get("credential").and_then(Value::as_str).unwrap_or_default();
            let is_bound = credential.contains("assertion") && credential.ends_with("_cert");
            let is_bound = is_bound && !credential.contains("without");
            let over_mtls = input.get("mode").is_some_and(|mode| mode == "bearer_over_mtls");
            if category == "credential_matrix" && is_bound && over_mtls && expect.contains_key("error_code") {
                *expect = Map::from_iter([
                    ("tls_client_cert".to_owned(), true.into()),
                    ("assertion_type".to_owned(), JWT_POP.into()),
                ]);
            }
        },
    },
    Rule {
        name: "error-codes-are-numbers",
        about: "`certificate_reload`, `is_retryable_certificate_error`: the decision",
        when: "the text holds a listed code only as the beginning of a longer one",
        instead: "no reload",
        reason: "`AADSTS7000279` is another code than `AADSTS700027`",
        apply: |category, input, expect| {
            let (text, member) = match category {
                "certificate_reload" => (input.get("body_contains"), "reload_certificate_and_retry"),
                "is_retryable_certificate_error" => {
                    (input.get("given").and_then(|given| given.get("response_body")), "reload")
                }
                _ => return,
            };
            if text.and_then(Value::as_str).is_some_and(only_begins_like_a_rejection)
                && let Some(decision) = expect.get_mut(member)
            {
                *decision = false.into();
            }
        },
    },
];

fn is_true(members: &Members, name: &str) -> bool {
    members.get(name) == Some(&Value::Bool(true))
}

/// The members of a member.
fn members_of<'a>(members: &'a mut Members, name: &str) -> impl Iterator<Item = (&'a String, &'a mut Value)> {
    members.get_mut(name).and_then(Value::as_object_mut).into_iter().flatten()
}

/// Whether a text names no error that another certificate may cure, but one whose code begins like such a one's.
fn only_begins_like_a_rejection(text: &str) -> bool {
    const REJECTIONS: [&str; 6] = ["700024", "700027", "1000502", "7000214", "7000274", "7000277"];
    let text = text.to_ascii_uppercase();
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    let codes: Vec<String> = text.split("AADSTS").skip(1).map(digits).collect();
    let begins = codes.iter().any(|code| REJECTIONS.iter().any(|rejection| code.starts_with(rejection)));
    begins && !codes.iter().any(|code| REJECTIONS.contains(&code.as_str()))
}

/// Changes a member that is JSON in a string. What doesn't change stays as it was written.
fn rewrite(expect: &mut Members, name: &str, change: impl FnOnce(&mut Json)) {
    let Some(text) = expect.get(name).and_then(Value::as_str) else { return };
    let Ok(mut json) = Json::parse(text) else { return };
    let before = json.to_string();
    change(&mut json);
    let after = json.to_string();
    if after != before {
        expect.insert(name.to_owned(), after.into());
    }
}

fn with_numeric_times(payload: &mut Json) {
    let Some(members) = payload.members_mut() else { return };
    let mut issued_at = None;
    for (name, value) in members.iter_mut().filter(|(name, _)| name == "nbf" || name == "exp") {
        if let Json::Scalar(text) = value {
            *text = text.trim_matches('"').to_owned();
            if name == "nbf" {
                issued_at = Some(text.clone());
            }
        }
    }
    let has_issued_at = members.iter().any(|(name, _)| name == "iat");
    members.extend(issued_at.filter(|_| !has_issued_at).map(|at| ("iat".to_owned(), Json::Scalar(at))));
}

/// Encodes the names and values of the query.
fn encode_query(input: &Members, expect: &mut Members) {
    let has_query =
        ["extra_query_parameters", "extra_query", "eqp"].iter().any(|name| input.contains_key(*name));
    let url = expect.get("url").and_then(Value::as_str).and_then(|url| url.split_once('?'));
    let Some((endpoint, query)) = url.filter(|_| has_query) else { return };
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        format!("{}={}", percent_encode(name), percent_encode(value))
    };
    let query: Vec<String> = query.split('&').map(pair).collect();
    let url = format!("{endpoint}?{}", query.join("&"));
    expect.insert("url".into(), url.into());
}

fn widen_aliases(input: &Members, expect: &mut Members) {
    let host = input.get("host").and_then(Value::as_str).unwrap_or_default();
    let names = known_cloud(host).map_or(&[][..], |cloud| cloud.aliases);
    let Some(entry) = expect.get_mut("entry").and_then(Value::as_object_mut) else { return };
    let Some(first) = entry.get("preferred_cache").and_then(Value::as_str).map(str::to_owned) else { return };
    if let Some(aliases) = entry.get_mut("aliases") {
        let others = names.iter().copied().filter(|name| *name != first);
        *aliases = std::iter::once(first.as_str()).chain(others).collect();
    }
}

fn partition_by_query(input: &Members, expect: &mut Members) {
    let given = ["extra_query_parameters", "extra_query", "eqp"]
        .iter()
        .find_map(|name| input.get(*name)?.as_object());
    let telemetry = ["caller-sdk-id", "caller-sdk-ver", "managedcert"];
    let left_out = given.into_iter().flatten().filter(|(name, value)| {
        value.get(1) == Some(&Value::Bool(false)) && !telemetry.contains(&name.to_ascii_lowercase().as_str())
    });
    if let Some(components) = expect.get_mut("components").and_then(Value::as_object_mut) {
        components.extend(left_out.filter_map(|(name, value)| Some((name.clone(), value.get(0)?.clone()))));
    }
}
