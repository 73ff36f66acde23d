//! What a guest has spent of its CPU budget.
//!
//! Time is charged by the poll: whatever passes between the start and the end of a poll of the acquisition's future was
//! spent on a thread, by the guest or on its behalf; what passes between two polls was spent waiting and is free. A guest
//! can so neither be killed for a slow server nor hide behind many small host calls.
//!
//! No poll is charged more than one tick: a guest that runs yields at each tick, so what a poll took beyond that was the
//! machine's, busy with something else.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::ticker::TICK;

const TICK_NANOS: u64 = TICK.as_nanos() as u64;

/// The account of one guest.
#[derive(Debug)]
pub(super) struct Meter {
    budget: Duration,
    base: Instant,
    /// Nanoseconds spent in polls that have ended.
    spent: AtomicU64,
    /// When the poll began that is under way, in nanoseconds since `base`.
    poll_began: AtomicU64,
}

impl Meter {
    #[expect(
        clippy::disallowed_methods,
        reason = "measures what really passes, whatever clock the tests set"
    )]
    pub(super) fn new(budget: Duration) -> Arc<Self> {
        let (spent, poll_began) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { budget, base: Instant::now(), spent, poll_began })
    }

    /// Whether the budget is gone. Called from within a poll.
    pub(super) fn is_exhausted(&self) -> bool {
        let running = self.since(self.poll_began.load(Ordering::Relaxed));
        Duration::from_nanos(self.spent.load(Ordering::Relaxed) + running) > self.budget
    }

    /// What a poll that began then is charged, in nanoseconds.
    fn since(&self, began: u64) -> u64 {
        self.now().saturating_sub(began).min(TICK_NANOS)
    }

    /// The same future, with its polls charged to this account.
    pub(super) fn charge<F: Future + Unpin>(self: Arc<Self>, future: F) -> Metered<F> {
        Metered { meter: self, future }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A future whose polls are charged to a [`Meter`].
pub(super) struct Metered<F> {
    meter: Arc<Meter>,
    future: F,
}

impl<F: Future + Unpin> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let began = self.meter.now();
        self.meter.poll_began.store(began, Ordering::Relaxed);
        let poll = Pin::new(&mut self.future).poll(context);
        let spent = self.meter.since(began);
        self.meter.spent.fetch_add(spent, Ordering::Relaxed);
        poll
    }
}
