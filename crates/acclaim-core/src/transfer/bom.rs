//! The byte order mark that some programs put before UTF-8.

/// The mark.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Takes the mark off the start of a stream that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct MarkStripper {
    matched: usize,
    settled: bool,
}

impl MarkStripper {
    /// What is held back so far and was no mark after all, and what remains of `piece`.
    pub(super) fn strip<'a>(&mut self, piece: &'a [u8]) -> (&'static [u8], &'a [u8]) {
        if self.settled {
            return (&[], piece);
        }
        let wanted = &BYTE_ORDER_MARK[self.matched..];
        let same = wanted.iter().zip(piece).take_while(|(a, b)| a == b).count();
        if same == wanted.len() {
            self.settled = true;
            return (&[], &piece[same..]);
        }
        if same == piece.len() {
            self.matched += same;
            return (&[], &[]);
        }
        (self.held_back(), piece)
    }

    /// For a stream that is gone on with behind its start.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    /// At the end of the stream: what was held back.
    pub(super) fn held_back(&mut self) -> &'static [u8] {
        if self.settled {
            return &[];
        }
        self.settled = true;
        &BYTE_ORDER_MARK[..self.matched]
    }
}
