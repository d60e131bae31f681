//! Comparing a source with the cluster, both ways, and mending the cluster.
//!
//! Both may be in use, so what differs is looked at once more in the end, after the ledger has
//! everything that was written before: what differs then differed for longer than a write takes.
//! The cluster's side is its ledger, so a comparison brings nothing into Redis.

use acclaim_cluster::engine::Cluster;
use acclaim_core::port::Admin as _;
use acclaim_core::{Action, EdgeKey, EdgeState, KindId, Op};
use anyhow::bail;

use super::super::patience;
use super::source::{Source, Standing, Words};
use crate::cluster;

/// Edges that are looked at in one call.
const LOOK_EDGES: usize = 500;
/// Differences that are kept to be looked at again.
const MAX_KEPT_DIFFERENCES: usize = 200_000;
/// Differences that are told one by one.
const SHOWN_DIFFERENCES: usize = 1_000;

/// What a comparison came to.
#[derive(Debug, Default)]
pub struct Compared {
    /// Edges of the source.
    pub there: u64,
    /// Edges of the cluster.
    pub here: u64,
    /// Rows of the source that are no edges.
    pub rejected: u64,
    /// Edges that the cluster lacks.
    pub missing: u64,
    /// Edges that only the cluster has.
    pub surplus: u64,
    /// Edges that were made as they are in the source.
    pub mended: u64,
    differing: Vec<Differing>,
}

/// An edge that is not the same in both.
#[derive(Debug)]
struct Differing {
    edge: EdgeKey,
    there: Standing,
    here: EdgeState,
}

impl Compared {
    /// The differences that are left, for people.
    pub fn lines(&self, words: &Words) -> impl Iterator<Item = String> {
        let shown = self.differing.iter().take(SHOWN_DIFFERENCES);
        shown.map(|one| {
            let what = if one.there.active {
                "missing"
            } else {
                "too many"
            };
            format!("{what}: {}", words.line(&one.edge))
        })
    }
}

/// Compares the edges of a kind.
///
/// # Errors
/// Of either side, and when more differs than can be looked at again.
pub async fn run<S: Source>(
    source: &mut S,
    cluster: &Cluster,
    kind: KindId,
    mend: bool,
) -> anyhow::Result<Compared> {
    cluster::settle(cluster).await?;
    let mut compared = Compared::default();
    let mut suspects = Vec::new();
    from_there(source, cluster, &mut compared, &mut suspects).await?;
    from_here(source, cluster, kind, &mut compared, &mut suspects).await?;
    let mut differing = look_again(source, cluster, suspects).await?;
    if mend && !differing.is_empty() {
        for part in differing.chunks(LOOK_EDGES) {
            let ops = part.iter().map(mending::<S>).collect();
            let done = patience::apply(cluster, ops).await?;
            compared.mended += done.iter().filter(|done| done.changed).count() as u64;
        }
        let edges = differing.into_iter().map(|one| one.edge).collect();
        differing = look_again(source, cluster, edges).await?;
    }
    compared.missing = differing.iter().filter(|one| one.there.active).count() as u64;
    compared.surplus = differing.len() as u64 - compared.missing;
    compared.differing = differing;
    Ok(compared)
}

async fn from_there<S: Source>(
    source: &mut S,
    cluster: &Cluster,
    compared: &mut Compared,
    suspects: &mut Vec<EdgeKey>,
) -> anyhow::Result<()> {
    source.rewind();
    loop {
        let page = source.page().await?;
        compared.rejected += page.rejected.len() as u64;
        compared.there += page.edges.len() as u64;
        for part in page.edges.chunks(LOOK_EDGES) {
            let edges: Vec<EdgeKey> = part.iter().map(|(edge, _)| edge.clone()).collect();
            let states = patience::read(async || cluster.recorded(&edges).await).await?;
            for (edge, state) in edges.into_iter().zip(states) {
                if !state.active {
                    keep(suspects, edge)?;
                }
            }
        }
        if page.next.is_none() {
            return Ok(());
        }
    }
}

async fn from_here<S: Source>(
    source: &mut S,
    cluster: &Cluster,
    kind: KindId,
    compared: &mut Compared,
    suspects: &mut Vec<EdgeKey>,
) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let read = async || cluster.export(kind, after.clone(), LOOK_EDGES).await;
        let page = patience::read(read).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.edge.clone());
        compared.here += page.len() as u64;
        let edges: Vec<EdgeKey> = page.into_iter().map(|exported| exported.edge).collect();
        let standings = source.standings(&edges).await?;
        for (edge, standing) in edges.into_iter().zip(standings) {
            if !standing.active {
                keep(suspects, edge)?;
            }
        }
    }
}

fn keep(suspects: &mut Vec<EdgeKey>, edge: EdgeKey) -> anyhow::Result<()> {
    if suspects.len() >= MAX_KEPT_DIFFERENCES {
        bail!("more than {MAX_KEPT_DIFFERENCES} edges differ; copy first");
    }
    suspects.push(edge);
    Ok(())
}

/// Those that still differ.
async fn look_again<S: Source>(
    source: &mut S,
    cluster: &Cluster,
    edges: Vec<EdgeKey>,
) -> anyhow::Result<Vec<Differing>> {
    if edges.is_empty() {
        return Ok(Vec::new());
    }
    cluster::settle(cluster).await?;
    let mut differing = Vec::new();
    for part in edges.chunks(LOOK_EDGES) {
        let standings = source.standings(part).await?;
        let states = patience::read(async || cluster.recorded(part).await).await?;
        for ((edge, there), here) in part.iter().zip(standings).zip(states) {
            if there.differs::<S>(here) {
                let edge = edge.clone();
                differing.push(Differing { edge, there, here });
            }
        }
    }
    Ok(differing)
}

/// What makes an edge of the cluster as it is in the source. A time goes with it unless the cluster
/// has a newer one, which would stand against it.
fn mending<S: Source>(one: &Differing) -> Op {
    let action = match one.there.active {
        true => Action::Set,
        false => Action::Unset,
    };
    Op {
        at: one.there.at.filter(|at| *at > one.here.rev),
        ..Op::new(action, one.edge.clone())
    }
}
