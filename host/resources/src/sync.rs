//! Locks and atomics of the cache, named in one place: its model test puts those of a scheduler that tries many
//! interleavings here.

pub(crate) use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic};
