//! CSV: a header that names the fields, then one edge a record.
//!
//! Quoting follows RFC 4180, so a record may span lines; an empty value is a missing one. Unknown,
//! repeated and missing columns refuse the whole, since every line would be wrong alike.

use csv_core::{ReadRecordResult, Reader};

use super::MAX_LINE_BYTES;
use super::decode::FormatError;
use super::fields::{Fields, Given, LineSink, RawId};
use super::place::Place;
use super::summary::Fault;

/// The columns that there are.
const COLUMNS: [&str; 5] = ["kind", "userId", "targetType", "targetId", "at"];
/// Ends of fields that are kept: one more than there are columns shows that a record has too many,
/// and the reader wants room for one beyond that.
const MAX_FIELDS: usize = COLUMNS.len() + 2;

/// Cuts a stream into records and reads each.
pub(super) struct Records {
    reader: Reader,
    given: Given,
    header: Option<Header>,
    /// The values of the record under way, without separators and quotes.
    values: Box<[u8]>,
    values_len: usize,
    ends: [usize; MAX_FIELDS],
    ends_len: usize,
    /// Why the record under way is passed over.
    overflow: Option<Overflow>,
    /// Whether a record is under way.
    inside: bool,
    /// Line feeds so far.
    line_feeds: u64,
    /// The line on which the record under way began.
    line: u64,
    /// Bytes read so far.
    read: u64,
    /// The end of the last whole record.
    place: Place,
}

#[derive(Clone, Copy)]
enum Overflow {
    Bytes,
    Fields,
}

/// Which field stands in which column.
struct Header {
    columns: usize,
    place: [Option<usize>; COLUMNS.len()],
}

impl Records {
    pub(super) fn new(given: Given) -> Self {
        Self {
            reader: Reader::new(),
            given,
            header: None,
            values: vec![0; MAX_LINE_BYTES].into_boxed_slice(),
            values_len: 0,
            ends: [0; MAX_FIELDS],
            ends_len: 0,
            overflow: None,
            inside: false,
            line_feeds: 0,
            line: 0,
            read: 0,
            place: Place::default(),
        }
    }

    pub(super) fn decode(
        &mut self,
        mut piece: &[u8],
        sink: &mut impl LineSink,
    ) -> Result<(), FormatError> {
        self.read += piece.len() as u64;
        loop {
            if !self.inside {
                piece = self.skip_line_ends(piece);
                self.line = self.line_feeds + 1;
                self.keep_place(self.read - piece.len() as u64);
            }
            if piece.is_empty() {
                return Ok(());
            }
            self.inside = true;
            piece = self.read(piece, sink)?;
        }
    }

    /// Reads what is left as the last record. A file without any line is an empty one.
    pub(super) fn finish(&mut self, sink: &mut impl LineSink) -> Result<(), FormatError> {
        while self.inside {
            self.read(&[], sink)?;
        }
        Ok(())
    }

    fn keep_place(&mut self, bytes: u64) {
        let is_header = self.header.is_some() && self.place.header_bytes == 0;
        self.place = Place {
            bytes,
            line_feeds: self.line_feeds,
            header_bytes: if is_header {
                bytes
            } else {
                self.place.header_bytes
            },
        };
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// The header must have been read, and nothing behind it.
    pub(super) fn go_on_at(&mut self, place: Place) {
        self.line_feeds = place.line_feeds;
        self.read = place.bytes;
        self.place = place;
    }

    fn skip_line_ends<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let is_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let ends = piece.iter().take_while(is_end).count();
        self.line_feeds += count_line_feeds(&piece[..ends]);
        &piece[ends..]
    }

