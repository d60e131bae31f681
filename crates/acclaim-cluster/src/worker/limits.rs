//! Every bound on a worker, by name.

use std::time::Duration;

use acclaim_core::Rev;

use crate::ledger::MAX_BATCH_EVENTS;
use crate::redis::persist::Keep;

/// The bounds on a worker. [`WorkerLimits::check`] says whether they fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLimits {
    /// Events in one transaction of the ledger; at most [`MAX_BATCH_EVENTS`].
    pub batch_max_events: usize,
    /// How long an event may wait for others before its batch begins. Nobody who waits for the
    /// ledger waits for this: they hurry their partition.
    pub batch_max_millis: u64,
    /// Partitions drained at the same time. Each holds one batch in memory.
    pub drains_at_once: usize,
    /// Transactions of the ledger under way at the same time, at most: another is begun beside one
    /// only when half of `batch_max_events` wait or a batch has waited for `batch_max_millis`. Batches that
    /// are ready meanwhile share the next one. Each holds one connection.
    pub transactions_at_once: usize,
    /// The shortest time between two looks at all partitions, while somebody waits for the ledger.
    pub poll_min_millis: u64,
    /// The longest time between two looks; less than `batch_max_millis`, which it counts towards.
    pub poll_max_millis: u64,
    /// How long a lease lasts, and so how long a partition stands still after its worker died.
    pub lease_millis: u64,
    /// How often leases are renewed; at most a third of `lease_millis`.
    pub lease_renew_millis: u64,
    /// How often a worker that has less than its share looks for free partitions.
    pub lease_retry_millis: u64,
    /// How long Redis keeps records and buckets that the ledger has, ± 10%.
    pub key_keep_seconds: u64,
    /// How long the journal keeps events that the ledger has, for subscribers who resume.
    pub journal_keep_seconds: u64,
    /// How many such events the journals of all partitions keep together, each an equal part. A
    /// numeric event takes 46 bytes of Redis's memory; the default is some 5 MB.
    pub journal_max_events: u64,
    /// How many events the journals of all partitions keep together, each an equal part, that
    /// notifications have not read; beyond it they are told that events are gone.
    pub unread_max_events: u64,
    /// How often a batch that the ledger refuses is tried before the events that it is refused for
    /// become dead letters.
    pub poison_attempts: u32,
    /// Refused events in one batch that become dead letters. Of more it is believed that the ledger
    /// is at fault, not they; they wait.
    pub poison_max_events: usize,
    /// The longest pause after the first failure; it doubles with each one.
    pub retry_first_pause_millis: u64,
    /// The longest pause after any failure.
    pub retry_longest_pause_millis: u64,
    /// How often the backlog is measured.
    pub measure_millis: u64,
    /// How often journals are trimmed of what has become too old, and old kept answers removed.
    pub sweep_seconds: u64,
    /// How long a worker that stops goes on draining.
    pub stop_max_millis: u64,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self {
            batch_max_events: 1_000,
            batch_max_millis: 200,
            drains_at_once: 64,
            transactions_at_once: 4,
            poll_min_millis: 5,
            poll_max_millis: 100,
            lease_millis: 10_000,
            lease_renew_millis: 3_000,
            lease_retry_millis: 250,
            key_keep_seconds: 7 * 24 * 3_600,
            journal_keep_seconds: 3_600,
            journal_max_events: 100_000,
            unread_max_events: 1_000_000,
            poison_attempts: 5,
            poison_max_events: 10,
            retry_first_pause_millis: 50,
            retry_longest_pause_millis: 2_000,
            measure_millis: 250,
            sweep_seconds: 60,
            stop_max_millis: 5_000,
        }
    }
}

/// A bound that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {given}; it must be from {least} to {most}")]
pub struct BadLimit {
    /// Which one.
    pub name: &'static str,
    /// What it is.
    pub given: u64,
    /// The least that it may be.
    pub least: u64,
    /// The most.
    pub most: u64,
}

