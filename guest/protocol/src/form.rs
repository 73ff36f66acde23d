//! The body of a token request: `application/x-www-form-urlencoded` in a fixed order.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::url::push_percent_encoded;

/// The content type of a [`Form`].
pub const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

/// Named values in the order in which they were first set.
#[derive(Clone, Default)]
pub struct Form {
    fields: Vec<(String, String)>,
}

impl Form {
    /// A form without fields.
    pub fn new() -> Form {
        Form::default()
    }

    /// Sets a field. A field that is there keeps its place; a name or value of nothing but white space is passed over,
    /// as MSAL does.
    pub fn set(&mut self, name: &str, value: &str) {
        if !name.trim().is_empty() && !value.trim().is_empty() {
            self.put(name, value);
        }
    }

    /// Sets a field, where there is a value.
    pub fn set_some(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// Sets a field that is empty on purpose: the host fills it on the way out.
    pub fn set_empty(&mut self, name: &str) {
        self.put(name, "");
    }

    /// Takes a field away, if it is there.
    pub fn remove(&mut self, name: &str) {
        self.fields.retain(|(present, _)| present != name);
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }

    /// The form as it goes on the wire.
    pub fn encode(&self) -> String {
        let length = self.fields.iter().map(|(name, value)| name.len() + value.len() + 2).sum::<usize>();
        let mut out = String::with_capacity(length + length / 4);
        for (index, (name, value)) in self.fields.iter().enumerate() {
            if index > 0 {
                out.push('&');
            }
            push_percent_encoded(&mut out, name);
            out.push('=');
            push_percent_encoded(&mut out, value);
        }
        out
    }

    fn put(&mut self, name: &str, value: &str) {
        match self.fields.iter_mut().find(|(present, _)| present == name) {
            Some((_, present)) => *present = value.into(),
            None => self.fields.push((name.into(), value.into())),
        }
    }
}

impl fmt::Debug for Form {
    /// Shows the names only: values are assertions and tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn a_field_set_again_keeps_its_place() {
        let mut form = Form::new();
        form.set("a", "1");
        form.set("b", "2");
        form.set("a", "3");
        assert_eq!(form.encode(), "a=3&b=2");
    }

    #[test]
    fn blank_names_and_values_are_passed_over() {
        let mut form = Form::new();
        form.set("a", " \t");
        form.set(" ", "x");
        form.set_some("b", None);
        form.set_empty("c");
        assert_eq!(form.encode(), "c=");
    }

    #[test]
    fn reserved_and_foreign_characters_are_encoded() {
        let mut form = Form::new();
        form.set("k&", "a b+ü/~=");
        assert_eq!(form.encode(), "k%26=a%20b%2B%C3%BC%2F~%3D");
    }

    #[test]
    fn debug_shows_names_only() {
        let mut form = Form::new();
        form.set("client_assertion", "canary");
        assert_eq!(format!("{form:?}"), "[\"client_assertion\"]");
    }
}
