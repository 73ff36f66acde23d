//! How long a partition is kept, as the Redis cache of .NET (`Microsoft.Extensions.Caching.StackExchangeRedis`) keeps it.

use std::time::Duration;

/// What is configured about the lifetime of partitions: the options of Microsoft.Identity.Web's distributed cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LifetimeOptions {
    /// No partition is kept longer than until then. Unix seconds.
    pub absolute_expiration: Option<u64>,
    /// How long a partition is kept after it was written. It takes the place of every other time but the sliding one.
    pub absolute_expiration_relative_to_now: Option<Duration>,
    /// How long a partition is kept after it was used.
    pub sliding_expiration: Option<Duration>,
}

/// How long one partition is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// Until then, Unix milliseconds.
    pub absolute_unix_ms: Option<u64>,
    /// For so long after each use.
    pub sliding: Option<Duration>,
}

impl LifetimeOptions {
    /// The lifetime of a partition that is written now. `suggested` is until when it is of use, in Unix seconds.
    pub fn lifetime(&self, suggested: Option<u64>, now_unix_ms: u64) -> Lifetime {
        let until = [suggested, self.absolute_expiration].into_iter().flatten().min();
        let relative =
            self.absolute_expiration_relative_to_now.map(|time| now_unix_ms.saturating_add(millis(time)));
        Lifetime {
            absolute_unix_ms: relative.or(until.map(|seconds| seconds.saturating_mul(1000))),
            sliding: self.sliding_expiration,
        }
    }
}

impl Lifetime {
    /// The lifetime that the fields `absexp` and `sldexp` of a partition say. What isn't a number is as good as absent.
    pub fn from_fields(absexp: Option<i64>, sldexp: Option<i64>) -> Self {
        let present = |ticks: Option<i64>| ticks.and_then(|ticks| u64::try_from(ticks).ok());
        Self {
            absolute_unix_ms: present(absexp)
                .map(|ticks| ticks.saturating_sub(UNIX_EPOCH_TICKS) / TICKS_PER_MILLISECOND),
            sliding: present(sldexp).map(|ticks| Duration::from_millis(ticks / TICKS_PER_MILLISECOND)),
        }
    }

    /// The fields `absexp` and `sldexp`: ticks of 100 ns, since the year 1 or in all; -1 for absent.
    pub fn fields(&self) -> (i64, i64) {
        let ticks = |milliseconds: u64, since: u64| {
            let ticks = milliseconds.saturating_mul(TICKS_PER_MILLISECOND).saturating_add(since);
            i64::try_from(ticks).unwrap_or(i64::MAX)
        };
        (
            self.absolute_unix_ms.map_or(ABSENT, |at| ticks(at, UNIX_EPOCH_TICKS)),
            self.sliding.map_or(ABSENT, |time| ticks(millis(time), 0)),
        )
    }

    /// For how many seconds Redis keeps the partition from now on, whichever ends first. None where nothing ends it; zero
    /// where it is over.
    pub fn seconds_left(&self, now_unix_ms: u64) -> Option<u64> {
        let left = self.absolute_unix_ms.map(|at| at.saturating_sub(now_unix_ms) / 1000);
        [left, self.sliding.map(|time| time.as_secs())].into_iter().flatten().min()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The fields' value where there is no such time.
const ABSENT: i64 = -1;
const TICKS_PER_MILLISECOND: u64 = 10_000;
/// From the first day of the year 1 to that of 1970.
const UNIX_EPOCH_TICKS: u64 = 621_355_968_000_000_000;
