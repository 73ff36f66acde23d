//! How much callers may ask for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use symbolon_resources::configuration::{CallLimits, RateLimit};
use tokio::time::Instant;

/// The limits of one application, and how far they are used up.
pub(crate) struct Limiter {
    rate: Option<Rate>,
    max_in_flight: usize,
    in_flight: Arc<AtomicUsize>,
}

struct Rate {
    limit: RateLimit,
    callers: Mutex<HashMap<u64, Bucket>>,
}

/// What a caller may still ask for, in requests, at that time.
struct Bucket {
    left: f64,
    at: Instant,
}

/// A request that is under way, until it is dropped.
pub(crate) struct Admission(Arc<AtomicUsize>);

/// Why a request isn't done now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// The caller asks too often; the next request is in order after this.
    Rate(Duration),
    /// Too many are under way, of all callers together.
    InFlight,
}

impl Limiter {
    pub(crate) fn new(limits: &CallLimits) -> Self {
        let rate = limits.rate.map(|limit| Rate { limit, callers: Mutex::default() });
        Self { rate, max_in_flight: limits.max_in_flight, in_flight: Arc::default() }
    }

    /// Lets a request of this caller in.
    pub(crate) fn admit(&self, caller: u64, now: Instant) -> Result<Admission, Excess> {
        if let Some(rate) = &self.rate {
            rate.take(caller, now).map_err(Excess::Rate)?;
        }
        let admission = Admission(Arc::clone(&self.in_flight));
        let under_way = self.in_flight.fetch_add(1, Ordering::Relaxed);
        if under_way < self.max_in_flight { Ok(admission) } else { Err(Excess::InFlight) }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Rate {
    fn take(&self, caller: u64, now: Instant) -> Result<(), Duration> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= MAX_CALLERS && !callers.contains_key(&caller) {
            // Who has asked for nothing lately is like one who never did.
            callers.retain(|_, bucket| self.left(bucket, now) < self.burst());
            if callers.len() >= MAX_CALLERS {
                callers.clear();
            }
        }
        let bucket = callers.entry(caller).or_insert(Bucket { left: self.burst(), at: now });
        bucket.left = self.left(bucket, now);
        bucket.at = now;
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.left) / self.per_second()));
        }
        bucket.left -= 1.0;
        Ok(())
    }

    fn left(&self, bucket: &Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.left + passed * self.per_second()).min(self.burst())
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody asks 2^52 times a second")]
    fn per_second(&self) -> f64 {
        self.limit.requests_per_second as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "as above")]
    fn burst(&self) -> f64 {
        self.limit.burst as f64
    }
}

/// How many callers are told apart at a time: those of a busy machine, in less than a megabyte.
const MAX_CALLERS: usize = 10_000;

#[cfg(test)]
mod tests {
    use serde_json::json;
    use symbolon::Settings;

    use super::*;

    fn limiter(sidecar: serde_json::Value) -> Limiter {
        let settings = Settings::from_value(json!({ "Symbolon": { "Sidecar": sidecar } }));
        Limiter::new(&settings.sidecar().unwrap().limits)
    }

    #[test]
    fn a_caller_that_asks_too_often_waits_and_others_do_not() {
        let limiter = limiter(json!({ "RateLimit": { "RequestsPerSecond": 2, "Burst": 3 } }));
        let begin = Instant::now();
        for _ in 0..3 {
            assert!(limiter.admit(1, begin).is_ok());
        }
        let excess = limiter.admit(1, begin).err();
        assert_eq!(excess, Some(Excess::Rate(Duration::from_millis(500))));
        assert!(limiter.admit(2, begin).is_ok());
        assert!(limiter.admit(1, begin + Duration::from_millis(500)).is_ok());
        assert!(limiter.admit(1, begin + Duration::from_millis(500)).is_err());
        let later = begin + Duration::from_secs(60);
        assert_eq!((0..9).filter(|_| limiter.admit(1, later).is_ok()).count(), 3, "no more than the burst");
    }

    #[test]
    fn what_is_under_way_is_bounded() {
        let limiter = limiter(json!({ "MaxInFlight": 2 }));
        let now = Instant::now();
        let first = limiter.admit(1, now).ok().unwrap();
        let _second = limiter.admit(2, now).ok().unwrap();
        assert_eq!(limiter.admit(3, now).err(), Some(Excess::InFlight));
        drop(first);
        assert!(limiter.admit(3, now).is_ok());
    }

    #[test]
    fn the_callers_that_are_told_apart_are_bounded() {
        let limiter = limiter(json!({ "RateLimit": { "RequestsPerSecond": 1 } }));
        let now = Instant::now();
        for caller in 0..3 * MAX_CALLERS as u64 {
            let _ = limiter.admit(caller, now);
        }
        assert!(limiter.rate.unwrap().callers.lock().unwrap().len() <= MAX_CALLERS);
    }
}
