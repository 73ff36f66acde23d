//! JSON whose members keep their order and may repeat: what a byte-exact expectation holds.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Result, Value, value::RawValue};

/// A JSON value.
pub(crate) enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    /// Anything else, as it is written.
    Scalar(String),
}

impl Json {
    pub(crate) fn parse(json: &str) -> Result<Self> {
        let inner = |value: &RawValue| Self::parse(value.get());
        Ok(match json.trim_start().as_bytes().first() {
            Some(b'{') => {
                let Members(members) = serde_json::from_str(json)?;
                let member = |(name, value): (String, Box<RawValue>)| Ok((name, inner(&value)?));
                Self::Object(members.into_iter().map(member).collect::<Result<_>>()?)
            }
            Some(b'[') => {
                let items: Vec<Box<RawValue>> = serde_json::from_str(json)?;
                Self::Array(items.iter().map(|item| inner(item)).collect::<Result<_>>()?)
            }
            _ => Self::Scalar(serde_json::from_str::<Box<RawValue>>(json)?.get().to_owned()),
        })
    }

    /// The members, if it is an object.
    pub(crate) fn members_mut(&mut self) -> Option<&mut Vec<(String, Self)>> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// Drops, at any depth, each `null` whose name the object has already.
    pub(crate) fn drop_repeated_nulls(&mut self) {
        match self {
            Self::Object(members) => {
                let mut seen = Vec::new();
                members.retain(|(name, value)| {
                    let is_repeated = seen.contains(name);
                    seen.push(name.clone());
                    !(is_repeated && matches!(value, Self::Scalar(text) if text == "null"))
                });
                members.iter_mut().for_each(|(_, value)| value.drop_repeated_nulls());
            }
            Self::Array(items) => items.iter_mut().for_each(Self::drop_repeated_nulls),
            Self::Scalar(_) => {}
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(text) => f.write_str(text),
            Self::Array(items) => write_list(f, ["[", "]"], items, |f, item| write!(f, "{item}")),
            Self::Object(members) => write_list(f, ["{", "}"], members, |f, (name, value)| {
                write!(f, "{}:{value}", Value::from(name.as_str()))
            }),
        }
    }
}

fn write_list<T>(
    f: &mut fmt::Formatter<'_>,
    [open, close]: [&str; 2],
    items: &[T],
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    f.write_str(open)?;
    for (position, item) in items.iter().enumerate() {
        f.write_str(if position > 0 { "," } else { "" })?;
        write(f, item)?;
    }
    f.write_str(close)
}

/// The members of an object, in order.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}
