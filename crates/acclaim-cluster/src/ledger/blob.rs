//! What a target and a user carry in one column each: recent activity and active days.
//!
//! A leading byte names the version. Numbers are LEB128, each one the difference to the one before
//! where they ascend. What cannot be read is an error, never an empty record.

use acclaim_core::days::{Days, Run};
use acclaim_core::pulse::{Pulse, Span, Step};

use super::dictionary::TypeNo;

const VERSION: u8 = 1;

/// A column that this program cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packed column of {bytes} bytes cannot be read at byte {at}")]
pub struct BadBlob {
    /// Its length.
    pub bytes: usize,
    /// Where reading stopped.
    pub at: usize,
}

/// What a user did to targets of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserType {
    /// The type.
    pub type_no: TypeNo,
    /// Active edges.
    pub given: u64,
    /// Days with a transition.
    pub days: Days,
}

/// Packs a pulse.
#[must_use]
pub fn pack_pulse(pulse: &Pulse) -> Vec<u8> {
    let mut out = vec![VERSION];
    let mut last = 0;
    for step in pulse.steps() {
        let span = match step.span {
            Span::Minute => 0,
            Span::Hour => 1,
            Span::Day => 2,
        };
        // Steps are in order, so the difference is not negative.
        put(&mut out, u64::from(step.start_minute - last) << 2 | span);
        put(&mut out, zigzag(step.net));
        last = step.start_minute;
    }
    out
}

/// Reads a pulse.
///
/// # Errors
/// [`BadBlob`].
pub fn read_pulse(bytes: &[u8]) -> Result<Pulse, BadBlob> {
    let mut reader = Reader::new(bytes)?;
    let mut steps = Vec::new();
    let mut last = 0u32;
    while !reader.is_at_end() {
        let head = reader.take()?;
        let span = match head & 3 {
            0 => Span::Minute,
            1 => Span::Hour,
            2 => Span::Day,
            _ => return Err(reader.bad()),
        };
        last = reader.add(last, head >> 2)?;
        let net = unzigzag(reader.take_u32()?);
        steps.push(Step {
            start_minute: last,
            span,
            net,
        });
    }
    Ok(Pulse::from_steps(steps))
}

/// Packs what a user did, by type.
#[must_use]
pub fn pack_types(types: &[UserType]) -> Vec<u8> {
    let mut out = vec![VERSION];
    for of_type in types {
        put(&mut out, u64::from(of_type.type_no.0));
        put(&mut out, of_type.given);
        put(&mut out, of_type.days.runs().len() as u64);
        let mut last = 0;
        for run in of_type.days.runs() {
            put(&mut out, u64::from(run.first - last));
            put(&mut out, u64::from(run.last - run.first));
            last = run.last;
        }
    }
    out
}

/// Reads what a user did, by type.
///
/// # Errors
/// [`BadBlob`].
pub fn read_types(bytes: &[u8]) -> Result<Vec<UserType>, BadBlob> {
    let mut reader = Reader::new(bytes)?;
    let mut types = Vec::new();
    while !reader.is_at_end() {
        let type_no = u16::try_from(reader.take()?).map_err(|_| reader.bad())?;
        let given = reader.take()?;
        let mut runs = Vec::new();
        let mut last = 0;
        for _ in 0..reader.take()? {
            let first = reader.take()?;
            let first = reader.add(last, first)?;
            let length = reader.take()?;
            last = reader.add(first, length)?;
            runs.push(Run { first, last });
        }
        types.push(UserType {
            type_no: TypeNo(type_no),
            given,
            days: Days::from_runs(runs),
        });
    }
    Ok(types)
}

fn zigzag(n: i32) -> u64 {
    u64::from(((n << 1) ^ (n >> 31)) as u32)
}

fn unzigzag(n: u32) -> i32 {
    (n >> 1) as i32 ^ -((n & 1) as i32)
}

fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A column that was never written is empty, and holds nothing.
    fn new(bytes: &'a [u8]) -> Result<Self, BadBlob> {
        let reader = Self {
            bytes,
            at: usize::from(!bytes.is_empty()),
        };
        match bytes.first() {
            None | Some(&VERSION) => Ok(reader),
            Some(_) => Err(reader.bad()),
        }
    }

    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn bad(&self) -> BadBlob {
        BadBlob {
            bytes: self.bytes.len(),
            at: self.at,
        }
    }

    fn take(&mut self) -> Result<u64, BadBlob> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or_else(|| self.bad())?;
            self.at += 1;
            n |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(self.bad())
    }

    fn take_u32(&mut self) -> Result<u32, BadBlob> {
        u32::try_from(self.take()?).map_err(|_| self.bad())
    }

    fn add(&self, last: u32, more: u64) -> Result<u32, BadBlob> {
        let sum = u64::from(last).checked_add(more);
        sum.and_then(|sum| u32::try_from(sum).ok())
            .ok_or_else(|| self.bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use acclaim_core::Rev;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_pulse_reads_back(events in prop::collection::vec((0u64..60_000, any::<bool>()), 0..80)) {
            let now = Rev(60_000 * 60_000_000);
            let mut pulse = Pulse::default();
            for (minute, set) in events {
                pulse.record(Rev(minute * 60_000_000), set, now);
            }
            prop_assert_eq!(read_pulse(&pack_pulse(&pulse)), Ok(pulse));
        }

        #[test]
        fn types_read_back(
            types in prop::collection::vec((any::<u16>(), any::<u64>(), prop::collection::vec(19_000u32..19_300, 0..40)), 0..5)
        ) {
            let types: Vec<UserType> = types.into_iter().map(|(no, given, listed)| {
                let mut days = Days::default();
                for day in listed { days.insert(day, 19_300); }
                UserType { type_no: TypeNo(no), given, days }
            }).collect();
            prop_assert_eq!(read_types(&pack_types(&types)), Ok(types));
        }

        #[test]
        fn nonsense_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = read_pulse(&bytes);
            let _ = read_types(&bytes);
        }
    }

    #[test]
    fn a_torn_column_is_an_error() {
        assert_eq!(read_pulse(&[]), Ok(Pulse::default()));
        assert_eq!(read_pulse(&[2]), Err(BadBlob { bytes: 1, at: 1 }));
        assert_eq!(
            read_types(&[VERSION, 0x80]),
            Err(BadBlob { bytes: 2, at: 2 })
        );
        assert!(
            read_types(&[
                VERSION, 1, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1
            ])
            .is_err()
        );
    }
}
