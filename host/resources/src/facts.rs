//! Facts: what outlives an acquisition but isn't a token.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;

/// What a fact is about. Each kind has its own keys and its own bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactKind {
    /// An instance-discovery document, by host.
    InstanceDiscovery,
    /// An OpenID Connect metadata document, by issuer.
    OidcMetadata,
    /// The detected region.
    Region,
    /// A mark that the authority asked for a pause.
    Throttle,
    /// A mark that the authority refused a connection bound to a certificate where an unbound one does as well.
    BoundRefusal,
}

/// How much of a kind is kept. Where there is more, what has expired goes first, then what would expire next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactLimit {
    /// Facts.
    pub max_count: usize,
    /// Bytes of keys and values.
    pub max_bytes: usize,
}

impl FactKind {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::InstanceDiscovery, Self::OidcMetadata, Self::Region, Self::Throttle, Self::BoundRefusal];

    /// How much of it one application keeps. Documents are some kilobytes, an application has few authorities, but throttling
    /// marks come one for each scope and user.
    pub const fn limit(self) -> FactLimit {
        match self {
            Self::InstanceDiscovery | Self::OidcMetadata => FactLimit { max_count: 64, max_bytes: 1 << 20 },
            Self::Region => FactLimit { max_count: 16, max_bytes: 4 << 10 },
            Self::BoundRefusal => FactLimit { max_count: 64, max_bytes: 32 << 10 },
            Self::Throttle => FactLimit { max_count: 1024, max_bytes: 256 << 10 },
        }
    }
}

/// The facts of one application.
pub struct Facts {
    clock: Arc<dyn Clock>,
    kinds: [Mutex<Kind>; FactKind::ALL.len()],
}

impl Facts {
    /// None yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, kinds: Default::default() }
    }

    /// A fact, while it lasts.
    pub fn get(&self, kind: FactKind, key: &str) -> Option<Arc<[u8]>> {
        let now_unix_ms = self.clock.now_unix_ms();
        let kind = self.lock(kind);
        kind.facts.get(key).filter(|fact| fact.lasts(now_unix_ms)).map(|fact| Arc::clone(&fact.value))
    }

    /// Keeps a fact for `ttl_ms` milliseconds, or until there is no room, in the place of an earlier one under the same key.
    /// One that is larger than its kind may be altogether isn't kept, and neither is the earlier one.
    pub fn put(&self, kind: FactKind, key: &str, value: &[u8], ttl_ms: u64) {
        let now_unix_ms = self.clock.now_unix_ms();
        let limit = kind.limit();
        let fact = Fact { value: value.into(), until_unix_ms: now_unix_ms.saturating_add(ttl_ms) };
        let mut kind = self.lock(kind);
        kind.remove(key);
        if !fact.lasts(now_unix_ms) || size(key, &fact) > limit.max_bytes {
            return;
        }
        kind.insert(key, fact);
        kind.make_room(limit, now_unix_ms);
    }

    /// How many of a kind are kept, those that have expired included.
    pub fn len(&self, kind: FactKind) -> usize {
        self.lock(kind).facts.len()
    }

    fn lock(&self, kind: FactKind) -> std::sync::MutexGuard<'_, Kind> {
        // Nothing panics while it is held but an allocation that fails, and that aborts.
        self.kinds[kind as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(FactKind::ALL.map(|kind| (kind, self.len(kind)))).finish()
    }
}

#[derive(Default)]
struct Kind {
    facts: HashMap<Box<str>, Fact>,
    bytes: usize,
}

struct Fact {
    value: Arc<[u8]>,
    until_unix_ms: u64,
}

impl Fact {
    fn lasts(&self, now_unix_ms: u64) -> bool {
        now_unix_ms < self.until_unix_ms
    }
}

impl Kind {
    fn insert(&mut self, key: &str, fact: Fact) {
        self.bytes += size(key, &fact);
        self.facts.insert(key.into(), fact);
    }

    fn remove(&mut self, key: &str) {
        if let Some(fact) = self.facts.remove(key) {
            self.bytes -= size(key, &fact);
        }
    }

    fn is_within(&self, limit: FactLimit) -> bool {
        self.facts.len() <= limit.max_count && self.bytes <= limit.max_bytes
    }

