use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::error::{Phase, TransportError, TransportErrorKind};

/// The end of one attempt: its own limit, or that of the whole acquisition, whichever comes first. One timer serves the
/// attempt from the connection to the last byte.
#[derive(Debug)]
pub(super) struct Deadline {
    began: Instant,
    /// Whether the acquisition's deadline comes first.
    of_acquisition: bool,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    /// The end of an attempt that begins now.
    pub(super) fn new(attempt: Duration, acquisition: Instant) -> Self {
        let began = Instant::now();
        let own = began + attempt;
        let of_acquisition = acquisition <= own;
        let end = if of_acquisition { acquisition } else { own };
        Self { began, of_acquisition, timer: Box::pin(sleep_until(end)) }
    }

    /// Waits for the end.
    pub(super) async fn reached(&mut self) {
        self.timer.as_mut().await;
    }

    pub(super) fn is_past(&self) -> bool {
        self.timer.deadline() <= self.began
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(context)
    }

    /// The error of an attempt that was cut off while it waited for `phase`.
    pub(super) fn passed(&self, authority: &str, phase: Phase) -> TransportError {
        let (kind, whose) = match self.of_acquisition {
            true => (TransportErrorKind::DeadlineExceeded(phase), "the acquisition's deadline"),
            false => (TransportErrorKind::AttemptTimeout(phase), "the limit of one attempt"),
        };
        let waited = self.timer.deadline().saturating_duration_since(self.began).as_secs_f32();
        let error = TransportError::new(
            kind,
            authority,
            format!("{whose} passed after {waited:.1} s, waiting for {phase}"),
        );
        match phase {
            Phase::Connecting => error,
            Phase::WaitingForHeaders | Phase::ReadingBody => error.sent(),
        }
    }
}
