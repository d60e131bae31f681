//! HeavyKeeper: the heaviest keys of a stream in fixed memory.
//!
//! After Yang et al., "HeavyKeeper: An Accurate Algorithm for Finding Top-k Elephant Flows"
//! (USENIX ATC 2018). Each row is an array of buckets that hold a fingerprint and a counter. A key
//! that finds its own fingerprint counts up; one that finds another's wears the counter down with
//! probability `DECAY^-counter`, and takes the bucket when it reaches zero. So heavy keys are
//! hardly worn and light ones pass through. An estimate is the largest counter that carries the
//! key's fingerprint; it is never above the true count unless two fingerprints collide.
//!
//! Invariant: every row hashes with a hasher of its own, so two keys that meet in one row do not
//! meet in the others.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// The base of the decay, as in the paper.
const DECAY: f64 = 1.08;
/// Beyond this counter the chance of decay is below one in a billion and not drawn any more.
const MAX_WORN_COUNTER: usize = 270;

/// The size of a sketch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows, each with a hash of its own.
    pub rows: usize,
    /// Buckets a row.
    pub buckets: usize,
    /// Keys that the top list holds.
    pub top: usize,
}

impl Default for Shape {
    /// 3 rows of 2,048 buckets (48 KiB) and a top list of 64.
    fn default() -> Self {
        Self {
            rows: 3,
            buckets: 2_048,
            top: 64,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    fingerprint: u32,
    counter: u32,
}

/// The heaviest keys since it was made or cleared.
#[derive(Clone, Debug)]
pub struct HeavyKeeper<K, S> {
    shape: Shape,
    hashers: Vec<S>,
    rows: Vec<Vec<Bucket>>,
    top: HashMap<K, u32>,
    /// A lower bound of the smallest estimate in a full top list.
    least: u32,
    /// Chances of decay by counter, scaled to the whole range of `u32`.
    chances: Vec<u32>,
    random: u64,
}

impl<K: Clone + Eq + Hash, S: BuildHasher> HeavyKeeper<K, S> {
    /// An empty sketch; `hasher` is called once a row and must give independent hashers. `seed`
    /// starts the draws of the decay.
    ///
    /// # Panics
    /// When the shape has no row or no bucket.
    pub fn new(shape: Shape, seed: u64, hasher: impl FnMut() -> S) -> Self {
        assert!(shape.rows > 0 && shape.buckets > 0, "a sketch has buckets");
        let mut hasher = hasher;
        let chance = |counter: usize| {
            let exponent = i32::try_from(counter).unwrap_or(i32::MAX);
            // At most u32::MAX, by the negative power.
            (DECAY.powi(-exponent) * f64::from(u32::MAX)) as u32
        };
        Self {
            shape,
            hashers: (0..shape.rows).map(|_| hasher()).collect(),
            rows: vec![vec![Bucket::default(); shape.buckets]; shape.rows],
            top: HashMap::with_capacity(shape.top + 1),
            least: 0,
            chances: (0..=MAX_WORN_COUNTER).map(chance).collect(),
            random: seed | 1,
        }
    }

    /// Counts one sight of `key`.
    pub fn add(&mut self, key: &K) {
        let mut estimate = 0;
        for row in 0..self.shape.rows {
            let (place, fingerprint) = self.place(row, key);
            estimate = estimate.max(self.count_in(row, place, fingerprint));
        }
        if estimate > 0 {
            self.offer(key, estimate);
        }
    }

    /// How often `key` was seen, or less.
    #[must_use]
    pub fn estimate(&self, key: &K) -> u32 {
        let counters = (0..self.shape.rows).map(|row| {
            let (place, fingerprint) = self.place(row, key);
            let bucket = self.rows[row][place];
            if bucket.fingerprint == fingerprint {
                bucket.counter
            } else {
                0
            }
        });
        counters.max().unwrap_or(0)
    }

    /// The keys of the top list, in no order.
    pub fn top(&self) -> impl Iterator<Item = &K> {
        self.top.keys()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        for row in &mut self.rows {
            row.fill(Bucket::default());
        }
        self.top.clear();
        self.least = 0;
    }

    /// Where a key lies in a row. The low half of the hash chooses the bucket, the high half is
    /// the fingerprint.
    fn place(&self, row: usize, key: &K) -> (usize, u32) {
        let hash = self.hashers[row].hash_one(key);
        let place = (hash & u64::from(u32::MAX)) as usize % self.shape.buckets;
        (place, (hash >> 32) as u32)
    }

    /// Counts in one row and answers what the row now says of the key.
    fn count_in(&mut self, row: usize, place: usize, fingerprint: u32) -> u32 {
        let bucket = self.rows[row][place];
        let mine = Bucket {
            fingerprint,
            counter: 1,
        };
        if bucket.counter == 0 {
            self.rows[row][place] = mine;
            return 1;
        }
        if bucket.fingerprint == fingerprint {
            let counter = bucket.counter.saturating_add(1);
            self.rows[row][place].counter = counter;
            return counter;
        }
        if !self.wears(bucket.counter) {
            return 0;
        }
        if bucket.counter == 1 {
            self.rows[row][place] = mine;
            return 1;
        }
        self.rows[row][place].counter -= 1;
        0
    }

    fn wears(&mut self, counter: u32) -> bool {
        match self.chances.get(counter as usize).copied() {
            Some(chance) => self.draw() < chance,
            None => false,
        }
    }

    /// The upper half of an xorshift64* step.
    fn draw(&mut self) -> u32 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    fn offer(&mut self, key: &K, estimate: u32) {
        if let Some(known) = self.top.get_mut(key) {
            *known = estimate;
            return;
        }
        if self.top.len() < self.shape.top {
            self.top.insert(key.clone(), estimate);
            return;
        }
        if estimate <= self.least {
            return;
        }
        let least = self.top.iter().min_by_key(|(_, count)| **count);
        let Some((lightest, count)) = least.map(|(key, count)| (key.clone(), *count)) else {
            return;
        };
        self.least = count;
        if estimate > count {
            self.top.remove(&lightest);
            self.top.insert(key.clone(), estimate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::hash::{DefaultHasher, Hasher};

    /// A hasher with a seed of its own, so that tests draw the same stream every time.
    #[derive(Clone)]
    struct Seeded(u64);

    impl BuildHasher for Seeded {
        type Hasher = DefaultHasher;

        fn build_hasher(&self) -> DefaultHasher {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(self.0);
            hasher
        }
    }

    fn keeper(shape: Shape) -> HeavyKeeper<u64, Seeded> {
        let mut row = 0;
        HeavyKeeper::new(shape, 42, || {
            row += 1;
            Seeded(row)
        })
    }

    /// A stream in which key `n` comes about `1 / n` as often as key 1, shuffled.
    fn skewed(keys: u64, length: usize) -> Vec<u64> {
        let weights: Vec<f64> = (1..=keys).map(|n| 1.0 / n as f64).collect();
        let total: f64 = weights.iter().sum();
        let mut state = 7u64;
        let mut stream = Vec::with_capacity(length);
        for _ in 0..length {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let mut point = (state >> 11) as f64 / (1u64 << 53) as f64 * total;
            let found = weights.iter().position(|w| {
                point -= w;
                point <= 0.0
            });
            stream.push(found.map_or(keys, |place| place as u64 + 1));
        }
        stream
    }

    #[test]
    fn the_heaviest_of_a_skewed_stream_are_found() {
        let shape = Shape {
            rows: 3,
            buckets: 256,
            top: 32,
        };
        let mut keeper = keeper(shape);
        let mut exact = HashMap::<u64, u32>::new();
        for key in skewed(2_000, 60_000) {
            keeper.add(&key);
            *exact.entry(key).or_default() += 1;
        }
        let mut heaviest: Vec<_> = exact.iter().collect();
        heaviest.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (key, count) in heaviest.iter().take(16) {
            assert!(keeper.top().any(|top| top == *key), "{key} seen {count}");
            let estimate = keeper.estimate(key);
            assert!(estimate <= **count, "{key}: {estimate} of {count}");
            assert!(estimate * 10 >= **count * 9, "{key}: {estimate} of {count}");
        }
    }

    #[test]
    fn rows_hash_independently() {
        let keeper = keeper(Shape::default());
        let meets = |row: usize, a: u64, b: u64| keeper.place(row, &a).0 == keeper.place(row, &b).0;
        let mut together = [0u32; 3];
        for a in 0..400u64 {
            for b in 0..a {
                let met = [meets(0, a, b), meets(1, a, b), meets(2, a, b)];
                for (row, met_here) in met.iter().enumerate() {
                    together[row] += u32::from(*met_here);
                }
                assert!(met.iter().filter(|m| **m).count() < 3, "{a} and {b}");
            }
        }
        // 79,800 pairs, 2,048 buckets: 39 pairs a row are expected.
        assert!(
            together.iter().all(|n| (15..80).contains(n)),
            "{together:?}"
        );
    }

    #[test]
    fn a_flood_of_single_sights_does_not_push_a_heavy_key_out() {
        let shape = Shape {
            rows: 2,
            buckets: 16,
            top: 4,
        };
        let mut keeper = keeper(shape);
        for _ in 0..1_000 {
            keeper.add(&1);
        }
        for key in 1_000..30_000 {
            keeper.add(&key);
        }
        assert!(keeper.top().any(|key| *key == 1));
        assert!(keeper.estimate(&1) > 900);
    }

    #[test]
    fn the_top_list_keeps_its_size() {
        let shape = Shape {
            rows: 2,
            buckets: 64,
            top: 4,
        };
        let mut keeper = keeper(shape);
        for key in 0..1_000u64 {
            keeper.add(&(key % 50));
        }
        assert_eq!(keeper.top().count(), 4);
        keeper.clear();
        assert_eq!(keeper.top().count(), 0);
        assert_eq!(keeper.estimate(&1), 0);
    }
}
