//! Takes the journals into the ledger and tells Redis: what a worker does, without its care.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use acclaim_cluster::engine::Cluster;
use acclaim_cluster::ledger::{Batch, Entry, KindNo, LedgerEvent, TypeNo};
use acclaim_cluster::redis::event::JournalEvent;
use acclaim_cluster::redis::keys::Partition;
use acclaim_cluster::redis::persist::Persisted;
use acclaim_core::Rev;
use bytes::Bytes;
use tokio::task::JoinHandle;

/// A drain until it is dropped.
pub struct Drain(JoinHandle<()>);

impl Drop for Drain {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drain {
    pub fn begin(engine: &Arc<Cluster>) -> Self {
        Self(tokio::spawn(drain(Arc::downgrade(engine))))
    }
}

async fn drain(engine: std::sync::Weak<Cluster>) {
    let lease = Duration::from_millis(1);
    let (written, leases) = {
        let engine = engine.upgrade().unwrap();
        loop {
            let most = engine.store().partitions;
            let leases = engine.ledger().take_leases("drain", most, lease).await.unwrap();
            if leases.len() == usize::from(most) {
                break (engine.written(), leases);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let mut applied: BTreeMap<u16, Rev> = leases.iter().map(|l| (l.partition, l.applied)).collect();
    loop {
        let Some(engine) = engine.upgrade() else { return };
        let mut idle = true;
        for lease in &leases {
            let partition = Partition {
                epoch: lease.epoch,
                number: lease.partition,
            };
            let after = applied[&lease.partition];
            let events = engine.redis().journal_after(partition, after, 1_000).await.unwrap();
            if events.is_empty() {
                continue;
            }
            idle = false;
            let events: Vec<JournalEvent> = events.into_iter().map(Result::unwrap).collect();
            let batch = Batch {
                partition: lease.partition,
                epoch: lease.epoch,
                fence: lease.fence,
                entries: events.iter().map(entry).collect(),
            };
            let done = engine.ledger().apply(&batch).await.unwrap();
            assert_eq!(done.refused, 0);
            applied.insert(lease.partition, done.applied);
            let persisted = Persisted {
                upto: done.applied,
                keep: Duration::from_secs(3_600),
                journal_from: Rev::ZERO,
                edges: events.into_iter().map(|e| (e.target, e.user)).collect(),
            };
            engine.redis().persisted(partition, &persisted).await.unwrap();
        }
        drop(engine);
        if idle {
            let _ = tokio::time::timeout(Duration::from_millis(20), written.notified()).await;
        }
    }
}

fn entry(event: &JournalEvent) -> Entry {
    Entry {
        seq: event.seq,
        event: Ok(LedgerEvent {
            kind: KindNo(event.target.kind),
            target_type: TypeNo(event.target.target_type),
            target: event.target.id.clone(),
            user: event.user.clone(),
            active: event.active,
            rev: event.rev,
            count: event.count,
        }),
        payload: Bytes::new(),
    }
}
