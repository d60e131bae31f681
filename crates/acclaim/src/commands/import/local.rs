//! Import through an engine in this process: a data directory, or a cluster.

use std::path::Path;
use std::sync::Arc;

use acclaim_cluster::engine::Cluster;
use acclaim_cluster::ledger::bulk::Imported;
use acclaim_core::port::{Clock, Write, Writes as _};
use acclaim_core::transfer::{Decoded, Defaults, Summary};
use acclaim_core::{Engine as _, Kinds, Op};
use acclaim_engine::embedded::EmbeddedEngine;
use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;

use super::super::patience;
use super::progress::Progress;
use super::reader;
use super::rejects::Rejects;
use super::source::Source;

/// What edges are imported into.
#[derive(Clone, Copy)]
pub(super) enum Sink<'a> {
    /// A data directory.
    Embedded(&'a EmbeddedEngine),
    /// Redis and a ledger.
    Cluster(&'a Cluster),
}

impl Sink<'_> {
    fn kinds(&self) -> &Kinds {
        match self {
            Self::Embedded(engine) => engine.kinds(),
            Self::Cluster(cluster) => cluster.kinds(),
        }
    }

    /// Edges of a batch. Those of a cluster are spread over its partitions, and each partition's
    /// part is one transaction.
    fn batch_ops(&self) -> usize {
        match self {
            Self::Embedded(_) => super::BATCH_OPS,
            Self::Cluster(_) => 20_000,
        }
    }

    /// Batches being written. One lane of an embedded store takes them in the order in which they
    /// come. The partitions of a cluster go on beside each other: two batches under way could
    /// change places, and of two lines about one edge the second would decide.
    fn batches_in_flight(&self) -> usize {
        match self {
            Self::Embedded(_) => 4,
            Self::Cluster(_) => 1,
        }
    }

    /// Servers that are away are waited for. What a directory cannot take now, such as on a full
    /// disk, it will not take soon.
    async fn write(&self, ops: Vec<Op>) -> anyhow::Result<Imported> {
        let engine = match self {
            Self::Embedded(engine) => engine,
            Self::Cluster(cluster) => return patience::import(cluster, ops).await,
        };
        let applied = engine.apply(Write::plain(ops)).await;
        let done = applied.context("a batch could not be written")?.transitions;
        let set = done.iter().filter(|done| done.changed).count() as u64;
        Ok(Imported {
            set,
            unchanged: done.len() as u64 - set,
        })
    }
}

/// Imports one source.
pub(super) async fn import(
    sink: Sink<'_>,
    clock: &Arc<dyn Clock>,
    path: &Path,
    defaults: &Defaults,
) -> anyhow::Result<Summary> {
    let source = Source::open(path)?;
    let mut rejects = Rejects::of(path)?;
    let mut progress = Progress::of(&source)?;
    let batch_ops = sink.batch_ops();
    let (mut batches, reading) = reader::read(source, sink.kinds(), defaults, clock, batch_ops);

    let mut summary = Summary::default();
    let mut writes = FuturesOrdered::new();
    let mut more = true;
    while more || !writes.is_empty() {
        tokio::select! {
            // Starting the next write first keeps the engine fed.
            biased;
            batch = batches.recv(), if more && writes.len() < sink.batches_in_flight() => match batch {
                Some(Decoded { ops, rejections }) => {
                    rejects.write(&rejections)?;
                    summary.count_rejected(&rejections);
                    progress.advance(rejections.len() as u64);
                    writes.push_back(sink.write(ops));
                }
                None => more = false,
            },
            Some(applied) = writes.next(), if !writes.is_empty() => {
                let Imported { set, unchanged } = applied?;
                summary.lines += set + unchanged;
                summary.set += set;
                summary.unchanged += unchanged;
                progress.advance(set + unchanged);
            }
        }
    }
    reading.await??;
    drop(progress);
    rejects.finish()?;
    Ok(summary)
}
