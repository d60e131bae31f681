//! Reading a whole segment at start, and telling a torn tail from a damaged log.
//!
//! A power cut may leave the last frame half written: that commit was answered to nobody and is cut
//! off. Anything else that does not read is damage, and the store refuses to open rather than lose
//! what it acknowledged. The difference:
//! - a frame that is followed by a readable one is damaged, since commits are made durable in order;
//! - a frame that ends in zeros, has a whole sector of zeros, or reaches beyond the end of the file
//!   was not written to its end (segments are zeros before): torn;
//! - a frame that is all there but whose checksum is wrong is damaged.

use acclaim_core::Rev;

use super::super::codec::{Damaged, Reader};
use super::Entry;
use super::frame::{self, FRAME_OVERHEAD_BYTES, Frame};

/// The smallest unit that a disk writes whole.
const SECTOR_BYTES: usize = 512;

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With zeros after the last frame.
    Clean,
    /// With a frame that was not written to its end.
    Torn,
}

/// What a scan found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// The number of the next frame.
    pub next_number: u64,
    /// The last journal place.
    pub last_seq: Rev,
    /// Bytes of readable frames.
    pub bytes: u64,
    /// How it ends.
    pub tail: Tail,
}

/// Why a segment cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {reason}")]
pub struct SegmentDamage {
    /// Where.
    pub offset: u64,
    /// What is wrong.
    pub reason: &'static str,
}

/// Reads the frames of a segment that begins with frame `first_number` after place `after_seq`,
/// handing every commit's entries to `visit`.
pub fn scan_segment(
    bytes: &[u8],
    first_number: u64,
    after_seq: Rev,
    mut visit: impl FnMut(u64, Vec<Entry>),
) -> Result<Scanned, SegmentDamage> {
    let mut scanned = Scanned {
        next_number: first_number,
        last_seq: after_seq,
        bytes: 0,
        tail: Tail::Clean,
    };
    loop {
        let offset = scanned.bytes;
        let rest = &bytes[offset as usize..];
        let damage = |reason| SegmentDamage { offset, reason };
        match frame::read(rest) {
            Some(Ok(frame)) if frame.header.number == scanned.next_number => {
                let entries = entries_of(&frame, &mut scanned.last_seq)
                    .map_err(|damaged| damage(damaged.0))?;
                visit(scanned.next_number, entries);
                scanned.next_number += 1;
                scanned.bytes += frame.bytes() as u64;
            }
            Some(Ok(_)) => return Err(damage("a frame is out of order")),
            None if rest.iter().all(|byte| *byte == 0) => return Ok(scanned),
            unreadable => {
                if has_frame_after(rest, scanned.next_number) {
                    return Err(damage("a frame is damaged and readable ones follow it"));
                }
                if unreadable.is_some() && !is_torn(rest, offset as usize) {
                    return Err(damage("the last frame is whole but its checksum is wrong"));
                }
                return Ok(Scanned {
                    tail: Tail::Torn,
                    ..scanned
                });
            }
        }
    }
}

fn entries_of(frame: &Frame<'_>, last_seq: &mut Rev) -> Result<Vec<Entry>, Damaged> {
    let mut reader = Reader(frame.payload);
    let mut entries = Vec::new();
    while !reader.is_empty() {
        entries.push(Entry::decode(&mut reader, last_seq)?);
    }
    if last_seq.0 != frame.header.seq {
        return Err(Damaged("a frame's places do not add up"));
    }
    Ok(entries)
}

fn has_frame_after(rest: &[u8], number: u64) -> bool {
    (1..rest.len()).any(|at| {
        let readable =
            matches!(frame::peek(&rest[at..]), Some(Ok(header)) if header.number > number);
        readable && matches!(frame::read(&rest[at..]), Some(Ok(_)))
    })
}

fn is_torn(rest: &[u8], offset: usize) -> bool {
    let Some(Ok(header)) = frame::peek(rest) else {
        // The header itself does not read. It was torn if it or what follows was never written.
        return rest
            .chunks(SECTOR_BYTES)
            .skip(1)
            .all(|sector| sector.iter().all(|b| *b == 0))
            && rest
                .iter()
                .take(SECTOR_BYTES)
                .rposition(|b| *b != 0)
                .unwrap_or(0)
                < frame::HEADER_BYTES;
    };
    let Some(frame) = rest.get(..header.payload_bytes + FRAME_OVERHEAD_BYTES) else {
        return true;
    };
    let first_sector = offset.next_multiple_of(SECTOR_BYTES) - offset;
    let sectors = frame
        .get(first_sector..)
        .unwrap_or_default()
        .chunks_exact(SECTOR_BYTES);
    frame.last() == Some(&0)
        || sectors
            .into_iter()
            .any(|sector| sector.iter().all(|b| *b == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(frames: u64) -> (Vec<u8>, Vec<usize>) {
        let (mut all, mut ends) = (Vec::new(), Vec::new());
        let mut buffer = Vec::new();
        for number in 1..=frames {
            Frame::begin(&mut buffer);
            Entry::Note(b"a note".to_vec(), Some(vec![7; 1_200])).encode(&mut buffer, &mut Rev(5));
            Frame::finish(&mut buffer, number, 5);
            all.extend_from_slice(&buffer);
            ends.push(all.len());
        }
        all.resize(64 * 1024, 0);
        (all, ends)
    }

    fn scan(bytes: &[u8]) -> Result<Scanned, SegmentDamage> {
        scan_segment(bytes, 1, Rev(5), |_, _| ())
    }

    #[test]
    fn a_whole_segment_reads() {
        let (bytes, ends) = segment(5);
        let scanned = scan(&bytes).unwrap();
        assert_eq!((scanned.next_number, scanned.tail), (6, Tail::Clean));
        assert_eq!(scanned.bytes as usize, ends[4]);
    }

    #[test]
    fn a_tail_cut_anywhere_is_torn_and_loses_the_last_frame_only() {
        let (whole, ends) = segment(5);
        for cut in ends[3] + 1..ends[4] {
            let mut zeroed = whole.clone();
            zeroed[cut..].fill(0);
            for bytes in [&zeroed[..], &whole[..cut]] {
                let scanned = scan(bytes).unwrap();
                assert_eq!(
                    (scanned.next_number, scanned.tail),
                    (5, Tail::Torn),
                    "cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn a_lost_sector_inside_the_last_frame_is_torn() {
        let (mut bytes, ends) = segment(2);
        let sector = ends[0].next_multiple_of(SECTOR_BYTES);
        assert!(sector + SECTOR_BYTES < ends[1]);
        bytes[sector..sector + SECTOR_BYTES].fill(0);
        let scanned = scan(&bytes).unwrap();
        assert_eq!((scanned.next_number, scanned.tail), (2, Tail::Torn));
    }

    #[test]
    fn a_flipped_bit_is_damage_wherever_it_is() {
        let (whole, ends) = segment(5);
        for at in (0..ends[4]).step_by(13) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            assert!(scan(&bytes).is_err(), "byte {at} of {}", ends[4]);
        }
    }

    #[test]
    fn a_missing_frame_is_damage() {
        let (whole, ends) = segment(5);
        let mut bytes = whole[..ends[1]].to_vec();
        bytes.extend_from_slice(&whole[ends[2]..]);
        assert!(scan(&bytes).is_err());
        let mut zeroed = whole;
        zeroed[ends[1]..ends[2]].fill(0);
        assert!(scan(&zeroed).is_err());
    }
}
