//! Locks, atomics and threads' own memory of the cache, named in one place: its model test puts those of a scheduler that tries many
//! interleavings here.

pub(crate) use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic};
pub(crate) use std::thread_local;
