//! A store and what keeps it out of the way: time limits, the circuit, a bound on what is under way.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::cache::ApplicationId;
use crate::cache::second_level::{FirstLevel, Stored};
use crate::credentials::CredentialServices;
use crate::transport::TransportOptions;

use super::backend::{Backend, Failure, Write};
use super::circuit::Circuit;
use super::keys::Keys;
use super::names::{Kind, Names};
use super::seal::Sealing;
use super::statistics::{Counters, SecondLevelStatistics, add, count};

/// What one process has to do with a store, for all of its applications.
pub(super) struct Store<B> {
    pub(super) backend: B,
    keys: Keys,
    pub(super) prefix: String,
    pub(super) timeout: Duration,
    pub(super) waits_for_writes: bool,
    pub(super) counters: Counters,
    /// One for each write that may be under way.
    pub(super) writes: Arc<Semaphore>,
    circuit: Circuit,
    first_levels: Mutex<BTreeMap<ApplicationId, Vec<Weak<dyn FirstLevel>>>>,
    /// Removals that the store doesn't know of yet, because it failed.
    unsent: Mutex<VecDeque<Removal>>,
    /// Tells the own removals from those of other processes.
    origin: String,
    listens: AtomicBool,
}

/// What lies in the store, before it is sealed.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Value {
    /// An entry, under its first key.
    Entry(Box<Record>),
    /// Where the entry is, under its other keys.
    Pointer { id: String, home: String },
    /// The number of a group's latest removal.
    Removed(u64),
}

/// An entry. It counts as long as all of its keys lead to it, and none of its groups was removed since `begun`.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    /// The number of the latest removal before the flight began that brought it.
    pub(super) begun: u64,
    pub(super) stored: Stored,
}

/// Says that a group of an application was removed.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Removal {
    application: String,
    group: String,
    origin: String,
}

impl<B: Backend> Store<B> {
    pub(super) fn new(
        backend: B,
        sealing: Sealing,
        prefix: String,
        timeout: Duration,
        waits_for_writes: bool,
    ) -> Self {
        Self {
            backend,
            keys: Keys::new(sealing),
            prefix,
            timeout,
            waits_for_writes,
            counters: Counters::default(),
            writes: Arc::new(Semaphore::new(MAX_WRITES)),
            circuit: Circuit::default(),
            first_levels: Mutex::default(),
            unsent: Mutex::default(),
            origin: Uuid::new_v4().simple().to_string(),
            listens: AtomicBool::new(false),
        }
    }

    pub(super) fn statistics(&self) -> SecondLevelStatistics {
        self.counters.statistics(self.circuit.is_open())
    }

    pub(super) fn attach(&self, application: &ApplicationId, first_level: Weak<dyn FirstLevel>) {
        let mut first_levels = lock(&self.first_levels);
        let known = first_levels.entry(application.clone()).or_default();
        known.retain(|first_level| first_level.strong_count() > 0);
        known.push(first_level);
    }

    /// Asks the store for something, unless it failed just before. None if it did so now, or took too long.
    pub(super) async fn ask<T>(&self, operation: impl Future<Output = Result<T, Failure>>) -> Option<T> {
        if !self.circuit.admits() {
            count(&self.counters.skipped);
            return None;
        }
        let result = tokio::time::timeout(self.timeout, operation).await;
        match result {
            Ok(Ok(value)) => {
                self.answered();
                Some(value)
            }
            Ok(Err(failure)) if failure.answered => {
                self.answered();
                count(&self.counters.failures);
                tracing::warn!(name: "symbolon.cache.second_level.refused", error = failure.what, "the second level of the cache refused an operation");
                None
            }
            Ok(Err(failure)) => self.failed(&failure.what),
            Err(_) => self.failed("no answer in time"),
        }
    }

    fn answered(&self) {
        if self.circuit.succeeded() {
            tracing::info!(name: "symbolon.cache.second_level.available", "the second level of the cache is available again");
        }
    }

    fn failed<T>(&self, error: &str) -> Option<T> {
        count(&self.counters.failures);
        if self.circuit.failed() {
            tracing::warn!(name: "symbolon.cache.second_level.unavailable", error, "the second level of the cache is not available, and not used until it is");
        }
        None
    }

    /// The values under these names; those that don't open count as absent. None if the store failed.
    pub(super) async fn read(&self, names: &[String]) -> Option<Vec<Option<Value>>> {
        let sealed = self.ask(self.backend.read(names)).await?;
        Some(names.iter().zip(sealed).map(|(name, sealed)| self.open(name, &sealed?)).collect())
    }

    fn open(&self, name: &str, sealed: &[u8]) -> Option<Value> {
        let value =
            self.keys.sealing().open(name, sealed).and_then(|plain| serde_json::from_slice(&plain).ok());
        if value.is_none() {
            count(&self.counters.refused_values);
            tracing::debug!(name: "symbolon.cache.second_level.refused_value", bytes = sealed.len(), "a value of the second level of the cache is no entry of this application");
        }
        value
    }

    pub(super) fn seal(&self, name: &str, value: &Value) -> Option<Vec<u8>> {
        self.keys.sealing().seal(name, &plain(value)?)
    }

    /// Removes a group in the store and tells all processes. None if the store failed; then this is done later.
    pub(super) async fn remove_group(
        &self,
        application: &ApplicationId,
        names: &Names,
        group: &str,
    ) -> Option<(u64, bool)> {
        let removal = Removal {
            application: application.as_str().to_owned(),
            group: group.to_owned(),
            origin: self.origin.clone(),
        };
        let removed = self.send(&removal, names).await;
        if removed.is_none() {
            let mut unsent = lock(&self.unsent);
            if unsent.len() == MAX_UNSENT {
                tracing::warn!(name: "symbolon.cache.second_level.removal_lost", "too many removals wait for the second level of the cache");
                unsent.pop_front();
            }
            unsent.push_back(removal);
        }
        removed
    }

