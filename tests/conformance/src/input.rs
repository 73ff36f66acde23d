//! The input of a vector, read member by member, so that what nobody read is known.

use std::{cell::RefCell, collections::BTreeSet};

use serde_json::{Map, Value};

use crate::vectors::kind;

/// Why a vector can't be run.
#[derive(Debug)]
pub(crate) struct Uncovered(pub(crate) String);

pub(crate) type Read<T> = Result<T, Uncovered>;

/// An object of a vector's input. `null` and absent members mean the same: not set.
pub(crate) struct Input<'a> {
    members: &'a Map<String, Value>,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> Input<'a> {
    pub(crate) fn new(members: &'a Map<String, Value>) -> Self {
        Self { members, read: RefCell::default() }
    }

    /// A member of any type.
    pub(crate) fn any(&self, name: &str) -> Option<&'a Value> {
        self.read.borrow_mut().insert(name.to_owned());
        self.members.get(name).filter(|value| !value.is_null())
    }

    /// The names of all members.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.members.keys().map(String::as_str)
    }

    /// Whether a member is there, and nothing.
    pub(crate) fn is_null(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(Value::is_null)
    }

    /// The first of several names under which a member may come.
    pub(crate) fn any_of(&self, names: &[&str]) -> Option<&'a Value> {
        names.iter().filter_map(|name| self.any(name)).last()
    }

    pub(crate) fn text(&self, name: &str) -> Read<Option<&'a str>> {
        self.typed(name, "a string", Value::as_str)
    }

    pub(crate) fn text_of(&self, names: &[&str]) -> Read<Option<&'a str>> {
        names.iter().try_fold(None, |found, name| Ok(found.or(self.text(name)?)))
    }

    pub(crate) fn required(&self, name: &str) -> Read<&'a str> {
        self.text(name)?.ok_or_else(|| Uncovered(format!("the input has no member {name}")))
    }

    pub(crate) fn number(&self, name: &str) -> Read<Option<i64>> {
        self.typed(name, "a number", Value::as_i64)
    }

    pub(crate) fn flag(&self, name: &str) -> Read<bool> {
        Ok(self.typed(name, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    /// An array of strings.
    pub(crate) fn texts(&self, name: &str) -> Read<Option<Vec<String>>> {
        self.typed(name, "an array of strings", |value| {
            value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
        })
    }

    /// An object of strings.
    pub(crate) fn pairs(&self, name: &str) -> Read<Option<Vec<(String, String)>>> {
        self.typed(name, "an object of strings", |value| {
            let pair = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
            value.as_object()?.iter().map(pair).collect()
        })
    }

    pub(crate) fn object(&self, name: &str) -> Read<Option<Input<'a>>> {
        self.typed(name, "an object", |value| value.as_object().map(Self::new))
    }

    /// What is given and what is done; either may be empty.
    pub(crate) fn parts(&self) -> Read<(Input<'a>, Input<'a>)> {
        let missing = || Uncovered("nothing is given".into());
        Ok((self.object("given")?.ok_or_else(missing)?, self.object("when")?.ok_or_else(missing)?))
    }

    /// Objects.
    pub(crate) fn objects(&self, name: &str) -> Read<Option<Vec<Input<'a>>>> {
        self.typed(name, "an array of objects", |value| {
            value.as_array()?.iter().map(|item| item.as_object().map(Self::new)).collect()
        })
    }

    fn typed<T>(
        &self,
        name: &str,
        accepted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Read<Option<T>> {
        let Some(value) = self.any(name) else { return Ok(None) };
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(Uncovered(format!("in the input, {name} is {} and not {accepted}", kind(value)))),
        }
    }

    /// All members, for whoever reads them on its own.
    pub(crate) fn rest(&self) -> Map<String, Value> {
        self.read.borrow_mut().extend(self.members.keys().cloned());
        self.members.clone()
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// A member that nobody asked for: the vector means something that wasn't done.
    pub(crate) fn finish(&self) -> Read<()> {
        let read = self.read.borrow();
        let unread = |name: &&String| !read.contains(*name);
        match self.members.keys().find(unread) {
            Some(name) => Err(Uncovered(format!("the input's member {name} isn't understood here"))),
            None => Ok(()),
        }
    }
}
