//! From pieces of a stream to ops.

use crate::edge::Op;
use crate::kind::Kinds;
use crate::rev::Rev;

use super::fields::{Defaults, Fields, Given, LineSink, Resolver};
use super::place::Place;
use super::stream::Stream;
use super::summary::{Fault, Rejection};
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
#[derive(Debug)]
pub struct Decoder {
    stream: Stream,
    resolver: Resolver,
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new(format: Format, kinds: &Kinds, defaults: Defaults) -> Self {
        let given = Given {
            kind: defaults.kind.is_some(),
            target_type: defaults.target_type.is_some(),
        };
        Self {
            stream: Stream::new(format, given),
            resolver: Resolver::new(kinds, defaults),
        }
    }

    /// Reads a piece and adds what it completes to `out`. `now` bounds the times of the edges.
    ///
    /// # Errors
    /// [`FormatError`]; then nothing more can be read.
    pub fn decode(&mut self, piece: &[u8], now: Rev, out: &mut Decoded) -> Result<(), FormatError> {
        let resolver = &mut self.resolver;
        self.stream.read(piece, &mut Ops { resolver, now, out })
    }

    /// The end of the last line that was read whole. What was decoded so far is what lies before.
    #[must_use]
    pub fn place(&self) -> Place {
        self.stream.place()
    }

    /// Goes on at a place that another decoder of the same stream came to. This one must have read
    /// the first [`Place::header_bytes`] of it and nothing else; what follows `place` comes next.
    pub fn go_on_at(&mut self, place: Place) {
        // A place at the start says nothing, not even that there is no mark.
        if place.bytes > 0 {
            self.stream.go_on_at(place);
        }
    }

    /// Reads what the end of the stream completes: a last line needs no line feed.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn finish(mut self, now: Rev, out: &mut Decoded) -> Result<(), FormatError> {
        let resolver = &mut self.resolver;
        self.stream.finish(&mut Ops { resolver, now, out })
    }
}

/// Resolves lines to ops as they come.
struct Ops<'a> {
    resolver: &'a mut Resolver,
    now: Rev,
    out: &'a mut Decoded,
}

impl LineSink for Ops<'_> {
    fn fields(&mut self, line: u64, fields: &Fields<'_>) {
        match self.resolver.op(fields, self.now) {
            Ok(op) => self.out.ops.push(op),
            Err(fault) => self.fault(line, fault),
        }
    }

    fn fault(&mut self, line: u64, fault: Fault) {
        self.out.rejections.push(fault.at(line));
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
