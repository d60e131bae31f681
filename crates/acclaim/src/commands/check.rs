//! `acclaim check`: compare everything derived with the edges.

use std::path::Path;
use std::time::Duration;

use acclaim_core::port::{Admin as _, CheckReport, Finding};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::CheckArgs;
use crate::output::{Outcome, note, say};
use crate::store;

/// Checks the store, and mends it if asked to.
pub fn run(args: &CheckArgs, file: Option<&Path>) -> anyhow::Result<Outcome> {
    let loaded = super::load_with_data(file, args.data.as_deref())?;
    let store = store::open_existing(&loaded.config)?;
    let report = store::runtime()?.block_on(store.close_after(async |store| {
        let progress = ProgressBar::new_spinner().with_message("checking every edge");
        progress.set_style(ProgressStyle::with_template("{spinner} {msg}, {elapsed}")?);
        progress.enable_steady_tick(Duration::from_millis(200));
        let report = store.engine.check(args.repair).await;
        progress.finish_and_clear();
        Ok(report?)
    }))?;
    tell(&report)?;
    Ok(match report.mismatches {
        0 => Outcome::Done,
        _ => Outcome::Findings,
    })
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
