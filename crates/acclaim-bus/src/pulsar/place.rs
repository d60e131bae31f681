//! Where a message stands: Pulsar's ids as the positions of the port, which rise by one number.
//!
//! A message is in a ledger, there in an entry, and there in a batch. Ledgers are numbered over the
//! whole cluster, entries within a ledger, both from 0 and rising.

use pulsar::message::proto::MessageIdData;

/// How many bits of a position the parts have, from the left. An entry is one publish, and a ledger
/// takes as many as come in ten minutes (and at least 50,000), so there is room for 27,000 a second.
const LEDGER_BITS: u32 = 30;
const ENTRY_BITS: u32 = 24;
const BATCH_BITS: u32 = 10;

/// The most messages of one batch.
pub const MAX_BATCH_MESSAGES: u32 = 1 << BATCH_BITS;

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub ledger: u64,
    pub entry: u64,
}

impl Entry {
    /// The one that an id means, whatever it says of a batch.
    pub fn of(id: &MessageIdData) -> Self {
        Self {
            ledger: id.ledger_id,
            entry: id.entry_id,
        }
    }

    /// The position of a message in it; nothing where a number does not fit.
    pub fn position(self, in_batch: u32) -> Option<u64> {
        let fits = self.ledger >> LEDGER_BITS == 0
            && self.entry >> ENTRY_BITS == 0
            && in_batch >> BATCH_BITS == 0;
        let entry = (self.ledger << ENTRY_BITS | self.entry) << BATCH_BITS;
        fits.then_some(entry | u64::from(in_batch))
    }

    /// The entry of a position, and the place in its batch.
    pub fn at(position: u64) -> (Self, u32) {
        let entry = position >> BATCH_BITS;
        let part = |number: u64, bits: u32| number & ((1 << bits) - 1);
        // A part of ten bits fits.
        let in_batch = part(position, BATCH_BITS) as u32;
        let place = Self {
            ledger: entry >> ENTRY_BITS,
            entry: part(entry, ENTRY_BITS),
        };
        (place, in_batch)
    }

    /// The id of the whole entry.
    pub fn id(self) -> MessageIdData {
        MessageIdData {
            ledger_id: self.ledger,
            entry_id: self.entry,
            ..MessageIdData::default()
        }
    }

    /// The id of the entry whose messages from `first` to before `size` are left.
    pub fn id_of_rest(self, first: u32, size: u32) -> MessageIdData {
        MessageIdData {
            ack_set: rest(first, size),
            ..self.id()
        }
    }
}

/// Bits from `first` to before `size`, in words.
fn rest(first: u32, size: u32) -> Vec<i64> {
    let mut words = vec![0_u64; size.div_ceil(64) as usize];
    for bit in first..size {
        words[(bit / 64) as usize] |= 1 << (bit % 64);
    }
    words.into_iter().map(u64::cast_signed).collect()
}

/// Whether a message of a batch is left. Where nothing is said all are.
pub fn is_left(ack_set: &[i64], in_batch: u32) -> bool {
    if ack_set.is_empty() {
        return true;
    }
    let word = ack_set.get((in_batch / 64) as usize).copied().unwrap_or(0);
    word.cast_unsigned() >> (in_batch % 64) & 1 == 1
}

/// The id before every message, and the one behind every message.
pub fn ends() -> (MessageIdData, MessageIdData) {
    let both = |ledger: i64, entry: i64| Entry {
        ledger: ledger.cast_unsigned(),
        entry: entry.cast_unsigned(),
    };
    (both(-1, -1).id(), both(i64::MAX, i64::MAX).id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_hold_all_parts_up_to_their_ends() {
        let place = |ledger, entry| Entry { ledger, entry };
        let (ledger, entry) = ((1 << 30) - 1, (1 << 24) - 1);
        for (ledger, entry, in_batch) in [(0, 0, 0), (7, 3, 999), (ledger, entry, 1_023)] {
            let position = place(ledger, entry).position(in_batch).unwrap();
            assert_eq!(Entry::at(position), (place(ledger, entry), in_batch));
        }
        assert_eq!(place(ledger, entry).position(1_023), Some(u64::MAX));
        assert_eq!(place(1 << 30, 0).position(0), None);
        assert_eq!(place(0, 1 << 24).position(0), None);
        assert_eq!(place(0, 0).position(1_024), None);
        let in_order = [(1, 9, 9), (2, 0, 0), (2, 0, 1), (2, 1, 0), (3, 0, 0)];
        let positions = in_order.map(|(l, e, b)| place(l, e).position(b).unwrap());
        assert!(positions.is_sorted());
    }

    #[test]
    fn what_is_left_of_a_batch() {
        assert_eq!(rest(0, 3), [0b111]);
        assert_eq!(rest(3, 3), [0]);
        assert_eq!(rest(63, 65), [i64::MIN, 1]);
        for bit in 0..130 {
            assert_eq!(
                is_left(&rest(70, 100), bit),
                (70..100).contains(&bit),
                "{bit}"
            );
            assert!(is_left(&[], bit));
        }
    }
}