impl WorkerLimits {
    /// Says whether the bounds are possible and fit together.
    ///
    /// # Errors
    /// The first [`BadLimit`].
    pub fn check(&self) -> Result<(), BadLimit> {
        let day_millis = 24 * 3_600 * 1_000;
        let year_seconds = 366 * 24 * 3_600;
        let within = |name, given: u64, least: u64, most: u64| {
            if (least..=most).contains(&given) {
                return Ok(());
            }
            Err(BadLimit {
                name,
                given,
                least,
                most,
            })
        };
        let events = self.batch_max_events as u64;
        within("batch_max_events", events, 1, MAX_BATCH_EVENTS as u64)?;
        within("batch_max_millis", self.batch_max_millis, 2, 10_000)?;
        within("drains_at_once", self.drains_at_once as u64, 1, 1_024)?;
        let transactions = self.transactions_at_once as u64;
        within("transactions_at_once", transactions, 1, 64)?;
        let poll_most = self.batch_max_millis - 1;
        within("poll_max_millis", self.poll_max_millis, 1, poll_most)?;
        within(
            "poll_min_millis",
            self.poll_min_millis,
            1,
            self.poll_max_millis,
        )?;
        within("lease_millis", self.lease_millis, 300, day_millis)?;
        let renew_most = self.lease_millis / 3;
        within(
            "lease_renew_millis",
            self.lease_renew_millis,
            10,
            renew_most,
        )?;
        within(
            "lease_retry_millis",
            self.lease_retry_millis,
            10,
            self.lease_renew_millis,
        )?;
        within("key_keep_seconds", self.key_keep_seconds, 1, year_seconds)?;
        within(
            "journal_keep_seconds",
            self.journal_keep_seconds,
            0,
            year_seconds,
        )?;
        within(
            "journal_max_events",
            self.journal_max_events,
            0,
            1_000_000_000,
        )?;
        within(
            "unread_max_events",
            self.unread_max_events,
            0,
            1_000_000_000,
        )?;
        within("poison_attempts", u64::from(self.poison_attempts), 1, 100)?;
        within("poison_max_events", self.poison_max_events as u64, 1, 1_000)?;
        let longest = self.retry_longest_pause_millis;
        within("retry_longest_pause_millis", longest, 1, 60_000)?;
        within(
            "retry_first_pause_millis",
            self.retry_first_pause_millis,
            1,
            longest,
        )?;
        within("measure_millis", self.measure_millis, 10, 60_000)?;
        within("sweep_seconds", self.sweep_seconds, 1, 24 * 3_600)?;
        within("stop_max_millis", self.stop_max_millis, 0, 600_000)
    }

    /// How long an event waits after it was seen.
    pub(super) fn linger(&self) -> Duration {
        Duration::from_millis(self.batch_max_millis.saturating_sub(self.poll_max_millis))
    }

    /// What Redis keeps of a partition, of so many, where somebody has read up to a place and is to
    /// miss nothing.
    pub(super) fn keep(&self, partitions: u16, read_upto: Option<Rev>) -> Keep {
        Keep {
            keys: Duration::from_secs(self.key_keep_seconds),
            journal: Duration::from_secs(self.journal_keep_seconds),
            journal_events: self.journal_max_events / u64::from(partitions.max(1)),
            read_upto,
            unread_events: self.unread_max_events / u64::from(partitions.max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_together() {
        assert_eq!(WorkerLimits::default().check(), Ok(()));
    }

    #[test]
    fn bounds_have_edges() {
        let refused = |change: fn(&mut WorkerLimits)| {
            let mut limits = WorkerLimits::default();
            change(&mut limits);
            limits.check().map_err(|bad| bad.name)
        };
        assert_eq!(refused(|l| l.batch_max_events = 1), Ok(()));
        assert_eq!(refused(|l| l.batch_max_events = 0), Err("batch_max_events"));
        assert_eq!(
            refused(|l| l.batch_max_events = 1_001),
            Err("batch_max_events")
        );
        assert_eq!(refused(|l| l.poll_max_millis = 199), Ok(()));
        assert_eq!(refused(|l| l.poll_max_millis = 200), Err("poll_max_millis"));
        assert_eq!(refused(|l| l.lease_renew_millis = 3_333), Ok(()));
        assert_eq!(
            refused(|l| l.lease_renew_millis = 3_334),
            Err("lease_renew_millis")
        );
        assert_eq!(refused(|l| l.drains_at_once = 0), Err("drains_at_once"));
        let most = refused(|l| l.transactions_at_once = 65);
        assert_eq!(most, Err("transactions_at_once"));
        assert_eq!(refused(|l| l.journal_max_events = 0), Ok(()));
        assert_eq!(refused(|l| l.poison_attempts = 0), Err("poison_attempts"));
        assert_eq!(refused(|l| l.sweep_seconds = 0), Err("sweep_seconds"));
    }
}
