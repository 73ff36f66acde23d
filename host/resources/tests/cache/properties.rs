//! Random operations on two applications, beside a model that does the same one after the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use symbolon_resources::cache::{Absence, ApplicationId, CacheLimits, Entry, Found, Lookup, Saved, Ticket};

use crate::support::*;

type Keys = BTreeSet<u8>;

#[derive(Clone, Debug)]
enum Operation {
    Find {
        alternatives: Vec<Keys>,
        bypass: bool,
        flight: Option<u8>,
    },
    /// Gives a waiting caller up.
    GiveUp(prop::sample::Index),
    /// Puts with the ticket at this place, or without one.
    Put {
        ticket: Option<prop::sample::Index>,
        replaced_groups: Keys,
        entries: Vec<NewEntry>,
    },
    Fail(prop::sample::Index),
    DropTicket(prop::sample::Index),
    Remove(u8),
    RemoveGroup(u8),
    Clear,
}

#[derive(Clone, Debug)]
struct NewEntry {
    keys: Keys,
    replaces: Keys,
    groups: Keys,
    lifetime: Lifetime,
}

#[derive(Clone, Copy, Debug)]
enum Lifetime {
    Good,
    Expired,
    Corrupt,
}

impl Lifetime {
    fn expires_on(self) -> u64 {
        match self {
            Self::Good => NOW + 1,
            Self::Expired => NOW,
            Self::Corrupt => NOW + 1_000_000,
        }
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let keys = |size| btree_set(0..6_u8, size);
    let lifetime =
        prop_oneof![3 => Just(Lifetime::Good), 1 => Just(Lifetime::Expired), 1 => Just(Lifetime::Corrupt)];
    let groups = |size| btree_set(0..3_u8, size);
    let entry = (keys(0..4), keys(0..2), groups(0..3), lifetime)
        .prop_map(|(keys, replaces, groups, lifetime)| NewEntry { keys, replaces, groups, lifetime });
    prop_oneof![
        8 => (vec(keys(0..3), 1..3), any::<bool>(), prop::option::weighted(0.9, 0..2_u8))
            .prop_map(|(alternatives, bypass, flight)| Operation::Find { alternatives, bypass, flight }),
        2 => any::<prop::sample::Index>().prop_map(Operation::GiveUp),
        4 => (prop::option::weighted(0.8, any::<prop::sample::Index>()), groups(0..2), vec(entry, 0..4))
            .prop_map(|(ticket, replaced_groups, entries)| Operation::Put { ticket, replaced_groups, entries }),
        2 => any::<prop::sample::Index>().prop_map(Operation::Fail),
        2 => any::<prop::sample::Index>().prop_map(Operation::DropTicket),
        1 => (0..6_u8).prop_map(Operation::Remove),
        1 => (0..3_u8).prop_map(Operation::RemoveGroup),
        1 => Just(Operation::Clear),
    ]
}

/// What a caller got: the model's and the cache's are compared.
#[derive(Clone, Debug, PartialEq)]
enum Got {
    Hit(String),
    Lead(Absence),
    Failed(String),
    Miss,
}

// The model.

#[derive(Default)]
struct Model {
    entries: Vec<ModelEntry>,
    begun: u64,
    cleared: u64,
    removed_groups: BTreeMap<u8, u64>,
    flights: BTreeMap<u8, ModelFlight>,
    callers: BTreeMap<usize, ModelCaller>,
}

struct ModelEntry {
    keys: Keys,
    groups: Keys,
    secret: String,
    expires_on: u64,
    begun: u64,
}

struct ModelFlight {
    begun: u64,
    waiting: VecDeque<usize>,
}

struct ModelCaller {
    alternatives: Vec<Keys>,
    bypass: bool,
    since: u64,
    flight: Option<u8>,
    told: Option<Told>,
}

enum Told {
    Stored,
    Failed(u64, String),
    Lead(ModelTicket),
}

struct ModelTicket {
    flight: u8,
    begun: u64,
}

impl Model {
    fn look(&self, caller: &ModelCaller) -> Result<Got, Absence> {
        let holder_of_all =
            |keys: &Keys| self.entries.iter().find(|entry| !keys.is_empty() && entry.keys.is_superset(keys));
        let found: Vec<_> = caller
            .alternatives
            .iter()
            .filter_map(holder_of_all)
            .filter(|entry| !caller.bypass || entry.begun > caller.since)
            .collect();
        if let Some(entry) = found.iter().find(|entry| entry.expires_on == Lifetime::Good.expires_on()) {
            return Ok(Got::Hit(entry.secret.clone()));
        }
        let expired = found.iter().any(|entry| entry.expires_on == Lifetime::Expired.expires_on());
        Err(match (caller.bypass, expired) {
            (true, _) => Absence::Bypassed,
            (false, true) => Absence::Expired,
            (false, false) => Absence::Absent,
        })
    }

