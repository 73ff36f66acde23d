//! The circuit: a store that fails is left alone for a while.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Opens after a few failures in a row; then one try is let through now and then.
#[derive(Debug, Default)]
pub(super) struct Circuit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
}

impl Circuit {
    /// Whether the store may be asked now.
    pub(super) fn admits(&self) -> bool {
        let mut state = self.lock();
        match state.open_until {
            None => true,
            Some(time) if Instant::now() < time => false,
            Some(_) => {
                // One may try; the others wait for what comes of it.
                state.open_until = Some(Instant::now() + pause(state.failures));
                true
            }
        }
    }

    /// Returns whether it was open.
    pub(super) fn succeeded(&self) -> bool {
        let mut state = self.lock();
        state.failures = 0;
        state.open_until.take().is_some()
    }

    /// The store answers elsewhere: the next one may try at once.
    pub(super) fn answers(&self) {
        if let Some(until) = &mut self.lock().open_until {
            *until = Instant::now();
        }
    }

    /// Returns whether it opens by this.
    pub(super) fn failed(&self) -> bool {
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURES {
            return false;
        }
        let until = Instant::now() + pause(state.failures);
        state.open_until.replace(until).is_none()
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().open_until.is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(FAILURES).min(5)).min(LAST_PAUSE)
}

const FAILURES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_lets_one_try() {
        let circuit = Circuit::default();
        assert!(!circuit.failed() && !circuit.failed());
        circuit.succeeded();
        assert!(!circuit.failed() && !circuit.failed() && circuit.admits());
        assert!(circuit.failed(), "the third in a row opens it");
        assert!(!circuit.failed(), "and says so once");
        assert!(!circuit.admits());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(circuit.admits() && !circuit.admits(), "one try");
        circuit.answers();
        assert!(circuit.admits() && !circuit.admits(), "one more");
        assert!(circuit.succeeded() && circuit.admits() && !circuit.is_open());
        circuit.answers();
        assert!(circuit.admits() && !circuit.is_open());
    }
}