    async fn send(&self, removal: &Removal, names: &Names) -> Option<(u64, bool)> {
        let log = self.log_name();
        let message = self.keys.sealing().seal(&log, &serde_json::to_vec(removal).ok()?)?;
        let number = self.ask(self.backend.log_removal(&message)).await?;
        let name = names.of(Kind::Group, &removal.group);
        let value = self.seal(&name, &Value::Removed(number))?;
        self.ask(self.backend.write(vec![Write::Set { name, value, ttl_ms: KEPT_MS }])).await?;
        count(&self.counters.removals_sent);
        // What was brought before is of no use any more; that it goes is for tidiness, and for those who look at the store.
        let set = names.of(Kind::Members, &removal.group);
        let members = self.ask(self.backend.members(&set)).await.unwrap_or_default();
        let values = self.read(&members).await.unwrap_or_default();
        let is_older = |value: &Option<Value>| match value {
            Some(Value::Entry(record)) => record.begun < number,
            _ => true,
        };
        let gone: Vec<_> = members
            .into_iter()
            .zip(values)
            .filter(|(_, value)| is_older(value))
            .map(|(name, _)| name)
            .collect();
        let existed = !gone.is_empty();
        if existed {
            let out = Write::RemoveMembers { set, members: gone.clone() };
            self.ask(self.backend.write(vec![Write::Delete { names: gone }, out])).await;
        }
        Some((number, existed))
    }

    pub(super) fn provide(&self, services: &CredentialServices, transport: &TransportOptions) {
        self.keys.provide(services, transport);
    }

    /// Whether its keys are there and it knows of all removals, so that it can be used.
    pub(super) async fn is_up_to_date(&self) -> bool {
        if !self.keys.are_there().await {
            return false;
        }
        loop {
            let Some(removal) = lock(&self.unsent).front().cloned() else { return true };
            let names = Names::new(&self.prefix, &removal.application);
            if self.send(&removal, &names).await.is_none() {
                return false;
            }
            lock(&self.unsent).pop_front();
        }
    }

    fn log_name(&self) -> String {
        format!("{}removals", self.prefix)
    }

    /// Hears of other processes' removals from now on, if it doesn't yet: those after this one.
    pub(super) fn listen(self: &Arc<Self>, after: u64) {
        if B::SHARED && !self.listens.swap(true, Ordering::AcqRel) {
            tokio::spawn(listen(Arc::downgrade(self), after));
        }
    }

    /// Returns the number of the latest removal.
    async fn hear(&self, after: u64) -> u64 {
        self.is_up_to_date().await;
        let Ok(removals) = self.backend.removals(after).await else {
            tokio::time::sleep(LISTENING_PAUSE).await;
            return after;
        };
        // It may be back long before the next try is due.
        self.circuit.answers();
        if removals.missed {
            tracing::warn!(name: "symbolon.cache.second_level.removals_missed", "removals of other processes may have been missed; the first level of the cache begins anew");
            self.each_first_level(|_| true, |first_level| first_level.removals_missed());
        }
        for (_, message) in &removals.messages {
            let plain = self.keys.sealing().open(&self.log_name(), message);
            let Some(removal) = plain.and_then(|plain| serde_json::from_slice::<Removal>(&plain).ok()) else {
                count(&self.counters.refused_values);
                continue;
            };
            if removal.origin != self.origin {
                count(&self.counters.removals_received);
                self.each_first_level(
                    |application| application.as_str() == removal.application,
                    |first_level| first_level.group_removed(&removal.group),
                );
            }
        }
        removals.latest
    }

    fn each_first_level(
        &self,
        is_concerned: impl Fn(&ApplicationId) -> bool,
        tell: impl Fn(&dyn FirstLevel),
    ) {
        let concerned: Vec<_> = lock(&self.first_levels)
            .iter()
            .filter(|(application, _)| is_concerned(application))
            .flat_map(|(_, first_levels)| first_levels.iter().filter_map(Weak::upgrade))
            .collect();
        concerned.iter().for_each(|first_level| tell(&**first_level));
    }

    /// Drops writes that can't be made.
    pub(super) fn dropped(&self, entries: usize) {
        add(&self.counters.dropped_writes, entries);
    }
}

impl<B: fmt::Debug> fmt::Debug for Store<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("backend", &self.backend)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

async fn listen<B: Backend>(store: Weak<Store<B>>, mut after: u64) {
    while let Some(store) = store.upgrade() {
        after = store.hear(after).await;
    }
}

/// With room enough in advance: a buffer that grows would leave copies of secrets behind.
fn plain(value: &Value) -> Option<Zeroizing<Vec<u8>>> {
    let room = match value {
        Value::Entry(record) => record.stored.keys.iter().map(String::len).sum::<usize>() * 2 + ENTRY_ROOM,
        _ => 256,
    };
    let mut plain = Zeroizing::new(Vec::with_capacity(room));
    serde_json::to_writer(&mut *plain, value).ok()?;
    Some(plain)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held but an allocation that fails, and that aborts.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long what has no expiry of its own is kept: as long as Entra lets a refresh token be unused, 90 days.
pub(super) const KEPT_MS: u64 = 90 * 24 * 3600 * 1000;
/// How many writes may be under way.
const MAX_WRITES: usize = 1024;
const MAX_UNSENT: usize = 10_000;
const ENTRY_ROOM: usize = 16 << 10;
const LISTENING_PAUSE: Duration = Duration::from_millis(250);
