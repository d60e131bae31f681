//! Passing lines on to a server, which knows the kinds.
//!
//! Every line that can be taken apart comes out as one line of NDJSON, completed by the defaults.
//! What its fields hold is the server's to judge.

use std::fmt::Write as _;

use super::Format;
use super::decode::FormatError;
use super::fields::{Fields, Given, LineSink, RawId};
use super::stream::Stream;
use super::summary::{Fault, Rejection};

/// What lines have that do not say so.
#[derive(Clone, Debug, Default)]
struct Names {
    kind: Option<String>,
    target_type: Option<String>,
}

/// Makes complete NDJSON of a stream in either format.
#[derive(Debug)]
pub struct Relay {
    stream: Stream,
    defaults: Names,
}

/// What was passed on. The caller takes it out and gives it back for the next piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// NDJSON.
    pub text: String,
    /// Where each line of `text` ends, and the number that it had in the stream.
    pub lines: Vec<(usize, u64)>,
    /// Lines that could not be taken apart.
    pub rejections: Vec<Rejection>,
}

impl Relay {
    /// A relay at the start of a stream, with the kind and the target type that lines may lack.
    #[must_use]
    pub fn new(format: Format, kind: Option<String>, target_type: Option<String>) -> Self {
        let given = Given {
            kind: kind.is_some(),
            target_type: target_type.is_some(),
        };
        Self {
            stream: Stream::new(format, given),
            defaults: Names { kind, target_type },
        }
    }

    /// Reads a piece and adds what it completes to `out`.
    ///
    /// # Errors
    /// [`FormatError`]; then nothing more can be read.
    pub fn decode(&mut self, piece: &[u8], out: &mut Relayed) -> Result<(), FormatError> {
        let defaults = &self.defaults;
        self.stream.read(piece, &mut Text { defaults, out })
    }

    /// Reads what the end of the stream completes.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn finish(mut self, out: &mut Relayed) -> Result<(), FormatError> {
        let defaults = &self.defaults;
        self.stream.finish(&mut Text { defaults, out })
    }
}

struct Text<'a> {
    defaults: &'a Names,
    out: &'a mut Relayed,
}

impl LineSink for Text<'_> {
    fn fields(&mut self, line: u64, fields: &Fields<'_>) {
        let text = &mut self.out.text;
        let kind = fields.kind.or(self.defaults.kind.as_deref());
        let target_type = fields.target_type.or(self.defaults.target_type.as_deref());
        text.push('{');
        push_text("kind", kind, text);
        push_id("userId", fields.user_id, text);
        push_text("targetType", target_type, text);
        push_id("targetId", fields.target_id, text);
        push_text("at", fields.at, text);
        if text.ends_with(',') {
            text.pop();
        }
        text.push_str("}\n");
        self.out.lines.push((text.len(), line));
    }

    fn fault(&mut self, line: u64, fault: Fault) {
        self.out.rejections.push(fault.at(line));
    }
}

fn push_text(field: &str, value: Option<&str>, text: &mut String) {
    if let Some(value) = value {
        // Writing to a string cannot fail.
        let _ = write!(text, "\"{field}\":{},", serde_json::Value::from(value));
    }
}

fn push_id(field: &str, id: Option<RawId<'_>>, text: &mut String) {
    match id {
        Some(RawId::Number(number)) => {
            let _ = write!(text, "\"{field}\":{number},");
        }
        Some(RawId::Text(value)) => push_text(field, Some(value), text),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_completed_and_keep_their_numbers() {
        let mut relay = Relay::new(Format::Csv, Some("claps".to_owned()), None);
        let mut out = Relayed::default();
        relay
            .decode(
                b"userId,targetId,targetType\n1,\"a\"\"b\",POST\n1\n\n,2,P",
                &mut out,
            )
            .unwrap();
        relay.finish(&mut out).unwrap();
        let expected = concat!(
            "{\"kind\":\"claps\",\"userId\":\"1\",\"targetType\":\"POST\",\"targetId\":\"a\\\"b\"}\n",
            "{\"kind\":\"claps\",\"targetType\":\"P\",\"targetId\":\"2\"}\n"
        );
        assert_eq!(out.text, expected);
        let lines: Vec<u64> = out.lines.iter().map(|(_, line)| *line).collect();
        assert_eq!(lines, [2, 5]);
        assert_eq!(out.lines[1].0, expected.len());
        assert_eq!(out.rejections[0].line, 3);
    }

    #[test]
    fn ids_stay_numbers_or_texts() {
        let line =
            b"{\"kind\":\"likes\",\"userId\":7,\"targetType\":\"POST\",\"targetId\":\"07\"}\n";
        let mut out = Relayed::default();
        let mut relay = Relay::new(Format::Ndjson, None, None);
        relay.decode(line, &mut out).unwrap();
        assert_eq!(out.text.as_bytes(), line);
    }
}
