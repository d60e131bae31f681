//! Before the first event and after the last one: what ledger it is, and what an empty one needs.

use std::collections::BTreeMap;

use acclaim_core::Rev;
use futures::future::try_join_all;

use super::sorter::Journal;
use super::{Progress, ReplayError, Spec};
use crate::ledger::rebuild::{Rebuild, RebuiltEnd, Stand};
use crate::redis::connection::Redis;
use crate::redis::journal::Marks;
use crate::redis::keys::Partition;

/// Lives of a partition of which no event may have been published, one after the other.
const MAX_SILENT_LIVES: u32 = 16;

/// What a replay begins on.
pub(super) struct Ground {
    /// Where an empty database is rebuilt.
    pub rebuild: Option<Rebuild>,
    /// The store, where it is known.
    pub store: Option<String>,
    pub partitions: u16,
    pub journals: BTreeMap<u16, Journal>,
    /// The group that reads the bus, and whether it is moved first.
    pub group: String,
    pub seeks: bool,
    pub is_resumed: bool,
}

fn token() -> String {
    format!("acclaim-replay-{:016x}", rand::random::<u64>())
}

/// Looks at the ledger, and begins where it is empty.
pub(super) async fn begin(
    spec: &Spec<'_>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Ground, ReplayError> {
    let ledger = spec.ledger;
    if !spec.is_dry {
        ledger.migrate().await?;
    }
    let base = match spec.history {
        None => BTreeMap::new(),
        Some(history) => look_at_history(spec, history).await?,
    };
    if !ledger.has_tables().await? {
        return Ok(fresh(spec, None, None, &base, false));
    }
    if let Some(who) = ledger.at_work().await? {
        let what = "the ledger";
        return Err(ReplayError::AtWork { what, who });
    }
    if let Some(rebuild) = ledger.rebuild().await? {
        return go_on(spec, rebuild, &base, progress).await;
    }
    if let Some(store) = ledger.open_store().await? {
        if spec.history.is_some() {
            return Err(ReplayError::HistoryTooLate);
        }
        return on_a_store(spec, store.partitions).await;
    }
    if spec.is_dry {
        return Ok(fresh(spec, None, None, &base, false));
    }
    let rebuild = ledger.begin_rebuild(&token(), spec.range.from).await?;
    begin_copy(spec, rebuild, &base, progress, false).await
}

/// How far the older ledger is.
async fn look_at_history(
    spec: &Spec<'_>,
    history: &crate::ledger::Ledger,
) -> Result<BTreeMap<u16, Stand>, ReplayError> {
    if !history.has_tables().await? {
        return Err(ReplayError::HistoryEmpty);
    }
    let store = history.open_store().await?;
    let store = store.ok_or(ReplayError::HistoryEmpty)?;
    if store.partitions != spec.partitions {
        return Err(ReplayError::HistoryPartitions {
            found: store.partitions,
            asked: spec.partitions,
        });
    }
    if let Some(who) = history.at_work().await? {
        let what = "the older ledger";
        return Err(ReplayError::AtWork { what, who });
    }
    let stands = history.stands().await?.into_iter();
    Ok(stands.map(|stand| (stand.partition, stand)).collect())
}

/// From the beginning, on what was copied.
fn fresh(
    spec: &Spec<'_>,
    rebuild: Option<Rebuild>,
    store: Option<String>,
    base: &BTreeMap<u16, Stand>,
    is_resumed: bool,
) -> Ground {
    let journals = base.iter().map(|(partition, stand)| {
        let known = stand.applied.max(floor(spec));
        (*partition, Journal::of(stand, known, stand.applied))
    });
    Ground {
        group: rebuild.as_ref().map_or_else(token, |one| one.token.clone()),
        rebuild,
        store,
        partitions: spec.partitions,
        journals: journals.collect(),
        seeks: true,
        is_resumed,
    }
}

/// Everything before the range is taken to be there.
pub(super) fn floor(spec: &Spec<'_>) -> Rev {
    Rev(spec.range.from.0.saturating_sub(1))
}

/// Copies the older ledger, where there is one.
async fn begin_copy(
    spec: &Spec<'_>,
    mut rebuild: Rebuild,
    base: &BTreeMap<u16, Stand>,
    progress: &mut (dyn FnMut(Progress) + Send),
    is_resumed: bool,
) -> Result<Ground, ReplayError> {
    let ledger = spec.ledger;
    if let (Some(history), false) = (spec.history, spec.is_dry) {
        let copied = &mut |rows| progress(Progress::Copied(rows));
        history.copy_to(ledger, copied).await?;
        ledger.hold_rebuilt().await?;
        rebuild.is_copied = true;
        ledger.note_rebuild(&rebuild).await?;
    }
    let store = ledger.store_id().await?;
    Ok(fresh(spec, Some(rebuild), store, base, is_resumed))
}

