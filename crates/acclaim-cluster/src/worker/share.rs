//! The partitions that a worker owns: what is known of each, which is due, how many are its share.
//!
//! Pure: nothing here waits or asks.

use std::collections::BTreeMap;
use std::time::Duration;

use acclaim_core::Rev;
use tokio::time::Instant;

use super::untold::Untold;
use crate::ledger::Lease;

/// What is to be done about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// The ledger has everything, as far as is known.
    Nothing,
    /// A turn, not before this moment.
    Due(Instant),
}

/// A partition owned.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub lease: Lease,
    pub work: Work,
    /// A turn is under way.
    pub is_busy: bool,
    /// Somebody of this process waits for a turn that begins from now on.
    pub is_asked: bool,
    /// What the ledger has and Redis was not told of.
    pub untold: Option<Untold>,
    /// To be given back when its turn ends.
    pub is_leaving: bool,
    /// Calls in a row that failed.
    pub failures: u32,
    /// Turns in a row whose batch the ledger refused.
    pub refusals: u32,
    /// Not touched before this moment, after a failure.
    pub rests_until: Option<Instant>,
    /// The ledger has everything up to here, as it was once known.
    pub reached: Rev,
    /// With a bus: everything up to this place is on it, and from when on it is looked whether the
    /// ledger has it.
    pub waits: Option<(Rev, Instant)>,
}

impl Held {
    fn new(lease: Lease) -> Self {
        Self {
            lease,
            work: Work::Nothing,
            is_busy: false,
            is_asked: false,
            untold: None,
            is_leaving: false,
            failures: 0,
            refusals: 0,
            rests_until: None,
            reached: lease.applied,
            waits: None,
        }
    }

    /// When its next turn may begin, if there is anything to do and nothing is under way.
    fn due(&self) -> Option<Instant> {
        match self.work {
            Work::Due(at) if !self.is_busy && !self.is_leaving => {
                Some(self.rests_until.map_or(at, |until| at.max(until)))
            }
            _ => None,
        }
    }

    pub fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| until > now)
    }

    /// There is something, which may wait until `at`. What was due earlier stays so.
    pub fn want(&mut self, at: Instant) {
        self.work = match self.work {
            Work::Due(earlier) => Work::Due(earlier.min(at)),
            Work::Nothing => Work::Due(at),
        };
    }

    pub fn fail(&mut self, now: Instant, pause: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.rests_until = Some(now + pause);
    }

    pub fn succeed(&mut self) {
        self.failures = 0;
        self.refusals = 0;
        self.rests_until = None;
    }
}

/// All partitions owned, by number.
#[derive(Debug, Default)]
pub(super) struct Share {
    held: BTreeMap<u16, Held>,
}

impl Share {
    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn leases(&self) -> Vec<Lease> {
        self.held.values().map(|held| held.lease).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.values()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        self.held.values_mut()
    }

    pub fn get(&mut self, partition: u16) -> Option<&mut Held> {
        self.held.get_mut(&partition)
    }

    /// The partition, if it is still owned under this very lease.
    pub fn under(&mut self, lease: Lease) -> Option<&mut Held> {
        let held = self.held.get_mut(&lease.partition)?;
        (held.lease.fence == lease.fence).then_some(held)
    }

    pub fn add(&mut self, lease: Lease) {
        self.held.insert(lease.partition, Held::new(lease));
    }

    /// Takes out a partition that is not owned any more under this lease.
    pub fn remove(&mut self, lease: Lease) -> bool {
        let is_held = self.under(lease).is_some();
        if is_held {
            self.held.remove(&lease.partition);
        }
        is_held
    }

    /// The partition whose turn is next: the one that has been due for the longest time.
    pub fn next(&self, now: Instant) -> Option<u16> {
        let due = self.held.iter();
        let due = due.filter_map(|(partition, held)| Some((held.due()?, *partition)));
        due.min()
            .filter(|(at, _)| *at <= now)
            .map(|(_, partition)| partition)
    }

