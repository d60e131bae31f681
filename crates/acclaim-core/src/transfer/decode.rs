//! From pieces of a stream to ops.

use std::fmt;

use crate::edge::Op;
use crate::kind::Kinds;
use crate::rev::Rev;

use super::bom::MarkStripper;
use super::csv::Records;
use super::fields::{Defaults, Resolver};
use super::ndjson::Lines;
use super::summary::Rejection;
use super::{Format, MAX_LINE_BYTES};

/// Why a stream cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The CSV header names a column that there is not.
    #[error(
        "the CSV header names {0:?}, which is no column; there are kind, userId, targetType, targetId, at"
    )]
    UnknownColumn(String),
    /// The CSV header names a column twice.
    #[error("the CSV header names {0} twice")]
    RepeatedColumn(&'static str),
    /// The CSV header lacks a column that has no default.
    #[error("the CSV header lacks {0}; name it, or give a default where there is one")]
    MissingColumn(&'static str),
    /// The CSV header is longer than a record may be.
    #[error("the CSV header has more columns than there are, or more than {MAX_LINE_BYTES} bytes")]
    HeaderTooLong,
}

/// What was read. The caller takes both out and gives it back for the next piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Sets, in the order of their lines.
    pub ops: Vec<Op>,
    /// Lines that were not taken, in order.
    pub rejections: Vec<Rejection>,
}

/// Reads edges from a stream that comes in pieces. How it is cut never matters.
pub struct Decoder {
    mark: MarkStripper,
    resolver: Resolver,
    reader: Reader,
}

enum Reader {
    Ndjson(Lines),
    Csv(Box<Records>),
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new(format: Format, kinds: &Kinds, defaults: Defaults) -> Self {
        Self {
            mark: MarkStripper::default(),
            resolver: Resolver::new(kinds, defaults),
            reader: match format {
                Format::Ndjson => Reader::Ndjson(Lines::default()),
                Format::Csv => Reader::Csv(Box::new(Records::new())),
            },
        }
    }

    /// Reads a piece and adds what it completes to `out`. `now` bounds the times of the edges.
    ///
    /// # Errors
    /// [`FormatError`]; then nothing more can be read.
    pub fn decode(&mut self, piece: &[u8], now: Rev, out: &mut Decoded) -> Result<(), FormatError> {
        let (held_back, piece) = self.mark.strip(piece);
        if !held_back.is_empty() {
            self.read(held_back, now, out)?;
        }
        self.read(piece, now, out)
    }

    /// Reads what the end of the stream completes: a last line needs no line feed.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn finish(mut self, now: Rev, out: &mut Decoded) -> Result<(), FormatError> {
        let held_back = self.mark.held_back();
        self.read(held_back, now, out)?;
        match &mut self.reader {
            Reader::Ndjson(lines) => {
                lines.finish(&mut self.resolver, now, out);
                Ok(())
            }
            Reader::Csv(records) => records.finish(&mut self.resolver, now, out),
        }
    }

    fn read(&mut self, piece: &[u8], now: Rev, out: &mut Decoded) -> Result<(), FormatError> {
        match &mut self.reader {
            Reader::Ndjson(lines) => {
                lines.decode(piece, &mut self.resolver, now, out);
                Ok(())
            }
            Reader::Csv(records) => records.decode(piece, &mut self.resolver, now, out),
        }
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
