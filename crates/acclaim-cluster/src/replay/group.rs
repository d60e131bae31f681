//! A group of the bus that one process has alone: joined, moved, read to the end.

use std::time::Duration;

use acclaim_bus::port::{Received, SeekTo};
use acclaim_bus::{Bus, ConsumeError, Consumer};
use acclaim_core::Rev;
use tokio::time::{Instant, sleep};

use super::ReplayError;

/// How long the bus may take to give all of its partitions to the one who asks for them.
pub const JOIN_MAX: Duration = Duration::from_secs(20);
/// How long is waited between two questions about that.
const JOIN_PAUSE: Duration = Duration::from_millis(100);
/// Failures of the bus in a row after which it is given up, and the pause between two.
const MAX_FAILURES: u32 = 20;
const FAILURE_PAUSE: Duration = Duration::from_millis(500);
/// By how much the clock of who publishes may be behind or ahead.
pub const CLOCKS_APART_MAX: Duration = Duration::from_secs(60);

/// The one consumer of a group.
pub(super) struct Group {
    consumer: Box<dyn Consumer>,
    name: String,
    bus_partitions: usize,
    /// What came while it was waited for partitions, which come only while events are received.
    early: Vec<Received>,
}

/// Where to seek to for events that were decided at a time or later: they were published later than
/// that, but for what clocks differ by.
pub(super) fn seek_to(from: Rev) -> SeekTo {
    let apart = u64::try_from(CLOCKS_APART_MAX.as_millis()).unwrap_or(u64::MAX);
    match (from.0 / 1_000).saturating_sub(apart) {
        0 => SeekTo::Beginning,
        millis => SeekTo::Time(millis),
    }
}

impl Group {
    /// Joins a group and waits until all partitions of the topic are its own.
    ///
    /// # Errors
    /// [`ReplayError::Shared`] where others have some of them.
    pub async fn join(bus: &dyn Bus, name: &str) -> Result<Self, ReplayError> {
        let checked = bus.check().await?;
        let mut group = Self {
            consumer: bus.consumer(name).await?,
            name: name.to_owned(),
            bus_partitions: usize::try_from(checked.bus_partitions).unwrap_or(usize::MAX),
            early: Vec::new(),
        };
        let end = Instant::now() + JOIN_MAX;
        loop {
            let lag = group.consumer.lag().await;
            let has = lag.as_ref().map_or(0, Vec::len);
            if has == group.bus_partitions {
                return Ok(group);
            }
            if Instant::now() >= end {
                lag?;
                return Err(group.shared(has));
            }
            // One that cannot be asked yet may be in a moment.
            if let Err(error) = group.wait_for_partitions().await {
                tracing::debug!(%error, "the bus gives no partitions yet");
                sleep(JOIN_PAUSE).await;
            }
        }
    }

    fn shared(&self, has: usize) -> ReplayError {
        ReplayError::Shared {
            group: self.name.clone(),
            has,
            of: self.bus_partitions,
        }
    }

    async fn wait_for_partitions(&mut self) -> Result<(), ConsumeError> {
        self.early
            .extend(self.consumer.receive(1, JOIN_PAUSE).await?);
        Ok(())
    }

    /// Moves the group.
    pub async fn seek(&mut self, to: &SeekTo) -> Result<(), ReplayError> {
        let mut failures = 0;
        loop {
            match self.consumer.seek(to).await {
                Ok(()) => {
                    self.early.clear();
                    return Ok(());
                }
                Err(error) => Self::pause(&mut failures, error).await?,
            }
        }
    }

    /// The next messages; none where none came for a while.
    pub async fn receive(
        &mut self,
        most: usize,
        wait: Duration,
    ) -> Result<Vec<Received>, ReplayError> {
        if !self.early.is_empty() {
            let most = most.min(self.early.len());
            return Ok(self.early.drain(..most).collect());
        }
        let mut failures = 0;
        loop {
            match self.consumer.receive(most, wait).await {
                Ok(batch) => return Ok(batch),
                Err(error) => Self::pause(&mut failures, error).await?,
            }
        }
    }

