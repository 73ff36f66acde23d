//! The second level in a form of our own, as one application sees it.
//!
//! An entry lies, sealed, under the name of its first key; under those of its others lies where it is. It counts as long as
//! all of them lead to it, so that replacing an entry under one key replaces it under all, as in the first level.
//!
//! Removals are numbered. A flight remembers the number of the latest one before it began, and what it brings carries that
//! number; each group has that of its own latest removal. An entry is of use while its number is not below those of its
//! groups, all of which must be there: what a server forgot, to make room or by a restart, is of no use either.
//!
//! Of the processes that miss the same entry, one takes a lock; the others look again and again, for a bounded time. The lock
//! saves requests, and nothing depends on it: when it is lost, two of them bring an entry, and the later one stays.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, join};
use tokio::time::Instant;
use uuid::Uuid;

use crate::cache::ApplicationId;
use crate::cache::second_level::{Change, FirstLevel, Lease, Led, SecondLevel, Stored, StoredEntry, Wanted};
use crate::clock::Clock;

use super::backend::{Backend, Write};
use super::names::{Kind, Names};
use super::statistics::{add, count};
use super::store::{KEPT_MS, Record, Store, Value};

/// A store as one application sees it.
pub(super) struct Own<B> {
    store: Arc<Store<B>>,
    application: ApplicationId,
    names: Names,
    clock: Arc<dyn Clock>,
}

impl<B> Clone for Own<B> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            application: self.application.clone(),
            names: self.names.clone(),
            clock: Arc::clone(&self.clock),
        }
    }
}

impl<B: Backend> Own<B> {
    pub(super) fn new(store: Arc<Store<B>>, application: ApplicationId, clock: Arc<dyn Clock>) -> Self {
        let names = Names::new(&store.prefix, application.as_str());
        Self { store, application, names, clock }
    }

    async fn look_up(&self, wanted: &Wanted<'_>) -> Option<Stored> {
        let found = self.look(wanted).await;
        let counters = &self.store.counters;
        count(if found.is_some() { &counters.hits } else { &counters.misses });
        found
    }

    async fn look(&self, wanted: &Wanted<'_>) -> Option<Stored> {
        let names: Vec<_> = wanted.alternatives.iter().flatten().map(|key| self.entry_name(key)).collect();
        if names.is_empty() {
            return None;
        }
        let mut values = self.store.read(&names).await?.into_iter();
        for keys in wanted.alternatives {
            let values: Vec<_> = values.by_ref().take(keys.len()).collect();
            if let Some(record) = self.record(values).await
                && wanted.accepts(&record.stored)
                && self.is_current(&record, keys).await
            {
                return Some(record.stored);
            }
        }
        None
    }

    /// The entry that all of these values are or lead to.
    async fn record(&self, values: Vec<Option<Value>>) -> Option<Record> {
        let mut id: Option<String> = None;
        let mut found = None;
        let mut home = None;
        for value in values {
            let its_id = match value? {
                Value::Entry(record) => found.insert(record).id.clone(),
                Value::Pointer { id, home: its_home } => {
                    home = Some(its_home);
                    id
                }
                Value::Removed(_) => return None,
            };
            if id.get_or_insert_with(|| its_id.clone()) != &its_id {
                return None;
            }
        }
        if let Some(record) = found {
            return Some(*record);
        }
        match self.store.read(&[home?]).await?.pop()?? {
            Value::Entry(record) if Some(&record.id) == id.as_ref() => Some(*record),
            _ => None,
        }
    }

    /// Whether the entry's other keys lead to it as well, and none of its groups was removed since it was brought.
    async fn is_current(&self, record: &Record, looked_up: &[String]) -> bool {
        let others = record.stored.keys.iter().filter(|key| !looked_up.contains(key));
        let names: Vec<_> = others.map(|key| self.entry_name(key)).collect();
        let others = names.len();
        let groups = record.stored.groups.iter().map(|group| self.names.of(Kind::Group, group));
        let names: Vec<_> = names.into_iter().chain(groups).collect();
        if names.is_empty() {
            return true;
        }
        let Some(values) = self.store.read(&names).await else { return false };
        values.into_iter().enumerate().all(|(i, value)| match value {
            Some(Value::Entry(other)) => i < others && other.id == record.id,
            Some(Value::Pointer { id, .. }) => i < others && id == record.id,
            Some(Value::Removed(number)) => i >= others && number <= record.begun,
            None => false,
        })
    }

    fn entry_name(&self, key: &str) -> String {
        self.names.of(Kind::Entry, key)
    }

