//! The host's cache, in memory: entries, found by any of their keys and removed by their groups.

use std::collections::BTreeSet;

use symbolon_protocol::{
    acquisition::{Absence, Entry, Lookup, Saved, Store},
    cache::{AccessTokenItem, RefreshTokenItem},
};

#[derive(Clone, Default)]
pub(crate) struct Cache {
    /// Oldest first.
    entries: Vec<Saved>,
}

impl Cache {
    /// The entry that is wanted, or why there is none.
    pub(crate) fn find(&self, lookup: &Lookup) -> Result<Entry, Absence> {
        if lookup.bypass {
            return Err(Absence::Bypassed);
        }
        let mut absence = Absence::Absent;
        for keys in &lookup.alternatives {
            let Some(saved) = self.entries.iter().rev().find(|saved| holds(saved, keys)) else { continue };
            match expiry(&saved.entry) {
                Some(expires_on) if expires_on > lookup.expires_before => {}
                Some(expires_on) if expires_on <= lookup.expires_after => absence = Absence::Expired,
                _ => return Ok(saved.entry.clone()),
            }
        }
        Err(absence)
    }

    /// Stores entries in place of all that hold one of their keys.
    pub(crate) fn put(&mut self, store: Store) {
        for group in &store.replaced_groups {
            self.remove_group(group);
        }
        for entry in store.entries {
            let replaced: BTreeSet<&String> = entry.keys.iter().chain(&entry.replaces).collect();
            self.entries.retain(|other| !other.keys.iter().any(|key| replaced.contains(key)));
            self.entries.push(entry);
        }
    }

    /// Removes the entries of a group. Whether there were any.
    pub(crate) fn remove_group(&mut self, group: &str) -> bool {
        let before = self.entries.len();
        self.entries.retain(|saved| !saved.groups.iter().any(|other| other == group));
        self.entries.len() < before
    }

    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Saved> {
        self.entries.iter_mut()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Saved> {
        self.entries.iter()
    }

    pub(crate) fn access_tokens(&self) -> impl Iterator<Item = &AccessTokenItem> {
        self.entries.iter().filter_map(|saved| match &saved.entry {
            Entry::AccessToken(item) => Some(item.as_ref()),
            _ => None,
        })
    }

    pub(crate) fn refresh_tokens(&self) -> impl Iterator<Item = &RefreshTokenItem> {
        self.entries.iter().filter_map(|saved| match &saved.entry {
            Entry::RefreshToken(item) => Some(item.as_ref()),
            _ => None,
        })
    }
}

fn holds(saved: &Saved, keys: &[String]) -> bool {
    !keys.is_empty() && keys.iter().all(|key| saved.keys.contains(key))
}

fn expiry(entry: &Entry) -> Option<u64> {
    match entry {
        Entry::AccessToken(item) => Some(item.expires_on),
        _ => None,
    }
}
