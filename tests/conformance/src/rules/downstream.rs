//! What calls of other APIs do otherwise.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{Members, Rule};

pub(super) static RULES: [Rule; 9] = [
    Rule {
        name: "content-types-are-applied",
        about: "`serialize`: `content_type`",
        when: "there is a body",
        instead: "what is configured, as it is written, for bytes too; `application/json` for JSON where nothing is",
        reason: "who configures a content type wants it to be sent; JSON is UTF-8 (RFC 8259 §8.1)",
        apply: |category, input, expect| {
            let Some(given) = input.get("given").filter(|_| category == "serialize") else { return };
            let configured = given.get("ContentType").and_then(Value::as_str);
            let is_raw = given
                .get("input")
                .and_then(Value::as_object)
                .is_some_and(|input| input.keys().all(|name| name.ends_with("base64")));
            let Some(expected) = expect.get_mut("content_type") else { return };
            if is_raw && expected.is_null() {
                *expected = configured.into();
            } else if let Some(media_type) =
                expected.as_str().and_then(|name| name.strip_suffix("; charset=utf-8"))
            {
                *expected = media_type.into();
            }
        },
    },
    Rule {
        name: "json-is-read-under-any-name",
        about: "`deserialize`: `value`, `error`",
        when: "an answer isn't of the media type `application/json`, and something else than text is wanted",
        instead: "its JSON; `malformed-response` where it has none",
        reason: "`application/problem+json` is JSON too, and what isn't is an error that says where",
        apply: |category, input, expect| {
            let Some(given) = input.get("given").filter(|_| category == "deserialize") else { return };
            let text = |name: &str| given.get(name).and_then(Value::as_str);
            let is_json = text("content_type") == Some("application/json");
            let wants_text = text("target").is_none_or(|target| target.eq_ignore_ascii_case("string"));
            if status(given).is_client_error() || status(given).is_server_error() || is_json || wants_text {
                return;
            }
            let value = serde_json::from_str::<Value>(text("body").unwrap_or_default());
            let error = value.is_err().then_some("malformed-response");
            for (name, instead) in [("value", value.unwrap_or_default()), ("error", error.into())] {
                expect.get_mut(name).into_iter().for_each(|expected| *expected = instead.clone());
            }
        },
    },
    Rule {
        name: "refusals-say-the-status",
        about: "`deserialize`: `error`, `message`",
        when: "the status is 400 or more",
        instead: "the error `refused`, with the status in words; the beginning of the body is a part of its own",
        reason: "what an API says isn't mixed with what we say, and is there even where it is long",
        apply: |category, input, expect| {
            let Some(given) = input.get("given").filter(|_| category == "deserialize") else { return };
            if status(given).is_client_error() || status(given).is_server_error() {
                let message = format!("the API answered {}", status(given));
                for (name, instead) in [("error", "refused"), ("message", &message)] {
                    expect.get_mut(name).into_iter().for_each(|expected| *expected = instead.into());
                }
            }
        },
    },
    Rule {
        name: "calls-without-scopes-are-anonymous",
        about: "`send`: all members",
        when: "there are no scopes and a token would be presented, or no options at all",
        instead: "a request that presents nothing",
        reason: "it is what the same options mean elsewhere",
        apply: |category, _, expect| {
            let is_refused = expect.get("error") == Some(&"MicrosoftIdentityAuthenticationException".into());
            if category == "send" && is_refused {
                *expect =
                    Map::from_iter([("error".to_owned(), Value::Null), ("api_calls".to_owned(), 1.into())]);
            }
        },
    },
    Rule {
        name: "challenges-bypass-the-cache",
        about: "`send_with_challenge`: `second_token`",
        when: "a token is acquired with the claims of a challenge",
        instead: "none of the cache's tokens serves, wherever the challenge came from",
        reason: "the API has just refused what the cache has",
        apply: |category, _, expect| {
            let second = expect.get_mut("second_token").and_then(Value::as_object_mut);
            if let ("send_with_challenge", Some(second)) = (category, second) {
                second.get_mut("ForceRefresh").into_iter().for_each(|force| *force = true.into());
            }
        },
    },
    Rule {
        name: "certificates-are-found-behind-others",
        about: "`mtls_downstream_call`: all members",
        when: "the first usable credential isn't a certificate",
        instead: "the first certificate is presented; without one, the error `credential_unavailable`",
        reason: "what isn't a certificate can't be meant",
        apply: |category, input, expect| {
            let Some(script) = Script::read(category, input).filter(|script| script.has_others) else {
                return;
            };
            match script.certificates.is_empty() {
                true => *expect = Map::from_iter([("error".to_owned(), "credential_unavailable".into())]),
                false => {
                    script.expect(expect);
                    expect.get_mut("error").into_iter().for_each(|error| *error = Value::Null);
                }
            }
        },
    },
    Rule {
        name: "certificates-meet-no-challenges",
        about: "`mtls_downstream_call`, `send_with_challenge`: `events`, `api_calls`, `final_status`",
        when: "a certificate is presented alone, and the API answers with a claims challenge",
        instead: "the certificate is refused, as without the challenge",
        reason: "there is no token that could have the claims",
        apply: |category, input, expect| {
            if let Some(script) = Script::read(category, input).filter(|script| script.is_challenged) {
                script.expect(expect);
            }
        },
    },
    Rule {
        name: "bad-requests-are-answers",
        about: "`mtls_downstream_call`, `send_with_challenge`: `events`, `api_calls`, `final_status`",
        when: "a certificate is presented alone, and the API answers with 400",
        instead: "the answer, unless the configuration says that such are rejections",
        reason: "a bad request is rarely the certificate's fault, and repeating it may do harm",
        apply: |category, input, expect| {
            if let Some(script) =
                Script::read(category, input).filter(|script| script.statuses.contains(&400))
            {
                script.expect(expect);
            }
        },
    },
    Rule {
        name: "rejected-certificates-are-presented-once",
        about: "`mtls_downstream_call`, `send_with_challenge`: `events`, `api_calls`, `final_status`",
        when: "the API rejects a certificate, and the same is read again",
        instead: "the answer, and no further request",
        reason: "the API has just said what it thinks of it",
        apply: |category, input, expect| {
            let is_the_same = |script: &Script| script.certificates.len() == 1 && script.is_rejected(0);
            if let Some(script) = Script::read(category, input).filter(is_the_same) {
                script.expect(expect);
            }
        },
    },
];

