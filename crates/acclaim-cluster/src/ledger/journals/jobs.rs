//! Work that goes on by itself, on whichever node: taken by lease, fenced, resumed from where the
//! node before wrote down that it was.

use std::time::Duration;

use acclaim_core::port::{Job, JobId, JobSpec, JobState};
use acclaim_core::{Id, Kinds, Target, TargetType};
use sqlx::Row;
use sqlx::mysql::MySqlRow;

use super::imports::{ImportProgress, ImportWork};
use crate::ledger::error::{Failure, LedgerError};
use crate::ledger::lease::{NOW, micros};
use crate::ledger::pools::Ledger;
use crate::ledger::session::{Session, Sql, give_up};

/// Jobs that wait or run at once.
pub const MAX_OPEN_JOBS: usize = 1_000;
/// The longest note of where a job is, in bytes.
pub const MAX_PROGRESS_BYTES: usize = 512;
/// The longest error, in characters; the rest is cut off.
pub const MAX_ERROR_CHARS: usize = 4_096;

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const DONE: u8 = 2;
const FAILED: u8 = 3;

/// What a job does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// As the port names it.
    Job(JobSpec),
    /// Import a text that lies in the ledger.
    Import(ImportWork),
    /// Words that this program does not know, as those of a kind that is not configured any more.
    Unknown(String),
}

/// A job that this node has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenJob {
    /// Its number.
    pub id: JobId,
    /// What to do.
    pub work: Work,
    /// The right to go on with it.
    pub fence: u64,
    /// Edges dealt with.
    pub done: u64,
    /// Edges to deal with, as far as known.
    pub total: u64,
    /// Where the node before was, as it wrote it down; empty at the beginning.
    pub progress: Vec<u8>,
    /// The rejected lines of an import, as the node before wrote them down.
    pub rejections: Vec<u8>,
}

/// A job's words in the ledger. Kinds by name: their places are a process's own.
fn words(spec: &JobSpec, kinds: &Kinds) -> String {
    match spec {
        JobSpec::EraseUser(id) => format!("erase-user {id}"),
        JobSpec::EraseTarget(target) => format!("erase-target {target}"),
        JobSpec::Recover(kind) => format!("recover {}", kinds.get(*kind).name),
    }
}

fn read_words(words: String, kinds: &Kinds) -> Work {
    if let Some(import) = ImportWork::parse(&words) {
        return Work::Import(import);
    }
    read_spec(&words, kinds).map_or(Work::Unknown(words), Work::Job)
}

fn read_spec(words: &str, kinds: &Kinds) -> Option<JobSpec> {
    match words.split_once(' ')? {
        ("erase-user", id) => Id::parse(id).ok().map(JobSpec::EraseUser),
        ("erase-target", target) => {
            let (target_type, id) = target.split_once(':')?;
            let target_type = TargetType::parse(target_type).ok()?;
            Some(JobSpec::EraseTarget(Target {
                target_type,
                id: Id::parse(id).ok()?,
            }))
        }
        ("recover", name) => kinds.find(name).map(JobSpec::Recover),
        _ => None,
    }
}

impl Ledger {
    /// Queues a job, or answers `None` when [`MAX_OPEN_JOBS`] wait or run, texts of imports that are
    /// being taken included.
    ///
    /// # Errors
    /// [`LedgerError`]. One whose answer was lost may be queued twice; jobs can run twice.
    pub async fn queue_job(
        &self,
        spec: &JobSpec,
        kinds: &Kinds,
    ) -> Result<Option<JobId>, LedgerError> {
        let words = &words(spec, kinds);
        self.retried(|| async move {
            let mut session = self.writing().await?;
            if !has_room(&mut session).await? {
                return Ok(None);
            }
            Ok(Some(insert(&mut session, words, 0).await?))
        })
        .await
    }

