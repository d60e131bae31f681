//! One connection to a broker: requests with their answers, and what the broker says by itself.
//!
//! The protocol's messages and their coding are the `pulsar` crate's. Its own producer and consumer
//! are not used: they do not tell which consumer of a group is active, nor whether an
//! acknowledgement was taken, and they go on sending after their owner has given up; without these
//! the promises of the port cannot be kept.
//!
//! Dropping a connection closes it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use pulsar::message::proto::{BaseCommand, CommandMessage, CommandSendError, ServerError};
use pulsar::message::{Codec, Message, Payload};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};
use tokio_util::codec::Framed;

use super::command;
use super::failure::Failure;

/// How often a silent connection is asked for a sign, in a time after which it counts as broken.
const SIGNS: u32 = 3;

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What the broker says by itself to a producer or a consumer.
#[derive(Debug)]
pub enum Told {
    /// A message.
    Delivered(Box<(CommandMessage, Payload)>),
    /// Whether this consumer is the one of the group that gets the messages.
    Active(bool),
    /// It has what was sent under this number.
    Stored(u64),
    /// It has not.
    NotStored(u64, Failure),
    /// It is done with this producer or consumer.
    Closed,
    /// The connection is broken.
    Broken(String),
}

/// Whom the broker talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whom {
    Producer(u64),
    Consumer(u64),
}

/// Takes what is said. Called in turn, and may not wait.
pub type Listener = Box<dyn Fn(Told) + Send>;

#[derive(Default)]
struct Open {
    broken: Option<String>,
    requests: HashMap<u64, oneshot::Sender<BaseCommand>>,
    listeners: HashMap<Whom, Listener>,
}

/// A connection.
pub struct Connection {
    // What is sent is bounded by whoever sends: a publisher by its queue, a consumer by its window.
    outbound: mpsc::UnboundedSender<Message>,
    open: Arc<Mutex<Open>>,
    last_number: AtomicU64,
    _tasks: JoinSet<()>,
}

