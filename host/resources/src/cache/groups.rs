//! Groups: entries that are listed together, and go together.
//!
//! Only entries that belong to a group are known here, and each as long as the store has it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::cached::Cached;
use super::flight::Gate;
use super::key::Digest;

/// The groups of one application.
#[derive(Default)]
pub(super) struct Groups {
    /// By half the digest of the group, and there by the number of the entry, which is to say by its age.
    members: BTreeMap<(u64, u64), Arc<Cached>>,
    /// What flights up to this one bring for the group is no longer wanted.
    removed: HashMap<Digest, u64>,
    /// When there are so many removed ones, it is time to look which may be forgotten.
    look_at: usize,
}

/// What an entry takes here for each of its groups.
pub(super) type Member = ((u64, u64), Arc<Cached>);

impl Groups {
    pub(super) fn add(&mut self, entry: &Arc<Cached>) {
        for key in places(entry) {
            self.members.insert(key, Arc::clone(entry));
        }
    }

    pub(super) fn remove(&mut self, entry: &Cached) {
        for key in places(entry) {
            self.members.remove(&key);
        }
    }

    /// The oldest comes first.
    pub(super) fn members(&self, group: Digest) -> impl Iterator<Item = &Arc<Cached>> {
        let Digest([half, _]) = group;
        let entries = self.members.range((half, 0)..=(half, u64::MAX)).map(|(_, entry)| entry);
        entries.filter(move |entry| entry.groups().any(|other| other == group))
    }

    /// Says that what the flights in the air will bring for the group is no longer wanted.
    pub(super) fn refuse<E>(&mut self, group: Digest, gate: &Gate<E>) {
        if self.removed.len() >= self.look_at {
            let oldest = gate.oldest().unwrap_or(u64::MAX);
            self.removed.retain(|_, latest| *latest >= oldest);
            self.look_at = 2 * self.removed.len() + 16;
        }
        self.removed.insert(group, gate.latest());
    }

    /// Whether what this flight brings for the group is no longer wanted.
    pub(super) fn refuses(&self, group: Digest, begun: u64) -> bool {
        self.removed.get(&group).is_some_and(|latest| begun <= *latest)
    }
}

fn places(entry: &Cached) -> impl Iterator<Item = (u64, u64)> {
    entry.groups().map(|Digest([half, _])| (half, entry.number()))
}

#[cfg(test)]
impl Groups {
    /// How many members and removed groups are kept.
    pub(super) fn kept(&self) -> (usize, usize) {
        (self.members.len(), self.removed.len())
    }
}
