//! The answers that a thread asks for again and again, in front of the map that all threads share: to find one there takes
//! no lock, and writes to no memory that another thread reads.
//!
//! A thread has a few places, and a request has one of them. An answer gets it when the same request comes twice with no
//! other between them, so that many different requests in turn leave the places alone. What stands there stands only as long
//! as in the map: while its entry is in the cache, its time isn't over and its certificate is in use.

use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::sync::thread_local;

use super::cached::Cached;
use super::reuse::{Record, RequestDigest, Reused};

/// An entry of the cache, for as long as it is held.
#[derive(Clone)]
pub enum Held {
    /// By the count that all threads share.
    Shared(Arc<Cached>),
    /// By a count that belongs to one thread's place. Others may hold it too, and then share it.
    Local(Arc<Recounted>),
}

/// An entry that is counted once more, for one thread.
pub struct Recounted(Arc<Cached>);

impl Held {
    /// The count that all share.
    pub fn shared(&self) -> &Arc<Cached> {
        match self {
            Self::Shared(entry) => entry,
            Self::Local(entry) => &entry.0,
        }
    }
}

impl Deref for Held {
    type Target = Cached;

    fn deref(&self) -> &Cached {
        self.shared()
    }
}

impl From<Arc<Cached>> for Held {
    fn from(entry: Arc<Cached>) -> Self {
        Self::Shared(entry)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The answer to a request, if this thread has one that stands now.
pub(super) fn get(request: RequestDigest, now_unix_ms: u64, generation: Option<u64>) -> Option<Reused> {
    at(request, |place| {
        let record = place.record.as_ref().filter(|record| record.request == request)?;
        if !record.entry.0.is_alive() {
            // The token is to be gone from memory, too.
            place.record = None;
            return None;
        }
        let refresh_due = record.stands(&record.entry.0, now_unix_ms, generation)?;
        Some(Reused { entry: Held::Local(Arc::clone(&record.entry)), refresh_due })
    })
}

/// The entry of an answer, which is kept for the next time if this isn't the first time in a row.
pub(super) fn hold(record: Record<Arc<Cached>>) -> Held {
    let is_again = at(record.request, |place| place.last.replace(record.request)) == Some(record.request);
    if !is_again {
        return Held::Shared(record.entry);
    }
    let record = record.map(|entry| Arc::new(Recounted(entry)));
    let entry = Arc::clone(&record.entry);
    at(record.request, |place| place.record.replace(record));
    Held::Local(entry)
}

/// Nothing where the thread is at its end.
fn at<T>(request: RequestDigest, f: impl FnOnce(&mut Place) -> Option<T>) -> Option<T> {
    let found =
        PLACES.try_with(|places| f(&mut places.get(request.place() % PLACES_PER_THREAD)?.borrow_mut()));
    found.ok().flatten()
}

#[derive(Default)]
struct Place {
    /// The last request that was offered.
    last: Option<RequestDigest>,
    record: Option<Record<Arc<Recounted>>>,
}

thread_local! {
    static PLACES: [RefCell<Place>; PLACES_PER_THREAD] = std::array::from_fn(|_| RefCell::default());
}

/// 5 kB, and at most as many tokens that outlive the cache's for a while.
const PLACES_PER_THREAD: usize = 64;
