//! What bounds a bus: sizes, counts and times. Every one has a default and its unit in its name.

use std::time::Duration;

use crate::error::PublishError;
use crate::event::MAX_EVENT_BYTES;
use crate::port::Outgoing;

/// The most events in one batch that is received.
pub const MAX_BATCH_EVENTS: usize = 1_000;
/// The longest that a batch may be waited for.
pub const MAX_BATCH_WAIT_MILLIS: u64 = 10_000;
/// How long a batch is waited for where nothing else is configured.
pub const DEFAULT_BATCH_WAIT_MILLIS: u64 = 200;

/// The most events of one bus partition that are fetched ahead.
#[cfg(any(feature = "pulsar", feature = "redis", feature = "rocketmq"))]
const MAX_WINDOW: usize = 1_000;

/// The limits of a bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest message that is published.
    pub max_event_bytes: usize,
    /// The most messages of one call to publish.
    pub max_publish_events: usize,
    /// What a publisher keeps in memory until the bus has acknowledged it.
    pub max_queued_bytes: usize,
    /// Events that a consumer has received and that are neither acknowledged nor buried, those that
    /// wait to be delivered again included.
    pub max_held_events: usize,
    /// What a consumer fetches ahead.
    pub max_prefetch_bytes: usize,
    /// The end of a call to publish.
    pub publish_timeout_millis: u64,
    /// The end of every other call but `receive`, which ends this long after its own wait at the
    /// latest.
    pub call_timeout_millis: u64,
    /// A consumer that the bus has not heard of for so long has left its group.
    pub session_timeout_millis: u64,
    /// How often an event is delivered before `give_back` buries it.
    pub max_tries: u32,
    /// How long the first redelivery waits; each further one twice as long as the one before.
    pub backoff_min_millis: u64,
    /// The longest that a redelivery waits.
    pub backoff_max_millis: u64,
    /// How much of the reason goes into a dead letter; the rest is cut off.
    pub max_reason_bytes: usize,
    /// How long Redis Streams keep an event. The other buses are told by their own configuration.
    pub stream_keep_millis: u64,
    /// How many events Redis Streams keep in one bus partition. What is older goes, received or not.
    pub stream_max_events: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_event_bytes: MAX_EVENT_BYTES,
            max_publish_events: 10_000,
            max_queued_bytes: 32 << 20,
            max_held_events: 4_000,
            max_prefetch_bytes: 16 << 20,
            publish_timeout_millis: 30_000,
            call_timeout_millis: 10_000,
            session_timeout_millis: 10_000,
            max_tries: 3,
            backoff_min_millis: 200,
            backoff_max_millis: 10_000,
            max_reason_bytes: 1_000,
            stream_keep_millis: 7 * 24 * 3_600_000,
            stream_max_events: 200_000,
        }
    }
}

impl Limits {
    /// The wait before the delivery that follows `tries` failed ones.
    #[must_use]
    pub fn backoff(&self, tries: u32) -> Duration {
        let doubled = 1_u64
            .checked_shl(tries.saturating_sub(1))
            .unwrap_or(u64::MAX);
        let millis = self.backoff_min_millis.saturating_mul(doubled);
        Duration::from_millis(millis.min(self.backoff_max_millis))
    }

    /// Whether a call to publish may have these.
    ///
    /// # Errors
    /// [`PublishError::TooMany`], [`PublishError::TooLong`].
    pub fn allow(&self, events: &[Outgoing]) -> Result<(), PublishError> {
        if events.len() > self.max_publish_events {
            return Err(PublishError::TooMany {
                given: events.len(),
                limit: self.max_publish_events,
            });
        }
        for Outgoing { id, payload, .. } in events {
            if payload.len() > self.max_event_bytes {
                return Err(PublishError::TooLong {
                    id: id.clone(),
                    bytes: payload.len(),
                    limit: self.max_event_bytes,
                });
            }
        }
        Ok(())
    }

    /// The part of a call's time that its questions to the bus may take; the rest is for the way of
    /// the answer.
    #[must_use]
    pub fn question_time(&self) -> Duration {
        self.call_timeout() * 4 / 5
    }

    /// How many events of one bus partition are fetched ahead: no more than may be held, and one at
    /// least.
    #[cfg(any(feature = "pulsar", feature = "redis", feature = "rocketmq"))]
    pub(crate) fn window(&self) -> usize {
        self.max_held_events.clamp(1, MAX_WINDOW)
    }

    /// The end of a call.
    #[must_use]
    pub fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_millis)
    }

    /// The end of a call to publish.
    #[must_use]
    pub fn publish_timeout(&self) -> Duration {
        Duration::from_millis(self.publish_timeout_millis)
    }
}

/// The beginning of a reason, at most `max_bytes` long and cut between characters.
#[must_use]
pub fn cut(reason: &str, max_bytes: usize) -> &str {
    &reason[..reason.floor_char_boundary(max_bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let limits = Limits {
            backoff_min_millis: 200,
            backoff_max_millis: 1_000,
            ..Limits::default()
        };
        let waits =
            [0, 1, 2, 3, 4, 64, 65, u32::MAX].map(|tries| limits.backoff(tries).as_millis());
        assert_eq!(waits, [200, 200, 400, 800, 1_000, 1_000, 1_000, 1_000]);
    }

    #[cfg(any(feature = "pulsar", feature = "redis", feature = "rocketmq"))]
    #[test]
    fn a_window_is_what_may_be_held_up_to_its_longest() {
        for (max_held_events, window) in
            [(0, 1), (1, 1), (999, 999), (1_000, 1_000), (1_001, 1_000)]
        {
            let limits = Limits {
                max_held_events,
                ..Limits::default()
            };
            assert_eq!(limits.window(), window);
        }
    }

    #[test]
    fn reasons_are_cut_between_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "abc");
        assert_eq!(cut("aäb", 2), "a");
        assert_eq!(cut("aäb", 3), "aä");
    }
}
