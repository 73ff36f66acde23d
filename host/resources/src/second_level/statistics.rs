//! What a second level did.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! statistics {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a second level did so far.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct SecondLevelStatistics {
            $($(#[$doc])* pub $name: u64,)*
            /// Whether the store is left alone at present because it failed.
            pub circuit_open: bool,
        }

        impl SecondLevelStatistics {
            /// The sum of two.
            pub(super) fn plus(self, other: Self) -> Self {
                Self {
                    $($name: self.$name + other.$name,)*
                    circuit_open: self.circuit_open || other.circuit_open,
                }
            }
        }

        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: AtomicU64,)*
        }

        impl Counters {
            pub(super) fn statistics(&self, circuit_open: bool) -> SecondLevelStatistics {
                SecondLevelStatistics { $($name: self.$name.load(Ordering::Relaxed),)* circuit_open }
            }
        }
    };
}

statistics! {
    /// Look-ups that found an entry.
    hits,
    /// Look-ups that found none.
    misses,
    /// Entries written.
    writes,
    /// Entries that weren't written: too many writes were under way, the store failed, or they had been removed.
    dropped_writes,
    /// Operations that failed or took too long.
    failures,
    /// Operations that weren't begun, because the store had failed before.
    skipped,
    /// Values that are no entries: damaged, moved, sealed with an unknown key, or put there by somebody else.
    refused_values,
    /// Times that a flight waited for that of another process.
    waits,
    /// Removals that were told to other processes.
    removals_sent,
    /// Removals that other processes told.
    removals_received,
}

pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

pub(super) fn add(counter: &AtomicU64, number: usize) {
    counter.fetch_add(number as u64, Ordering::Relaxed);
}
