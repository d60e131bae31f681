//! A ledger that is rebuilt from what the bus still has: its beginning and its end. In between its
//! rows come by [`Ledger::record`], as all that a bus brings.
//!
//! 1. [`Ledger::begin_rebuild`] marks an empty database: nothing opens it before the end.
//! 2. [`Ledger::make_rebuilt_store`] makes the store under the id that its events name, and holds
//!    its partitions so that no worker takes one. Or all of an older ledger is copied there
//!    ([`Ledger::copy_to`]), then held ([`Ledger::hold_rebuilt`]).
//! 3. [`Ledger::finish_rebuild`] gives the partitions free and opens the ledger.
//!
//! At the end no server has a seat, and something is carried: so the first node takes every seat
//! anew, in a later turn than any before, after everything that is still on the bus came into the
//! ledger ([`super::carry`]). What Redis has is kept where it is not behind the ledger.

use acclaim_core::Rev;
use sqlx::Row;

use super::error::{Failure, LedgerError};
use super::lease::NOW;
use super::moving::MARK;
use super::pools::Ledger;
use super::session::{Session, Sql, give_up};
use super::store::{create, first_rows};

/// Whom the partitions of a ledger belong to that is being rebuilt.
const OWNER: &str = "acclaim replay";
/// The value of [`MARK`] meanwhile.
pub(super) const REBUILT: &str = "rebuilt";
/// The row of `meta` that says how far it is.
pub(super) const PROGRESS: &str = "replay";
/// For ever, in the words of a lease.
const EVER: u64 = u64::MAX >> 1;

/// A rebuild that has begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuild {
    /// Tells it from others: the group that reads the bus for it.
    pub token: String,
    /// Whether an older ledger was copied, as far as it is to be.
    pub is_copied: bool,
    /// From when on the bus is read.
    pub from: Rev,
}

/// How far a partition of a ledger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    /// The partition.
    pub partition: u16,
    /// Its epoch.
    pub epoch: u32,
    /// Everything of the journal is there up to here.
    pub applied: Rev,
    /// Something is there up to here, where that is beyond `applied`.
    pub reached: Rev,
    /// Turns of the seat below this one are closed.
    pub closed: u64,
    /// The turn of the seat.
    pub turn: u64,
    /// The life.
    pub life: u32,
}

/// How a partition ends that was rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebuiltEnd {
    /// The partition.
    pub partition: u16,
    /// The last place that came.
    pub upto: Rev,
    /// The highest turn that was met.
    pub turn: u64,
    /// The life that Redis is in.
    pub life: u32,
}

impl Rebuild {
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let rebuild = Self {
            token: words.next()?.to_owned(),
            is_copied: words.next()? == "copied",
            from: Rev(words.next()?.parse().ok()?),
        };
        words.next().is_none().then_some(rebuild)
    }

    fn text(&self) -> String {
        let phase = if self.is_copied { "copied" } else { "begun" };
        format!("{} {phase} {}", self.token, self.from.0)
    }
}

