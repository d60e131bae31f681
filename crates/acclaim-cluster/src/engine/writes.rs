//! Writes: parted by partition, decided in lanes, put together again.

use std::collections::BTreeMap;
use std::sync::Arc;

use acclaim_core::port::{Ack, Applied, Fingerprint, Idempotency, Place, Write};
use acclaim_core::{Op, Rev, WriteError};
use futures::future::join_all;
use tokio::time::Instant;

use super::acks;
use super::barrier::Reached;
use super::errors::{unavailable, unknown};
use super::lane::{Answer, Piece, PieceFailure, Sent, Terms};
use super::shared::Shared;
use crate::redis::decide::DecideOp;
use crate::redis::error::RedisError;
use crate::redis::idempotency::{Reserved, home};

/// An idempotency key whose request is under way here.
struct KeyInFlight<'a> {
    shared: &'a Shared,
    key: Fingerprint,
}

impl<'a> KeyInFlight<'a> {
    fn take(shared: &'a Shared, idempotency: &Idempotency) -> Result<Self, WriteError> {
        let key = idempotency.key;
        if !shared.keys_in_flight.lock().insert(key) {
            return Err(WriteError::IdempotencyInFlight);
        }
        Ok(Self { shared, key })
    }
}

impl Drop for KeyInFlight<'_> {
    fn drop(&mut self) {
        self.shared.keys_in_flight.lock().remove(&self.key);
    }
}

/// The ops of a write in one partition, with their places in the write.
type Parts = BTreeMap<u16, (Vec<usize>, Vec<DecideOp>)>;

impl Shared {
    /// See [`acclaim_core::port::Writes::apply`].
    pub async fn apply(self: &Arc<Self>, write: Write) -> Result<Applied, WriteError> {
        if self.is_stopping() {
            return Err(WriteError::Stopping);
        }
        let of_kinds = write.ops.iter().map(|op| op.edge.kind);
        let ack = self.kinds.ack(write.ack, of_kinds);
        acks::refuse(ack, self.carrier.is_some())?;
        self.refuse_backlog()?;
        let limit = self.limits.queue_max_ops;
        let room = self.lanes.room(write.ops.len());
        let _room = room.map_err(|queued| WriteError::Overloaded { queued, limit })?;
        let in_flight = write.idempotency.as_ref();
        let _in_flight = in_flight
            .map(|idempotency| KeyInFlight::take(self, idempotency))
            .transpose()?;
        let deadline = Instant::now() + self.limits.write_max();
        let again = match &write.idempotency {
            Some(idempotency) => Box::pin(self.reserve(idempotency, deadline)).await?,
            None => false,
        };
        let parts = self.parts(&write).await?;
        let partitions = partitions_of(write.ops.len(), &parts);
        let touched: Vec<u16> = parts.keys().copied().collect();
        let terms = Terms {
            repeatable: write.idempotency.is_some(),
            replicated: ack == Ack::Replica,
            deadline,
        };
        let turns = self.turns(&touched);
        let answers = self.decide_parts(write.ops.len(), parts, terms).await?;
        self.look_at_end(&write.ops, &answers, &partitions).await;
        if ack == Ack::Ledger {
            let given = places_given(&write.ops, &answers, &partitions);
            let wait = self.wait_for_ledger(&write.ops, &answers, &touched, given, deadline);
            Box::pin(wait).await?;
            if self.turns(&touched) != turns {
                let reason = "Redis came back or another took its place meanwhile";
                return Err(unknown(&reason));
            }
        }
        if ack == Ack::Bus {
            let given = places_given(&write.ops, &answers, &partitions);
            Box::pin(self.wait_for_bus(&touched, given, &turns, deadline)).await?;
        }
        let replayed = again && answers.iter().all(|(_, replayed)| *replayed);
        let transitions = answers.into_iter().map(|(transition, _)| transition);
        Ok(Applied {
            transitions: transitions.collect(),
            replayed,
        })
    }

    fn refuse_backlog(&self) -> Result<(), WriteError> {
        let limit = self.limits.backlog_max_events;
        let backlog = self.pulse.backlog_events();
        if backlog <= limit {
            return Ok(());
        }
        Err(WriteError::Unavailable {
            reason: format!(
                "{backlog} events wait for the ledger, and at most {limit} may; is a worker running?"
            ),
            retry_after: std::time::Duration::from_secs(1),
        })
    }

    /// Notes the request of an idempotency key. Answers whether it came before.
    async fn reserve(
        &self,
        idempotency: &Idempotency,
        deadline: Instant,
    ) -> Result<bool, WriteError> {
        let number = home(&idempotency.key, self.store.partitions);
        loop {
            let (learnt, home) = (self.lives_learnt(), self.partition(number));
            let reserved = self
                .redis
                .reserve(home, self.script_time(), idempotency)
                .await;
            match reserved {
                Ok(Reserved::New) => return Ok(false),
                Ok(Reserved::Again) => return Ok(true),
                Ok(Reserved::Mismatch) => return Err(WriteError::IdempotencyMismatch),
                // Noting it twice is noting it once.
                Err(RedisError::Lost { .. }) if Instant::now() < deadline => {}
                // It may have named an old life.
                Err(_) if self.lives_learnt() != learnt && Instant::now() < deadline => {}
                Err(error) => return Err(unavailable(&error)),
            }
        }
    }

