//! Reading streams: one blocking question for all of them, on a connection of its own.

use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{Value, cmd};
use tokio::time::timeout;

use super::client::Client;
use super::failure::Failure;
use super::keys;
use super::line::Entry;
use super::place;
use super::publish::{EVENT, KEY};
use crate::port::Received;

/// What is to be read.
pub struct Question {
    pub topic: String,
    /// Bus partitions, and the position behind which.
    pub lines: Vec<(u32, u64)>,
    /// The most of each.
    pub count: usize,
    /// How long to wait where there is nothing.
    pub block: Duration,
}

/// What was read, and the connection for the next question.
pub struct Answer {
    pub connection: MultiplexedConnection,
    pub entries: Vec<Entry>,
}

impl Question {
    /// Asks, on a connection that there is or a new one.
    pub async fn ask(
        &self,
        client: &Client,
        connection: Option<MultiplexedConnection>,
    ) -> Result<Answer, Failure> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => client.connect(client.deadline()).await?,
        };
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(self.count);
        // 0 would be for ever.
        read.arg("BLOCK").arg(self.block.as_millis().max(1) as u64);
        read.arg("STREAMS");
        for (line, _) in &self.lines {
            read.arg(keys::stream(&self.topic, *line));
        }
        for (_, after) in &self.lines {
            read.arg(place::id(*after));
        }
        let limit = self.block + client.limits().call_timeout();
        let asked = timeout(limit, read.query_async::<Value>(&mut connection)).await;
        let answer = asked.map_err(|_elapsed| Failure::Silent)?;
        let answer = answer.map_err(|error| Failure::of_call(&error))?;
        Ok(Answer {
            connection,
            entries: self.entries(answer)?,
        })
    }

    fn entries(&self, answer: Value) -> Result<Vec<Entry>, Failure> {
        let strange = || Failure::Refused("an answer to XREAD that is none".to_owned());
        let mut entries = Vec::new();
        for stream in array(answer).ok_or_else(strange)? {
            let [name, told] = pair(stream).ok_or_else(strange)?;
            let name = bytes(&name).ok_or_else(strange)?;
            let mut lines = self.lines.iter();
            let line = lines.find(|(line, _)| keys::stream(&self.topic, *line).as_bytes() == name);
            let (line, _) = line.ok_or_else(strange)?;
            for one in array(told).ok_or_else(strange)? {
                let [id, fields] = pair(one).ok_or_else(strange)?;
                let id = bytes(&id).and_then(|id| std::str::from_utf8(&id).ok().map(str::to_owned));
                let id = id.ok_or_else(strange)?;
                let position = place::position(&id).ok_or_else(|| {
                    let stream = keys::stream(&self.topic, *line);
                    Failure::Refused(format!(
                        "entry {id} of {stream} stands where no position leads"
                    ))
                })?;
                let fields = array(fields).ok_or_else(strange)?;
                entries.push(entry(*line, position, fields));
            }
        }
        Ok(entries)
    }
}

/// An entry of names and values. What somebody else put there has an empty event, which its reader
/// cannot read.
fn entry(line: u32, position: u64, fields: Vec<Value>) -> Entry {
    let mut event = Received {
        bus_partition: line,
        position,
        published_at_millis: place::millis(position),
        key: Bytes::new(),
        payload: Bytes::new(),
        attempt: 0,
        delivery: 0,
    };
    let mut number = None;
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let (Some(name), Some(value)) = (bytes(&name), bytes(&value)) else {
            continue;
        };
        if name == KEY {
            event.key = value;
        } else if name == EVENT {
            event.payload = value;
        } else if name == "n" {
            let text = std::str::from_utf8(&value).ok();
            number = text.and_then(|text| text.parse().ok());
        }
    }
    Entry { event, number }
}

fn array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        Value::Nil => Some(Vec::new()),
        _ => None,
    }
}

fn pair(value: Value) -> Option<[Value; 2]> {
    array(value)?.try_into().ok()
}

fn bytes(value: &Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(Bytes::copy_from_slice(bytes)),
        Value::SimpleString(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
        _ => None,
    }
}

/// Until when a reader that failed so often in a row rests.
pub fn rest(failures: u32) -> Instant {
    let doubled = crate::persist::PAUSE.saturating_mul(1 << failures.min(10));
    Instant::now() + doubled.min(crate::persist::MAX_PAUSE)
}