/// Goes on with a rebuild.
async fn go_on(
    spec: &Spec<'_>,
    mut rebuild: Rebuild,
    base: &BTreeMap<u16, Stand>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Ground, ReplayError> {
    let ledger = spec.ledger;
    if rebuild.is_copied && spec.history.is_none() {
        return Err(ReplayError::HistoryMissing);
    }
    let store = ledger.store_id().await?;
    if spec.history.is_some() && !rebuild.is_copied {
        if store.is_some() {
            return Err(ReplayError::HistoryTooLate);
        }
        return begin_copy(spec, rebuild, base, progress, true).await;
    }
    let stands = ledger.stands().await?;
    // What is missing is named from the beginning on, or it could not be said what of it came.
    let is_open = stands.iter().any(|stand| stand.reached > stand.applied);
    if store.is_none() || is_open || rebuild.from != spec.range.from || spec.is_dry {
        if !spec.is_dry {
            rebuild.from = spec.range.from;
            ledger.note_rebuild(&rebuild).await?;
        } else {
            rebuild.token = token();
        }
        return Ok(fresh(spec, Some(rebuild), store, base, true));
    }
    let journals = stands.iter().map(|stand| {
        let copied = base.get(&stand.partition);
        let skip = copied.map_or(Rev::ZERO, |copied| copied.applied);
        let known = stand.applied.max(floor(spec));
        (stand.partition, Journal::of(stand, known, skip))
    });
    Ok(Ground {
        group: rebuild.token.clone(),
        rebuild: Some(rebuild),
        store,
        partitions: spec.partitions,
        journals: journals.collect(),
        seeks: false,
        is_resumed: true,
    })
}

/// A ledger that has a store gets what it lacks.
async fn on_a_store(spec: &Spec<'_>, partitions: u16) -> Result<Ground, ReplayError> {
    let ledger = spec.ledger;
    let store = ledger.store_id().await?;
    let named = store.as_deref().unwrap_or_default();
    let group = match spec.is_dry {
        true => token(),
        false => format!("acclaim-replay-{}", named.get(..16).unwrap_or_default()),
    };
    let stands = ledger.stands().await?.into_iter();
    let journals = stands.map(|stand| {
        let known = stand.applied.max(floor(spec));
        // In which turns its events came too late is seen from the bus: by now all are closed.
        (stand.partition, Journal::new(known, Rev::ZERO))
    });
    Ok(Ground {
        rebuild: None,
        store,
        partitions,
        journals: journals.collect(),
        group,
        seeks: true,
        is_resumed: false,
    })
}

/// Opens a ledger that was rebuilt.
pub(super) async fn finish(
    spec: &Spec<'_>,
    journals: &BTreeMap<u16, Journal>,
) -> Result<(), ReplayError> {
    let (url, limits) = &spec.redis;
    let redis = Redis::open(url, *limits).await?;
    let redis = &redis;
    let stands = spec.ledger.stands().await?;
    let ends = stands.iter().map(|stand| {
        let journal = journals.get(&stand.partition);
        let met = journal.map_or((0, 0), |journal| (journal.turn, journal.life));
        let upto = journal.map_or(Rev::ZERO, |journal| match journal.holes.top() {
            // Nothing came.
            top if top <= floor(spec) => Rev::ZERO,
            top => top,
        });
        async move {
            let first = Partition {
                epoch: stand.epoch,
                life: stand.life.max(met.1),
                number: stand.partition,
            };
            let (life, published) = newest_life(redis, first).await?;
            Ok::<_, ReplayError>(RebuiltEnd {
                partition: stand.partition,
                upto,
                turn: stand.turn.max(met.0).max(published),
                life,
            })
        }
    });
    let ends = try_join_all(ends).await?;
    spec.ledger.finish_rebuild(&ends).await?;
    Ok(())
}

/// The newest life that Redis has of a partition, from one on, and the turn in which it was
/// published last.
async fn newest_life(redis: &Redis, first: Partition) -> Result<(u32, u64), ReplayError> {
    let (mut newest, mut turn) = (first.life, 0);
    for more in 0..MAX_SILENT_LIVES {
        let partition = Partition {
            life: first.life.saturating_add(more),
            ..first
        };
        match redis.marks(partition).await? {
            Marks::Cold => {}
            Marks::Unmarked { .. } => newest = partition.life,
            Marks::Known { published, .. } => {
                newest = partition.life;
                turn = turn.max(published.map_or(0, |published| published.turn));
            }
        }
    }
    Ok((newest, turn))
}
