//! When a source is asked again, and after what pause. As MSAL does.

use super::source::Source;
use crate::error::Error;
use crate::response::REQUEST_TIMEOUT;

/// The retries of one request.
pub(super) struct Retries {
    is_imds: bool,
    /// How many there were.
    done: u32,
    /// How many there may be; the first failure decides.
    limit: Option<u32>,
}

impl Retries {
    pub(super) fn of(source: Source) -> Retries {
        Retries { is_imds: source == Source::Imds, done: 0, limit: None }
    }

    /// The pause before the next attempt, in milliseconds; none where no further attempt is made.
    ///
    /// The instance metadata service is gone (410) while it is updated, which takes up to 70 seconds. Its other failures
    /// are given 1, 2 and 4 seconds; those of the other sources a second each, or what they ask for.
    pub(super) fn pause_ms(&mut self, error: &Error) -> Option<u64> {
        let is_gone = self.is_imds && error.status == Some(GONE);
        let limit = *self.limit.get_or_insert(if is_gone { RETRIES_WHILE_GONE } else { RETRIES });
        if self.done >= limit || !self.may_cure(error) {
            return None;
        }
        let pause_ms = match self.is_imds {
            true if is_gone => PAUSE_WHILE_GONE_MS,
            true => (PAUSE_MS << self.done).min(LONGEST_PAUSE_MS),
            false => error.retry_after_ms.unwrap_or_default().max(PAUSE_MS),
        };
        self.done += 1;
        Some(pause_ms)
    }

    fn may_cure(&self, error: &Error) -> bool {
        match error.status {
            Some(404 | 408 | 429 | 500 | 503 | 504) => true,
            Some(GONE | 500..=599) => self.is_imds,
            Some(_) => false,
            None => error.code == REQUEST_TIMEOUT,
        }
    }
}

const GONE: u16 = 410;

const RETRIES: u32 = 3;

const RETRIES_WHILE_GONE: u32 = 7;

const PAUSE_MS: u64 = 1000;

const LONGEST_PAUSE_MS: u64 = 4000;

const PAUSE_WHILE_GONE_MS: u64 = 10_000;
