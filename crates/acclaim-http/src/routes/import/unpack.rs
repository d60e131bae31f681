//! Bodies as they are or packed with gzip.
//!
//! A packed body is fed in small parts, because one byte of it can stand for a thousand: what a
//! part unpacks to bounds the memory.

use std::io::Write;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use flate2::write::MultiGzDecoder;

use crate::problem::{Code, Problem};

/// Packed bytes that are unpacked at once; 1,032 times as many can come out (RFC 1951).
const PACKED_PART_BYTES: usize = 2 * 1024;
/// Text that is decoded at once.
const TEXT_PART_BYTES: usize = 64 * 1024;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Gzip,
}

impl Encoding {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else {
            return Ok(Self::Plain);
        };
        match value.as_bytes().to_ascii_lowercase().as_slice() {
            b"identity" => Ok(Self::Plain),
            b"gzip" | b"x-gzip" => Ok(Self::Gzip),
            _ => {
                let detail = format!("{value:?} is not a content encoding of imports; use gzip");
                Err(Problem::new(Code::UnsupportedMediaType, detail).about("content-encoding"))
            }
        }
    }
}

/// Turns pieces of a body into text.
pub(super) struct Unpacker {
    gzip: Option<MultiGzDecoder<Vec<u8>>>,
    text: Bytes,
}

impl Unpacker {
    pub(super) fn new(encoding: Encoding) -> Self {
        Self {
            gzip: (encoding == Encoding::Gzip).then(|| MultiGzDecoder::new(Vec::new())),
            text: Bytes::new(),
        }
    }

    /// Cuts a piece into parts that may be fed one after the other, with all text taken between.
    pub(super) fn parts(&self, piece: &Bytes) -> Vec<Bytes> {
        let size = match self.gzip {
            Some(_) => PACKED_PART_BYTES,
            None => piece.len().max(1),
        };
        let starts = (0..piece.len()).step_by(size);
        let parts = starts.map(|start| piece.slice(start..(start + size).min(piece.len())));
        parts.collect()
    }

    pub(super) fn feed(&mut self, part: &Bytes) -> Result<(), Problem> {
        let Some(gzip) = &mut self.gzip else {
            self.text = part.clone();
            return Ok(());
        };
        gzip.write_all(part).map_err(broken)?;
        // What is ready is on the other side only after a flush.
        gzip.flush().map_err(broken)?;
        self.text = Bytes::from(std::mem::take(gzip.get_mut()));
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), Problem> {
        if let Some(gzip) = &mut self.gzip {
            gzip.try_finish().map_err(broken)?;
            self.text = Bytes::from(std::mem::take(gzip.get_mut()));
        }
        Ok(())
    }

    /// The next stretch of text, until there is none.
    pub(super) fn next_text(&mut self) -> Option<Bytes> {
        if self.text.is_empty() {
            return None;
        }
        let size = self.text.len().min(TEXT_PART_BYTES);
        Some(self.text.split_to(size))
    }
}

fn broken(error: std::io::Error) -> Problem {
    let detail = format!("the body is not whole gzip: {error}. Lines before may be written");
    Problem::new(Code::BadRequest, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(packed: Vec<u8>) -> Result<(Vec<u8>, usize), Problem> {
        let mut unpacker = Unpacker::new(Encoding::Gzip);
        let (mut all, mut most) = (Vec::new(), 0);
        for part in unpacker.parts(&Bytes::from(packed)) {
            unpacker.feed(&part)?;
            most = most.max(unpacker.text.len());
            while let Some(text) = unpacker.next_text() {
                assert!(text.len() <= TEXT_PART_BYTES);
                all.extend_from_slice(&text);
            }
        }
        unpacker.finish()?;
        while let Some(text) = unpacker.next_text() {
            all.extend_from_slice(&text);
        }
        Ok((all, most))
    }

    #[test]
    fn members_one_after_the_other_are_one_text() {
        let both = [packed(b"one\n"), packed(b"two\n")].concat();
        assert_eq!(unpack(both).unwrap().0, b"one\ntwo\n");
    }

    #[test]
    fn a_bomb_is_unpacked_in_small_parts() {
        let bomb = packed(&vec![b'a'; 40_000_000]);
        let (all, most) = unpack(bomb).unwrap();
        assert_eq!(all.len(), 40_000_000);
        assert!(most <= 1_100 * PACKED_PART_BYTES, "{most}");
    }

    #[test]
    fn what_is_broken_off_or_no_gzip_is_refused() {
        let mut cut = packed(
            &(0..10_000u32)
                .flat_map(u32::to_be_bytes)
                .collect::<Vec<_>>(),
        );
        cut.truncate(cut.len() / 2);
        assert!(unpack(cut).is_err());
        assert!(unpack(b"no gzip at all".to_vec()).is_err());
    }
}
