//! The second level of the cache: entries that outlive the process, or that processes share.
//!
//! The first level asks it where it has nothing itself, and tells it what comes and goes; what the first level has is found
//! without it. Each application has a [`SecondLevel`] of its own, which tells its entries from those of others.
//!
//! A second level is never in the way. None of its functions fails, and each comes to an end soon: one that can't be reached
//! finds nothing and keeps nothing, and says so in its events and figures.

use std::fmt;
use std::sync::Weak;

use futures_util::future::BoxFuture;

use super::Saved;

mod stored;

pub use stored::{
    Stored, StoredAccessToken, StoredAccount, StoredAppMetadata, StoredEntry, StoredIdToken,
    StoredRefreshToken,
};

/// A second level, as one application sees it.
pub trait SecondLevel: Send + Sync + fmt::Debug {
    /// Tells where other processes' removals go. Called once, before anything else.
    fn attach(&self, first_level: Weak<dyn FirstLevel>);

    /// Looks an entry up that nobody is about to bring.
    fn find<'a>(&'a self, wanted: Wanted<'a>) -> BoxFuture<'a, Option<Stored>>;

    /// Begins a flight: of all who want the same entry in this process, one calls this. Waits for a while where another
    /// process is about to bring it. Without alternatives nothing is looked up, and nobody is waited for.
    fn lead<'a>(&'a self, wanted: Wanted<'a>, flight: &'a str) -> BoxFuture<'a, Led>;

    /// Keeps what the first level was given. `lease` is that of the flight that brings it and ends when it is kept; what was removed since that flight
    /// began isn't kept.
    ///
    /// Ends when the entries are kept, or, as configured, when they are on their way.
    fn put<'a>(&'a self, lease: Option<Lease>, change: Change<'a>) -> BoxFuture<'a, ()>;

    /// Removes the entries of a group, here and in the first levels of all processes, and whatever flights that are under way
    /// will bring for it. Returns whether there was any.
    fn remove_group<'a>(&'a self, group: &'a str) -> BoxFuture<'a, bool>;

    /// The entries of a group.
    fn members<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Vec<Stored>>;
}

/// The first level of one application, as its second level sees it.
pub trait FirstLevel: Send + Sync {
    /// Another process has removed this group.
    fn group_removed(&self, group: &str);

    /// Removals of other processes may have been missed: whatever may have been removed is to go.
    fn removals_missed(&self);
}

/// Which entry is wanted. See [`Lookup`](super::Lookup), from which the fields are.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// Keys, in order of preference. An alternative is found when one entry holds all of its keys; an empty one never is.
    pub alternatives: &'a [Vec<String>],
    /// An access token that expires at this time or before is of no use. Unix seconds.
    pub expires_after: u64,
    /// An access token that expires later than this is corrupt. Unix seconds.
    pub expires_before: u64,
    /// An access token that was stored at this time or before is of no use: it is what shall be renewed. Unix seconds.
    pub stored_after: Option<u64>,
}

impl Wanted<'_> {
    /// Whether there is anything to look up.
    pub fn is_lookup(&self) -> bool {
        self.alternatives.iter().any(|keys| !keys.is_empty())
    }

    /// Whether an entry holds all keys of one of the alternatives, and serves.
    pub fn accepts(&self, stored: &Stored) -> bool {
        let holds = |keys: &Vec<String>| !keys.is_empty() && keys.iter().all(|key| stored.keys.contains(key));
        self.alternatives.iter().any(holds)
            && match &stored.entry {
                StoredEntry::AccessToken(token) => {
                    token.expires_on > self.expires_after
                        && token.expires_on <= self.expires_before
                        && self.stored_after.is_none_or(|time| token.cached_at > time)
                }
                _ => true,
            }
    }
}

impl fmt::Debug for Wanted<'_> {
    /// Leaves out the keys, which may tell who the user is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted")
            .field("expires_after", &self.expires_after)
            .field("expires_before", &self.expires_before)
            .field("stored_after", &self.stored_after)
            .finish_non_exhaustive()
    }
}

/// How a flight begins.
#[derive(Debug)]
pub enum Led {
    /// There is an entry: another process has brought it.
    Found(Box<Stored>),
    /// The caller brings it, and keeps the lease for as long as it takes.
    Lead(Lease),
}

/// What the second level remembers of a flight. Dropping it lets the flights of other processes begin.
#[derive(Default)]
pub struct Lease {
    begun: Option<u64>,
    guard: Option<Box<dyn Send + Sync>>,
}

impl Lease {
    /// A lease of a flight that begins now. `begun` is the number of the latest removal, if that is known; `guard` is
    /// dropped when the flight ends.
    pub fn new(begun: Option<u64>, guard: Option<Box<dyn Send + Sync>>) -> Self {
        Self { begun, guard }
    }

    /// The number of the latest removal before the flight began, if it is known.
    pub fn begun(&self) -> Option<u64> {
        self.begun
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("begun", &self.begun).field("locks", &self.guard.is_some()).finish()
    }
}

/// What changes at once: see [`put`](super::ApplicationCache::put).
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Their entries are removed before anything is stored.
    pub replaced_groups: &'a [String],
    /// In the order in which they are stored.
    pub entries: &'a [Saved<'a>],
}
