//! Revisions: microseconds since the epoch, strictly increasing inside a partition.
//!
//! A rev is at once the time of the transition, its version for last-writer-wins, the event's id
//! in its partition and the sort key of the lists. It stays below 2^53 so that every JSON reader
//! keeps it exactly; that lasts until the year 2255.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};

/// A revision, in microseconds since the epoch. Zero means "never".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Rev(pub u64);

/// Why a string is not a time of an edge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not RFC 3339.
    #[error("{0:?} is not a time; use RFC 3339 such as 2026-11-20T10:00:00Z")]
    Format(String),
    /// Before 1970 or after 2255.
    #[error("{0:?} is outside 1970 to 2255")]
    Range(String),
}

impl Rev {
    /// What never happened.
    pub const ZERO: Self = Self(0);
    /// The last revision there can be.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// The revision after `self` at the time `now`: `max(last + 1, now)`, so that a clock set back
    /// never repeats or reorders.
    #[must_use]
    pub fn next(self, now: Self) -> Self {
        Self((self.0 + 1).max(now.0))
    }

    /// Reads an RFC 3339 time; fractions beyond the microsecond are cut off.
    ///
    /// # Errors
    /// [`TimeError`] when it is no time, or outside what a rev can hold.
    pub fn parse_time(text: &str) -> Result<Self, TimeError> {
        let time: Timestamp = text
            .parse()
            .map_err(|_| TimeError::Format(text.to_owned()))?;
        match u64::try_from(time.as_microsecond()) {
            Ok(micros) if micros > 0 && micros <= Self::MAX.0 => Ok(Self(micros)),
            _ => Err(TimeError::Range(text.to_owned())),
        }
    }

    /// The time, RFC 3339 in UTC with microseconds.
    #[must_use]
    pub fn time(self) -> Time {
        Time(self)
    }

    /// Whole minutes since the epoch.
    #[must_use]
    pub fn minute(self) -> u32 {
        // 2^53 µs are 150 million minutes, which fit.
        u32::try_from(self.0 / 60_000_000).unwrap_or(u32::MAX)
    }

    /// Whole UTC days since the epoch.
    #[must_use]
    pub fn day(self) -> u32 {
        self.minute() / (24 * 60)
    }
}

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A [`Rev`] shown and serialized as the time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Rev);

/// Where the digits of year, month, day, hour, minute, second and microsecond go.
const TIME_SHAPE: &[u8; 27] = b"0000-00-00T00:00:00.000000Z";

impl Time {
    /// The time in ASCII; `None` outside what a rev can hold. Lists hold a time an entry, so it is
    /// put together here and not by a general formatter.
    fn text(self) -> Option<[u8; TIME_SHAPE.len()]> {
        if self.0 > Rev::MAX {
            return None;
        }
        let time = Timestamp::from_microsecond(i64::try_from(self.0.0).ok()?).ok()?;
        let time = Offset::UTC.to_datetime(time);
        let parts = [
            (0..4, i32::from(time.year())),
            (5..7, i32::from(time.month())),
            (8..10, i32::from(time.day())),
            (11..13, i32::from(time.hour())),
            (14..16, i32::from(time.minute())),
            (17..19, i32::from(time.second())),
            (20..26, time.subsec_nanosecond() / 1_000),
        ];
        let mut text = *TIME_SHAPE;
        for (place, mut number) in parts {
            for digit in text[place].iter_mut().rev() {
                // Below ten.
                *digit += (number % 10) as u8;
                number /= 10;
            }
        }
        Some(text)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        match text.as_ref().map(|text| std::str::from_utf8(text)) {
            Some(Ok(text)) => f.write_str(text),
            _ => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.text();
        match text.as_ref().map(|text| std::str::from_utf8(text)) {
            Some(Ok(text)) => serializer.serialize_str(text),
            _ => serializer.collect_str(&self.0),
        }
    }
}

/// A UTC day as `2026-11-20`.
#[must_use]
pub fn day_name(day: u32) -> String {
    let time = Rev(u64::from(day) * 86_400_000_000).time().to_string();
    time[..10].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_does_not_repeat() {
        assert_eq!(Rev(100).next(Rev(500)), Rev(500));
        assert_eq!(Rev(500).next(Rev(100)), Rev(501));
        assert_eq!(Rev(500).next(Rev(500)), Rev(501));
    }

    #[test]
    fn times_read_back() {
        let rev = Rev::parse_time("2026-11-20T10:00:00.123456Z").unwrap();
        assert_eq!(rev.time().to_string(), "2026-11-20T10:00:00.123456Z");
        assert_eq!(Rev::parse_time("2026-11-20T12:00:00.123456+02:00"), Ok(rev));
        assert_eq!(
            Rev(1_000_000).time().to_string(),
            "1970-01-01T00:00:01.000000Z"
        );
        assert_eq!(day_name(rev.day()), "2026-11-20");
    }

    #[test]
    fn times_outside_are_refused() {
        for text in ["", "yesterday", "2026-13-01T00:00:00Z", "2026-11-20"] {
            assert!(
                matches!(Rev::parse_time(text), Err(TimeError::Format(_))),
                "{text}"
            );
        }
        for text in [
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00Z",
            "2300-01-01T00:00:00Z",
        ] {
            assert!(
                matches!(Rev::parse_time(text), Err(TimeError::Range(_))),
                "{text}"
            );
        }
    }
    proptest::proptest! {
        #[test]
        fn times_are_those_of_a_general_formatter(micros in 0..=Rev::MAX.0) {
            let general = Timestamp::from_microsecond(micros as i64).unwrap();
            proptest::prop_assert_eq!(Rev(micros).time().to_string(), format!("{general:.6}"));
            let json = serde_json::to_string(&Rev(micros).time()).unwrap();
            proptest::prop_assert_eq!(json, format!("\"{general:.6}\""));
        }
    }
}
