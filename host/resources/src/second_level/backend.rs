//! What a store must be able to do: it keeps bytes under names, for a time, and knows nothing of what they are.

use std::fmt;

/// A store of sealed values.
pub(super) trait Backend: Send + Sync + fmt::Debug + Sized + 'static {
    /// Whether other processes use it at the same time.
    const SHARED: bool;

    /// The values under these names, in their order.
    fn read(&self, names: &[String]) -> impl Future<Output = Result<Vec<Option<Vec<u8>>>, Failure>> + Send;

    /// Does all of this, in the order given as far as one name is concerned.
    fn write(&self, writes: Vec<Write>) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The members of a set that haven't expired; at most [`MAX_MEMBERS`].
    fn members(&self, set: &str) -> impl Future<Output = Result<Vec<String>, Failure>> + Send;

    /// The number of the latest removal, above zero.
    fn latest_removal(&self) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Tells all processes of a removal. Returns its number, which is higher than that of those before.
    fn log_removal(&self, message: &[u8]) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// The removals after this one. Waits for the next for a second or so.
    fn removals(&self, after: u64) -> impl Future<Output = Result<Removals, Failure>> + Send;

    /// Takes a lock, if nobody has it, until `lease_ms` have passed.
    fn lock(
        &self,
        name: &str,
        token: &str,
        lease_ms: u64,
    ) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// Gives it back, if it still is that of the token.
    fn unlock(&self, name: &str, token: &str) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// A change of a store.
#[derive(Debug)]
pub(super) enum Write {
    /// Puts a value under a name.
    Set { name: String, value: Vec<u8>, ttl_ms: u64 },
    /// The same if there is none.
    SetIfAbsent { name: String, value: Vec<u8>, ttl_ms: u64 },
    /// Lets a value live for at least this long.
    Extend { name: String, ttl_ms: u64 },
    /// Removes what is under these names.
    Delete { names: Vec<String> },
    /// Adds a member to a set.
    AddMember { set: String, member: String, ttl_ms: u64 },
    /// Takes members out of a set.
    RemoveMembers { set: String, members: Vec<String> },
}

/// What was removed by others.
#[derive(Debug, Default)]
pub(super) struct Removals {
    /// Number and message of each.
    pub(super) messages: Vec<(u64, Vec<u8>)>,
    /// Whether there were some that can't be told any more.
    pub(super) missed: bool,
    /// The number from which to go on.
    pub(super) latest: u64,
}

/// Why a store did not do what it was asked. Its text holds nothing of names, values or passwords.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) what: String,
    /// Whether the store answered: then it can be asked for something else.
    pub(super) answered: bool,
}

/// How many members of a set are looked at.
pub(super) const MAX_MEMBERS: usize = 10_000;
