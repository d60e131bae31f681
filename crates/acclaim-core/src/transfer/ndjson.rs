//! NDJSON: one object a line.
//!
//! Serde reads the line without copying: strings borrow from it unless they have escapes.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::MAX_LINE_BYTES;
use super::fields::{Fields, LineSink, RawId};
use super::place::Place;
use super::summary::Fault;

/// Cuts a stream into lines and reads each.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The start of a line whose end has not come yet; at most [`MAX_LINE_BYTES`].
    start: Vec<u8>,
    /// Whether the line under way is too long, so that the rest of it is passed over.
    too_long: bool,
    /// Lines ended so far.
    ended: u64,
    /// Bytes read so far.
    read: u64,
    /// Those of them up to the end of the last whole line.
    whole: u64,
}

impl Lines {
    pub(super) fn decode(&mut self, mut piece: &[u8], sink: &mut impl LineSink) {
        self.read += piece.len() as u64;
        while let Some(end) = memchr::memchr(b'\n', piece) {
            self.ended += 1;
            self.end_line(&piece[..end], sink);
            piece = &piece[end + 1..];
            self.whole = self.read - piece.len() as u64;
        }
        if !self.too_long {
            self.too_long = self.start.len() + piece.len() > MAX_LINE_BYTES;
            if self.too_long {
                self.start.clear();
            } else {
                self.start.extend_from_slice(piece);
            }
        }
    }

    pub(super) fn place(&self) -> Place {
        Place {
            bytes: self.whole,
            line_feeds: self.ended,
            header_bytes: 0,
        }
    }

    pub(super) fn go_on_at(&mut self, place: Place) {
        *self = Self {
            ended: place.line_feeds,
            read: place.bytes,
            whole: place.bytes,
            ..Self::default()
        };
    }

    /// Reads what is left as the last line.
    pub(super) fn finish(&mut self, sink: &mut impl LineSink) {
        self.ended += 1;
        self.end_line(&[], sink);
    }

    fn end_line(&mut self, end: &[u8], sink: &mut impl LineSink) {
        if self.too_long || self.start.len() + end.len() > MAX_LINE_BYTES {
            self.start.clear();
            self.too_long = false;
            let fault = Fault::bad(format!(
                "the line has more than {MAX_LINE_BYTES} bytes, which is the limit"
            ));
            sink.fault(self.ended, fault);
        } else if self.start.is_empty() {
            read_line(end, self.ended, sink);
        } else {
            self.start.extend_from_slice(end);
            read_line(&self.start, self.ended, sink);
            self.start.clear();
        }
    }
}

fn read_line(line: &[u8], number: u64, sink: &mut impl LineSink) {
    let text = line.trim_ascii_start();
    if text.is_empty() {
        return;
    }
    // The derived reader would take an array of the values in order for an object.
    if text[0] != b'{' {
        let fault = Fault::bad("the line is not a JSON object".to_owned());
        return sink.fault(number, fault);
    }
    match serde_json::from_slice::<Edge<'_>>(line) {
        Ok(edge) => sink.fields(number, &edge.fields()),
        Err(error) => sink.fault(number, unreadable(&error)),
    }
}

/// The parser counts lines inside the one that it was given, which would mislead.
fn unreadable(error: &serde_json::Error) -> Fault {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = message.strip_suffix(&place).unwrap_or(&message);
    Fault::bad(format!("byte {}: {message}", error.column()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Edge<'a> {
    #[serde(borrow)]
    kind: Option<JsonText<'a>>,
    #[serde(borrow)]
    user_id: Option<JsonId<'a>>,
    #[serde(borrow)]
    target_type: Option<JsonText<'a>>,
    #[serde(borrow)]
    target_id: Option<JsonId<'a>>,
    #[serde(borrow)]
    at: Option<JsonText<'a>>,
}

impl Edge<'_> {
    fn fields(&self) -> Fields<'_> {
        Fields {
            kind: self.kind.as_ref().map(|text| &*text.0),
            user_id: self.user_id.as_ref().map(JsonId::raw),
            target_type: self.target_type.as_ref().map(|text| &*text.0),
            target_id: self.target_id.as_ref().map(JsonId::raw),
            at: self.at.as_ref().map(|text| &*text.0),
        }
    }
}

/// A string that borrows from its line where it can. `Option<Cow<str>>` would always copy.
struct JsonText<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Self)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// An id as a number or a string.
enum JsonId<'a> {
    Number(u64),
    Text(Cow<'a, str>),
}

impl JsonId<'_> {
    fn raw(&self) -> RawId<'_> {
        match self {
            Self::Number(number) => RawId::Number(*number),
            Self::Text(text) => RawId::Text(text),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonId<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdVisitor)
    }
}

struct IdVisitor;

impl<'de> Visitor<'de> for IdVisitor {
    type Value = JsonId<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id: a string, or a whole number from 0 to 18446744073709551615")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(JsonId::Number(number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(JsonId::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(JsonId::Text(Cow::Owned(text.to_owned())))
    }
}
