//! Notifications and webhooks, as records by key: `acclaim-core` says what they mean.
//!
//! A batch is one transaction. What it expects to be there is locked and compared; what it expects
//! not to be there is inserted, which waits for whoever inserts the same and then finds it, and
//! removed again where nothing is to stay. So a batch that was overtaken by anything that it read
//! changes nothing, whichever node overtook it.
//!
//! A batch under a duty locks the duty's row first and compares the fence; so does one that wakes,
//! which counts there. Locks are taken in one order: that row, then records in the order of their
//! table.
//!
//! Keys of one sort rise (the deliveries of an endpoint, dead letters), so the table is spread over
//! [`SHARDS`] by a hash of the whole key, and a scan merges as many ranges.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use acclaim_core::notify::{Batch, Key, Record};
use sqlx::Row;

use super::error::{Failure, LedgerError};
use super::moving::IS_MOVED;
use super::pools::Ledger;
use super::session::{Session, Sql, give_up, parts};
use crate::failpoint;

/// The ranges that the records are spread over.
pub const SHARDS: u8 = 4;
/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 255;
/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// Bytes that one batch writes.
pub const MAX_BATCH_BYTES: usize = 64 << 20;
/// Bytes of values in one statement, unless a single one has more.
const STATEMENT_BYTES: usize = 1 << 20;
/// Records of one answer.
const MAX_SCAN_RECORDS: usize = 1 << 30;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is written; how often somebody was woken by then, where it woke.
    Written(Option<u64>),
    /// A record was not what was expected. Nothing is written.
    Conflict,
    /// The duty is somebody else's. Nothing is written.
    Displaced,
}

/// Why a batch was not written, or may have been.
#[derive(Debug)]
pub struct NotNoted {
    /// What went wrong.
    pub error: LedgerError,
    /// Whether it may have been written all the same.
    pub is_open: bool,
}

fn shard(key: &[u8]) -> u8 {
    // The remainder is less than a byte.
    (crc32fast::hash(key) % u32::from(SHARDS)) as u8
}

fn in_table_order(keys: &mut [&Key]) {
    keys.sort_unstable_by_key(|key| (shard(key), *key));
}

impl Ledger {
    /// The values of these keys, in order.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn notes(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, LedgerError> {
        let mut wanted: Vec<&Key> = keys.iter().collect();
        in_table_order(&mut wanted);
        wanted.dedup();
        let mut found: BTreeMap<Key, Vec<u8>> = BTreeMap::new();
        for part in parts(&wanted) {
            let rows = self.read_rows(|| by_key(part, ""));
            for row in rows.await? {
                let (key, value) = record(&row).map_err(corrupt)?;
                found.insert(key, value);
            }
        }
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    /// Up to `max` records whose keys begin with `prefix` and come after `after`, in key order.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn notes_after(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Record>, LedgerError> {
        let sql = || scan(prefix, after, max.min(MAX_SCAN_RECORDS));
        let rows = self.read_rows(sql).await?;
        let records: Result<Vec<Record>, sqlx::Error> = rows.iter().map(record).collect();
        records.map_err(corrupt)
    }

    /// Writes a batch, if everything is as it expects.
    ///
    /// # Errors
    /// [`NotNoted`].
    pub async fn write_notes(&self, batch: Batch) -> Result<Noted, NotNoted> {
        let closed = |error| NotNoted {
            error,
            is_open: false,
        };
        check(&batch).map_err(closed)?;
        let Some(plan) = &Plan::of(batch) else {
            return Ok(Noted::Conflict);
        };
        // Whether the answer to a COMMIT was lost: then it is looked whether it took effect.
        let is_open = &AtomicBool::new(false);
        let written = self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = write(&mut session, plan, is_open).await;
            give_up(&mut session, outcome).await
        });
        written.await.map_err(|error| NotNoted {
            error,
            is_open: is_open.load(Ordering::Relaxed),
        })
    }
}

fn corrupt(error: sqlx::Error) -> LedgerError {
    LedgerError::Corrupt(error.to_string())
}

