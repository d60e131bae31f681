//! One connection while something is done with it, and the statements that run on it.
//!
//! Invariants:
//! - The text of a statement is put together from pieces of the program only ([`Sql`] takes nothing
//!   but `&'static str`); every value is a parameter. So no id can change what a statement does.
//! - Every statement ends in bounded time: the server's own limit first, the client's a little
//!   later, for a server that does not answer at all.
//! - A connection whose transaction or statement did not end (an error, a time-out, a dropped
//!   future) is closed and never goes back to the pool, so nobody else inherits its transaction.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::pool::PoolConnection;
use sqlx::{Arguments, AssertSqlSafe, Encode, MySql, MySqlPool, Type};

use super::error::Failure;

/// A statement and its parameters.
#[derive(Default)]
pub(crate) struct Sql {
    text: String,
    arguments: MySqlArguments,
}

impl Sql {
    pub fn new(text: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            arguments: MySqlArguments::default(),
        }
    }

    pub fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// `row`, as often as there are rows, with commas between.
    pub fn rows(&mut self, row: &'static str, rows: usize) -> &mut Self {
        self.text.reserve(rows * (row.len() + 1));
        for n in 0..rows {
            if n > 0 {
                self.text.push(',');
            }
            self.text.push_str(row);
        }
        self
    }

    pub fn bind<'v, T>(&mut self, value: T) -> &mut Self
    where
        T: Encode<'v, MySql> + Type<MySql>,
    {
        // Numbers and bytes always encode.
        let added = self.arguments.add(value);
        debug_assert!(added.is_ok());
        self
    }

    /// Asks how the server would run it.
    #[cfg(test)]
    pub fn explained(mut self) -> Self {
        self.text.insert_str(0, "EXPLAIN ");
        self
    }

    #[cfg(test)]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A connection in use.
pub(crate) struct Session {
    conn: Option<PoolConnection<MySql>>,
    /// A transaction or a statement has begun and not ended.
    unfinished: bool,
    in_transaction: bool,
    limit: Duration,
}

impl Session {
    /// Takes a connection out of a pool. `limit` bounds every statement on the client's side.
    pub async fn new(pool: &MySqlPool, limit: Duration) -> Result<Self, sqlx::Error> {
        let conn = pool.acquire().await?;
        Ok(Self {
            conn: Some(conn),
            unfinished: false,
            in_transaction: false,
            limit,
        })
    }

    /// Runs a statement and takes all its rows.
    pub async fn all(&mut self, sql: Sql) -> Result<Vec<MySqlRow>, sqlx::Error> {
        let query = sqlx::query_with(AssertSqlSafe(sql.text), sql.arguments);
        let limit = self.limit;
        let conn = self.start()?;
        let rows = within(limit, query.fetch_all(&mut **conn)).await;
        self.end(rows)
    }

    /// Runs a statement and takes its first row.
    pub async fn first(&mut self, sql: Sql) -> Result<Option<MySqlRow>, sqlx::Error> {
        Ok(self.all(sql).await?.into_iter().next())
    }

    /// Runs a statement and takes the number of rows that it matched.
    pub async fn run(&mut self, sql: Sql) -> Result<u64, sqlx::Error> {
        let query = sqlx::query_with(AssertSqlSafe(sql.text), sql.arguments);
        let limit = self.limit;
        let conn = self.start()?;
        let done = within(limit, query.execute(&mut **conn)).await;
        self.end(done).map(|done| done.rows_affected())
    }

    /// Runs a statement that adds a row and takes the number given to it.
    pub async fn insert(&mut self, sql: Sql) -> Result<u64, sqlx::Error> {
        let query = sqlx::query_with(AssertSqlSafe(sql.text), sql.arguments);
        let limit = self.limit;
        let conn = self.start()?;
        let done = within(limit, query.execute(&mut **conn)).await;
        self.end(done).map(|done| done.last_insert_id())
    }

    /// Begins a transaction. `text` is `START TRANSACTION` with its options.
    pub async fn begin(&mut self, text: &'static str) -> Result<(), sqlx::Error> {
        self.in_transaction = true;
        self.plain(text).await
    }

    /// Ends the transaction. An error leaves open whether it was committed.
    pub async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.plain("COMMIT").await?;
        self.in_transaction = false;
        Ok(())
    }

    /// Gives the transaction up, and keeps the connection if the server agrees.
    pub async fn roll_back(&mut self) {
        if self.in_transaction && self.plain("ROLLBACK").await.is_ok() {
            self.in_transaction = false;
        }
    }

    async fn plain(&mut self, text: &'static str) -> Result<(), sqlx::Error> {
        let limit = self.limit;
        let conn = self.start()?;
        let done = within(limit, sqlx::raw_sql(text).execute(&mut **conn)).await;
        self.end(done).map(|_| ())
    }

    fn start(&mut self) -> Result<&mut PoolConnection<MySql>, sqlx::Error> {
        if self.unfinished {
            return Err(lost("the connection was given up"));
        }
        self.unfinished = true;
        self.conn
            .as_mut()
            .ok_or_else(|| lost("the connection was given up"))
    }

    fn end<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        // After an answer of the server, also a refusal, the connection is in step.
        self.unfinished = !matches!(outcome, Ok(_) | Err(sqlx::Error::Database(_)));
        outcome
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.unfinished || self.in_transaction {
            // Detached and dropped: the socket closes and the server rolls back.
            drop(self.conn.take().map(PoolConnection::detach));
        }
    }
}

