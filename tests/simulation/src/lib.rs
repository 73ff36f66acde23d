//! Symbolon's protocol core, cache, facts and reuse map in simulated time, on a simulated network, before an authority that
//! knows what it gave to whom. Everything that is drawn comes from the seed, so that a run can be repeated to the last byte.
//!
//! Three applications, of which two are the same client, ask for tokens by all flows that the cache has a part in: alone and in
//! crowds, patiently and not. Meanwhile requests are refused, lost, answered too late, twice or in pieces; the authority asks for
//! pauses; users are signed out; processes are stopped; certificates are replaced; entries are evicted; the clock jumps.
//!
//! What must hold is checked for each token and each request, from outside, by a model of its own:
//!
//! * A token is the application's own, for the directory, the user, the scope and the certificate that were asked for.
//! * It hasn't expired, and isn't believed to live for longer than it does.
//! * What was stopped or removed brings nothing any more; what wasn't goes on: no refresh token is lost, and none that is good
//!   once is sent twice.
//! * One request at a time is under way for the same thing, none in a pause that the authority asked for, and a crowd that asks
//!   for the same costs one.
//! * Nobody waits for ever. When the faults are over, everybody gets tokens.
#![allow(clippy::indexing_slicing, reason = "a simulation ends where it is wrong")]

mod authority;
mod entries;
mod executor;
mod host;
mod network;
mod random;
mod reference;
mod script;
mod want;
mod world;

/// Runs the simulation of a seed. Returns what stands for all that happened: the same for the same seed.
///
/// # Errors
///
/// What must not happen, did: what happened before it, one event a line, and what it was.
pub fn run(seed: u64) -> Result<u64, String> {
    script::run(seed)
}
