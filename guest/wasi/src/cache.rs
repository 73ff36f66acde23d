//! The token cache and the facts, in anything that keeps values under names.
//!
//! An entry is stored once under each of its keys. Nothing of it is atomic: what two instances store at the same time may
//! cost one of them a further request, and no look-up ever takes an entry that doesn't hold all of the wanted keys.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::seal::{NONCE_BYTES, Seal};

/// What keeps values under names.
pub trait Bucket {
    /// The value, if there is one and the store answers.
    fn get(&self, name: &str) -> Option<Vec<u8>>;
    /// Keeps a value; where that fails, it isn't there afterwards.
    fn set(&mut self, name: &str, value: Vec<u8>);
    /// Removes a value.
    fn delete(&mut self, name: &str);
    /// Random bytes that nobody else has.
    fn nonce(&self) -> [u8; NONCE_BYTES];
}

/// The cache of one application.
pub struct Cache<B> {
    bucket: B,
    seal: Seal,
}

/// An entry and where it goes.
#[derive(Serialize, Deserialize)]
pub struct Saved {
    /// The keys under which it is found.
    pub keys: Vec<String>,
    /// The groups that it belongs to.
    pub groups: Vec<String>,
    /// When it expires, in Unix seconds; only access tokens do.
    pub expires_on: Option<u64>,
    /// The entry itself, JSON.
    pub entry: String,
}

/// Which entry is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// In order of preference; an alternative is found when one entry holds all of its keys.
    pub alternatives: &'a [Vec<String>],
    /// An access token that expires at this time or before counts as expired.
    pub expires_after: u64,
    /// An access token that expires later than this counts as absent.
    pub expires_before: u64,
}

/// What a look-up found.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// An entry, JSON.
    Hit(String),
    /// One that has expired.
    Expired,
    /// None.
    Absent,
}

#[derive(Serialize, Deserialize)]
struct Fact {
    until: u64,
    value: Vec<u8>,
}

impl<B: Bucket> Cache<B> {
    /// A cache in a store, whose values are closed with a seal.
    pub fn new(bucket: B, seal: Seal) -> Self {
        Self { bucket, seal }
    }

    /// Looks an entry up.
    pub fn find(&self, lookup: Lookup<'_>) -> Look {
        let mut absence = Look::Absent;
        for keys in lookup.alternatives {
            let Some(saved) = self.holder_of_all(keys) else { continue };
            match saved.expires_on {
                Some(expires_on) if expires_on > lookup.expires_before => {}
                Some(expires_on) if expires_on <= lookup.expires_after => absence = Look::Expired,
                _ => return Look::Hit(saved.entry),
            }
        }
        absence
    }

    /// Stores entries in the place of those of the replaced groups and keys.
    pub fn put(&mut self, replaced_groups: &[String], entries: &[(Saved, Vec<String>)]) {
        for group in replaced_groups {
            self.remove_group(group);
        }
        for (saved, replaces) in entries {
            for key in saved.keys.iter().chain(replaces) {
                self.remove(key);
            }
            for key in &saved.keys {
                self.write("entry", key, saved);
            }
            let Some(key) = saved.keys.first() else { continue };
            for group in &saved.groups {
                let mut members = self.member_keys(group);
                members.retain(|known| known != key);
                members.push(key.clone());
                self.write("group", group, &members);
            }
        }
    }

    /// Removes the entries of a group. Whether there were any.
    pub fn remove_group(&mut self, group: &str) -> bool {
        let members = self.members(group);
        for key in members.iter().flat_map(|saved| &saved.keys) {
            self.bucket.delete(&self.seal.name(&["entry", key]));
        }
        self.bucket.delete(&self.seal.name(&["group", group]));
        !members.is_empty()
    }

    /// The entries of a group, oldest first.
    pub fn members(&self, group: &str) -> Vec<Saved> {
        let entries = self.member_keys(group).into_iter().filter_map(|key| self.entry(&key));
        entries.filter(|saved| saved.groups.iter().any(|known| known == group)).collect()
    }

    /// A fact that lasts beyond `now_ms`.
    pub fn fact(&self, kind: &str, key: &str, now_ms: u64) -> Option<Vec<u8>> {
        let fact: Fact = self.read(&self.seal.name(&["fact", kind, key]))?;
        (fact.until > now_ms).then_some(fact.value)
    }

    /// Keeps a fact until `until_ms`.
    pub fn remember(&mut self, kind: &str, key: &str, value: Vec<u8>, until_ms: u64) {
        let name = self.seal.name(&["fact", kind, key]);
        self.close(&name, &Fact { until: until_ms, value });
    }

    fn holder_of_all(&self, keys: &[String]) -> Option<Saved> {
        let saved = self.entry(keys.first()?)?;
        keys.iter().all(|key| saved.keys.contains(key)).then_some(saved)
    }

    fn remove(&mut self, key: &str) {
        let Some(saved) = self.entry(key) else { return };
        for key in &saved.keys {
            self.bucket.delete(&self.seal.name(&["entry", key]));
        }
    }

    fn entry(&self, key: &str) -> Option<Saved> {
        self.read(&self.seal.name(&["entry", key]))
    }

    fn member_keys(&self, group: &str) -> Vec<String> {
        self.read(&self.seal.name(&["group", group])).unwrap_or_default()
    }

    fn write(&mut self, kind: &str, key: &str, value: &impl Serialize) {
        let name = self.seal.name(&[kind, key]);
        self.close(&name, value);
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let opened = self.seal.open(name, &self.bucket.get(name)?)?;
        serde_json::from_slice(&opened).ok()
    }

