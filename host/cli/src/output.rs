//! Standard output and standard error. A reader that went away ends the process quietly, not in a panic.

use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Writes a line to standard output and flushes it: whoever reads it may be waiting for it.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    write(format!("{text}\n").as_bytes())
}

/// Writes a value as JSON on a line of its own.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::internal(format!("the output can't be written as JSON: {error}")))?;
    line(&text)
}

/// Writes bytes to standard output.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Failure::output)
}

/// Writes a line to standard error. There is nobody to tell when that fails.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(text));
}

/// Tells on standard error what is probably not meant: in words, or as one line of JSON.
pub(crate) fn warning(text: &str, json: bool) {
    match json {
        true => note(&serde_json::json!({ "warning": text }).to_string()),
        false => note(&format!("warning: {text}")),
    }
}

/// The text without control characters, which an authority could put into an error to deceive a terminal's reader.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_not_printed() {
        assert_eq!(printable("a\u{1b}[2Jb\r\nc\u{9b}d"), "a\u{fffd}[2Jb\u{fffd}\nc\u{fffd}d");
    }
}
