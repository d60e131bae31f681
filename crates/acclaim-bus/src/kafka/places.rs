//! Where a group stands in its bus partitions, and moving it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::member::{Member, TEND_INTERVAL, is_final, line_of, number};
use crate::error::ConsumeError;
use crate::orders::Answer;
use crate::port::{Lag, SeekTo};

impl Member {
    /// Asks until the answer is there or the time of a call is over.
    fn ask<T>(
        &mut self,
        call: &'static str,
        mut question: impl FnMut(&mut Self, Duration) -> Result<Option<T>, KafkaError>,
    ) -> Answer<Option<T>> {
        let deadline = Instant::now() + self.limits.question_time();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match question(self, left.max(Duration::from_millis(1))) {
                Ok(Some(answer)) => return Ok(Some(answer)),
                Ok(None) if left.is_zero() => return Ok(None),
                Err(error) if left.is_zero() || is_final(&error) => {
                    return Err(self.bus(call, &error));
                }
                // Waits, and lets a rebalance go on.
                Ok(None) | Err(_) => drop(self.poll(TEND_INTERVAL.min(left))),
            }
        }
    }

    /// Moves the group, then this consumer.
    pub(super) fn seek(&mut self, to: &SeekTo) -> Answer<()> {
        let moved = self.ask("seek", |member, left| {
            let positions = member.positions(to, left)?;
            if positions.is_empty() {
                return Ok(None);
            }
            let mut list = TopicPartitionList::new();
            for (bus_partition, offset) in &positions {
                let offset = Offset::Offset(*offset);
                list.add_partition_offset(&member.at.topic, number(*bus_partition), offset)?;
            }
            // First where the group goes on from, then where this consumer does: a rebalance
            // between the two begins at the new place already.
            member.commit(&list, Instant::now() + left)?;
            let moved = member.consumer.seek_partitions(list, left)?;
            for element in moved.elements() {
                element.error()?;
            }
            for (bus_partition, _) in positions {
                member.held.begin(bus_partition);
            }
            Ok(Some(()))
        });
        moved?.ok_or_else(|| ConsumeError::NoPartition {
            at: self.at.clone(),
            group: self.group.clone(),
        })
    }

    /// The offsets that a seek means, of the bus partitions that are here.
    fn positions(&self, to: &SeekTo, left: Duration) -> Result<Vec<(u32, i64)>, KafkaError> {
        let lines: Vec<u32> = self.held.bus_partitions().collect();
        let topic = &self.at.topic;
        let mut positions = Vec::with_capacity(lines.len());
        match to {
            SeekTo::Beginning => {
                positions = self.edges(lines.into_iter(), Offset::Beginning, left)?;
            }
            SeekTo::End => positions = self.edges(lines.into_iter(), Offset::End, left)?,
            SeekTo::Positions(given) => {
                let ours = given.iter().filter(|(line, _)| lines.contains(line));
                let offset = |position: u64| i64::try_from(position).unwrap_or(i64::MAX);
                positions.extend(ours.map(|(line, position)| (*line, offset(*position))));
            }
            SeekTo::Time(millis) if !lines.is_empty() => {
                let mut times = TopicPartitionList::new();
                let time = Offset::Offset(i64::try_from(*millis).unwrap_or(i64::MAX));
                for line in &lines {
                    times.add_partition_offset(topic, number(*line), time)?;
                }
                let found = self.consumer.offsets_for_times(times, left)?;
                let mut nothing_since = Vec::new();
                for element in found.elements() {
                    element.error()?;
                    let line = line_of(element.partition());
                    match element.offset() {
                        Offset::Offset(offset) => positions.push((line, offset)),
                        _ => nothing_since.push(line),
                    }
                }
                positions.extend(self.edges(nothing_since.into_iter(), Offset::End, left)?);
            }
            SeekTo::Time(_) => {}
        }
        Ok(positions)
    }

    /// How far behind the bus partitions are that are here.
    pub(super) fn lag(&mut self) -> Answer<Vec<Lag>> {
        let lag = self.ask("lag", |member, left| member.measure(left).map(Some))?;
        Ok(lag.unwrap_or_default())
    }

    /// The end of a bus partition is asked for together with all others: such a question stands on
    /// the connection behind the broker's wait for events, and the member stands still meanwhile.
    fn measure(&self, left: Duration) -> Result<Vec<Lag>, KafkaError> {
        if self.held.is_empty() {
            return Ok(Vec::new());
        }
        let list = self.list(self.held.bus_partitions());
        let committed = self.consumer.committed_offsets(list, left)?;
        let (mut known, mut unknown) = (BTreeMap::new(), Vec::new());
        for element in committed.elements() {
            element.error()?;
            let line = line_of(element.partition());
            match element.offset() {
                Offset::Offset(next) => drop(known.insert(line, next)),
                // The group begins at the first that is there.
                _ => unknown.push(line),
            }
        }
        known.extend(self.edges(unknown.into_iter(), Offset::Beginning, left)?);
        let ends = self.edges(self.held.bus_partitions(), Offset::End, left)?;
        let behind = ends.into_iter().map(|(line, end)| {
            let next = known.get(&line).copied().unwrap_or(end);
            self.held.lag(line, u64::try_from(end - next).unwrap_or(0))
        });
        Ok(behind.collect())
    }

    /// The first or the next offset of each of these, in one question.
    fn edges(
        &self,
        lines: impl Iterator<Item = u32>,
        edge: Offset,
        left: Duration,
    ) -> Result<Vec<(u32, i64)>, KafkaError> {
        let mut list = TopicPartitionList::new();
        for line in lines {
            list.add_partition_offset(&self.at.topic, number(line), edge)?;
        }
        if list.count() == 0 {
            return Ok(Vec::new());
        }
        let found = self.consumer.offsets_for_times(list, left)?;
        let mut edges = Vec::with_capacity(found.count());
        for element in found.elements() {
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                edges.push((line_of(element.partition()), offset));
            }
        }
        Ok(edges)
    }
}
