//! `acclaim migrate`: from a plain table or Redis sets into a running cluster, and from one ledger
//! to another.
//!
//! - [`args`]: the flags;
//! - [`source`]: what a store that moves in must answer;
//! - [`table`], [`sets`], [`embedded`]: the sources;
//! - [`copy`] and [`compare`]: the two things that are done with any source;
//! - [`position`]: where a copy is, in a file;
//! - [`ledger`]: a whole ledger to another one.
//!
//! Edges come into the cluster as its own writes do, through Redis, so its nodes may serve
//! meanwhile. Times go with them, and what is newer in the cluster stays.

mod args;
pub(super) mod compare;
pub(super) mod copy;
pub(super) mod embedded;
mod ledger;
mod position;
mod sets;
pub(super) mod source;
mod table;

use std::path::Path;

use acclaim_cluster::engine::Cluster;
use acclaim_core::{Engine as _, TargetType};
use anyhow::{Context as _, bail};

pub use args::MigrateArgs;
use args::{Common, Migrate};
use source::{Source, Words};

use crate::cluster;
use crate::config::EngineName;
use crate::output::{Outcome, note, say};
use crate::store;

/// Runs a step.
pub fn run(args: &MigrateArgs, file: Option<&Path>) -> anyhow::Result<Outcome> {
    let config = super::load_with_data(file, None)?.config;
    if config.server.engine != EngineName::Cluster {
        bail!("migrate needs the configuration of a cluster: server.engine = \"cluster\"");
    }
    let runtime = store::runtime()?;
    let common = match &args.what {
        Migrate::Ledger(args) => return runtime.block_on(ledger::run(args, &config)),
        Migrate::Table(args) => &args.common,
        Migrate::Sets(args) => &args.common,
    };
    match runtime.block_on(cluster::with(&config, async |cluster: &Cluster| {
        let words = words(common, cluster)?;
        match &args.what {
            Migrate::Table(args) => table::run(args, cluster, words).await,
            Migrate::Sets(args) => sets::run(args, cluster, words).await,
            Migrate::Ledger(_) => unreachable!("it was run above"),
        }
    })) {
        Ok(outcome) => outcome,
        Err(failure) => failure.end(),
    }
}

fn words(common: &Common, cluster: &Cluster) -> anyhow::Result<Words> {
    let kinds = cluster.kinds().clone();
    let kind = store::find_kind(&kinds, &common.kind).context("--kind")?;
    let given = common.target_type.as_deref().map(TargetType::parse);
    let given = given.transpose().context("--target-type")?;
    Words::new(kinds, kind, given, &common.map_type)
}

/// Compares and says what came of it.
async fn compare(
    source: &mut impl Source,
    cluster: &Cluster,
    words: &Words,
    mend: bool,
) -> anyhow::Result<Outcome> {
    let compared = compare::run(source, cluster, words.kind(), mend).await?;
    for line in compared.lines(words) {
        say(line)?;
    }
    note(format_args!(
        "compared {} edges there and {} here: {} missing, {} too many, {} mended",
        compared.there, compared.here, compared.missing, compared.surplus, compared.mended
    ));
    let rejected = compared.rejected;
    if rejected > 0 {
        note(format_args!(
            "{rejected} rows are no edges and were not compared"
        ));
    }
    Ok(match compared.missing + compared.surplus {
        0 => Outcome::Done,
        _ => Outcome::Findings,
    })
}

/// Says what a copy came to.
fn tell(copied: &copy::Copied) -> anyhow::Result<Outcome> {
    say(format_args!(
        "{} rows, {} new, {} already there, {} rejected",
        copied.rows, copied.set, copied.unchanged, copied.rejected
    ))?;
    copied.shown.iter().for_each(note);
    Ok(match copied.rejected {
        0 => Outcome::Done,
        _ => Outcome::Findings,
    })
}

/// Without the password, for people and for files.
fn shown_url(url: &str) -> String {
    crate::config::without_password(url)
}
