//! What the protocol does otherwise.

use serde_json::{Map, Value};
use symbolon_protocol::{
    assertion::{JWT_BEARER, JWT_POP},
    cloud::{self, known_cloud},
    region::Region,
    url::percent_encode,
    user::User,
};

use super::{Members, Rule, is_true};
use crate::{categories::agents::Call, ordered::Json};

pub(super) static RULES: [Rule; 23] = [
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
        about: "`token_request`, `managed_identity`: headers `x-client-SKU`, `x-client-Ver`",
        when: "the header is expected",
        instead: "Symbolon's name and version",
        reason: "the authority's statistics tell libraries apart by them",
        apply: |category, _, expect| {
            if ["token_request", "managed_identity"].contains(&category) {
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
        name: "claims-travel-bound",
        about: "`credential_matrix`: `error_code`",
        when: "a bound connection is configured and the certificate's assertion carries claims of the caller's",
        instead: "the certificate in the handshake, and the assertion with the claims",
        reason: "the assertion is sent on bound connections too, so nothing keeps its claims from travelling",
        apply: |category, input, expect| {
            let has_claims = input.get("credential").is_some_and(|it| it == "certificate_with_claims");
            let over_mtls = input.get("mode").is_some_and(|mode| mode == "bearer_over_mtls");
            if category == "credential_matrix" && has_claims && over_mtls && expect.contains_key("error_code")
            {
                *expect = Map::from_iter([
                    ("tls_client_cert".to_owned(), true.into()),
                    ("assertion_type".to_owned(), JWT_BEARER.into()),
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
    Rule {
        name: "search-is-for-the-same-user",
        about: "`cache_behaviour`: all members",
        when: "a long-running process is initiated with search in the cache, under another user's key",
        instead: "the error `session-key-in-use`",
        reason: "nobody is given another user's token",
        apply: |category, input, expect| {
            if let ("cache_behaviour", Some(at)) = (category, call_with_anothers_key(input))
                && let Some(sources) = expect.get("sources").and_then(Value::as_array)
            {
                let sources: Value = sources.iter().take(at).cloned().collect();
                *expect = Map::from_iter([
                    ("sources".to_owned(), sources),
                    ("error_code".to_owned(), "session-key-in-use".into()),
                ]);
            }
        },
    },
    Rule {
        name: "tenants-are-kept-apart",
        about: "`cache_behaviour`: `hit`",
        when: "a user's token was acquired from a directory that the request named, and is asked for without one",
        instead: "a miss",
        reason: "the directory that the authority would choose may be another",
        apply: |category, input, expect| {
            if category == "cache_behaviour" && names_no_tenant_any_more(input) && is_true(expect, "hit") {
                expect.insert("hit".to_owned(), false.into());
            }
        },
    },
    Rule {
        name: "users-of-agents-have-two-names",
        about: "`token_requests`: `http_requests`",
        when: "an agent's user who was named by user name is named by object id, or the other way round",
        instead: "no request",
        reason: "the authority said with the first token that it is the same person",
        apply: |category, input, expect| {
            let known = category == "token_requests" && is_known_by_another_name(input);
            if let (true, Some(requests)) = (known, expect.get_mut("http_requests")) {
                *requests = 0.into();
            }
        },
    },
    Rule {
        name: "invalid-user-id-is-refused",
        about: "`detect_agent_user_flow`, `agent_precedence`: all members",
        when: "an agent's user is named by an id that is no GUID with dashes, and by nothing else",
        instead: "the error `invalid_user_id`",
        reason: "a token of the agent itself isn't what was asked for",
        apply: |category, input, expect| {
            if user_id(category, input).is_some_and(|id| User::object_id(&id).is_err()) {
                *expect = Map::from_iter([("error".to_owned(), "invalid_user_id".into())]);
            }
        },
    },
    Rule {
        name: "exchange-audience-is-the-clouds",
        about: "`exchange_scope`: `scope`; `managed_identity`: `audience`",
        when: "no audience is configured",
        instead: "that of the authority's cloud; where it isn't known, none, and an agent's request fails",
        reason: "a cloud takes tokens for its own audience only, and those of the newer clouds aren't documented",
        apply: |category, input, expect| match category {
            "exchange_scope" => exchange_scope(input, expect),
            "managed_identity"
                if ["france", "germany", "singapore"]
                    .iter()
                    .any(|cloud| input.get("cloud") == Some(&Value::from(*cloud))) =>
            {
                expect.get_mut("audience").into_iter().for_each(|audience| *audience = Value::Null);
            }
            _ => {}
        },
    },
    Rule {
        name: "session-keys-are-given-back",
        about: "`user_token_call`: `caller_key_after`",
        when: "a session key isn't told to its caller, or is overwritten with nothing",
        instead: "the key of the process; the caller's own where there is none",
        reason: "who doesn't know the key can't go on, and a key that is overwritten with nothing is lost",
        apply: |category, input, expect| {
            let given = |name: &str| Some(input.get("given")?.get(name)?.as_str()?.to_owned());
            let is_lost = expect.get("caller_key_after").is_some_and(Value::is_null);
            if category == "user_token_call"
                && is_lost
                && given("api").is_some_and(|api| api != "GetTokenForApp")
            {
                let key =
                    given("effective_key").filter(|key| !key.is_empty()).or_else(|| given("caller_key"));
                expect.get_mut("caller_key_after").into_iter().for_each(|after| *after = key.clone().into());
            }
        },
    },
    Rule {
        name: "authentication-errors-are-msals",
        about: "`authenticate`: `error`, `when`, `param`",
        when: "the credential can't do what is asked, or a user's token shall be bound",
        instead: "the code that MSAL has for it, else `mtls_pop_requires_app_token`; when the token is requested",
        reason: "one error has one code; which of several credentials is used is known when it is selected",
        apply: |category, input, expect| {
            if category == "authenticate" {
                rename_authentication_error(input, expect);
            }
        },
    },
    Rule {
        name: "bound-secret-is-refused",
        about: "`authenticate`: all members",
        when: "a connection bound to a secret is configured",
        instead: "the error `invalid_credential_material`",
        reason: "what was asked for isn't what would happen",
        apply: |category, input, expect| {
            let given = input.get("given").and_then(Value::as_object);
            let is_bound = given.is_some_and(|given| is_true(given, "UseBoundCredential"));
            let is_secret = given
                .and_then(|given| given.get("credential")?.as_str())
                .is_some_and(|credential| credential.contains("secret"));
            let succeeds = expect.get("error").is_none_or(Value::is_null);
            if category == "authenticate" && is_bound && is_secret && succeeds {
                *expect = Map::from_iter([("error".to_owned(), "invalid_credential_material".into())]);
            }
        },
    },
    Rule {
        name: "tokens-serve-every-client",
        about: "`same_client_application`: `same`",
        when: "two configurations differ in nothing but the region, the bound connection, or the credential of bearer tokens",
        instead: "the token of one serves the other",
        reason: "these say how a token is asked for, not what it is; there are no clients to be told apart",
        apply: |category, input, expect| {
            if category == "same_client_application" && asks_for_the_same_token(input) {
                expect.get_mut("same").into_iter().for_each(|same| *same = true.into());
            }
        },
    },
];

/// The first call that searches under the key of a process that another assertion began.
fn call_with_anothers_key(input: &Members) -> Option<usize> {
    let calls: Vec<&Members> =
        input.get("calls")?.as_array()?.iter().map(Value::as_object).collect::<Option<_>>()?;
    let text = |at: usize, name: &str| calls.get(at)?.get(name).or_else(|| input.get(name))?.as_str();
    // The key of a call that names none is its assertion's.
    let key = |at: usize| match text(at, "key") {
        Some(key) => match key.strip_prefix("from call ").and_then(|number| number.parse::<usize>().ok()) {
            Some(number) => text(number - 1, "key").or_else(|| text(number - 1, "user_assertion")),
            None => Some(key),
        },
        None => text(at, "user_assertion"),
    };
    (0..calls.len()).find(|at| {
        let began = (0..*at).find(|before| key(*before) == key(*at));
        let is_anothers =
            began.is_some_and(|began| text(began, "user_assertion") != text(*at, "user_assertion"));
        let initiates = text(*at, "flow").is_some_and(|flow| flow.contains("initiate"));
        let searches = calls.get(*at).is_some_and(|call| is_true(call, "search_in_cache"));
        is_anothers && initiates && (searches || is_true(input, "search_in_cache"))
    })
}

/// Whether an entry of a user is from a directory that the request doesn't name.
fn names_no_tenant_any_more(input: &Members) -> bool {
    let text =
        |members: Option<&Value>, name: &str| members?.get(name)?.as_str().map(str::to_ascii_lowercase);
    let is_none = |tenant: &str| ["common", "organizations"].contains(&tenant);
    let tenant_of = |authority: String| authority.split('/').nth(3).map(str::to_owned);
    let (stored, wanted) = (input.get("at"), input.get("request"));
    let beside = |name: &str| input.get(name)?.as_str().map(str::to_ascii_lowercase);
    let flow = text(stored, "flow").or_else(|| beside("flow")).unwrap_or_default();
    let had = text(stored, "tenant").or_else(|| text(stored, "authority").and_then(tenant_of));
    let wants = text(wanted, "tenant")
        .or_else(|| beside("request_tenant"))
        .or_else(|| text(wanted, "authority").or_else(|| beside("request_authority")).and_then(tenant_of));
    flow.contains("obo")
        && had.is_some_and(|had| !is_none(&had))
        && wants.is_some_and(|wants| is_none(&wants))
}

/// Whether the last call is for a user whom an earlier one named otherwise.
fn is_known_by_another_name(input: &Members) -> bool {
    let last = input.get("when").and_then(|when| Call::read(when.get("call")?.as_str()?).ok());
    let sequence = input.get("given").and_then(|given| given.get("sequence")?.as_array());
    let (Some(last), Some(sequence)) = (last, sequence) else { return false };
    let calls = sequence.iter().filter_map(|call| Call::read(call.as_str()?).ok());
    last.takes_from_cache()
        && calls.into_iter().any(|call| call.is_for_the_same(&last) && call.by_object_id != last.by_object_id)
}

/// The user id of an agent's user who has no other name.
fn user_id(category: &str, input: &Members) -> Option<String> {
    let (agent, name, id) = match category {
        "detect_agent_user_flow" => {
            let parameters = input.get("given")?.get("ExtraParameters")?;
            let text = |name: &str| parameters.get(name).and_then(Value::as_str).map(str::to_owned);
            (text("IDWEB_AGENT_IDENTITY"), text("IDWEB_USERNAME"), text("IDWEB_USER_ID"))
        }
        "agent_precedence" => {
            let query = input.get("when")?.get("query")?.as_str()?;
            let text = |name: &str| {
                let pairs = url::form_urlencoded::parse(query.as_bytes());
                let named = pairs.filter(|(other, _)| other.eq_ignore_ascii_case(name));
                named.last().map(|(_, value)| value.into_owned())
            };
            (text("AgentIdentity"), text("AgentUsername"), text("AgentUserId"))
        }
        _ => return None,
    };
    let is_given = |text: &String| !text.trim().is_empty();
    agent.filter(is_given)?;
    if name.is_some_and(|name| is_given(&name)) { None } else { id.filter(is_given) }
}

fn exchange_scope(input: &Members, expect: &mut Members) {
    let given = |name: &str| input.get("given")?.get(name)?.as_str().filter(|text| !text.trim().is_empty());
    let (None, Some(instance)) = (given("TokenExchangeUrl"), given("Instance")) else { return };
    let host = instance.split('/').nth(2).unwrap_or_default();
    match cloud::token_exchange_audience(host) {
        Some(audience) => {
            expect
                .get_mut("scope")
                .into_iter()
                .for_each(|scope| *scope = cloud::exchange_scope(audience).into());
        }
        None => *expect = Map::from_iter([("error".to_owned(), "token_exchange_url_required".into())]),
    }
}

fn rename_authentication_error(input: &Members, expect: &mut Members) {
    let given =
        |name: &str| input.get("given").and_then(|given| given.get(name)?.as_str()).unwrap_or_default();
    let is_bound = given("ProtocolScheme").eq_ignore_ascii_case("MTLS_POP");
    let code = match expect.get("error").and_then(Value::as_str) {
        Some("IDW10116") => "mtls_pop_requires_app_token",
        Some("IDW10115") if given("credential").starts_with("no") => {
            "Client_Credentials_Required_In_Confidential_Client_Application"
        }
        Some("IDW10115") if is_bound => "mtls_certificate_not_provided",
        Some("IDW10115") => "invalid_credential_material",
        _ => return,
    };
    expect.insert("error".to_owned(), code.into());
    expect.remove("param");
    expect
        .get_mut("when")
        .into_iter()
        .filter(|when| *when != "before credential selection")
        .for_each(|when| *when = "token request".into());
}

fn asks_for_the_same_token(input: &Members) -> bool {
    let side = |name: &str| {
        let mut side = input.get("given")?.get(name)?.as_object()?.clone();
        let is_bound = is_true(&side, "token_binding");
        side.retain(|name, _| {
            !matches!(name.as_str(), "AzureRegion" | "bound") && (is_bound || name != "credential_ids")
        });
        Some(side)
    };
    let given = |name: &str| input.get("given")?.get(name);
    given("a") != given("b") && side("a").is_some() && side("a") == side("b")
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
