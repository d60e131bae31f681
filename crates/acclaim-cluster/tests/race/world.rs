//! One target, two users, one bucket that may split into two, two loaders, a worker, and a Redis
//! that evicts whatever carries a TTL whenever it likes.

use std::collections::BTreeMap;

pub const USERS: usize = 2;

/// How far the search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    pub writes: u8,
    pub claims: u8,
    pub splits: u8,
}

/// What keeps it right. The search takes them away one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// A claim is refused while the key is there.
    ClaimSeesKeyMissing,
    /// A claim is refused while another holds it, and an install whose token is gone or another's.
    InstallHoldsToken,
    /// The ledger is read after the claim, not before.
    ReadAfterClaim,
    /// A TTL is given only to a key whose last transition the ledger has.
    TtlOnlyWhenPersisted,
    /// A transition takes the TTL off the keys that it touches.
    WriteTakesTtlOff,
    /// A loaded record names its buckets by a new generation, so that those of before are not seen.
    NewGenerationPerLoad,
    /// A split of a present bucket gives its children a TTL only when the ledger has all of it.
    SplitKeepsUnpersisted,
}

impl Guard {
    pub const EVERY: [Self; 7] = [
        Self::ClaimSeesKeyMissing,
        Self::InstallHoldsToken,
        Self::ReadAfterClaim,
        Self::TtlOnlyWhenPersisted,
        Self::WriteTakesTtlOff,
        Self::NewGenerationPerLoad,
        Self::SplitKeepsUnpersisted,
    ];
}

/// The whole range of hashes, or a half of it: user 0 is in the lower, user 1 in the upper one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Range {
    Whole,
    Half(usize),
}

