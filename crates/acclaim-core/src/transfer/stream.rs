//! A stream of either format, cut anywhere, as lines taken apart into fields.

use std::fmt;

use super::Format;
use super::bom::MarkStripper;
use super::csv::Records;
use super::decode::FormatError;
use super::fields::{Given, LineSink};
use super::ndjson::Lines;

pub(super) struct Stream {
    mark: MarkStripper,
    reader: Reader,
}

enum Reader {
    Ndjson(Lines),
    Csv(Box<Records>),
}

impl Stream {
    pub(super) fn new(format: Format, given: Given) -> Self {
        Self {
            mark: MarkStripper::default(),
            reader: match format {
                Format::Ndjson => Reader::Ndjson(Lines::default()),
                Format::Csv => Reader::Csv(Box::new(Records::new(given))),
            },
        }
    }

    pub(super) fn read(
        &mut self,
        piece: &[u8],
        sink: &mut impl LineSink,
    ) -> Result<(), FormatError> {
        let (held_back, piece) = self.mark.strip(piece);
        self.reader.read(held_back, sink)?;
        self.reader.read(piece, sink)
    }

    pub(super) fn finish(&mut self, sink: &mut impl LineSink) -> Result<(), FormatError> {
        let held_back = self.mark.held_back();
        self.reader.read(held_back, sink)?;
        match &mut self.reader {
            Reader::Ndjson(lines) => {
                lines.finish(sink);
                Ok(())
            }
            Reader::Csv(records) => records.finish(sink),
        }
    }
}

impl Reader {
    fn read(&mut self, piece: &[u8], sink: &mut impl LineSink) -> Result<(), FormatError> {
        match self {
            Self::Ndjson(lines) => {
                lines.decode(piece, sink);
                Ok(())
            }
            Self::Csv(records) => records.decode(piece, sink),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
