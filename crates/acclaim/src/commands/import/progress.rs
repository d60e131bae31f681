//! Progress on a terminal: rate and time left. Nothing elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::source::Source;

const KNOWN_SIZE: &str = "{msg} {bar:30} {percent}% {eta} left";
const UNKNOWN_SIZE: &str = "{msg} {spinner} {elapsed}";
/// How often it is drawn.
const REDRAW: Duration = Duration::from_millis(200);

/// The bar of one source.
pub(super) struct Progress {
    bar: ProgressBar,
    position: Arc<AtomicU64>,
    started: Instant,
    lines: u64,
    drawn: Instant,
}

impl Progress {
    pub(super) fn of(source: &Source) -> anyhow::Result<Self> {
        Self::new(source.size, Arc::clone(&source.position))
    }

    /// The bar of what is written after all sources were read.
    pub(super) fn of_writing() -> anyhow::Result<Self> {
        Self::new(Some(0), Arc::default())
    }

    fn new(size: Option<u64>, position: Arc<AtomicU64>) -> anyhow::Result<Self> {
        let (bar, template) = match size {
            Some(size) => (ProgressBar::new(size), KNOWN_SIZE),
            None => (ProgressBar::new_spinner(), UNKNOWN_SIZE),
        };
        bar.set_style(ProgressStyle::with_template(template)?);
        let now = Instant::now();
        Ok(Self {
            bar,
            position,
            started: now,
            lines: 0,
            drawn: now,
        })
    }

    /// So much is written, of so much.
    pub(super) fn write(&mut self, done: u64, of: u64) {
        if self.drawn.elapsed() < REDRAW {
            return;
        }
        self.drawn = Instant::now();
        self.bar.set_length(of);
        self.bar.set_message("writing the tables");
        self.bar.set_position(done);
    }

    /// More lines are done.
    pub(super) fn advance(&mut self, lines: u64) {
        self.lines += lines;
        if self.drawn.elapsed() < REDRAW {
            return;
        }
        self.drawn = Instant::now();
        let seconds = self.started.elapsed().as_secs_f64();
        // Shown to people, who need no exact rate.
        let rate = (self.lines as f64 / seconds) as u64;
        let (lines, rate) = (HumanCount(self.lines), HumanCount(rate));
        self.bar.set_message(format!("{lines} lines, {rate}/s"));
        self.bar.set_position(self.position.load(Ordering::Relaxed));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
