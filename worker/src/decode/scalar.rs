//! Scalar: the text of one value into what its column holds, or why not.
//!
//! Neighbours: json calls it.

use arrow_cast::parse::string_to_datetime;
use chrono::{Datelike, NaiveDate, Utc};

/// Midnight of 0001-01-01, the first instant that a timestamp may be, in microseconds.
const FIRST_MICROS: i64 = -62_135_596_800_000_000;
/// The last microsecond of the year 9999. Beyond it ISO 8601 has no agreed text, and readers differ.
const LAST_MICROS: i64 = 253_402_300_799_999_999;

const NO_YEAR: &str = "outside the years 1 to 9999";

/// The longest text that can be a timestamp; the parser's own errors quote the text.
const TIMESTAMP_LEN_MAX: usize = 64;

/// Milliseconds since 1970 into microseconds.
pub(super) fn timestamp_from_millis(millis: i64) -> Result<i64, &'static str> {
    in_range(millis.checked_mul(1_000).ok_or(NO_YEAR)?)
}

/// ISO 8601 text into microseconds; digits behind the microsecond are cut, as Spark does.
pub(super) fn timestamp(text: &str) -> Result<i64, &'static str> {
    const FORM: &str =
        "no timestamp; write 2026-11-22T07:00:00.123456Z, with an offset, or without one for UTC";
    if let Some(micros) = utc_timestamp(text.as_bytes()) {
        return in_range(micros);
    }
    if text.len() > TIMESTAMP_LEN_MAX {
        return Err(FORM);
    }
    let instant = string_to_datetime(&Utc, text).map_err(|_| FORM)?;
    in_range(instant.timestamp_micros())
}

/// `2026-11-22T07:00:00.123456Z`, with no more digits behind the point: how most producers write it, in a fraction of
/// the time that reading every form takes. None says nothing of the text.
#[inline]
fn utc_timestamp(text: &[u8]) -> Option<i64> {
    const FRACTION_MAX: usize = 6;
    let (moment, fraction) = text.strip_suffix(b"Z")?.split_first_chunk::<19>()?;
    let &[y, e, a, r, b'-', m, o, b'-', d, d2, b'T', h, h2, b':', n, n2, b':', s, s2] = moment else {
        return None;
    };
    let two = |tens, ones| Some(digit(tens)? * 10 + digit(ones)?);
    let days = days(two(y, e)? * 100 + two(a, r)?, two(m, o)?, two(d, d2)?)?;
    let (hour, minute, second) = (two(h, h2)?, two(n, n2)?, two(s, s2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=FRACTION_MAX).contains(&digits.len()) => {
            let value = digits.iter().try_fold(0, |value, &byte| Some(value * 10 + digit(byte)?))?;
            value * 10u32.pow((FRACTION_MAX - digits.len()) as u32)
        }
        _ => return None,
    };
    let seconds = i64::from(days) * 86_400 + i64::from(hour * 3600 + minute * 60 + second);
    Some(seconds * 1_000_000 + i64::from(micros))
}

#[inline]
fn digit(byte: u8) -> Option<u32> {
    byte.is_ascii_digit().then(|| u32::from(byte - b'0'))
}

/// Days since 1970; none where the calendar has no such day. `year` has four digits.
#[inline]
fn days(year: u32, month: u32, day: u32) -> Option<i32> {
    Some(NaiveDate::from_ymd_opt(year as i32, month, day)?.num_days_from_ce() - DAYS_TO_1970)
}

fn in_range(micros: i64) -> Result<i64, &'static str> {
    if (FIRST_MICROS..=LAST_MICROS).contains(&micros) { Ok(micros) } else { Err(NO_YEAR) }
}

/// `2026-11-22` into days since 1970.
pub(super) fn date(text: &str) -> Result<i32, &'static str> {
    const FORM: &str = "no date; write 2026-11-22";
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| {
        bytes[range].iter().try_fold(0, |value, &byte| Some(value * 10 + digit(byte)?))
    };
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return Err(FORM);
    }
    let (Some(year), Some(month), Some(day)) = (number(0..4), number(5..7), number(8..10)) else {
        return Err(FORM);
    };
    if year == 0 {
        return Err(NO_YEAR);
    }
    days(year, month, day).ok_or("no such day in the calendar")
}

