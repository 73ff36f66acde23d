//! Pauses that an authority asked for. They outlive the acquisition as facts, so that the next one keeps them before it
//! signs and sends anything.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::error::{Error, ErrorClass, ErrorKind};

/// A pause that the authority asked for, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When it ends, in Unix milliseconds; 0 where there is none (yet).
    pub until: u64,
    /// When it was asked for, in Unix milliseconds.
    pub at: u64,
    /// The status of the answer that asked for it.
    pub status: u16,
    /// What was refused: the key of the request.
    pub key: String,
    /// The code of the refusal.
    pub code: String,
}

impl Mark {
    /// The mark of a refusal; none where no pause is asked for.
    pub fn of(error: &Error, key: &str, now: u64) -> Option<Mark> {
        let pause_ms = error.retry_after_ms.filter(|pause_ms| *pause_ms > 0)?;
        let (status, code) = (error.status?, error.code.clone());
        Some(Mark { until: now.saturating_add(pause_ms), at: now, status, key: key.into(), code })
    }

    /// As the client's: two kinds of requests that are refused within [`WIDENING_MS`] are a pause for all of the client's.
    pub fn of_client(&self, earlier: Option<&Mark>) -> Mark {
        let is_wide = earlier.is_some_and(|earlier| {
            earlier.key != self.key && self.at.saturating_sub(earlier.at) <= WIDENING_MS
        });
        let until = if is_wide { self.until } else { 0 };
        Mark { until: until.max(earlier.map_or(0, |earlier| earlier.until)), ..self.clone() }
    }

    /// For how long a client's mark is kept, in milliseconds.
    pub fn ttl_ms(&self) -> u64 {
        self.until.saturating_sub(self.at).max(WIDENING_MS)
    }

    /// The error of what isn't sent because of it; none where it asks for nothing.
    pub fn error(&self, host: &str, now: u64) -> Option<Error> {
        if self.until == 0 {
            return None;
        }
        let left_ms = self.until.saturating_sub(now).max(1);
        let message = format!(
            "{host} asked for a pause (status {}), of which {} s are left; nothing was sent.",
            self.status,
            left_ms.div_ceil(1000)
        );
        Some(Error {
            class: ErrorClass::ThrottledService,
            retryable: true,
            retry_after_ms: Some(left_ms),
            status: Some(self.status),
            ..Error::new(ErrorKind::Throttled, self.code.as_str(), message)
        })
    }

    /// As a fact.
    pub fn encode(&self) -> Vec<u8> {
        format!("{} {} {} {} {}", self.until, self.at, self.status, self.key, self.code).into_bytes()
    }

    /// From a fact; none for anything else.
    pub fn decode(fact: &[u8]) -> Option<Mark> {
        let mut parts = core::str::from_utf8(fact).ok()?.splitn(5, ' ');
        Some(Mark {
            until: parts.next()?.parse().ok()?,
            at: parts.next()?.parse().ok()?,
            status: parts.next()?.parse().ok()?,
            key: parts.next()?.into(),
            code: parts.next()?.into(),
        })
    }
}

/// How close together refusals of a client's different requests are a refusal of the client, in milliseconds.
pub const WIDENING_MS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mark(key: &str, at: u64, pause_ms: u64) -> Mark {
        Mark {
            until: at + pause_ms,
            at,
            status: 429,
            key: key.into(),
            code: "temporarily unavailable".into(),
        }
    }

    #[test]
    fn a_refusal_without_a_pause_leaves_no_mark() {
        let error = |retry_after_ms| Error {
            retry_after_ms,
            status: Some(429),
            ..Error::new(ErrorKind::Throttled, "request_throttled", "")
        };
        assert_eq!(Mark::of(&error(None), "k", 1), None);
        assert_eq!(Mark::of(&error(Some(0)), "k", 1), None);
        let mark = Mark::of(&error(Some(7_000)), "k", 1).expect("a mark");
        assert_eq!((mark.until, mark.code.as_str()), (7_001, "request_throttled"));
    }

    #[test]
    fn two_kinds_of_requests_in_ten_seconds_are_all() {
        let first = mark("one", 1_000, 60_000).of_client(None);
        assert_eq!(first.error("h", 1_000), None);
        assert_eq!(mark("one", 2_000, 60_000).of_client(Some(&first)).until, 0);
        assert_eq!(mark("two", 11_001, 60_000).of_client(Some(&first)).until, 0);
        let wide = mark("two", 11_000, 60_000).of_client(Some(&first));
        let error = wide.error("h", 12_500).expect("a pause");
        assert_eq!(
            (error.kind, error.retry_after_ms, error.status),
            (ErrorKind::Throttled, Some(58_500), Some(429))
        );
        assert!(error.message.contains("59 s"), "{error}");
    }

    proptest! {
        #[test]
        fn marks_are_facts(until: u64, at: u64, status: u16, key in "[A-Za-z0-9_-]{1,43}", code in "\\PC*") {
            let mark = Mark { until, at, status, key, code };
            prop_assert_eq!(Mark::decode(&mark.encode()), Some(mark));
        }

        #[test]
        fn any_fact_is_a_mark_or_none(fact: Vec<u8>) {
            let _ = Mark::decode(&fact);
        }
    }
}
