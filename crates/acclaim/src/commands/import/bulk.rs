//! Import into an empty store: all files at once, or nothing.
//!
//! The lines of all files are read and sorted before anything is written, so what became of each file
//! is known only in the end. Ctrl-C stops it at any moment and leaves the store empty.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use acclaim_core::Kinds;
use acclaim_core::port::Clock;
use acclaim_core::transfer::{Decoded, Defaults, Summary};
use acclaim_engine::SystemClock;
use acclaim_engine::embedded::{BulkError, BulkLoad, Loaded};
use anyhow::Context as _;
use tokio::sync::watch;

use crate::stop::Stop;

use super::progress::Progress;
use super::reader;
use super::rejects::Rejects;
use super::source::{self, Source};

/// Imports all sources.
pub(super) async fn import(
    mut load: BulkLoad,
    kinds: &Kinds,
    files: &[PathBuf],
    defaults: &Defaults,
) -> anyhow::Result<Summary> {
    let mut stop = Interruption::listen(load.interrupt())?;
    let imported = async {
        let mut summaries = Vec::with_capacity(files.len());
        for path in files {
            let summary = read(&mut load, kinds, path, defaults, &mut stop).await;
            summaries.push(summary.with_context(|| source::name(path))?);
            load.end_source();
        }
        let loaded = tokio::task::spawn_blocking(move || write(load)).await??;
        anyhow::Ok((summaries, loaded))
    };
    let (summaries, loaded): (Vec<Summary>, Vec<Loaded>) =
        imported.await.context("nothing is imported")?;
    let mut sum = Summary::default();
    for ((path, mut summary), loaded) in files.iter().zip(summaries).zip(loaded) {
        summary.lines += loaded.set + loaded.unchanged;
        summary.set = loaded.set;
        summary.unchanged = loaded.unchanged;
        super::tell(&source::name(path), &summary)?;
        sum.add(summary);
    }
    Ok(sum)
}

/// Whether a signal asked for the end.
struct Interruption(watch::Receiver<bool>);

impl Interruption {
    /// Listens. At a signal `flag` is set, which ends what does not wait for it.
    fn listen(flag: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let mut stop = Stop::listen().context("cannot listen to signals")?;
        let (tell, told) = watch::channel(false);
        tokio::spawn(async move {
            stop.wait().await;
            flag.store(true, Ordering::Relaxed);
            tell.send_replace(true);
        });
        Ok(Self(told))
    }

    async fn asked(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // Nobody listens any more, so nobody asks.
            std::future::pending().await
        }
    }
}

/// Reads a source. What was rejected is in the summary; the rest is known in the end.
async fn read(
    load: &mut BulkLoad,
    kinds: &Kinds,
    path: &Path,
    defaults: &Defaults,
    stop: &mut Interruption,
) -> anyhow::Result<Summary> {
    let source = Source::open(path)?;
    let mut rejects = Rejects::of(path)?;
    let mut progress = Progress::of(&source)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (mut batches, reading) = reader::read(source, kinds, defaults, &clock, super::BATCH_OPS);
    let mut summary = Summary::default();
    loop {
        let batch = tokio::select! {
            biased;
            batch = batches.recv() => batch,
            // The source may be silent for ever.
            () = stop.asked() => return Err(BulkError::Interrupted.into()),
        };
        let Some(Decoded { ops, rejections }) = batch else {
            break;
        };
        rejects.write(&rejections)?;
        summary.count_rejected(&rejections);
        load.add(&ops)?;
        progress.advance((ops.len() + rejections.len()) as u64);
    }
    reading.await??;
    drop(progress);
    rejects.finish()?;
    Ok(summary)
}

fn write(load: BulkLoad) -> anyhow::Result<Vec<Loaded>> {
    let mut progress = Progress::of_writing()?;
    Ok(load.finish(&mut |done, of| progress.write(done, of))?)
}
