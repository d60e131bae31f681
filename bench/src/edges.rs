//! Generated edges: the same for the same numbers, each as a line of an import.
//!
//! Users and targets are chosen evenly. Times rise from the beginning of a history to now, as in
//! the export of a product that has grown.

use std::io::{self, Write};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

const DAY_MICROS: u64 = 86_400_000_000;
/// Every target's type.
pub(crate) const TARGET_TYPE: &str = "POST";

/// A set of edges.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edges {
    /// How many lines. A few name the same user and target as an earlier one.
    pub lines: u64,
    /// Users to choose from.
    pub users: u64,
    /// Targets to choose from.
    pub targets: u64,
    /// Days of history; 0 gives no times, and the import takes its own.
    pub history_days: u64,
}

impl Edges {
    /// Writes every line.
    pub(crate) fn write(&self, now: Timestamp, mut out: impl Write) -> io::Result<()> {
        let mut random = SplitMix(0x0ACC_1A1A);
        let mut times = Times::new(now, self.history_days);
        let span = self.history_days * DAY_MICROS;
        let mut line = Vec::with_capacity(160);
        let mut digits = itoa::Buffer::new();
        for number in 0..self.lines {
            line.clear();
            line.extend_from_slice(b"{\"kind\":\"likes\",\"userId\":");
            line.extend_from_slice(digits.format(1 + random.below(self.users)).as_bytes());
            line.extend_from_slice(b",\"targetType\":\"POST\",\"targetId\":\"");
            line.extend_from_slice(digits.format(1 + random.below(self.targets)).as_bytes());
            line.push(b'"');
            if self.history_days > 0 {
                let place = u128::from(span) * u128::from(number) / u128::from(self.lines);
                // Smaller than the span, which is a u64.
                times.put(place as u64, &mut line);
            }
            line.extend_from_slice(b"}\n");
            out.write_all(&line)?;
        }
        out.flush()
    }
}

/// Numbers that look like chance and are the same each time.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, all nearly as likely.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}

/// Writes rising times, the date only when it changes.
struct Times {
    start_micros: u64,
    day: u64,
    date: String,
}

impl Times {
    fn new(now: Timestamp, days: u64) -> Self {
        let now = u64::try_from(now.as_microsecond()).unwrap_or_default();
        Self {
            start_micros: now.saturating_sub(days * DAY_MICROS),
            day: u64::MAX,
            date: String::new(),
        }
    }

    fn put(&mut self, place_micros: u64, line: &mut Vec<u8>) {
        let at = self.start_micros + place_micros;
        if at / DAY_MICROS != self.day {
            self.day = at / DAY_MICROS;
            self.date = date(at).to_string();
        }
        let micros = at % DAY_MICROS;
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        line.extend_from_slice(b",\"at\":\"");
        line.extend_from_slice(self.date.as_bytes());
        for (mark, number) in [
            (b'T', seconds / 3_600),
            (b':', seconds / 60 % 60),
            (b':', seconds % 60),
        ] {
            line.extend_from_slice(&[mark, digit(number / 10), digit(number)]);
        }
        line.push(b'.');
        for power in [100_000, 10_000, 1_000, 100, 10, 1] {
            line.push(digit(micros / power));
        }
        line.extend_from_slice(b"Z\"");
    }
}

/// The last decimal digit of a number.
fn digit(number: u64) -> u8 {
    b'0' + (number % 10) as u8
}

fn date(at_micros: u64) -> Date {
    let micros = i64::try_from(at_micros).unwrap_or(i64::MAX);
    let at = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX);
    at.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(history_days: u64) -> String {
        let edges = Edges {
            lines: 100,
            users: 10,
            targets: 5,
            history_days,
        };
        let mut out = Vec::new();
        let now = "2026-11-21T00:00:00Z".parse().unwrap();
        edges.write(now, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_same_numbers_give_the_same_lines() {
        assert_eq!(lines(2), lines(2));
        let text = lines(0);
        for line in text.lines() {
            let edge: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!((1..=10).contains(&edge["userId"].as_u64().unwrap()));
            assert_eq!(edge["targetType"], TARGET_TYPE);
            assert!(edge.get("at").is_none());
        }
    }

    #[test]
    fn times_rise_through_the_history() {
        let text = lines(2);
        let times = text.lines().map(|line| {
            let edge: serde_json::Value = serde_json::from_str(line).unwrap();
            edge["at"].as_str().unwrap().parse::<Timestamp>().unwrap()
        });
        let times: Vec<Timestamp> = times.collect();
        assert!(times.is_sorted());
        assert_eq!(times[0], "2026-11-19T00:00:00Z".parse().unwrap());
        assert_eq!(times[50], "2026-11-20T00:00:00Z".parse().unwrap());
        assert!(text.lines().next().unwrap().contains("T00:00:00.000000Z"));
    }
}
