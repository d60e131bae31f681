//! The checkpointer: moves a sealed delta into the base as one sorted run, then trims the log.
//!
//! It works on a thread of its own while the lane goes on. The run carries the mark that says which
//! commits it contains, so the base and its mark change together or not at all. After a crash
//! before that, the log is replayed; nothing is done twice.
//!
//! A full disk is waited out: the sealed delta stays in memory and is tried again. Any other failure
//! ends the process, since the log still has everything.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use acclaim_core::limits::IDEMPOTENCY_SECONDS;
use acclaim_core::{ReadError, Rev};
use tracing::{debug, error, warn};

use super::base::{self, Run};
use super::delta::{Delta, EdgeCell};
use super::key::{DailyRef, EdgeRef, Key, KindNo, TypeNo, UserRef, board_key, tag};
use super::names::sync_dir;
use super::notes::{self, Answer, Mark, name};
use super::open::LOG_DIR;
use super::record::{DailyRecord, TargetRecord, UserRecord, decode_edge, encode_edge};
use super::shared::Shared;
use super::view::View;
use crate::failpoint;

/// How long a full disk is left alone before the next try.
const RETRY_WHEN_FULL: Duration = Duration::from_secs(1);
/// Idempotency answers removed in one checkpoint, so that none takes long.
const MAX_TRIMMED_ANSWERS: usize = 100_000;

/// A delta on its way into the base.
pub struct Sealed {
    delta: Arc<Delta>,
    /// What lies under it.
    under: Arc<View>,
    number: u64,
    seq: Rev,
    daily: Vec<(DailyRef, Option<DailyRecord>)>,
    boards: Vec<((KindNo, TypeNo), Vec<u8>)>,
}

/// Why a checkpoint did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// There is no room.
    #[error("the disk is full")]
    Full,
    /// The tables could not be written.
    #[error("the tables could not be written: {0}")]
    Store(fjall::Error),
    /// The tables could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<fjall::Error> for CheckpointError {
    fn from(error: fjall::Error) -> Self {
        match base::is_full(&error) {
            true => Self::Full,
            false => Self::Store(error),
        }
    }
}

type Records = Vec<(Key, Option<Vec<u8>>)>;

impl Sealed {
    /// Seals the view's active delta, which holds the commits up to `number`.
    pub fn new(shared: &Shared, view: &Arc<View>, number: u64, seq: Rev) -> Self {
        Self {
            delta: Arc::clone(&view.active),
            under: Arc::clone(view),
            number,
            seq,
            daily: shared.daily.take_changes(seq.day()),
            boards: shared.boards.take_changes(),
        }
    }
}

/// Moves every delta that comes into the base, until the sender is gone.
pub fn run(shared: &Arc<Shared>, sealed: &Receiver<Sealed>) {
    while let Ok(sealed) = sealed.recv() {
        let started = Instant::now();
        loop {
            match move_into_base(shared, &sealed) {
                Ok(()) => break,
                Err(CheckpointError::Full) if shared.running.load(Ordering::Acquire) => {
                    if !shared.disk_full.swap(true, Ordering::Relaxed) {
                        warn!("the disk is full; what is in memory is safe in the log and waits");
                    }
                    shared.checkpointed.nudge();
                    std::thread::sleep(RETRY_WHEN_FULL);
                }
                Err(CheckpointError::Full) => {
                    warn!("stopping with a full disk: the next start reads the log again");
                    shared.checkpointed.pass(sealed.number);
                    return;
                }
                Err(failed) => {
                    error!(%failed, "a checkpoint failed; this process ends and the next start reads the log again");
                    std::process::abort();
                }
            }
        }
        finish(shared, &sealed);
        shared.metrics.checkpoints.inc();
        shared
            .metrics
            .checkpoint_seconds
            .set(started.elapsed().as_secs_f64());
        debug!(edges = sealed.delta.size(), took = ?started.elapsed(), "checkpoint");
        keep_room(shared, sealed);
    }
}

fn move_into_base(shared: &Shared, sealed: &Sealed) -> Result<(), CheckpointError> {
    let trimmed = trimmed_answers(shared, sealed)?;
    let removed = trimmed
        .iter()
        .filter(|(key, _)| key.get(1) == Some(&name::ANSWER_AGE))
        .count();
    shared.base.ingest(|run| {
        write_edges(run, sealed)?;
        write_lists(run, sealed)?;
        write_records(run, sealed)?;
        for (day, record) in &sealed.daily {
            run.write(&day.key(), record.map(|record| record.encode()).as_deref())?;
        }
        for ((kind, target_type), board) in &sealed.boards {
            run.write(&board_key(*kind, *target_type), Some(board))?;
        }
        write_notes(run, shared, sealed, trimmed)?;
        failpoint::hit(failpoint::CHECKPOINT_BEFORE_INGEST);
        Ok::<_, CheckpointError>(())
    })?;
    failpoint::hit(failpoint::CHECKPOINT_AFTER_INGEST);
    let fewer = |kept: u64| Some(kept.saturating_sub(removed as u64));
    let _ = shared
        .answers
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
    Ok(())
}

