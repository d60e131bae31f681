//! Where the entries of a large target lie: linear hashing over the high bits of a 32-bit hash.
//!
//! A bucket holds one contiguous range of hashes, so that the ledger can read it as one range. The
//! layout (level L, split s) says which buckets there are: the prefixes below s have been split
//! and are at level L + 1, the others at L. Splitting always takes the bucket at s, so the layout
//! is two numbers however large the target is.
//!
//! The scripts compute the same (`decide.lua`); the tests hold the two against each other. Pure.

use std::fmt;
use std::ops::RangeInclusive;

use sha1::{Digest, Sha1};

/// The most entries that a target keeps in its own record, in Redis's compact encoding, which ends
/// at 128 fields by default.
pub const MAX_INLINE_ENTRIES: u64 = 100;

/// Entries a bucket holds on average before the next one is split. The buckets not split yet hold
/// up to twice as many at the end of a round, which must stay below 128 with room for chance.
pub const MAX_MEAN_BUCKET_ENTRIES: u64 = 56;

/// The deepest level: 16 million buckets, a billion entries.
pub const MAX_LEVEL: u8 = 24;

/// The place of a user among the buckets of a target: the first four bytes of the SHA-1 of the id
/// as text, which is what `redis.sha1hex` gives a script without any table.
#[must_use]
pub fn user_hash(user: &str) -> u32 {
    let digest = Sha1::digest(user.as_bytes());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// One bucket: all hashes whose first `level` bits are `prefix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket {
    /// How many bits of the hash the prefix has.
    pub level: u8,
    /// Those bits.
    pub prefix: u32,
}

impl Bucket {
    /// The hashes that lie in it.
    #[must_use]
    pub fn hashes(self) -> RangeInclusive<u32> {
        let width = 32 - u32::from(self.level);
        let first = u64::from(self.prefix) << width;
        let last = first + ((1u64 << width) - 1);
        // Prefixes have `level` bits, so both ends fit 32 bits.
        first as u32..=last as u32
    }

    /// Reads `<level>.<prefix>`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (level, prefix) = text.split_once('.')?;
        let bucket = Self {
            level: level.parse().ok()?,
            prefix: prefix.parse().ok()?,
        };
        let fits = bucket.level <= MAX_LEVEL + 1 && u64::from(bucket.prefix) < 1u64 << bucket.level;
        fits.then_some(bucket)
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.level, self.prefix)
    }
}

/// Which buckets there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Layout {
    /// The level of the buckets not split in this round.
    pub level: u8,
    /// The next bucket to split, below 2^level.
    pub split: u32,
}

impl Layout {
    /// The layout that `entries` come to when they come one by one.
    #[must_use]
    pub fn of(entries: u64) -> Self {
        let buckets = entries.div_ceil(MAX_MEAN_BUCKET_ENTRIES).max(2);
        let buckets = buckets.min((2u64 << MAX_LEVEL) - 1);
        // At least 2 and below 2^25, so level is 1 to 24 and the rest fits.
        let level = buckets.ilog2();
        Self {
            level: level as u8,
            split: (buckets - (1 << level)) as u32,
        }
    }

    /// How many buckets there are.
    #[must_use]
    pub fn buckets(self) -> u64 {
        (1u64 << self.level) + u64::from(self.split)
    }

    /// The bucket that a hash lies in.
    #[must_use]
    pub fn bucket_of(self, hash: u32) -> Bucket {
        let wide = u64::from(hash);
        let at = |level: u8| {
            // At most `level` bits are left.
            let prefix = (wide >> (32 - u32::from(level))) as u32;
            Bucket { level, prefix }
        };
        let bucket = at(self.level);
        if bucket.prefix < self.split {
            at(self.level + 1)
        } else {
            bucket
        }
    }

    /// Whether this bucket is one of the layout.
    #[must_use]
    pub fn has(self, bucket: Bucket) -> bool {
        if bucket.level == self.level {
            bucket.prefix >= self.split && u64::from(bucket.prefix) < 1 << self.level
        } else {
            bucket.level == self.level + 1 && bucket.prefix < 2 * self.split
        }
    }

