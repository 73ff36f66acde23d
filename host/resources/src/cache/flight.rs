//! Flights: of all who want the same entry at the same time, one brings it and the others wait.
//!
//! Nothing here is locked while anyone waits, and nobody who waits can be lost: whoever leads holds a [`Ticket`], whose end,
//! whichever it is, tells all who wait, or hands the lead to one of them. The ticket travels inside the message, so a waiter
//! that is gone before it reads the message drops the ticket, and that hands the lead on.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::sync::Mutex;

use super::key::Digest;
use super::locks::lock;
use super::second_level::Lease;

/// The flights of one application. `E` is the error that a flight may end with.
pub(super) struct Gate<E>(Mutex<Flights<E>>);

struct Flights<E> {
    /// How many began. Each is known by its number, from 1.
    begun: u64,
    /// Those in the air. The one ticket of each is somewhere.
    by_key: HashMap<Digest, Flight<E>>,
}

struct Flight<E> {
    begun: u64,
    waiting: Waiting<E>,
}

type Waiting<E> = VecDeque<oneshot::Sender<End<E>>>;

/// What a flight came to.
pub(super) enum End<E> {
    /// The leader stored what it had: look again.
    Stored,
    /// The leader of this flight could not bring the entry.
    Failed(u64, E),
    /// The leader is gone: lead.
    HandedOver(Ticket<E>),
}

/// The part of a caller in a flight.
pub(super) enum Part<E> {
    Leads(Ticket<E>),
    Waits(oneshot::Receiver<End<E>>),
}

impl<E> Gate<E> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Flights { begun: 0, by_key: HashMap::new() }))
    }

    /// The number of the latest flight.
    pub(super) fn latest(&self) -> u64 {
        lock(&self.0).begun
    }

    /// The number of the flight that has been in the air for longest.
    pub(super) fn oldest(&self) -> Option<u64> {
        lock(&self.0).by_key.values().map(|flight| flight.begun).min()
    }

    /// Begins the flight of this name, or joins it.
    pub(super) fn enter(self: &Arc<Self>, key: Digest) -> Part<E> {
        let mut flights = lock(&self.0);
        if let Some(flight) = flights.by_key.get_mut(&key) {
            let (sender, receiver) = oneshot::channel();
            add(&mut flight.waiting, sender);
            return Part::Waits(receiver);
        }
        flights.begun += 1;
        let begun = flights.begun;
        flights.by_key.insert(key, Flight { begun, waiting: Waiting::new() });
        Part::Leads(Ticket { key, begun, ended: false, gate: Arc::clone(self), lease: None })
    }

    /// Begins a flight that nobody joins: whoever has its ticket is told by its number what was removed since.
    pub(super) fn enter_alone(self: &Arc<Self>) -> Ticket<E> {
        let mut flights = lock(&self.0);
        flights.begun += 1;
        let begun = flights.begun;
        let key = Digest::of_number(begun);
        flights.by_key.insert(key, Flight { begun, waiting: Waiting::new() });
        Ticket { key, begun, ended: false, gate: Arc::clone(self), lease: None }
    }

    /// Begins the flight anew for the next who waits, or ends it if nobody does.
    fn next(&self, key: &Digest) -> Option<(u64, oneshot::Sender<End<E>>)> {
        let mut flights = lock(&self.0);
        let begun = flights.begun + 1;
        let flight = flights.by_key.get_mut(key)?;
        let Some(next) = flight.waiting.pop_front() else {
            flights.by_key.remove(key);
            return None;
        };
        flight.begun = begun;
        flights.begun = begun;
        Some((begun, next))
    }

    fn end(&self, key: &Digest) -> Waiting<E> {
        lock(&self.0).by_key.remove(key).map(|flight| flight.waiting).unwrap_or_default()
    }
}

fn add<E>(waiting: &mut Waiting<E>, waiter: oneshot::Sender<End<E>>) {
    if waiting.len() == waiting.capacity() {
        // Before it grows, forget who gave up.
        waiting.retain(|waiter| !waiter.is_closed());
    }
    waiting.push_back(waiter);
}

/// The right to bring an entry, and the duty to end the flight: by giving it to [`put`](super::ApplicationCache::put) or
/// [`fail`](super::ApplicationCache::fail). Dropping it hands the lead to the next who waits.
pub struct Ticket<E> {
    key: Digest,
    begun: u64,
    ended: bool,
    gate: Arc<Gate<E>>,
    /// The second level's part of the flight. It ends with the ticket.
    pub(super) lease: Option<Lease>,
}

impl<E> Ticket<E> {
    /// Tells, without the ticket, whether anyone waits for its flight.
    pub fn watch(&self) -> Watch<E> {
        Watch { key: self.key, begun: self.begun, gate: Arc::clone(&self.gate) }
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// Ends the flight; everyone who waits looks again.
    pub(super) fn stored(mut self) {
        self.ended = true;
        for waiter in self.gate.end(&self.key) {
            // Whoever no longer waits needn't know.
            let _ = waiter.send(End::Stored);
        }
    }

    /// Ends the flight with an error for everyone who waits.
    pub(super) fn failed(mut self, error: &E)
    where
        E: Clone,
    {
        self.ended = true;
        for waiter in self.gate.end(&self.key) {
            let _ = waiter.send(End::Failed(self.begun, error.clone()));
        }
    }
}

impl<E> Drop for Ticket<E> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // Whoever is next begins anew there.
        self.lease = None;
        while let Some((begun, next)) = self.gate.next(&self.key) {
            let gate = Arc::clone(&self.gate);
            let ticket = Self { key: self.key, begun, ended: false, gate, lease: None };
            match next.send(End::HandedOver(ticket)) {
                Ok(()) => return,
                // It no longer waits. This loop hands the lead on, so that ticket mustn't.
                Err(End::HandedOver(mut ticket)) => ticket.ended = true,
                Err(_) => {}
            }
        }
    }
}

/// A look at a flight from beside it.
pub struct Watch<E> {
    key: Digest,
    begun: u64,
    gate: Arc<Gate<E>>,
}

impl<E> Watch<E> {
    /// Whether anyone waits for what the flight brings. Nobody does for one that has ended.
    pub fn is_waited_for(&self) -> bool {
        let flights = lock(&self.gate.0);
        let flight = flights.by_key.get(&self.key).filter(|flight| flight.begun == self.begun);
        flight.is_some_and(|flight| flight.waiting.iter().any(|waiter| !waiter.is_closed()))
    }
}

impl<E> fmt::Debug for Watch<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("begun", &self.begun).finish_non_exhaustive()
    }
}

impl<E> fmt::Debug for Ticket<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("begun", &self.begun).finish_non_exhaustive()
    }
}