    /// A job, if it is known.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, LedgerError> {
        let sql = || {
            let mut sql = Sql::new(
                "SELECT id, spec, state, done, total, error, progress, rejections FROM jobs WHERE id = ?",
            );
            sql.bind(id);
            sql
        };
        let rows = self.read_rows(sql).await?;
        rows.first().map(job).transpose()
    }

    /// Takes the oldest job that waits, or whose node let its lease end.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn take_job(
        &self,
        owner: &str,
        length: Duration,
        kinds: &Kinds,
    ) -> Result<Option<TakenJob>, LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = take(&mut session, owner, length, kinds, self.manual_now()).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Writes down where a job is, and prolongs its lease. `false` when another node has it.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn note_progress(
        &self,
        job: &TakenJob,
        length: Duration,
    ) -> Result<bool, LedgerError> {
        self.note(job, None, Some(length)).await
    }

    /// As [`Ledger::note_progress`], with an import's rejected lines where there are new ones. The
    /// last step of an import ends its job in the same moment: it gives no length.
    pub(super) async fn note(
        &self,
        job: &TakenJob,
        rejections: Option<&[u8]>,
        length: Option<Duration>,
    ) -> Result<bool, LedgerError> {
        let given = job.progress.len();
        if given > MAX_PROGRESS_BYTES {
            let limit = MAX_PROGRESS_BYTES;
            return Err(LedgerError::TooMany {
                what: "bytes of progress",
                given,
                limit,
            });
        }
        self.retried(|| async move {
            let mut sql = Sql::new("UPDATE jobs SET done = ?, total = ?, progress = ?");
            sql.bind(job.done)
                .bind(job.total)
                .bind(job.progress.as_slice());
            if let Some(rejections) = rejections {
                sql.push(", rejections = ?").bind(rejections);
            }
            if let Some(length) = length {
                sql.push(", lease_until = ").push(NOW);
                sql.push(" + ? WHERE id = ? AND fence = ? AND state = 1");
                sql.bind(self.manual_now()).bind(micros(length));
            } else {
                // Fits also a repeat after a lost answer.
                sql.push(", state = 2, lease_until = 0 WHERE id = ? AND fence = ?");
            }
            sql.bind(job.id).bind(job.fence);
            Ok(self.writing().await?.run(sql).await? > 0)
        })
        .await
    }

    /// Gives a job back before its end, so that others need not wait for its lease to end.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn release_job(&self, job: &TakenJob) -> Result<(), LedgerError> {
        self.retried(|| async move {
            let mut sql = Sql::new(
                "UPDATE jobs SET lease_until = 0 WHERE id = ? AND fence = ? AND state = 1",
            );
            sql.bind(job.id).bind(job.fence);
            self.writing().await?.run(sql).await?;
            Ok(())
        })
        .await
    }

    /// Ends a job, well or with an error. `false` when another node has it.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn end_job(&self, job: &TakenJob, error: Option<&str>) -> Result<bool, LedgerError> {
        let text: &str = &error
            .unwrap_or_default()
            .chars()
            .take(MAX_ERROR_CHARS)
            .collect::<String>();
        let state = if error.is_some() { FAILED } else { DONE };
        self.retried(|| async move {
            // Fits also a repeat after a lost answer: the state is not asked for.
            let mut sql = Sql::new(
                "UPDATE jobs SET state = ?, done = ?, total = ?, error = ?, lease_until = 0 \
                 WHERE id = ? AND fence = ?",
            );
            sql.bind(state)
                .bind(job.done)
                .bind(job.total)
                .bind(text)
                .bind(job.id)
                .bind(job.fence);
            Ok(self.writing().await?.run(sql).await? > 0)
        })
        .await
    }
}

/// Whether fewer than [`MAX_OPEN_JOBS`] wait or run; a text that is being taken counts.
pub(super) async fn has_room(session: &mut Session) -> Result<bool, Failure> {
    let open = Sql::new(
        "SELECT (SELECT COUNT(*) FROM jobs WHERE state IN (0, 1)) + \
         (SELECT COUNT(*) FROM import_texts WHERE job = 0 AND text <> '')",
    );
    let row = session.first(open).await?;
    let open: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
    Ok(open < MAX_OPEN_JOBS as i64)
}

/// Adds a job that waits.
pub(super) async fn insert(
    session: &mut Session,
    words: &str,
    total: u64,
) -> Result<JobId, Failure> {
    let mut sql = Sql::new(
        "INSERT INTO jobs (spec, state, done, total, error, progress, rejections, owner, fence, \
         lease_until) VALUES (?, 0, 0, ?, '', '', '', '', 0, 0)",
    );
    sql.bind(words).bind(total);
    Ok(session.insert(sql).await?)
}

fn job(row: &MySqlRow) -> Result<Job, LedgerError> {
    let corrupt = |error: sqlx::Error| LedgerError::Corrupt(error.to_string());
    let words: String = row.try_get(1).map_err(corrupt)?;
    let mut job = columns(row, &words).map_err(corrupt)?;
    if let Some(import) = ImportWork::parse(&words) {
        job.job = format!("import {}", import.format.media_type());
        let progress: Vec<u8> = row.try_get(6).map_err(corrupt)?;
        let rejections: Vec<u8> = row.try_get(7).map_err(corrupt)?;
        let progress = ImportProgress::unpack(&progress, &rejections)?;
        job.import = Some(progress.summary);
    }
    Ok(job)
}

fn columns(row: &MySqlRow, words: &str) -> Result<Job, sqlx::Error> {
    let error: String = row.try_get(5)?;
    let state = match row.try_get::<u8, _>(2)? {
        QUEUED => JobState::Queued,
        RUNNING => JobState::Running,
        DONE => JobState::Done,
        _ => JobState::Failed,
    };
    Ok(Job {
        id: row.try_get(0)?,
        job: words.replacen('-', " ", 1),
        state,
        done: row.try_get(3)?,
        total: row.try_get(4)?,
        error: (state == JobState::Failed).then_some(error),
        import: None,
    })
}

async fn take(
    session: &mut Session,
    owner: &str,
    length: Duration,
    kinds: &Kinds,
    now: Option<u64>,
) -> Result<Option<TakenJob>, Failure> {
    session.begin("START TRANSACTION").await?;
    let mut sql = Sql::new(
        "SELECT id, spec, fence, done, total, progress, rejections FROM jobs WHERE state IN (0, 1) AND \
         lease_until <= ",
    );
    sql.push(NOW)
        .push(" ORDER BY id LIMIT 1 FOR UPDATE")
        .bind(now);
    let Some(row) = session.first(sql).await? else {
        session.roll_back().await;
        return Ok(None);
    };
    let taken = TakenJob {
        id: row.try_get(0)?,
        work: read_words(row.try_get(1)?, kinds),
        fence: row.try_get::<u64, _>(2)? + 1,
        done: row.try_get(3)?,
        total: row.try_get(4)?,
        progress: row.try_get(5)?,
        rejections: row.try_get(6)?,
    };
    let mut sql = Sql::new("UPDATE jobs SET state = 1, owner = ?, fence = ?, lease_until = ");
    sql.push(NOW).push(" + ? WHERE id = ?");
    sql.bind(owner.as_bytes())
        .bind(taken.fence)
        .bind(now)
        .bind(micros(length))
        .bind(taken.id);
    session.run(sql).await?;
    session.commit().await?;
    Ok(Some(taken))
}
