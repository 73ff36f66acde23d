//! What is measured with: processor time, resident memory, medians and percentiles.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub(crate) const ROUNDS: usize = 5;

/// The median over rounds of the processor time of one call, one after another.
pub(crate) async fn each<F, A>(calls: usize, acquire: F) -> f64
where
    F: Fn() -> A,
    A: IntoFuture<Output = symbolon::Result<symbolon::AuthenticationResult>>,
{
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let before = processor_time();
        for _ in 0..calls {
            std::hint::black_box(acquire().await.unwrap());
        }
        rounds.push((processor_time() - before).as_secs_f64() / calls as f64);
    }
    median(rounds)
}

/// The processor time of one of `requests` calls, of which `concurrency` are in flight.
pub(crate) async fn load<F, A>(concurrency: usize, requests: usize, call: F) -> f64
where
    F: Fn() -> A + Clone + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let left = Arc::new(AtomicUsize::new(requests));
    let before = processor_time();
    let workers: Vec<_> = (0..concurrency)
        .map(|_| {
            let (left, call) = (left.clone(), call.clone());
            tokio::spawn(async move {
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok()
                {
                    call().await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    (processor_time() - before).as_secs_f64() / requests as f64
}

/// How long calls took.
#[derive(Default)]
pub(crate) struct Latencies(Vec<f64>);

impl Latencies {
    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64());
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn sorted(mut self) -> Sorted {
        self.0.sort_by(f64::total_cmp);
        Sorted(self.0)
    }
}

/// The same, shortest first.
pub(crate) struct Sorted(Vec<f64>);

impl Sorted {
    /// What this share of the calls stayed below, in seconds.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let rank = (self.0.len() as f64 * percent / 100.0) as usize;
        self.0.get(rank).or(self.0.last()).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The three percentiles that rows show.
    pub(crate) fn shown(&self) -> String {
        let [half, most, nearly_all] = [50.0, 99.0, 99.9].map(|percent| nanos(self.percentile(percent)));
        format!("p50 {half}, p99 {most}, p99.9 {nearly_all}")
    }
}

/// The processor time of this process so far.
pub(crate) fn processor_time() -> Duration {
    // SAFETY: an all-zero `rusage` is one, and the call fills it in.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// The resident memory of this process, in bytes.
pub(crate) fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A time in a unit that fits.
pub(crate) fn nanos(seconds: f64) -> String {
    match seconds {
        _ if seconds < 1e-6 => format!("{:.0} ns", seconds * 1e9),
        _ if seconds < 1e-2 => format!("{:.1} µs", seconds * 1e6),
        _ => format!("{:.1} ms", seconds * 1e3),
    }
}