impl Ledger {
    /// Whether there are tables.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn has_tables(&self) -> Result<bool, LedgerError> {
        self.retried(|| async move {
            let sql = Sql::new(
                "SELECT 1 FROM information_schema.tables \
                 WHERE table_schema = DATABASE() AND table_name = 'meta'",
            );
            Ok(self.writing().await?.first(sql).await?.is_some())
        })
        .await
    }

    /// The rebuild that has begun here and not ended, if one has.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn rebuild(&self) -> Result<Option<Rebuild>, LedgerError> {
        self.retried(|| async move { rebuild(&mut self.writing().await?).await })
            .await
    }

    /// Marks an empty ledger as one that is rebuilt, or finds that this was done.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] where there is a store.
    pub async fn begin_rebuild(&self, token: &str, from: Rev) -> Result<Rebuild, LedgerError> {
        let new = &Rebuild {
            token: token.to_owned(),
            is_copied: false,
            from,
        };
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = begin(&mut session, new).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Writes down how far a rebuild is.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn note_rebuild(&self, rebuild: &Rebuild) -> Result<(), LedgerError> {
        self.retried(|| async move {
            let mut sql = Sql::new("UPDATE meta SET value = ? WHERE name = ?");
            sql.bind(rebuild.text().into_bytes())
                .bind(PROGRESS.as_bytes());
            self.writing().await?.run(sql).await?;
            Ok(())
        })
        .await
    }

    /// Makes the store of a ledger that is rebuilt, if there is none.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn make_rebuilt_store(
        &self,
        id: [u8; 16],
        partitions: u16,
    ) -> Result<(), LedgerError> {
        let rows = &first_rows(id, partitions);
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = create(&mut session, rows, partitions).await;
            give_up(&mut session, outcome).await
        })
        .await?;
        self.hold_rebuilt().await
    }

    /// Takes every partition, so that no worker does.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn hold_rebuilt(&self) -> Result<(), LedgerError> {
        self.retried(|| async move {
            let mut sql = Sql::new(
                "UPDATE partitions SET fence = fence + 1, owner = ?, lease_until = ? \
                 WHERE owner <> ?",
            );
            sql.bind(OWNER.as_bytes()).bind(EVER).bind(OWNER.as_bytes());
            self.writing().await?.run(sql).await?;
            Ok(())
        })
        .await
    }

    /// The id of the store, whether or not the ledger may be opened.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn store_id(&self) -> Result<Option<String>, LedgerError> {
        self.retried(|| async move {
            let sql = Sql::new("SELECT value FROM meta WHERE name = 'store'");
            let row = self.writing().await?.first(sql).await?;
            let value: Option<Vec<u8>> = row.map(|row| row.try_get(0)).transpose()?;
            Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
        })
        .await
    }

    /// How far every partition is.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn stands(&self) -> Result<Vec<Stand>, LedgerError> {
        self.retried(|| async move {
            let sql = Sql::new(
                "SELECT n, epoch, applied, reached, closed, turn, life FROM partitions ORDER BY n",
            );
            let rows = self.writing().await?.all(sql).await?;
            rows.iter()
                .map(|row| {
                    Ok(Stand {
                        partition: row.try_get(0)?,
                        epoch: row.try_get(1)?,
                        applied: Rev(row.try_get(2)?),
                        reached: Rev(row.try_get(3)?),
                        closed: row.try_get(4)?,
                        turn: row.try_get(5)?,
                        life: row.try_get(6)?,
                    })
                })
                .collect()
        })
        .await
    }

    /// Notes what was met of turns and lives in a partition that is rebuilt.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn note_turns(
        &self,
        partition: u16,
        turn: u64,
        closed: u64,
        life: u32,
    ) -> Result<(), LedgerError> {
        self.retried(|| async move {
            let mut sql = Sql::new(
                "UPDATE partitions SET turn = GREATEST(turn, ?), closed = GREATEST(closed, ?), \
                 life = GREATEST(life, ?) WHERE n = ?",
            );
            sql.bind(turn).bind(closed).bind(life).bind(partition);
            self.writing().await?.run(sql).await?;
            Ok(())
        })
        .await
    }

    /// Lifts a ledger that is rebuilt to an epoch.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn lift_to_epoch(&self, epoch: u32) -> Result<(), LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = lift(&mut session, epoch).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Gives the partitions free and opens the ledger.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn finish_rebuild(&self, ends: &[RebuiltEnd]) -> Result<(), LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = finish(&mut session, ends).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Takes the mark away from a database that stayed empty.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn abandon_rebuild(&self) -> Result<(), LedgerError> {
        self.finish_rebuild(&[]).await
    }

    /// Who works on this ledger now, if anybody does: a worker, or the holder of a partition.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn at_work(&self) -> Result<Option<String>, LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let mut sql = Sql::new("SELECT name FROM workers WHERE alive_until > ");
            sql.push(NOW).bind(self.manual_now());
            sql.push(" UNION SELECT owner FROM partitions WHERE owner NOT IN ('', ?) ")
                .bind(OWNER.as_bytes());
            sql.push("AND lease_until > ").push(NOW);
            sql.bind(self.manual_now()).push(" LIMIT 1");
            let row = session.first(sql).await?;
            let name: Option<Vec<u8>> = row.map(|row| row.try_get(0)).transpose()?;
            Ok(name.map(|name| String::from_utf8_lossy(&name).into_owned()))
        })
        .await
    }
}