fn check(batch: &Batch) -> Result<(), LedgerError> {
    let too_many = |what, given, limit| LedgerError::TooMany { what, given, limit };
    let mut bytes = 0;
    for (key, value) in batch.writes.iter().chain(&batch.expected) {
        if key.len() > MAX_KEY_BYTES {
            return Err(too_many("bytes of a key", key.len(), MAX_KEY_BYTES));
        }
        let length = value.as_ref().map_or(0, Vec::len);
        if length > MAX_VALUE_BYTES {
            return Err(too_many("bytes of a value", length, MAX_VALUE_BYTES));
        }
        bytes += key.len() + length;
    }
    if bytes > MAX_BATCH_BYTES {
        return Err(too_many("bytes of a batch", bytes, MAX_BATCH_BYTES));
    }
    Ok(())
}

/// A batch by what is to be done.
struct Plan {
    duty: Option<u64>,
    wakes: bool,
    /// What must be there, and be this.
    present: BTreeMap<Key, Vec<u8>>,
    /// What must not be there, with what it becomes, or nothing.
    absent: BTreeMap<Key, Option<Vec<u8>>>,
    /// Everything that changes; `None` goes.
    writes: BTreeMap<Key, Option<Vec<u8>>>,
}

impl Plan {
    /// `None` where two things are expected of one record.
    fn of(batch: Batch) -> Option<Self> {
        let writes: BTreeMap<Key, Option<Vec<u8>>> = batch.writes.into_iter().collect();
        let (mut present, mut absent) = (BTreeMap::new(), BTreeMap::new());
        for (key, value) in batch.expected {
            match value {
                Some(value) => {
                    if let Some(other) = present.insert(key, value.clone())
                        && other != value
                    {
                        return None;
                    }
                }
                None => {
                    let becomes = writes.get(&key).cloned().flatten();
                    absent.insert(key, becomes);
                }
            }
        }
        let is_contrary = absent.keys().any(|key| present.contains_key(key));
        (!is_contrary).then_some(Self {
            duty: batch.duty,
            wakes: batch.wakes,
            present,
            absent,
            writes,
        })
    }

    fn put(&self) -> Vec<(&Key, &[u8])> {
        let new = self.writes.iter();
        let new = new.filter(|(key, _)| !self.absent.contains_key(*key));
        let mut new: Vec<_> = new
            .filter_map(|(key, value)| Some((key, value.as_deref()?)))
            .collect();
        new.sort_unstable_by_key(|(key, _)| (shard(key), *key));
        new
    }

    fn removed(&self) -> Vec<&Key> {
        let gone = self.writes.iter().filter(|(_, value)| value.is_none());
        let gone = gone.map(|(key, _)| key);
        let gone = gone.filter(|key| !self.absent.contains_key(*key));
        let held = self.absent.iter().filter(|(_, value)| value.is_none());
        let mut gone: Vec<&Key> = gone.chain(held.map(|(key, _)| key)).collect();
        in_table_order(&mut gone);
        gone
    }
}

async fn write(session: &mut Session, plan: &Plan, is_open: &AtomicBool) -> Result<Noted, Failure> {
    session.begin("START TRANSACTION").await?;
    if plan.duty.is_some() || plan.wakes {
        let sql = Sql::new("SELECT fence FROM duties WHERE name = 'notifications' FOR UPDATE");
        let row = session.first(sql).await?;
        let fence: u64 = row.map_or(Ok(0), |row| row.try_get(0))?;
        if plan.duty.is_some_and(|ours| ours != fence) {
            session.roll_back().await;
            return Ok(Noted::Displaced);
        }
    }
    refuse_where_moved(session).await?;
    if !is_as_expected(session, plan).await? || !insert(session, plan).await? {
        let is_ours = is_open.load(Ordering::Relaxed) && stands(session, plan).await?;
        session.roll_back().await;
        return Ok(match is_ours {
            true => Noted::Written(None),
            false => Noted::Conflict,
        });
    }
    put(session, &plan.put()).await?;
    remove(session, &plan.removed()).await?;
    let mut wakes = None;
    if plan.wakes {
        wakes = Some(count_wake(session).await?);
    }
    failpoint::hit(failpoint::NOTES_BEFORE_COMMIT);
    is_open.store(true, Ordering::Relaxed);
    session.commit().await?;
    Ok(Noted::Written(wakes))
}

