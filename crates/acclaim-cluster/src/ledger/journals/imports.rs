//! Imports as jobs: their words in the ledger, and how far they are.
//!
//! Everything that decides how a text is cut into steps stands in the job's words: so whichever
//! node goes on reads the same ops in the same step.

use std::fmt;

use acclaim_core::Rev;
use acclaim_core::port::JobId;
use acclaim_core::transfer::{Format, Place, Summary};
use serde::{Deserialize, Serialize};
use sqlx::Row;

use super::jobs::{TakenJob, insert};
use super::texts::TextId;
use crate::ledger::error::{Failure, LedgerError};
use crate::ledger::pools::Ledger;
use crate::ledger::session::{Session, Sql, give_up};

/// Stands for a default that was not given. Neither kinds nor types are named so.
const NONE: &str = "*";

/// An import of a text that lies in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportWork {
    /// The text.
    pub text: TextId,
    /// How edges are written down in it.
    pub format: Format,
    /// The kind of lines that name none, by name: its place is a process's own.
    pub kind: Option<String>,
    /// The target type of lines that name none.
    pub target_type: Option<String>,
    /// When the text was taken, by which the times in it are judged.
    pub taken: Rev,
    /// Lines of one step.
    pub step_lines: u32,
}

impl ImportWork {
    /// Reads the words of a job, if they are those of an import.
    pub(super) fn parse(words: &str) -> Option<Self> {
        let mut words = words.strip_prefix("import ")?.split(' ');
        let mut next = || words.next();
        let given = |word: &str| (word != NONE).then(|| word.to_owned());
        Some(Self {
            format: match next()? {
                "ndjson" => Format::Ndjson,
                "csv" => Format::Csv,
                _ => return None,
            },
            text: TextId::parse(next()?)?,
            taken: Rev(next()?.parse().ok()?),
            step_lines: next()?.parse().ok()?,
            kind: given(next()?),
            target_type: given(next()?),
        })
    }
}

impl fmt::Display for ImportWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.format {
            Format::Ndjson => "ndjson",
            Format::Csv => "csv",
        };
        let kind = self.kind.as_deref().unwrap_or(NONE);
        let target_type = self.target_type.as_deref().unwrap_or(NONE);
        let (text, taken, lines) = (self.text, self.taken.0, self.step_lines);
        write!(
            f,
            "import {format} {text} {taken} {lines} {kind} {target_type}"
        )
    }
}

/// How far an import got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportProgress {
    /// The end of what was read.
    pub place: Place,
    /// What became of the lines so far.
    pub summary: Summary,
}

impl ImportProgress {
    /// Reads what a job has in its two columns.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`].
    pub fn unpack(progress: &[u8], rejections: &[u8]) -> Result<Self, LedgerError> {
        let corrupt = |error: serde_json::Error| {
            LedgerError::Corrupt(format!("the progress of an import: {error}"))
        };
        if progress.is_empty() {
            return Ok(Self::default());
        }
        let mut read: Self = serde_json::from_slice(progress).map_err(corrupt)?;
        if !rejections.is_empty() {
            read.summary.rejections = serde_json::from_slice(rejections).map_err(corrupt)?;
        }
        Ok(read)
    }

    /// The two columns: the rejected lines are long and change rarely.
    fn pack(&self) -> (Vec<u8>, Vec<u8>) {
        let counts = Self {
            place: self.place,
            summary: Summary {
                rejections: Vec::new(),
                ..self.summary
            },
        };
        // Numbers and texts always serialize.
        let progress = serde_json::to_vec(&counts).unwrap_or_default();
        let rejections = serde_json::to_vec(&self.summary.rejections).unwrap_or_default();
        (progress, rejections)
    }
}

impl Ledger {
    /// Queues the import of a text that is complete. `None` when the text is not there any more,
    /// as after a long silence.
    ///
    /// # Errors
    /// [`LedgerError`]. It is queued once, however often it is asked for.
    pub async fn queue_import(&self, work: &ImportWork) -> Result<Option<JobId>, LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = queue(&mut session, work).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Writes down how far an import is, and prolongs its lease, or ends it where no `length` is
    /// given. `false` when another node has it.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn note_import(
        &self,
        job: &mut TakenJob,
        progress: &ImportProgress,
        length: Option<std::time::Duration>,
    ) -> Result<bool, LedgerError> {
        let (packed, rejections) = progress.pack();
        job.progress = packed;
        job.done = progress.place.bytes;
        if length.is_none() {
            job.done = job.total;
        }
        let is_new = job.rejections != rejections;
        job.rejections = rejections;
        let new = is_new.then_some(job.rejections.as_slice());
        self.note(job, new, length).await
    }
}

async fn queue(session: &mut Session, work: &ImportWork) -> Result<Option<JobId>, Failure> {
    session.begin("START TRANSACTION").await?;
    let mut sql = Sql::new("SELECT job, bytes FROM import_texts WHERE text = ? FOR UPDATE");
    sql.bind(work.text.column());
    let row = session.first(sql).await?;
    let found: Option<(u64, u64)> = row
        .map(|row| Ok::<_, sqlx::Error>((row.try_get(0)?, row.try_get(1)?)))
        .transpose()?;
    let outcome = match found {
        Some((0, bytes)) => {
            let id = insert(session, &work.to_string(), bytes).await?;
            let mut sql = Sql::new("UPDATE import_texts SET job = ? WHERE text = ?");
            sql.bind(id).bind(work.text.column());
            session.run(sql).await?;
            Some(id)
        }
        // An earlier attempt did it, and its answer was lost.
        Some((job, _)) if job != super::texts::GOING => Some(job),
        _ => None,
    };
    session.commit().await?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::journals::jobs::MAX_PROGRESS_BYTES;

    #[test]
    fn words_come_back_and_fit() {
        let longest = ImportWork {
            text: TextId::new(),
            format: Format::Ndjson,
            kind: Some("k".repeat(32)),
            target_type: Some("T".repeat(32)),
            taken: Rev::MAX,
            step_lines: u32::MAX,
        };
        let shortest = ImportWork {
            format: Format::Csv,
            kind: None,
            target_type: None,
            ..longest.clone()
        };
        for work in [longest, shortest] {
            let words = work.to_string();
            assert!(words.len() <= 255, "{words}");
            assert_eq!(ImportWork::parse(&words), Some(work));
        }
        assert_eq!(ImportWork::parse("erase-user 1"), None);
    }

    #[test]
    fn the_longest_progress_fits() {
        let place = r#"{"bytes":18446744073709551615,"line_feeds":18446744073709551615,"header_bytes":18446744073709551615}"#;
        let progress = ImportProgress {
            place: serde_json::from_str(place).unwrap(),
            summary: Summary {
                lines: u64::MAX,
                set: u64::MAX,
                unchanged: u64::MAX,
                rejected: u64::MAX,
                rejections: Vec::new(),
            },
        };
        let (packed, rejections) = progress.pack();
        assert!(packed.len() <= MAX_PROGRESS_BYTES);
        assert_eq!(
            ImportProgress::unpack(&packed, &rejections).unwrap(),
            progress
        );
    }
}