/// From 0000-12-31 to 1970-01-01.
const DAYS_TO_1970: i32 = 719_163;

/// A number's text into the unscaled value of `decimal(precision, scale)`, exactly.
///
/// `text` is `[-]digits[.digits][e[±]digits]`. Work is bounded by its length, whatever the exponent says.
pub(super) fn decimal(text: &str, precision: u8, scale: u8) -> Result<i128, &'static str> {
    const FORM: &str = "no decimal number";
    const TOO_LARGE: &str = "more digits than the decimal's precision has";
    const TOO_FINE: &str = "digits behind the decimal's scale";
    /// Decimal128's digits.
    const DIGITS_MAX: usize = 38;

    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (number, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], exponent(&text[at + 1..]).ok_or(FORM)?),
        None => (text, 0),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return Err(FORM),
        Some(parts) => parts,
        None => (number, ""),
    };
    let mut digits = whole.bytes().chain(fraction.bytes());
    if whole.is_empty() || !digits.clone().all(|byte| byte.is_ascii_digit()) {
        return Err(FORM);
    }
    let Some(first) = digits.position(|byte| byte != b'0') else {
        return Ok(0);
    };
    let digits = || whole.bytes().chain(fraction.bytes());
    let last =
        digits().enumerate().filter(|(_, byte)| *byte != b'0').last().map_or(first, |(index, _)| index);
    let count = last - first + 1;
    if count > DIGITS_MAX {
        return Err(if exponent <= 0 && whole.len() <= first { TOO_FINE } else { TOO_LARGE });
    }
    let mantissa =
        digits().skip(first).take(count).fold(0i128, |value, byte| value * 10 + i128::from(byte - b'0'));
    // The last digit that is not 0 stands for 10^power.
    let power = (whole.len() as i64 - 1 - last as i64).saturating_add(exponent);
    let shift = power.saturating_add(i64::from(scale));
    if shift < 0 {
        return Err(TOO_FINE);
    }
    if shift.saturating_add(count as i64) > i64::from(precision) {
        return Err(TOO_LARGE);
    }
    // At most 38 digits together, which i128 holds.
    let value = mantissa * 10i128.pow(shift as u32);
    Ok(if negative { -value } else { value })
}

