//! What is to be changed in a partition. A change is applied to whatever is there when it is written, so that two that are
//! made at the same time lose nothing of each other.

use super::document::{Document, Section};
use super::keys::same;
use super::question::{Group, Question};
use crate::cache::{Entry, Saved};

/// What is to be changed in one partition: first the groups go, then the entries come.
#[derive(Debug, Default)]
pub struct Change<'a> {
    removed: Vec<Group<'a>>,
    puts: Vec<Put<'a>>,
}

/// An entry that comes.
#[derive(Debug)]
struct Put<'a> {
    entry: Entry<'a>,
    item_key: &'a str,
    /// What it answers, and what the entries answer that it replaces.
    questions: Vec<Question<'a>>,
}

impl<'a> Change<'a> {
    /// What entries change, by the partitions they go to. Partitions that couldn't be told from the keys by which one of their
    /// entries is looked up are none: nobody would find there what is written.
    pub fn of(saved: &'a [Saved<'a>], replaced_groups: &'a [String]) -> Vec<(&'a str, Self)> {
        let mut changes: Vec<(&'a str, Self)> = Vec::new();
        for saved in saved {
            let put = Put::new(saved);
            match changes.iter_mut().find(|(partition, _)| *partition == saved.partition_key) {
                Some((_, change)) => change.puts.push(put),
                None => {
                    changes.push((saved.partition_key, Self { puts: vec![put], ..Self::default() }));
                }
            }
        }
        changes.retain(|(partition, change)| change.puts.iter().any(|put| put.is_found_in(partition)));
        for group in replaced_groups.iter().filter_map(|group| Group::parse(group)) {
            match changes.iter_mut().find(|(partition, _)| *partition == group.partition) {
                Some((_, change)) => change.removed.push(group),
                None => changes.push((group.partition, Self { removed: vec![group], ..Self::default() })),
            }
        }
        changes
    }

    /// What the removal of a group changes, and in which partition. None for a group that lies in many.
    pub fn removal(group: &'a str) -> Option<(&'a str, Self)> {
        let group = Group::parse(group)?;
        Some((group.partition, Self { removed: vec![group], ..Self::default() }))
    }

    /// Changes a partition. What the change doesn't concern stays as it is.
    pub fn apply(&'a self, document: &mut Document<'a>) {
        for group in &self.removed {
            group.remove_from(document);
        }
        for put in &self.puts {
            put.apply(document);
        }
    }
}

impl Group<'_> {
    /// The client's tokens go. Accounts are those of all clients: they go with the partition, when no token is left.
    fn remove_from(&self, document: &mut Document<'_>) {
        for section in [Section::AccessToken, Section::RefreshToken, Section::IdToken] {
            document.remove_if(section, |_, entry| match entry {
                Entry::AccessToken(token) => same(token.client_id, self.client_id),
                Entry::RefreshToken(token) => same(token.client_id, self.client_id),
                Entry::IdToken(token) => same(token.client_id, self.client_id),
                Entry::Account(_) | Entry::AppMetadata(_) => false,
            });
        }
    }
}

impl<'a> Put<'a> {
    fn new(saved: &'a Saved<'a>) -> Self {
        let keys = saved.keys.iter().chain(saved.replaces);
        Self {
            entry: saved.entry,
            item_key: saved.item_key,
            questions: keys.filter_map(|key| Question::parse(key)).collect(),
        }
    }

    fn is_found_in(&self, partition: &str) -> bool {
        let is_found = |question: &Question<'_>| {
            question.is_answered_by(self.entry)
                && question.partition().is_some_and(|found| found == partition)
        };
        self.questions.iter().any(is_found)
    }

    /// As in the first level, what answers one of the keys is replaced, of whatever scopes it is otherwise; so does MSAL. An
    /// entry without a secret stands for a token that is used up: it replaces, and doesn't come.
    fn apply(&'a self, document: &mut Document<'a>) {
        let (is_token, is_used_up) = match self.entry {
            Entry::AccessToken(token) => (true, token.secret.is_empty()),
            Entry::RefreshToken(token) => (true, token.secret.is_empty()),
            Entry::IdToken(_) | Entry::Account(_) | Entry::AppMetadata(_) => (false, false),
        };
        if is_token {
            document.remove_if(Section::of(self.entry), |key, entry| {
                key != self.item_key && self.questions.iter().any(|asked| asked.is_answered_by(entry))
            });
        }
        match is_used_up {
            true => document.remove(Section::of(self.entry), self.item_key),
            false => document.put(self.item_key, self.entry),
        }
    }
}
