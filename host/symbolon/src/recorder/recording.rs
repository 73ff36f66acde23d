//! Where events come from.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Began, Ended, Event, Outcome, Recorded, RecordedToken};
use crate::application::Inner;
use crate::engine::{Origin, Request, Scheme};
use crate::error::Result;
use crate::result::AuthenticationResult;

/// An acquisition that is recorded from its beginning to its end.
pub(crate) struct Recording {
    application: Arc<Inner>,
    origin: Origin,
    depth: u32,
    began: Instant,
    is_open: bool,
}

impl Recording {
    pub(crate) fn begin(
        application: &Arc<Inner>,
        origin: Origin,
        depth: u32,
        request: &Request,
        proactive: bool,
    ) -> Self {
        let options = request.options.as_ref();
        application.record(origin, depth, || {
            Event::Began(Began {
                scopes: &request.scopes,
                mtls_pop: request.scheme == Scheme::MtlsPop,
                forced: options.is_some_and(|options| options.force_refresh || options.claims.is_some()),
                proactive,
            })
        });
        Self { application: application.clone(), origin, depth, began: Instant::now(), is_open: true }
    }

    /// When it began.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    pub(crate) fn end(mut self, result: &Result<AuthenticationResult>) {
        self.is_open = false;
        let duration = self.began.elapsed();
        self.application.record(self.origin, self.depth, || {
            Event::Ended(Ended { outcome: Outcome::of(result), reused: false, duration })
        });
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if self.is_open {
            self.application.record(self.origin, self.depth, || Event::Abandoned);
        }
    }
}

impl Inner {
    /// Tells those who record. The event is made where there are any.
    pub(crate) fn record<'a>(&self, origin: Origin, depth: u32, event: impl FnOnce() -> Event<'a>) {
        if self.recorders.is_there() {
            let Origin { flow, correlation_id, number } = origin;
            let application = self.options.id();
            let of = Recorded { number, depth, application, flow, correlation_id };
            self.recorders.record(&of, &event());
        }
    }

    /// An earlier answer stands. How long that took isn't measured: a look at the clock takes as long.
    #[cold]
    pub(crate) fn record_reuse(&self, origin: Origin, result: &AuthenticationResult) {
        let outcome = Outcome::Token(RecordedToken(result));
        self.record(origin, 0, || Event::Ended(Ended { outcome, reused: true, duration: Duration::ZERO }));
    }
}
