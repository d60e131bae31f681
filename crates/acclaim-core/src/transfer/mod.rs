//! Edges as text: what an export writes and an import reads.
//!
//! Two formats carry the same five fields. NDJSON has one object a line,
//! `{"kind":"likes","userId":1,"targetType":"POST","targetId":"2","at":"…"}`; CSV names the fields
//! in its first line, in any order. `at` may be missing, and so may `kind` and `targetType` where
//! the caller gives [`Defaults`].
//!
//! [`Decoder`] takes the bytes in pieces of any size and gives ops that are ready for
//! [`crate::port::Writes::apply`], already checked against their kinds. A line that is wrong is a
//! [`Rejection`] and harms no other line. Only a CSV header that cannot be used ends the whole.
//! Memory is bounded by [`MAX_LINE_BYTES`] and by what one piece decodes to.
//!
//! [`Relay`] takes the same streams for somebody who does not know the kinds: a client that passes
//! the lines on to a server.
//!
//! A reading can be given up at any [`Place`] and gone on with by another decoder.
//!
//! It may not know where the bytes come from, nor the time of day: `now` is passed in.

mod bom;
mod csv;
mod decode;
mod fields;
mod ndjson;
mod place;
mod relay;
mod stream;
mod summary;
mod write;

use serde::{Deserialize, Serialize};

pub use decode::{Decoded, Decoder, FormatError};
pub use fields::Defaults;
pub use place::Place;
pub use relay::{Relay, Relayed};
pub use summary::{MAX_DETAIL_BYTES, MAX_REJECTIONS, Rejection, RejectionCode, Summary};
pub use write::Writer;

/// The longest line of an import, in bytes. The longest line that an export writes is far shorter.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// How edges are written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Ndjson,
    /// Comma-separated values (RFC 4180) under a header.
    Csv,
}

impl Format {
    /// The media type of this format.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
        }
    }

    /// The format of a media type, whatever its parameters (`; charset=utf-8`).
    #[must_use]
    pub fn of_media_type(text: &str) -> Option<Self> {
        let essence = text.split(';').next()?.trim();
        [Self::Ndjson, Self::Csv]
            .into_iter()
            .find(|format| essence.eq_ignore_ascii_case(format.media_type()))
    }

    /// The format of content by its first byte that is no white space: an object is NDJSON,
    /// anything else a CSV header. `None` while there is none.
    #[must_use]
    pub fn of_content(start: &[u8]) -> Option<Self> {
        let start = start.strip_prefix(bom::BYTE_ORDER_MARK).unwrap_or(start);
        let first = start.iter().find(|byte| !byte.is_ascii_whitespace())?;
        Some(if *first == b'{' {
            Self::Ndjson
        } else {
            Self::Csv
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_media_type_and_content() {
        let of = Format::of_media_type;
        assert_eq!(of("text/csv; charset=utf-8"), Some(Format::Csv));
        assert_eq!(of("Application/X-NDJSON"), Some(Format::Ndjson));
        assert_eq!(of("application/json"), None);
        assert_eq!(Format::of_content(b" \n"), None);
        assert_eq!(Format::of_content(b"\xef\xbb\xbf\n{"), Some(Format::Ndjson));
        assert_eq!(Format::of_content(b"userId,targetId"), Some(Format::Csv));
    }
}