    /// The layout after the next split.
    #[must_use]
    pub fn grown(self) -> Self {
        if u64::from(self.split) + 1 == 1 << self.level {
            Self {
                level: self.level + 1,
                split: 0,
            }
        } else {
            Self {
                split: self.split + 1,
                ..self
            }
        }
    }

    /// All buckets, by their hashes.
    pub fn all(self) -> impl Iterator<Item = Bucket> {
        let split = (0..2 * self.split).map(move |prefix| Bucket {
            level: self.level + 1,
            prefix,
        });
        let whole = (self.split..1u32 << self.level).map(move |prefix| Bucket {
            level: self.level,
            prefix,
        });
        split.chain(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hashes_never_change() {
        assert_eq!(user_hash("1"), 0x356a_192b);
        assert_eq!(user_hash("18446744073709551615"), 0x2345_24f4);
        assert_eq!(user_hash("anna"), 0x2bc1_ecb4);
    }

    #[test]
    fn the_smallest_layout_has_two_buckets() {
        assert_eq!(Layout::of(0), Layout { level: 1, split: 0 });
        assert_eq!(Layout::of(112), Layout { level: 1, split: 0 });
        assert_eq!(Layout::of(113), Layout { level: 1, split: 1 });
        assert_eq!(Layout::of(169), Layout { level: 2, split: 0 });
    }

    #[test]
    fn the_deepest_layout_is_bounded() {
        let deepest = Layout::of(u64::MAX);
        assert_eq!((deepest.level, deepest.split), (24, (1 << 24) - 1));
        assert!(deepest.has(deepest.bucket_of(u32::MAX)));
    }

    #[test]
    fn buckets_are_read_back() {
        let bucket = Bucket {
            level: 3,
            prefix: 7,
        };
        assert_eq!(Bucket::parse(&bucket.to_string()), Some(bucket));
        for text in ["", "3", "3.8", "x.1", "40.1", "3.-1"] {
            assert_eq!(Bucket::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn growing_step_by_step_gives_the_same(entries in 0u64..20_000) {
            let mut layout = Layout { level: 1, split: 0 };
            for n in 0..=entries {
                while n > MAX_MEAN_BUCKET_ENTRIES * layout.buckets() {
                    layout = layout.grown();
                }
            }
            prop_assert_eq!(layout, Layout::of(entries));
        }

        /// The buckets cover every hash once, in order.
        #[test]
        fn buckets_tile_the_hashes(entries in 0u64..20_000) {
            let layout = Layout::of(entries);
            let mut next = 0u64;
            let mut buckets = 0;
            for bucket in layout.all() {
                prop_assert!(layout.has(bucket));
                prop_assert_eq!(u64::from(*bucket.hashes().start()), next);
                next = u64::from(*bucket.hashes().end()) + 1;
                buckets += 1;
            }
            prop_assert_eq!(next, 1 << 32);
            prop_assert_eq!(buckets, layout.buckets());
        }

        #[test]
        fn a_hash_lies_in_its_bucket(entries in 0u64..100_000, hash: u32) {
            let layout = Layout::of(entries);
            let bucket = layout.bucket_of(hash);
            prop_assert!(layout.has(bucket));
            prop_assert!(bucket.hashes().contains(&hash));
        }

        /// A split leaves every other bucket where it is.
        #[test]
        fn a_split_touches_one_bucket(entries in 0u64..20_000, hash: u32) {
            let layout = Layout::of(entries);
            let (before, after) = (layout.bucket_of(hash), layout.grown().bucket_of(hash));
            if before != after {
                prop_assert_eq!((before.level, before.prefix), (layout.level, layout.split));
                prop_assert_eq!((after.level, after.prefix / 2), (before.level + 1, before.prefix));
                prop_assert!(!layout.grown().has(before));
            }
        }
    }
}
