//! A bus carries the events from the journals to the ledger: on a real Kafka, a real Pulsar, a real
//! RocketMQ and Redis Streams, and everything broken in turn.
//!
//! Every test ends as those of [`crate::faults`] do: the ledger has everything, the check is clean,
//! and each acknowledged toggle is there once.

mod acks;
mod journeys;
mod messages;
mod outages;
pub mod stage;