    /// When the next turn may begin.
    pub fn wakes(&self) -> Option<Instant> {
        self.held.values().filter_map(Held::due).min()
    }

    /// Marks so many partitions to be given back, idle ones first, and takes out those that can go
    /// at once.
    pub fn give_up(&mut self, surplus: usize) -> Vec<Lease> {
        let leaving = self.held.values().filter(|held| held.is_leaving).count();
        let mut staying: Vec<&mut Held> = self
            .held
            .values_mut()
            .filter(|held| !held.is_leaving)
            .collect();
        staying.sort_by_key(|held| (held.is_busy, held.work != Work::Nothing));
        for held in staying.into_iter().take(surplus.saturating_sub(leaving)) {
            held.is_leaving = true;
        }
        self.gone()
    }

    /// Takes out those to be given back whose turn has ended.
    pub fn gone(&mut self) -> Vec<Lease> {
        let gone = self.held.values();
        let gone = gone.filter(|held| held.is_leaving && !held.is_busy);
        let gone: Vec<Lease> = gone.map(|held| held.lease).collect();
        for lease in &gone {
            self.held.remove(&lease.partition);
        }
        gone
    }
}

/// The most partitions that one of `workers` owns, and the fewest that it is content with.
pub(super) fn shares(partitions: u16, workers: usize) -> (usize, usize) {
    let partitions = usize::from(partitions);
    let workers = workers.max(1);
    (partitions.div_ceil(workers), partitions / workers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(partition: u16, fence: u64) -> Lease {
        Lease {
            partition,
            fence,
            epoch: 1,
            life: 0,
            turn: 0,
            applied: Rev::ZERO,
        }
    }

    fn share(partitions: u16) -> Share {
        let mut share = Share::default();
        (0..partitions).for_each(|n| share.add(lease(n, 1)));
        share
    }

    #[test]
    fn all_shares_together_are_all_partitions() {
        for partitions in [1_u16, 7, 64, 4_096] {
            for workers in 0..100 {
                let (most, least) = shares(partitions, workers);
                assert!(most * workers.max(1) >= usize::from(partitions));
                assert!(least * workers <= usize::from(partitions));
                assert!(most - least <= 1);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn turns_go_round() {
        let now = Instant::now();
        let later = |millis| now + Duration::from_millis(millis);
        let mut share = share(3);
        assert_eq!((share.next(now), share.wakes()), (None, None));
        share.get(2).unwrap().want(later(1));
        share.get(0).unwrap().want(later(2));
        share.get(2).unwrap().want(later(9));
        assert_eq!((share.next(now), share.wakes()), (None, Some(later(1))));
        assert_eq!(share.next(later(5)), Some(2), "the longest due goes first");
        share.get(2).unwrap().is_busy = true;
        assert_eq!(share.next(later(5)), Some(0));
        share
            .get(0)
            .unwrap()
            .fail(later(2), Duration::from_millis(50));
        assert_eq!(share.next(later(5)), None);
        assert_eq!(share.wakes(), Some(later(52)));
        share.get(0).unwrap().succeed();
        assert_eq!(share.next(later(5)), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_partitions_are_given_back_first() {
        let mut share = share(4);
        share.get(0).unwrap().want(Instant::now());
        share.get(1).unwrap().is_busy = true;
        let gone: Vec<u16> = share
            .give_up(3)
            .iter()
            .map(|lease| lease.partition)
            .collect();
        assert_eq!(gone, [0, 2, 3], "a busy one stays");
        assert_eq!(share.give_up(1), [], "until its turn ends");
        share.get(1).unwrap().is_busy = false;
        assert_eq!(share.gone(), [lease(1, 1)]);
        assert_eq!(share.len(), 0);
    }

    #[test]
    fn an_old_lease_says_nothing_about_a_new_one() {
        let mut share = share(1);
        share.add(lease(0, 2));
        assert!(share.under(lease(0, 1)).is_none());
        assert!(!share.remove(lease(0, 1)));
        assert!(share.remove(lease(0, 2)));
    }
}
