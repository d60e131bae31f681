//! A ledger in memory: what the worker commits goes in, what loads ask for comes out.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use acclaim_cluster::redis::event::JournalEvent;
use acclaim_cluster::redis::keys::TargetName;
use acclaim_cluster::redis::layout::user_hash;
use acclaim_cluster::redis::load::{EdgeRows, Source, SourceError, TargetRow};
use acclaim_core::{EdgeState, Id, Rev};
use futures::future::{BoxFuture, FutureExt, ready};
use parking_lot::Mutex;

#[derive(Default)]
struct Tables {
    applied: Rev,
    targets: BTreeMap<TargetName, TargetRow>,
    edges: BTreeMap<TargetName, BTreeMap<Id, EdgeState>>,
}

#[derive(Default)]
pub struct Ledger {
    tables: Mutex<Tables>,
    loads: Mutex<u64>,
}

impl Ledger {
    pub fn apply(&self, event: &JournalEvent) {
        let mut tables = self.tables.lock();
        assert!(event.seq > tables.applied, "events come in order");
        tables.applied = event.seq;
        let edges = tables.edges.entry(event.target.clone()).or_default();
        let edge = EdgeState {
            active: event.active,
            rev: event.rev,
        };
        edges.insert(event.user.clone(), edge);
        let row = TargetRow {
            count: event.count,
            seq: event.seq,
            edges: edges.len() as u64,
        };
        tables.targets.insert(event.target.clone(), row);
    }

    pub fn applied_to(&self) -> Rev {
        self.tables.lock().applied
    }

    pub fn loads(&self) -> u64 {
        *self.loads.lock()
    }
}

impl Source for Ledger {
    fn applied(&self, _partition: u16) -> BoxFuture<'_, Result<Rev, SourceError>> {
        ready(Ok(self.applied_to())).boxed()
    }

    fn target(
        &self,
        target: &TargetName,
        max_edges: u64,
    ) -> BoxFuture<'_, Result<(TargetRow, EdgeRows), SourceError>> {
        *self.loads.lock() += 1;
        let tables = self.tables.lock();
        let row = tables.targets.get(target).cloned().unwrap_or_default();
        let edges = tables.edges.get(target).filter(|_| row.edges <= max_edges);
        let edges = edges.into_iter().flatten();
        let edges = edges.map(|(user, edge)| (user.clone(), *edge)).collect();
        ready(Ok((row, edges))).boxed()
    }

    fn bucket(
        &self,
        target: &TargetName,
        hashes: RangeInclusive<u32>,
    ) -> BoxFuture<'_, Result<EdgeRows, SourceError>> {
        *self.loads.lock() += 1;
        let tables = self.tables.lock();
        let edges = tables.edges.get(target).into_iter().flatten();
        let inside = edges.filter(|(user, _)| hashes.contains(&user_hash(&user.to_string())));
        let edges = inside.map(|(user, edge)| (user.clone(), *edge)).collect();
        ready(Ok(edges)).boxed()
    }
}
