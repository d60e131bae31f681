//! Import of a whole embedded store: `--from-embedded DIR`.
//!
//! Into a cluster: every edge of every kind with its time; then what an earlier run brought and was
//! taken back since; then days and rankings as the store has them, which do not follow from the
//! edges as they stand. Into a server, which takes edges only, the edges.

use std::path::Path;

use acclaim_cluster::engine::Cluster;
use acclaim_core::limits::MAX_REPORT_DAYS;
use acclaim_core::port::{Admin as _, Journal as _, Reads as _};
use acclaim_core::transfer::{Format, Relayed, Summary, Writer};
use acclaim_core::{Engine as _, KindId};
use acclaim_engine::embedded::EmbeddedEngine;
use anyhow::Context as _;

use super::remote;
use crate::cluster;
use crate::commands::migrate::embedded::EmbeddedSource;
use crate::commands::migrate::{compare, copy};
use crate::commands::patience;
use crate::config::Config;
use crate::store::{self, Store};

/// Targets read at a time.
const PAGE_TARGETS: usize = 1_000;
/// Edges sent at a time.
const PART_EDGES: usize = 10_000;

/// Opens the store in a directory; its kinds are those of the configuration.
pub(super) fn open(config: &Config, dir: &Path) -> anyhow::Result<Store> {
    let mut config = config.clone();
    config.server.data = dir.to_owned();
    store::open_existing(&config)
}

/// Imports into a cluster.
pub(super) async fn into_cluster(
    engine: &EmbeddedEngine,
    cluster: &Cluster,
) -> anyhow::Result<Summary> {
    let mut sum = Summary::default();
    let kinds: Vec<KindId> = engine.kinds().iter().map(|(id, _)| id).collect();
    for kind in &kinds {
        let mut source = EmbeddedSource::new(engine, *kind);
        let copied = copy::run(&mut source, cluster, |_| Ok(())).await?;
        sum.lines += copied.rows;
        sum.set += copied.set;
        sum.unchanged += copied.unchanged;
    }
    // After all kinds: of two that exclude each other, the later edge has unset the earlier.
    for kind in &kinds {
        let mut source = EmbeddedSource::new(engine, *kind);
        compare::run(&mut source, cluster, *kind, true).await?;
    }
    cluster::settle(cluster).await?;
    engine.settle().await?;
    for kind in kinds {
        take_activity(engine, cluster, kind).await?;
    }
    Ok(sum)
}

async fn take_activity(
    engine: &EmbeddedEngine,
    cluster: &Cluster,
    kind: KindId,
) -> anyhow::Result<()> {
    let end = engine.journal_end().await?.seq;
    let mut after = None;
    loop {
        let pulses = engine.pulses(kind, after, PAGE_TARGETS).await?;
        let Some((last, _)) = pulses.last() else {
            break;
        };
        after = Some(last.clone());
        let take = async || cluster.take_pulses(kind, pulses.clone(), end).await;
        patience::read(take).await?;
    }
    let types = engine.target_types();
    for target_type in types.iter().map(Some).chain([None]) {
        let days = engine.daily(kind, target_type.cloned(), MAX_REPORT_DAYS);
        let days = days.await?;
        let take = async || cluster.take_days(kind, target_type, &days, end).await;
        patience::read(take).await?;
    }
    Ok(())
}

/// Imports into a server.
pub(super) async fn into_server(
    engine: &EmbeddedEngine,
    server: &mut remote::Server,
) -> anyhow::Result<Summary> {
    let mut sum = Summary::default();
    let writer = Writer::new(Format::Ndjson, engine.kinds());
    for (kind, _) in engine.kinds().iter() {
        let mut after = None;
        loop {
            let edges = engine.export(kind, after, PART_EDGES).await?;
            let Some(last) = edges.last() else {
                break;
            };
            after = Some(last.edge.clone());
            let mut part = Relayed::default();
            for edge in &edges {
                writer.write(edge, &mut part.text);
                sum.lines += 1;
                part.lines.push((part.text.len(), sum.lines));
            }
            let sent = server.send_part(part).await;
            let of_part = sent.context("a part was not taken")?;
            sum.set += of_part.set;
            sum.unchanged += of_part.unchanged;
            sum.rejected += of_part.rejected;
            sum.rejections.extend(of_part.rejections);
        }
    }
    Ok(sum)
}
