//! What was got, compared with what was expected.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// What became of a vector.
pub enum Verdict {
    /// Everything that is expected came out.
    Ok,
    /// With the names of the rules.
    Deviates(Vec<&'static str>),
    /// With the reason.
    Uncovered(String),
    /// Something else came out.
    Fail {
        /// What was expected, without what is right.
        expected: Map<String, Value>,
        /// What came in its place.
        got: Map<String, Value>,
    },
}

impl Verdict {
    /// The first word of its line.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Deviates(_) => "deviates",
            Self::Uncovered(_) => "uncovered",
            Self::Fail { .. } => "FAIL",
        }
    }

    /// The line about the vector of this name.
    /// Its line in the runner's output.
    pub fn line(&self, id: &str) -> String {
        let word = self.word();
        match self {
            Self::Ok => format!("{word} {id}"),
            Self::Deviates(rules) => format!("{word} {id} ({})", rules.join(", ")),
            Self::Uncovered(reason) => format!("{word} {id} ({reason})"),
            Self::Fail { expected, got } => {
                let (expected, got) = (Value::from(expected.clone()), Value::from(got.clone()));
                format!("{word} {id} expected {expected} got {got}")
            }
        }
    }
}

/// The comparison of one vector.
pub(crate) struct Checks<'a> {
    expect: &'a Map<String, Value>,
    compared: BTreeSet<String>,
    expected: Map<String, Value>,
    got: Map<String, Value>,
}

impl<'a> Checks<'a> {
    pub(crate) fn new(expect: &'a Map<String, Value>) -> Self {
        Self { expect, compared: BTreeSet::new(), expected: Map::new(), got: Map::new() }
    }

    /// What is expected of a member, without comparing it.
    pub(crate) fn expected(&self, name: &str) -> Option<&'a Value> {
        self.expect.get(name)
    }

    /// Compares a member, if anything is expected of it. `null` means that there is none.
    pub(crate) fn check(&mut self, name: &str, got: impl Into<Value>) {
        if let Some(expected) = self.expect.get(name) {
            self.compare(name, expected, got.into());
        }
    }

    /// Compares a member of which only a part is expected: `part` takes that part out of what was got.
    pub(crate) fn check_part(&mut self, name: &str, part: impl FnOnce(&Value) -> Value) {
        if let Some(expected) = self.expect.get(name) {
            self.compare(name, expected, part(expected));
        }
    }

    fn compare(&mut self, name: &str, expected: &Value, got: Value) {
        self.compared.insert(name.to_owned());
        if *expected != got {
            self.expected.insert(name.to_owned(), expected.clone());
            self.got.insert(name.to_owned(), got);
        }
    }

    /// Compares success: no error is expected.
    pub(crate) fn succeeded(&mut self) {
        self.check("error_code", Value::Null);
        self.check("error", Value::Null);
    }

    /// Compares a refusal. Where none is expected, everything that is expected instead is missing.
    pub(crate) fn refused(&mut self, code: &str, is_argument: bool) {
        self.check("error_code", code);
        self.check("error", if is_argument { "argument".into() } else { Value::from(code) });
        if ["error_code", "error"].iter().all(|name| self.expect.get(*name).is_none_or(Value::is_null)) {
            self.compared.extend(self.expect.keys().cloned());
            self.expected.extend(self.expect.clone());
            self.got.insert("error_code".into(), code.into());
        }
    }

    /// Records what can't be told by comparing members.
    pub(crate) fn broken(&mut self, what: &str) {
        self.expected.extend(self.expect.clone());
        self.got.insert("broken".into(), what.into());
    }

    pub(crate) fn finish(self, rules: Vec<&'static str>) -> Verdict {
        if !self.expected.is_empty() || !self.got.is_empty() {
            return Verdict::Fail { expected: self.expected, got: self.got };
        }
        if let Some(name) = self.expect.keys().find(|name| !self.compared.contains(*name)) {
            return Verdict::Uncovered(format!("the expectation's member {name} isn't understood here"));
        }
        if rules.is_empty() { Verdict::Ok } else { Verdict::Deviates(rules) }
    }
}

/// Whether what was got is what is expected where the expectation leaves things open: an object's members that it doesn't
/// name, and within texts `…` and words in angle brackets such as `<token>`.
pub(crate) fn alike(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => {
            expected.iter().all(|(name, value)| alike(value, got.get(name).unwrap_or(&Value::Null)))
        }
        (Value::Array(expected), Value::Array(got)) => {
            expected.len() == got.len()
                && expected.iter().zip(got).all(|(expected, got)| alike(expected, got))
        }
        (Value::String(pattern), Value::String(text)) => fits(pattern, text),
        (Value::String(pattern), Value::Object(_) | Value::Array(_)) => {
            pieces(pattern).iter().all(|piece| piece.is_empty())
        }
        (expected, got) => expected == got,
    }
}

/// Whether a text has the pieces of a pattern, in their order, with something between them.
fn fits(pattern: &str, text: &str) -> bool {
    let pieces = pieces(pattern);
    let [first, middle @ .., last] = pieces.as_slice() else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(*first) else { return false };
    for piece in middle {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.strip_suffix(*last).is_some_and(|between| !between.is_empty())
}

/// What is written out in a pattern, around what is left open. One piece where nothing is.
fn pieces(pattern: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut rest, mut piece) = (pattern, pattern);
    while let Some(at) = rest.find(['…', '<']) {
        let (_, open) = rest.split_at(at);
        let length = match open.strip_prefix('<') {
            None => '…'.len_utf8(),
            Some(word) => match word.find(['>', '<']) {
                Some(end) if end > 0 && word[end..].starts_with('>') => end + 2,
                _ => {
                    rest = &open[1..];
                    continue;
                }
            },
        };
        pieces.push(&piece[..piece.len() - open.len()]);
        rest = &open[length..];
        piece = rest;
    }
    pieces.push(piece);
    pieces
}