/// `[±]digits`, held within what no decimal reaches.
fn exponent(text: &str) -> Option<i64> {
    const BEYOND: i64 = 1 << 40;
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let size = digits.bytes().try_fold(0i64, |value, byte| {
        byte.is_ascii_digit().then(|| (value * 10 + i64::from(byte - b'0')).min(BEYOND))
    })?;
    Some(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_exact_or_refused() {
        for (text, precision, scale, wanted) in [
            ("0", 1, 0, Some(0)),
            ("-0.000", 1, 0, Some(0)),
            ("0e99999999999999999999", 1, 0, Some(0)),
            ("1.5", 3, 2, Some(150)),
            ("-1.50", 3, 1, Some(-15)),
            ("1.51", 3, 1, None),
            ("007.5", 3, 1, Some(75)),
            ("1e2", 3, 0, Some(100)),
            ("1e3", 3, 0, None),
            ("1.23E+2", 3, 0, Some(123)),
            ("123e-2", 3, 2, Some(123)),
            ("1e-99999999999999999999", 38, 38, None),
            ("1e99999999999999999999", 38, 0, None),
            ("9.9", 1, 1, None),
            ("0.9", 1, 1, Some(9)),
            ("99999999999999999999999999999999999999", 38, 0, Some(10i128.pow(38) - 1)),
            ("100000000000000000000000000000000000000", 38, 0, None),
            (
                "0.1000000000000000055511151231257827",
                38,
                34,
                Some(1_000_000_000_000_000_055_511_151_231_257_827),
            ),
            ("", 5, 2, None),
            ("-", 5, 2, None),
            (".5", 5, 2, None),
            ("5.", 5, 2, None),
            ("1e", 5, 2, None),
            ("+1", 5, 2, None),
            ("1_0", 5, 2, None),
            ("NaN", 5, 2, None),
            ("1.2.3", 5, 2, None),
            ("٣", 5, 2, None),
        ] {
            assert_eq!(
                decimal(text, precision, scale).ok(),
                wanted,
                "{text} as decimal({precision}, {scale})"
            );
        }
        let zeros = format!("1.5{}", "0".repeat(100_000));
        assert_eq!(decimal(&zeros, 3, 2), Ok(150));
    }

    #[test]
    fn the_usual_form_of_a_timestamp_is_known() {
        for (text, wanted) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-22T07:00:00.123Z", Some(1_795_330_800_123_000)),
            ("1969-12-31T23:59:59.999999Z", Some(-1)),
            ("2024-02-29T23:59:59.5Z", Some(1_709_251_199_500_000)),
            ("2026-02-29T00:00:00Z", None),
            ("2026-11-22T24:00:00Z", None),
            ("2026-11-22T23:60:00Z", None),
            ("2026-11-22T23:59:60Z", None),
            ("2026-11-22T07:00:00.Z", None),
            ("2026-11-22T07:00:00.1234567Z", None),
            ("2026-11-22T07:00:00+01:00", None),
            ("2026-11-22T07:0:00Z", None),
        ] {
            assert_eq!(utc_timestamp(text.as_bytes()), wanted, "{text}");
        }
    }

    #[test]
    fn dates_and_timestamps_are_read_to_the_day_and_microsecond() {
        assert_eq!(date("1970-01-01"), Ok(0));
        assert_eq!(date("2026-11-22"), Ok(20_779));
        assert_eq!(date("0001-01-01"), Ok(-719_162));
        for wrong in ["", "2026-11-2", "2026-11-22T", "2026-02-29", "0000-01-01", "2026/11/22", "２026-11-2"]
        {
            assert!(date(wrong).is_err(), "{wrong}");
        }
        for (text, wanted) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00", 0),
            ("1970-01-01", 0),
            ("1970-01-01 00:00:00.000001", 1),
            ("1970-01-01T00:00:00.123456789Z", 123_456),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("9999-12-31T23:59:59.999999Z", LAST_MICROS),
            ("0001-01-01T00:00:00Z", FIRST_MICROS),
        ] {
            assert_eq!(timestamp(text), Ok(wanted), "{text}");
        }
        for wrong in [
            "",
            "1970",
            "1970-01-01T25:00:00Z",
            "1970-01-01T00:00:00 Europe/Berlin",
            "9999-12-31T23:59:59-01:00",
            "0001-01-01T00:00:00+01:00",
            "0000-01-01T00:00:00Z",
            "22.11.2026 07:00",
        ] {
            assert!(timestamp(wrong).is_err(), "{wrong}");
        }
        assert_eq!(timestamp_from_millis(-1), Ok(-1_000));
        assert!(timestamp_from_millis(i64::MAX).is_err());
        assert!(timestamp_from_millis(LAST_MICROS / 1_000 + 1).is_err());
    }

    proptest! {
        #[test]
        fn a_decimal_written_out_reads_back(value in -(10i128.pow(38) - 1)..10i128.pow(38), scale in 0u8..=38) {
            let digits = format!("{:0>39}", value.unsigned_abs());
            let (whole, fraction) = digits.split_at(39 - usize::from(scale));
            let sign = if value < 0 { "-" } else { "" };
            let point = if scale == 0 { "" } else { "." };
            prop_assert_eq!(decimal(&format!("{sign}{whole}{point}{fraction}"), 38, scale), Ok(value));
            prop_assert_eq!(decimal(&format!("{value}e-{scale}"), 38, scale), Ok(value));
        }

        #[test]
        fn the_usual_form_of_a_timestamp_reads_as_every_form_does(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,7})?Z",
        ) {
            if let Some(micros) = utc_timestamp(text.as_bytes()) {
                let slow = string_to_datetime(&Utc, &text).map(|instant| instant.timestamp_micros());
                prop_assert_eq!(slow.ok(), Some(micros), "{}", text);
            }
        }

        #[test]
        fn no_text_panics(text in "[-+0-9eE.:TZ é]{0,40}") {
            let _ = (timestamp(&text), date(&text), decimal(&text, 20, 5));
        }
    }
}
