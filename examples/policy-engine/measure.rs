//! What decisions take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::engine::{Application, Decision, PolicyEngine, Request, Stopped};

/// How many decisions are asked for in a second, whether those before have come or not.
const PER_SECOND: u64 = 250;

/// Asks for decisions of one application after the other, at an even pace, and gives how long each took from when it was due.
///
/// # Panics
///
/// Where one isn't what it should be.
pub(crate) async fn paced(
    engine: &Arc<PolicyEngine>,
    applications: &Arc<Vec<Application>>,
    decisions: usize,
) -> Vec<Duration> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (began, mut under_way) = (Instant::now(), JoinSet::new());
    for number in 0..decisions {
        let due =
            began + Duration::from_micros(1_000_000 / PER_SECOND) * u32::try_from(number).unwrap_or(u32::MAX);
        tokio::time::sleep_until(due.into()).await;
        let (engine, applications) = (engine.clone(), applications.clone());
        // A step that has no factor in common with their number visits all of them.
        let chosen = NEXT.fetch_add(1, Ordering::Relaxed) * 7919 % applications.len();
        under_way.spawn(async move {
            let decision = engine.decide(&applications[chosen], &a_request()).await;
            assert_eq!(decision, Ok(Decision::Allow), "a neighbour's decision");
            due.elapsed()
        });
    }
    under_way.join_all().await
}

/// Asks hostile policies for decisions without a pause until told to stop, and gives what became of it.
pub(crate) async fn hostile(
    engine: Arc<PolicyEngine>,
    application: Arc<Application>,
    stop: Arc<AtomicBool>,
) -> Outcomes {
    let mut outcomes = Outcomes::default();
    while !stop.load(Ordering::Relaxed) {
        match engine.decide(&application, &a_request()).await {
            Ok(Decision::Allow) => outcomes.decided += 1,
            Ok(Decision::Deny(why)) => outcomes.stolen = Some(why),
            Err(Stopped::Suspended) => outcomes.suspended += 1,
            Err(stopped) => {
                outcomes.stopped += 1;
                outcomes.last = Some(stopped);
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    outcomes
}

/// What became of a hostile policy's decisions.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) decided: usize,
    pub(crate) stopped: usize,
    pub(crate) suspended: usize,
    /// Why it was stopped last.
    pub(crate) last: Option<Stopped>,
    /// What it got that isn't its own.
    pub(crate) stolen: Option<String>,
}

pub(crate) fn a_request() -> Request {
    Request { method: "POST".to_owned(), caller: "alice".to_owned() }
}

/// The part of the durations below which `percent` of them are.
pub(crate) fn percentile(durations: &mut [Duration], percent: usize) -> Duration {
    durations.sort_unstable();
    let index = (durations.len() * percent / 100).min(durations.len().saturating_sub(1));
    durations.get(index).copied().unwrap_or_default()
}

/// The resident memory of this process, in bytes; nothing where the machine doesn't say.
pub(crate) fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok().map(|kilobytes| kilobytes * 1024)
}
