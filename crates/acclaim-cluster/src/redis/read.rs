//! Reading edges and counts: one call a partition.

use acclaim_core::port::{Count, Status};
use acclaim_core::{EdgeState, Id, Rev};

use redis::Value;

use super::connection::Redis;
use super::error::RedisError;
use super::keys::{Partition, TargetName};
use super::load::Cold;
use super::rounds;
use super::script::{self, Call, READ};

/// An edge with the count of its target, or what must be loaded first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// As it is.
    Here {
        /// The edge (nothing where only the count was asked for) and its target's count.
        status: Status,
        /// The count with the place of the target's last transition.
        count: Count,
    },
    /// This must be loaded first.
    Cold(Cold),
}

/// The layout of a record whose entries lie in it.
const INLINE: &str = "0";

impl Redis {
    /// Reads edges of one partition; a target without a user asks for the count alone.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn read(
        &self,
        partition: Partition,
        edges: &[(TargetName, Option<Id>)],
    ) -> Result<Vec<Found>, RedisError> {
        let reply = self.call(&call(partition, edges)).await?;
        read(&reply, edges.len())
    }

    /// Reads each by one plain command, which costs the server half of what the script does. That
    /// is enough where the record is there and the entry lies in it; all others are to be asked for
    /// by the script.
    ///
    /// While a slot moves its source refuses a command about a key that is not there any more, so
    /// what this finds is never half of a partition.
    pub async fn peek(&self, asked: &[(Partition, &TargetName, Option<&Id>)]) -> Vec<Peeked> {
        let command = |(partition, target, user): &(Partition, &TargetName, Option<&Id>)| {
            let mut command = redis::cmd("HMGET");
            command.arg(format!("{partition}:t:{target}"));
            command.arg(&["#c", "#r", "#b"]);
            if let Some(user) = user {
                command.arg(user.to_string());
            }
            (*partition, command)
        };
        let commands: Vec<_> = asked.iter().map(command).collect();
        let replies = self.try_commands(&commands).await.into_iter();
        let peeked = |reply: Option<Value>| reply.as_ref().and_then(read_record);
        replies
            .map(|reply| peeked(reply).unwrap_or(Peeked::Unknown))
            .collect()
    }

    /// Reads edges of several partitions, those of one server in one pipeline. The answers are in
    /// the order of the partitions, each by itself.
    pub async fn read_many(&self, asked: &[Asked]) -> Vec<Result<Vec<Found>, RedisError>> {
        let (mut answers, left) = self.read_together(asked).await;
        if let Some(left) = left {
            answers.extend(self.finish_reading(left).await);
        }
        answers.sort_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, found)| found).collect()
    }

    /// The same, without waiting for what holds others up: answers with the
    /// place of the partition what was answered at once; what needs another try is for
    /// [`Redis::finish_reading`].
    pub async fn read_together(&self, asked: &[Asked]) -> (Vec<Answered>, Option<Unanswered>) {
        let calls = asked
            .iter()
            .map(|(partition, edges)| call(*partition, edges));
        let edges: Vec<usize> = asked.iter().map(|(_, edges)| edges.len()).collect();
        let (answers, left) = self.call_together(calls.collect(), None).await;
        let answers = read_each(answers, &edges);
        let left = left.map(|calls| Unanswered { calls, edges });
        (answers, left)
    }

    /// Tries again until these are answered too or their time is over.
    pub async fn finish_reading(&self, left: Unanswered) -> Vec<Answered> {
        read_each(self.finish(left.calls).await, &left.edges)
    }
}

/// What was found in a partition, with its place among those asked.
pub type Answered = (usize, Result<Vec<Found>, RedisError>);

/// Calls that need another try, with how many edges each asks for.
pub struct Unanswered {
    calls: rounds::Unanswered,
    edges: Vec<usize>,
}

fn read_each(answers: Vec<(usize, rounds::Answer)>, edges: &[usize]) -> Vec<Answered> {
    let answers = answers.into_iter();
    answers
        .map(|(place, reply)| (place, reply.and_then(|reply| read(&reply, edges[place]))))
        .collect()
}

/// Edges of one partition; a target without a user asks for the count alone.
pub type Asked = (Partition, Vec<(TargetName, Option<Id>)>);

fn call(partition: Partition, edges: &[(TargetName, Option<Id>)]) -> Call {
    let mut call = READ.on(partition);
    for (target, user) in edges {
        call.arg(target.to_string());
        call.arg(user.as_ref().map(Id::to_string).unwrap_or_default());
    }
    call
}

fn read(reply: &Value, edges: usize) -> Result<Vec<Found>, RedisError> {
    let answers = script::texts(&READ, reply)?;
    if answers.is_empty() {
        return Ok(vec![Found::Cold(Cold::Partition); edges]);
    }
    let found: Option<Vec<_>> = answers.into_iter().map(read_answer).collect();
    match found {
        Some(found) if found.len() == edges => Ok(found),
        _ => Err(Call::unexpected(&READ, reply)),
    }
}

/// What a plain command found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peeked {
    /// What was asked for.
    Found(Found),
    /// The entry lies in a bucket of a large target.
    InBucket,
    /// The record is not there, or the server did not answer.
    Unknown,
}

/// Count, place, layout and, where a user was asked for, the entry.
fn read_record(reply: &Value) -> Option<Peeked> {
    let Value::Array(fields) = reply else {
        return None;
    };
    let text = |field: &Value| match field {
        Value::BulkString(text) => std::str::from_utf8(text).ok().map(str::to_owned),
        _ => None,
    };
    let (count, rev, layout) = (
        text(fields.first()?)?,
        text(fields.get(1)?)?,
        text(fields.get(2)?)?,
    );
    let entry: i64 = match fields.get(3) {
        Some(_) if layout != INLINE => return Some(Peeked::InBucket),
        None | Some(Value::Nil) => 0,
        Some(entry) => text(entry)?.parse().ok()?,
    };
    let found = found(count.parse().ok()?, rev.parse().ok()?, entry);
    Some(Peeked::Found(found))
}

fn found(count: u64, rev: u64, entry: i64) -> Found {
    let edge = EdgeState {
        active: entry > 0,
        rev: Rev(entry.unsigned_abs()),
    };
    Found::Here {
        status: Status { edge, count },
        count: Count {
            count,
            rev: Rev(rev),
        },
    }
}

fn read_answer(answer: &[u8]) -> Option<Found> {
    let text = std::str::from_utf8(answer).ok()?;
    if let Some(cold) = Cold::parse(text) {
        return Some(Found::Cold(cold));
    }
    let mut fields = text.split(' ');
    let count = fields.next()?.parse().ok()?;
    let rev = fields.next()?.parse().ok()?;
    Some(found(count, rev, fields.next()?.parse().ok()?))
}
