//! A private Redis, a database on the shared MariaDB, and writers beside the workers.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use acclaim_cluster::ledger::read::TargetRef;
use acclaim_cluster::ledger::store::StoreSpec;
use acclaim_cluster::ledger::{Bounds, KindNo, Ledger, LedgerError, TypeNo};
use acclaim_cluster::redis::connection::{Redis, RedisLimits};
use acclaim_cluster::redis::decide::{DecideOp, Decided};
use acclaim_cluster::redis::journal::Marks;
use acclaim_cluster::redis::keys::{Partition, TargetName};
use acclaim_cluster::redis::load::{EdgeRows, Loaded, Source, SourceError, TargetRow};
use acclaim_cluster::worker::{Worker, WorkerLimits, WorkerNumbers};
use acclaim_core::{Action, Id, Rev, TargetType};
use acclaim_servers::{MariaDb, Redis as Server, until};
use futures::future::{BoxFuture, FutureExt};
use sqlx::{Connection, MySqlConnection};

use crate::{LIMIT, holds};

pub const PARTITIONS: u16 = 8;

pub struct Stage {
    pub server: Server,
    pub redis: Arc<Redis>,
    pub ledger: Ledger,
    pub url: String,
    pub kind: u16,
    pub target_type: u16,
    pub partitions: u16,
    /// The time of writes; Redis's own where there is none.
    pub now: Option<Rev>,
    /// What was acknowledged: the last answer for each edge.
    pub acknowledged: BTreeMap<(TargetName, Id), (bool, Rev)>,
}

/// Quick, so that tests are.
pub fn limits() -> WorkerLimits {
    WorkerLimits {
        batch_max_millis: 40,
        poll_max_millis: 20,
        lease_millis: 3_000,
        lease_renew_millis: 200,
        lease_retry_millis: 20,
        retry_first_pause_millis: 10,
        retry_longest_pause_millis: 200,
        measure_millis: 20,
        ..WorkerLimits::default()
    }
}

/// What a test's server needs to fail quickly.
pub fn quick_redis() -> RedisLimits {
    RedisLimits {
        response_timeout_millis: 500,
        ..RedisLimits::default()
    }
}

pub fn quick_ledger() -> Bounds {
    Bounds {
        attempts: 2,
        connect_timeout: std::time::Duration::from_millis(500),
        statement_timeout: std::time::Duration::from_secs(2),
        ..Bounds::default()
    }
}

