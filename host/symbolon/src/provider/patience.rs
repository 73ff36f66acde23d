//! How much of the machine's time a component may waste: one that traps, spins or wants too much memory in each call would
//! have a processor to itself otherwise.

use std::time::Duration;

use symbolon_resources::credentials::{ComponentError, ComponentProblem};
use tokio::time::Instant;

/// An account of the time of calls that ended in a trap. It is forgiven as time goes by.
#[derive(Default)]
pub(super) struct Patience {
    /// When all of it is forgiven.
    forgiven_at: Option<Instant>,
}

impl Patience {
    /// Takes note of a call that came to nothing.
    pub(super) fn wasted(&mut self, time: Duration) {
        let now = Instant::now();
        let from = self.forgiven_at.map_or(now, |before| before.max(now));
        self.forgiven_at = Some(from + time.saturating_mul(FORGETTING));
    }

    /// # Errors
    ///
    /// Where too much was wasted of late, with the time until it may be called again.
    pub(super) fn check(&self) -> Result<(), ComponentError> {
        let left =
            self.forgiven_at.map(|at| at.saturating_duration_since(Instant::now())).unwrap_or_default();
        match left.checked_sub(GRANTED.saturating_mul(FORGETTING)) {
            Some(pause) if !pause.is_zero() => {
                let message = "it trapped or went beyond its limits too often, and is left alone for a while";
                Err(ComponentError::new(ComponentProblem::Component, message).with_retry_after(pause))
            }
            _ => Ok(()),
        }
    }
}

/// What is granted at once: a second, so that a component that fails once is started again at once.
const GRANTED: Duration = Duration::from_secs(1);

/// How many times as long it takes to forgive as it took to waste: in the long run it has a tenth of a processor.
const FORGETTING: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_wasted_is_forgiven_tenfold_later() {
        let mut patience = Patience::default();
        patience.wasted(Duration::from_millis(900));
        assert!(patience.check().is_ok(), "less than a second");
        patience.wasted(Duration::from_millis(600));
        let error = patience.check().expect_err("half a second too much");
        assert!(error.to_string().contains("left alone"), "{error}");
        tokio::time::advance(Duration::from_millis(4_900)).await;
        assert!(patience.check().is_err());
        tokio::time::advance(Duration::from_millis(200)).await;
        assert!(patience.check().is_ok(), "ten times as long");
        tokio::time::advance(Duration::from_secs(3600)).await;
        patience.wasted(Duration::from_millis(1_100));
        assert!(patience.check().is_err(), "nothing is saved up");
    }
}
