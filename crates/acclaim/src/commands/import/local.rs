//! Import into a data directory: the engine in this process, large batches, several under way.

use std::path::Path;

use acclaim_core::Engine as _;
use acclaim_core::port::{Write, Writes as _};
use acclaim_core::transfer::{Decoded, Defaults, Summary};
use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;

use crate::store::Store;

use super::progress::Progress;
use super::reader;
use super::rejects::Rejects;
use super::source::Source;

/// Batches being written.
const BATCHES_IN_FLIGHT: usize = 4;

/// Imports one source.
pub(super) async fn import(
    store: &Store,
    path: &Path,
    defaults: &Defaults,
) -> anyhow::Result<Summary> {
    let source = Source::open(path)?;
    let mut rejects = Rejects::of(path)?;
    let mut progress = Progress::of(&source)?;
    let kinds = store.engine.kinds();
    let (mut batches, reading) = reader::read(source, kinds, defaults, &store.clock);

    let mut summary = Summary::default();
    let mut writes = FuturesOrdered::new();
    let mut more = true;
    while more || !writes.is_empty() {
        tokio::select! {
            // Starting the next write first keeps the engine fed.
            biased;
            batch = batches.recv(), if more && writes.len() < BATCHES_IN_FLIGHT => match batch {
                Some(Decoded { ops, rejections }) => {
                    rejects.write(&rejections)?;
                    summary.count_rejected(&rejections);
                    progress.advance(rejections.len() as u64);
                    writes.push_back(store.engine.apply(Write::plain(ops)));
                }
                None => more = false,
            },
            Some(applied) = writes.next(), if !writes.is_empty() => {
                let transitions = applied.context("a batch could not be written")?.transitions;
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
