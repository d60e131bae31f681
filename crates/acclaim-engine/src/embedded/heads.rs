//! Heads: the first bytes of records of the base that are asked for often, in memory.
//!
//! A count is in the first bytes of its target's record. Reading it from the tables costs several
//! microseconds even when the block is in the cache; popular targets are asked for all the time.
//!
//! A head belongs to a generation: what a snapshot of the base taken after the last run sees. A
//! reader that still holds an older snapshot is passed by, so it neither sees a newer head nor
//! leaves an older one behind. A run takes out the heads of the records that it wrote; the others
//! stay.
//!
//! Memory is bounded: a shard has two halves, and when the young one is full it becomes the old one
//! and the old one goes. What is asked for again moves to the young one.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

const SHARDS: usize = 16;
/// Heads that are kept at most: some 10 MiB.
pub const MAX_HEADS: usize = 1 << 17;
const HEADS_A_HALF: usize = MAX_HEADS / SHARDS / 2;
/// Bytes of a head: room for two integers of [`super::codec::put_varint`].
pub const HEAD_BYTES: usize = 20;

const HASH: FixedState = FixedState::with_seed(0x4EAD);

/// The beginning of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; HEAD_BYTES],
    length: u8,
}

impl Head {
    /// The first bytes of a record.
    pub fn of(record: &[u8]) -> Self {
        let length = record.len().min(HEAD_BYTES);
        let mut bytes = [0; HEAD_BYTES];
        bytes[..length].copy_from_slice(&record[..length]);
        Self {
            bytes,
            // At most HEAD_BYTES.
            length: length as u8,
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// A key's hash, by which its head is found and taken out.
pub type KeyHash = u64;

/// The hash of a key.
pub fn hash(key: &[u8]) -> KeyHash {
    HASH.hash_one(key)
}

type Half = HashMap<KeyHash, (SmallVec<[u8; 16]>, Head), FixedState>;

#[derive(Default)]
struct Shard {
    generation: u64,
    young: Half,
    old: Half,
}

/// The heads that are kept.
#[derive(Default)]
pub struct Heads {
    shards: [Mutex<Shard>; SHARDS],
}

impl Heads {
    fn shard(&self, hash: KeyHash) -> &Mutex<Shard> {
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    /// The head of a record, if it is kept for this generation.
    pub fn get(&self, generation: u64, hash: KeyHash, key: &[u8]) -> Option<Head> {
        let mut shard = self.shard(hash).lock();
        if shard.generation != generation {
            return None;
        }
        if let Some((known, head)) = shard.young.get(&hash) {
            return (known[..] == *key).then_some(*head);
        }
        let (known, head) = shard.old.remove(&hash)?;
        if known[..] != *key {
            return None;
        }
        shard.put(hash, known, head);
        Some(head)
    }

    /// Keeps the head of a record as this generation sees it.
    pub fn put(&self, generation: u64, hash: KeyHash, key: &[u8], head: Head) {
        let mut shard = self.shard(hash).lock();
        if shard.generation == generation {
            shard.put(hash, SmallVec::from_slice(key), head);
        }
    }

    /// Begins a generation in which these records may be others.
    pub fn begin(&self, generation: u64, written: &[KeyHash]) {
        let mut by_shard: [Vec<KeyHash>; SHARDS] = Default::default();
        for hash in written {
            by_shard[(hash >> 32) as usize % SHARDS].push(*hash);
        }
        for (shard, written) in self.shards.iter().zip(by_shard) {
            let mut shard = shard.lock();
            shard.generation = generation;
            for hash in written {
                shard.young.remove(&hash);
                shard.old.remove(&hash);
            }
        }
    }

    /// Heads that are kept now.
    #[cfg(test)]
    fn len(&self) -> usize {
        let of = |shard: &Mutex<Shard>| {
            let shard = shard.lock();
            shard.young.len() + shard.old.len()
        };
        self.shards.iter().map(of).sum()
    }
}

impl Shard {
    fn put(&mut self, hash: KeyHash, key: SmallVec<[u8; 16]>, head: Head) {
        if self.young.len() >= HEADS_A_HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, (key, head));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(heads: &Heads, generation: u64, key: &[u8], value: &[u8]) {
        heads.put(generation, hash(key), key, Head::of(value));
    }

    fn get(heads: &Heads, generation: u64, key: &[u8]) -> Option<Vec<u8>> {
        let head = heads.get(generation, hash(key), key);
        head.map(|head| head.bytes().to_vec())
    }

    #[test]
    fn a_head_is_the_beginning_of_a_record() {
        for length in [0, 1, HEAD_BYTES, HEAD_BYTES + 1] {
            let record = vec![7; length];
            let kept = length.min(HEAD_BYTES);
            assert_eq!(Head::of(&record).bytes(), &record[..kept]);
        }
    }

    #[test]
    fn what_was_written_goes_and_the_rest_stays() {
        let heads = Heads::default();
        put(&heads, 0, b"a", b"1");
        put(&heads, 0, b"b", b"1");
        heads.begin(1, &[hash(b"a")]);
        assert_eq!(get(&heads, 1, b"a"), None);
        assert_eq!(get(&heads, 1, b"b"), Some(b"1".to_vec()));
    }

    #[test]
    fn a_reader_of_an_older_snapshot_is_passed_by() {
        let heads = Heads::default();
        put(&heads, 0, b"a", b"1");
        heads.begin(1, &[hash(b"a")]);
        put(&heads, 0, b"a", b"1");
        assert_eq!(get(&heads, 1, b"a"), None, "it leaves nothing behind");
        put(&heads, 1, b"a", b"2");
        assert_eq!(get(&heads, 0, b"a"), None, "it sees nothing newer");
        assert_eq!(get(&heads, 1, b"a"), Some(b"2".to_vec()));
    }

    #[test]
    fn heads_are_bounded_and_those_in_use_stay() {
        let heads = Heads::default();
        put(&heads, 0, b"used", b"1");
        for n in 0..MAX_HEADS as u64 * 3 {
            put(&heads, 0, &n.to_be_bytes(), b"2");
            if n % 64 == 0 {
                assert_eq!(get(&heads, 0, b"used"), Some(b"1".to_vec()), "{n}");
            }
        }
        assert!(heads.len() <= MAX_HEADS, "{}", heads.len());
    }
}
