//! What is sorted: lines on their way to an edge, transitions on their way to a target.

use acclaim_core::{EdgeState, Rev};

use super::super::codec::{Damaged, Reader, put_rev};

/// A line that was read: a set of the edge in its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The place in the journal that its transition gets, or the first one where it unsets others.
    pub seq: Rev,
    /// Since when the edge is said to be there.
    pub at: Option<Rev>,
}

impl Line {
    /// Appends its bytes.
    pub fn put(self, out: &mut Vec<u8>) {
        put_rev(out, self.seq);
        if let Some(at) = self.at {
            put_rev(out, at);
        }
    }

    /// Reads [`Line::put`].
    pub fn read(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader(bytes);
        let seq = reader.rev()?;
        let at = match reader.is_empty() {
            true => None,
            false => Some(reader.rev()?),
        };
        Ok(Self { seq, at })
    }
}

/// A transition of the edge in its key that was decided already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its place in the journal.
    pub seq: Rev,
    /// The state after it.
    pub after: EdgeState,
}

impl Step {
    /// Appends its bytes.
    pub fn put(self, out: &mut Vec<u8>) {
        put_rev(out, self.seq);
        put_rev(out, self.after.rev);
        out.push(u8::from(self.after.active));
    }

    /// Reads [`Step::put`].
    pub fn read(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader(bytes);
        let (seq, rev) = (reader.rev()?, reader.rev()?);
        let active = reader.byte()? != 0;
        let after = EdgeState { active, rev };
        Ok(Self { seq, after })
    }
}

/// What a transition does to its target. Its key is that of the edge in the target's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Whether the edge was set, or unset.
    pub set: bool,
    /// Whether the edge is in the list in the end, by this transition.
    pub listed: bool,
    /// The transition's place in the journal.
    pub seq: Rev,
}

impl Effect {
    /// Its bytes. The place is left out where it is `rev`, as it mostly is.
    pub fn put(self, rev: Rev, out: &mut Vec<u8>) {
        out.push(u8::from(self.set) | u8::from(self.listed) << 1);
        if self.seq != rev {
            put_rev(out, self.seq);
        }
    }

    /// Reads [`Effect::put`].
    pub fn read(bytes: &[u8], rev: Rev) -> Result<Self, Damaged> {
        let mut reader = Reader(bytes);
        let flags = reader.byte()?;
        let seq = match reader.is_empty() {
            true => rev,
            false => reader.rev()?,
        };
        Ok(Self {
            set: flags & 1 != 0,
            listed: flags & 2 != 0,
            seq,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_read_back(seq in 0u64..1 << 53, rev in 0u64..1 << 53, at: bool, set: bool, listed: bool) {
            let (seq, rev) = (Rev(seq), Rev(rev));
            let mut bytes = Vec::new();
            let line = Line { seq, at: at.then_some(rev) };
            line.put(&mut bytes);
            prop_assert_eq!(Line::read(&bytes), Ok(line));
            bytes.clear();
            let step = Step { seq, after: EdgeState { active: set, rev } };
            step.put(&mut bytes);
            prop_assert_eq!(Step::read(&bytes), Ok(step));
            for seq in [seq, rev] {
                bytes.clear();
                let effect = Effect { set, listed, seq };
                effect.put(rev, &mut bytes);
                prop_assert_eq!(Effect::read(&bytes, rev), Ok(effect));
            }
        }

        #[test]
        fn nonsense_is_an_error_not_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = (Line::read(&bytes), Step::read(&bytes), Effect::read(&bytes, Rev(1)));
        }
    }
}
