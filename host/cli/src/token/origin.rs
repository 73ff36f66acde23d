//! Where something was asked for, to say so when it can't be done.

use std::fmt;
use std::path::Path;

use crate::failure::Failure;

/// Where something was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin<'a> {
    CommandLine,
    /// In the file of `--steps`, counted from 0.
    Step {
        file: &'a Path,
        index: usize,
    },
}

impl Origin<'_> {
    /// What a member is called there.
    pub(super) fn name(self, member: &str) -> String {
        match self {
            Self::CommandLine => format!("--{}", member.replace('_', "-")),
            Self::Step { .. } => camel_case(member),
        }
    }

    /// What is wrong with a member.
    pub(super) fn problem(self, member: &str, problem: impl fmt::Display) -> Failure {
        Failure::usage(format!("{}: {problem}", self.place(member)))
    }

    /// Where a member is.
    pub(super) fn place(self, member: &str) -> String {
        let name = self.name(member);
        match self {
            Self::CommandLine => name,
            Self::Step { file, index } => format!("{}: [{index}].{name}", file.display()),
        }
    }
}

fn camel_case(member: &str) -> String {
    let mut words = member.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        let initial = letters.next().map(|letter| letter.to_ascii_uppercase());
        name + &initial.into_iter().chain(letters).collect::<String>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_called_as_they_are_written() {
        let step = Origin::Step { file: Path::new("steps.json"), index: 2 };
        assert_eq!(Origin::CommandLine.place("agent_user_id"), "--agent-user-id");
        assert_eq!(step.place("agent_user_id"), "steps.json: [2].agentUserId");
        assert_eq!(step.name("scope"), "scope");
    }
}
