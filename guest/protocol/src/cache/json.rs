//! The JSON of entries: flat objects of strings. Members without a value are left out.

use alloc::string::{String, ToString};

use super::Components;
use crate::json::push_string;

/// A JSON object that is being written.
pub(super) struct Object(String);

impl Object {
    pub(super) fn new() -> Self {
        Self(String::from("{"))
    }

    /// Adds a string, unless it is empty.
    pub(super) fn text(self, name: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.member(name, |out| push_string(out, value)) }
    }

    /// Adds a string, unless it is absent or empty.
    pub(super) fn optional(self, name: &str, value: Option<&str>) -> Self {
        self.text(name, value.unwrap_or_default())
    }

    /// Adds a time, as a string of Unix seconds.
    pub(super) fn time(self, name: &str, seconds: Option<u64>) -> Self {
        self.text(name, &seconds.map(|seconds| seconds.to_string()).unwrap_or_default())
    }

    /// Adds an object of strings, unless there are none.
    pub(super) fn components(self, name: &str, components: &Components) -> Self {
        if components.is_empty() {
            return self;
        }
        let object = components
            .iter()
            .fold(Self::new(), |object, (name, value)| object.member(name, |out| push_string(out, value)));
        self.member(name, |out| out.push_str(&object.finish()))
    }

    fn member(mut self, name: &str, push_value: impl FnOnce(&mut String)) -> Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        push_string(&mut self.0, name);
        self.0.push(':');
        push_value(&mut self.0);
        self
    }

    pub(super) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
