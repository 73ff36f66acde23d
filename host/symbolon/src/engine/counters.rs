//! What the engine did.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::builder::EngineStatistics;
use crate::error::GuestFailure;

/// Counts instances, each once in its life.
#[derive(Debug, Default)]
pub(super) struct Counters {
    fresh: AtomicU64,
    kept: AtomicU64,
    cpu_budget: AtomicU64,
    memory_limit: AtomicU64,
    stack_overflow: AtomicU64,
    trap: AtomicU64,
}

impl Counters {
    pub(super) fn started(&self, kept: bool) {
        count(if kept { &self.kept } else { &self.fresh });
    }

    pub(super) fn stopped(&self, failure: &GuestFailure) {
        count(match failure {
            GuestFailure::CpuBudget { .. } => &self.cpu_budget,
            GuestFailure::MemoryLimit { .. } => &self.memory_limit,
            GuestFailure::StackOverflow => &self.stack_overflow,
            GuestFailure::Trap(_) => &self.trap,
        });
    }

    pub(super) fn statistics(&self, in_flight: usize, max_in_flight: usize) -> EngineStatistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EngineStatistics {
            in_flight,
            max_in_flight,
            fresh_instances: read(&self.fresh),
            kept_instances: read(&self.kept),
            stopped_for_cpu: read(&self.cpu_budget),
            stopped_for_memory: read(&self.memory_limit),
            stopped_for_stack: read(&self.stack_overflow),
            trapped: read(&self.trap),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
