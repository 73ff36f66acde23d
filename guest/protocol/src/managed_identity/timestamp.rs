//! When a token expires, in the forms in which the sources write it.

use crate::json::Value;
use crate::response::days_since_1970;

/// For how many seconds a token is valid, by the member that says it; 0 if it isn't any more. `now` in Unix seconds.
///
/// A number, or a string with one, is a number of seconds: from now on where it is too small for a time of this century,
/// else since 1970. Other strings are dates of ISO 8601, such as `2024-10-18T19:51:37.0000000+00:00`, without an offset in
/// UTC. Nothing for anything else.
pub(super) fn lifetime_seconds(member: Value<'_>, now: u64) -> Option<u64> {
    let text = member.text();
    let written = text.as_deref().unwrap_or(member.0).trim();
    let remaining = match written.parse::<i64>() {
        Ok(seconds) if seconds < THIS_CENTURY => seconds,
        Ok(time) => time.saturating_sub_unsigned(now),
        Err(_) => unix_seconds(written)?.saturating_sub_unsigned(now),
    };
    Some(u64::try_from(remaining).unwrap_or(0))
}

/// A date with a time, in Unix seconds.
fn unix_seconds(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let (clock, offset) = with_offset(time.trim())?;
    let days = i64::try_from(days(date)?).ok()?;
    Some(days * 86_400 + seconds_of_day(clock.trim())? - offset)
}

/// The days from 1970 to `2024-10-18`.
fn days(date: &str) -> Option<u64> {
    let mut parts = date.split('-').map(digits);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let is_date = (1970..=9999).contains(&year) && (1..=last).contains(&day) && parts.next().is_none();
    is_date.then(|| days_since_1970(year, month, day))
}

/// The seconds of `19:51`, `19:51:37` or `19:51:37.000`; fractions are cut off.
fn seconds_of_day(clock: &str) -> Option<i64> {
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':').map(digits);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    let is_time = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    digits(fraction)?;
    is_time.then(|| i64::try_from(hour * 3600 + minute * 60 + second).ok())?
}

/// A time, and the seconds by which it is ahead of UTC: `Z`, `+02:00`, or nothing for UTC.
fn with_offset(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some((time, offset)) = time.find(['+', '-']).and_then(|at| time.split_at_checked(at)) else {
        return Some((time, 0));
    };
    let (sign, offset) = offset.split_at_checked(1)?;
    let seconds = seconds_of_day(offset)?;
    Some((time, if sign == "-" { -seconds } else { seconds }))
}

fn digits(text: &str) -> Option<u64> {
    let is_number = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// 2001-01-01: what is less is a lifetime.
const THIS_CENTURY: i64 = 978_307_200;

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::{String, ToString};

    use proptest::prelude::*;

    use super::*;

    /// The days from 1970 to a date, counted one by one.
    fn counted_days(year: u64, month: u64, day: u64) -> i64 {
        let is_leap =
            |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let years = (1970..year).map(|year| 365 + i64::from(is_leap(year)));
        let february = 28 + i64::from(is_leap(year));
        let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let months = months.iter().take(usize::try_from(month).unwrap() - 1);
        years.sum::<i64>() + months.sum::<i64>() + i64::try_from(day).unwrap() - 1
    }

    proptest! {
        #[test]
        fn dates_are_read(
            (year, month, day) in (1970u64..2400, 1u64..=12, 1u64..=28),
            (hour, minute, second) in (0i64..24, 0i64..60, 0i64..60),
            offset in -840i64..=840,
            fraction in 0u32..10_000_000,
        ) {
            let sign = if offset < 0 { '-' } else { '+' };
            let zone = format!("{sign}{:02}:{:02}", offset.abs() / 60, offset.abs() % 60);
            let expected = counted_days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset * 60;
            let iso = format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:07}{zone}");
            prop_assert_eq!(unix_seconds(&iso), Some(expected));
        }

        #[test]
        fn numbers_are_times_of_this_century_or_lifetimes(number in -1i64..4_000_000_000, now in 1_000_000_000u64..3_000_000_000) {
            let expected = match number {
                ..0 => 0,
                0..THIS_CENTURY => number.unsigned_abs(),
                _ => number.unsigned_abs().saturating_sub(now),
            };
            prop_assert_eq!(lifetime_seconds(Value(&number.to_string()), now), Some(expected));
            prop_assert_eq!(lifetime_seconds(Value(&format!("\"{number}\"")), now), Some(expected));
        }

        #[test]
        fn nothing_breaks_the_reader(text in "\"?([0-9TtZz:+. -]{0,32}|\\PC{0,16})\"?", now: u64) {
            let _ = lifetime_seconds(Value(&text), now);
        }

        #[test]
        fn what_is_left_over_is_refused(rest in "[0-9A-Za-z/]{1,4}") {
            prop_assume!(rest.parse::<u64>().is_err() && !rest.eq_ignore_ascii_case("z"));
            let text: String = format!("2024-10-18T19:51:37+00:00{rest}");
            prop_assert_eq!(unix_seconds(&text), None);
        }
    }
}