    fn make_room(&mut self, limit: FactLimit, now_unix_ms: u64) {
        if self.is_within(limit) {
            return;
        }
        self.facts.retain(|_, fact| fact.lasts(now_unix_ms));
        self.bytes = self.facts.iter().map(|(key, fact)| size(key, fact)).sum();
        while !self.is_within(limit) {
            let next =
                self.facts.iter().min_by_key(|(_, fact)| fact.until_unix_ms).map(|(key, _)| key.clone());
            let Some(next) = next else { return };
            self.remove(&next);
        }
    }
}

fn size(key: &str, fact: &Fact) -> usize {
    key.len() + fact.value.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn facts() -> (Arc<ManualClock>, Facts) {
        let clock = Arc::new(ManualClock::new(1_000));
        (Arc::clone(&clock), Facts::new(clock))
    }

    #[test]
    fn a_fact_lasts_as_long_as_it_was_said_to() {
        let (clock, facts) = facts();
        facts.put(FactKind::Region, "region", b"westeurope", 500);
        clock.advance(499);
        assert_eq!(facts.get(FactKind::Region, "region").as_deref(), Some(&b"westeurope"[..]));
        clock.advance(1);
        assert_eq!(facts.get(FactKind::Region, "region"), None);
    }

    #[test]
    fn kinds_and_applications_have_keys_of_their_own() {
        let (_, one) = facts();
        let (_, other) = facts();
        one.put(FactKind::Throttle, "key", b"1", 500);
        one.put(FactKind::Region, "key", b"2", 500);
        assert_eq!(one.get(FactKind::Throttle, "key").as_deref(), Some(&b"1"[..]));
        assert_eq!(one.get(FactKind::Region, "key").as_deref(), Some(&b"2"[..]));
        assert_eq!(one.get(FactKind::OidcMetadata, "key"), None);
        assert_eq!(other.get(FactKind::Throttle, "key"), None);
    }

    #[test]
    fn a_later_fact_takes_the_place_of_an_earlier_one() {
        let (_, facts) = facts();
        facts.put(FactKind::OidcMetadata, "issuer", b"old", 5_000);
        facts.put(FactKind::OidcMetadata, "issuer", b"new", 1);
        assert_eq!(facts.get(FactKind::OidcMetadata, "issuer").as_deref(), Some(&b"new"[..]));
        facts.put(FactKind::OidcMetadata, "issuer", b"gone", 0);
        assert_eq!(facts.get(FactKind::OidcMetadata, "issuer"), None);
        assert_eq!(facts.len(FactKind::OidcMetadata), 0);
    }

    #[test]
    fn a_kind_is_bounded_by_count() {
        let (clock, facts) = facts();
        let max = FactKind::Region.limit().max_count;
        facts.put(FactKind::Region, "expired", b"", 10);
        facts.put(FactKind::Region, "short", b"", 1_000);
        for i in 2..max {
            facts.put(FactKind::Region, &i.to_string(), b"", 2_000);
        }
        clock.advance(10);
        facts.put(FactKind::Region, "one more", b"", 2_000);
        assert_eq!(facts.len(FactKind::Region), max, "the expired one made room");
        assert!(facts.get(FactKind::Region, "short").is_some());
        facts.put(FactKind::Region, "and another", b"", 2_000);
        assert_eq!(facts.len(FactKind::Region), max);
        assert_eq!(facts.get(FactKind::Region, "short"), None, "it would have expired next");
        assert!(facts.get(FactKind::Region, "and another").is_some());
    }

    #[test]
    fn a_kind_is_bounded_by_bytes() {
        let (_, facts) = facts();
        let max = FactKind::Region.limit().max_bytes;
        facts.put(FactKind::Region, "a", &vec![0; max / 2], 1_000);
        facts.put(FactKind::Region, "b", &vec![0; max / 2], 2_000);
        assert_eq!(facts.get(FactKind::Region, "a"), None);
        assert!(facts.get(FactKind::Region, "b").is_some());
        facts.put(FactKind::Region, "b", &vec![0; max], 2_000);
        assert_eq!(facts.len(FactKind::Region), 0, "too large, and the old one isn't true any more");
        facts.put(FactKind::Region, "c", &vec![0; max - 1], 2_000);
        assert!(facts.get(FactKind::Region, "c").is_some(), "the bytes of what is gone are free again");
    }
}
