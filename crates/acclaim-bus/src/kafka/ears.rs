//! What librdkafka says by itself: logs, errors, rebalances.

use std::sync::Arc;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;

/// Keeps the last error, for the message of a call that fails without one of its own, and the
/// rebalances until somebody looks.
#[derive(Debug, Default)]
pub struct Ears {
    last: Mutex<Option<(RDKafkaErrorCode, String)>>,
    changes: Mutex<Vec<Change>>,
}

/// A bus partition that came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is ours from now on.
    Gained(u32),
    /// It is not ours any more.
    Lost(u32),
}

impl Ears {
    /// The last error that says something.
    pub fn last(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.last.lock().clone()
    }

    /// The last error as a text, for the end of a message.
    pub fn last_text(&self) -> String {
        let last = self.last();
        last.map_or_else(|| "nothing was heard".to_owned(), |(_, text)| text)
    }

    /// The rebalances since the last look, in order.
    pub fn changes(&self) -> Vec<Change> {
        std::mem::take(&mut self.changes.lock())
    }
}

/// Whether an error says that we or they are not trusted. Trying again does not help.
pub fn is_distrust(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
            | Code::SSL
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
    )
}

impl ClientContext for Ears {
    fn log(&self, level: RDKafkaLogLevel, _facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
                tracing::debug!("librdkafka: {message}");
            }
            // What matters of it comes as the error of a call, too.
            _ => tracing::warn!("librdkafka: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error
            .rdkafka_error_code()
            .unwrap_or(RDKafkaErrorCode::Unknown);
        let mut last = self.last.lock();
        // "All brokers are down" comes after the error that says why, and a broken connection
        // after the one that says that we are not trusted.
        let says_more = last.as_ref().is_some_and(|(last, _)| is_distrust(*last));
        let summary = code == RDKafkaErrorCode::AllBrokersDown && last.is_some();
        if !summary && (!says_more || is_distrust(code)) {
            *last = Some((code, reason.to_owned()));
        }
    }
}

impl ConsumerContext for Ears {
    fn pre_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let mut changes = self.changes.lock();
        match rebalance {
            Rebalance::Assign(list) => changes.extend(numbers(list).map(Change::Gained)),
            Rebalance::Revoke(list) => changes.extend(numbers(list).map(Change::Lost)),
            Rebalance::Error(error) => tracing::warn!(%error, "a rebalance failed"),
        }
    }
}

fn numbers(list: &TopicPartitionList) -> impl Iterator<Item = u32> {
    let elements = list.elements().into_iter();
    // Partitions that there are have numbers from 0.
    let numbers: Vec<u32> = elements
        .filter_map(|e| u32::try_from(e.partition()).ok())
        .collect();
    numbers.into_iter()
}

/// The same for producers, which keep their context to themselves.
#[derive(Clone, Debug)]
pub struct SharedEars(pub Arc<Ears>);

impl ClientContext for SharedEars {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}
