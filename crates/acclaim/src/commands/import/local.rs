//! Import through an engine in this process: a data directory, or a cluster.

use std::path::Path;
use std::sync::Arc;

use acclaim_core::port::{Clock, Write};
use acclaim_core::transfer::{Decoded, Defaults, Summary};
use acclaim_core::{Engine, Op, Transition};
use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;

use super::super::patience;
use super::progress::Progress;
use super::reader;
use super::rejects::Rejects;
use super::source::Source;

/// How edges are handed to an engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Edges of a batch.
    pub batch_ops: usize,
    /// Batches being written.
    pub batches_in_flight: usize,
    /// Whether to wait for servers that are away; what a directory cannot take now, such as on a
    /// full disk, it will not take soon.
    pub is_patient: bool,
}

impl Pace {
    /// One lane takes batches in the order in which they come.
    pub const EMBEDDED: Self = Self {
        batch_ops: super::BATCH_OPS,
        batches_in_flight: 4,
        is_patient: false,
    };
    /// The partitions of a cluster go on beside each other, so two batches under way could change
    /// places, and of two lines about one edge the second would decide. A batch must be done in
    /// the time of one write, however much of it is cold.
    pub const CLUSTER: Self = Self {
        batch_ops: 1_000,
        batches_in_flight: 1,
        is_patient: true,
    };
}

/// Imports one source.
pub(super) async fn import(
    engine: &dyn Engine,
    clock: &Arc<dyn Clock>,
    pace: Pace,
    path: &Path,
    defaults: &Defaults,
) -> anyhow::Result<Summary> {
    let source = Source::open(path)?;
    let mut rejects = Rejects::of(path)?;
    let mut progress = Progress::of(&source)?;
    let kinds = engine.kinds();
    let (mut batches, reading) = reader::read(source, kinds, defaults, clock, pace.batch_ops);

    let mut summary = Summary::default();
    let mut writes = FuturesOrdered::new();
    let mut more = true;
    while more || !writes.is_empty() {
        tokio::select! {
            // Starting the next write first keeps the engine fed.
            biased;
            batch = batches.recv(), if more && writes.len() < pace.batches_in_flight => match batch {
                Some(Decoded { ops, rejections }) => {
                    rejects.write(&rejections)?;
                    summary.count_rejected(&rejections);
                    progress.advance(rejections.len() as u64);
                    writes.push_back(write(engine, pace, ops));
                }
                None => more = false,
            },
            Some(applied) = writes.next(), if !writes.is_empty() => {
                let transitions = applied?;
                summary.count_applied(&transitions);
                progress.advance(transitions.len() as u64);
            }
        }
    }
    reading.await??;
    drop(progress);
    rejects.finish()?;
    Ok(summary)
}

async fn write(engine: &dyn Engine, pace: Pace, ops: Vec<Op>) -> anyhow::Result<Vec<Transition>> {
    if pace.is_patient {
        return patience::apply(engine, ops).await;
    }
    let applied = engine.apply(Write::plain(ops)).await;
    Ok(applied.context("a batch could not be written")?.transitions)
}
