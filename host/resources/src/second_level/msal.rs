//! A second level that applications of MSAL.NET and Microsoft.Identity.Web share: one Redis hash for each of MSAL's partitions,
//! as .NET's Redis cache has it, under `InstanceName` and the partition's key.
//!
//! A look-up reads the partition in which the answer would lie. A change reads it, too, is applied to what is there, and is
//! written if that still is there; else it begins anew, so that writers at the same time lose nothing of each other. Changes of
//! one partition are written one after the other, those that wait together.
//!
//! A partition that isn't understood — it may be encrypted, or somebody else's — is left alone.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use crate::cache::msal::{self, Document, LifetimeOptions};
use crate::cache::second_level::{Change, FirstLevel, Lease, Led, SecondLevel, Stored, StoredEntry, Wanted};
use crate::cache::{ApplicationId, Saved};
use crate::clock::Clock;

use super::options::MsalOptions;
use super::redis::Redis;
use super::statistics::{add, count};
use super::store::Store;

/// MSAL's cache as one application sees it.
pub(super) struct Msal(Arc<Shared>);

struct Shared {
    store: Arc<Store<Redis>>,
    application: ApplicationId,
    /// What the name of every partition begins with.
    instance_name: String,
    lifetime: LifetimeOptions,
    clock: Arc<dyn Clock>,
    removals: Mutex<Removals>,
    queue: Mutex<Queue>,
}

impl Msal {
    pub(super) fn new(
        store: Arc<Store<Redis>>,
        application: ApplicationId,
        options: &MsalOptions,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (instance_name, lifetime) = (options.instance_name.clone(), options.lifetime);
        let (removals, queue) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Shared { store, application, instance_name, lifetime, clock, removals, queue }))
    }

    pub(super) fn application(&self) -> &ApplicationId {
        &self.0.application
    }

    async fn look_up(&self, wanted: &Wanted<'_>) -> Option<Stored> {
        let mut found = None;
        for partition in msal::partitions(wanted) {
            found = self.look_into(&partition, wanted).await;
            if found.is_some() {
                break;
            }
        }
        let counters = &self.0.store.counters;
        count(if found.is_some() { &counters.hits } else { &counters.misses });
        found
    }

    async fn look_into(&self, partition: &str, wanted: &Wanted<'_>) -> Option<Stored> {
        let shared = &self.0;
        // What was removed is of no use, even where Redis couldn't be told yet.
        if lock(&shared.queue).owes(partition) {
            self.change(partition, Job::default()).await.ok().filter(|written| written.is_some())?;
        }
        let name = shared.name(partition);
        let read = shared.store.ask(shared.store.backend.partition(&name)).await??;
        let now_unix_ms = shared.clock.now_unix_ms();
        if let (Some(_), Some(seconds)) = (read.lifetime.sliding, read.lifetime.seconds_left(now_unix_ms)) {
            shared.store.ask(shared.store.backend.extend(&name, seconds)).await;
        }
        msal::search(&shared.parse(&read.data)?, wanted)
    }

    /// Queues a change of a partition behind those that wait. The receiver gets what [`Shared::write`] returned.
    fn change(&self, partition: &str, mut job: Job) -> oneshot::Receiver<Option<bool>> {
        let (done, receiver) = oneshot::channel();
        job.done = Some(done);
        let mut queue = lock(&self.0.queue);
        match queue.waiting.get_mut(partition) {
            Some(jobs) => jobs.push(job),
            None => {
                queue.waiting.insert(partition.to_owned(), vec![job]);
                // A task of its own: whoever made the change may go away.
                tokio::spawn(work(Arc::clone(&self.0), partition.to_owned()));
            }
        }
        receiver
    }

    /// As long as the store is waited for.
    async fn wait<T>(&self, receiver: oneshot::Receiver<Option<T>>) -> Option<T> {
        tokio::time::timeout(self.0.store.timeout, receiver).await.ok()?.ok()?
    }
}

impl SecondLevel for Msal {
    /// MSAL tells nobody of its removals.
    fn attach(&self, _first_level: Weak<dyn FirstLevel>) {}

    fn find<'a>(&'a self, wanted: Wanted<'a>) -> BoxFuture<'a, Option<Stored>> {
        async move { self.look_up(&wanted).await }.boxed()
    }

