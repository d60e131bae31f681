//! From the bus into a ledger, batch by batch.

use std::time::Duration;

use acclaim_bus::event::{Event, Stand as StandOfEvent};
use acclaim_bus::port::Received;
use acclaim_bus::{Bus, event::Numbers};
use tokio::time::{Instant, sleep};

use super::group::{Group, seek_to};
use super::pace::Pace;
use super::rebuild::{Ground, begin, finish, floor};
use super::sorter::{Sorted, Sorter};
use super::write::{patiently, write};
use super::{Progress, ReplayError, Report, Spec};
use crate::failpoint;
use crate::ledger::dictionary::DictionaryError;
use crate::ledger::store::unhex;
use crate::ledger::{KindNo, LedgerError, LedgerEvent, TypeNo};
use crate::redis::keys::TargetName;
use crate::worker::dead_letters::numbered;
use crate::worker::recorder::sort::{Rounds, StandsAt};

/// How long a batch is waited for.
const RECEIVE_WAIT: Duration = Duration::from_millis(200);
/// How often the bus is asked what is left while events come.
const LEFT_INTERVAL: Duration = Duration::from_secs(1);
/// How long the bus may give nothing while it says that something is left.
const STALLED_MAX: Duration = Duration::from_secs(60);
/// In which turn events are recorded: what comes too late is left out before.
const ANY_TURN: u64 = u64::MAX;

/// Replays into a ledger; see [`super`].
///
/// # Errors
/// [`ReplayError`]: what was done stays, and the call may be made again.
pub async fn into_ledger(
    spec: &Spec<'_>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report, ReplayError> {
    let mut report = Report::default();
    let bus = acclaim_bus::open(&spec.bus.url, &spec.bus.limits)?;
    // Before anything is written.
    bus.check().await?;
    let copied = &mut report.copied;
    let ground = begin(spec, &mut |step| {
        if let Progress::Copied(rows) = step {
            *copied += rows;
        }
        progress(step);
    })
    .await?;
    report.is_rebuilt = ground.rebuild.is_some();
    report.is_resumed = ground.is_resumed;
    let name = ground.group.clone();
    let done = read_all(spec, bus.as_ref(), ground, report, progress).await;
    let is_over = match &done {
        Ok(_) | Err(ReplayError::Nothing) => true,
        Err(_) => spec.is_dry,
    };
    if is_over && let Err(error) = bus.forget_group(&name).await {
        tracing::warn!(%error, group = name, "the group of the replay stays on the bus");
    }
    done
}

async fn read_all(
    spec: &Spec<'_>,
    bus: &dyn Bus,
    ground: Ground,
    report: Report,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report, ReplayError> {
    let mut group = Group::join(bus, &ground.group).await?;
    if ground.seeks {
        group.seek(&seek_to(spec.range.from)).await?;
    }
    let mut replay = Replay {
        spec,
        is_rebuild: ground.rebuild.is_some() && !spec.is_dry,
        has_store: ground.store.is_some(),
        sorter: Sorter {
            kinds: spec.kinds,
            store: ground.store.unwrap_or_default(),
            partitions: ground.partitions,
            range: spec.range,
            journals: ground.journals,
            floor: floor(spec),
        },
        epoch: 0,
        report,
    };
    replay.read_to_the_end(&mut group, progress).await?;
    drop(group);
    replay.end().await
}

/// A replay under way.
struct Replay<'a> {
    spec: &'a Spec<'a>,
    is_rebuild: bool,
    has_store: bool,
    sorter: Sorter<'a>,
    /// The epoch that the ledger was lifted to.
    epoch: u32,
    report: Report,
}