/// A batch that slips in while the ledger is being closed is found by the comparison that follows.
async fn refuse_where_moved(session: &mut Session) -> Result<(), Failure> {
    let mut sql = Sql::new("SELECT 1 FROM duties WHERE name = 'notifications' AND ");
    sql.push(IS_MOVED);
    match session.first(sql).await? {
        Some(_) => Err(LedgerError::Moved.into()),
        None => Ok(()),
    }
}

async fn is_as_expected(session: &mut Session, plan: &Plan) -> Result<bool, Failure> {
    let mut keys: Vec<&Key> = plan.present.keys().collect();
    in_table_order(&mut keys);
    for part in parts(&keys) {
        let rows = session.all(by_key(part, " FOR UPDATE")).await?;
        if rows.len() < part.len() {
            return Ok(false);
        }
        for row in &rows {
            let (key, value) = record(row)?;
            if plan.present.get(&key) != Some(&value) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Inserts what must not be there; false where some of it is.
async fn insert(session: &mut Session, plan: &Plan) -> Result<bool, Failure> {
    let mut rows: Vec<(&Key, &[u8])> = plan
        .absent
        .iter()
        .map(|(key, value)| (key, value.as_deref().unwrap_or_default()))
        .collect();
    rows.sort_unstable_by_key(|(key, _)| (shard(key), *key));
    for part in by_bytes(&rows) {
        let mut sql = Sql::new("INSERT IGNORE INTO notes (shard, k, v) VALUES ");
        bind_rows(&mut sql, part);
        if session.run(sql).await? < part.len() as u64 {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn put(session: &mut Session, rows: &[(&Key, &[u8])]) -> Result<(), Failure> {
    for part in by_bytes(rows) {
        let mut sql = Sql::new("INSERT INTO notes (shard, k, v) VALUES ");
        bind_rows(&mut sql, part);
        sql.push(" ON DUPLICATE KEY UPDATE v = VALUES(v)");
        session.run(sql).await?;
    }
    Ok(())
}

async fn remove(session: &mut Session, keys: &[&Key]) -> Result<(), Failure> {
    for part in parts(keys) {
        let mut sql = Sql::new("DELETE FROM notes WHERE ");
        bind_keys(&mut sql, part);
        session.run(sql).await?;
    }
    Ok(())
}

async fn count_wake(session: &mut Session) -> Result<u64, Failure> {
    let sql = Sql::new("UPDATE duties SET wakes = wakes + 1 WHERE name = 'notifications'");
    session.run(sql).await?;
    let sql = Sql::new("SELECT wakes FROM duties WHERE name = 'notifications'");
    let row = session.first(sql).await?;
    Ok(row.map_or(Ok(0), |row| row.try_get(0))?)
}

/// Whether everything is as the batch would make it: an attempt before this one made it so.
async fn stands(session: &mut Session, plan: &Plan) -> Result<bool, Failure> {
    let mut keys: Vec<&Key> = plan.writes.keys().collect();
    in_table_order(&mut keys);
    let mut found: BTreeMap<Key, Vec<u8>> = BTreeMap::new();
    for part in parts(&keys) {
        for row in &session.all(by_key(part, "")).await? {
            let (key, value) = record(row)?;
            found.insert(key, value);
        }
    }
    let mut all = plan.writes.iter();
    Ok(all.all(|(key, value)| found.get(key) == value.as_ref()))
}

fn record(row: &sqlx::mysql::MySqlRow) -> Result<Record, sqlx::Error> {
    Ok((row.try_get(0)?, row.try_get(1)?))
}

fn by_key(keys: &[&Key], locks: &'static str) -> Sql {
    let mut sql = Sql::new("SELECT k, v FROM notes WHERE ");
    bind_keys(&mut sql, keys);
    if !locks.is_empty() {
        sql.push(" ORDER BY shard, k").push(locks);
    }
    sql
}

fn bind_keys(sql: &mut Sql, keys: &[&Key]) {
    sql.push("(shard, k) IN (")
        .rows("(?, ?)", keys.len())
        .push(")");
    for key in keys {
        sql.bind(shard(key)).bind(key.as_slice());
    }
}

fn bind_rows(sql: &mut Sql, rows: &[(&Key, &[u8])]) {
    sql.rows("(?, ?, ?)", rows.len());
    for (key, value) in rows {
        sql.bind(shard(key)).bind(key.as_slice()).bind(*value);
    }
}

/// Parts for one statement each, by their number and by their bytes.
fn by_bytes<'a>(
    mut rows: &'a [(&'a Key, &'a [u8])],
) -> impl Iterator<Item = &'a [(&'a Key, &'a [u8])]> {
    let stretches = std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rows.iter().take_while(|(_, value)| {
            bytes += value.len();
            bytes <= STATEMENT_BYTES
        });
        let (stretch, rest) = rows.split_at(fits.count().max(1).min(rows.len()));
        rows = rest;
        (!stretch.is_empty()).then_some(stretch)
    });
    stretches.flat_map(parts)
}

fn scan(prefix: &[u8], after: Option<&[u8]>, max: usize) -> Sql {
    let after = after.filter(|after| *after >= prefix);
    let end = end_of(prefix);
    let mut sql = Sql::new("");
    for shard in 0..SHARDS {
        sql.push(match shard {
            0 => "(SELECT k, v FROM notes WHERE shard = ? AND k ",
            _ => " UNION ALL (SELECT k, v FROM notes WHERE shard = ? AND k ",
        });
        sql.push(match after {
            Some(_) => "> ?",
            None => ">= ?",
        });
        sql.bind(shard).bind(after.unwrap_or(prefix));
        if let Some(end) = &end {
            sql.push(" AND k < ?").bind(end.as_slice());
        }
        sql.push(" ORDER BY k LIMIT ?)").bind(max as u64);
    }
    sql.push(" ORDER BY k LIMIT ?").bind(max as u64);
    sql
}

/// The first key after all that begin with a prefix, if there is one.
fn end_of(prefix: &[u8]) -> Option<Key> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_one_begins() {
        assert_eq!(end_of(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(end_of(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(end_of(b"\xff\xff"), None);
        assert_eq!(end_of(b""), None);
    }

    #[test]
    fn statements_are_bounded_by_bytes() {
        let keys: Vec<Key> = (0..300_u16).map(|n| n.to_be_bytes().to_vec()).collect();
        let large = vec![0; STATEMENT_BYTES / 2];
        let rows: Vec<(&Key, &[u8])> = keys.iter().map(|key| (key, large.as_slice())).collect();
        let lengths: Vec<usize> = by_bytes(&rows).map(<[_]>::len).collect();
        assert_eq!(lengths, vec![2; 150]);
        let small: Vec<(&Key, &[u8])> = keys.iter().map(|key| (key, b"v".as_slice())).collect();
        let sum: usize = by_bytes(&small).map(<[_]>::len).sum();
        assert_eq!((sum, by_bytes(&[]).count()), (300, 0));
        let huge = vec![0; STATEMENT_BYTES + 1];
        assert_eq!(by_bytes(&[(&keys[0], huge.as_slice())]).count(), 1);
    }

    #[test]
    fn what_is_expected_of_one_record_must_agree() {
        let batch = |second: Option<&[u8]>| Batch {
            expected: vec![
                (b"k".to_vec(), Some(b"1".to_vec())),
                (b"k".to_vec(), second.map(<[u8]>::to_vec)),
            ],
            ..Batch::default()
        };
        assert!(Plan::of(batch(Some(b"1"))).is_some());
        assert!(Plan::of(batch(Some(b"2"))).is_none());
        assert!(Plan::of(batch(None)).is_none());
    }
}
