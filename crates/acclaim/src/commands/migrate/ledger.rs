//! From one ledger to another while the nodes serve; see [`acclaim_cluster::ledger::moving`].

use std::time::Duration;

use acclaim_cluster::ledger::Ledger;
use acclaim_cluster::ledger::moving::{Pause, TableReport};
use anyhow::{Context as _, bail};
use indicatif::{HumanCount, ProgressBar};

use super::args::{LedgerArgs, LedgerStep};
use crate::config::Config;
use crate::output::{Outcome, note, say};

/// Runs a step.
pub async fn run(args: &LedgerArgs, config: &Config) -> anyhow::Result<Outcome> {
    let cluster = &config.cluster;
    if cluster.ledger.is_empty() {
        bail!("the ledger to move from is that of the configuration; set cluster.ledger");
    }
    let bounds = &cluster.ledger_bounds;
    let old = Ledger::new(&cluster.ledger, bounds.clone()).context("cluster.ledger")?;
    let new = Ledger::new(&args.to, bounds.clone()).context("--to")?;
    let done = step(args, &old, &new).await;
    old.close().await;
    new.close().await;
    done
}

async fn step(args: &LedgerArgs, old: &Ledger, new: &Ledger) -> anyhow::Result<Outcome> {
    let is_moved_away = old.is_moved_away().await.context("the old ledger")?;
    if !is_moved_away && old.open_store().await?.is_none() {
        bail!("the ledger of the configuration has no store");
    }
    match args.step {
        LedgerStep::Compare => {
            let reports = compare(old, new).await?;
            tell_differences(&reports)
        }
        LedgerStep::Copy | LedgerStep::Changes => {
            if is_moved_away {
                bail!("the ledger of the configuration was moved already");
            }
            new.migrate().await.context("the new ledger")?;
            new.begin_copy().await.context("the new ledger")?;
            tell_copied(&copy(old, new).await?)?;
            Ok(Outcome::Done)
        }
        LedgerStep::Switch => {
            new.begin_copy()
                .await
                .context("the new ledger; copy to it first")?;
            if is_moved_away {
                // Whoever closed it did not come to open the other.
                finish(old, new).await?;
            } else {
                let longest = Duration::from_secs(u64::from(args.max_pause_seconds));
                close(old, new, longest).await?;
            }
            new.open_moved().await.context(
                "the old ledger is closed and the new one is whole, but could not be opened; \
                 run this again",
            )?;
            say("the ledger is moved: stop every node, then start them with the new ledger")?;
            Ok(Outcome::Done)
        }
    }
}

/// Pauses the workers, copies the rest and closes the old ledger; or lets everything go on.
async fn close(old: &Ledger, new: &Ledger, longest: Duration) -> anyhow::Result<()> {
    let began = std::time::Instant::now();
    let paused: Pause = old.pause(longest).await?;
    let finished = tokio::time::timeout(longest, finish(old, new)).await;
    let finished = finished.unwrap_or_else(|_| {
        let seconds = longest.as_secs();
        bail!("the rest was not copied and compared in {seconds} s (--max-pause-seconds)")
    });
    let closed = match finished {
        Ok(()) => old.close_moved(paused).await.map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    match closed {
        Ok(true) => {
            note(format_args!(
                "no worker wrote for {} ms",
                began.elapsed().as_millis()
            ));
            Ok(())
        }
        not_closed => {
            old.resume(paused)
                .await
                .context("the workers go on when the pause ends")?;
            not_closed?;
            bail!("the pause ended too early; everything goes on as before")
        }
    }
}

/// Copies what is left, and looks that nothing is.
async fn finish(old: &Ledger, new: &Ledger) -> anyhow::Result<()> {
    tell_copied(&copy(old, new).await?)?;
    let reports = compare(old, new).await?;
    let counted = reports.iter().filter(|report| !report.is_journal);
    let differing: u64 = counted.map(TableReport::differences).sum();
    if differing > 0 {
        tell_differences(&reports)?;
        bail!("{differing} rows differ after they were copied; does somebody else write them?");
    }
    Ok(())
}

async fn copy(old: &Ledger, new: &Ledger) -> anyhow::Result<Vec<TableReport>> {
    let bar = Bar::new("copying");
    Ok(old.copy_to(new, &mut |rows| bar.add(rows)).await?)
}

async fn compare(old: &Ledger, new: &Ledger) -> anyhow::Result<Vec<TableReport>> {
    let bar = Bar::new("comparing");
    Ok(old.compare_with(new, &mut |rows| bar.add(rows)).await?)
}

fn tell_copied(reports: &[TableReport]) -> anyhow::Result<()> {
    for report in reports {
        say(format_args!(
            "{}: {} rows, {} written, {} removed",
            report.table, report.rows, report.differing, report.surplus
        ))?;
    }
    Ok(())
}

fn tell_differences(reports: &[TableReport]) -> anyhow::Result<Outcome> {
    let mut all = 0;
    for report in reports {
        for difference in &report.shown {
            say(format_args!(
                "{}: {}: {}",
                difference.what, report.table, difference.key
            ))?;
        }
        all += report.differences();
        note(format_args!(
            "{}: {} rows, {} differ",
            report.table,
            report.rows,
            report.differences()
        ));
    }
    Ok(match all {
        0 => Outcome::Done,
        _ => Outcome::Findings,
    })
}

/// The rows that were read, on a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new(what: &'static str) -> Self {
        Self(ProgressBar::new_spinner().with_message(what))
    }

    fn add(&self, rows: u64) {
        self.0.inc(rows);
        let rows = HumanCount(self.0.position());
        self.0.set_message(format!("{rows} rows"));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
