//! One turn at one partition where a bus carries the events: its journal, batch by batch, onto the
//! bus. The recorders bring them from there into the ledger ([`super::recorder`]).
//!
//! A turn begins at what was published last (`:p`), or at what the ledger has (`:d`) where the mark
//! is of an earlier turn of the seat or was taken back. It is moved only after the bus has
//! acknowledged every event up to there, and the journal is trimmed only of what the ledger has. So
//! an event is on the bus at least once, always with the same id, and stays in the journal until
//! it is in the ledger.
//!
//! The mark `:d` is moved by the recorders. Where one of them could not tell Redis, the turn finds
//! out after a while what the ledger has, and tells it instead.
//!
//! An entry that is no event stops the publishing until everything before it is in the ledger.
//! Then it becomes a dead letter as without a bus, and publishing goes on behind it.

use std::collections::BTreeSet;
use std::sync::Arc;

use acclaim_bus::event::{Event, Numbers};
use acclaim_bus::port::Outgoing;
use acclaim_core::port::Place;
use acclaim_core::{Rev, Target};
use bytes::Bytes;

use super::carrier::{Carrier, attribute};
use super::drain::{Ended, TURN_MAX_BATCHES, Tools, Trouble, Turn, applied, drain_batch};
use super::watched::{add, set};
use crate::failpoint;
use crate::ledger::{KindNo, TypeNo};
use crate::redis::journal::{JournalEntry, Marks};
use crate::redis::persist::{Persisted, Told};
use crate::redis::published::{Marked, Published};

/// Where a partition stands.
struct At {
    /// The last place given.
    last: Rev,
    /// The ledger has everything up to here.
    durable: Rev,
    /// The mark as it was found.
    mark: Option<Published>,
    /// Everything up to here needs no publishing.
    after: Rev,
}

/// Up to where a journal needs no publishing in a turn of its seat.
pub(super) fn published_upto(published: Option<Published>, turn: u64, durable: Rev) -> Rev {
    let of_turn = published.filter(|published| published.turn == turn);
    of_turn.map_or(durable, |published| published.upto.max(durable))
}

/// Publishes for a while.
pub(super) async fn take_turn(
    tools: &Arc<Tools>,
    carrier: &Carrier,
    turn: Turn,
    marks: Marks,
) -> Result<Ended, Trouble> {
    let Marks::Known {
        last,
        durable,
        published,
        ..
    } = marks
    else {
        return Ok(Ended::More);
    };
    if published.is_some_and(|published| published.turn > turn.lease.turn) {
        return Err(Trouble::OtherSeat);
    }
    let mut at = At {
        last,
        durable,
        mark: published,
        after: published_upto(published, turn.lease.turn, durable),
    };
    for _ in 0..TURN_MAX_BATCHES {
        let most = tools.limits.batch_max_events;
        let read = tools.redis.journal_entries(turn.journal, at.after, most);
        let read = read.await?;
        if read.is_empty() {
            return catch_up(tools, turn, &at).await;
        }
        let is_full = read.len() >= most;
        let events = outgoing(tools, carrier, turn, &at, &read).await?;
        if events.is_empty() {
            return bury_first(tools, turn, &at, read).await;
        }
        if !publish(
            tools,
            carrier,
            turn,
            &mut at,
            &read[..events.len()],
            &events,
        )
        .await?
        {
            return Ok(Ended::More);
        }
        if !is_full {
            let is_all = events.len() == read.len();
            return Ok(if is_all {
                Ended::Waits(at.last)
            } else {
                Ended::More
            });
        }
    }
    Ok(Ended::More)
}

/// The events of the entries, as far as they are events.
async fn outgoing(
    tools: &Tools,
    carrier: &Carrier,
    turn: Turn,
    at: &At,
    read: &[JournalEntry],
) -> Result<Vec<Outgoing>, Trouble> {
    let journal = turn.journal;
    let mut previous = match at.mark {
        Some(mark) if mark.upto == at.after => Some(mark.upto),
        // The mark of the ledger need not be an event's place.
        _ => tools.redis.place_before(journal, read[0].seq).await?,
    };
    let mut events = Vec::with_capacity(read.len());
    for entry in read {
        let Ok(event) = &entry.event else {
            break;
        };
        let kind = tools.ledger.kind_name(KindNo(event.target.kind)).await?;
        let target_type = TypeNo(event.target.target_type);
        let target_type = tools.ledger.type_name(target_type).await?;
        let (Some(kind), Some(target_type)) = (kind, target_type) else {
            break;
        };
        let place = Place {
            seq: entry.seq,
            partition: journal.number,
        };
        let event = Event {
            store: carrier.store().clone(),
            place,
            previous,
            epoch: attribute(journal.epoch.into()),
            life: attribute(journal.life.into()),
            turn: Some(attribute(turn.lease.turn)),
            numbers: Some(Numbers {
                kind: event.target.kind,
                target_type: event.target.target_type,
            }),
            kind: kind.into(),
            user: event.user.clone(),
            target: Target {
                target_type,
                id: event.target.id.clone(),
            },
            active: event.active,
            rev: event.rev,
            count: event.count,
            origin: event.origin.clone(),
        };
        previous = Some(entry.seq);
        events.push(Outgoing {
            partition: journal.number,
            id: place.to_string(),
            payload: Bytes::from(event.write()),
        });
    }
    Ok(events)
}

