//! A ledger in a fresh database, and the journal of a model that is applied to it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use acclaim_cluster::ledger::Bounds;
use acclaim_cluster::ledger::{Batch, Entry, Lease, Ledger, LedgerEvent, StoreSpec};
use acclaim_core::kind::Kind;
use acclaim_core::port::Event;
use acclaim_core::{EdgeKey, Id, KindId, Kinds, Target, TargetType};
use bytes::Bytes;

use crate::sql::Sql;

pub struct Stage {
    pub ledger: Ledger,
    pub url: String,
    pub kinds: Kinds,
    pub leases: Vec<Lease>,
}

pub const PARTITIONS: u16 = 4;
/// 2026-11-20T00:00:00Z.
pub const BASE: u64 = 1_795_132_800_000_000;

pub fn kinds() -> Kinds {
    Kinds::new([
        Kind {
            excludes: vec!["dislikes".into()],
            ..Kind::likes()
        },
        Kind::open("dislikes"),
    ])
    .unwrap()
}

pub async fn ledger(url: &str) -> Ledger {
    Ledger::new(url, Bounds::default()).unwrap()
}

impl Stage {
    pub async fn new(sql: Sql) -> Self {
        let url = sql.database().await;
        Self::at(url, None).await
    }

    async fn at(url: String, clock: Option<Arc<AtomicU64>>) -> Self {
        let ledger = Ledger::with_clock(&url, Bounds::default(), clock).unwrap();
        ledger.migrate().await.unwrap();
        let spec = StoreSpec {
            partitions: PARTITIONS,
        };
        ledger.create_or_open_store(&spec).await.unwrap();
        let leases = ledger
            .take_leases("test", PARTITIONS, Duration::from_secs(600))
            .await
            .unwrap();
        assert_eq!(leases.len(), usize::from(PARTITIONS));
        Self {
            ledger,
            url,
            kinds: kinds(),
            leases,
        }
    }

    /// The partition of a target, as any hash would give it.
    pub fn partition(&self, target: &Target) -> u16 {
        let sum: u32 = target.to_string().bytes().map(u32::from).sum();
        (sum % u32::from(PARTITIONS)) as u16
    }

    pub async fn entry(&self, event: &Event) -> Entry {
        let name = &self.kinds.get(event.edge.kind).name;
        let event_of = LedgerEvent {
            kind: self.ledger.kind_no(name).await.unwrap(),
            target_type: self
                .ledger
                .type_no(&event.edge.target.target_type)
                .await
                .unwrap(),
            target: event.edge.target.id.clone(),
            user: event.edge.user.clone(),
            active: event.active,
            rev: event.rev,
            count: event.count,
        };
        let payload = Bytes::from(format!("{event:?}"));
        Entry {
            seq: event.place.seq,
            event: Ok(event_of),
            payload,
        }
    }

    pub fn batch(&self, partition: u16, entries: Vec<Entry>) -> Batch {
        let lease = &self.leases[usize::from(partition)];
        Batch {
            partition,
            epoch: lease.epoch,
            fence: lease.fence,
            entries,
        }
    }
}

pub fn kind(n: u8) -> KindId {
    KindId(n)
}

pub fn target(text: &str) -> Target {
    let (target_type, id) = text.split_once(':').unwrap();
    Target {
        target_type: TargetType::parse(target_type).unwrap(),
        id: Id::parse(id).unwrap(),
    }
}

pub fn edge(kind: u8, user: &str, to: &str) -> EdgeKey {
    EdgeKey {
        kind: KindId(kind),
        user: Id::parse(user).unwrap(),
        target: target(to),
    }
}