    async fn parts(&self, write: &Write) -> Result<Parts, WriteError> {
        let mut parts = Parts::new();
        for (place, op) in write.ops.iter().enumerate() {
            let target = self.written_target(&op.edge.target_key()).await?;
            let partition = target.partition(self.store.partitions);
            let excluded = self.kinds.excluded_by(op.edge.kind).iter();
            let excludes = excluded.map(|kind| self.names.kind_no(*kind).0);
            // A write has far fewer ops than a u32.
            let idempotency = write.idempotency.map(|given| (given, place as u32));
            let decide = DecideOp {
                at: op.at,
                excludes: excludes.collect(),
                origin: op.origin.as_deref().cloned(),
                idempotency,
                ..DecideOp::new(op.action, target, op.edge.user.clone())
            };
            let (places, ops) = parts.entry(partition).or_default();
            places.push(place);
            ops.push(decide);
        }
        Ok(parts)
    }

    async fn decide_parts(
        self: &Arc<Self>,
        ops: usize,
        parts: Parts,
        terms: Terms,
    ) -> Result<Vec<Answer>, WriteError> {
        let mut sent = Vec::with_capacity(parts.len());
        for (partition, (places, ops)) in parts {
            let (piece, on_its_way) = Piece::new(partition, ops, terms);
            self.enqueue(piece);
            sent.push((places, on_its_way));
        }
        let waiting = sent
            .into_iter()
            .map(|(places, sent)| async move { (places, answer_of(sent, terms.deadline).await) });
        let mut answers = vec![None; ops];
        let mut failure = None;
        let mut is_any_decided = false;
        for (places, answered) in join_all(waiting).await {
            match answered {
                Ok(answered) => {
                    is_any_decided = true;
                    for (place, answer) in places.into_iter().zip(answered) {
                        answers[place] = Some(answer);
                    }
                }
                // An open outcome outweighs all others.
                Err(unknown @ PieceFailure::Unknown(_)) => failure = Some(unknown),
                Err(other) => failure = failure.or(Some(other)),
            }
        }
        match failure {
            None => {}
            Some(PieceFailure::Mismatch) => return Err(WriteError::IdempotencyMismatch),
            Some(PieceFailure::NotDecided(reason)) if !is_any_decided => {
                return Err(unavailable(&reason));
            }
            Some(PieceFailure::NotDecided(reason) | PieceFailure::Unknown(reason)) => {
                return Err(unknown(&reason));
            }
        }
        let answers: Vec<Answer> = answers.into_iter().flatten().collect();
        if answers.len() == ops {
            Ok(answers)
        } else {
            Err(unknown(&"fewer answers than ops"))
        }
    }

    /// Takes note of the newest place that these answers came with.
    async fn look_at_end(&self, ops: &[Op], answers: &[Answer], partitions: &[u16]) {
        let changed = || {
            let all = ops.iter().zip(answers).zip(partitions);
            all.filter(|((_, (transition, replayed)), _)| transition.changed && !replayed)
        };
        let imported = changed().filter(|((op, _), _)| op.at.is_some());
        let mut imported: Vec<u16> = imported.map(|(_, partition)| *partition).collect();
        imported.sort_unstable();
        imported.dedup();
        if !imported.is_empty() {
            // An import's rev is not its place.
            if let Ok(found) = Box::pin(self.progress_of(&imported)).await {
                self.saw_newest(&found);
            }
        }
        let places = changed().filter(|((op, _), _)| op.at.is_none());
        let places = places.map(|((_, (answer, _)), partition)| Place {
            seq: answer.rev,
            partition: *partition,
        });
        if let Some(newest) = places.max() {
            self.saw(newest);
        }
    }

    /// Waits until the ledger has a write: the places that it was given, and all that the touched
    /// partitions owe where no place is known.
    async fn wait_for_ledger(
        &self,
        ops: &[Op],
        answers: &[Answer],
        touched: &[u16],
        given: BTreeMap<u16, Rev>,
        deadline: Instant,
    ) -> Result<(), WriteError> {
        let others = touched.iter().copied();
        let others: Vec<u16> = others
            .filter(|number| !given.contains_key(number))
            .collect();
        let mut owed: Vec<(u16, Rev)> = given.into_iter().collect();
        if !others.is_empty() {
            owed.extend(self.owed(&others).await.map_err(|error| unknown(&error))?);
        }
        match self.ledger_gets(owed, deadline).await {
            Ok(Reached::Told) if others.is_empty() => Ok(()),
            Ok(Reached::Told | Reached::Durable) => self.ledger_shows(ops, answers).await,
            Ok(Reached::TooLate) => Err(unknown(&"it is decided, but not in the ledger in time")),
            Err(error) => Err(unknown(&error)),
        }
    }