    /// Goes on with a caller as far as it can. None if it waits.
    fn poll(&mut self, id: usize) -> Option<(Got, Option<ModelTicket>)> {
        let mut caller = self.callers.remove(&id).unwrap();
        if caller.told.is_none() && self.flights.values().any(|flight| flight.waiting.contains(&id)) {
            self.callers.insert(id, caller);
            return None;
        }
        loop {
            let mut ticket = None;
            match caller.told.take() {
                Some(Told::Failed(begun, error)) if begun > caller.since => {
                    return Some((Got::Failed(error), None));
                }
                Some(Told::Lead(lead)) => ticket = Some(lead),
                _ => {}
            }
            let absence = match self.look(&caller) {
                Ok(hit) => {
                    if let Some(ticket) = ticket {
                        self.tell_all(&ticket, || Told::Stored);
                    }
                    return Some((hit, None));
                }
                Err(absence) => absence,
            };
            let Some(flight) = caller.flight else { return Some((Got::Miss, None)) };
            if let Some(ticket) = ticket {
                return Some((Got::Lead(absence), Some(ticket)));
            }
            if let Some(flight) = self.flights.get_mut(&flight) {
                flight.waiting.push_back(id);
                self.callers.insert(id, caller);
                return None;
            }
            self.begun += 1;
            self.flights.insert(flight, ModelFlight { begun: self.begun, waiting: VecDeque::new() });
            caller.told = Some(Told::Lead(ModelTicket { flight, begun: self.begun }));
        }
    }

    fn tell_all(&mut self, ticket: &ModelTicket, told: impl Fn() -> Told) {
        for id in self.flights.remove(&ticket.flight).unwrap().waiting {
            self.callers.get_mut(&id).unwrap().told = Some(told());
        }
    }

    fn hand_over(&mut self, ticket: ModelTicket) {
        let flight = self.flights.get_mut(&ticket.flight).unwrap();
        match flight.waiting.pop_front() {
            None => drop(self.flights.remove(&ticket.flight)),
            Some(next) => {
                self.begun += 1;
                flight.begun = self.begun;
                let ticket = ModelTicket { flight: ticket.flight, begun: self.begun };
                self.callers.get_mut(&next).unwrap().told = Some(Told::Lead(ticket));
            }
        }
    }

    fn give_up(&mut self, id: usize) {
        let caller = self.callers.remove(&id).unwrap();
        for flight in self.flights.values_mut() {
            flight.waiting.retain(|waiting| *waiting != id);
        }
        if let Some(Told::Lead(ticket)) = caller.told {
            self.hand_over(ticket);
        }
    }

    fn put(&mut self, ticket: Option<ModelTicket>, replaced_groups: &Keys, entries: Vec<(NewEntry, String)>) {
        let entries: Vec<_> = entries.into_iter().filter(|(entry, _)| !entry.keys.is_empty()).collect();
        let begun = ticket.as_ref().map(|ticket| ticket.begun);
        let mut groups = entries.iter().flat_map(|(entry, _)| &entry.groups).chain(replaced_groups);
        let is_refused = |begun| {
            begun <= self.cleared || groups.any(|group| self.removed_groups.get(group) >= Some(&begun))
        };
        if !begun.is_some_and(is_refused) {
            for group in replaced_groups {
                self.remove_group(*group);
            }
            for (NewEntry { keys, replaces, groups, lifetime }, secret) in entries {
                self.entries
                    .retain(|entry| entry.keys.is_disjoint(&keys) && entry.keys.is_disjoint(&replaces));
                let (expires_on, begun) = (lifetime.expires_on(), begun.unwrap_or(0));
                self.entries.push(ModelEntry { keys, groups, secret, expires_on, begun });
            }
        }
        if let Some(ticket) = ticket {
            self.tell_all(&ticket, || Told::Stored);
        }
    }

