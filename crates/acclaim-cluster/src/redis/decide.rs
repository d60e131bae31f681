//! Deciding ops: one call a partition.

use std::time::Duration;

use acclaim_core::port::Idempotency;
use acclaim_core::{Action, Id, Origin, Rev, Transition};
use redis::Value;

use super::connection::Redis;
use super::error::RedisError;
use super::event::origin_text;
use super::idempotency;
use super::keys::{Partition, TargetName};
use super::load::Cold;
use super::rounds::{self, Wait};
use super::script::{self, Call, DECIDE};

/// One op as the script takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecideOp {
    /// The target and kind. All ops of a call lie in one partition.
    pub target: TargetName,
    /// Who acts.
    pub user: Id,
    /// What to do.
    pub action: Action,
    /// The time of an imported edge.
    pub at: Option<Rev>,
    /// The numbers of the kinds that a set of this one unsets on the same target.
    pub excludes: Vec<u16>,
    /// Where it came from.
    pub origin: Option<Origin>,
    /// The write's idempotency, and the place of this op in the write.
    pub idempotency: Option<(Idempotency, u32)>,
    /// Whether it belongs to the same write as the op before: then it is not decided before it.
    pub continues: bool,
}

impl DecideOp {
    /// An op that excludes nothing and is not kept.
    #[must_use]
    pub fn new(action: Action, target: TargetName, user: Id) -> Self {
        Self {
            target,
            user,
            action,
            at: None,
            excludes: Vec::new(),
            origin: None,
            idempotency: None,
            continues: false,
        }
    }
}

/// What became of an op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// It is decided.
    Done {
        /// The answer.
        transition: Transition,
        /// Whether it is the kept answer of an earlier request.
        replayed: bool,
    },
    /// Nothing was decided: this must be loaded first.
    Cold(Cold),
    /// Nothing was decided: an earlier op of the same write is cold.
    Waits,
    /// The idempotency key came before with another request.
    Mismatch,
}

/// The ops of one partition for one call.
pub type Asked = (Partition, Vec<DecideOp>);

/// What became of the ops of a call, and whether a replica has them, where that was waited for.
pub type Answered = Result<(Vec<Decided>, bool), RedisError>;

/// Calls that need another try, with how many ops each has.
pub struct Unanswered {
    calls: rounds::Unanswered,
    ops: Vec<usize>,
}

impl Redis {
    /// Decides the ops, in order, at the time `now`, or at the server's own where none is given.
    ///
    /// # Errors
    /// [`RedisError`]; see [`RedisError::nothing_done`].
    pub async fn decide(
        &self,
        partition: Partition,
        now: Option<Rev>,
        ops: &[DecideOp],
    ) -> Result<Vec<Decided>, RedisError> {
        let reply = self.call(&call(partition, now, ops)).await?;
        read(&reply, ops.len())
    }

    /// The same for several partitions, those of one server in one pipeline, and, where a patience
    /// is given, waits for at most so long until a replica of each server has what it decided; that
    /// none has undoes nothing. Answers with the place of the call what was answered at once. What
    /// needs another try is for [`Redis::finish_deciding`], so that it holds up nothing else.
    pub async fn decide_together(
        &self,
        now: Option<Rev>,
        asked: &[Asked],
        patience: Option<Duration>,
    ) -> (Vec<(usize, Answered)>, Option<Unanswered>) {
        let calls = asked.iter();
        let calls = calls.map(|(partition, ops)| call(*partition, now, ops));
        let ops: Vec<usize> = asked.iter().map(|(_, ops)| ops.len()).collect();
        let wait = patience.map(|patience| Wait {
            replicas: 1,
            patience,
        });
        let (answers, left) = self.call_together(calls.collect(), wait).await;
        let answers = read_each(answers, &ops, wait.is_some());
        let left = left.map(|calls| Unanswered { calls, ops });
        (answers, left)
    }

    /// Tries again until these are answered too or their time is over.
    pub async fn finish_deciding(&self, left: Unanswered) -> Vec<(usize, Answered)> {
        let waited = left.calls.waits();
        let answers = self.finish(left.calls).await;
        read_each(answers, &left.ops, waited)
    }
}

