//! The trace of acquisitions: a sequence of steps for each, as JSON or as a page.

mod diagram;
mod page;
mod step;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use symbolon::{Clock, Event, Recorded, Recorder, SystemClock};
use tokio::time::Instant;
use uuid::Uuid;

use self::step::{Happening, Step};

/// Keeps the traces of the latest acquisitions.
pub struct TraceLog {
    limit: usize,
    is_enabled: AtomicBool,
    kept: Mutex<VecDeque<Kept>>,
}

/// An acquisition with the time that its steps are counted from.
struct Kept {
    began: Instant,
    acquisition: Acquisition,
}

/// What happened to one acquisition, from its beginning to its end, with those inside it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Acquisition {
    /// Its number in the process.
    pub number: u64,
    /// Whose it is.
    pub application: String,
    /// What was called, such as `for-client`.
    pub flow: &'static str,
    /// The id that correlates it with the authority's logs.
    pub correlation_id: Uuid,
    /// When it began, in milliseconds since 1970-01-01T00:00:00Z.
    pub began_unix_ms: u64,
    /// How often in a row an earlier answer was given again; 1 for what isn't such an answer.
    pub times: u64,
    steps: Vec<Step>,
    /// How many steps were left out, because there are too many.
    pub left_out: u64,
}

/// The traces of some acquisitions, in the order in which they began.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// The version of the form: 1. Members may be added without another one.
    version: u32,
    /// Who wrote it.
    generator: &'static str,
    acquisitions: Vec<Acquisition>,
}

impl TraceLog {
    /// Keeps up to `limit` acquisitions; with further ones the oldest go.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), is_enabled: AtomicBool::new(true), kept: Mutex::default() }
    }

    /// Keeps traces from now on, or lets go of them and keeps none.
    pub fn enable(&self, enable: bool) {
        self.is_enabled.store(enable, Ordering::Relaxed);
        if !enable {
            self.lock().clear();
        }
    }

    /// Whether it keeps traces. The default is yes.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled.load(Ordering::Relaxed)
    }

    /// Everything that is kept.
    pub fn trace(&self) -> Trace {
        self.of(|_| true)
    }

    /// Those that have this correlation id; nothing where there is none.
    pub fn correlated(&self, id: Uuid) -> Option<Trace> {
        let trace = self.of(|acquisition| acquisition.correlation_id == id);
        (!trace.acquisitions.is_empty()).then_some(trace)
    }

    fn of(&self, wanted: impl Fn(&Acquisition) -> bool) -> Trace {
        let kept = self.lock();
        let acquisitions = kept.iter().map(|kept| &kept.acquisition).filter(|kept| wanted(kept)).cloned();
        let acquisitions = acquisitions.collect();
        Trace { version: 1, generator: concat!("symbolon ", env!("CARGO_PKG_VERSION")), acquisitions }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder for TraceLog {
    fn record(&self, of: &Recorded<'_>, event: &Event<'_>) {
        if !self.is_enabled() {
            return;
        }
        let Some(happening) = Happening::of(event) else { return };
        let mut kept = self.lock();
        if happening.is_reuse()
            && let Some(Kept { acquisition: last, .. }) = kept.back_mut()
            && last.is_reuse_of(of)
        {
            (last.times, last.correlation_id) = (last.times + 1, of.correlation_id);
            return;
        }
        let at = match kept.iter().rposition(|kept| kept.acquisition.number == of.number) {
            Some(at) => at,
            None => {
                if kept.len() >= self.limit {
                    kept.pop_front();
                }
                kept.push_back(Kept::new(of));
                kept.len() - 1
            }
        };
        if let Some(kept) = kept.get_mut(at) {
            kept.push(of, happening);
        }
    }
}

impl std::fmt::Debug for TraceLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceLog").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Kept {
    fn new(of: &Recorded<'_>) -> Self {
        let acquisition = Acquisition {
            number: of.number,
            application: of.application.to_string(),
            flow: of.flow,
            correlation_id: of.correlation_id,
            began_unix_ms: SystemClock.now_unix_ms(),
            times: 1,
            steps: Vec::new(),
            left_out: 0,
        };
        Self { began: Instant::now(), acquisition }
    }

    fn push(&mut self, of: &Recorded<'_>, happening: Happening) {
        if self.acquisition.steps.len() >= MAX_STEPS {
            self.acquisition.left_out += 1;
            return;
        }
        let inside = (of.depth > 0).then(|| of.application.to_string());
        let at_micros = micros(self.began.elapsed());
        self.acquisition.steps.push(Step { at_micros, depth: of.depth, inside, happening });
    }
}

impl Acquisition {
    /// Whether it is the same call of the same application, answered by an earlier answer.
    fn is_reuse_of(&self, of: &Recorded<'_>) -> bool {
        let is_reuse = self.steps.first().is_some_and(|step| step.happening.is_reuse());
        is_reuse && self.flow == of.flow && self.application == of.application.as_str()
    }
}

impl Trace {
    /// The trace as JSON, in the form that `docs/trace.md` describes.
    ///
    /// # Errors
    ///
    /// None is known.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// The trace as one page of HTML that needs nothing but itself: a sequence diagram, the steps, and the requests to be
    /// copied.
    pub fn to_html(&self) -> String {
        page::html(self)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// How many steps of one acquisition are kept. One over the network has a dozen, an agent's with discovery some fifty.
const MAX_STEPS: usize = 1_000;