    fn remove_group(&mut self, group: u8) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| !entry.groups.contains(&group));
        self.removed_groups.insert(group, self.begun);
        self.entries.len() < before
    }
}

// The cache, driven step by step.

type Caller = Pin<Box<dyn Future<Output = Found<String>>>>;

struct Driver {
    name: &'static str,
    application: Application,
    model: Model,
    callers: BTreeMap<usize, Caller>,
    tickets: Vec<(Ticket<String>, ModelTicket)>,
    count: usize,
}

impl Driver {
    fn run(&mut self, operation: Operation) {
        self.count += 1;
        match operation {
            Operation::Find { alternatives, bypass, flight } => self.find(alternatives, bypass, flight),
            Operation::GiveUp(index) => {
                if let Some(id) = pick(index, self.callers.keys().copied()) {
                    self.callers.remove(&id);
                    self.model.give_up(id);
                }
            }
            Operation::Put { ticket, replaced_groups, entries } => {
                let ticket = ticket.and_then(|index| self.take_ticket(index));
                self.put(ticket, &replaced_groups, entries);
            }
            Operation::Fail(index) => {
                if let Some((ticket, model)) = self.take_ticket(index) {
                    let error = format!("{} {}", self.name, self.count);
                    self.application.fail(ticket, &error);
                    let flight = self.model.flights[&model.flight].begun;
                    self.model.tell_all(&model, || Told::Failed(flight, error.clone()));
                }
            }
            Operation::DropTicket(index) => {
                if let Some((ticket, model)) = self.take_ticket(index) {
                    drop(ticket);
                    self.model.hand_over(model);
                }
            }
            Operation::Remove(key) => {
                let there = self.model.entries.iter().position(|entry| entry.keys.contains(&key));
                assert_eq!(self.application.remove(&key.to_string()), there.is_some());
                there.map(|i| self.model.entries.remove(i));
            }
            Operation::RemoveGroup(group) => {
                let held = self.application.members(&group.to_string());
                let there = self.model.remove_group(group);
                assert_eq!(self.application.remove_group(&group.to_string()), there);
                assert!(held.iter().all(|entry| !entry.is_alive()));
            }
            Operation::Clear => {
                self.application.clear();
                self.model.entries.clear();
                self.model.cleared = self.model.begun;
            }
        }
        self.settle();
        self.compare_entries();
    }

    fn find(&mut self, alternatives: Vec<Keys>, bypass: bool, flight: Option<u8>) {
        let application = self.application.clone();
        let given: Vec<_> = alternatives.iter().map(keys).collect();
        let mut caller: Caller = Box::pin(async move {
            let flight = flight.map(|flight| flight.to_string());
            application
                .find(Lookup { alternatives: &given, bypass, flight: flight.as_deref(), ..wanted() })
                .await
        });
        let since = if bypass { self.model.begun } else { 0 };
        self.model
            .callers
            .insert(self.count, ModelCaller { alternatives, bypass, since, flight, told: None });
        let found = poll(&mut caller);
        self.callers.insert(self.count, caller);
        self.compare(self.count, found);
    }

    fn put(
        &mut self,
        ticket: Option<(Ticket<String>, ModelTicket)>,
        replaced_groups: &Keys,
        entries: Vec<NewEntry>,
    ) {
        let name = |i| format!("{} {}.{i}", self.name, self.count);
        let entries: Vec<_> = entries.into_iter().enumerate().map(|(i, entry)| (entry, name(i))).collect();
        let texts: Vec<_> = entries
            .iter()
            .map(|(entry, _)| [&entry.keys, &entry.replaces, &entry.groups].map(keys))
            .collect();
        let saved: Vec<_> = entries
            .iter()
            .zip(&texts)
            .map(|((entry, secret), [keys, replaces, groups])| Saved {
                entry: Entry::AccessToken(token(secret, entry.lifetime.expires_on())),
                keys,
                replaces,
                groups,
                partition_key: "",
                item_key: "",
            })
            .collect();
        let (ticket, model) = ticket.unzip();
        self.application.put(ticket, &keys(replaced_groups), &saved);
        self.model.put(model, replaced_groups, entries);
    }

    fn take_ticket(&mut self, index: prop::sample::Index) -> Option<(Ticket<String>, ModelTicket)> {
        let i = pick(index, 0..self.tickets.len())?;
        Some(self.tickets.swap_remove(i))
    }