fn read_each(
    answers: Vec<(usize, rounds::Answer)>,
    ops: &[usize],
    waited: bool,
) -> Vec<(usize, Answered)> {
    let read_one = |place: usize, reply: Value| match reply {
        reply if !waited => Ok((read(&reply, ops[place])?, false)),
        Value::Array(mut pair) if pair.len() == 2 => {
            let replicas = pair.pop();
            let has_replica = matches!(replicas, Some(Value::Int(replicas)) if replicas > 0);
            Ok((read(&pair[0], ops[place])?, has_replica))
        }
        other => Err(unexpected(&other)),
    };
    let answers = answers.into_iter();
    answers
        .map(|(place, reply)| (place, reply.and_then(|reply| read_one(place, reply))))
        .collect()
}

fn call(partition: Partition, now: Option<Rev>, ops: &[DecideOp]) -> Call {
    let mut call = DECIDE.on(partition);
    call.arg(now.unwrap_or(Rev::ZERO).0);
    for op in ops {
        add(&mut call, op);
    }
    call
}

fn read(reply: &Value, ops: usize) -> Result<Vec<Decided>, RedisError> {
    let answers = script::texts(&DECIDE, reply)?;
    if answers.is_empty() {
        return Ok(vec![Decided::Cold(Cold::Partition); ops]);
    }
    let decided: Option<Vec<_>> = answers.into_iter().map(read_answer).collect();
    match decided {
        Some(decided) if decided.len() == ops => Ok(decided),
        _ => Err(unexpected(reply)),
    }
}

fn unexpected(reply: &Value) -> RedisError {
    Call::unexpected(&DECIDE, reply)
}

fn add(call: &mut Call, op: &DecideOp) {
    let mut code = String::with_capacity(6);
    code.push(match op.action {
        Action::Set => 's',
        Action::Unset => 'u',
        Action::Toggle => 't',
    });
    let flags = [
        ('a', op.at.is_some()),
        ('x', !op.excludes.is_empty()),
        ('i', op.idempotency.is_some()),
        ('o', op.origin.is_some()),
        ('c', op.continues),
    ];
    code.extend(flags.iter().filter(|flag| flag.1).map(|flag| flag.0));
    call.arg(op.target.to_string());
    call.arg(op.user.to_string());
    call.arg(code);
    if let Some(at) = op.at {
        call.arg(at.0);
    }
    if !op.excludes.is_empty() {
        let under = |kind: &u16| {
            let target = TargetName {
                kind: *kind,
                ..op.target.clone()
            };
            target.to_string()
        };
        let names: Vec<String> = op.excludes.iter().map(under).collect();
        call.arg(names.join(" "));
    }
    if let Some((idempotency, index)) = &op.idempotency {
        let (field, shelf) = idempotency::place(&idempotency.key, &index.to_string());
        call.arg(field);
        call.arg(shelf);
        call.arg(idempotency.request.as_slice());
    }
    if let Some(origin) = &op.origin {
        call.arg(origin_text(origin));
    }
}

fn read_answer(answer: &[u8]) -> Option<Decided> {
    let text = std::str::from_utf8(answer).ok()?;
    match text.as_bytes().first()? {
        b'M' => Some(Decided::Mismatch),
        b'W' => Some(Decided::Waits),
        b'T' | b'B' => Cold::parse(text).map(Decided::Cold),
        b'R' => Some(Decided::Done {
            transition: read_transition(&text[1..])?,
            replayed: true,
        }),
        _ => Some(Decided::Done {
            transition: read_transition(text)?,
            replayed: false,
        }),
    }
}

/// `<changed><active> <count> <rev>`.
fn read_transition(text: &str) -> Option<Transition> {
    let mut fields = text.split(' ');
    let flag = |byte: u8| match byte {
        b'0' => Some(false),
        b'1' => Some(true),
        _ => None,
    };
    let [changed, active] = fields.next()?.as_bytes() else {
        return None;
    };
    Some(Transition {
        changed: flag(*changed)?,
        active: flag(*active)?,
        count: fields.next()?.parse().ok()?,
        rev: Rev(fields.next()?.parse().ok()?),
    })
}
