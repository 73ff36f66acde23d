//! What whole acquisitions do otherwise, and who learns of it.

use serde_json::{Map, Value};

use super::{Members, Rule};

pub(super) static RULES: [Rule; 6] = [
    Rule {
        name: "cached-tokens-use-no-certificate",
        about: "`run_sequence`: `events`",
        when: "a call is answered from the cache",
        instead: "`SuccessfullyUsed` for the requests alone",
        reason: "a certificate that nobody saw wasn't used",
        apply: |category, input, expect| {
            if let ("run_sequence", Some(script)) = (category, Script::read(input)) {
                let cached = script.calls.saturating_sub(script.calls_until_token());
                for _ in 0..if script.is_code { 0 } else { cached } {
                    pop_event(expect, "SuccessfullyUsed");
                }
            }
        },
    },
    Rule {
        name: "users-tokens-tell-observers",
        about: "`run_sequence`: `events`",
        when: "the token is a user's",
        instead: "`SuccessfullyUsed` follows as for an application's",
        reason: "the authority saw the same certificate",
        apply: |category, input, expect| {
            let is_users = Script::read(input).is_some_and(|script| script.is_users);
            let has_token = expect.get("outcome") == Some(&"token".into());
            if category == "run_sequence" && is_users && has_token {
                let selected = last_event(expect, "Selected");
                if let (Some(name), None) = (selected, last_event(expect, "SuccessfullyUsed")) {
                    push_event(expect, format!("SuccessfullyUsed({name})"));
                }
            }
        },
    },
    Rule {
        name: "codes-are-sent-once",
        about: "`run_sequence`: all members",
        when: "the request with an authorization code is refused because of its certificate",
        instead: "the error, and no further request",
        reason: "a code that was seen twice revokes what it brought (RFC 6749 §4.1.2)",
        apply: |category, input, expect| {
            if let ("run_sequence", Some(script)) = (category, Script::read(input))
                && script.is_code
                && script.is_certificate
                && script.is_refused(0)
            {
                end_after_one_request(expect, 2);
            }
        },
    },
    Rule {
        name: "refused-certificates-are-not-sent-again",
        about: "`run_sequence`: all members",
        when: "the authority refuses a certificate, and the same is read again",
        instead: "the error, and no further request",
        reason: "the authority has just said what it thinks of it",
        apply: |category, input, expect| {
            if let ("run_sequence", Some(script)) = (category, Script::read(input))
                && script.has_one_certificate
                && !script.is_code
                && script.is_refused(0)
                && script.calls == 1
            {
                end_after_one_request(expect, 3);
            }
        },
    },
    Rule {
        name: "hooks-run-for-every-call",
        about: "`extension_events`: `fired`",
        when: "a call has no options, or is for an agent's user",
        instead: "the hooks of the flow, as with options; for an agent's user those of the application",
        reason: "what a hook enforces must hold for every call",
        apply: |category, input, expect| {
            let given = |name: &str| input.get("given").and_then(|given| given.get(name));
            let flow = given("flow").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
            let has_options = given("options").is_some_and(|options| !options.is_null());
            let hooks: &[&str] = match flow.as_str() {
                "obo" | "on_behalf_of" | "user" if !has_options => {
                    &["OnBeforeOnBehalfOfInitialized", "OnBeforeTokenAcquisitionForOnBehalfOf"]
                }
                "agent_user" | "agent-user" | "agent_user_identity" => &["OnBeforeTokenAcquisitionForApp"],
                _ => return,
            };
            if let ("extension_events", Some(fired)) = (category, expect.get_mut("fired")) {
                *fired = hooks.into();
            }
        },
    },
    Rule {
        name: "no-scope-is-a-wrong-scope",
        about: "`validate_app_scope`: `error`",
        when: "there is no scope",
        instead: "the error of one that doesn't end in `/.default`",
        reason: "the API can't leave it out",
        apply: |category, input, expect| {
            let scope = input.get("given").and_then(|given| given.get("scope"));
            if category == "validate_app_scope" && scope.is_none_or(Value::is_null) {
                expect.get_mut("error").into_iter().for_each(|error| *error = "IDW10404".into());
            }
        },
    },
];

/// What a vector says of a sequence.
struct Script<'a> {
    answers: Vec<&'a str>,
    calls: usize,
    is_users: bool,
    is_code: bool,
    is_certificate: bool,
    has_one_certificate: bool,
}

impl<'a> Script<'a> {
    fn read(input: &'a Members) -> Option<Self> {
        let given = input.get("given")?.as_object()?;
        let flow = given.get("flow").and_then(Value::as_str).unwrap_or("app");
        let certificates = given.get("certs").and_then(Value::as_array).map_or(0, Vec::len);
        let calls = given.get("calls").and_then(Value::as_u64).unwrap_or(1);
        Some(Self {
            answers: input.get("when")?.get("sts")?.as_array()?.iter().filter_map(Value::as_str).collect(),
            calls: usize::try_from(calls).ok()?,
            is_users: flow != "app" && !flow.starts_with("auth"),
            is_code: flow.starts_with("auth"),
            is_certificate: certificates > 0,
            has_one_certificate: certificates == 1,
        })
    }

    /// Whether the authority's answer to this request is that another certificate might do.
    fn is_refused(&self, request: usize) -> bool {
        const REJECTIONS: [&str; 6] = ["700024", "700027", "1000502", "7000214", "7000274", "7000277"];
        let code = self.answers.get(request).and_then(|answer| answer.strip_prefix("AADSTS"));
        code.is_some_and(|code| REJECTIONS.contains(&code))
    }

    /// How many calls it takes until there is a token: each ends with an answer that isn't tried to be cured again.
    fn calls_until_token(&self) -> usize {
        let mut request = 0;
        for call in 1..=self.calls {
            if self.is_certificate && self.is_refused(request) {
                request += 1;
            }
            if self.answers.get(request).is_none_or(|answer| *answer == "ok") {
                return call;
            }
            request += 1;
        }
        self.calls
    }
}

/// Expects an error after one request, and of the events the first ones.
fn end_after_one_request(expect: &mut Members, events: usize) {
    if let Some(Value::Array(all)) = expect.get_mut("events") {
        all.truncate(events);
    }
    let outcome = Value::from("MsalServiceException");
    let after: Map<String, Value> =
        [("sts_calls".to_owned(), 1.into()), ("outcome".to_owned(), outcome)].into_iter().collect();
    for (name, value) in after {
        expect.get_mut(&name).into_iter().for_each(|expected| *expected = value.clone());
    }
}

fn events(expect: &Members) -> impl DoubleEndedIterator<Item = &str> {
    let events = expect.get("events").and_then(Value::as_array);
    events.map(Vec::as_slice).unwrap_or_default().iter().filter_map(Value::as_str)
}

/// The certificate of the last event of an action.
fn last_event(expect: &Members, action: &str) -> Option<String> {
    let certificate = |event: &str| Some(event.strip_prefix(action)?.strip_prefix('(')?.to_owned());
    events(expect).rev().find_map(certificate).map(|name| name.trim_end_matches(')').to_owned())
}

fn push_event(expect: &mut Members, event: String) {
    if let Some(Value::Array(events)) = expect.get_mut("events") {
        events.push(event.into());
    }
}

/// Takes the last event away, if it is of the action.
fn pop_event(expect: &mut Members, action: &str) {
    if let Some(Value::Array(events)) = expect.get_mut("events") {
        events.pop_if(|event| event.as_str().is_some_and(|event| event.starts_with(action)));
    }
}
