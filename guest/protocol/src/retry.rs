//! When a request is sent again.

use crate::error::Error;
use crate::response::REQUEST_TIMEOUT;

/// How long to wait before the one retry, in milliseconds.
pub const DELAY_MS: u64 = 1000;

/// How much of the time must remain after the wait, in milliseconds, for the retry to be worth it.
pub const RESERVE_MS: u64 = 5000;

/// Whether the failure of a request may be cured by sending it once more: a server error or no answer in time, and no
/// pause that the authority asked for. As MSAL does.
pub fn may_cure(error: &Error) -> bool {
    let server_error = error.status.is_some_and(|status| (500..=599).contains(&status));
    (server_error || error.code == REQUEST_TIMEOUT) && error.retry_after_ms.is_none()
}

/// Whether there is time for the retry. Both times in Unix milliseconds.
pub fn is_time_left(now: u64, deadline: u64) -> bool {
    deadline.saturating_sub(now) >= RESERVE_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn error(status: Option<u16>, code: &str, retry_after_ms: Option<u64>) -> Error {
        Error { status, retry_after_ms, ..Error::new(ErrorKind::TransportFailed, code, "") }
    }

    #[test]
    fn server_errors_and_timeouts_are_retried() {
        assert!(may_cure(&error(Some(500), "service_not_available", None)));
        assert!(may_cure(&error(Some(599), "service_not_available", None)));
        assert!(may_cure(&error(None, "request_timeout", None)));
    }

    #[test]
    fn nothing_else_is() {
        assert!(!may_cure(&error(Some(503), "service_not_available", Some(0))));
        assert!(!may_cure(&error(Some(429), "request_throttled", None)));
        assert!(!may_cure(&error(Some(408), "http_status_not_200", None)));
        assert!(!may_cure(&error(None, "connection_failed", None)));
    }

    #[test]
    fn five_seconds_must_remain() {
        assert!(is_time_left(1000, 6000));
        assert!(!is_time_left(1001, 6000));
        assert!(!is_time_left(7000, 6000));
    }
}