    /// Waits until the bus has acknowledged a write: the places that it was given, and all that the
    /// touched partitions owe the ledger where no place is known. Then it is looked whether the
    /// partitions are still in the turns in which it was published: nothing that came to the bus in
    /// a turn before it was ended is lost ([`crate::ledger::carry`]).
    async fn wait_for_bus(
        &self,
        touched: &[u16],
        mut given: BTreeMap<u16, Rev>,
        turns: &[Option<u64>],
        deadline: Instant,
    ) -> Result<(), WriteError> {
        let others = touched.iter().copied();
        let others: Vec<u16> = others
            .filter(|number| !given.contains_key(number))
            .collect();
        if !others.is_empty() {
            given.extend(self.owed(&others).await.map_err(|error| unknown(&error))?);
        }
        let of_turn = |(number, turn): (&u16, &Option<u64>)| {
            let place = given.get(number)?;
            Some((*number, turn.unwrap_or(0), *place))
        };
        let owed: Vec<(u16, u64, Rev)> = touched.iter().zip(turns).filter_map(of_turn).collect();
        match self.bus_gets(owed, deadline).await {
            Ok(Reached::Told | Reached::Durable) => {}
            Ok(Reached::TooLate) => {
                return Err(unknown(&"it is decided, but not on the bus in time"));
            }
            Err(error) => return Err(unknown(&error)),
        }
        for (number, turn) in touched.iter().zip(turns) {
            match self.ledger.is_turn(*number, turn.unwrap_or(0)).await {
                Ok(true) => {}
                Ok(false) => {
                    let reason = "Redis came back or another took its place meanwhile";
                    return Err(unknown(&reason));
                }
                // Whoever takes a seat needs the ledger too.
                Err(error) => tracing::debug!(%error, "the turn of a seat is not known"),
            }
        }
        Ok(())
    }

    /// Looks whether the ledger has these edges as they were answered, or as they became later. A
    /// partition that was emptied owes the ledger nothing, and what was decided in it may be
    /// nowhere.
    async fn ledger_shows(&self, ops: &[Op], answers: &[Answer]) -> Result<(), WriteError> {
        let (mut edges, mut revs) = (Vec::with_capacity(ops.len()), Vec::new());
        for (op, (answer, _)) in ops.iter().zip(answers) {
            let edge = self.known_edge(&op.edge).await;
            if let Some(edge) = edge.map_err(|error| unknown(&error))? {
                edges.push(edge);
                revs.push(answer.rev);
            }
        }
        let states = self.ledger.edge_states(&edges).await;
        let states = states.map_err(|error| unknown(&error))?;
        if states.iter().zip(revs).all(|(state, rev)| state.rev >= rev) {
            return Ok(());
        }
        Err(unknown(&"Redis lost it before the ledger had it"))
    }
}

/// The newest place that a write was given in each partition in which all that it asked was a
/// change. What was so already, and a kept answer, may stand at any place; an import's rev is none.
fn places_given(ops: &[Op], answers: &[Answer], partitions: &[u16]) -> BTreeMap<u16, Rev> {
    let mut given = BTreeMap::<u16, Option<Rev>>::new();
    for ((op, (answer, replayed)), partition) in ops.iter().zip(answers).zip(partitions) {
        let is_new = answer.changed && !replayed && op.at.is_none();
        let newest = given.entry(*partition).or_insert(Some(Rev::ZERO));
        *newest = newest.filter(|_| is_new).map(|place| place.max(answer.rev));
    }
    let known = given.into_iter();
    known
        .filter_map(|(number, place)| Some((number, place?)))
        .collect()
}

/// The partition of each op.
fn partitions_of(ops: usize, parts: &Parts) -> Vec<u16> {
    let mut partitions = vec![0; ops];
    for (partition, (places, _)) in parts {
        for place in places {
            partitions[*place] = *partition;
        }
    }
    partitions
}

/// Waits for a piece until the deadline, then gives it up.
async fn answer_of(sent: Sent, deadline: Instant) -> Result<Vec<Answer>, PieceFailure> {
    let late = || {
        let reason = "no answer in the time that a write may take".to_owned();
        if sent.turn.give_up() {
            PieceFailure::NotDecided(reason)
        } else {
            PieceFailure::Unknown(reason)
        }
    };
    let mut answer = sent.answer;
    match tokio::time::timeout_at(deadline, &mut answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(PieceFailure::Unknown("the lane died".to_owned())),
        // One that comes in this moment is taken.
        Err(_) => answer.try_recv().unwrap_or_else(|_| Err(late())),
    }
}
