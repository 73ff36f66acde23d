//! The time now. Everything else in the host takes it from here, so that tests can set it.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time of day.
///
/// It may step in either direction, as the machine's clock may: it is for expiry times, not for measuring durations.
pub trait Clock: Send + Sync + Debug {
    /// Milliseconds since 1970-01-01T00:00:00Z, leap seconds ignored.
    fn now_unix_ms(&self) -> u64;

    /// The same in whole seconds, rounded down.
    fn now_unix(&self) -> u64 {
        self.now_unix_ms() / 1000
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// A clock that is set before 1970 reads as 1970.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else uses")]
    fn now_unix_ms(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that stands still until it is set, for tests.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `unix_ms`.
    pub const fn new(unix_ms: u64) -> Self {
        Self(AtomicU64::new(unix_ms))
    }

    /// Shows `unix_ms` from now on, earlier or later than before.
    pub fn set(&self, unix_ms: u64) {
        self.0.store(unix_ms, Ordering::SeqCst);
    }

    /// Moves on by `ms`.
    pub fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_unix_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now_unix_ms(&self) -> u64 {
        (**self).now_unix_ms()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_counts_milliseconds() {
        let now = SystemClock.now_unix_ms();
        // 2020 and 2200: a second or a microsecond mistaken for a millisecond falls outside.
        assert!((1_577_836_800_000..7_258_118_400_000).contains(&now), "{now}");
    }

    #[test]
    fn a_manual_clock_shows_what_it_is_told() {
        let clock = Arc::new(ManualClock::new(1_500));
        assert_eq!((clock.now_unix_ms(), clock.now_unix()), (1_500, 1));
        clock.advance(600);
        assert_eq!((clock.now_unix_ms(), clock.now_unix()), (2_100, 2));
        clock.set(7);
        let shared: Arc<dyn Clock> = clock;
        assert_eq!(shared.now_unix_ms(), 7);
    }
}
