//! What all applications of a simulation share: time, chance, the authority, and the record of what happened.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use symbolon_resources::clock::{Clock as _, ManualClock};

use crate::authority::Authority;
use crate::executor::{Executor, Sleep};
use crate::random::Random;
use crate::reference::Reference;

/// The machine's clock at the beginning.
const BEGINNING_MS: u64 = 1_800_000_000_000;
/// How much of what happened is told with a violation.
const TOLD: usize = 60;

pub(crate) struct World {
    pub(crate) executor: Rc<Executor>,
    pub(crate) random: Random,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) authority: Authority,
    pub(crate) reference: RefCell<Reference>,
    /// How many of a hundred requests meet with a fault.
    pub(crate) faults: Cell<u64>,
    /// Whether entries are evicted, tokens that are worth something among them.
    pub(crate) is_small: bool,
    offset_ms: Cell<i64>,
    /// What the machine's clock showed after each jump.
    jumps: RefCell<Vec<u64>>,
    events: Cell<u64>,
    told: RefCell<VecDeque<String>>,
    fingerprint: Cell<u64>,
    violations: RefCell<Vec<String>>,
}

impl World {
    pub(crate) fn new(random: Random, is_small: bool) -> Rc<Self> {
        Rc::new(Self {
            executor: Rc::new(Executor::default()),
            random,
            clock: Arc::new(ManualClock::new(BEGINNING_MS)),
            authority: Authority::default(),
            reference: RefCell::default(),
            faults: Cell::new(0),
            is_small,
            offset_ms: Cell::new(0),
            jumps: RefCell::default(),
            events: Cell::new(0),
            told: RefCell::default(),
            fingerprint: Cell::new(0),
            violations: RefCell::default(),
        })
    }

    /// Runs until everything is done.
    pub(crate) fn run(&self) {
        let waiting = self.executor.run(&self.random, || self.set_clock());
        if waiting > 0 {
            self.violation(format!("{waiting} wait for ever"));
        }
    }

    /// Milliseconds since the beginning, which no jump of the clock changes.
    pub(crate) fn now_ms(&self) -> u64 {
        self.executor.now_ms()
    }

    /// What the machine's clock shows, in Unix milliseconds.
    pub(crate) fn clock_ms(&self) -> u64 {
        self.clock.now_unix_ms()
    }

    pub(crate) fn sleep(&self, ms: u64) -> Sleep {
        self.executor.sleep(ms)
    }

    /// The machine's clock is set.
    pub(crate) fn jump(&self, ms: i64) {
        self.offset_ms.set(self.offset_ms.get() + ms);
        self.set_clock();
        self.jumps.borrow_mut().push(self.clock_ms());
        self.tell(|| format!("the clock jumps by {ms} ms"));
    }

    pub(crate) fn jumps(&self) -> usize {
        self.jumps.borrow().len()
    }

    /// The least that the clock showed since it showed `since_ms`, `jumps` jumps ago from the beginning.
    pub(crate) fn least_clock_ms(&self, since_ms: u64, jumps: usize) -> u64 {
        self.jumps.borrow().iter().skip(jumps).copied().fold(since_ms, u64::min)
    }

    fn set_clock(&self) {
        self.clock.set((BEGINNING_MS + self.now_ms()).saturating_add_signed(self.offset_ms.get()));
    }

    /// The next number in the order of everything that happens.
    pub(crate) fn event(&self) -> u64 {
        self.events.set(self.events.get() + 1);
        self.events.get()
    }

    /// Keeps what happened, for whoever looks into a violation.
    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        let line = format!("{:>12.3} s  {}", self.now_ms() as f64 / 1_000.0, what());
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        self.fingerprint.set(line.bytes().fold(self.fingerprint.get(), fold));
        let mut told = self.told.borrow_mut();
        if told.len() == TOLD {
            told.pop_front();
        }
        told.push_back(line);
    }

    /// What must not happen, did. The first time says most, with what happened before.
    pub(crate) fn violation(&self, what: String) {
        self.tell(|| format!("VIOLATION: {what}"));
        let mut violations = self.violations.borrow_mut();
        if violations.is_empty() {
            violations.extend(self.told.borrow().iter().cloned());
        }
    }

    /// Everything that happened, as one number; or the story of the first violation.
    pub(crate) fn end(&self) -> Result<u64, String> {
        let violations = self.violations.borrow();
        if violations.is_empty() { Ok(self.fingerprint.get()) } else { Err(violations.join("\n")) }
    }
}