    /// One step of the reader; returns what it has not read. An empty `piece` means the end.
    fn read<'a>(
        &mut self,
        piece: &'a [u8],
        sink: &mut impl LineSink,
    ) -> Result<&'a [u8], FormatError> {
        let (result, read, written, ended) = self.reader.read_record(
            piece,
            &mut self.values[self.values_len..],
            &mut self.ends[self.ends_len..],
        );
        self.line_feeds += count_line_feeds(&piece[..read]);
        self.values_len += written;
        self.ends_len += ended;
        match result {
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::OutputFull => self.overflow(Overflow::Bytes),
            ReadRecordResult::OutputEndsFull => self.overflow(Overflow::Fields),
            ReadRecordResult::Record => self.end_record(sink)?,
            ReadRecordResult::End => self.inside = false,
        }
        Ok(&piece[read..])
    }

    fn overflow(&mut self, overflow: Overflow) {
        self.overflow.get_or_insert(overflow);
        self.values_len = 0;
        self.ends_len = 0;
    }

    fn end_record(&mut self, sink: &mut impl LineSink) -> Result<(), FormatError> {
        self.inside = false;
        let record = Record {
            values: &self.values[..self.values_len],
            ends: &self.ends[..self.ends_len],
        };
        let overflow = self.overflow.take();
        match &self.header {
            None if overflow.is_some() => return Err(FormatError::HeaderTooLong),
            None => self.header = Some(Header::read(&record, self.given)?),
            Some(header) => match header.fields(&record, overflow) {
                Ok(fields) => sink.fields(self.line, &fields),
                Err(fault) => sink.fault(self.line, fault),
            },
        }
        self.values_len = 0;
        self.ends_len = 0;
        Ok(())
    }
}

impl Header {
    fn read(record: &Record<'_>, given: Given) -> Result<Self, FormatError> {
        let mut place = [None; COLUMNS.len()];
        for column in 0..record.ends.len() {
            let name = String::from_utf8_lossy(record.value(column));
            let name = name.trim();
            let known = COLUMNS.iter().position(|known| *known == name);
            let known = known.ok_or_else(|| FormatError::UnknownColumn(name.to_owned()))?;
            if place[known].replace(column).is_some() {
                return Err(FormatError::RepeatedColumn(COLUMNS[known]));
            }
        }
        let given = [given.kind, false, given.target_type, false, true];
        let missing = (0..COLUMNS.len()).find(|c| place[*c].is_none() && !given[*c]);
        match missing {
            Some(column) => Err(FormatError::MissingColumn(COLUMNS[column])),
            None => Ok(Self {
                columns: record.ends.len(),
                place,
            }),
        }
    }

    fn fields<'a>(
        &self,
        record: &Record<'a>,
        overflow: Option<Overflow>,
    ) -> Result<Fields<'a>, Fault> {
        if let Some(Overflow::Bytes) = overflow {
            return Err(Fault::bad(format!(
                "the record has more than {MAX_LINE_BYTES} bytes, which is the limit; perhaps a \
                 quote is not closed"
            )));
        }
        if overflow.is_some() || record.ends.len() > self.columns {
            let detail = format!("has more values than the header's {}", self.columns);
            return Err(Fault::bad(detail));
        }
        if record.ends.len() < self.columns {
            let (values, columns) = (record.ends.len(), self.columns);
            let detail = format!("has {values} values where the header names {columns}");
            return Err(Fault::bad(detail));
        }
        let value = |field: usize| self.value(record, field);
        let [kind, user_id, target_type, target_id, at] =
            [value(0)?, value(1)?, value(2)?, value(3)?, value(4)?];
        Ok(Fields {
            kind,
            user_id: user_id.map(RawId::Text),
            target_type,
            target_id: target_id.map(RawId::Text),
            at,
        })
    }

    fn value<'a>(&self, record: &Record<'a>, field: usize) -> Result<Option<&'a str>, Fault> {
        let Some(column) = self.place[field] else {
            return Ok(None);
        };
        let value = record.value(column);
        let text = std::str::from_utf8(value)
            .map_err(|_| Fault::bad(format!("{} is not UTF-8", COLUMNS[field])))?;
        Ok((!text.is_empty()).then_some(text))
    }
}

/// The values of a record, end to end.
struct Record<'a> {
    values: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Record<'a> {
    fn value(&self, column: usize) -> &'a [u8] {
        let start = column.checked_sub(1).map_or(0, |last| self.ends[last]);
        &self.values[start..self.ends[column]]
    }
}

fn count_line_feeds(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}