    async fn begin(&self, wanted: Wanted<'_>, flight: &str) -> Led {
        if !self.store.is_up_to_date().await {
            return Led::Lead(Lease::default());
        }
        let (mut begun, found) = join(self.latest_removal(), self.look_up_if_wanted(&wanted)).await;
        if let Some(found) = found {
            return Led::Found(Box::new(found));
        }
        if !wanted.is_lookup() || begun.is_none() {
            return Led::Lead(Lease::new(begun, None));
        }
        let until = Instant::now() + MAX_WAIT;
        let mut pause = FIRST_PAUSE;
        loop {
            let guard = match self.lock(flight).await {
                None => return Led::Lead(Lease::new(begun, None)),
                Some(guard) => guard,
            };
            if guard.is_none() {
                count(&self.store.counters.waits);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
            // Whoever had the lock before may have brought it meanwhile.
            let (latest, found) = join(self.latest_removal(), self.look_up(&wanted)).await;
            if let Some(found) = found {
                return Led::Found(Box::new(found));
            }
            begun = latest;
            match guard {
                Some(guard) => return Led::Lead(Lease::new(begun, Some(Box::new(guard)))),
                None if Instant::now() >= until => return Led::Lead(Lease::new(begun, None)),
                None => {}
            }
        }
    }

    async fn look_up_if_wanted(&self, wanted: &Wanted<'_>) -> Option<Stored> {
        if !wanted.is_lookup() {
            return None;
        }
        self.look_up(wanted).await
    }

    async fn latest_removal(&self) -> Option<u64> {
        let latest = self.store.ask(self.store.backend.latest_removal()).await?;
        self.store.listen(latest);
        Some(latest)
    }

    /// Some(None) where another process has it; None where the store failed.
    async fn lock(&self, flight: &str) -> Option<Option<Unlock<B>>> {
        let name = self.names.of(Kind::Lock, flight);
        let unlock =
            Unlock { store: Arc::clone(&self.store), name, token: Uuid::new_v4().to_string(), taken: false };
        let lock = self.store.backend.lock(&unlock.name, &unlock.token, LEASE_MS);
        let taken = self.store.ask(lock).await?;
        Some(taken.then(|| unlock.taken()))
    }

    /// Writes entries that were brought by a flight which began after the removal `begun`.
    async fn write(&self, begun: Option<u64>, writing: Writing) -> Option<()> {
        let mut begun = match begun {
            Some(begun) => begun,
            None => self.latest_removal().await?,
        };
        for group in &writing.replaced_groups {
            begun = self.store.remove_group(&self.application, &self.names, group).await?.0;
        }
        if !self.may_write(begun, &writing.entries).await? {
            return None;
        }
        let now_unix_ms = self.clock.now_unix_ms();
        let mut writes = Vec::new();
        if !writing.gone.is_empty() {
            writes.push(Write::Delete { names: writing.gone });
        }
        let mut written = 0;
        for stored in writing.entries {
            let ttl_ms = lifetime_ms(&stored.entry, now_unix_ms);
            if ttl_ms > 0 {
                self.add_writes(&mut writes, stored, begun, ttl_ms)?;
                written += 1;
            }
        }
        self.store.ask(self.store.backend.write(writes)).await?;
        add(&self.store.counters.writes, written);
        Some(())
    }

    /// Whether none of the entries' groups was removed since. Each group that isn't known yet begins here.
    async fn may_write(&self, begun: u64, entries: &[Stored]) -> Option<bool> {
        let mut names: Vec<_> = entries
            .iter()
            .flat_map(|stored| &stored.groups)
            .map(|group| self.names.of(Kind::Group, group))
            .collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Some(true);
        }
        let mut writes = Vec::new();
        for name in &names {
            let value = self.store.seal(name, &Value::Removed(begun))?;
            writes.push(Write::SetIfAbsent { name: name.clone(), value, ttl_ms: KEPT_MS });
            writes.push(Write::Extend { name: name.clone(), ttl_ms: KEPT_MS });
        }
        self.store.ask(self.store.backend.write(writes)).await?;
        let values = self.store.read(&names).await?;
        Some(values.iter().all(|value| matches!(value, Some(Value::Removed(number)) if *number <= begun)))
    }

    fn add_writes(&self, writes: &mut Vec<Write>, stored: Stored, begun: u64, ttl_ms: u64) -> Option<()> {
        let mut names = stored.keys.iter().map(|key| self.entry_name(key));
        let home = names.next()?;
        let id = Uuid::new_v4().simple().to_string();
        let pointer = Value::Pointer { id: id.clone(), home: home.clone() };
        for name in names {
            let value = self.store.seal(&name, &pointer)?;
            writes.push(Write::Set { name, value, ttl_ms });
        }
        for group in &stored.groups {
            let set = self.names.of(Kind::Members, group);
            writes.push(Write::AddMember { set, member: home.clone(), ttl_ms });
        }
        let value = self.store.seal(&home, &Value::Entry(Box::new(Record { id, begun, stored })))?;
        writes.push(Write::Set { name: home, value, ttl_ms });
        Some(())
    }
}

impl<B: Backend> SecondLevel for Own<B> {
    fn attach(&self, first_level: Weak<dyn FirstLevel>) {
        self.store.attach(&self.application, first_level);
    }