impl Replay<'_> {
    async fn read_to_the_end(
        &mut self,
        group: &mut Group,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), ReplayError> {
        let mut pace = Pace::new(self.spec.events_per_second);
        let most = pace.batch(self.spec.bus.batch_max_events);
        let mut ends = group.ends(self.spec.now);
        let (began, mut left_at) = (Instant::now(), Instant::now());
        let (mut heard_at, mut left) = (Instant::now(), 0);
        while !ends.are_all() {
            sleep(pace.wait(began.elapsed())).await;
            let batch = group.receive(most, RECEIVE_WAIT).await?;
            let is_empty = batch.is_empty();
            pace.gave(batch.len());
            self.take(&batch).await?;
            if !is_empty {
                failpoint::hit(failpoint::REPLAY_BEFORE_ACKNOWLEDGE);
                group.acknowledge(&batch).await?;
                heard_at = Instant::now();
            }
            batch.iter().for_each(|message| ends.did(message));
            if is_empty || Instant::now() >= left_at {
                let of_each = group.left().await?;
                ends.left(&of_each);
                left = of_each.iter().map(|(_, events)| events).sum();
                left_at = Instant::now() + LEFT_INTERVAL;
            }
            let done = self.report.messages;
            progress(Progress::Read { done, left });
            if heard_at.elapsed() > STALLED_MAX && !ends.are_all() {
                let seconds = STALLED_MAX.as_secs();
                return Err(ReplayError::Stalled { left, seconds });
            }
        }
        Ok(())
    }

    /// Deals with a batch.
    async fn take(&mut self, batch: &[Received]) -> Result<(), ReplayError> {
        let mut rounds = Rounds::default();
        for message in batch {
            self.report.messages += 1;
            if !self.has_store {
                self.find_store(message).await?;
            }
            match self.sorter.sort(message) {
                Sorted::Event(event) => {
                    self.report.events += 1;
                    let at = any_turn(StandsAt::of_event(&event));
                    let read = self.read(&event).await?;
                    if let Err(reason) = &read {
                        self.report.refuse(event.place, reason.clone());
                    }
                    rounds.add(&at, read, message.payload.clone());
                }
                Sorted::Refused(at, reason) => {
                    self.report.events += 1;
                    self.lift(at.journal.epoch).await?;
                    let place = acclaim_core::port::Place {
                        seq: at.seq,
                        partition: at.journal.number,
                    };
                    self.report.refuse(place, reason.clone());
                    rounds.add(&any_turn(at), Err(reason), message.payload.clone());
                }
                Sorted::Placeless(reason) => self.bury(message, reason).await?,
                Sorted::Known => {
                    self.report.events += 1;
                    self.report.known += 1;
                }
                Sorted::Late => {
                    self.report.events += 1;
                    self.report.late += 1;
                }
                Sorted::Outside => self.report.outside += 1,
                Sorted::Foreign => self.report.foreign += 1,
                Sorted::Barrier => {}
            }
        }
        if self.spec.is_dry {
            return Ok(());
        }
        for (stretch, recorded) in write(self.spec.ledger, rounds.end()).await? {
            let applied = recorded.applied;
            self.report.changed += applied.flips as u64;
            self.report.known += applied.stale as u64;
            // Those that were told above, and those that only the ledger refused.
            let entries = stretch.carried.batch.entries.iter();
            let told = entries.filter(|entry| entry.event.is_err()).count();
            self.report.refused += applied.refused.saturating_sub(told) as u64;
        }
        self.note_news().await
    }

    /// Writes down turns and lives that the ledger does not know, before the batch is done with.
    async fn note_news(&mut self) -> Result<(), ReplayError> {
        if !self.is_rebuild || !self.has_store {
            return Ok(());
        }
        let ledger = self.spec.ledger;
        for (partition, journal) in &mut self.sorter.journals {
            if journal.is_news {
                let (turn, closed, life) = (journal.turn, journal.closed, journal.life);
                patiently(|| ledger.note_turns(*partition, turn, closed, life)).await?;
                journal.is_news = false;
            }
        }
        Ok(())
    }

    /// An empty database is the store whose event comes first.
    async fn find_store(&mut self, message: &Received) -> Result<(), ReplayError> {
        let Some(stand) = StandOfEvent::read(&message.payload) else {
            return Ok(());
        };
        let Some(id) = unhex::<16>(&stand.store) else {
            return Ok(());
        };
        if self.is_rebuild {
            let (ledger, partitions) = (self.spec.ledger, self.sorter.partitions);
            patiently(|| ledger.make_rebuilt_store(id, partitions)).await?;
        }
        self.sorter.store = stand.store.into();
        self.has_store = true;
        Ok(())
    }

    async fn bury(&mut self, message: &Received, reason: String) -> Result<(), ReplayError> {
        self.report.events += 1;
        let (partition, position) = (message.bus_partition, message.position);
        if !self.spec.is_dry {
            let (ledger, payload) = (self.spec.ledger, &message.payload);
            let reason = &reason;
            patiently(|| ledger.bury_message(partition, position, reason, payload)).await?;
        }
        let what = format!("message {position} of bus partition {partition}");
        self.report.refuse(what, reason);
        Ok(())
    }

    async fn lift(&mut self, epoch: u32) -> Result<(), LedgerError> {
        if self.is_rebuild && epoch > self.epoch {
            let ledger = self.spec.ledger;
            patiently(|| ledger.lift_to_epoch(epoch)).await?;
            self.epoch = epoch;
        }
        Ok(())
    }

    /// An event in the ledger's numbers, or why it has none.
    async fn read(&mut self, event: &Event) -> Result<Result<LedgerEvent, String>, ReplayError> {
        if self.spec.is_dry {
            return Ok(Ok(dry(event)));
        }
        self.lift(event.epoch).await?;
        if let Some(numbers) = event.numbers
            && let Err(why) = self.agree(event, numbers).await?
        {
            return Ok(Err(why));
        }
        let numbered = match numbered(self.spec.ledger, event).await {
            Ok(numbered) => numbered,
            Err(DictionaryError::Ledger(error)) => return Err(error.into()),
            Err(full) => return Ok(Err(full.to_string())),
        };
        let name = TargetName {
            kind: numbered.kind.0,
            target_type: numbered.target_type.0,
            id: numbered.target.clone(),
        };
        let (lies, named) = (
            name.partition(self.sorter.partitions),
            event.place.partition,
        );
        if lies != named {
            return Ok(Err(format!(
                "{} lies in partition {lies} of this ledger, where target types have other numbers \
                 than in the one that the event is of; it was decided in partition {named}",
                event.target
            )));
        }
        Ok(Ok(numbered))
    }

    /// Whether kind and type have the numbers here that they had when the event was published.
    async fn agree(
        &self,
        event: &Event,
        numbers: Numbers,
    ) -> Result<Result<(), String>, LedgerError> {
        let ledger = self.spec.ledger;
        let (kind, no) = (event.kind.as_str(), KindNo(numbers.kind));
        if !patiently(|| ledger.agree_on_kind(kind, no)).await? {
            return Ok(Err(format!(
                "the kind {kind} had number {} when it was published and has another here",
                no.0
            )));
        }
        let (target_type, no) = (&event.target.target_type, TypeNo(numbers.target_type));
        if !patiently(|| ledger.agree_on_type(target_type, no)).await? {
            return Ok(Err(format!(
                "the target type {target_type} had number {} when it was published and has another \
                 here",
                no.0
            )));
        }
        Ok(Ok(()))
    }

    async fn end(mut self) -> Result<Report, ReplayError> {
        self.report.gaps = self.sorter.gaps();
        if self.has_store {
            self.report.store = Some(self.sorter.store.clone());
        }
        if self.is_rebuild && !self.has_store {
            self.spec.ledger.abandon_rebuild().await?;
            return Err(ReplayError::Nothing);
        }
        if self.is_rebuild {
            finish(self.spec, &self.sorter.journals).await?;
        }
        Ok(self.report)
    }
}

/// Nothing is looked up for an event that is only counted.
fn dry(event: &Event) -> LedgerEvent {
    let numbers = event.numbers.unwrap_or(Numbers {
        kind: 1,
        target_type: 1,
    });
    LedgerEvent {
        kind: KindNo(numbers.kind),
        target_type: TypeNo(numbers.target_type),
        target: event.target.id.clone(),
        user: event.user.clone(),
        active: event.active,
        rev: event.rev,
        count: event.count,
    }
}

fn any_turn(at: StandsAt) -> StandsAt {
    StandsAt {
        turn: ANY_TURN,
        ..at
    }
}
