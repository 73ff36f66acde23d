//! The authority's time: the system's, or one that a test sets, plus an offset that can be moved forward.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use time::{OffsetDateTime, macros::format_description};

/// Where the authority gets the time from. Clones share one offset.
#[derive(Clone)]
pub struct Clock {
    source: Arc<dyn Fn() -> u64 + Send + Sync>,
    advanced_ms: Arc<AtomicU64>,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(system_unix_ms)
    }

    /// A clock that asks `now_unix_ms` (milliseconds since 1970) each time.
    pub fn new(now_unix_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { source: Arc::new(now_unix_ms), advanced_ms: Arc::default() }
    }

    /// Moves the time forward: tokens, assertions and secrets age by `by` at once.
    pub fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        // `fetch_update` with a total function cannot fail.
        let _ = self
            .advanced_ms
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| Some(old.saturating_add(ms)));
    }

    /// Undoes every [`Clock::advance`].
    pub fn reset(&self) {
        self.advanced_ms.store(0, Ordering::Relaxed);
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_unix_ms(&self) -> u64 {
        (self.source)().saturating_add(self.advanced_ms.load(Ordering::Relaxed))
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn now_unix(&self) -> u64 {
        self.now_unix_ms() / 1000
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("now_unix_ms", &self.now_unix_ms()).finish()
    }
}

/// `2026-07-24 09:30:00Z`, the way Entra ID prints times in its error texts.
pub(crate) fn timestamp(unix: u64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    date_time(unix).format(&format).unwrap_or_default()
}

/// The end of what [`OffsetDateTime`] holds stands in for later times.
pub(crate) fn date_time(unix: u64) -> OffsetDateTime {
    let seconds = i64::try_from(unix).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::macros::datetime!(9999-12-31 23:59:59 UTC))
}

#[allow(clippy::disallowed_methods, reason = "the one place of this crate that reads the system's clock")]
fn system_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advances_and_resets() {
        let clock = Clock::new(|| 1_700_000_000_000);
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.clone().now_unix(), 1_700_000_005);
        clock.reset();
        assert_eq!(clock.now_unix(), 1_700_000_000);
    }

    #[test]
    fn prints_times_as_entra_does() {
        assert_eq!(timestamp(1_452_301_932), "2016-01-09 01:12:12Z");
        assert_eq!(timestamp(u64::MAX), "9999-12-31 23:59:59Z");
    }
}
