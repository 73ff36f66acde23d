use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::error::{Phase, TransportError, TransportErrorKind};
use super::request_body::Activity;

/// The end of one attempt. One timer serves it from the connection to the last byte.
#[derive(Debug)]
pub(super) struct Deadline {
    began: Instant,
    /// When it ends, whatever happens, and by whose rule.
    end: Option<(Instant, Rule)>,
    /// How long nothing may happen.
    idle: Option<Idle>,
    timer: Pin<Box<Sleep>>,
}

/// By what an attempt ends.
#[derive(Clone, Copy, Debug)]
enum Rule {
    Attempt,
    Acquisition,
    Call,
}

#[derive(Debug)]
struct Idle {
    limit: Duration,
    /// When something last came.
    last: Instant,
    /// When a part of the request last went out.
    sent: Option<Arc<Activity>>,
}

impl Idle {
    fn end(&self) -> Instant {
        let sent = self.sent.as_ref().map(|sent| sent.last());
        self.last.max(sent.unwrap_or(self.last)) + self.limit
    }
}

impl Deadline {
    /// The end of an attempt that begins now: its own limit, or that of the whole acquisition, whichever comes first.
    pub(super) fn new(attempt: Duration, acquisition: Instant) -> Self {
        let began = Instant::now();
        let own = began + attempt;
        let (end, rule) = match acquisition <= own {
            true => (acquisition, Rule::Acquisition),
            false => (own, Rule::Attempt),
        };
        Self { began, end: Some((end, rule)), idle: None, timer: Box::pin(sleep_until(end)) }
    }

    /// The end of an attempt within a call, if that has any, or as soon as nothing happens for so long.
    pub(super) fn of_call(end: Option<Instant>, idle: Duration, sent: Option<Arc<Activity>>) -> Self {
        let began = Instant::now();
        let idle = Idle { limit: idle, last: began, sent };
        let first = end.map_or(idle.end(), |end| end.min(idle.end()));
        let timer = Box::pin(sleep_until(first));
        Self { began, end: end.map(|end| (end, Rule::Call)), idle: Some(idle), timer }
    }

    /// Waits for the end.
    pub(super) async fn reached(&mut self) {
        poll_fn(|context| self.poll(context)).await;
    }

    pub(super) fn is_past(&self) -> bool {
        self.end.is_some_and(|(end, _)| end <= self.began)
    }

    /// Takes note that something came.
    pub(super) fn progressed(&mut self) {
        if let Some(idle) = &mut self.idle {
            idle.last = Instant::now();
        }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let Some(idle) = &self.idle else { return Poll::Ready(()) };
            let next = self.end.map_or(idle.end(), |(end, _)| end.min(idle.end()));
            if next <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(next);
        }
    }

    /// The error of an attempt that was cut off while it waited for `phase`.
    pub(super) fn passed(&self, authority: &str, phase: Phase) -> TransportError {
        let now = Instant::now();
        let rule = self.end.filter(|(end, _)| *end <= now || self.idle.is_none()).map(|(_, rule)| rule);
        let (kind, whose) = match rule {
            Some(Rule::Acquisition) => {
                (TransportErrorKind::DeadlineExceeded(phase), "the acquisition's deadline")
            }
            Some(Rule::Call) => (TransportErrorKind::DeadlineExceeded(phase), "the call's deadline"),
            Some(Rule::Attempt) => (TransportErrorKind::AttemptTimeout(phase), "the limit of one attempt"),
            None => (TransportErrorKind::IdleTimeout(phase), "the limit of doing nothing"),
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