fn status(given: &Value) -> StatusCode {
    let status = given.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or_default()
}

/// What a vector says of calls with a certificate alone.
struct Script {
    /// The certificates, in the order in which they are read.
    certificates: Vec<String>,
    /// Whether there are credentials of other kinds.
    has_others: bool,
    statuses: Vec<u64>,
    is_challenged: bool,
    /// Whether events tell which certificate.
    has_names: bool,
    calls: u64,
}

impl Script {
    fn read(category: &str, input: &Members) -> Option<Self> {
        let given = input.get("given")?;
        let is_mtls =
            given.get("scheme").and_then(Value::as_str).is_some_and(|s| s.eq_ignore_ascii_case("MTLS"));
        let has_names = category == "mtls_downstream_call";
        let is_challenge = category == "send_with_challenge" && is_mtls;
        if !(has_names || is_challenge) {
            return None;
        }
        let default = json!(["C1"]);
        let names = given.get("certs").or_else(|| given.get("credentials")).unwrap_or(&default);
        let names: Vec<&str> = names.as_array()?.iter().filter_map(Value::as_str).collect();
        let (certificates, others): (Vec<&str>, Vec<&str>) =
            names.into_iter().partition(|name| name.starts_with('C') && !name.starts_with("ClientSecret"));
        let answers = input.get("when")?.get("api")?.as_array()?;
        let status = |answer: &Value| {
            let text = answer.as_str().map(|text| text.trim_end_matches("+claims").parse().ok());
            text.unwrap_or_else(|| answer.get("status").unwrap_or(answer).as_u64())
        };
        let is_challenge = |answer: &Value| {
            answer.as_str().is_some_and(|text| text.ends_with("+claims"))
                || answer.get("www_authenticate").is_some()
        };
        Some(Self {
            certificates: certificates.iter().map(|name| name.replace(" (on reload)", "")).collect(),
            has_others: !others.is_empty(),
            statuses: answers.iter().map(status).collect::<Option<_>>()?,
            is_challenged: answers.iter().any(is_challenge),
            has_names,
            calls: given.get("calls").and_then(Value::as_u64).unwrap_or(1),
        })
    }

    /// Whether this attempt's certificate is rejected.
    fn is_rejected(&self, attempt: usize) -> bool {
        self.statuses.get(attempt).is_some_and(|status| [401, 403, 495, 496].contains(status))
    }

    /// Expects what becomes of one call.
    fn expect(&self, expect: &mut Members) {
        let Some(first) = self.certificates.first().filter(|_| self.calls == 1) else { return };
        let next = self.certificates.get(1).unwrap_or(first);
        let event = |action: &str, name: &String| match self.has_names {
            true => format!("{action}({name})"),
            false => action.to_owned(),
        };
        let status = |attempt: usize| self.statuses.get(attempt).copied().unwrap_or(200);
        let (mut events, mut calls) = (vec![event("Selected", first)], 1);
        if self.is_rejected(0) {
            events.extend([event("Deselected", first), event("Selected", next)]);
            calls += u64::from(next != first);
        }
        let last = usize::from(calls > 1);
        let name = if calls > 1 { next } else { first };
        if calls > 1 && self.is_rejected(last) {
            events.push(event("Deselected", name));
        }
        let last = status(last);
        if (200..300).contains(&last) {
            events.push(event("SuccessfullyUsed", name));
        }
        let instead = [("events", json!(events)), ("api_calls", calls.into()), ("final_status", last.into())];
        for (name, value) in instead {
            expect.get_mut(name).into_iter().for_each(|expected| *expected = value.clone());
        }
    }
}
