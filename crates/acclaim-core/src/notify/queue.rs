//! Deliveries that wait and deliveries that were given up.

use super::delivery::{DeadDelivery, Delivery};
use super::fold::Change;
use super::keys::{self, tag};
use super::port::{Batch, CommitError, Notes};
use super::record::{decode, decode_found, encode};
use super::settings::WebhookLimits;
use crate::error::ReadError;
use crate::port::{DeadLetter, DeadLetterId, Place, Resent};
use crate::rev::Rev;

/// The partition that no journal has: of numbers of deliveries that no event gave.
const NO_PARTITION: u16 = u16::MAX;

/// The number of a delivery that no event gave: behind all that wait.
#[must_use]
pub fn number_at(now: Rev) -> Place {
    Place {
        seq: now,
        partition: NO_PARTITION,
    }
}

/// The record of a delivery that waits.
#[must_use]
pub fn waiting(endpoint: &str, number: Place, delivery: &Delivery) -> Change {
    (keys::queue(endpoint, number), Some(encode(delivery)))
}

/// A delivery that waits, out of its record.
///
/// # Errors
/// [`ReadError`].
pub fn read_waiting(value: &[u8]) -> Result<Delivery, ReadError> {
    decode(value)
}

/// Who writes dead letters. Each has numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// Whoever puts deliveries into queues.
    Consumer = 0,
    /// Whoever delivers.
    Deliverer = 1,
}

/// Writes dead letters, and lets the oldest go where there are too many.
pub struct DeadLetterBook {
    writer: Writer,
    last: u64,
    /// How many there are at most; not known before the first is written.
    kept: Option<usize>,
}

impl DeadLetterBook {
    /// The book of a writer.
    #[must_use]
    pub fn new(writer: Writer) -> Self {
        Self {
            writer,
            last: 0,
            kept: None,
        }
    }

    /// The records that put deliveries away.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn bury(
        &mut self,
        notes: &dyn Notes,
        limits: &WebhookLimits,
        dead: &[DeadDelivery],
    ) -> Result<Vec<Change>, ReadError> {
        let mut changes = Vec::new();
        if dead.is_empty() {
            return Ok(changes);
        }
        let most = limits.max_dead_letters;
        // Some more than the limit, so that not each costs a look at all.
        let room = most + most / 10;
        let known = self.kept.map(|kept| kept + dead.len());
        if known.is_none_or(|kept| kept > room) {
            let all = notes
                .scan(keys::all(tag::DEAD), None, room + dead.len() + 1)
                .await?;
            let surplus = (all.len() + dead.len()).saturating_sub(most);
            let is_full = all.len() + dead.len() > room;
            let gone = if is_full { surplus.min(all.len()) } else { 0 };
            changes.extend(all.iter().take(gone).map(|(key, _)| (key.clone(), None)));
            self.kept = Some(all.len() - gone);
        }
        for letter in dead {
            changes.push((keys::dead(self.number(letter.at)), Some(encode(letter))));
        }
        self.kept = self.kept.map(|kept| kept + dead.len());
        Ok(changes)
    }

    /// Numbers rise, and those of two writers are never the same. Twice the microseconds of now fit
    /// 2^53 until the year 2112.
    fn number(&mut self, now: Rev) -> u64 {
        self.last = (self.last + 2).max(now.0.saturating_mul(2) + self.writer as u64);
        self.last
    }
}

/// Up to `max` dead letters with numbers above `after`, by number.
///
/// # Errors
/// [`ReadError`].
pub async fn dead_letters(
    notes: &dyn Notes,
    after: DeadLetterId,
    max: usize,
) -> Result<Vec<DeadLetter>, ReadError> {
    let found = notes
        .scan(keys::all(tag::DEAD), Some(keys::dead(after)), max)
        .await?;
    let letters = found.iter().map(|(key, value)| {
        let dead: DeadDelivery = decode(value)?;
        let place = dead.delivery.id.strip_prefix("ntf_");
        let place: Place = place.and_then(|text| text.parse().ok()).unwrap_or_default();
        Ok(DeadLetter {
            id: keys::dead_number(key).unwrap_or_default(),
            partition: place.partition,
            seq: place.seq,
            at: dead.at,
            reason: format!("webhook {}: {}", dead.endpoint, dead.reason),
            event: dead.delivery.body,
        })
    });
    letters.collect()
}

/// Puts a dead letter into the queue of its endpoint again. `None`: there is none of this number.
///
/// # Errors
/// [`ReadError`], or [`CommitError`].
pub async fn requeue(
    notes: &dyn Notes,
    id: DeadLetterId,
    now: Rev,
) -> Result<Result<Option<Resent>, CommitError>, ReadError> {
    let key = keys::dead(id);
    let found = notes.get(vec![key.clone()]).await?.pop().flatten();
    let Some(dead) = decode_found::<DeadDelivery>(found.as_ref())? else {
        return Ok(Ok(None));
    };
    let endpoint = keys::of(tag::ENDPOINT, &dead.endpoint);
    if notes
        .get(vec![endpoint.clone()])
        .await?
        .pop()
        .flatten()
        .is_none()
    {
        let reason = format!("there is no webhook {} any more", dead.endpoint);
        return Ok(Ok(Some(Resent::Refused(reason))));
    }
    let delivery = Delivery {
        attempts: 0,
        due: now,
        ..dead.delivery
    };
    let number = number_at(now);
    let change = waiting(&dead.endpoint, number, &delivery);
    let batch = Batch::of(vec![(key.clone(), None), change])
        // Nobody else has this number.
        .expecting(keys::queue(&dead.endpoint, number), None);
    let committed = notes.commit(batch.expecting(key, found).waking()).await;
    Ok(committed.map(|()| Some(Resent::Applied)))
}
