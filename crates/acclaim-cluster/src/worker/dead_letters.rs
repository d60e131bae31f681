//! Sending a dead letter again: through [`Ledger::apply`] like any event, under the fence that its
//! partition has at that moment, whoever holds the lease. The row's lock and the rev guard make it
//! safe beside the worker that drains the partition.
//!
//! One that came over a bus is a CloudEvent and goes back as such an event, without a fence
//! ([`Ledger::record`]).
//!
//! What Redis has of the target was loaded without the event, so it is dropped there before the
//! letter is taken away.

use acclaim_bus::event::Event;
use acclaim_core::port::{DeadLetter, DeadLetterId, Resent};
use acclaim_core::{Kinds, Rev};

use super::drain::entry;
use super::poison::is_refusal;
use crate::ledger::dictionary::DictionaryError;
use crate::ledger::journals::dead_letters::Buried;
use crate::ledger::{Batch, Carried, Entry, Ledger, LedgerError, LedgerEvent};
use crate::redis::connection::Redis;
use crate::redis::error::RedisError;
use crate::redis::event::{JournalEvent, Unreadable};
use crate::redis::journal::{JournalEntry, Marks};
use crate::redis::keys::{Partition, TargetName};

/// How often a letter is applied when the fence moves in between.
const FENCE_ATTEMPTS: usize = 5;
/// How often Redis is asked to drop a target whose events are not all in the ledger.
const FORGET_ATTEMPTS: u32 = 20;
/// How long to wait in between.
const FORGET_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Why it is not known what became of a letter; it is there still and may be sent again.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Redis.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The target is written to and no worker brings its events into the ledger.
    #[error("the ledger does not have all events of {0} yet; try again when it has")]
    Behind(String),
}

/// Up to `most` dead letters with numbers above `after`, as the port has them.
///
/// # Errors
/// [`LedgerError`].
pub async fn list(
    ledger: &Ledger,
    after: DeadLetterId,
    most: usize,
) -> Result<Vec<DeadLetter>, LedgerError> {
    let letters = ledger.dead_letters(after, most).await?.into_iter();
    let letters = letters.map(|letter| DeadLetter {
        id: letter.id,
        partition: letter.partition,
        seq: letter.seq,
        at: letter.at,
        reason: letter.reason,
        event: String::from_utf8_lossy(&letter.payload).into_owned(),
    });
    Ok(letters.collect())
}

/// Sends a dead letter again. `None`: there is none of this number. Of letters that came over a bus
/// those of `kinds` are sent.
///
/// # Errors
/// [`RetryError`].
pub async fn retry(
    redis: &Redis,
    ledger: &Ledger,
    kinds: &Kinds,
    id: DeadLetterId,
) -> Result<Option<Resent>, RetryError> {
    let Some(letter) = ledger.dead_letter(id).await? else {
        return Ok(None);
    };
    if letter.payload.first() == Some(&b'{') {
        return resend_carried(redis, ledger, kinds, &letter)
            .await
            .map(Some);
    }
    let event = read(&letter);
    let target = event.as_ref().ok().map(|event| event.target.clone());
    let read = JournalEntry {
        seq: letter.seq,
        payload: letter.payload.clone().into(),
        event,
    };
    ledger.note_passed(letter.partition).await?;
    match apply(ledger, &letter, entry(read)).await {
        Ok(0) => {}
        Ok(_) => {
            let now = ledger.dead_letter(id).await?;
            let reason = now.map_or(letter.reason, |now| now.reason);
            return Ok(Some(Resent::Refused(reason)));
        }
        Err(error) if is_refusal(&error) => return Ok(Some(Resent::Refused(error.to_string()))),
        Err(error) => return Err(error.into()),
    }
    if let Some(target) = target {
        let partition = redis.partition(letter.epoch, letter.partition);
        forget(redis, partition, &target).await?;
    }
    ledger.remove_dead_letter(id).await?;
    Ok(Some(Resent::Applied))
}

/// The same for a CloudEvent.
async fn resend_carried(
    redis: &Redis,
    ledger: &Ledger,
    kinds: &Kinds,
    letter: &Buried,
) -> Result<Resent, RetryError> {
    let event = match Event::read(&letter.payload, kinds) {
        Ok(event) => event,
        Err(unreadable) => return Ok(Resent::Refused(unreadable.to_string())),
    };
    let number = event.place.partition;
    let numbered = match numbered(ledger, &event).await {
        Ok(numbered) => numbered,
        Err(DictionaryError::Ledger(error)) => return Err(error.into()),
        Err(full) => return Ok(Resent::Refused(full.to_string())),
    };
    let target = TargetName {
        kind: numbered.kind.0,
        target_type: numbered.target_type.0,
        id: numbered.target.clone(),
    };
    ledger.note_passed(number).await?;
    let carried = Carried {
        batch: Batch {
            partition: number,
            epoch: event.epoch,
            fence: 0,
            entries: vec![Entry {
                seq: event.place.seq,
                event: Ok(numbered),
                payload: letter.payload.clone().into(),
            }],
        },
        // It is no part of what comes in order now.
        turn: u64::MAX,
        previous: vec![Some(Rev::MAX)],
    };
    match ledger.record(&[&carried]).await {
        Ok(_) => {}
        Err(error) if is_refusal(&error) => return Ok(Resent::Refused(error.to_string())),
        Err(error) => return Err(error.into()),
    }
    forget(redis, redis.partition(event.epoch, number), &target).await?;
    ledger.remove_dead_letter(letter.id).await?;
    Ok(Resent::Applied)
}

/// An event of the bus in the ledger's numbers.
pub(crate) async fn numbered(
    ledger: &Ledger,
    event: &Event,
) -> Result<LedgerEvent, DictionaryError> {
    Ok(LedgerEvent {
        kind: ledger.kind_no(&event.kind).await?,
        target_type: ledger.type_no(&event.target.target_type).await?,
        target: event.target.id.clone(),
        user: event.user.clone(),
        active: event.active,
        rev: event.rev,
        count: event.count,
    })
}

fn read(letter: &Buried) -> Result<JournalEvent, Unreadable> {
    JournalEvent::parse(&format!("{}-0", letter.seq.0), &letter.payload)
}

/// Answers how many of its one event were refused.
async fn apply(ledger: &Ledger, letter: &Buried, entry: Entry) -> Result<usize, LedgerError> {
    let mut attempt = 1;
    loop {
        let partitions = ledger.partitions().await?;
        let partition = partitions
            .iter()
            .find(|one| one.partition == letter.partition);
        let batch = Batch {
            partition: letter.partition,
            epoch: letter.epoch,
            fence: partition.map_or(0, |partition| partition.fence),
            entries: vec![entry.clone()],
        };
        match ledger.apply(&batch).await {
            Err(LedgerError::Fenced { .. }) if attempt < FENCE_ATTEMPTS => attempt += 1,
            outcome => return outcome.map(|applied| applied.refused),
        }
    }
}

async fn forget(
    redis: &Redis,
    partition: Partition,
    target: &TargetName,
) -> Result<(), RetryError> {
    for _ in 0..FORGET_ATTEMPTS {
        if redis.forget(partition, target).await? {
            return Ok(());
        }
        if let Marks::Known { last, .. } = redis.marks(partition).await? {
            redis.want_durable(partition, last).await?;
        }
        tokio::time::sleep(FORGET_PAUSE).await;
    }
    Err(RetryError::Behind(target.to_string()))
}
