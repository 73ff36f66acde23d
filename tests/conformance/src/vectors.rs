//! Files of vectors, in either of the two schemas in which they come.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

/// One vector.
pub(crate) struct Vector {
    /// Its name.
    pub(crate) id: String,
    /// What it is about; decides what the members of input and expectation mean.
    pub(crate) category: String,
    /// What goes in. In the second schema: `given` and `when`.
    pub(crate) input: Map<String, Value>,
    /// What must come out.
    pub(crate) expect: Map<String, Value>,
}

/// Reads a file: `{"vectors": […]}`, each with `id`, `expect`, and either `category` and `input` or `op`, `given` and
/// `when`.
///
/// # Errors
///
/// A file that can't be read or isn't such JSON; the error names the file, the place in it, what was found and what is
/// accepted.
pub(crate) fn read(file: &str) -> Result<Vec<Vector>> {
    let bytes =
        fs::read(file).with_context(|| format!("{file}: can't be read; accepted is a file of vectors"))?;
    parse(&bytes).with_context(|| file.to_owned())
}

fn parse(bytes: &[u8]) -> Result<Vec<Vector>> {
    let root: Value =
        serde_json::from_slice(bytes).context("$: not JSON; accepted is an object with \"vectors\"")?;
    let root = object(&root, "$")?;
    let Some(vectors) = root.get("vectors") else {
        bail!("$.vectors: found nothing, accepted is an array of vectors");
    };
    let Value::Array(vectors) = vectors else {
        bail!("$.vectors: found {}, accepted is an array of vectors", kind(vectors));
    };
    let mut seen = BTreeMap::new();
    let mut all = Vec::with_capacity(vectors.len());
    for (index, vector) in vectors.iter().enumerate() {
        let at = format!("$.vectors[{index}]");
        let vector = read_vector(object(vector, &at)?, &at)?;
        if let Some(first) = seen.insert(vector.id.clone(), index) {
            bail!(
                "{at}.id: found {:?}, which $.vectors[{first}] has already; accepted is a name of its own",
                vector.id
            );
        }
        all.push(vector);
    }
    Ok(all)
}

fn read_vector(vector: &Map<String, Value>, at: &str) -> Result<Vector> {
    let member =
        |name: &str| object(vector.get(name).unwrap_or(&Value::Null), &format!("{at}.{name}")).cloned();
    let (category, input) = match vector.contains_key("op") {
        true => {
            let parts = [("given", member("given")?), ("when", member("when")?)];
            (
                text(vector, "op", at)?,
                parts.map(|(name, part)| (name.to_owned(), part.into())).into_iter().collect(),
            )
        }
        false => (text(vector, "category", at)?, member("input")?),
    };
    Ok(Vector { id: text(vector, "id", at)?, category, input, expect: member("expect")? })
}

fn object<'a>(value: &'a Value, at: &str) -> Result<&'a Map<String, Value>> {
    match value {
        Value::Object(object) => Ok(object),
        other => bail!("{at}: found {}, accepted is an object", kind(other)),
    }
}

fn text(object: &Map<String, Value>, name: &str, at: &str) -> Result<String> {
    match object.get(name) {
        Some(Value::String(text)) if !text.is_empty() && !text.contains(char::is_whitespace) => {
            Ok(text.clone())
        }
        other => bail!(
            "{at}.{name}: found {}, accepted is a name without spaces",
            kind(other.unwrap_or(&Value::Null))
        ),
    }
}

/// What a value is, in words.
pub(crate) fn kind(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string {text:?}"),
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
    }
}
