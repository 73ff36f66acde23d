//! JSON (RFC 8259), as far as the protocol needs it: what is read stays as it is written until somebody asks what it says.
//!
//! Its own because of its size: it is a tenth of the code that a reader for all purposes brings.

use alloc::string::String;
use alloc::vec::Vec;

/// An object: its members in order, their names unescaped.
#[derive(Default)]
pub(crate) struct Object<'a>(pub(crate) Vec<(String, Value<'a>)>);

impl<'a> Object<'a> {
    /// Reads a text that is an object and nothing else. Nothing for one that isn't, or is nested more than [`MAX_DEPTH`] deep.
    pub(crate) fn parse(json: &'a [u8]) -> Option<Object<'a>> {
        let mut reader = Reader { text: core::str::from_utf8(json).ok()?, at: 0 };
        reader.space();
        let object = reader.object()?;
        reader.space();
        if reader.peek().is_some() { None } else { Some(object) }
    }

    /// A member; the last one of that name.
    pub(crate) fn get(&self, name: &str) -> Option<Value<'a>> {
        self.0.iter().rev().find(|(other, _)| other == name).map(|(_, value)| *value)
    }

    /// What a member says, where that is a string.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.text()
    }
}

/// A value, as it is written.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a>(pub(crate) &'a str);

impl<'a> Value<'a> {
    /// What a string says.
    pub(crate) fn text(self) -> Option<String> {
        let mut text = String::with_capacity(self.0.len());
        self.reader().string(&mut text)?;
        Some(text)
    }

    /// A number without sign, fraction and exponent.
    pub(crate) fn number(self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// The members of an object.
    pub(crate) fn object(self) -> Option<Object<'a>> {
        self.reader().object()
    }

    /// The items of an array; none where it isn't one.
    pub(crate) fn items(self) -> Vec<Value<'a>> {
        let mut items = Vec::new();
        let _ = self.reader().list(b'[', MAX_DEPTH, &mut |_, item| items.push(item));
        items
    }

    fn reader(self) -> Reader<'a> {
        Reader { text: self.0, at: 0 }
    }
}

