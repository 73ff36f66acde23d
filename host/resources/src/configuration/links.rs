//! Applications whose credentials are tokens of other applications.

use crate::credentials::{CredentialSource, MAX_DEPTH, OtherApplication, VaultIdentity};

use super::error::{ConfigurationError, Place, Problem};
use super::options::{ApplicationOptions, ConfiguredCredential};

/// Checks that the applications which an application stands on are there, and that none stands on itself. `read` gives
/// the options of a section, or nothing where there is no such section.
pub(super) fn check(
    section: &str,
    options: &ApplicationOptions,
    read: &dyn Fn(&str) -> Option<Result<ApplicationOptions, ConfigurationError>>,
) -> Vec<Problem> {
    let mut walk = Walk { read, trail: Vec::new(), problems: Vec::new() };
    walk.application(section, options);
    walk.problems
}

/// The sections of the applications whose tokens are credentials of this one.
pub(super) fn sections(options: &ApplicationOptions) -> Vec<String> {
    let needs = options.credentials().iter().filter(|entry| !entry.description.skip).filter_map(need);
    needs
        .filter_map(|need| match need {
            Need::Application(section) => Some(section.to_owned()),
            Need::Identity => None,
        })
        .collect()
}

struct Walk<'a> {
    read: &'a dyn Fn(&str) -> Option<Result<ApplicationOptions, ConfigurationError>>,
    /// The sections on the way here, each with the place that leads on from it.
    trail: Vec<(String, Place)>,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn application(&mut self, section: &str, options: &ApplicationOptions) {
        for entry in options.credentials().iter().filter(|entry| !entry.description.skip) {
            let Some(need) = need(entry) else { continue };
            if self.trail.len() >= usize::try_from(MAX_DEPTH).unwrap_or(usize::MAX) {
                let found = format!(
                    "a credential that needs a token, {MAX_DEPTH} applications away from {}",
                    self.start()
                );
                self.problem(
                    entry.place.clone(),
                    found,
                    "at most 3 applications or identities that stand in for each other",
                );
            } else if let Need::Application(other) = need {
                self.trail.push((section.to_owned(), entry.place.clone()));
                self.follow(&entry.place, other);
                self.trail.pop();
            }
        }
    }

    fn follow(&mut self, place: &Place, section: &str) {
        if let Some((_, first)) = self.trail.iter().find(|(known, _)| known.eq_ignore_ascii_case(section)) {
            let found = match first == place {
                true => format!("{section:?}, the application itself"),
                false => format!("{section:?}, which stands on this application itself (at {first})"),
            };
            self.problem(place.clone(), found, "an application that gets along without this one");
            return;
        }
        match (self.read)(section) {
            Some(Ok(options)) => self.application(section, &options),
            Some(Err(error)) => self.problems.extend(error.problems().iter().cloned()),
            None => self.problem(
                place.clone(),
                format!("{section:?}, and no such section"),
                "the name of a section of the configuration",
            ),
        }
    }

    fn start(&self) -> &str {
        self.trail.first().map_or("", |(section, _)| section)
    }

    fn problem(&mut self, place: Place, found: String, accepted: &str) {
        self.problems.push(Problem::new(place, found, accepted));
    }
}

/// Whose token a credential needs.
enum Need<'a> {
    Application(&'a str),
    Identity,
}

fn need(entry: &ConfiguredCredential) -> Option<Need<'_>> {
    match &entry.description.source {
        CredentialSource::OtherApplication(OtherApplication { section, .. }) => {
            Some(Need::Application(section))
        }
        CredentialSource::KeyVault(certificate) => match &certificate.identity {
            VaultIdentity::Section(section) => Some(Need::Application(section)),
            _ => Some(Need::Identity),
        },
        CredentialSource::ManagedIdentity(_) => Some(Need::Identity),
        _ => None,
    }
}
