//! A stream of either format, cut anywhere, as lines taken apart into fields.

use std::fmt;

use super::Format;
use super::bom::MarkStripper;
use super::csv::Records;
use super::decode::FormatError;
use super::fields::{Given, LineSink};
use super::ndjson::Lines;
use super::place::Place;

pub(super) struct Stream {
    mark: MarkStripper,
    /// Bytes that the mark took.
    stripped: u64,
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
            stripped: 0,
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
        let length = piece.len();
        let (held_back, piece) = self.mark.strip(piece);
        // What is held back for now counts until it turns out to be no mark.
        self.stripped += length as u64;
        self.stripped -= (held_back.len() + piece.len()) as u64;
        self.reader.read(held_back, sink)?;
        self.reader.read(piece, sink)
    }

    pub(super) fn place(&self) -> Place {
        let place = match &self.reader {
            Reader::Ndjson(lines) => lines.place(),
            Reader::Csv(records) => records.place(),
        };
        let behind_mark = |bytes: u64| if bytes == 0 { 0 } else { bytes + self.stripped };
        Place {
            bytes: behind_mark(place.bytes),
            header_bytes: behind_mark(place.header_bytes),
            ..place
        }
    }

    pub(super) fn go_on_at(&mut self, place: Place) {
        self.mark.settle();
        self.stripped = 0;
        match &mut self.reader {
            Reader::Ndjson(lines) => lines.go_on_at(place),
            Reader::Csv(records) => records.go_on_at(place),
        }
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
