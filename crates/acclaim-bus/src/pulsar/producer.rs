//! A producer on a topic that is one partition: what is sent, and what has come back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use pulsar::message::Message;
use pulsar::message::proto::base_command::Type;
use pulsar::message::proto::{BaseCommand, CommandSend};
use tokio::sync::oneshot;

use super::batch;
use super::client::Client;
use super::command;
use super::connection::{Connection, Told, Whom};
use super::failure::Failure;
use crate::parts::Single;
use crate::room::Taken;

/// What became of a batch.
pub type Stored = oneshot::Receiver<Result<(), Failure>>;

/// A producer. One that was closed stays so.
pub struct Producer {
    connection: Arc<Connection>,
    id: u64,
    name: String,
    sent: Arc<Mutex<Sent>>,
}

#[derive(Default)]
struct Sent {
    closed: Option<Failure>,
    next_sequence: u64,
    /// Batches that were not answered, with the room in the queue that they take.
    waiting: HashMap<u64, (oneshot::Sender<Result<(), Failure>>, Taken)>,
}

impl Sent {
    fn hear(&mut self, told: Told) {
        let (sequence, result) = match told {
            Told::Stored(sequence) => (sequence, Ok(())),
            Told::NotStored(sequence, failure) => (sequence, Err(failure)),
            Told::Closed => return self.close("the broker closed the producer"),
            Told::Broken(why) => return self.close(&why),
            Told::Delivered(_) | Told::Active(_) => return,
        };
        if let Some((reply, _room)) = self.waiting.remove(&sequence) {
            let _ = reply.send(result);
        }
    }

    fn close(&mut self, why: &str) {
        let failure = Failure::Broken(why.to_owned());
        for (_, (reply, _room)) in self.waiting.drain() {
            let _ = reply.send(Err(failure.clone()));
        }
        self.closed = Some(failure);
    }
}

impl Producer {
    /// One of a name that nobody has, for brokers tell repeated messages by name and number. `keeper`
    /// is a subscription that is made with it, if it is not there: a topic keeps nothing without.
    pub async fn open(
        client: &Client,
        topic: &str,
        keeper: Option<&str>,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let connection = client.broker_of(topic, deadline).await?;
        let id = connection.number();
        let name = format!("acclaim-{:032x}", rand::random::<u128>());
        let sent = Arc::<Mutex<Sent>>::default();
        let listener = Arc::clone(&sent);
        let listener = Box::new(move |told| listener.lock().hear(told));
        connection.listen(Whom::Producer(id), listener);
        let request = |number| command::producer(topic, &name, keeper, id, number);
        let opened = connection.request(deadline, request).await;
        let producer = Self {
            connection,
            id,
            name,
            sent,
        };
        opened.map(|_| producer)
    }

    /// Sends a batch behind those that were sent before. `room` is given back with the answer.
    pub fn send(&self, messages: &[Single], room: Taken) -> Result<Stored, Failure> {
        let mut sent = self.sent.lock();
        if let Some(failure) = &sent.closed {
            return Err(failure.clone());
        }
        let sequence_id = sent.next_sequence;
        sent.next_sequence += 1;
        let (reply, stored) = oneshot::channel();
        sent.waiting.insert(sequence_id, (reply, room));
        let command = BaseCommand {
            r#type: Type::Send.into(),
            send: Some(CommandSend {
                producer_id: self.id,
                sequence_id,
                num_messages: i32::try_from(messages.len()).ok(),
                ..CommandSend::default()
            }),
            ..BaseCommand::default()
        };
        // Under the lock, so that what is sent first has the lower number.
        self.connection.send(Message {
            command,
            payload: Some(batch::write(messages, &self.name, sequence_id)),
        });
        Ok(stored)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.connection.forget(Whom::Producer(self.id));
        let number = self.connection.number();
        self.connection
            .say(command::close_producer(self.id, number));
    }
}
