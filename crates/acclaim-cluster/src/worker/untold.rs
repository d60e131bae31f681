//! What the ledger has of a journal and Redis was not told of yet.
//!
//! Telling Redis costs more than deciding, and those of this process who wait for the ledger do not
//! wait for it: the desk tells them. So a turn that was asked for keeps what it applied to itself,
//! until it is enough for one call or the first of it has waited for [`UNTOLD_MAX_MILLIS`]; every
//! other turn tells at its end. What is untold is only kept from eviction a little longer, and who asks
//! Redis from another process learns of it a little later.
//!
//! It says too how far the journal was read under this lease, so a turn that goes on from it need
//! not ask Redis where to begin. It goes with the worker, and with every failure: then Redis says
//! where to begin, and what is applied twice changes nothing.

use std::time::Duration;

use acclaim_core::Rev;
use tokio::time::Instant;

use super::limits::WorkerLimits;
use crate::redis::journal::JournalEntry;
use crate::redis::keys::Partition;
use crate::redis::persist::Persisted;

/// How long Redis may be told later than those who wait.
const UNTOLD_MAX_MILLIS: u64 = 200;

/// What Redis was not told of yet, of one journal.
#[derive(Clone, Debug)]
pub(super) struct Untold {
    journal: Partition,
    persisted: Persisted,
    /// When the first of it was read.
    since: Option<Instant>,
}

impl Untold {
    /// Nothing, of a journal that the ledger has up to a place.
    pub fn new(journal: Partition, durable: Rev) -> Self {
        Self {
            journal,
            persisted: Persisted {
                upto: durable,
                after: durable,
                ..Persisted::default()
            },
            since: None,
        }
    }

    /// Whether a turn can go on from here: at this journal, and with something to tell unless it
    /// was asked for. A turn that nobody asked for looks at the journal's marks.
    pub fn leads_on(&self, journal: Partition, is_asked: bool) -> bool {
        self.journal == journal && (is_asked || self.since.is_some())
    }

    /// The journal was read up to here.
    pub fn upto(&self) -> Rev {
        self.persisted.upto
    }

    /// What Redis is to be told.
    pub fn persisted(&self) -> &Persisted {
        &self.persisted
    }

    /// How many entries may be added before it must be told.
    pub fn room(&self, limits: &WorkerLimits) -> usize {
        let room = limits
            .batch_max_events
            .saturating_sub(self.persisted.entries);
        room.max(1)
    }

    /// The ledger is given what was read, up to a place.
    pub fn add(&mut self, read: &[JournalEntry], upto: Rev) {
        self.persisted.upto = upto;
        let Some(newest) = read.last() else {
            return;
        };
        self.since.get_or_insert_with(Instant::now);
        self.persisted.last = Some(newest.seq);
        self.persisted.entries += read.len();
        for event in read.iter().filter_map(|entry| entry.event.as_ref().ok()) {
            let edge = (event.target.clone(), event.user.clone());
            self.persisted.edges.insert(edge);
        }
    }

    /// When it is to be told at the latest, where there is something.
    pub fn due(&self) -> Option<Instant> {
        let longest = Duration::from_millis(UNTOLD_MAX_MILLIS);
        self.since.map(|since| since + longest)
    }

    /// Whether it is to be told now.
    pub fn is_due(&self, limits: &WorkerLimits) -> bool {
        let is_enough = self.persisted.entries >= (limits.batch_max_events / 2).max(1);
        is_enough || self.due().is_some_and(|due| due <= Instant::now())
    }

    /// Redis was told.
    pub fn told(&mut self) {
        *self = Self::new(self.journal, self.upto());
    }
}

#[cfg(test)]
mod tests {
    use acclaim_core::Id;
    use bytes::Bytes;

    use super::*;
    use crate::redis::event::JournalEvent;
    use crate::redis::keys::TargetName;

    const JOURNAL: Partition = Partition {
        epoch: 1,
        life: 0,
        number: 3,
    };

    fn entry(seq: u64, user: u64) -> JournalEntry {
        let target = TargetName {
            kind: 1,
            target_type: 1,
            id: Id::Number(9),
        };
        let text = format!("{target} {user} + 1");
        JournalEntry {
            seq: Rev(seq),
            event: JournalEvent::parse(&format!("{seq}-0"), text.as_bytes()),
            payload: Bytes::from(text),
        }
    }

    fn limits(events: usize) -> WorkerLimits {
        WorkerLimits {
            batch_max_events: events,
            ..WorkerLimits::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn batches_are_told_together() {
        let limits = limits(10);
        let mut untold = Untold::new(JOURNAL, Rev(5));
        assert!(!untold.is_due(&limits) && untold.due().is_none());
        assert!(untold.leads_on(JOURNAL, true) && !untold.leads_on(JOURNAL, false));
        untold.add(&[], Rev(6));
        assert_eq!((untold.upto(), untold.due()), (Rev(6), None));
        untold.add(&[entry(7, 1), entry(8, 2)], Rev(9));
        untold.add(&[entry(11, 1), entry(12, 3)], Rev(12));
        let told = untold.persisted();
        assert_eq!((told.after, told.upto), (Rev(5), Rev(12)));
        assert_eq!((told.last, told.entries), (Some(Rev(12)), 4));
        assert_eq!(told.edges.len(), 3, "each edge once");
        assert!(untold.leads_on(JOURNAL, false) && untold.room(&limits) == 6);
        let other = Partition { life: 1, ..JOURNAL };
        assert!(!untold.leads_on(other, true));
        assert!(!untold.is_due(&limits));
        untold.told();
        assert_eq!(
            (untold.upto(), untold.persisted().after),
            (Rev(12), Rev(12))
        );
        assert_eq!((untold.persisted().entries, untold.room(&limits)), (0, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_enough_or_old_is_due() {
        let limits = limits(4);
        let mut untold = Untold::new(JOURNAL, Rev(0));
        untold.add(&[entry(1, 1)], Rev(1));
        assert!(!untold.is_due(&limits));
        untold.add(&[entry(2, 1)], Rev(2));
        assert!(untold.is_due(&limits), "half of a batch");
        let mut untold = Untold::new(JOURNAL, Rev(2));
        untold.add(&[entry(3, 1)], Rev(3));
        tokio::time::advance(Duration::from_millis(UNTOLD_MAX_MILLIS - 1)).await;
        untold.add(&[], Rev(4));
        assert!(!untold.is_due(&limits));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(untold.is_due(&limits), "for as long as it may wait");
    }
}