    fn find<'a>(&'a self, wanted: Wanted<'a>) -> BoxFuture<'a, Option<Stored>> {
        async move {
            match self.store.is_up_to_date().await {
                true => self.look_up_if_wanted(&wanted).await,
                false => None,
            }
        }
        .boxed()
    }

    fn lead<'a>(&'a self, wanted: Wanted<'a>, flight: &'a str) -> BoxFuture<'a, Led> {
        self.begin(wanted, flight).boxed()
    }

    fn put<'a>(&'a self, lease: Option<Lease>, change: Change<'a>) -> BoxFuture<'a, ()> {
        let writing = Writing::new(&change, |key| self.entry_name(key));
        let entries = writing.entries.len();
        // A flight that began while the store was away may have begun before a removal.
        let is_unknown = lease.as_ref().is_some_and(|lease| lease.begun().is_none());
        let permit = Arc::clone(&self.store.writes).try_acquire_owned().ok().filter(|_| !is_unknown);
        let Some(permit) = permit else {
            self.store.dropped(entries);
            return std::future::ready(()).boxed();
        };
        let own = self.clone();
        // A task of its own: whoever put it may go away.
        let task = tokio::spawn(async move {
            let begun = lease.as_ref().and_then(Lease::begun);
            if !own.store.is_up_to_date().await || own.write(begun, writing).await.is_none() {
                own.store.dropped(entries);
            }
            drop((lease, permit));
        });
        let wait = self.store.waits_for_writes.then_some(self.store.timeout);
        async move {
            if let Some(wait) = wait {
                let _ = tokio::time::timeout(wait, task).await;
            }
        }
        .boxed()
    }

    fn remove_group<'a>(&'a self, group: &'a str) -> BoxFuture<'a, bool> {
        async move {
            let removed = self.store.remove_group(&self.application, &self.names, group).await;
            removed.is_some_and(|(_, existed)| existed)
        }
        .boxed()
    }

    fn members<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Vec<Stored>> {
        async move {
            if !self.store.is_up_to_date().await {
                return Vec::new();
            }
            let set = self.names.of(Kind::Members, group);
            let names = self.store.ask(self.store.backend.members(&set)).await.unwrap_or_default();
            let values = self.store.read(&names).await.unwrap_or_default();
            let mut members = Vec::new();
            for value in values {
                if let Some(Value::Entry(record)) = value
                    && record.stored.groups.iter().any(|its| its == group)
                    && self.is_current(&record, &[]).await
                {
                    members.push(record.stored);
                }
            }
            members
        }
        .boxed()
    }
}

impl<B: fmt::Debug> fmt::Debug for Own<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own")
            .field("application", &self.application)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// A change, by itself.
struct Writing {
    replaced_groups: Vec<String>,
    entries: Vec<Stored>,
    /// The names of keys whose entries go, beside those of the new entries.
    gone: Vec<String>,
}

impl Writing {
    fn new(change: &Change<'_>, name: impl Fn(&str) -> String) -> Self {
        let entries = change.entries.iter().filter(|saved| !saved.keys.is_empty());
        Self {
            replaced_groups: change.replaced_groups.to_vec(),
            entries: entries.clone().map(Stored::new).collect(),
            gone: entries.flat_map(|saved| saved.replaces).map(|key| name(key)).collect(),
        }
    }
}

/// Gives a lock back when it is dropped.
struct Unlock<B: Backend> {
    store: Arc<Store<B>>,
    name: String,
    token: String,
    taken: bool,
}

impl<B: Backend> Unlock<B> {
    fn taken(mut self) -> Self {
        // Where nobody else is, there is nothing to give back.
        self.taken = B::SHARED;
        self
    }
}

impl<B: Backend> Drop for Unlock<B> {
    fn drop(&mut self) {
        // Without a runtime the lock ends by itself.
        if let (true, Ok(runtime)) = (self.taken, tokio::runtime::Handle::try_current()) {
            let (store, name, token) =
                (Arc::clone(&self.store), std::mem::take(&mut self.name), std::mem::take(&mut self.token));
            runtime.spawn(async move { store.ask(store.backend.unlock(&name, &token)).await });
        }
    }
}

/// How long an entry is of use: an access token until it has expired, for the time of an outage included. What else there is
/// doesn't say.
fn lifetime_ms(entry: &StoredEntry, now_unix_ms: u64) -> u64 {
    match entry {
        StoredEntry::AccessToken(token) => {
            let until = token.extended_expires_on.unwrap_or(0).max(token.expires_on);
            until.saturating_mul(1000).saturating_sub(now_unix_ms).min(KEPT_MS)
        }
        _ => KEPT_MS,
    }
}

/// For how long a process has a lock that it doesn't give back: longer than an attempt at the authority takes.
const LEASE_MS: u64 = 15_000;
/// For how long a flight waits for that of another process.
const MAX_WAIT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_millis(200);