    fn lead<'a>(&'a self, wanted: Wanted<'a>, _flight: &'a str) -> BoxFuture<'a, Led> {
        async move {
            let begun = lock(&self.0.removals).latest;
            let found = if wanted.is_lookup() { self.look_up(&wanted).await } else { None };
            found.map_or_else(
                || Led::Lead(Lease::new(Some(begun), None)),
                |stored| Led::Found(Box::new(stored)),
            )
        }
        .boxed()
    }

    fn put<'a>(&'a self, lease: Option<Lease>, change: Change<'a>) -> BoxFuture<'a, ()> {
        let begun = lease.as_ref().and_then(Lease::begun);
        let removals = lock(&self.0.removals);
        let is_removed = |saved: &Saved<'_>| begun.is_some_and(|begun| removals.concern(saved.groups, begun));
        let entries: Vec<_> = change.entries.iter().filter(|saved| !is_removed(saved)).copied().collect();
        drop(removals);
        let mut receivers = Vec::new();
        for (partition, _) in msal::Change::of(&entries, change.replaced_groups) {
            let job = Job::new(partition, &entries, change.replaced_groups);
            match Arc::clone(&self.0.store.writes).try_acquire_owned() {
                Ok(permit) => {
                    receivers.push(self.change(partition, Job { _permit: Some(permit), ..job }));
                }
                Err(_) => self.0.store.dropped(job.entries.len()),
            }
        }
        async move {
            if self.0.store.waits_for_writes {
                for receiver in receivers {
                    self.wait(receiver).await;
                }
            }
        }
        .boxed()
    }

    fn remove_group<'a>(&'a self, group: &'a str) -> BoxFuture<'a, bool> {
        lock(&self.0.removals).add(group);
        let receiver = msal::Change::removal(group).map(|(partition, _)| {
            let removed = vec![group.to_owned()];
            self.change(partition, Job { removed, ..Job::default() })
        });
        async move {
            match receiver {
                Some(receiver) => self.wait(receiver).await.unwrap_or(false),
                None => false,
            }
        }
        .boxed()
    }

    /// No partition says which others there are, for MSAL neither.
    fn members<'a>(&'a self, _group: &'a str) -> BoxFuture<'a, Vec<Stored>> {
        std::future::ready(Vec::new()).boxed()
    }
}

impl fmt::Debug for Msal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Msal")
            .field("application", &self.0.application)
            .field("instance_name", &self.0.instance_name)
            .finish_non_exhaustive()
    }
}

/// Writes the changes of a partition until none waits.
async fn work(shared: Arc<Shared>, partition: String) {
    loop {
        let jobs = lock(&shared.queue).next(&partition);
        if jobs.is_empty() {
            return;
        }
        let written = shared.write(&partition, &jobs).await;
        let entries = jobs.iter().map(|job| job.entries.len()).sum();
        match written {
            Some(_) => add(&shared.store.counters.writes, entries),
            None => {
                shared.store.dropped(entries);
                lock(&shared.queue).owe(&partition, &jobs);
            }
        }
        for done in jobs.into_iter().filter_map(|job| job.done) {
            // Whoever made the change may have gone away.
            let _ = done.send(written);
        }
    }
}

impl Shared {
    fn name(&self, partition: &str) -> String {
        format!("{}{partition}", self.instance_name)
    }

    fn parse<'a>(&self, data: &'a [u8]) -> Option<Document<'a>> {
        let document = Document::parse(data);
        if let Err(error) = &document {
            count(&self.store.counters.refused_values);
            tracing::warn!(name: "symbolon.cache.second_level.refused_value", application = %self.application, instance_name = self.instance_name, bytes = data.len(), error = %error, "a partition of the shared cache is left alone, because it isn't understood");
        }
        document.ok()
    }

    /// Applies changes to what the partition holds. Returns whether something of it is gone by that; none if it couldn't be
    /// written.
    async fn write(&self, partition: &str, jobs: &[Job]) -> Option<bool> {
        let name = self.name(partition);
        let saved: Vec<Vec<Saved<'_>>> =
            jobs.iter().map(|job| job.entries.iter().map(Owned::saved).collect()).collect();
        let changes: Vec<_> =
            jobs.iter().zip(&saved).flat_map(|(job, saved)| msal::Change::of(saved, &job.removed)).collect();
        for attempt in 0..MAX_ATTEMPTS {
            let read = self.store.ask(self.store.backend.partition(&name)).await?;
            let data = read.as_ref().map(|read| &**read.data);
            let mut document = data.map_or(Some(Document::default()), |data| self.parse(data))?;
            let before = document.entries().count();
            changes.iter().for_each(|(_, change)| change.apply(&mut document));
            let removed = document.entries().count() < before;
            if self.replace(&name, data, &document).await? {
                return Some(removed);
            }
            // Somebody else's change was faster.
            tokio::time::sleep(pause(attempt)).await;
        }
        None
    }

    /// Whether what is there was still the text that was read.
    async fn replace(&self, name: &str, read: Option<&[u8]>, document: &Document<'_>) -> Option<bool> {
        let now_unix_ms = self.clock.now_unix_ms();
        let lifetime = self.lifetime.lifetime(document.suggested_expiry(), now_unix_ms);
        let is_over = document.is_over() || lifetime.seconds_left(now_unix_ms) == Some(0);
        let text = document.to_text();
        let new = (!is_over).then_some((&text[..], lifetime));
        if read == new.map(|(text, _)| text) {
            return Some(true);
        }
        self.store.ask(self.store.backend.replace_partition(name, read, new, now_unix_ms)).await
    }
}