    /// Says that these are done with.
    pub async fn acknowledge(&mut self, events: &[Received]) -> Result<(), ReplayError> {
        let mut failures = 0;
        loop {
            match self.consumer.acknowledge(events).await {
                // What another has now, the other reads; that there is one shows below.
                Ok(_) => return Ok(()),
                Err(error) => Self::pause(&mut failures, error).await?,
            }
        }
    }

    /// How many messages the group has before it, by bus partition. All of them are its own, or
    /// there is another.
    pub async fn left(&mut self) -> Result<Vec<(u32, u64)>, ReplayError> {
        let end = Instant::now() + JOIN_MAX;
        let mut failures = 0;
        loop {
            match self.consumer.lag().await {
                Ok(lag) if lag.len() == self.bus_partitions => {
                    let left = lag.iter().map(|lag| (lag.bus_partition, lag.events));
                    return Ok(left.collect());
                }
                Ok(lag) if Instant::now() >= end => return Err(self.shared(lag.len())),
                // A broker that came back, or a group that was moved, takes a moment.
                Ok(_) => {
                    if let Err(error) = self.wait_for_partitions().await {
                        Self::pause(&mut failures, error).await?;
                    }
                }
                Err(error) => Self::pause(&mut failures, error).await?,
            }
        }
    }

    async fn pause(failures: &mut u32, error: ConsumeError) -> Result<(), ReplayError> {
        *failures += 1;
        if *failures >= MAX_FAILURES {
            return Err(error.into());
        }
        tracing::warn!(%error, "the bus does not answer; trying on");
        sleep(FAILURE_PAUSE).await;
        Ok(())
    }
}

/// Which bus partitions are read to the end as it was at the beginning. Pure.
#[derive(Debug)]
pub(super) struct Ends {
    /// What was published later than this came after the beginning, whatever the clocks say.
    later_than_millis: u64,
    ended: std::collections::BTreeSet<u32>,
    bus_partitions: usize,
}

impl Ends {
    pub fn new(now: Rev, bus_partitions: usize) -> Self {
        let apart = u64::try_from(CLOCKS_APART_MAX.as_millis()).unwrap_or(u64::MAX);
        Self {
            later_than_millis: (now.0 / 1_000).saturating_add(apart),
            ended: std::collections::BTreeSet::new(),
            bus_partitions,
        }
    }

    /// Takes note of a message that is done with.
    pub fn did(&mut self, message: &Received) {
        if message.published_at_millis > self.later_than_millis {
            self.ended.insert(message.bus_partition);
        }
    }

    /// Takes note of what is left, asked when nothing was under way.
    pub fn left(&mut self, left: &[(u32, u64)]) {
        let nothing = left.iter().filter(|(_, events)| *events == 0);
        self.ended.extend(nothing.map(|(partition, _)| *partition));
    }

    pub fn are_all(&self) -> bool {
        self.ended.len() >= self.bus_partitions
    }
}

impl Group {
    /// The ends of its partitions, as they are now.
    pub fn ends(&self, now: Rev) -> Ends {
        Ends::new(now, self.bus_partitions)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn events_are_looked_for_from_before_their_time() {
        assert_eq!(seek_to(Rev::ZERO), SeekTo::Beginning);
        assert_eq!(seek_to(Rev(60_000_000)), SeekTo::Beginning);
        assert_eq!(seek_to(Rev(100_000_000)), SeekTo::Time(40_000));
    }

    #[test]
    fn a_partition_ends_where_nothing_is_left_or_something_later_comes() {
        let mut ends = Ends::new(Rev(1_000_000), 2);
        let message = |partition, at| Received::new(partition, 1, at, Bytes::new());
        ends.did(&message(0, 61_000));
        ends.left(&[(0, 3), (1, 0)]);
        assert!(!ends.are_all());
        ends.did(&message(0, 61_001));
        assert!(ends.are_all());
    }
}
