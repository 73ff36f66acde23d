//! Typed reading of a section, with what is wrong collected on the way.

use zeroize::Zeroizing;

use super::document::{Node, Value};
use super::error::{Place, Problem, Source, Warning, join, quoted};

/// Collects problems and warnings.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
}

impl Findings {
    pub(super) fn problem(&mut self, place: Place, found: impl Into<String>, accepted: impl Into<String>) {
        self.problems.push(Problem::new(place, found, accepted));
    }

    pub(super) fn warning(&mut self, place: Place, message: impl Into<String>) {
        self.warnings.push(Warning::new(place, message));
    }
}

/// A value with the place where it was written.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<T> Located<T> {
    pub(super) fn built(path: &str, value: T) -> Self {
        Self { value, place: Place::new(Source::Builder, path) }
    }
}

/// An object of the configuration, by its path.
#[derive(Clone)]
pub(super) struct Section<'a> {
    node: &'a Node,
    path: String,
}

impl<'a> Section<'a> {
    pub(super) fn new(node: &'a Node, path: impl Into<String>) -> Self {
        Self { node, path: path.into() }
    }

    pub(super) fn node(&self) -> &'a Node {
        self.node
    }

    /// The section itself.
    pub(super) fn place(&self) -> Place {
        Place::new(self.node.source.clone(), self.path.clone())
    }

    /// Where a member is, or would be.
    pub(super) fn place_of(&self, name: &str) -> Place {
        match self.node.get(name) {
            Some((written, node)) => Place::new(node.source.clone(), join(&self.path, written)),
            None => self.place().child(name),
        }
    }

    /// The names of all members, as they are written.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.node.members().iter().map(|(name, _)| name.as_str())
    }

    /// The names in a member, as they are written.
    pub(super) fn names_in(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let members = self.node.get(name).map(|(_, node)| node.members()).unwrap_or_default();
        members.iter().map(|(name, _)| name.as_str())
    }

    /// A string, or nothing where there is something else.
    pub(super) fn peek(&self, name: &str) -> Option<Zeroizing<String>> {
        match &self.node.get(name)?.1.value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.node.get(name).is_some()
    }

    /// Whether there is something other than an empty object or array.
    pub(super) fn has_content(&self, name: &str) -> bool {
        let empty = |node: &Node| matches!(&node.value, Value::Members(members) if members.is_empty());
        self.node.get(name).is_some_and(|(_, node)| !empty(node))
    }

    pub(super) fn text(&self, name: &str, findings: &mut Findings) -> Option<Located<String>> {
        let secret = self.secret(name, findings)?;
        Some(Located { value: secret.value.to_string(), place: secret.place })
    }

    /// As [`Section::text`], for values that are wiped from memory.
    pub(super) fn secret(&self, name: &str, findings: &mut Findings) -> Option<Located<Zeroizing<String>>> {
        let (_, node) = self.node.get(name)?;
        let place = self.place_of(name);
        match &node.value {
            Value::Text(text) => Some(Located { value: text.clone(), place }),
            _ => {
                findings.problem(place, node.kind(), "a string");
                None
            }
        }
    }

    /// A boolean, or `true` or `false` as a string, as environment variables have it.
    pub(super) fn flag(&self, name: &str, findings: &mut Findings) -> Option<bool> {
        const ACCEPTED: &str = "true or false";
        let (_, node) = self.node.get(name)?;
        let found = match &node.value {
            Value::Boolean(value) => return Some(*value),
            Value::Text(text) if text.trim().eq_ignore_ascii_case("true") => return Some(true),
            Value::Text(text) if text.trim().eq_ignore_ascii_case("false") => return Some(false),
            Value::Text(text) => quoted(text),
            _ => node.kind().to_owned(),
        };
        findings.problem(self.place_of(name), found, ACCEPTED);
        None
    }

    /// A whole number above zero, or the same as a string.
    pub(super) fn count(&self, name: &str, findings: &mut Findings) -> Option<usize> {
        let (_, node) = self.node.get(name)?;
        let found = match &node.value {
            Value::Number(digits) => digits.as_str(),
            Value::Text(text) => text.trim(),
            _ => node.kind(),
        };
        let count = found.parse().ok().filter(|count| *count > 0);
        if count.is_none() {
            findings.problem(self.place_of(name), found, "a whole number above zero");
        }
        count
    }

    /// The members of an object.
    pub(super) fn object(&self, name: &str, findings: &mut Findings) -> Option<Section<'a>> {
        let (written, node) = self.node.get(name)?;
        match &node.value {
            Value::Members(_) => Some(Section::new(node, join(&self.path, written))),
            _ => {
                findings.problem(self.place_of(name), node.kind(), "an object");
                None
            }
        }
    }

    /// The elements of an array in order, each as a section.
    pub(super) fn array(&self, name: &str, findings: &mut Findings) -> Vec<Section<'a>> {
        self.elements(name, findings)
            .into_iter()
            .filter_map(|(element, node)| match &node.value {
                Value::Members(_) => Some(element),
                _ => {
                    findings.problem(element.place(), node.kind(), "an object");
                    None
                }
            })
            .collect()
    }

    /// The strings of an array in order.
    pub(super) fn texts(&self, name: &str, findings: &mut Findings) -> Vec<Located<String>> {
        self.elements(name, findings)
            .into_iter()
            .filter_map(|(element, node)| match &node.value {
                Value::Text(text) => Some(Located { value: text.to_string(), place: element.place() }),
                _ => {
                    findings.problem(element.place(), node.kind(), "a string");
                    None
                }
            })
            .collect()
    }

    /// A string or number, or those of an array in order.
    pub(super) fn scalars_of(&self, name: &str, findings: &mut Findings) -> Vec<Located<String>> {
        let text = |node: &Node| match &node.value {
            Value::Text(text) => Some(text.to_string()),
            Value::Number(digits) => Some(digits.clone()),
            _ => None,
        };
        if let Some(value) = self.node.get(name).and_then(|(_, node)| text(node)) {
            return vec![Located { value, place: self.place_of(name) }];
        }
        let mut scalars = Vec::new();
        for (element, node) in self.elements(name, findings) {
            match text(node) {
                Some(value) => scalars.push(Located { value, place: element.place() }),
                None => findings.problem(element.place(), node.kind(), "a string or a number"),
            }
        }
        scalars
    }

    /// The elements of an array in order, each a string or a section.
    pub(super) fn texts_and_objects(
        &self,
        name: &str,
        findings: &mut Findings,
    ) -> Vec<Result<Located<String>, Section<'a>>> {
        let mut elements = Vec::new();
        for (element, node) in self.elements(name, findings) {
            match &node.value {
                Value::Text(text) => {
                    elements.push(Ok(Located { value: text.to_string(), place: element.place() }))
                }
                Value::Members(_) => elements.push(Err(element)),
                _ => findings.problem(element.place(), node.kind(), "a string or an object"),
            }
        }
        elements
    }

    /// The strings of an object, by name, in the order in which they are written.
    pub(super) fn entries(&self, findings: &mut Findings) -> Vec<(&'a str, Located<String>)> {
        self.names().filter_map(|name| Some((name, self.text(name, findings)?))).collect()
    }

    /// The strings, numbers and booleans of an object as strings, by name, in the order in which they are written.
    pub(super) fn scalars(&self, findings: &mut Findings) -> Vec<(String, String)> {
        let mut scalars = Vec::new();
        for (name, node) in self.node.members() {
            let text = match &node.value {
                Value::Null => continue,
                Value::Boolean(value) => value.to_string(),
                Value::Number(digits) => digits.clone(),
                Value::Text(text) => text.to_string(),
                Value::Members(_) => {
                    findings.problem(self.place_of(name), node.kind(), "a string, a number or a boolean");
                    continue;
                }
            };
            scalars.push((name.clone(), text));
        }
        scalars
    }

    fn elements(&self, name: &str, findings: &mut Findings) -> Vec<(Section<'a>, &'a Node)> {
        let Some((written, node)) = self.node.get(name) else { return Vec::new() };
        let path = join(&self.path, written);
        let mut elements = Vec::new();
        for (index, element) in node.members() {
            match index.parse::<usize>() {
                Ok(number) if !matches!(element.value, Value::Null) => {
                    elements.push((number, Section::new(element, join(&path, index)), element));
                }
                Ok(_) => {}
                Err(_) => {
                    let place = Place::new(element.source.clone(), join(&path, index));
                    findings.problem(place, "a name in place of an array's index", "an array");
                }
            }
        }
        if !matches!(node.value, Value::Members(_)) {
            findings.problem(self.place_of(name), node.kind(), "an array");
        }
        elements.sort_by_key(|(number, ..)| *number);
        elements.into_iter().map(|(_, section, node)| (section, node)).collect()
    }
}

/// The known name that a misspelt one was most likely meant to be: within two edits, case ignored.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) from one name to the other, case ignored.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().map(|c| c.to_ascii_lowercase()).collect();
    let b: Vec<char> = b.chars().map(|c| c.to_ascii_lowercase()).collect();
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let cost = usize::from(ca != cb);
            let mut best = (row[j] + 1).min(rows[i][j + 1] + 1).min(rows[i][j] + cost);
            if i > 0 && j > 0 && a[i - 1] == *cb && *ca == b[j - 1] {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