/// Shows the new base to readers and trims the log.
fn finish(shared: &Shared, sealed: &Sealed) {
    let view = shared.view.load();
    shared.view.store(Arc::new(View {
        active: Arc::clone(&view.active),
        sealed: None,
        base: Arc::new(shared.base.snapshot()),
    }));
    shared.disk_full.store(false, Ordering::Relaxed);
    shared.checkpointed.pass(sealed.number);
    trim_log(shared, sealed.number);
    shared
        .metrics
        .base_bytes
        .set(shared.base.disk_bytes() as i64);
    shared
        .metrics
        .base_waiting_runs
        .set(shared.base.waiting_runs() as i64);
    shared
        .metrics
        .cache_bytes
        .set(shared.base.cached_bytes() as i64);
}

/// Keeps the room of a delta that is in the base for the next one: asking the system for it anew
/// cost a twentieth of all processor time under load.
fn keep_room(shared: &Shared, sealed: Sealed) {
    let Sealed { delta, under, .. } = sealed;
    drop(under);
    // A reader may hold it still; then its room is given back when that reader is done.
    if let Ok(mut delta) = Arc::try_unwrap(delta) {
        delta.clear();
        *shared.spare_delta.lock() = Some(delta);
    }
}

fn write_sorted(run: &mut Run<'_>, mut records: Records) -> fjall::Result<()> {
    records.sort_by(|a, b| a.0.cmp(&b.0));
    records.dedup_by(|later, first| later.0 == first.0);
    records
        .iter()
        .try_for_each(|(key, value)| run.write(key, value.as_deref()))
}

fn write_edges(run: &mut Run<'_>, sealed: &Sealed) -> fjall::Result<()> {
    let mut edges = Vec::with_capacity(sealed.delta.size());
    for shard in sealed.delta.target_shards() {
        edges.extend(shard.edges().map(|(edge, cell)| (edge.key(), cell.state)));
    }
    edges.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    edges.iter().try_for_each(|(key, state)| {
        let exists = state.rev > Rev::ZERO;
        run.write(
            key,
            exists
                .then(|| encode_edge(*state))
                .as_ref()
                .map(|bytes| &bytes[..]),
        )
    })
}

/// How an edge's entry in a list moves: where it was, where it is.
fn moves(cell: &EdgeCell, key: impl Fn(Rev) -> Key, out: &mut Records) {
    let place = |state: acclaim_core::EdgeState| state.active.then_some(state.rev);
    let (was, is) = (place(cell.base), place(cell.state));
    if was == is {
        return;
    }
    out.extend(was.map(|rev| (key(rev), None)));
    out.extend(is.map(|rev| (key(rev), Some(Vec::new()))));
}

fn write_lists(run: &mut Run<'_>, sealed: &Sealed) -> Result<(), CheckpointError> {
    let mut of_targets = Vec::with_capacity(sealed.delta.size());
    let mut of_users: HashMap<UserRef, Vec<(EdgeRef, EdgeCell)>> = HashMap::new();
    for shard in sealed.delta.target_shards() {
        for (edge, cell) in shard.edges() {
            moves(&cell, |rev| edge.target_list_key(rev), &mut of_targets);
            let user = edge.user_ref();
            if sealed.delta.with_user(&user, |known| known.record.indexed) == Some(true) {
                of_users.entry(user).or_default().push((edge, cell));
            }
        }
    }
    // Repairs come after the moves: where both speak of one entry, the move is newer.
    of_targets.extend(sealed.delta.notes(&[tag::TARGET_LIST]));
    write_sorted(run, of_targets)?;
    let mut of_users_lists = Vec::new();
    for (user, edges) in of_users {
        user_list(&sealed.under, &user, &edges, &mut of_users_lists)?;
    }
    let mut erased = Vec::new();
    sealed.delta.each_user(|user, known| {
        if known.record == UserRecord::default() {
            erased.push(user.clone());
        }
    });
    for user in erased {
        remove_user_list(&sealed.under, &user, &mut of_users_lists)?;
    }
    of_users_lists.extend(sealed.delta.notes(&[tag::USER_LIST]));
    Ok(write_sorted(run, of_users_lists)?)
}

