//! A consumer on one partition: how it joins, is moved, and goes.

use std::sync::Arc;
use std::time::Instant;

use pulsar::message::proto::BaseCommand;

use super::client::Client;
use super::command;
use super::connection::{Connection, Listener, Whom};
use super::failure::Failure;
use super::place::{Entry, MAX_BATCH_MESSAGES, ends};
use crate::port::SeekTo;

/// A consumer that has joined.
#[derive(Clone)]
pub struct Link {
    pub connection: Arc<Connection>,
    pub consumer: u64,
}

impl Link {
    /// Joins a group under a name. What comes later is told to the listener.
    pub async fn join(
        client: &Client,
        topic: &str,
        (group, name): (&str, &str),
        listener: Listener,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let connection = client.broker_of(topic, deadline).await?;
        let consumer = connection.number();
        connection.listen(Whom::Consumer(consumer), listener);
        let mut attempt = Attempt(Some(Self {
            connection: Arc::clone(&connection),
            consumer,
        }));
        let ask = |number| command::subscribe(topic, group, name, consumer, number);
        connection.request(deadline, ask).await?;
        attempt.0.take().ok_or(Failure::Silent)
    }

    /// Moves the group. The broker closes its consumers on the partition then.
    pub async fn seek(
        &self,
        to: &SeekTo,
        position: Option<u64>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let ask = |number| seek_command(to, position, self.consumer, number);
        self.connection.request(deadline, ask).await.map(|_| ())
    }

    /// Goes. One that nobody has would be active and take nothing.
    pub fn close(self) {
        self.connection.forget(Whom::Consumer(self.consumer));
        let number = self.connection.number();
        let command = command::close_consumer(self.consumer, number);
        self.connection.say(command);
    }
}

/// A consumer that joins; it goes unless it is taken out.
struct Attempt(Option<Link>);

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(link) = self.0.take() {
            link.close();
        }
    }
}

fn seek_command(to: &SeekTo, position: Option<u64>, consumer: u64, number: u64) -> BaseCommand {
    let (beginning, end) = ends();
    match (to, position) {
        // Brokers count times by i64.
        (SeekTo::Time(millis), _) => {
            command::seek_time(consumer, (*millis).min(i64::MAX.unsigned_abs()), number)
        }
        (SeekTo::End, _) => command::seek_message(consumer, end, number),
        (_, Some(position)) => {
            let (entry, in_batch) = Entry::at(position);
            let id = match in_batch {
                0 => entry.id(),
                // How long the batch is nobody knows here; the bits behind it mean nothing.
                first => entry.id_of_rest(first, MAX_BATCH_MESSAGES),
            };
            command::seek_message(consumer, id, number)
        }
        _ => command::seek_message(consumer, beginning, number),
    }
}