impl Connection {
    /// Says who we are on a new stream of bytes.
    pub async fn greet(
        stream: Box<dyn Stream>,
        greeting: BaseCommand,
        silence: Duration,
    ) -> Result<Self, Failure> {
        let mut framed = Framed::new(stream, Codec);
        let greeting = framed.send(plain(greeting)).await;
        greeting.map_err(|error| Failure::Broken(error.to_string()))?;
        let answer = match framed.next().await {
            Some(Ok(answer)) => answer.command,
            Some(Err(error)) => return Err(Failure::Broken(error.to_string())),
            None => return Err(Failure::Broken("the broker hung up".to_owned())),
        };
        refusal(answer)?;
        let (sink, stream) = framed.split();
        let (outbound, queue) = mpsc::unbounded_channel();
        let open = Arc::new(Mutex::new(Open::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(write(sink, queue, silence / SIGNS));
        tasks.spawn(read(stream, Arc::clone(&open), outbound.clone(), silence));
        Ok(Self {
            outbound,
            open,
            last_number: AtomicU64::new(0),
            _tasks: tasks,
        })
    }

    /// A number that nothing else on this connection has.
    pub fn number(&self) -> u64 {
        self.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether it is of no use any more.
    pub fn is_broken(&self) -> bool {
        self.open.lock().broken.is_some()
    }

    /// Has a producer or consumer told what is for it. On a broken connection that is said at once.
    pub fn listen(&self, whom: Whom, listener: Listener) {
        let mut open = self.open.lock();
        match open.broken.clone() {
            Some(why) => listener(Told::Broken(why)),
            None => drop(open.listeners.insert(whom, listener)),
        }
    }

    /// Nobody listens for it any more.
    pub fn forget(&self, whom: Whom) {
        self.open.lock().listeners.remove(&whom);
    }

    /// Sends what is not answered, or not as a request is. On a broken connection it goes nowhere.
    pub fn send(&self, message: Message) {
        let _ = self.outbound.send(message);
    }

    /// Sends a command that is not answered.
    pub fn say(&self, command: BaseCommand) {
        self.send(plain(command));
    }

    /// Sends a request, which is given a number, and waits for its answer.
    pub async fn request(
        &self,
        deadline: Instant,
        request: impl FnOnce(u64) -> BaseCommand,
    ) -> Result<BaseCommand, Failure> {
        let number = self.number();
        let (reply, answer) = oneshot::channel();
        {
            let mut open = self.open.lock();
            if let Some(why) = &open.broken {
                return Err(Failure::Broken(why.clone()));
            }
            open.requests.insert(number, reply);
        }
        self.say(request(number));
        match timeout_at(deadline.into(), answer).await {
            Ok(Ok(answer)) => refusal(answer),
            Ok(Err(_gone)) => {
                let why = self.open.lock().broken.clone();
                let why = why.unwrap_or_else(|| "the connection ended".to_owned());
                Err(Failure::Broken(why))
            }
            Err(_elapsed) => {
                self.open.lock().requests.remove(&number);
                Err(Failure::Silent)
            }
        }
    }
}

fn plain(command: BaseCommand) -> Message {
    Message {
        command,
        payload: None,
    }
}

/// An answer, unless it is a refusal.
fn refusal(answer: BaseCommand) -> Result<BaseCommand, Failure> {
    let refused = if let Some(error) = &answer.error {
        Some((Some(error.error), Some(&error.message)))
    } else if let Some(lookup) = &answer.lookup_topic_response {
        lookup
            .error
            .map(|code| (Some(code), lookup.message.as_ref()))
    } else if let Some(metadata) = &answer.partition_metadata_response {
        let message = metadata.message.as_ref();
        metadata.error.map(|code| (Some(code), message))
    } else if let Some(stats) = &answer.consumer_stats_response {
        let message = stats.error_message.as_ref();
        stats.error_code.map(|code| (Some(code), message))
    } else if let Some(ack) = &answer.ack_response {
        ack.error.map(|code| (Some(code), ack.message.as_ref()))
    } else {
        None
    };
    let Some((code, message)) = refused else {
        return Ok(answer);
    };
    Err(refused_with(code, message.cloned().unwrap_or_default()))
}

fn refused_with(code: Option<i32>, message: String) -> Failure {
    let code = code.and_then(|code| ServerError::try_from(code).ok());
    Failure::Refused {
        code: code.unwrap_or(ServerError::UnknownError),
        message,
    }
}

type Sink = futures::stream::SplitSink<Framed<Box<dyn Stream>, Codec>, Message>;
type Source = futures::stream::SplitStream<Framed<Box<dyn Stream>, Codec>>;

/// Writes what is to be sent, and a sign of life where there is nothing. The reader notices where
/// that does not work.
async fn write(mut sink: Sink, mut queue: mpsc::UnboundedReceiver<Message>, sign: Duration) {
    loop {
        let next = match timeout(sign, queue.recv()).await {
            Ok(Some(message)) => message,
            Ok(None) => return,
            Err(_elapsed) => plain(command::ping()),
        };
        if sink.feed(next).await.is_err() {
            return;
        }
        while let Ok(next) = queue.try_recv() {
            if sink.feed(next).await.is_err() {
                return;
            }
        }
        if sink.flush().await.is_err() {
            return;
        }
    }
}

/// Hands on what comes, until the connection breaks.
async fn read(
    mut source: Source,
    open: Arc<Mutex<Open>>,
    outbound: mpsc::UnboundedSender<Message>,
    silence: Duration,
) {
    let why = loop {
        match timeout(silence, source.next()).await {
            Ok(Some(Ok(message))) => {
                if message.command.ping.is_some() {
                    let _ = outbound.send(plain(command::pong()));
                } else {
                    hand_on(&mut open.lock(), message);
                }
            }
            Ok(Some(Err(error))) => break error.to_string(),
            Ok(None) => break "the broker hung up".to_owned(),
            Err(_elapsed) => break format!("the broker was silent for {silence:?}"),
        }
    };
    let mut open = open.lock();
    open.broken = Some(why.clone());
    // Whoever waits for an answer sees the end of its sender.
    open.requests.clear();
    for (_, listener) in open.listeners.drain() {
        listener(Told::Broken(why.clone()));
    }
}

fn hand_on(open: &mut Open, message: Message) {
    let command = message.command;
    if let Some(number) = answered(&command) {
        // Nobody waits for one that was given up.
        if let Some(reply) = open.requests.remove(&number) {
            let _ = reply.send(command);
        }
        return;
    }
    let Some((whom, told)) = told(command, message.payload) else {
        return;
    };
    let Some(listener) = open.listeners.get(&whom) else {
        return;
    };
    let last = matches!(told, Told::Closed);
    listener(told);
    if last {
        open.listeners.remove(&whom);
    }
}

/// Which request this is the answer to.
fn answered(command: &BaseCommand) -> Option<u64> {
    let number = command.success.as_ref().map(|answer| answer.request_id);
    let number = number.or(command.error.as_ref().map(|answer| answer.request_id));
    let producer = command.producer_success.as_ref();
    let number = number.or(producer.map(|answer| answer.request_id));
    let lookup = command.lookup_topic_response.as_ref();
    let number = number.or(lookup.map(|answer| answer.request_id));
    let metadata = command.partition_metadata_response.as_ref();
    let number = number.or(metadata.map(|answer| answer.request_id));
    let stats = command.consumer_stats_response.as_ref();
    let number = number.or(stats.map(|answer| answer.request_id));
    number.or(command
        .ack_response
        .as_ref()
        .and_then(|answer| answer.request_id))
}

fn told(command: BaseCommand, payload: Option<Payload>) -> Option<(Whom, Told)> {
    if let (Some(message), Some(payload)) = (command.message, payload) {
        let whom = Whom::Consumer(message.consumer_id);
        return Some((whom, Told::Delivered(Box::new((message, payload)))));
    }
    if let Some(change) = command.active_consumer_change {
        let active = change.is_active.unwrap_or(false);
        return Some((Whom::Consumer(change.consumer_id), Told::Active(active)));
    }
    if let Some(receipt) = command.send_receipt {
        let told = Told::Stored(receipt.sequence_id);
        return Some((Whom::Producer(receipt.producer_id), told));
    }
    if let Some(error) = command.send_error {
        let CommandSendError {
            producer_id,
            sequence_id,
            error,
            message,
        } = error;
        let told = Told::NotStored(sequence_id, refused_with(Some(error), message));
        return Some((Whom::Producer(producer_id), told));
    }
    if let Some(closed) = command.close_producer {
        return Some((Whom::Producer(closed.producer_id), Told::Closed));
    }
    let closed = command.close_consumer?;
    Some((Whom::Consumer(closed.consumer_id), Told::Closed))
}