/// Goes over a text; each function that goes over something gives nothing where that isn't there.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// A value and the white space around it.
    fn value(&mut self, depth: u8) -> Option<Value<'a>> {
        self.space();
        let start = self.at;
        match self.peek()? {
            b'"' => self.string(&mut String::new())?,
            open @ (b'{' | b'[') => self.list(open, depth.checked_sub(1)?, &mut |_, _| ())?,
            b'-' | b'0'..=b'9' => self.number()?,
            _ => self.word()?,
        }
        let value = Value(self.text.get(start..self.at)?);
        self.space();
        Some(value)
    }

    fn object(&mut self) -> Option<Object<'a>> {
        let mut members = Vec::new();
        self.list(b'{', MAX_DEPTH - 1, &mut |name, value| {
            members.push((name.text().unwrap_or_default(), value));
        })?;
        Some(Object(members))
    }

    /// An object (`{`) or an array (`[`), whose values have no names.
    fn list(&mut self, open: u8, depth: u8, keep: &mut dyn FnMut(Value<'a>, Value<'a>)) -> Option<()> {
        let close = open + 2;
        self.take(open)?;
        self.space();
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            let mut name = Value("");
            if open == b'{' {
                name = self.value(depth)?;
                self.take(b':').filter(|()| name.0.starts_with('"'))?;
            }
            keep(name, self.value(depth)?);
            if self.take(b',').is_none() {
                return self.take(close);
            }
        }
    }

    /// A string; what it says goes behind `said`.
    fn string(&mut self, said: &mut String) -> Option<()> {
        self.take(b'"')?;
        loop {
            let rest = self.text.get(self.at..)?;
            let plain = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))?;
            said.push_str(rest.get(..plain)?);
            self.at += plain;
            if self.take(b'\\').is_none() {
                return self.take(b'"');
            }
            said.push(self.escaped()?);
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let byte = self.peek()?;
        self.at += 1;
        Some(match byte {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'"' | b'\\' | b'/' => char::from(byte),
            b'u' => match self.utf16()? {
                high @ 0xd800..=0xdbff => {
                    self.take(b'\\')?;
                    self.take(b'u')?;
                    char::decode_utf16([high, self.utf16()?]).next()?.ok()?
                }
                other => char::from_u32(other.into())?,
            },
            _ => return None,
        })
    }

    fn utf16(&mut self) -> Option<u16> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        // A sign would pass for a digit.
        u16::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if self.take(b'e').or_else(|| self.take(b'E')).is_some() {
            let _ = self.take(b'+').or_else(|| self.take(b'-'));
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn word(&mut self) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        let word = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word))?;
        self.at += word.len();
        Some(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// How deep values may be nested. Each level takes some of the stack.
const MAX_DEPTH: u8 = 64;

/// Appends a text as a JSON string (RFC 8259 §7), escaping no more than must be.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\x1f' => out.push_str(&alloc::format!("\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn same(mine: Value<'_>, theirs: &serde_json::Value) {
        use serde_json::Value as Json;
        match theirs {
            Json::Object(members) => {
                let mine = mine.object().expect("an object");
                assert_eq!(mine.0.len(), members.len());
                members.iter().for_each(|(name, value)| same(mine.get(name).expect("a member"), value));
            }
            Json::Array(items) => {
                let mine = mine.items();
                assert_eq!(mine.len(), items.len());
                mine.into_iter().zip(items).for_each(|(mine, theirs)| same(mine, theirs));
            }
            Json::String(text) => assert_eq!(mine.text().as_ref(), Some(text)),
            Json::Number(number) => {
                assert_eq!(mine.number(), number.as_u64());
                assert_eq!(mine.0.parse().ok(), number.as_f64());
            }
            Json::Null | Json::Bool(_) => assert_eq!(mine.0, theirs.to_string()),
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            "(?s).{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                proptest::collection::btree_map("(?s).{0,3}", inner, 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn what_is_no_object_is_none() {
        for text in [
            "",
            "null",
            "[]",
            "{",
            "{} x",
            "{}{}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{,}"#,
            r#"{a:1}"#,
            r#"{1:1}"#,
            r#"{"a":01}"#,
            r#"{"a":+1}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":1e}"#,
            r#"{"a":-}"#,
            r#"{"a":nul}"#,
            r#"{"a":"}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12"}"#,
            r#"{"a":"\u+123"}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\udc00"}"#,
            r#"{"a":"\ud800\u0041"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":[1 2]}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[}"#,
        ] {
            assert!(Object::parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(Object::parse(b"{\"a\":\"\xff\"}").is_none());
    }

    #[test]
    fn nesting_ends_somewhere() {
        let nested = |depth| alloc::format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(Object::parse(nested(usize::from(MAX_DEPTH) - 1).as_bytes()).is_some());
        assert!(Object::parse(nested(usize::from(MAX_DEPTH)).as_bytes()).is_none());
        assert!(Object::parse(nested(1_000_000).as_bytes()).is_none());
    }

    #[test]
    fn the_last_member_of_a_name_counts() {
        let object = Object::parse(br#" { "a" : 1 , "\u0061" : "\ud83d\ude00\/" } "#).expect("an object");
        assert_eq!(object.text("a").as_deref(), Some("\u{1f600}/"));
    }

    proptest! {
        #[test]
        fn what_others_write_is_read(value in json(), pretty in any::<bool>()) {
            let object = serde_json::json!({ "value": value });
            let text = if pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) };
            let text = text.expect("JSON");
            same(Object::parse(text.as_bytes()).expect("an object").get("value").expect("a member"), &value);
        }

        #[test]
        fn what_is_read_is_json(text in r#"\{("[a\\u0d\n]{0,4}"|[\[\]{},:\-+.eE0-9 ]|true|null|\\u[dD][89cC]00){0,12}\}"#) {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            match Object::parse(text.as_bytes()) {
                // Numbers beyond those of the hardware are for whoever reads them.
                Some(_) => prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{text}"),
                None => prop_assert!(theirs.is_err(), "{text}"),
            }
        }

        #[test]
        fn strings_are_written_as_serde_json_writes_them(text in "(?s)[\\x00-\\x7f]*.*") {
            let mut written = String::new();
            push_string(&mut written, &text);
            prop_assert_eq!(written, serde_json::Value::from(text).to_string());
        }
    }
}