/// A change of one partition, by itself.
#[derive(Default)]
struct Job {
    /// Groups that go first.
    removed: Vec<String>,
    entries: Vec<Owned>,
    done: Option<oneshot::Sender<Option<bool>>>,
    /// Bounds how many may wait.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Job {
    /// What of a change concerns this partition.
    fn new(partition: &str, entries: &[Saved<'_>], replaced_groups: &[String]) -> Self {
        let is_here = |group: &&String| {
            msal::Change::removal(group).is_some_and(|(its_partition, _)| its_partition == partition)
        };
        let entries = entries.iter().filter(|saved| saved.partition_key == partition);
        Self {
            removed: replaced_groups.iter().filter(is_here).cloned().collect(),
            entries: entries.map(Owned::new).collect(),
            ..Self::default()
        }
    }
}

/// An entry that is to be written, by itself. See [`Saved`].
struct Owned {
    entry: StoredEntry,
    keys: Vec<String>,
    replaces: Vec<String>,
    partition_key: String,
    item_key: String,
}

impl Owned {
    fn new(saved: &Saved<'_>) -> Self {
        Self {
            entry: saved.entry.into(),
            keys: saved.keys.to_vec(),
            replaces: saved.replaces.to_vec(),
            partition_key: saved.partition_key.to_owned(),
            item_key: saved.item_key.to_owned(),
        }
    }

    fn saved(&self) -> Saved<'_> {
        Saved {
            entry: self.entry.entry(),
            keys: &self.keys,
            replaces: &self.replaces,
            groups: &[],
            partition_key: &self.partition_key,
            item_key: &self.item_key,
        }
    }
}

/// What is to be written, by partition.
#[derive(Default)]
struct Queue {
    /// A partition is here as long as a task writes its changes.
    waiting: BTreeMap<String, Vec<Job>>,
    /// Groups that were removed and that Redis couldn't be told of.
    owed: BTreeMap<String, Vec<String>>,
}

impl Queue {
    fn owes(&self, partition: &str) -> bool {
        self.owed.contains_key(partition)
    }

    fn owe(&mut self, partition: &str, jobs: &[Job]) {
        let removed: Vec<_> = jobs.iter().flat_map(|job| &job.removed).cloned().collect();
        if !removed.is_empty() && (self.owed.len() < MAX_OWED || self.owes(partition)) {
            let owed = self.owed.entry(partition.to_owned()).or_default();
            owed.extend(removed);
            owed.dedup();
        }
    }

    /// What a task writes next: what is owed, and everything that waits. With nothing the task ends.
    fn next(&mut self, partition: &str) -> Vec<Job> {
        let mut jobs = self.waiting.get_mut(partition).map(std::mem::take).unwrap_or_default();
        if jobs.is_empty() {
            self.waiting.remove(partition);
            return jobs;
        }
        if let Some(removed) = self.owed.remove(partition) {
            jobs.insert(0, Job { removed, ..Job::default() });
        }
        jobs
    }
}

/// The latest removals, so that nothing comes back that a flight brings which began before.
#[derive(Default)]
struct Removals {
    latest: u64,
    groups: VecDeque<String>,
}

impl Removals {
    fn add(&mut self, group: &str) {
        self.latest += 1;
        self.groups.push_back(group.to_owned());
        if self.groups.len() > MAX_REMOVALS {
            self.groups.pop_front();
        }
    }

    /// Whether one of these groups was removed since, or may have been.
    fn concern(&self, groups: &[String], begun: u64) -> bool {
        let since = usize::try_from(self.latest - begun).unwrap_or(usize::MAX);
        since > self.groups.len() && !groups.is_empty()
            || self.groups.iter().rev().take(since).any(|removed| groups.contains(removed))
    }
}

/// At random, so that those who met once don't meet again and again.
fn pause(attempt: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << attempt.min(5));
    let random = Uuid::new_v4().as_u128() % longest.as_micros();
    Duration::from_micros(u64::try_from(random).unwrap_or_default())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held but an allocation that fails, and that aborts.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often a change is begun anew. Each time somebody else's has succeeded, so this many others would have to come first.
const MAX_ATTEMPTS: u32 = 64;
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const MAX_OWED: usize = 10_000;
const MAX_REMOVALS: usize = 1024;
