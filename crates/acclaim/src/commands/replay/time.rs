//! A time as it is given on the command line. Pure.

use acclaim_core::Rev;
use anyhow::{Context as _, bail};

/// Numbers below are no microseconds of a time at which there was a store: somebody meant seconds
/// or milliseconds.
const FIRST_MICROS: u64 = 100_000_000_000_000;

/// Reads a time: RFC 3339, microseconds since 1970, so long before now as `-90s`, `-5m`, `-1h`,
/// `-7d`, or `now`.
pub(super) fn parse(text: &str, now: Rev) -> anyhow::Result<Rev> {
    if text == "now" {
        return Ok(now);
    }
    if let Some(span) = text.strip_prefix('-') {
        let micros = micros(span).with_context(|| {
            format!("{text:?} is not so long before now: a number and s, m, h or d, such as -1h")
        })?;
        let Some(time) = now.0.checked_sub(micros) else {
            bail!("{text:?} is before 1970");
        };
        return Ok(Rev(time));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.parse() {
            Ok(micros) if (FIRST_MICROS..=Rev::MAX.0).contains(&micros) => Ok(Rev(micros)),
            _ => bail!(
                "{text:?} is not a time in microseconds since 1970, which are {FIRST_MICROS} to {}",
                Rev::MAX
            ),
        };
    }
    Rev::parse_time(text).with_context(|| {
        format!(
            "{text:?} is no time here: give RFC 3339, microseconds since 1970, -1h and the like, or \
             now"
        )
    })
}

fn micros(span: &str) -> Option<u64> {
    let (number, unit) = span.split_at_checked(span.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    number.checked_mul(seconds)?.checked_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Rev = Rev(1_795_168_800_000_000);

    fn read(text: &str) -> Result<u64, String> {
        parse(text, NOW)
            .map(|time| time.0)
            .map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn times_are_read_in_every_form() {
        assert_eq!(read("now"), Ok(NOW.0));
        assert_eq!(read("2026-11-20T10:00:00Z"), Ok(NOW.0));
        assert_eq!(read("2026-11-20T11:00:00.000001+01:00"), Ok(NOW.0 + 1));
        assert_eq!(read("1795168800000000"), Ok(NOW.0));
        assert_eq!(read("-0s"), Ok(NOW.0));
        for (span, seconds) in [("-90s", 90), ("-5m", 300), ("-1h", 3_600), ("-7d", 604_800)] {
            assert_eq!(read(span), Ok(NOW.0 - seconds * 1_000_000), "{span}");
        }
    }

    #[test]
    fn what_is_no_time_says_what_is() {
        for (text, why) in [
            ("", "RFC 3339"),
            ("yesterday", "RFC 3339"),
            ("2026-11-20", "RFC 3339"),
            ("1795168800", "microseconds"),
            ("1795168800000", "microseconds"),
            ("99999999999999999999", "microseconds"),
            ("-", "-1h"),
            ("-h", "-1h"),
            ("-1", "-1h"),
            ("-1w", "-1h"),
            ("--1h", "-1h"),
            ("-1ä", "-1h"),
            ("-99999999999999999999d", "-1h"),
            ("-999999d", "before 1970"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains(why), "{text:?}: {refused}");
        }
    }

    #[test]
    fn thousands_of_times_come_back() {
        for step in 0..5_000_u64 {
            let micros = FIRST_MICROS + step * 1_234_567_891;
            assert_eq!(read(&micros.to_string()), Ok(micros));
            let shown = Rev(micros).time().to_string();
            assert_eq!(read(&shown), Ok(micros), "{shown}");
            let span = format!("-{step}m");
            assert_eq!(read(&span), Ok(NOW.0 - step * 60_000_000), "{span}");
        }
    }

    /// Whatever is typed, it is read or refused.
    #[test]
    fn nothing_panics() {
        let letters = [
            "-", "1", "9", "h", "d", "s", "T", ":", "Z", "ä", " ", "+", "now",
        ];
        for a in letters {
            for b in letters {
                for c in letters {
                    for d in letters {
                        let _ = read(&format!("{a}{b}{c}{d}"));
                    }
                }
            }
        }
    }
}
