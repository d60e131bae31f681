//! Notes: everything in the store that is not about edges, under names of its own.
//!
//! | name | value |
//! |---|---|
//! | `k` kind name, `t` type name | its stored number |
//! | `j` job id | the job, JSON |
//! | `r` job id | the first rejections of an import job, JSON |
//! | `a` journal place, `c` place | an audit entry, a check's report, JSON |
//! | `i` fingerprint | an idempotency answer |
//! | `I` time, fingerprint | – (the answers by age) |
//! | `m` | the checkpoint's mark: which commits the base contains |
//! | `n` key | what `acclaim_core::notify` keeps under that key |

use acclaim_core::port::Fingerprint;
use acclaim_core::{Rev, Transition};

use super::codec::{Damaged, Reader, put_varint};
use super::key::{Key, tag};

/// What note names begin with.
pub mod name {
    /// A kind.
    pub const KIND: u8 = b'k';
    /// A target type.
    pub const TARGET_TYPE: u8 = b't';
    /// A job.
    pub const JOB: u8 = b'j';
    /// What an import job rejected.
    pub const REJECTIONS: u8 = b'r';
    /// An audit entry.
    pub const AUDIT: u8 = b'a';
    /// A check's report.
    pub const CHECK: u8 = b'c';
    /// An idempotency answer.
    pub const ANSWER: u8 = b'i';
    /// An idempotency answer by age.
    pub const ANSWER_AGE: u8 = b'I';
    /// The checkpoint's mark.
    pub const MARK: u8 = b'm';
    /// Of notifications.
    pub const NOTIFY: u8 = b'n';
}

/// The key of a note.
pub fn key(name: u8, rest: &[u8]) -> Key {
    let mut key = vec![tag::NOTE, name];
    key.extend_from_slice(rest);
    key
}

/// The key of a note that is named by a number, so that numbers sort.
pub fn numbered_key(name: u8, number: u64) -> Key {
    key(name, &number.to_be_bytes())
}

/// The number in a [`numbered_key`].
pub fn number_of(key: &[u8]) -> Option<u64> {
    key.get(2..10)?.try_into().ok().map(u64::from_be_bytes)
}

/// The answer kept under an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of the request it answers.
    pub request: Fingerprint,
    /// When it was given.
    pub at: Rev,
    /// One answer an op.
    pub transitions: Vec<Transition>,
}

impl Answer {
    /// Where it lies.
    pub fn key(idempotency_key: &Fingerprint) -> Key {
        key(name::ANSWER, idempotency_key)
    }

    /// Where its age lies.
    pub fn age_key(at: Rev, idempotency_key: &Fingerprint) -> Key {
        let mut key = numbered_key(name::ANSWER_AGE, at.0);
        key.extend_from_slice(idempotency_key);
        key
    }

    /// The time and the idempotency key in an [`Answer::age_key`].
    pub fn from_age_key(key: &[u8]) -> Option<(Rev, Fingerprint)> {
        let at = Rev(number_of(key)?);
        Some((at, key.get(10..)?.try_into().ok()?))
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.transitions.len() * 12);
        out.extend_from_slice(&self.request);
        put_varint(&mut out, self.at.0);
        for transition in &self.transitions {
            out.push(u8::from(transition.active) | u8::from(transition.changed) << 1);
            put_varint(&mut out, transition.count);
            put_varint(&mut out, transition.rev.0);
        }
        out
    }

    /// Reads [`Answer::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader(bytes);
        let request = reader
            .bytes(16)?
            .try_into()
            .map_err(|_| Damaged("no fingerprint"))?;
        let at = Rev(reader.varint()?);
        let mut transitions = Vec::new();
        while !reader.is_empty() {
            let flags = reader.byte()?;
            let (count, rev) = (reader.varint()?, Rev(reader.varint()?));
            let (active, changed) = (flags & 1 != 0, flags & 2 != 0);
            transitions.push(Transition {
                active,
                changed,
                count,
                rev,
            });
        }
        Ok(Self {
            request,
            at,
            transitions,
        })
    }
}

/// Which commits the base contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The store it belongs to.
    pub store: [u8; 16],
    /// The number of the last commit in it.
    pub number: u64,
    /// The last journal place in it.
    pub seq: Rev,
    /// Idempotency answers kept.
    pub answers: u64,
}

impl Mark {
    /// Where it lies.
    pub fn key() -> Key {
        key(name::MARK, &[])
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.store.to_vec();
        for number in [self.number, self.seq.0, self.answers] {
            put_varint(&mut out, number);
        }
        out
    }

    /// Reads [`Mark::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader(bytes);
        let store = reader
            .bytes(16)?
            .try_into()
            .map_err(|_| Damaged("no store id"))?;
        let (number, seq) = (reader.varint()?, Rev(reader.varint()?));
        Ok(Self {
            store,
            number,
            seq,
            answers: reader.varint()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_marks_read_back() {
        let transitions = vec![
            Transition {
                active: true,
                changed: false,
                count: 7,
                rev: Rev(1 << 52),
            },
            Transition {
                active: false,
                changed: true,
                count: u64::MAX,
                rev: Rev(0),
            },
        ];
        let answer = Answer {
            request: [3; 16],
            at: Rev(1 << 52),
            transitions,
        };
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        let mark = Mark {
            store: [9; 16],
            number: 300,
            seq: Rev(1 << 52),
            answers: 12,
        };
        assert_eq!(Mark::decode(&mark.encode()), Ok(mark));
        let key = Answer::age_key(Rev(77), &[5; 16]);
        assert_eq!(Answer::from_age_key(&key), Some((Rev(77), [5; 16])));
    }
}
