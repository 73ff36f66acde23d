//! `--repeat`: the same acquisition many times, and a summary.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use symbolon::{Application, AuthenticationResult, TokenSource};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::acquisition::{Acquisition, Earlier};
use super::{Output, print};
use crate::failure::{Failure, Status};
use crate::output;

/// Acquires `count` times, `concurrency` at once. Prints the first token, the summary, and each kind of error once.
pub(super) async fn run(
    application: &Application,
    acquisition: &Acquisition,
    count: NonZeroUsize,
    concurrency: NonZeroUsize,
    output: Output,
) -> Result<Status, Failure> {
    let started = Instant::now();
    let left = Arc::new(AtomicUsize::new(count.get()));
    let mut workers = JoinSet::new();
    for _ in 0..concurrency.min(count).get() {
        workers.spawn(work(application.clone(), acquisition.clone(), left.clone()));
    }
    let mut tally = Tally::default();
    while let Some(worked) = workers.join_next().await {
        tally.add(
            worked
                .map_err(|error| Failure::internal(format!("an acquisition ended unexpectedly: {error}")))?,
        );
    }
    let summary = Summary::new(&mut tally, started.elapsed());
    if let Some(result) = &tally.result {
        print(result, output)?;
    }
    for failure in tally.failures.values() {
        failure.print(output == Output::Json);
    }
    output::note(&match output {
        Output::Json => serde_json::json!({ "summary": summary }).to_string(),
        _ => summary.to_string(),
    });
    Ok(tally.failures.values().next().map_or(Status::Ok, Failure::status))
}

/// What was counted and measured.
#[derive(Debug, Default)]
struct Tally {
    result: Option<AuthenticationResult>,
    latencies: Vec<Duration>,
    from_cache: usize,
    failed: BTreeMap<&'static str, usize>,
    /// The first of each kind.
    failures: BTreeMap<&'static str, Failure>,
}

/// Acquires as long as there is something left to do.
async fn work(application: Application, acquisition: Acquisition, left: Arc<AtomicUsize>) -> Tally {
    let mut tally = Tally::default();
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let started = Instant::now();
        let result = acquisition.acquire(&application, &Earlier::default()).await;
        tally.latencies.push(started.elapsed());
        match result {
            Ok(result) => {
                tally.from_cache += usize::from(result.metadata().token_source == TokenSource::Cache);
                tally.result.get_or_insert(result);
            }
            Err(failure) => tally.failed(failure),
        }
    }
    tally
}

impl Tally {
    fn failed(&mut self, failure: Failure) {
        *self.failed.entry(failure.kind()).or_default() += 1;
        self.failures.entry(failure.kind()).or_insert(failure);
    }

    fn add(&mut self, other: Self) {
        if self.result.is_none() {
            self.result = other.result;
        }
        self.latencies.extend(other.latencies);
        self.from_cache += other.from_cache;
        for (kind, count) in other.failed {
            *self.failed.entry(kind).or_default() += count;
        }
        for (kind, failure) in other.failures {
            self.failures.entry(kind).or_insert(failure);
        }
    }
}

/// What is told about many acquisitions. Times are in microseconds.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    count: usize,
    succeeded: usize,
    from_cache: usize,
    from_identity_provider: usize,
    /// How many of each kind of error.
    failed: BTreeMap<&'static str, usize>,
    elapsed_micros: u64,
    latency_micros: Percentiles,
}

/// The time that this share of the acquisitions took at most.
#[derive(Debug, PartialEq, Serialize)]
struct Percentiles {
    min: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Summary {
    fn new(tally: &mut Tally, elapsed: Duration) -> Self {
        let count = tally.latencies.len();
        let succeeded = count - tally.failed.values().sum::<usize>();
        Self {
            count,
            succeeded,
            from_cache: tally.from_cache,
            from_identity_provider: succeeded - tally.from_cache,
            failed: tally.failed.clone(),
            elapsed_micros: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            latency_micros: Percentiles::of(&mut tally.latencies),
        }
    }
}

impl Percentiles {
    /// By the nearest rank.
    fn of(latencies: &mut [Duration]) -> Self {
        latencies.sort_unstable();
        let rank = |percent: usize| {
            let rank = (latencies.len() * percent).div_ceil(100).saturating_sub(1);
            latencies.get(rank).map_or(0.0, |latency| latency.as_nanos() as f64 / 1000.0)
        };
        Self { min: rank(0), p50: rank(50), p90: rank(90), p99: rank(99), max: rank(100) }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, from_cache, from_identity_provider, .. } = self;
        let millis = self.elapsed_micros as f64 / 1000.0;
        write!(
            f,
            "{count} acquisitions in {millis:.1} ms: {from_identity_provider} from the authority, {from_cache} from the cache"
        )?;
        for (kind, count) in &self.failed {
            write!(f, ", {count} failed ({kind})")?;
        }
        let Percentiles { min, p50, p90, p99, max } = self.latency_micros;
        write!(f, "\nlatency in µs: min {min:.1}, p50 {p50:.1}, p90 {p90:.1}, p99 {p99:.1}, max {max:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_the_nearest_rank() {
        let mut latencies: Vec<_> = (1..=200).rev().map(Duration::from_micros).collect();
        let expected = Percentiles { min: 1.0, p50: 100.0, p90: 180.0, p99: 198.0, max: 200.0 };
        assert_eq!(Percentiles::of(&mut latencies), expected);
        let one = Percentiles::of(&mut [Duration::from_nanos(1500)]);
        assert_eq!(one, Percentiles { min: 1.5, p50: 1.5, p90: 1.5, p99: 1.5, max: 1.5 });
    }

    #[test]
    fn a_summary_counts_successes_and_failures() {
        let mut tally =
            Tally { from_cache: 2, latencies: vec![Duration::from_micros(5); 4], ..Tally::default() };
        tally.failed(Failure::usage("no"));
        let summary = Summary::new(&mut tally, Duration::from_millis(1));
        assert_eq!(
            summary.to_string(),
            "4 acquisitions in 1.0 ms: 1 from the authority, 2 from the cache, 1 failed (usage)\n\
             latency in µs: min 5.0, p50 5.0, p90 5.0, p99 5.0, max 5.0"
        );
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!(json["failed"], serde_json::json!({ "usage": 1 }));
        assert_eq!((&json["succeeded"], &json["latencyMicros"]["p50"]), (&3.into(), &5.0.into()));
    }
}
