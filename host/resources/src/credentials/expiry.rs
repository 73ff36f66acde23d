//! How soon a certificate ends.

use std::fmt;

/// What of a certificate's end is worth a warning. The later the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    ThirtyDays,
    SevenDays,
    OneDay,
}

/// The stage that a certificate is in at a time, both in seconds since 1970.
pub(super) fn stage(not_after_unix: u64, now_unix: u64) -> Option<Stage> {
    const DAY: u64 = 24 * 60 * 60;
    match not_after_unix.saturating_sub(now_unix) {
        left if left <= DAY => Some(Stage::OneDay),
        left if left <= 7 * DAY => Some(Stage::SevenDays),
        left if left <= 30 * DAY => Some(Stage::ThirtyDays),
        _ => None,
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ThirtyDays => "30 days",
            Self::SevenDays => "7 days",
            Self::OneDay => "1 day",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_begin_with_the_day() {
        const DAY: u64 = 86_400;
        let end = 100 * DAY;
        for (left, expected) in [
            (30 * DAY + 1, None),
            (30 * DAY, Some(Stage::ThirtyDays)),
            (7 * DAY + 1, Some(Stage::ThirtyDays)),
            (7 * DAY, Some(Stage::SevenDays)),
            (DAY, Some(Stage::OneDay)),
            (0, Some(Stage::OneDay)),
        ] {
            assert_eq!(stage(end, end - left), expected, "{left}");
        }
        assert_eq!(stage(0, end), Some(Stage::OneDay));
        assert!(Stage::ThirtyDays < Stage::SevenDays && Stage::SevenDays < Stage::OneDay);
    }
}
