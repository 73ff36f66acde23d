//! How often a guest may call.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// So many calls in so long a time, counted as the generic cell rate algorithm does (ITU-T I.371): after a burst of all of
/// them, one more for each part of the time that passes.
#[derive(Debug)]
pub(super) struct Rate {
    /// How long a call takes up, in microseconds.
    interval: u64,
    /// How far ahead of the time calls may run, in microseconds.
    per: u64,
    /// Up to when the calls so far take up the time, in microseconds since 1970.
    taken_until: Mutex<u64>,
}

impl Rate {
    pub(super) fn new(calls: u32, per: Duration) -> Self {
        let per = u64::try_from(per.as_micros()).unwrap_or(u64::MAX);
        // Without any calls each takes up more time than there is.
        let interval = per.checked_div(u64::from(calls)).map_or(u64::MAX, |interval| interval.max(1));
        Self { interval, per, taken_until: Mutex::default() }
    }

    /// Takes one call, or says how long it is until there is one.
    pub(super) fn take(&self, now_unix_ms: u64) -> Result<(), Duration> {
        let now = now_unix_ms.saturating_mul(1000);
        let mut taken_until = self.taken_until.lock().unwrap_or_else(PoisonError::into_inner);
        let next = now.max(*taken_until).saturating_add(self.interval);
        match next.saturating_sub(now).checked_sub(self.per) {
            None | Some(0) => {
                *taken_until = next;
                Ok(())
            }
            Some(early) => Err(Duration::from_micros(early)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_calls_come_one_by_one() {
        let rate = Rate::new(4, Duration::from_secs(1));
        assert_eq!([(); 5].map(|()| rate.take(10_000).is_ok()), [true, true, true, true, false]);
        assert_eq!(rate.take(10_100), Err(Duration::from_millis(150)));
        assert_eq!(rate.take(10_250), Ok(()));
        assert_eq!(rate.take(10_251), Err(Duration::from_millis(249)));
        assert_eq!([(); 5].map(|()| rate.take(60_000).is_ok()), [true, true, true, true, false]);
    }

    #[test]
    fn none_is_none() {
        let rate = Rate::new(0, Duration::from_secs(1));
        assert!(rate.take(10_000).is_err() && rate.take(1_000_000_000).is_err());
    }
}
