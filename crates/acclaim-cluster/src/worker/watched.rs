//! What a worker counts and measures, for whoever watches it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::backlog::Backlog;

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Numbers that a worker keeps of itself. What counts only rises.
        #[derive(Debug, Default)]
        pub struct Watched {
            $($(#[$doc])* pub(super) $name: AtomicU64,)*
            pub(super) ledger_away: AtomicBool,
        }

        /// [`Watched`] at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct WorkerNumbers {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Watched {
            /// The numbers now.
            #[must_use]
            pub fn numbers(&self) -> WorkerNumbers {
                WorkerNumbers { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

numbers! {
    /// Events given to the ledger; again where it is not known whether it has them.
    events,
    /// Transactions of the ledger that took events.
    batches,
    /// Events that flipped their edge.
    flips,
    /// Events that the ledger knew already.
    stale,
    /// Events that became dead letters.
    buried,
    /// Batches that the ledger refused.
    refused_batches,
    /// Batches whose journal was gone when Redis was told.
    other_journals,
    /// Partitions opened because Redis did not have them.
    opened,
    /// Times that Redis had less than the ledger: it came back with a part of what it had.
    went_back,
    /// Calls to Redis that failed.
    redis_failures,
    /// Calls to the ledger that failed.
    ledger_failures,
    /// Looks at all partitions.
    polls,
    /// Partitions that somebody in this process asked to hurry.
    hurries,
    /// Leases taken.
    leases_taken,
    /// Leases lost: stolen after they ended, or ended by whoever opened their partition again.
    leases_lost,
    /// Leases given back.
    leases_given_back,
    /// Partitions owned now.
    partitions_owned,
    /// Workers alive now, this one too.
    workers_alive,
    /// Partitions being drained now.
    drains_running,
    /// Events of the partitions owned that the ledger does not have, when last measured.
    backlog_events,
    /// The age of the oldest of them, in milliseconds.
    backlog_millis,
    /// How old the oldest event of the last batch was when the ledger had it, in milliseconds.
    lag_millis,
    /// 1 while journals keep what is not folded into notifications, 0 where nobody folds.
    keeps_unread,
    /// Shelves of old kept answers removed.
    shelves_removed,
    /// Events published to the bus; again where it was not known whether it has them.
    published,
    /// Calls to the bus to publish that failed.
    publish_failures,
    /// Messages received from the bus.
    received,
    /// Messages received from the bus that were delivered before.
    redelivered,
    /// Messages that came in a turn that was closed, and were published again since or are lost.
    late,
    /// Stretches from the bus before which something never came.
    gaps,
    /// Barriers received.
    barriers,
    /// Events that the ledger had and a recorder could not tell Redis of.
    healed,
    /// Messages put on the dead-letter topic of the bus.
    dead_on_bus,
    /// Calls to the bus to receive or to acknowledge that failed.
    consume_failures,
    /// Events of the partitions owned that are not on the bus, when last measured.
    relay_backlog_events,
    /// The age of the oldest of them, in milliseconds.
    relay_backlog_millis,
}

impl Watched {
    /// Whether the ledger does not take events now; the journals hold them.
    #[must_use]
    pub fn ledger_is_away(&self) -> bool {
        self.ledger_away.load(Ordering::Relaxed)
    }

    /// The backlog of the partitions owned, when last measured.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        Backlog {
            events: self.backlog_events.load(Ordering::Relaxed),
            oldest: Duration::from_millis(self.backlog_millis.load(Ordering::Relaxed)),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, more: impl TryInto<u64>) {
    counter.fetch_add(more.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
}

pub(super) fn set(gauge: &AtomicU64, value: impl TryInto<u64>) {
    gauge.store(value.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
}