/// The connection of one who applies batch after batch, between two of them. The pool asks the
/// server whether a connection is alive when it is taken and again when it is given back; while
/// batches wait neither is of use.
#[derive(Default)]
pub struct Kept(Mutex<Option<Session>>);

impl Kept {
    pub(super) fn take(&self) -> Option<Session> {
        self.0.lock().take()
    }

    pub(super) fn keep(&self, session: Session) {
        *self.0.lock() = Some(session);
    }
}

fn lost(why: &'static str) -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::NotConnected, why))
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let text = format!("no answer in {limit:?}");
            Err(sqlx::Error::Io(io::Error::new(
                io::ErrorKind::TimedOut,
                text,
            )))
        }
    }
}

/// Rolls back after a failed attempt, so that the connection can be used again.
pub(crate) async fn give_up<T>(
    session: &mut Session,
    outcome: Result<T, Failure>,
) -> Result<T, Failure> {
    if outcome.is_err() {
        session.roll_back().await;
    }
    outcome
}

/// The number of rows in the statements that carry many: each is prepared once a connection, so
/// there are few of them, and any number of rows is the sum of a few.
const ROWS_A_STATEMENT: [usize; 13] = [128, 96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 2, 1];

/// Parts of `rows`, in order, each of one of [`ROWS_A_STATEMENT`].
pub(crate) fn parts<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = ROWS_A_STATEMENT
            .into_iter()
            .find(|size| *size <= rows.len())?;
        let (part, rest) = rows.split_at(size);
        rows = rest;
        Some(part)
    })
}

/// How many rows a statement may be given twice so that there need not be another one: about as
/// many as cost what a statement does.
const MAX_REPEATED_ROWS: usize = 8;

/// As [`parts`], but fewer: where a few rows are left, or a few more would make the next size, the
/// last one stands again in their place. For statements to which a row given twice is a row given
/// once.
pub(crate) fn filled_parts<T: Copy>(mut rows: &[T]) -> impl Iterator<Item = Cow<'_, [T]>> {
    std::iter::from_fn(move || {
        let last = *rows.last()?;
        let given = rows.len();
        let next = ROWS_A_STATEMENT.into_iter().rfind(|size| *size >= given);
        if let Some(size) = next.filter(|size| size - given <= MAX_REPEATED_ROWS) {
            let mut part = Cow::Borrowed(std::mem::take(&mut rows));
            if size > given {
                part.to_mut().resize(size, last);
            }
            return Some(part);
        }
        let part = parts(rows).next()?;
        rows = &rows[part.len()..];
        Some(Cow::Borrowed(part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_parts_are_the_whole_and_few() {
        for length in 0..1_200 {
            let rows: Vec<usize> = (0..length).collect();
            let filled: Vec<Vec<usize>> = filled_parts(&rows).map(Cow::into_owned).collect();
            let mut joined = filled.concat();
            assert!(joined.len() - length <= MAX_REPEATED_ROWS, "{length}");
            joined.dedup();
            assert_eq!(joined, rows);
            let is_known = |part: &Vec<usize>| ROWS_A_STATEMENT.contains(&part.len());
            assert!(filled.iter().all(is_known), "{length}");
            assert!(filled.len() <= length / 128 + 2, "{length}");
        }
    }

    #[test]
    fn as_many_rows_as_may_be_repeated_are() {
        let sizes = |rows: usize| -> Vec<usize> {
            let rows = vec![0; rows];
            filled_parts(&rows).map(|part| part.len()).collect()
        };
        assert_eq!(sizes(48 - MAX_REPEATED_ROWS), [48]);
        assert_eq!(sizes(48 - MAX_REPEATED_ROWS - 1), [32, 8]);
        assert_eq!(sizes(128), [128]);
        assert_eq!(sizes(129), [128, 1]);
    }

    #[test]
    fn parts_are_the_whole() {
        for length in 0..1_200 {
            let rows: Vec<usize> = (0..length).collect();
            let joined: Vec<usize> = parts(&rows).flatten().copied().collect();
            assert_eq!(joined, rows);
            assert!(parts(&rows).count() <= 9 + 4, "{length}");
        }
    }

    #[test]
    fn the_text_holds_no_values() {
        let mut sql = Sql::new("SELECT 1 WHERE a = ? AND b IN (");
        sql.bind("'; DROP TABLE edges; --".as_bytes())
            .rows("?", 3)
            .push(")");
        assert_eq!(sql.text(), "SELECT 1 WHERE a = ? AND b IN (?,?,?)");
    }
}
