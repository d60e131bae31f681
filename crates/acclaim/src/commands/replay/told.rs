//! What is said of a replay: how far it is, on a terminal; what it came to, line by line.

use std::time::{Duration, Instant};

use acclaim_cluster::replay::{Gap, MAX_TOLD, Moved, Progress, Report};
use acclaim_core::Rev;
use acclaim_core::port::Place;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use crate::output::{Outcome, note, say};

const KNOWN_SIZE: &str = "{msg} {bar:30} {percent}% {eta} left";
/// How often it is drawn.
const REDRAW: Duration = Duration::from_millis(200);

/// How far it is.
pub(super) struct Bar {
    shown: ProgressBar,
    started: Instant,
    drawn: Instant,
    copied: u64,
}

impl Bar {
    pub fn new() -> Self {
        let mut shown = ProgressBar::new(0).with_message("joining the bus");
        if let Ok(style) = ProgressStyle::with_template(KNOWN_SIZE) {
            shown = shown.with_style(style);
        }
        let now = Instant::now();
        Self {
            shown,
            started: now,
            drawn: now,
            copied: 0,
        }
    }

    pub fn draw(&mut self, step: Progress) {
        if let Progress::Copied(rows) = step {
            self.copied += rows;
        }
        if self.drawn.elapsed() < REDRAW {
            return;
        }
        self.drawn = Instant::now();
        match step {
            Progress::Copied(_) => {
                let rows = HumanCount(self.copied);
                self.shown.set_message(format!("{rows} rows copied"));
                self.started = Instant::now();
            }
            Progress::Read { done, left } => {
                let seconds = self.started.elapsed().as_secs_f64().max(0.001);
                // Shown to people, who need no exact rate.
                let rate = (done as f64 / seconds) as u64;
                self.shown.set_length(done.saturating_add(left));
                self.shown.set_position(done);
                let (done, rate) = (HumanCount(done), HumanCount(rate));
                self.shown
                    .set_message(format!("{done} events read, {rate}/s"));
            }
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.shown.finish_and_clear();
    }
}

/// What a replay came to.
pub(super) fn tell(report: &Report, is_dry: bool) -> anyhow::Result<Outcome> {
    for gap in report.gaps.iter().take(MAX_TOLD) {
        say(missing(gap))?;
    }
    for refused in &report.refusals {
        say(format_args!(
            "refused: {}: {}",
            refused.what, refused.reason
        ))?;
    }
    let more = |all: u64, what: &str| {
        let more = all.saturating_sub(MAX_TOLD as u64);
        if more > 0 {
            note(format_args!("{more} more {what} are not shown"));
        }
    };
    more(report.gaps.len() as u64, "gaps");
    more(report.refused, "refused events");
    say(sum(report, is_dry))?;
    for hint in hints(report, is_dry) {
        note(hint);
    }
    Ok(match report.is_whole() {
        true => Outcome::Done,
        false => Outcome::Findings,
    })
}

/// What is missing, in the words in which events name it.
fn missing(gap: &Gap) -> String {
    let Gap {
        partition,
        after,
        upto,
    } = *gap;
    let place = |seq| Place { seq, partition };
    let last = format!("{} of {}", place(upto), upto.time());
    match after {
        Rev::ZERO => format!("missing: partition {partition}: everything up to {last}"),
        _ => format!(
            "missing: partition {partition}: after {} up to {last}",
            place(after)
        ),
    }
}

fn sum(report: &Report, is_dry: bool) -> String {
    let Report {
        events,
        changed,
        known,
        refused,
        late,
        ..
    } = report;
    let gaps = report.gaps.len();
    if is_dry {
        return format!("{events} events would be replayed; {refused} refused, {gaps} gaps");
    }
    let copied = match report.copied {
        0 => String::new(),
        rows => format!("{rows} rows copied, "),
    };
    let late = match late {
        0 => String::new(),
        late => format!("{late} too late as before, "),
    };
    format!(
        "{copied}{events} events: {changed} applied, {known} known, {late}{refused} refused; {gaps} \
         gaps"
    )
}

/// What is to be done or known.
fn hints(report: &Report, is_dry: bool) -> Vec<&'static str> {
    let mut hints = Vec::new();
    if report.is_resumed && !is_dry {
        hints.push("it went on where an earlier run had ended");
    }
    if report.foreign > 0 {
        hints.push("the topic has events of other stores, which were passed over");
    }
    if !report.gaps.is_empty() {
        hints.push(
            "the bus no longer has what is missing: take an empty database and an older ledger that \
             has it (--history URL)",
        );
    }
    if report.refused > 0 && !is_dry {
        hints.push("what was refused is in the dead letters of the ledger");
    }
    if report.is_rebuilt && !is_dry {
        hints.push("the ledger is open: start the nodes with it, and compare with acclaim check");
    }
    if !report.is_rebuilt && report.changed > 0 {
        hints.push(
            "Redis may hold what it loaded before: acclaim check --repair brings it to the ledger",
        );
    }
    hints
}

/// What became of a group.
pub(super) fn tell_moved(
    moved: &Moved,
    group: &str,
    from: Rev,
    is_dry: bool,
) -> anyhow::Result<()> {
    let Moved { before, now } = moved;
    let since = match from {
        Rev::ZERO => "the oldest event of the bus".to_owned(),
        from => from.time().to_string(),
    };
    if is_dry {
        say(format_args!(
            "the group {group} would have {now} events before it, from {since} on"
        ))?;
        return Ok(());
    }
    let again = now.saturating_sub(*before);
    say(format_args!(
        "the group {group} goes on at {since}: {now} events before it, {again} of them once more"
    ))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(after: u64) -> Gap {
        Gap {
            partition: 17,
            after: Rev(after),
            upto: Rev(1_795_168_799_000_017),
        }
    }

    #[test]
    fn a_gap_names_what_is_missing_as_events_do() {
        assert_eq!(
            missing(&gap(0)),
            "missing: partition 17: everything up to 1795168799000017-17 of \
             2026-11-20T09:59:59.000017Z"
        );
        assert_eq!(
            missing(&gap(1_795_168_700_000_000)),
            "missing: partition 17: after 1795168700000000-17 up to 1795168799000017-17 of \
             2026-11-20T09:59:59.000017Z"
        );
    }

    #[test]
    fn the_sum_and_the_hints_fit() {
        let mut report = Report {
            events: 10,
            changed: 7,
            known: 2,
            refused: 1,
            is_rebuilt: true,
            ..Report::default()
        };
        assert_eq!(
            sum(&report, false),
            "10 events: 7 applied, 2 known, 1 refused; 0 gaps"
        );
        assert_eq!(
            sum(&report, true),
            "10 events would be replayed; 1 refused, 0 gaps"
        );
        assert_eq!(hints(&report, true).len(), 0);
        assert!(hints(&report, false)[0].contains("dead letters"));
        report.gaps = vec![gap(0)];
        report.late = 3;
        report.copied = 5;
        let expected =
            "5 rows copied, 10 events: 7 applied, 2 known, 3 too late as before, 1 refused; 1 gaps";
        assert_eq!(sum(&report, false), expected);
        assert!(hints(&report, false)[0].contains("--history"));
    }
}