    /// Polls all callers, in the order in which they came, until none gets any further.
    fn settle(&mut self) {
        loop {
            let mut settled = true;
            for id in self.callers.keys().copied().collect::<Vec<_>>() {
                let found = poll(self.callers.get_mut(&id).unwrap());
                settled &= found.is_none();
                self.compare(id, found);
            }
            if settled {
                return;
            }
        }
    }

    fn compare(&mut self, id: usize, found: Option<Found<String>>) {
        let (expected, model_ticket) = self.model.poll(id).unzip();
        let mut ticket = None;
        let got = found.map(|found| match found {
            Found::Hit(entry) => Got::Hit(secret(&entry)),
            Found::Lead { ticket: lead, absence, .. } => {
                ticket = Some(lead);
                Got::Lead(absence)
            }
            Found::Failed(error) => Got::Failed(error),
            Found::Miss => Got::Miss,
        });
        assert_eq!(got, expected);
        if let Some(Got::Hit(text) | Got::Failed(text)) = &got {
            assert!(text.starts_with(self.name), "{text} is not of {}", self.name);
        }
        if got.is_some() {
            self.callers.remove(&id);
        }
        self.tickets.extend(ticket.zip(model_ticket.flatten()));
    }

    fn compare_entries(&self) {
        for key in 0..6_u8 {
            let expected = self.model.entries.iter().find(|entry| entry.keys.contains(&key));
            let got = self.application.get(&key.to_string());
            assert_eq!(got.map(|entry| secret(&entry)), expected.map(|entry| entry.secret.clone()));
        }
        for group in 0..3_u8 {
            let expected = self.model.entries.iter().filter(|entry| entry.groups.contains(&group));
            let expected: Vec<_> = expected.map(|entry| entry.secret.clone()).collect();
            assert_eq!(members(&self.application, &group.to_string()), expected);
        }
        assert_eq!(self.application.statistics().entries, self.model.entries.len());
    }
}

fn pick<T>(index: prop::sample::Index, items: impl ExactSizeIterator<Item = T>) -> Option<T> {
    let mut items = items;
    if items.len() == 0 { None } else { items.nth(index.index(items.len())) }
}

fn poll(caller: &mut Caller) -> Option<Found<String>> {
    match caller.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(found) => Some(found),
        Poll::Pending => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Both applications use the same keys and flights, and each behaves as if it were alone.
    #[test]
    fn two_applications_behave_as_if_each_were_alone(operations in vec((0..2_usize, operation()), 1..60)) {
        let (cache, _) = cache(CacheLimits::default());
        let mut drivers = ["one", "another"].map(|name| Driver {
            name,
            application: cache.namespace(ApplicationId::new(name)),
            model: Model::default(),
            callers: BTreeMap::new(),
            tickets: Vec::new(),
            count: 0,
        });
        for (which, operation) in operations {
            drivers[which].run(operation);
        }
        let entries: usize = drivers.iter().map(|driver| driver.model.entries.len()).sum();
        prop_assert_eq!(cache.statistics().entries, entries);
        let bytes: usize = drivers.iter().map(|driver| driver.application.statistics().bytes).sum();
        prop_assert_eq!(cache.statistics().bytes, bytes);
        for driver in &mut drivers {
            driver.application.clear();
        }
        prop_assert_eq!((cache.statistics().entries, cache.statistics().bytes), (0, 0));
    }

    /// Ids and keys that read the same when they are put together are different keys all the same.
    #[test]
    fn an_application_finds_only_its_own(ids in btree_set("[ab]{0,3}", 2), key in "[ab]{0,3}", other in "[ab]{0,3}") {
        let (cache, _) = cache(CacheLimits::default());
        let ids: Vec<_> = ids.into_iter().collect();
        let applications = [0, 1].map(|i| cache.namespace(ApplicationId::new(ids[i].clone())));
        put(&applications[0], None, &key, "one");
        prop_assert!(applications[1].get(&key).is_none() && applications[1].get(&other).is_none());
        prop_assert!(!applications[1].remove(&key));
        applications[1].clear();
        put(&applications[1], None, &other, "another");
        prop_assert_eq!(secret(&applications[0].get(&key).unwrap()), "one");
    }
}
