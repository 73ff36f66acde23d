//! What is told of acquisitions while they happen, to whoever records them: for metrics, for spans, for the trace of one.
//!
//! No event holds a secret. What might be one is left out where the event is made; a request tells the names of its fields
//! and the values of those that are known to hold none ([`RecordedRequest`]).

mod event;
mod recording;
mod request;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use symbolon_resources::cache::ApplicationId;
use uuid::Uuid;

pub use self::event::{
    Began, CacheAnswer, CredentialSelected, CredentialUnavailable, Ended, Event, Outcome, RecordedFailure,
    RecordedToken, RequestEnded,
};
pub(crate) use self::recording::Recording;
pub use self::request::{RecordedRequest, RecordedValue};

/// Is told what happens on the way to a token.
///
/// The methods run in the place of the acquisition itself: they must not block, and should be quick. Where nobody records,
/// nothing is made to be recorded: a token of the cache costs a comparison more.
pub trait Recorder: Send + Sync {
    /// Something happened to this acquisition.
    fn record(&self, of: &Recorded<'_>, event: &Event<'_>);
}

impl<F: Fn(&Recorded<'_>, &Event<'_>) + Send + Sync> Recorder for F {
    fn record(&self, of: &Recorded<'_>, event: &Event<'_>) {
        self(of, event);
    }
}

/// Which acquisition an event is of.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Recorded<'a> {
    /// The number of the acquisition in this process, from 1 on. One inside another, for a credential that needs a token of
    /// its own, has the number of the outermost one.
    pub number: u64,
    /// How many others it is inside of.
    pub depth: u32,
    /// Whose it is.
    pub application: &'a ApplicationId,
    /// What was called, such as `for-client`; `credential` inside another one, `downstream-api` for the call of an API.
    pub flow: &'static str,
    /// The id that correlates it with the authority's logs.
    pub correlation_id: Uuid,
}

/// Those who record.
#[derive(Clone, Default)]
pub(crate) struct Recorders(Option<Arc<[Arc<dyn Recorder>]>>);

impl Recorders {
    /// With a further one.
    pub(crate) fn and(self, later: Arc<dyn Recorder>) -> Self {
        let earlier = self.0.as_deref().unwrap_or_default();
        Self(Some(earlier.iter().cloned().chain([later]).collect()))
    }

    /// Whether anybody records.
    #[inline]
    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn record(&self, of: &Recorded<'_>, event: &Event<'_>) {
        for recorder in self.0.as_deref().unwrap_or_default() {
            recorder.record(of, event);
        }
    }
}

impl fmt::Debug for Recorders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recorders").field(&self.0.as_deref().map_or(0, <[_]>::len)).finish()
    }
}

/// The number of an acquisition that begins.
pub(crate) fn next_number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}
