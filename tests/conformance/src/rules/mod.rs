//! Where Symbolon deviates from what the vectors expect, on purpose.
//!
//! A rule looks at a vector's input and says what must come out instead. It never looks at a vector's name, and what it
//! says is compared as exactly as what the vector said. The compatibility notes have the same list.

mod agents;
mod configuration;
mod credentials;
mod downstream;
mod protocol;
pub(crate) mod requests;
mod sequences;
mod sidecar;
mod token_caches;

use serde_json::{Map, Value};

use crate::vectors::Vector;

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
    for rule in all() {
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
    head.into_iter().chain(all().map(row)).collect()
}

fn all() -> impl Iterator<Item = &'static Rule> {
    let tables: [&'static [Rule]; 9] = [
        &protocol::RULES,
        &agents::RULES,
        &requests::RULES,
        &credentials::RULES,
        &sequences::RULES,
        &configuration::RULES,
        &downstream::RULES,
<<<<<<< HEAD
        &token_caches::RULES,
        &sidecar::RULES,
=======
        &sidecar::RULES,
        &token_caches::RULES,
>>>>>>> routes
    ];
    tables.into_iter().flatten()
}

fn is_true(members: &Members, name: &str) -> bool {
    members.get(name) == Some(&Value::Bool(true))
}
