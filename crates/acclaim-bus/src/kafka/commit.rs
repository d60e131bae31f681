//! Saying where a group goes on, on a thread beside the member's.
//!
//! librdkafka commits either without an answer that reaches us, or by waiting for it, which has no
//! end of its own while a broker hangs. A member that waits like that would be none meanwhile. So
//! another thread waits, for one commit at a time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::ears::Ears;

/// The thread that waits. It ends with this, once it has its last answer.
pub struct Committer {
    commits: SyncSender<TopicPartitionList>,
    answers: Receiver<Result<(), KafkaError>>,
    waits: bool,
}

impl Committer {
    /// Starts the thread.
    pub fn new(consumer: Arc<BaseConsumer<Ears>>) -> std::io::Result<Self> {
        let (commits, queue) = sync_channel::<TopicPartitionList>(1);
        let (reply, answers) = sync_channel(1);
        let thread = std::thread::Builder::new().name("acclaim-kafka-commit".to_owned());
        thread.spawn(move || {
            while let Ok(offsets) = queue.recv() {
                if reply
                    .send(consumer.commit(&offsets, CommitMode::Sync))
                    .is_err()
                {
                    return;
                }
            }
        })?;
        Ok(Self {
            commits,
            answers,
            waits: false,
        })
    }

    /// Begins a commit. False while one that was given up is under way.
    pub fn begin(&mut self, offsets: &TopicPartitionList) -> bool {
        if !self.waits {
            // There is room, since nothing is under way.
            self.waits = self.commits.try_send(offsets.clone()).is_ok();
            return self.waits;
        }
        false
    }

    /// The answer to the commit that is under way, or none within this time.
    pub fn answer(&mut self, wait: Duration) -> Option<Result<(), KafkaError>> {
        match self.answers.recv_timeout(wait) {
            Ok(answer) => {
                self.waits = false;
                Some(answer)
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(KafkaError::Canceled)),
        }
    }
}
