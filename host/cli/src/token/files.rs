//! The files that hold what must not be an argument.

use std::path::Path;
use std::{fmt, fs, io};

use super::arguments::STANDARD_INPUT;

/// The text of a file. `Debug` doesn't show it.
#[derive(Clone)]
pub(super) struct FileText(String);

impl FileText {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for FileText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileText").finish_non_exhaustive()
    }
}

/// Reads files; standard input once, for one member.
#[derive(Debug, Default)]
pub(super) struct Files {
    standard_input: Option<(&'static str, FileText)>,
}

impl Files {
    /// The text of a file without the line breaks at its end, or what is wrong with it.
    pub(super) fn read(&mut self, member: &'static str, file: &Path) -> Result<FileText, String> {
        if file == STANDARD_INPUT {
            return self.read_standard_input(member);
        }
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        text_of(&text)
            .ok_or_else(|| format!("{}: found an empty file; accepted: one with a text", file.display()))
    }

    fn read_standard_input(&mut self, member: &'static str) -> Result<FileText, String> {
        match &self.standard_input {
            Some((first, text)) if *first == member => return Ok(text.clone()),
            Some(_) => {
                return Err(
                    "found `-` a second time; accepted: a file, as standard input is read for one thing only"
                        .to_owned(),
                );
            }
            None => {}
        }
        let text = io::read_to_string(io::stdin()).map_err(|error| format!("standard input: {error}"))?;
        let text = text_of(&text).ok_or("found nothing on standard input; accepted: a text")?;
        self.standard_input = Some((member, text.clone()));
        Ok(text)
    }
}

fn text_of(text: &str) -> Option<FileText> {
    let text = text.trim_end_matches(['\r', '\n']);
    (!text.is_empty()).then(|| FileText(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_at_the_end_are_no_part_of_the_text() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        for (content, expected) in [("a b ", "a b "), ("a\n", "a"), ("a\r\n\n", "a"), ("\na", "\na")] {
            fs::write(&file, content).unwrap();
            let text = Files::default().read("password_file", &file).unwrap();
            assert_eq!(text.as_str(), expected);
        }
        for content in ["", "\r\n"] {
            fs::write(&file, content).unwrap();
            let problem = Files::default().read("password_file", &file).unwrap_err();
            assert!(problem.contains("password") && problem.contains("empty"), "{problem}");
        }
        let problem = Files::default().read("password_file", directory.path()).unwrap_err();
        assert!(problem.contains(directory.path().to_str().unwrap()), "{problem}");
    }

    #[test]
    fn what_was_read_is_not_shown() {
        assert_eq!(format!("{:?}", FileText("canary".to_owned())), "FileText { .. }");
    }
}