impl Range {
    fn holds(self, user: usize) -> bool {
        self == Self::Whole || self == Self::Half(user)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    Record,
    Bucket(u8, Range),
}

/// `rev`, negative while inactive, 0 where it never was.
type Entries = [i8; USERS];

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Record {
    count: i8,
    seq: i8,
    split: bool,
    generation: u8,
    ttl: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Bucket {
    entries: Entries,
    seq: i8,
    ttl: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Event {
    seq: i8,
    user: usize,
    active: bool,
    count: i8,
}

/// The committed state of the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Ledger {
    entries: Entries,
    count: i8,
    seq: i8,
    applied: i8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Loader {
    Idle,
    /// It found the key missing. The snapshot is what a loader without patience would use.
    Saw(Key, Ledger),
    Claimed(Key, u8, Option<Ledger>, Ledger),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Toggle(usize),
    Evict(Key),
    EvictToken(Key),
    See(usize, Key),
    Claim(usize),
    Read(usize),
    /// Into the layout given, for a record.
    Install(usize, bool),
    Split,
    Commit,
    Mark,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    left: Bounds,
    truth: [bool; USERS],
    record: Option<Record>,
    buckets: BTreeMap<(u8, Range), Bucket>,
    tokens: BTreeMap<Key, u8>,
    last: i8,
    journal: Vec<Event>,
    unmarked: Vec<Event>,
    ledger: Ledger,
    loaders: [Loader; 2],
    next_token: u8,
    next_generation: u8,
    pub installs: bool,
    pub refusals: bool,
}

impl World {
    /// One edge, in the ledger and in Redis.
    pub fn new(bounds: Bounds) -> Self {
        let ledger = Ledger {
            entries: [1, 0],
            count: 1,
            seq: 1,
            applied: 1,
        };
        let record = Record {
            count: 1,
            seq: 1,
            split: false,
            generation: 0,
            ttl: true,
        };
        let bucket = Bucket {
            entries: ledger.entries,
            seq: 1,
            ttl: true,
        };
        Self {
            left: bounds,
            truth: [true, false],
            record: Some(record),
            buckets: BTreeMap::from([((0, Range::Whole), bucket)]),
            tokens: BTreeMap::new(),
            last: 1,
            journal: Vec::new(),
            unmarked: Vec::new(),
            ledger,
            loaders: [Loader::Idle; 2],
            next_token: 0,
            next_generation: 0,
            installs: false,
            refusals: false,
        }
    }

    /// Everything that might happen next.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Split, Step::Commit, Step::Mark];
        steps.extend((0..USERS).map(Step::Toggle));
        steps.push(Step::Evict(Key::Record));
        steps.extend(
            self.buckets
                .keys()
                .map(|(g, r)| Step::Evict(Key::Bucket(*g, *r))),
        );
        steps.extend(self.tokens.keys().map(|key| Step::EvictToken(*key)));
        for loader in 0..self.loaders.len() {
            steps.push(Step::See(loader, Key::Record));
            if let Some(record) = &self.record {
                for range in [Range::Whole, Range::Half(0), Range::Half(1)] {
                    steps.push(Step::See(loader, Key::Bucket(record.generation, range)));
                }
            }
            steps.extend([Step::Claim(loader), Step::Read(loader)]);
            steps.extend([Step::Install(loader, false), Step::Install(loader, true)]);
        }
        steps
    }

    /// Takes a step. Answers whether it could be taken.
    pub fn take(&mut self, step: Step, without: &[Guard]) -> bool {
        let guarded = |guard| !without.contains(&guard);
        match step {
            Step::Toggle(user) => self.toggle(user, guarded(Guard::WriteTakesTtlOff)),
            Step::Evict(key) => self.evict(key),
            Step::EvictToken(key) => self.tokens.remove(&key).is_some(),
            Step::See(loader, key) => self.see(loader, key),
            Step::Claim(loader) => self.claim(loader, without),
            Step::Read(loader) => self.read(loader, guarded(Guard::ReadAfterClaim)),
            Step::Install(loader, split) => self.install(loader, split, without),
            Step::Split => self.split(guarded(Guard::SplitKeepsUnpersisted)),
            Step::Commit => self.commit(),
            Step::Mark => self.mark(without),
        }
    }

    fn present(&self, key: Key) -> bool {
        match key {
            Key::Record => self.record.is_some(),
            Key::Bucket(generation, range) => self.buckets.contains_key(&(generation, range)),
        }
    }

    /// Whether the layout has this key now.
    fn reachable(&self, key: Key) -> bool {
        match (key, &self.record) {
            (Key::Record, _) => true,
            (Key::Bucket(..), None) => false,
            (Key::Bucket(generation, range), Some(record)) => {
                generation == record.generation && record.split == (range != Range::Whole)
            }
        }
    }

    fn place(record: &Record, user: usize) -> (u8, Range) {
        let range = if record.split {
            Range::Half(user)
        } else {
            Range::Whole
        };
        (record.generation, range)
    }

    fn toggle(&mut self, user: usize, takes_ttl_off: bool) -> bool {
        let Some(record) = &mut self.record else {
            return false;
        };
        let Some(bucket) = self.buckets.get_mut(&Self::place(record, user)) else {
            return false;
        };
        if self.left.writes == 0 {
            return false;
        }
        self.left.writes -= 1;
        self.last += 1;
        let active = bucket.entries[user] <= 0;
        bucket.entries[user] = if active { self.last } else { -self.last };
        record.count += if active { 1 } else { -1 };
        if takes_ttl_off {
            record.ttl = false;
            bucket.ttl = false;
        }
        record.seq = self.last;
        bucket.seq = self.last;
        // The answer is what the scripts say; the truth is what the callers were told to be so.
        self.truth[user] = active;
        let count = record.count;
        self.journal.push(Event {
            seq: self.last,
            user,
            active,
            count,
        });
        true
    }

    fn evict(&mut self, key: Key) -> bool {
        match key {
            Key::Record => self.record.take_if(|record| record.ttl).is_some(),
            Key::Bucket(generation, range) => {
                let place = (generation, range);
                self.buckets.get(&place).is_some_and(|bucket| bucket.ttl)
                    && self.buckets.remove(&place).is_some()
            }
        }
    }

    fn see(&mut self, loader: usize, key: Key) -> bool {
        let free = self.loaders[loader] == Loader::Idle && self.left.claims > 0;
        if !free || self.present(key) || !self.reachable(key) {
            return false;
        }
        self.left.claims -= 1;
        self.loaders[loader] = Loader::Saw(key, self.ledger);
        true
    }

    fn claim(&mut self, loader: usize, without: &[Guard]) -> bool {
        let Loader::Saw(key, early) = self.loaders[loader] else {
            return false;
        };
        let present = self.present(key) && !without.contains(&Guard::ClaimSeesKeyMissing);
        let held = self.tokens.contains_key(&key) && !without.contains(&Guard::InstallHoldsToken);
        if present || held || !self.reachable(key) {
            self.loaders[loader] = Loader::Idle;
            return true;
        }
        self.next_token += 1;
        self.tokens.insert(key, self.next_token);
        self.loaders[loader] = Loader::Claimed(key, self.next_token, None, early);
        true
    }

    fn read(&mut self, loader: usize, after_claim: bool) -> bool {
        let Loader::Claimed(key, token, None, early) = self.loaders[loader] else {
            return false;
        };
        let snapshot = if after_claim { self.ledger } else { early };
        self.loaders[loader] = Loader::Claimed(key, token, Some(snapshot), early);
        true
    }

    fn install(&mut self, loader: usize, split: bool, without: &[Guard]) -> bool {
        let Loader::Claimed(key, token, Some(ledger), _) = self.loaders[loader] else {
            return false;
        };
        let guarded = |guard| !without.contains(&guard);
        self.loaders[loader] = Loader::Idle;
        let held = self.tokens.get(&key) == Some(&token) || !guarded(Guard::InstallHoldsToken);
        if !held || self.present(key) || !self.reachable(key) {
            self.refusals = true;
            return true;
        }
        self.tokens.remove(&key);
        self.installs = true;
        match key {
            Key::Record => {
                if guarded(Guard::NewGenerationPerLoad) {
                    self.next_generation += 1;
                }
                self.record = Some(Record {
                    count: ledger.count,
                    seq: ledger.seq,
                    split,
                    generation: self.next_generation,
                    ttl: true,
                });
            }
            Key::Bucket(generation, range) => {
                let mut entries = ledger.entries;
                for (user, entry) in entries.iter_mut().enumerate() {
                    *entry *= i8::from(range.holds(user));
                }
                let seq = entries.iter().map(|entry| entry.abs()).max().unwrap_or(0);
                let bucket = Bucket {
                    entries,
                    seq,
                    ttl: true,
                };
                self.buckets.insert((generation, range), bucket);
            }
        }
        true
    }

    fn split(&mut self, keeps_unpersisted: bool) -> bool {
        let Some(record) = self.record.as_mut().filter(|record| !record.split) else {
            return false;
        };
        if self.left.splits == 0 {
            return false;
        }
        self.left.splits -= 1;
        record.split = true;
        if let Some(whole) = self.buckets.remove(&(record.generation, Range::Whole)) {
            for user in 0..USERS {
                let mut entries = [0; USERS];
                entries[user] = whole.entries[user];
                let ttl = whole.ttl || !keeps_unpersisted;
                let half = Bucket {
                    entries,
                    seq: whole.seq,
                    ttl,
                };
                self.buckets
                    .insert((record.generation, Range::Half(user)), half);
            }
        }
        true
    }

    /// The worker's transaction: the next event of the journal.
    fn commit(&mut self) -> bool {
        if self.journal.is_empty() {
            return false;
        }
        let event = self.journal.remove(0);
        let entry = if event.active { event.seq } else { -event.seq };
        self.ledger.entries[event.user] = entry;
        (self.ledger.count, self.ledger.seq) = (event.count, event.seq);
        self.ledger.applied = event.seq;
        self.unmarked.push(event);
        true
    }

    /// The worker tells Redis what it committed.
    fn mark(&mut self, without: &[Guard]) -> bool {
        if self.unmarked.is_empty() {
            return false;
        }
        let only_persisted = !without.contains(&Guard::TtlOnlyWhenPersisted);
        let applied = self.ledger.applied;
        for event in std::mem::take(&mut self.unmarked) {
            let Some(record) = &mut self.record else {
                continue;
            };
            record.ttl |= record.seq <= applied || !only_persisted;
            if let Some(bucket) = self.buckets.get_mut(&Self::place(record, event.user)) {
                bucket.ttl |= bucket.seq <= applied || !only_persisted;
            }
        }
        true
    }

    /// What must hold in every state.
    pub fn check(&self) -> Result<(), String> {
        let mut folded = self.ledger;
        for event in &self.journal {
            let entry = if event.active { event.seq } else { -event.seq };
            folded.entries[event.user] = entry;
            folded.count = event.count;
        }
        let active = |entries: &Entries| entries.map(|entry| entry > 0);
        if active(&folded.entries) != self.truth {
            return Err(format!(
                "the ledger and the journal say {:?}",
                folded.entries
            ));
        }
        let count = self.truth.iter().filter(|active| **active).count();
        if usize::try_from(folded.count) != Ok(count) {
            return Err(format!("the count will be {}, not {count}", folded.count));
        }
        let Some(record) = &self.record else {
            return Ok(());
        };
        if usize::try_from(record.count) != Ok(count) {
            return Err(format!("the record says {}, not {count}", record.count));
        }
        for user in 0..USERS {
            let Some(bucket) = self.buckets.get(&Self::place(record, user)) else {
                continue;
            };
            if bucket.entries[user] != folded.entries[user] {
                return Err(format!("user {user} is {} in Redis", bucket.entries[user]));
            }
        }
        Ok(())
    }
}