async fn rebuild(session: &mut Session) -> Result<Option<Rebuild>, Failure> {
    let mut sql = Sql::new("SELECT value FROM meta WHERE name = ?");
    sql.bind(PROGRESS.as_bytes());
    let row = session.first(sql).await?;
    let value: Option<Vec<u8>> = row.map(|row| row.try_get(0)).transpose()?;
    let Some(value) = value else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&value);
    let read = Rebuild::read(&text);
    let corrupt = || LedgerError::Corrupt(format!("meta's row {PROGRESS:?} holds {text:?}"));
    Ok(Some(read.ok_or_else(corrupt)?))
}

async fn begin(session: &mut Session, new: &Rebuild) -> Result<Rebuild, Failure> {
    session.begin("START TRANSACTION").await?;
    let sql = Sql::new("SELECT name FROM meta WHERE name <> 'dictionary' FOR UPDATE");
    let is_empty = session.all(sql).await?.is_empty();
    if let Some(begun) = rebuild(session).await? {
        session.roll_back().await;
        return Ok(begun);
    }
    if !is_empty {
        let why = "there is a store in this ledger already".to_owned();
        return Err(LedgerError::Refused(why).into());
    }
    let mut sql = Sql::new("INSERT INTO meta (name, value) VALUES (?, ?), (?, ?)");
    sql.bind(MARK.as_bytes()).bind(REBUILT.as_bytes());
    sql.bind(PROGRESS.as_bytes()).bind(new.text().into_bytes());
    session.run(sql).await?;
    session.commit().await?;
    Ok(new.clone())
}

async fn lift(session: &mut Session, epoch: u32) -> Result<(), Failure> {
    session.begin("START TRANSACTION").await?;
    let mut sql = Sql::new(
        "UPDATE meta SET value = ? WHERE name = 'epoch' \
         AND CAST(CAST(value AS CHAR) AS UNSIGNED) < ?",
    );
    sql.bind(epoch.to_string().into_bytes()).bind(epoch);
    session.run(sql).await?;
    let mut sql = Sql::new("UPDATE partitions SET epoch = ? WHERE epoch < ?");
    sql.bind(epoch).bind(epoch);
    session.run(sql).await?;
    session.commit().await?;
    Ok(())
}

async fn finish(session: &mut Session, ends: &[RebuiltEnd]) -> Result<(), Failure> {
    session.begin("START TRANSACTION").await?;
    for end in ends {
        let mut sql = Sql::new(
            "UPDATE partitions SET applied = GREATEST(applied, reached, ?), \
             turn = GREATEST(turn, ?), life = ?, seat = '', passed = 0, carried = 1, closing = 0, \
             fence = fence + 1, owner = '', lease_until = 0 WHERE n = ?",
        );
        sql.bind(end.upto.0)
            .bind(end.turn)
            .bind(end.life)
            .bind(end.partition);
        session.run(sql).await?;
    }
    let mut sql = Sql::new("DELETE FROM meta WHERE name = ? OR (name = ? AND value = ?)");
    sql.bind(PROGRESS.as_bytes())
        .bind(MARK.as_bytes())
        .bind(REBUILT.as_bytes());
    session.run(sql).await?;
    session.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reads_back() {
        for is_copied in [false, true] {
            let rebuild = Rebuild {
                token: "acclaim-replay-1".to_owned(),
                is_copied,
                from: Rev(17),
            };
            assert_eq!(Rebuild::read(&rebuild.text()), Some(rebuild));
        }
        for text in ["", "t", "t copied", "t begun x", "t begun 1 2"] {
            assert_eq!(Rebuild::read(text), None, "{text:?}");
        }
    }
}
