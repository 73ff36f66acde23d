//! A little cache: entries, found by any of their keys and removed by their groups.

use symbolon_protocol::acquisition::{Absence, Entry, Lookup, Saved, Store};
use symbolon_protocol::cache::{AccessTokenItem, AccountItem, RefreshTokenItem};

#[derive(Clone, Debug, Default)]
pub(crate) struct Cache {
    /// Oldest first.
    pub(crate) entries: Vec<Saved>,
}

impl Cache {
    pub(crate) fn find(&self, lookup: &Lookup) -> Result<Entry, Absence> {
        if lookup.bypass {
            return Err(Absence::Bypassed);
        }
        let mut absence = Absence::Absent;
        for keys in lookup.alternatives.iter().filter(|keys| !keys.is_empty()) {
            let holds = |saved: &&Saved| keys.iter().all(|key| saved.keys.contains(key));
            match self.entries.iter().rev().find(holds).map(|saved| &saved.entry) {
                Some(Entry::AccessToken(item)) if item.expires_on > lookup.expires_before => {}
                Some(Entry::AccessToken(item)) if item.expires_on <= lookup.expires_after => {
                    absence = Absence::Expired;
                }
                Some(entry) => return Ok(entry.clone()),
                None => {}
            }
        }
        Err(absence)
    }

    pub(crate) fn put(&mut self, store: Store) {
        for group in &store.replaced_groups {
            self.remove_group(group);
        }
        for saved in store.entries {
            assert!(!saved.keys.is_empty(), "an entry without keys is never found");
            let replaces = |key: &String| saved.keys.contains(key) || saved.replaces.contains(key);
            self.entries.retain(|other| !other.keys.iter().any(replaces));
            self.entries.push(saved);
        }
    }

    /// Whether there was anything to remove.
    pub(crate) fn remove_group(&mut self, group: &str) -> bool {
        let before = self.entries.len();
        self.entries.retain(|saved| !saved.groups.iter().any(|other| other == group));
        self.entries.len() < before
    }

    pub(crate) fn members(&self, group: &str) -> Vec<Entry> {
        let is_member = |saved: &&Saved| saved.groups.iter().any(|other| other == group);
        self.entries.iter().filter(is_member).map(|saved| saved.entry.clone()).collect()
    }

    pub(crate) fn access_tokens(&self) -> Vec<&AccessTokenItem> {
        self.of_kind(|entry| match entry {
            Entry::AccessToken(item) => Some(&**item),
            _ => None,
        })
    }

    pub(crate) fn refresh_tokens(&self) -> Vec<&RefreshTokenItem> {
        self.of_kind(|entry| match entry {
            Entry::RefreshToken(item) => Some(&**item),
            _ => None,
        })
    }

    pub(crate) fn accounts(&self) -> Vec<&AccountItem> {
        self.of_kind(|entry| match entry {
            Entry::Account(item) => Some(&**item),
            _ => None,
        })
    }

    fn of_kind<T: ?Sized>(&self, pick: impl Fn(&Entry) -> Option<&T>) -> Vec<&T> {
        self.entries.iter().filter_map(|saved| pick(&saved.entry)).collect()
    }
}