    fn close(&mut self, name: &str, value: &impl Serialize) {
        let sealed = serde_json::to_vec(value).ok().map(Zeroizing::new);
        let sealed = sealed.and_then(|value| self.seal.close(name, self.bucket.nonce(), &value));
        match sealed {
            Some(sealed) => self.bucket.set(name, sealed),
            None => self.bucket.delete(name),
        }
    }
}

impl<B> core::fmt::Debug for Cache<B> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Cache")
    }
}

/// Values in the instance's own memory, for as long as that lasts.
#[derive(Default)]
pub struct Memory {
    values: BTreeMap<String, Vec<u8>>,
}

impl Memory {
    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.values.get(name).cloned()
    }

    /// Keeps a value. When there are too many, all are forgotten: they can be acquired again.
    pub fn set(&mut self, name: &str, value: Vec<u8>) {
        const MOST: usize = 1024;
        if self.values.len() >= MOST {
            self.values.clear();
        }
        self.values.insert(name.into(), value);
    }

    /// Removes a value.
    pub fn delete(&mut self, name: &str) {
        self.values.remove(name);
    }
}

impl core::fmt::Debug for Memory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    struct Shelf(Memory);

    impl Bucket for Shelf {
        fn get(&self, name: &str) -> Option<Vec<u8>> {
            self.0.get(name)
        }

        fn set(&mut self, name: &str, value: Vec<u8>) {
            self.0.set(name, value);
        }

        fn delete(&mut self, name: &str) {
            self.0.delete(name);
        }

        fn nonce(&self) -> [u8; NONCE_BYTES] {
            [3; NONCE_BYTES]
        }
    }

    fn cache() -> Cache<Shelf> {
        Cache::new(Shelf(Memory::default()), Seal::new(&[7; 32], &["a"]))
    }

    fn strings(values: &[&str]) -> Vec<String> {
        values.iter().map(ToString::to_string).collect()
    }

    fn saved(keys: &[&str], groups: &[&str], expires_on: u64, entry: &str) -> (Saved, Vec<String>) {
        let saved = Saved {
            keys: strings(keys),
            groups: strings(groups),
            expires_on: Some(expires_on),
            entry: entry.into(),
        };
        (saved, Vec::new())
    }

    fn look(cache: &Cache<Shelf>, keys: &[&str]) -> Look {
        cache.find(Lookup { alternatives: &[strings(keys)], expires_after: 100, expires_before: 1000 })
    }

    #[test]
    fn an_entry_is_found_by_keys_that_it_holds_all() {
        let mut cache = cache();
        cache.put(&[], &[saved(&["k1", "k2"], &[], 500, "one")]);
        assert_eq!(look(&cache, &["k1"]), Look::Hit("one".into()));
        assert_eq!(look(&cache, &["k2", "k1"]), Look::Hit("one".into()));
        assert_eq!(look(&cache, &["k1", "k3"]), Look::Absent);
        assert_eq!(look(&cache, &[]), Look::Absent);
    }

    #[test]
    fn what_expires_too_soon_or_too_late_is_no_hit() {
        let mut cache = cache();
        let entries = [saved(&["soon"], &[], 100, "s"), saved(&["late"], &[], 1001, "l")];
        cache.put(&[], &entries);
        assert_eq!(look(&cache, &["soon"]), Look::Expired);
        assert_eq!(look(&cache, &["late"]), Look::Absent);
    }

    #[test]
    fn a_replaced_entry_is_gone_under_all_of_its_keys() {
        let mut cache = cache();
        cache.put(&[], &[saved(&["k1", "k2"], &[], 500, "one")]);
        cache.put(&[], &[saved(&["k1"], &[], 500, "two")]);
        assert_eq!(look(&cache, &["k1"]), Look::Hit("two".into()));
        assert_eq!(look(&cache, &["k2"]), Look::Absent);
        let (entry, _) = saved(&["k3"], &[], 500, "three");
        cache.put(&[], &[(entry, strings(&["k1"]))]);
        assert_eq!(look(&cache, &["k1"]), Look::Absent);
    }

    #[test]
    fn a_group_goes_as_a_whole() {
        let mut cache = cache();
        cache.put(&[], &[saved(&["k1"], &["g"], 500, "one"), saved(&["k2"], &["g", "h"], 500, "two")]);
        let entries = |group| cache.members(group).into_iter().map(|saved| saved.entry).collect::<Vec<_>>();
        assert_eq!(entries("g"), vec!["one".to_string(), "two".to_string()]);
        assert_eq!(entries("h"), vec!["two".to_string()]);
        assert!(cache.remove_group("g") && !cache.remove_group("g"));
        assert_eq!(look(&cache, &["k2"]), Look::Absent);
        cache.put(&[], &[saved(&["k1"], &["g"], 500, "one")]);
        cache.put(&strings(&["g"]), &[saved(&["k4"], &["g"], 500, "four")]);
        assert_eq!((look(&cache, &["k1"]), look(&cache, &["k4"])), (Look::Absent, Look::Hit("four".into())));
    }

    #[test]
    fn a_fact_ends() {
        let mut cache = cache();
        cache.remember("throttle", "k", vec![1], 10);
        assert_eq!(cache.fact("throttle", "k", 9), Some(vec![1]));
        assert_eq!((cache.fact("throttle", "k", 10), cache.fact("region", "k", 9)), (None, None));
    }
}
