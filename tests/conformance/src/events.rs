//! The ids of the events that are logged.

use std::sync::{Arc, Mutex};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::with_default,
};

/// What a task of this thread gives, and the ids (`event_id`) of the warnings that it logs, in ascending order.
pub(crate) fn capture<T>(task: impl FnOnce() -> T) -> (T, Vec<u64>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let result = with_default(Ids(Arc::clone(&seen)), task);
    let mut ids = seen.lock().map(|seen| seen.clone()).unwrap_or_default();
    ids.sort_unstable();
    (result, ids)
}

struct Ids(Arc<Mutex<Vec<u64>>>);

impl Subscriber for Ids {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut IdOf(&self.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct IdOf<'a>(&'a Mutex<Vec<u64>>);

impl Visit for IdOf<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "event_id"
            && let Ok(mut seen) = self.0.lock()
        {
            seen.push(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