/// Publishes and notes it. Answers whether the mark could be moved.
async fn publish(
    tools: &Tools,
    carrier: &Carrier,
    turn: Turn,
    at: &mut At,
    read: &[JournalEntry],
    events: &[Outgoing],
) -> Result<bool, Trouble> {
    let Some(newest) = read.last() else {
        return Ok(true);
    };
    carrier.note_carried(&tools.ledger, turn.lease).await?;
    failpoint::hit(failpoint::RELAY_BEFORE_PUBLISH);
    let parts = events.chunks(carrier.config().limits.max_publish_events.max(1));
    for part in parts {
        carrier.publish(part).await?;
    }
    add(&tools.watched.published, events.len());
    failpoint::hit(failpoint::RELAY_BEFORE_MARK);
    let mark = Published {
        turn: turn.lease.turn,
        upto: newest.seq,
    };
    let noted = tools.redis.note_published(turn.journal, at.mark, mark);
    match noted.await? {
        Marked::Noted => {}
        Marked::Elsewhere => return Ok(false),
        Marked::Cold => return Err(Trouble::OtherJournal),
    }
    let places = read.iter().map(|entry| entry.seq);
    tools.desk.tell_published(turn.journal, mark.turn, places);
    at.mark = Some(mark);
    at.after = newest.seq;
    at.last = at.last.max(newest.seq);
    Ok(true)
}

/// The first entry that is to be published is no event: the ledger takes it as a dead letter, once
/// it has everything before it.
async fn bury_first(
    tools: &Arc<Tools>,
    turn: Turn,
    at: &At,
    read: Vec<JournalEntry>,
) -> Result<Ended, Trouble> {
    let first = tools.redis.journal_entries(turn.journal, at.durable, 1);
    let first = first.await?.into_iter().next().map(|entry| entry.seq);
    let Some(entry) = read.into_iter().next() else {
        return Ok(Ended::More);
    };
    if first != Some(entry.seq) {
        return Ok(Ended::Waits(at.last));
    }
    let upto = entry.seq;
    drain_batch(tools, turn, vec![entry], at.durable, upto).await?;
    Ok(Ended::More)
}

/// Everything is published. What the ledger has and Redis was not told of is told now; while it is
/// on its way, nothing is.
async fn catch_up(tools: &Arc<Tools>, turn: Turn, at: &At) -> Result<Ended, Trouble> {
    let most = tools.limits.batch_max_events;
    let owed = tools.redis.journal_entries(turn.journal, at.durable, most);
    let mut owed = owed.await?;
    if owed.is_empty() {
        // Places that were given to nothing.
        let waiting = drain_batch(tools, turn, owed, at.durable, at.last.max(at.durable)).await?;
        return Ok(if waiting { Ended::More } else { Ended::Drained });
    }
    if !turn.heals {
        return Ok(Ended::Waits(at.last));
    }
    let applied = match applied(tools, turn.lease).await {
        Ok(applied) => applied,
        Err(error @ crate::ledger::LedgerError::Fenced { .. }) => return Err(error.into()),
        Err(error) => {
            tracing::debug!(%error, "it cannot be seen what the ledger has");
            return Ok(Ended::Waits(at.last));
        }
    };
    owed.retain(|entry| entry.seq <= applied);
    let Some(upto) = owed.last().map(|entry| entry.seq) else {
        return Ok(Ended::Waits(at.last));
    };
    let events = owed.iter().filter_map(|entry| entry.event.as_ref().ok());
    let edges: BTreeSet<_> = events
        .map(|event| (event.target.clone(), event.user.clone()))
        .collect();
    let persisted = Persisted {
        upto,
        after: at.durable,
        last: Some(upto),
        entries: owed.len(),
        edges,
    };
    let told = tools
        .redis
        .persisted(turn.journal, tools.now(), turn.keep, &persisted);
    match told.await? {
        Told::Noted { now, .. } => {
            add(&tools.watched.healed, owed.len());
            let oldest = owed.first().map_or(now, |entry| entry.seq);
            let lag = now.0.saturating_sub(oldest.0) / 1_000;
            set(&tools.watched.lag_millis, lag);
            let places = owed.iter().map(|entry| entry.seq);
            tools.desk.tell(turn.journal, places);
            Ok(Ended::More)
        }
        Told::Cold | Told::OtherJournal => Err(Trouble::OtherJournal),
    }
}
