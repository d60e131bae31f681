//! Reading edges and counts: one call a partition.

use acclaim_core::port::{Count, Status};
use acclaim_core::{EdgeState, Id, Rev};

use redis::Value;

use super::connection::Redis;
use super::error::RedisError;
use super::keys::{Partition, TargetName};
use super::load::Cold;
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

    /// Reads edges of several partitions, those of one server in one pipeline. The answers are in
    /// the order of the partitions, each by itself.
    pub async fn read_many(&self, asked: &[Asked]) -> Vec<Result<Vec<Found>, RedisError>> {
        let calls = asked
            .iter()
            .map(|(partition, edges)| call(*partition, edges));
        let calls: Vec<Call> = calls.collect();
        let replies = self.call_many(&calls).await.into_iter().zip(asked);
        replies
            .map(|(reply, (_, edges))| read(&reply?, edges.len()))
            .collect()
    }
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

fn read_answer(answer: &[u8]) -> Option<Found> {
    let text = std::str::from_utf8(answer).ok()?;
    if let Some(cold) = Cold::parse(text) {
        return Some(Found::Cold(cold));
    }
    let mut fields = text.split(' ');
    let count = fields.next()?.parse().ok()?;
    let rev = Rev(fields.next()?.parse().ok()?);
    let entry: i64 = fields.next()?.parse().ok()?;
    let edge = EdgeState {
        active: entry > 0,
        rev: Rev(entry.unsigned_abs()),
    };
    Some(Found::Here {
        status: Status { edge, count },
        count: Count { count, rev },
    })
}
