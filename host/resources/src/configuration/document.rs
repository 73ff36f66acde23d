//! A configuration before its keys mean anything: JSON with comments, overlaid with environment variables.

use std::collections::HashSet;
use std::ffi::OsString;
use std::sync::Arc;

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use zeroize::Zeroizing;

use super::error::{Place, Problem, Source, join};

/// A value and where it was written. It may be a secret, hence no `Debug`.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) source: Source,
}

#[derive(Clone)]
pub(super) enum Value {
    Null,
    Boolean(bool),
    Number(String),
    Text(Zeroizing<String>),
    /// The members of an object, or of an array under the names `0`, `1`, …: environment variables make no difference
    /// between the two.
    Members(Vec<(String, Node)>),
}

impl Node {
    /// An empty object.
    pub(super) fn empty(source: Source) -> Self {
        Self { value: Value::Members(Vec::new()), source }
    }

    pub(super) fn members(&self) -> &[(String, Node)] {
        match &self.value {
            Value::Members(members) => members,
            _ => &[],
        }
    }

    /// The member of that name, case ignored, with the name as it is written. `null` is the same as absent.
    pub(super) fn get(&self, name: &str) -> Option<(&str, &Node)> {
        self.members()
            .iter()
            .find(|(known, node)| known.eq_ignore_ascii_case(name) && !matches!(node.value, Value::Null))
            .map(|(known, node)| (known.as_str(), node))
    }

    /// What it is, for error texts; never the value.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Boolean(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::Members(_) => "an object or array",
        }
    }

    /// Sets what environment variables say: `Section__Key__0__Field`, names in any case.
    pub(super) fn overlay(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) {
        for (name, value) in variables {
            let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else { continue };
            let steps: Vec<_> = name.split("__").collect();
            if steps.len() > 1 && steps.iter().all(|step| !step.is_empty()) {
                let source = Source::Environment(Arc::from(name.as_str()));
                self.set(&steps, Node { value: Value::Text(Zeroizing::new(value)), source });
            }
        }
    }

    fn set(&mut self, steps: &[&str], new: Node) {
        let Some((step, rest)) = steps.split_first() else {
            *self = new;
            return;
        };
        if !matches!(self.value, Value::Members(_)) {
            *self = Node::empty(new.source.clone());
        }
        let Value::Members(members) = &mut self.value else { return };
        match members.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(step)) {
            Some((_, node)) => node.set(rest, new),
            None => {
                let mut node = Node::empty(new.source.clone());
                node.set(rest, new);
                members.push(((*step).to_owned(), node));
            }
        }
    }
}

/// Reads JSON with comments and trailing commas. A byte order mark is accepted.
pub(super) fn parse(bytes: &[u8], source: &Source) -> Result<Node, Vec<Problem>> {
    const ACCEPTED: &str = "a JSON object (comments and trailing commas are allowed)";
    let whole = || Place::new(source.clone(), "");
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes)
        .map_err(|_| vec![Problem::new(whole(), "something other than UTF-8", ACCEPTED)])?;
    let tree = parse_to_ast(text, &CollectOptions::default(), &options()).map_err(|error| {
        let (line, column) = (error.line_display(), error.column_display());
        let place = Place::new(source.clone(), format!("line {line}, column {column}"));
        vec![Problem::new(place, format!("malformed JSON ({})", error.kind()), ACCEPTED)]
    })?;
    let Some(ast::Value::Object(object)) = tree.value else {
        let found = tree.value.map_or("nothing", |_| "something other than an object");
        return Err(vec![Problem::new(whole(), found, ACCEPTED)]);
    };
    let mut reader = Converter { lines: Lines::of(text), source, problems: Vec::new() };
    let root = reader.object(object, "", source.clone());
    match reader.problems.is_empty() {
        true => Ok(root),
        false => Err(reader.problems),
    }
}

/// Takes a JSON value as if it had been read.
pub(super) fn from_value(value: serde_json::Value, source: &Source) -> Node {
    use serde_json::Value as Json;
    let value = match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Boolean(value),
        Json::Number(value) => Value::Number(value.to_string()),
        Json::String(value) => Value::Text(Zeroizing::new(value)),
        Json::Array(values) => Value::Members(
            values.into_iter().enumerate().map(|(i, v)| (i.to_string(), from_value(v, source))).collect(),
        ),
        Json::Object(members) => {
            Value::Members(members.into_iter().map(|(name, v)| (name, from_value(v, source))).collect())
        }
    };
    Node { value, source: source.clone() }
}

struct Converter<'a> {
    lines: Lines,
    source: &'a Source,
    problems: Vec<Problem>,
}

/// Where the lines of a text end.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line of a position, from 1; nothing where there is one only.
    fn line(&self, at: usize) -> Option<u32> {
        let before = self.0.partition_point(|end| *end < at);
        u32::try_from(before + 1).ok().filter(|_| !self.0.is_empty())
    }
}

impl Converter<'_> {
    fn source_at(&self, position: usize) -> Source {
        self.lines.line(position).map_or_else(|| self.source.clone(), |line| self.source.at_line(line))
    }

    /// `source` says where it begins.
    fn node(&mut self, value: ast::Value<'_>, path: &str, source: Source) -> Node {
        let value = match value {
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::BooleanLit(literal) => Value::Boolean(literal.value),
            ast::Value::NumberLit(literal) => Value::Number(literal.value.to_owned()),
            ast::Value::StringLit(literal) => Value::Text(Zeroizing::new(literal.value.into_owned())),
            ast::Value::Object(object) => return self.object(object, path, source),
            ast::Value::Array(array) => {
                let elements = array.elements.into_iter().enumerate().map(|(i, element)| {
                    let name = i.to_string();
                    let source = self.source_at(element.start());
                    let node = self.node(element, &join(path, &name), source);
                    (name, node)
                });
                Value::Members(elements.collect())
            }
        };
        Node { value, source }
    }

    fn object(&mut self, object: ast::Object<'_>, path: &str, source: Source) -> Node {
        let mut members: Vec<(String, Node)> = Vec::with_capacity(object.properties.len());
        let mut names = HashSet::with_capacity(object.properties.len());
        for property in object.properties {
            let start = property.start();
            let source = self.source_at(start);
            let name = property.name.into_string();
            let path = join(path, &name);
            if !names.insert(name.to_ascii_lowercase()) {
                let place = Place::new(source.clone(), path.as_str());
                let accepted = "each key once, in whatever case";
                self.problems.push(Problem::new(place, "the key a second time", accepted));
            }
            let node = self.node(property.value, &path, source);
            members.push((name, node));
        }
        Node { value: Value::Members(members), source }
    }
}

/// What .NET's configuration reads, and no more.
fn options() -> ParseOptions {
    ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}
