//! Frames: how one commit lies in a segment.
//!
//! ```text
//! magic u16 | version u8 | 0 | payload bytes u32 | crc32 u32 | number u64 | seq u64 | payload | end u8
//! ```
//! The checksum covers everything but itself. The end mark is never zero: in a segment that was
//! zeros before, a frame whose end mark is zero was not written to its end.

use super::super::codec::Damaged;

const MAGIC: [u8; 2] = [0xAC, 0xC1];
const VERSION: u8 = 1;
const END: u8 = 0xED;
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 28;
/// Bytes a frame adds to its payload.
pub const FRAME_OVERHEAD_BYTES: usize = HEADER_BYTES + 1;
/// The largest payload of one commit.
pub const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Its place among all commits of the store, rising by one.
    pub number: u64,
    /// The last journal place after it.
    pub seq: u64,
    /// Bytes of its payload.
    pub payload_bytes: usize,
}

/// A frame read back.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// What it says of itself.
    pub header: FrameHeader,
    /// Its entries.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes it takes in its segment.
    pub fn bytes(&self) -> usize {
        self.payload.len() + FRAME_OVERHEAD_BYTES
    }

    /// Begins a frame: leaves room for the header in front of the payload.
    pub fn begin(buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.resize(HEADER_BYTES, 0);
    }

    /// Ends a frame begun with [`Frame::begin`]: fills in header, checksum and end mark.
    pub fn finish(buffer: &mut Vec<u8>, number: u64, seq: u64) {
        let payload_bytes = (buffer.len() - HEADER_BYTES) as u32;
        buffer.push(END);
        buffer[0..2].copy_from_slice(&MAGIC);
        buffer[2] = VERSION;
        buffer[4..8].copy_from_slice(&payload_bytes.to_le_bytes());
        buffer[12..20].copy_from_slice(&number.to_le_bytes());
        buffer[20..28].copy_from_slice(&seq.to_le_bytes());
        let crc = checksum(buffer);
        buffer[8..12].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Reads a header without its checksum. `None` where nothing was ever written.
pub fn peek(bytes: &[u8]) -> Option<Result<FrameHeader, Damaged>> {
    let header = match bytes.first_chunk::<HEADER_BYTES>() {
        Some(header) => header,
        None if bytes.iter().all(|byte| *byte == 0) => return None,
        None => return Some(Err(Damaged("a frame's header is cut"))),
    };
    if header.iter().all(|byte| *byte == 0) {
        return None;
    }
    if header[..2] != MAGIC || header[2] != VERSION {
        return Some(Err(Damaged("a frame does not begin as one")));
    }
    let u32_at = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
    let payload_bytes = u32_at(4) as usize;
    if payload_bytes > MAX_FRAME_BYTES {
        return Some(Err(Damaged("a frame is larger than any")));
    }
    Some(Ok(FrameHeader {
        number: u64_at(12),
        seq: u64_at(20),
        payload_bytes,
    }))
}

/// Reads the frame at the beginning of `bytes`. `None` where nothing was ever written.
pub fn read(bytes: &[u8]) -> Option<Result<Frame<'_>, Damaged>> {
    let header = match peek(bytes)? {
        Ok(header) => header,
        Err(damaged) => return Some(Err(damaged)),
    };
    let Some(frame) = bytes.get(..header.payload_bytes + FRAME_OVERHEAD_BYTES) else {
        return Some(Err(Damaged("a frame is cut")));
    };
    let stored = u32::from_le_bytes([frame[8], frame[9], frame[10], frame[11]]);
    if checksum(frame) != stored || frame[frame.len() - 1] != END {
        return Some(Err(Damaged("a frame's checksum is wrong")));
    }
    let payload = &frame[HEADER_BYTES..frame.len() - 1];
    Some(Ok(Frame { header, payload }))
}

fn checksum(frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[..8]);
    hasher.update(&frame[12..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut buffer = Vec::new();
        Frame::begin(&mut buffer);
        buffer.extend_from_slice(payload);
        Frame::finish(&mut buffer, 7, 1_795_132_800_000_000);
        buffer
    }

    proptest! {
        #[test]
        fn frames_read_back(payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let bytes = frame(&payload);
            let read = read(&bytes).unwrap().unwrap();
            prop_assert_eq!(read.payload, &payload[..]);
            prop_assert_eq!(read.header.number, 7);
            prop_assert_eq!(read.header.seq, 1_795_132_800_000_000);
            prop_assert_eq!(read.bytes(), bytes.len());
        }

        #[test]
        fn no_flipped_bit_passes(payload in prop::collection::vec(any::<u8>(), 0..60), at: usize, bit in 0u8..8) {
            let mut bytes = frame(&payload);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let flipped = read(&bytes);
            prop_assert!(!matches!(flipped, Some(Ok(_))), "byte {at}");
        }
    }

    #[test]
    fn zeros_are_nothing() {
        assert!(read(&[0; 100]).is_none());
        assert!(read(&[]).is_none());
        assert!(read(&[0; 5]).is_none());
    }
}
