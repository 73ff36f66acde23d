//! Instances that an application keeps for its next acquisitions, where it asks for that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use wasmtime::Store;

use super::shell::Guest;
use super::state::State;

/// How many an application keeps: what is idle holds memory, about 64 KiB each.
const KEPT: usize = 64;

/// An instance of the guest between two acquisitions.
pub(super) struct Instance {
    pub(super) store: Store<State>,
    pub(super) guest: Guest,
}

/// The instances of one application. By default it keeps none, so that each acquisition has a fresh one.
#[derive(Default)]
pub(crate) struct Instances {
    keeps: AtomicBool,
    kept: Mutex<Vec<Instance>>,
}

impl Instances {
    /// Keeps instances from now on, or lets go of those that are kept.
    pub(crate) fn keep(&self, keep: bool) {
        self.keeps.store(keep, Ordering::Relaxed);
        if !keep {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    pub(super) fn take(&self) -> Option<Instance> {
        match self.keeps.load(Ordering::Relaxed) {
            true => self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop(),
            false => None,
        }
    }

    pub(super) fn put(&self, instance: Instance) {
        if self.keeps.load(Ordering::Relaxed) && instance.guest.may_be_kept() {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < KEPT {
                kept.push(instance);
            }
        }
    }
}
