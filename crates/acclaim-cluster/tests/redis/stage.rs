//! A real Redis, a ledger in memory and the reference model side by side, in one partition.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use acclaim_cluster::redis::connection::{Redis, RedisLimits};
use acclaim_cluster::redis::decide::{DecideOp, Decided};
use acclaim_cluster::redis::event::JournalEvent;
use acclaim_cluster::redis::keys::{Partition, TargetName};
use acclaim_cluster::redis::list::Newest;
use acclaim_cluster::redis::load::{Cold, Loaded};
use acclaim_cluster::redis::persist::{Keep, Persisted, Told};
use acclaim_cluster::redis::read::Found;
use acclaim_core::model::Model;
use acclaim_core::port::Place;
use acclaim_core::{
    EdgeKey, Id, Kind, KindId, Kinds, Op, Rev, Start, Target, TargetKey, TargetType, Transition,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use redis::aio::MultiplexedConnection;

use crate::ledger::Ledger;
use crate::servers::Servers;

/// 2026-11-20T00:00:00Z.
pub const BASE: Rev = Rev(1_795_132_800_000_000);
pub const PARTITION: Partition = Partition {
    epoch: 1,
    life: 0,
    number: 0,
};
/// Partition, record, bucket; and again where a split came between.
const MAX_LOADS: usize = 20;
const KEEP: Duration = Duration::from_secs(3_600);
const TYPES: [&str; 3] = ["POST", "USER", "VIDEO"];

pub struct Stage {
    servers: Arc<Servers>,
    pub redis: Redis,
    pub raw: MultiplexedConnection,
    pub ledger: Ledger,
    pub model: Model,
    pub now: Rev,
    /// Everything ever read from the journal.
    pub journal: Vec<JournalEvent>,
    unmarked: BTreeSet<(TargetName, Id)>,
    unmarked_events: usize,
    marked: Rev,
    chance: StdRng,
}

pub fn kinds() -> Kinds {
    let dislikes = Kind {
        excludes: vec!["likes".into()],
        ..Kind::open("dislikes")
    };
    Kinds::new([dislikes, Kind::open("claps")]).unwrap()
}

pub fn name_of(target: &TargetKey) -> TargetName {
    let known = |known: &&str| **known == *target.target.target_type.as_str();
    let target_type = TYPES.iter().position(known).expect("a type of the test");
    TargetName {
        kind: target.kind.0.into(),
        target_type: target_type as u16,
        id: target.target.id.clone(),
    }
}

pub fn edge(kind: u8, user: &str, target: &str) -> EdgeKey {
    let (target_type, id) = target.split_once(':').unwrap();
    EdgeKey {
        kind: KindId(kind),
        user: Id::parse(user).unwrap(),
        target: Target {
            target_type: TargetType::parse(target_type).unwrap(),
            id: Id::parse(id).unwrap(),
        },
    }
}

impl Stage {
    /// On one server of its own.
    pub async fn open() -> Self {
        Self::open_on(Arc::new(Servers::one().await)).await
    }

    /// On servers that are emptied first.
    pub async fn open_on(servers: Arc<Servers>) -> Self {
        let redis = Redis::open(&servers.url(), RedisLimits::default())
            .await
            .unwrap();
        let master = servers.master_of(PARTITION).await;
        master.flush_all().await;
        Self {
            raw: master.try_connect().await.unwrap(),
            servers,
            redis,
            ledger: Ledger::default(),
            model: Model::new(kinds()),
            now: BASE,
            journal: Vec::new(),
            unmarked: BTreeSet::new(),
            unmarked_events: 0,
            marked: Rev::ZERO,
            chance: StdRng::seed_from_u64(7),
        }
    }

    /// Has a replica take over from the partition's master, where there is one, in order.
    pub async fn fail_over(&mut self) {
        self.servers.fail_over(PARTITION).await;
        let master = self.servers.master_of(PARTITION).await;
        self.raw = master.try_connect().await.unwrap();
    }

    pub fn op(&self, op: &Op) -> DecideOp {
        let excluded = self.model.kinds().excluded_by(op.edge.kind);
        DecideOp {
            at: op.at,
            excludes: excluded.iter().map(|kind| kind.0.into()).collect(),
            origin: op.origin.as_deref().cloned(),
            ..DecideOp::new(
                op.action,
                name_of(&op.edge.target_key()),
                op.edge.user.clone(),
            )
        }
    }

    /// Decides ops, loading what is cold, and holds every answer against the model.
    pub async fn apply(&mut self, ops: Vec<Op>) -> Vec<Transition> {
        let mut answers = vec![None; ops.len()];
        let mut left: Vec<usize> = (0..ops.len()).collect();
        let mut rounds = 0;
        while !left.is_empty() {
            rounds += 1;
            assert!(rounds < MAX_LOADS, "{left:?} stay cold");
            let batch: Vec<DecideOp> = left.iter().map(|i| self.op(&ops[*i])).collect();
            let decided = self
                .redis
                .decide(PARTITION, Some(self.now), &batch)
                .await
                .unwrap();
            let mut cold = Vec::new();
            let mut waiting: Vec<usize> = Vec::new();
            for (place, decided) in left.iter().zip(decided) {
                let op = &ops[*place];
                match decided {
                    Decided::Done {
                        transition,
                        replayed,
                    } => {
                        let overtaken = waiting.iter().find(|w| ops[**w].edge == op.edge);
                        assert_eq!(overtaken, None, "{op:?} was decided before its turn");
                        assert!(!replayed);
                        assert_eq!(transition, self.model.apply(op, self.now), "{op:?}");
                        answers[*place] = Some(transition);
                    }
                    Decided::Cold(what) => {
                        cold.push(what);
                        waiting.push(*place);
                    }
                    Decided::Waits | Decided::Mismatch => panic!("nothing was kept"),
                }
            }
            self.load(cold).await;
            left = waiting;
        }
        answers.into_iter().map(Option::unwrap).collect()
    }

    pub async fn load(&mut self, cold: Vec<Cold>) {
        for what in cold {
            let loaded = self
                .redis
                .load(&self.ledger, PARTITION, what, KEEP)
                .await
                .unwrap();
            assert_ne!(loaded, Loaded::Busy, "nobody else loads");
        }
    }

    /// The status of an edge, loading what is cold.
    pub async fn read(&mut self, name: &TargetName, user: Option<&Id>) -> Found {
        for _ in 0..MAX_LOADS {
            let edges = [(name.clone(), user.cloned())];
            let found = self.redis.read(PARTITION, &edges).await.unwrap().remove(0);
            match found {
                Found::Cold(what) => self.load(vec![what]).await,
                here @ Found::Here { .. } => return here,
            }
        }
        panic!("{name} stays cold");
    }

    /// The worker's transaction: at most `most` events into the ledger.
    pub async fn commit(&mut self, most: usize) {
        let after = self.ledger.applied_to();
        let events = self
            .redis
            .journal_after(PARTITION, after, most)
            .await
            .unwrap();
        for event in events {
            let event = event.unwrap();
            self.ledger.apply(&event);
            self.unmarked
                .insert((event.target.clone(), event.user.clone()));
            self.unmarked_events += 1;
            self.journal.push(event);
        }
    }

    /// The worker tells Redis.
    pub async fn mark(&mut self) -> u64 {
        let upto = self.ledger.applied_to();
        let entries = std::mem::take(&mut self.unmarked_events);
        let persisted = Persisted {
            upto,
            after: self.marked,
            last: (entries > 0).then_some(upto),
            entries,
            edges: std::mem::take(&mut self.unmarked),
        };
        let keep = Keep {
            keys: KEEP,
            journal: Duration::ZERO,
            journal_events: 0,
            read_upto: None,
            unread_events: 0,
        };
        let told = self
            .redis
            .persisted(PARTITION, Some(self.now), keep, &persisted);
        self.marked = upto;
        match told.await.unwrap() {
            Told::Noted { waiting, .. } => waiting,
            Told::Cold => 0,
            Told::OtherJournal => panic!("there is one journal"),
        }
    }

    pub async fn drain(&mut self) {
        loop {
            let before = self.ledger.applied_to();
            self.commit(1_000).await;
            if self.mark().await == 0 && self.ledger.applied_to() == before {
                return;
            }
        }
    }

    pub async fn keys(&mut self) -> Vec<String> {
        redis::cmd("KEYS")
            .arg("*")
            .query_async(&mut self.raw)
            .await
            .unwrap()
    }

    pub async fn with_ttl(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        for key in self.keys().await {
            let ttl: i64 = redis::cmd("PTTL")
                .arg(&key)
                .query_async(&mut self.raw)
                .await
                .unwrap();
            if ttl > 0 {
                found.push(key);
            }
        }
        found
    }

    /// Evicts each key that carries a TTL with a chance of `percent`.
    pub async fn evict(&mut self, percent: u32) -> usize {
        let mut evicted = 0;
        for key in self.with_ttl().await {
            if self.chance.random_range(0..100) < percent {
                let _: i64 = redis::cmd("DEL")
                    .arg(&key)
                    .query_async(&mut self.raw)
                    .await
                    .unwrap();
                evicted += 1;
            }
        }
        evicted
    }

    pub async fn flush(&mut self) {
        let _: String = redis::cmd("FLUSHALL")
            .query_async(&mut self.raw)
            .await
            .unwrap();
    }

    /// Holds the list of a target against the model; installs it where it is missing, as one who
    /// gathered it from the ledger and the journal would.
    async fn compare_list(&mut self, target: &TargetKey) {
        let name = name_of(target);
        for _ in 0..MAX_LOADS * 5 {
            let (count, entries, whole) = match self.redis.newest(PARTITION, &name).await.unwrap() {
                Newest::Cold(cold) => {
                    self.load(vec![cold]).await;
                    continue;
                }
                Newest::Missing(count) => {
                    let newest = self.model.users(target, &Start::top(), 1_000).page.entries;
                    if newest.is_empty() {
                        return;
                    }
                    let installed = self
                        .redis
                        .install_newest(PARTITION, &name, count, &newest, KEEP)
                        .await;
                    assert_eq!(installed, Ok(true));
                    continue;
                }
                Newest::Whole(count, entries) => (count, entries, true),
                Newest::Beginning(count, entries) => (count, entries, false),
            };
            let size = if whole { usize::MAX } else { entries.len() };
            let expected = self.model.users(target, &Start::top(), size);
            assert_eq!(
                entries, expected.page.entries,
                "{target:?}, all of it: {whole}"
            );
            assert_eq!(count, self.model.count(target));
            return;
        }
        panic!("{name} stays cold");
    }

    /// Holds every edge and count, and the journal, against the model.
    pub async fn compare(&mut self) {
        let mut journal = self.journal.clone();
        let mut after = self.ledger.applied_to();
        loop {
            let more = self
                .redis
                .journal_after(PARTITION, after, usize::MAX)
                .await
                .unwrap();
            let Some(last) = more.last() else { break };
            after = last.as_ref().unwrap().seq;
            journal.extend(more.into_iter().map(Result::unwrap));
        }
        let expected = self.model.journal_after(Place::START);
        assert_eq!(
            journal.len(),
            expected.len(),
            "as many events as transitions"
        );
        let mut edges = BTreeSet::new();
        for (event, expected) in journal.iter().zip(&expected) {
            let name = name_of(&expected.edge.target_key());
            assert_eq!((&event.target, &event.user), (&name, &expected.edge.user));
            assert_eq!((event.seq, event.rev), (expected.place.seq, expected.rev));
            assert_eq!(
                (event.active, event.count),
                (expected.active, expected.count)
            );
            edges.insert(expected.edge.clone());
        }
        let targets: BTreeSet<_> = edges.iter().map(EdgeKey::target_key).collect();
        for target in targets {
            self.compare_list(&target).await;
        }
        for edge in edges {
            let name = name_of(&edge.target_key());
            let Found::Here { status, count } = self.read(&name, Some(&edge.user)).await else {
                unreachable!("read loads what is cold");
            };
            assert_eq!(status, self.model.status(&edge), "{edge:?}");
            assert_eq!(count.count, status.count);
            let last = expected
                .iter()
                .rfind(|e| e.edge.target_key() == edge.target_key());
            assert_eq!(count.rev, last.unwrap().place.seq, "{edge:?}");
        }
    }
}
