use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file, as its path was given, and the line in it, where that tells more than the file.
    File(Arc<str>, Option<u32>),
    /// An environment variable, by name.
    Environment(Arc<str>),
    /// A JSON value that the program gave.
    Value,
    /// The builder.
    Builder,
    /// Nobody said anything.
    Default,
}

impl Source {
    pub(crate) fn file(path: &Path) -> Self {
        Self::File(path.display().to_string().into(), None)
    }

    /// The same at a line of it.
    pub(crate) fn at_line(&self, line: u32) -> Self {
        match self {
            Self::File(path, _) => Self::File(Arc::clone(path), Some(line)),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, _) => f.write_str(path),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Value => f.write_str("the given configuration"),
            Self::Builder => f.write_str("ApplicationOptions"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A place in a configuration: the file (or environment variable), the line, and the JSON path in it, such as
/// `appsettings.json:12: AzureAd:ClientCredentials:0:SourceType`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub(crate) source: Source,
    pub(crate) path: String,
}

impl Place {
    pub(crate) fn new(source: Source, path: impl Into<String>) -> Self {
        Self { source, path: path.into() }
    }

    /// The same place in the source, one step further in.
    pub(crate) fn child(&self, name: &str) -> Self {
        Self::new(self.source.clone(), join(&self.path, name))
    }

    /// That of a setting which the program made.
    pub(crate) fn built(path: &str) -> Self {
        Self::new(Source::Builder, path)
    }

    pub(crate) fn default() -> Self {
        Self::new(Source::Default, "")
    }

    /// The file, the environment variable or the code, without the path in it; `default` where nobody said anything.
    pub fn source(&self) -> String {
        self.source.to_string()
    }

    /// The line in the file, from 1, where that has more than one: that of the value, or of what it is missing in.
    pub fn line(&self) -> Option<u32> {
        match self.source {
            Source::File(_, line) => line,
            _ => None,
        }
    }

    /// The JSON path, its steps joined by colons.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        if let Some(line) = self.line() {
            write!(f, ":{line}")?;
        }
        match self.path.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", self.path),
        }
    }
}

pub(super) fn join(path: &str, name: &str) -> String {
    match path.is_empty() {
        true => name.to_owned(),
        false => format!("{path}:{name}"),
    }
}

/// One thing that is wrong: where, what was found, what is accepted. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What was found there, such as `"contoso"` or `an unknown key`.
    pub found: String,
    /// What is accepted there.
    pub accepted: String,
}

impl Problem {
    pub(crate) fn new(place: Place, found: impl Into<String>, accepted: impl Into<String>) -> Self {
        Self { place, found: found.into(), accepted: accepted.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}; accepted: {}", self.place, self.found, self.accepted)
    }
}

/// A configuration that can't be used, with everything that is wrong with it. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", listing(.problems))]
#[non_exhaustive]
pub struct ConfigurationError {
    problems: Vec<Problem>,
}

impl ConfigurationError {
    /// An error of one or more problems.
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// An error about one place.
    pub(crate) fn of(place: Place, found: impl Into<String>, accepted: impl Into<String>) -> Self {
        Problem::new(place, found, accepted).into()
    }

    /// There is nothing to look the section or API `name` up in.
    pub fn no_settings(name: &str) -> Self {
        let found = "an application that was built in code, without a configuration";
        let accepted = "one whose options are from a configuration (Settings, ApplicationOptions::from_file)";
        Self::new(vec![Problem::new(Place::new(Source::Builder, name), found, accepted)])
    }

    /// Everything that is wrong, in the order of the configuration. Never empty.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl From<Problem> for ConfigurationError {
    fn from(problem: Problem) -> Self {
        Self::new(vec![problem])
    }
}

fn listing(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Something that is allowed and probably not meant. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// What is likely not as meant.
    pub message: String,
}

impl Warning {
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// A value for an error text: quoted, and cut where it is long.
pub(crate) fn quoted(value: &str) -> String {
    const LONGEST: usize = 80;
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", value.get(..end).unwrap_or_default()),
        None => format!("{value:?}"),
    }
}