/// The changes of an indexed user's list; all of it if the base has none yet.
fn user_list(
    under: &View,
    user: &UserRef,
    edges: &[(EdgeRef, EdgeCell)],
    out: &mut Records,
) -> Result<(), ReadError> {
    if under.base_user(user)?.indexed {
        for (edge, cell) in edges {
            moves(cell, |rev| edge.user_list_key(rev), out);
        }
        return Ok(());
    }
    for record in under.base.prefix(&user.edges_prefix()) {
        let (key, value) = record?;
        let (edge, state) = (EdgeRef::from_key(&key)?, decode_edge(&value)?);
        if state.active && !edges.iter().any(|(changed, _)| *changed == edge) {
            out.push((edge.user_list_key(state.rev), Some(Vec::new())));
        }
    }
    let active = edges.iter().filter(|(_, cell)| cell.state.active);
    out.extend(active.map(|(edge, cell)| (edge.user_list_key(cell.state.rev), Some(Vec::new()))));
    Ok(())
}

fn remove_user_list(under: &View, user: &UserRef, out: &mut Records) -> Result<(), ReadError> {
    if !under.base_user(user)?.indexed {
        return Ok(());
    }
    let mut prefix = user.key();
    prefix[0] = tag::USER_LIST;
    for record in under.base.prefix(&prefix) {
        out.push((record?.0.to_vec(), None));
    }
    Ok(())
}

fn write_records(run: &mut Run<'_>, sealed: &Sealed) -> fjall::Result<()> {
    let mut targets = Records::new();
    for shard in sealed.delta.target_shards() {
        targets.extend(shard.targets().map(|(target, known)| {
            let untouched = known.record == TargetRecord::default();
            (target.key(), (!untouched).then(|| known.record.encode()))
        }));
    }
    write_sorted(run, targets)?;
    let mut users = Records::new();
    sealed.delta.each_user(|user, known| {
        let untouched = known.record == UserRecord::default();
        users.push((user.key(), (!untouched).then(|| known.record.encode())));
    });
    write_sorted(run, users)
}

fn write_notes(
    run: &mut Run<'_>,
    shared: &Shared,
    sealed: &Sealed,
    trimmed: Records,
) -> fjall::Result<()> {
    let mut records: std::collections::BTreeMap<Key, Option<Vec<u8>>> =
        trimmed.into_iter().collect();
    // What was written again after it was trimmed stays.
    records.extend(sealed.delta.notes(&[tag::NOTE]));
    let mark = Mark {
        store: shared.store,
        number: sealed.number,
        seq: sealed.seq,
        answers: shared.answers.load(Ordering::Relaxed),
    };
    records.insert(Mark::key(), Some(mark.encode()));
    records
        .iter()
        .try_for_each(|(key, value)| run.write(key, value.as_deref()))
}

/// The idempotency answers that are too old, or the oldest of too many.
fn trimmed_answers(shared: &Shared, sealed: &Sealed) -> Result<Records, ReadError> {
    let mut trimmed = Records::new();
    let oldest = shared
        .clock
        .now()
        .0
        .saturating_sub(IDEMPOTENCY_SECONDS * 1_000_000);
    let kept = shared.answers.load(Ordering::Relaxed);
    let surplus = kept.saturating_sub(shared.options.answers_max);
    let mut removed = 0;
    for record in sealed.under.base.prefix(&notes::key(name::ANSWER_AGE, &[])) {
        let (key, _) = record?;
        let Some((at, idempotency_key)) = Answer::from_age_key(&key) else {
            continue;
        };
        if removed >= MAX_TRIMMED_ANSWERS || (at.0 > oldest && removed as u64 >= surplus) {
            break;
        }
        removed += 1;
        trimmed.push((key.to_vec(), None));
        let answer_key = Answer::key(&idempotency_key);
        let answer = sealed.under.base.get(&answer_key)?;
        if answer.is_some_and(|bytes| Answer::decode(&bytes).is_ok_and(|kept| kept.at == at)) {
            trimmed.push((answer_key, None));
        }
    }
    Ok(trimmed)
}

/// Removes the segments that neither recovery nor a subscriber may want.
fn trim_log(shared: &Shared, number: u64) {
    let oldest_kept = Rev(shared
        .clock
        .now()
        .0
        .saturating_sub(shared.options.journal_max_seconds * 1_000_000));
    let log_dir = shared.dir.join(LOG_DIR);
    let mut segments = shared.segments.write();
    let mut bytes: u64 = segments.iter().map(|segment| segment.durable_bytes).sum();
    while let [oldest, next, ..] = &segments[..] {
        let in_base = next.name.first_number <= number + 1;
        let unwanted =
            bytes > shared.options.journal_max_bytes || next.name.after_seq < oldest_kept.0;
        if !in_base || !unwanted {
            break;
        }
        if let Err(error) = std::fs::remove_file(&oldest.path) {
            warn!(%error, segment = %oldest.path.display(), "an old log segment could not be removed");
            break;
        }
        bytes -= oldest.durable_bytes;
        segments.remove(0);
        // One after the other, so that after a power cut no piece is missing from the middle.
        if let Err(error) = sync_dir(&log_dir) {
            warn!(%error, "the removal of an old log segment could not be made durable");
            break;
        }
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