/// Makes the store of a database.
pub async fn make_store(ledger: &Ledger, partitions: u16) {
    ledger.migrate().await.unwrap();
    let spec = StoreSpec { partitions };
    ledger.create_or_open_store(&spec).await.unwrap();
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(PARTITIONS).await
    }

    pub async fn with(partitions: u16) -> Self {
        // Boxed here and below: the futures of starts and waits are deep.
        let starts = async {
            let database = MariaDb::shared().await.database().await;
            (database, Server::start().await)
        };
        let (database, server) = starts.boxed().await;
        Self::at(server, database.url(), partitions).boxed().await
    }

    pub async fn at(server: Server, url: &str, partitions: u16) -> Self {
        let ledger = Ledger::new(url, quick_ledger()).unwrap();
        make_store(&ledger, partitions).await;
        let kind = ledger.kind_no("likes").await.unwrap().0;
        let target_type = ledger.type_no(&TargetType::parse("POST").unwrap()).await;
        let redis = Redis::open(&server.url(), quick_redis()).await.unwrap();
        Self {
            server,
            redis: Arc::new(redis),
            ledger,
            url: url.to_owned(),
            kind,
            target_type: target_type.unwrap().0,
            partitions,
            now: None,
            acknowledged: BTreeMap::new(),
        }
    }

    pub fn start(&self, name: &str, limits: WorkerLimits) -> Worker {
        self.start_over(&self.redis, &self.ledger, name, limits)
    }

    pub fn start_over(
        &self,
        redis: &Arc<Redis>,
        ledger: &Ledger,
        name: &str,
        limits: WorkerLimits,
    ) -> Worker {
        Worker::start(Arc::clone(redis), ledger.clone(), name, limits, None).unwrap()
    }

    pub fn post(&self, id: u64) -> TargetName {
        TargetName {
            kind: self.kind,
            target_type: self.target_type,
            id: Id::Number(id),
        }
    }

    pub fn journal_of(&self, target: &TargetName) -> Partition {
        self.journal(target.partition(self.partitions))
    }

    pub fn journal(&self, number: u16) -> Partition {
        Partition {
            epoch: 1,
            life: 0,
            number,
        }
    }

    /// Toggles each edge once, at its partition, loading what is cold, until it is acknowledged.
    pub async fn toggle(&mut self, posts: RangeInclusive<u64>, users: RangeInclusive<u64>) {
        for post in posts {
            let target = self.post(post);
            let ops = users.clone().map(Id::Number);
            let ops = ops.map(|user| DecideOp::new(Action::Toggle, target.clone(), user));
            self.decide(ops.collect()).boxed().await;
        }
    }

    /// Decides ops of one target.
    pub async fn decide(&mut self, mut ops: Vec<DecideOp>) {
        let journal = self.journal_of(&ops[0].target);
        while !ops.is_empty() {
            let decided = self.redis.decide(journal, self.now, &ops).await.unwrap();
            let mut left = Vec::new();
            for (op, decided) in ops.into_iter().zip(decided) {
                match decided {
                    Decided::Done { transition, .. } => {
                        let edge = (op.target, op.user);
                        let state = (transition.active, transition.rev);
                        self.acknowledged.insert(edge, state);
                    }
                    Decided::Cold(cold) => {
                        self.load(journal, cold).await;
                        left.push(op);
                    }
                    Decided::Waits | Decided::Mismatch => panic!("nothing was kept"),
                }
            }
            ops = left;
        }
    }

    async fn load(&self, journal: Partition, cold: acclaim_cluster::redis::load::Cold) {
        let source = Rows(&self.ledger);
        let keep = std::time::Duration::from_secs(600);
        let loaded = self.redis.load(&source, journal, cold, keep).await.unwrap();
        if loaded == Loaded::Busy {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until the ledger has everything of every journal.
    pub async fn drained(&self) {
        until(LIMIT, "the journals to be drained", || async {
            for number in 0..self.partitions {
                let marks = self.redis.marks(self.journal(number)).await;
                match marks.map_err(|error| error.to_string())? {
                    Marks::Known { last, durable, .. } if last == durable => {}
                    marks => return Err(format!("partition {number} is at {marks:?}")),
                }
            }
            Ok(())
        })
        .await;
    }

    /// Holds the ledger against everything that was acknowledged.
    pub async fn compare(&self) {
        let mut counts: BTreeMap<&TargetName, u64> = BTreeMap::new();
        let mut rows: BTreeMap<&TargetName, BTreeMap<Id, (bool, Rev)>> = BTreeMap::new();
        for ((target, user), state) in &self.acknowledged {
            *counts.entry(target).or_default() += u64::from(state.0);
            if !rows.contains_key(target) {
                let loaded = self.ledger.load_target(&target_ref(target), 10_000).await;
                let loaded = loaded.unwrap();
                let entries = loaded.entries.unwrap().into_iter();
                let entries = entries.map(|e| (e.user, (e.state.active, e.state.rev)));
                rows.insert(target, entries.collect());
            }
            assert_eq!(rows[target].get(user), Some(state), "{target} {user}");
        }
        for (target, count) in counts {
            let loaded = self
                .ledger
                .load_target(&target_ref(target), 0)
                .await
                .unwrap();
            assert_eq!(loaded.count, count, "{target}");
        }
    }

    /// One row of numbers of the database.
    pub async fn number(&self, sql: &'static str) -> i64 {
        let mut conn = MySqlConnection::connect(&self.url).await.unwrap();
        let (number,): (i64,) = sqlx::query_as(sql).fetch_one(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        number
    }

    pub async fn execute(&self, sql: &'static str) {
        let mut conn = MySqlConnection::connect(&self.url).await.unwrap();
        sqlx::query(sql).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }

    /// Who owns how many partitions; nobody is the empty name.
    pub async fn owners(&self) -> BTreeMap<String, usize> {
        let mut owners = BTreeMap::new();
        for partition in self.ledger.partitions().await.unwrap() {
            let is_over = partition.left.is_zero();
            let owner = if is_over {
                String::new()
            } else {
                partition.owner
            };
            *owners.entry(owner).or_default() += 1;
        }
        owners
    }

    pub async fn owned_by(&self, expected: &[(&str, usize)]) {
        let expected = expected
            .iter()
            .map(|(name, n)| ((*name).to_owned(), *n))
            .collect();
        until(LIMIT, "the leases to be shared", || async {
            let owners = self.owners().await;
            holds(owners == expected, || format!("{owners:?}"))
        })
        .await;
    }
}

pub async fn watch(
    worker: &Worker,
    what: &str,
    mut condition: impl FnMut(WorkerNumbers) -> bool,
) -> WorkerNumbers {
    until(LIMIT, what, || {
        let numbers = worker.watched().numbers();
        let outcome = if condition(numbers) {
            Ok(numbers)
        } else {
            Err(format!("{numbers:?}"))
        };
        async { outcome }
    })
    .await
}

pub fn target_ref(target: &TargetName) -> TargetRef {
    TargetRef {
        kind: KindNo(target.kind),
        target_type: TypeNo(target.target_type),
        target: target.id.clone(),
    }
}

/// The ledger as loads read it.
struct Rows<'a>(&'a Ledger);

fn failed(error: LedgerError) -> SourceError {
    SourceError(error.to_string())
}

impl Source for Rows<'_> {
    fn applied(&self, partition: u16) -> BoxFuture<'_, Result<Rev, SourceError>> {
        async move { self.0.fence_off(partition).await.map_err(failed) }.boxed()
    }

    fn target(
        &self,
        target: &TargetName,
        max_edges: u64,
    ) -> BoxFuture<'_, Result<(TargetRow, EdgeRows), SourceError>> {
        let target = target_ref(target);
        async move {
            let most = max_edges as usize;
            let loaded = self.0.load_target(&target, most).await.map_err(failed)?;
            let entries = loaded.entries.unwrap_or_default().into_iter();
            let row = TargetRow {
                count: loaded.count,
                seq: loaded.seq,
                edges: loaded.edges,
            };
            Ok((
                row,
                entries.map(|entry| (entry.user, entry.state)).collect(),
            ))
        }
        .boxed()
    }

    fn bucket(
        &self,
        target: &TargetName,
        hashes: RangeInclusive<u32>,
    ) -> BoxFuture<'_, Result<EdgeRows, SourceError>> {
        let target = target_ref(target);
        async move {
            let loaded = self.0.load_bucket(&target, hashes).await.map_err(failed)?;
            let entries = loaded.entries.unwrap_or_default().into_iter();
            Ok(entries.map(|entry| (entry.user, entry.state)).collect())
        }
        .boxed()
    }
}
