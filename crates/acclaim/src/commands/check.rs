//! `acclaim check`: compare everything derived with the edges.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use acclaim_core::JobError;
use acclaim_core::port::{Admin as _, CheckReport, Finding};
use acclaim_engine::embedded::CheckProgress;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use prometheus_client::registry::Registry;

use crate::cli::CheckArgs;
use crate::cluster;
use crate::config::{Config, EngineName};
use crate::output::{Outcome, note, say};
use crate::store::{self, Store};

/// How long it is waited until the ledger has what was acknowledged before. What it lacks then is
/// not compared.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// How often the bar is drawn.
const REDRAW: Duration = Duration::from_millis(200);
const KNOWN_TOTAL: &str = "{msg} {bar:30} about {percent}% {eta} left";
const UNKNOWN_TOTAL: &str = "{spinner} {msg}, {elapsed}";

/// Checks the store, and mends it if asked to.
pub fn run(args: &CheckArgs, file: Option<&Path>) -> anyhow::Result<Outcome> {
    let config = super::load_with_data(file, args.data.as_deref())?.config;
    // A directory that was named is meant, whatever engine is configured.
    let report = if config.server.engine == EngineName::Cluster && args.data.is_none() {
        match store::runtime()?.block_on(of_cluster(&config, args.repair)) {
            Ok(report) => report?,
            Err(failure) => return failure.end(),
        }
    } else {
        let store = store::open_existing(&config)?;
        let watched = store.close_after(async |store| watch(store, args.repair).await);
        store::runtime()?.block_on(watched)?
    };
    tell(&report)?;
    Ok(match report.mismatches {
        0 => Outcome::Done,
        _ => Outcome::Findings,
    })
}

/// Checks the cluster of the configuration. A worker runs meanwhile, so that everything that was
/// acknowledged comes into the ledger also where no other process moves it.
async fn of_cluster(
    config: &Config,
    repair: bool,
) -> Result<Result<CheckReport, JobError>, cluster::Failure> {
    let mut unused = Registry::default();
    let cluster = cluster::open(config, cluster::Worker::Here, &mut unused).await?;
    let spinner = ProgressBar::new_spinner().with_message("checking Redis and the ledger");
    spinner.enable_steady_tick(REDRAW);
    // A worker that has just joined a bus takes longer than a read waits for.
    let is_settled = cluster.settle(SETTLE_MAX).await.unwrap_or(false);
    let report = cluster.check(repair).await;
    spinner.finish_and_clear();
    cluster.stop().await;
    if !is_settled {
        note("the ledger does not have everything that was acknowledged; are its workers well?");
    }
    Ok(report)
}

/// Runs the check and draws how far it is.
async fn watch(store: &Store, repair: bool) -> anyhow::Result<CheckReport> {
    let progress = Arc::<CheckProgress>::default();
    let check = store.engine.check_watched(repair, Arc::clone(&progress));
    tokio::pin!(check);
    let mut bar = Bar::new()?;
    let mut redraw = tokio::time::interval(REDRAW);
    loop {
        tokio::select! {
            report = &mut check => {
                bar.shown.finish_and_clear();
                return Ok(report?);
            }
            _ = redraw.tick() => bar.draw(progress.done(), progress.total()),
        }
    }
}

/// The bar on a terminal; nothing elsewhere.
struct Bar {
    shown: ProgressBar,
    with_total: ProgressStyle,
    /// Since the first edge was read.
    started: Option<Instant>,
}

impl Bar {
    fn new() -> anyhow::Result<Self> {
        let shown = ProgressBar::new_spinner().with_message("counting edges");
        shown.set_style(ProgressStyle::with_template(UNKNOWN_TOTAL)?);
        Ok(Self {
            shown,
            with_total: ProgressStyle::with_template(KNOWN_TOTAL)?,
            started: None,
        })
    }

    fn draw(&mut self, done: u64, total: u64) {
        if total == 0 {
            self.shown.tick();
            return;
        }
        let started = *self.started.get_or_insert_with(|| {
            self.shown.set_style(self.with_total.clone());
            self.shown.reset_elapsed();
            Instant::now()
        });
        let rate = rate(done, started.elapsed());
        self.shown.set_length(total);
        self.shown.set_position(done);
        let (done, rate) = (HumanCount(done), HumanCount(rate));
        self.shown
            .set_message(format!("{done} records checked, {rate}/s"));
    }
}

/// Records a second; people need no exact rate.
fn rate(done: u64, elapsed: Duration) -> u64 {
    (done as f64 / elapsed.as_secs_f64().max(0.001)) as u64
}

/// Findings to standard output, one a line; the sum to standard error.
fn tell(report: &CheckReport) -> anyhow::Result<()> {
    for finding in &report.findings {
        say(line(finding)?)?;
    }
    let more = report
        .mismatches
        .saturating_sub(report.findings.len() as u64);
    if more > 0 {
        note(format_args!("{more} more are not shown"));
    }
    note(format_args!(
        "checked {}, mismatches {}, repaired {}",
        report.checked, report.mismatches, report.repaired
    ));
    Ok(())
}

fn line(finding: &Finding) -> anyhow::Result<String> {
    let invariant = serde_json::to_value(finding.invariant)?;
    let invariant = invariant.as_str().unwrap_or_default();
    let Finding {
        subject,
        expected,
        found,
        ..
    } = finding;
    let repaired = if finding.repaired { ", repaired" } else { "" };
    Ok(format!(
        "{invariant} {subject}: expected {expected}, found {found}{repaired}"
    ))
}

#[cfg(test)]
mod tests {
    use acclaim_core::port::Invariant;

    use super::*;

    #[test]
    fn the_bar_has_a_share_a_rate_and_a_total_that_may_change() {
        let mut bar = Bar::new().unwrap();
        bar.draw(0, 0);
        assert_eq!(bar.shown.length(), None);
        bar.draw(10, 1_000);
        bar.draw(400, 2_000);
        assert_eq!(
            (bar.shown.position(), bar.shown.length()),
            (400, Some(2_000))
        );
        assert!(bar.shown.message().starts_with("400 records checked, "));
        assert_eq!(rate(3_000, Duration::from_secs(2)), 1_500);
        assert_eq!(rate(3, Duration::ZERO), 3_000);
    }

    #[test]
    fn a_finding_is_one_line() {
        let finding = Finding {
            invariant: Invariant::TargetCount,
            subject: "likes POST:123".to_owned(),
            expected: "3".to_owned(),
            found: "2".to_owned(),
            repaired: true,
        };
        let expected = "target-count likes POST:123: expected 3, found 2, repaired";
        assert_eq!(line(&finding).unwrap(), expected);
    }
}
