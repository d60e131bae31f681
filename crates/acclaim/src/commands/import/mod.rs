//! `acclaim import`: files into a server or a data directory.
//!
//! One thread reads and takes lines apart while the batches before are being written. Lines go in
//! their order, so of two lines about one edge the first decides.
//!
//! A cluster is written while its servers run: past Redis where targets are at rest, else through it.
//!
//! A directory whose store never had a commit is filled by a bulk load, which is faster and takes all
//! files or none; any other, and a server, batch by batch.

mod bulk;
mod embedded;
mod local;
mod progress;
mod reader;
mod rejects;
mod remote;
mod source;

use std::path::Path;
use std::sync::Arc;

use acclaim_cluster::engine::Cluster;
use acclaim_core::port::Clock;
use acclaim_core::transfer::{Defaults, Summary};
use acclaim_core::{Engine as _, Kinds, TargetType};
use acclaim_engine::SystemClock;
use anyhow::{Context as _, bail};
use local::Sink;

use super::Edges;
use crate::cli::ImportArgs;
use crate::cluster;
use crate::config::Config;
use crate::output::{Outcome, note, say};
use crate::store::{self, Store};

/// Edges that are read before they are handed on to an embedded store.
const BATCH_OPS: usize = 5_000;
/// Rejected lines that the summary repeats.
const SHOWN_REJECTIONS: usize = 10;

/// Imports every file.
pub fn run(args: &ImportArgs, file: Option<&Path>) -> anyhow::Result<Outcome> {
    let target_type = args.target_type.as_deref().map(TargetType::parse);
    let target_type = target_type.transpose().context("--target-type")?;
    let runtime = store::runtime()?;
    if let Some(dir) = &args.from_embedded {
        return from_embedded(dir, args, file);
    }
    let sum = match Edges::of(&args.place, file)? {
        Edges::Server(url) => runtime.block_on(into_server(&url, args)),
        Edges::Directory(config) => runtime.block_on(into_directory(&config, args, target_type)),
        Edges::Cluster(config) => {
            match runtime.block_on(into_cluster(&config, args, target_type)) {
                Ok(sum) => sum,
                Err(failure) => return failure.end(),
            }
        }
    };
    // After an error the reading thread may still wait for standard input, which may never end.
    runtime.shutdown_background();
    let sum = sum?;
    if args.files.len() > 1 {
        tell("all files", &sum)?;
    }
    Ok(match sum.rejected {
        0 => Outcome::Done,
        _ => Outcome::Findings,
    })
}

/// Imports an embedded store.
fn from_embedded(dir: &Path, args: &ImportArgs, file: Option<&Path>) -> anyhow::Result<Outcome> {
    let runtime = store::runtime()?;
    let config = super::load_with_data(file, None)?.config;
    let store = embedded::open(&config, dir)?;
    let sum = match Edges::of(&args.place, file)? {
        Edges::Server(url) => runtime.block_on(store.close_after(async |store: &Store| {
            let mut server = remote::Server::connect(&url, args).await?;
            embedded::into_server(&store.engine, &mut server).await
        })),
        Edges::Cluster(config) => {
            let import = store.close_after(async |store: &Store| {
                let import =
                    async |cluster: &Cluster| embedded::into_cluster(&store.engine, cluster).await;
                Ok(cluster::with(&config, import).await)
            });
            match runtime.block_on(import)? {
                Ok(sum) => sum,
                Err(failure) => return failure.end(),
            }
        }
        Edges::Directory(_) => bail!(
            "--from-embedded goes into a cluster or a server; a directory is copied with \
             `acclaim backup` and `acclaim restore`"
        ),
    };
    let sum = sum.with_context(|| {
        format!(
            "{} is not imported to its end; run it again, nothing doubles",
            dir.display()
        )
    })?;
    tell(&dir.display().to_string(), &sum)?;
    Ok(match sum.rejected {
        0 => Outcome::Done,
        _ => Outcome::Findings,
    })
}

async fn into_directory(
    config: &Config,
    args: &ImportArgs,
    target_type: Option<TargetType>,
) -> anyhow::Result<Summary> {
    let kinds = config.kinds()?;
    let defaults = defaults(&kinds, args, target_type)?;
    if let Some(load) = store::begin_load(config)? {
        return bulk::import(load, &kinds, &args.files, &defaults).await;
    }
    let store = store::open(config)?;
    let import = async |store: &Store| {
        let clock = Arc::clone(&store.clock);
        into_sink(Sink::Embedded(&store.engine), clock, args, &defaults).await
    };
    store.close_after(import).await
}

async fn into_cluster(
    config: &Config,
    args: &ImportArgs,
    target_type: Option<TargetType>,
) -> Result<anyhow::Result<Summary>, cluster::Failure> {
    let import = async |cluster: &Cluster| {
        let defaults = defaults(cluster.kinds(), args, target_type)?;
        let clock = Arc::new(SystemClock);
        into_sink(Sink::Cluster(cluster), clock, args, &defaults).await
    };
    cluster::with(config, import).await
}

/// What lines have that do not say so.
fn defaults(
    kinds: &Kinds,
    args: &ImportArgs,
    target_type: Option<TargetType>,
) -> anyhow::Result<Defaults> {
    let kind = args.kind.as_deref();
    let kind = kind.map(|name| store::find_kind(kinds, name));
    Ok(Defaults {
        kind: kind.transpose().context("--kind")?,
        target_type,
    })
}

async fn into_sink(
    sink: Sink<'_>,
    clock: Arc<dyn Clock>,
    args: &ImportArgs,
    defaults: &Defaults,
) -> anyhow::Result<Summary> {
    let mut sum = Summary::default();
    for path in &args.files {
        let summary = local::import(sink, &clock, path, defaults).await;
        sum.add(finish(path, summary)?);
    }
    Ok(sum)
}

async fn into_server(url: &str, args: &ImportArgs) -> anyhow::Result<Summary> {
    let mut server = remote::Server::connect(url, args).await?;
    let mut sum = Summary::default();
    for path in &args.files {
        let summary = server.import(path).await;
        sum.add(finish(path, summary)?);
    }
    Ok(sum)
}

fn finish(path: &Path, summary: anyhow::Result<Summary>) -> anyhow::Result<Summary> {
    let name = source::name(path);
    let summary = summary.with_context(|| {
        format!("{name} is not imported to its end; run it again, nothing doubles")
    })?;
    tell(&name, &summary)?;
    Ok(summary)
}

fn tell(name: &str, summary: &Summary) -> anyhow::Result<()> {
    say(format_args!(
        "{name}: {} lines, {} new, {} already there, {} rejected",
        summary.lines, summary.set, summary.unchanged, summary.rejected
    ))?;
    for rejection in summary.rejections.iter().take(SHOWN_REJECTIONS) {
        let code = rejection.code.as_str();
        note(format_args!(
            "line {}: {code}: {}",
            rejection.line, rejection.detail
        ));
    }
    Ok(())
}
