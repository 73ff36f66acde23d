//! What the two levels of the token cache do otherwise.

use serde_json::Value;

use super::{Rule, is_true};

pub(super) static RULES: [Rule; 5] = [
    Rule {
        name: "failed-caches-are-not-asked-again",
        about: "`cache_read`: `l2_attempts`",
        when: "the second level fails, and a handler says that it is to be tried again",
        instead: "one attempt",
        reason: "a server that is down isn't in the way; the circuit decides when it is tried again",
        apply: |category, input, expect| {
            let retries = given(input).is_some_and(|given| is_true(given, "OnL2CacheFailure"));
            if category == "cache_read" && retries {
                expect.entry("l2_attempts").and_modify(|attempts| *attempts = 1.into());
            }
        },
    },
    Rule {
        name: "the-first-level-is-always-there",
        about: "`cache_read_after_write`: `level`",
        when: "the first level is switched off",
        instead: "the first level",
        reason: "it is where callers of one process meet, and what a cached token costs nothing by",
        apply: |category, input, expect| {
            let is_off = given(input).is_some_and(|given| is_true(given, "DisableL1Cache"));
            if category == "cache_read_after_write" && is_off && expect.contains_key("level") {
                expect.insert("level".into(), "L1Cache".into());
            }
        },
    },
    Rule {
        name: "the-first-level-keeps-what-is-good",
        about: "`cache_write`: `L1_absolute`, `L1_relative`",
        when: "options limit how long partitions are kept",
        instead: "until the token expires, whatever the options are",
        reason: "the options are about the shared cache; memory has limits of its own",
        apply: |category, input, expect| {
            if category != "cache_write" {
                return;
            }
            let is_suggested = given(input).is_some_and(|given| given.contains_key("suggested_expiry"));
            let names = if is_suggested { &["L1_relative"][..] } else { &["L1_absolute", "L1_relative"] };
            for name in names {
                expect.entry(*name).and_modify(|expected| *expected = Value::Null);
            }
        },
    },
    Rule {
        name: "the-first-level-has-no-ratio",
        about: "`cache_construct`: `error`",
        when: "`L1ExpirationTimeRatio` is set",
        instead: "an error that names the setting",
        reason: "the first level has no lifetime that could be a part of another one",
        apply: |category, input, expect| {
            let has_ratio = given(input).is_some_and(|given| given.contains_key("L1ExpirationTimeRatio"));
            if category == "cache_construct" && has_ratio {
                let place = "Symbolon:TokenCache:L1ExpirationTimeRatio";
                expect.entry("error").and_modify(|error| *error = place.into());
            }
        },
    },
    Rule {
        name: "what-does-not-decrypt-is-not-used",
        about: "`cache_unprotect`: `bytes`",
        when: "values are encrypted, and one isn't",
        instead: "none",
        reason: "whoever can write to the store could put tokens there",
        apply: |category, input, expect| {
            let encrypts = given(input).is_some_and(|given| is_true(given, "Encrypt"));
            if category == "cache_unprotect" && encrypts && expect.contains_key("bytes") {
                expect.insert("bytes".into(), Value::Null);
            }
        },
    },
];

fn given(input: &super::Members) -> Option<&super::Members> {
    input.get("given")?.as_object()
}
