//! What a store is: its format, its id, how many partitions it has, its epoch, and the secret that
//! signs its cursors.
//!
//! All of it is made in one transaction by the first node that opens an empty ledger, and read by
//! the others. Of several that come at once one makes it; the others wait for it at the same rows
//! and find what it made. The number of partitions never changes after that: where a target's
//! journal and edges are follows from it.
//!
//! The epoch is raised by compare-and-set, together with that of the partitions, so there is one
//! node that raised it, and no partition is in another one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use acclaim_core::cursor::CursorKey;
use sqlx::Row;

use super::error::{Failure, LedgerError, SchemaError};
use super::lease::MAX_PARTITIONS;
use super::moving::{MARK, MOVED_AWAY};
use super::pools::Ledger;
use super::rebuild::REBUILT;
use super::session::{Session, Sql, give_up, parts};

/// Partitions of a store for which nobody asked for another number.
pub const DEFAULT_PARTITIONS: u16 = 64;
/// The only layout of a store that there was so far.
pub const FORMAT: u32 = 1;
/// The epoch in which a store begins.
pub const FIRST_EPOCH: u32 = 1;

/// What the configuration says of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreSpec {
    /// Partitions, from 1 to [`MAX_PARTITIONS`]. Fixed when the store is made.
    pub partitions: u16,
}

impl Default for StoreSpec {
    fn default() -> Self {
        Self {
            partitions: DEFAULT_PARTITIONS,
        }
    }
}

/// A store, as the ledger has it.
#[derive(Clone, Debug)]
pub struct Store {
    /// Who this store is; another one, or one made anew, has another.
    pub id: [u8; 16],
    /// How many partitions it has.
    pub partitions: u16,
    /// The epoch it is in.
    pub epoch: u32,
    /// Signs its cursors.
    pub cursor_key: CursorKey,
}

/// What becomes of an attempt to raise the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochRaised {
    /// We did: this is the new one.
    Ours(u32),
    /// Somebody else did before: this is the one the store is in.
    Theirs(u32),
}

impl Ledger {
    /// The store of this ledger, made now if there is none. The schema must be there.
    ///
    /// # Errors
    /// [`SchemaError::Partitions`] when the store was made with another number,
    /// [`SchemaError::Format`] when another program made it, [`LedgerError::TooMany`] for a number
    /// that no store has.
    pub async fn create_or_open_store(&self, spec: &StoreSpec) -> Result<Store, LedgerError> {
        let partitions = spec.partitions;
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            return Err(LedgerError::Refused(format!(
                "a store has 1 to {MAX_PARTITIONS} partitions, not {partitions}"
            )));
        }
        let store = match self.open_store().await? {
            Some(store) => store,
            None => {
                let rows = &first_rows(rand::random(), partitions);
                self.retried(|| async move {
                    let mut session = self.writing().await?;
                    let outcome = create(&mut session, rows, partitions).await;
                    give_up(&mut session, outcome).await
                })
                .await?
            }
        };
        if store.partitions != partitions {
            return Err(SchemaError::Partitions {
                found: store.partitions,
                asked: partitions,
            }
            .into());
        }
        Ok(store)
    }

    /// The store of this ledger, if there is one.
    ///
    /// # Errors
    /// [`SchemaError::Format`] when another program made it.
    pub async fn open_store(&self) -> Result<Option<Store>, LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let rows = read(&mut session, Sql::new(READ)).await?;
            match rows.get(MARK).map(String::as_str) {
                Some(MOVED_AWAY) => return Err(LedgerError::from(SchemaError::MovedAway).into()),
                Some(REBUILT) => return Err(LedgerError::from(SchemaError::Rebuilt).into()),
                Some(_) => return Err(LedgerError::from(SchemaError::Incomplete).into()),
                None if rows.is_empty() => return Ok(None),
                None => {}
            }
            Ok(Some(store(&rows)?))
        })
        .await
    }

    /// Raises the epoch of the store and of all its partitions from `from` to the next one, if it
    /// is still `from`.
    ///
    /// # Errors
    /// [`LedgerError`]. An attempt whose answer was lost may be told as [`EpochRaised::Theirs`].
    pub async fn raise_epoch(&self, from: u32) -> Result<EpochRaised, LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = raise(&mut session, from).await;
            give_up(&mut session, outcome).await
        })
        .await
    }
}

const NAMES: [&str; 5] = ["format", "store", "partitions", "epoch", "cursor_key"];
const READ: &str = "SELECT name, value FROM meta \
                    WHERE name IN ('format', 'store', 'partitions', 'epoch', 'cursor_key', 'moving')";

type Rows = BTreeMap<String, String>;

pub(super) fn first_rows(store: [u8; 16], partitions: u16) -> [(&'static str, String); 5] {
    let [format, id, count, epoch, secret] = NAMES;
    [
        (format, FORMAT.to_string()),
        (id, hex(&store)),
        (count, partitions.to_string()),
        (epoch, FIRST_EPOCH.to_string()),
        (secret, hex(&rand::random::<[u8; 32]>())),
    ]
}

pub(super) async fn create(
    session: &mut Session,
    rows: &[(&'static str, String)],
    partitions: u16,
) -> Result<Store, Failure> {
    session.begin("START TRANSACTION").await?;
    let mut sql = Sql::new("INSERT IGNORE INTO meta (name, value) VALUES ");
    sql.rows("(?, ?)", rows.len());
    for (name, value) in rows {
        sql.bind(name.as_bytes()).bind(value.as_bytes());
    }
    session.run(sql).await?;
    // Ours, or those of who came first: it has committed, or we would still wait.
    let mut sql = Sql::new(READ);
    sql.push(" FOR UPDATE");
    let store = store(&read(session, sql).await?)?;
    if store.partitions == partitions {
        let numbers: Vec<u16> = (0..partitions).collect();
        for part in parts(&numbers) {
            let mut sql = Sql::new(
                "INSERT IGNORE INTO partitions (n, epoch, owner, fence, lease_until, applied) \
                 VALUES ",
            );
            sql.rows("(?, ?, '', 0, 0, 0)", part.len());
            for n in part {
                sql.bind(*n).bind(store.epoch);
            }
            session.run(sql).await?;
        }
    }
    session.commit().await?;
    Ok(store)
}

async fn read(session: &mut Session, sql: Sql) -> Result<Rows, Failure> {
    let mut rows = Rows::new();
    for row in session.all(sql).await? {
        let text = |column| -> Result<String, Failure> {
            let bytes: &[u8] = row.try_get(column)?;
            Ok(String::from_utf8_lossy(bytes).into_owned())
        };
        rows.insert(text(0)?, text(1)?);
    }
    Ok(rows)
}

fn store(rows: &Rows) -> Result<Store, LedgerError> {
    let [format, id, partitions, epoch, cursor_key] = NAMES;
    let format: u32 = parsed(rows, format, |text| text.parse().ok())?;
    if format != FORMAT {
        return Err(SchemaError::Format {
            found: format,
            known: FORMAT,
        }
        .into());
    }
    Ok(Store {
        id: parsed(rows, id, unhex)?,
        partitions: parsed(rows, partitions, |text| text.parse().ok())?,
        epoch: parsed(rows, epoch, |text| text.parse().ok())?,
        cursor_key: CursorKey::new(parsed(rows, cursor_key, unhex)?),
    })
}

fn parsed<T>(
    rows: &Rows,
    name: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, LedgerError> {
    let Some(value) = rows.get(name) else {
        return Err(LedgerError::Corrupt(format!("meta has no row {name:?}")));
    };
    // The value is not shown: one of them is a secret.
    parse(value)
        .ok_or_else(|| LedgerError::Corrupt(format!("meta's row {name:?} cannot be understood")))
}

async fn raise(session: &mut Session, from: u32) -> Result<EpochRaised, Failure> {
    session.begin("START TRANSACTION").await?;
    let sql = Sql::new("SELECT name, value FROM meta WHERE name = 'epoch' FOR UPDATE");
    let rows = read(session, sql).await?;
    let found: u32 = parsed(&rows, "epoch", |text| text.parse().ok())?;
    if found != from {
        session.roll_back().await;
        return Ok(EpochRaised::Theirs(found));
    }
    let Some(next) = from.checked_add(1) else {
        return Err(LedgerError::Refused("there is no epoch after the last one".to_owned()).into());
    };
    let mut sql = Sql::new("UPDATE meta SET value = ? WHERE name = 'epoch'");
    sql.bind(next.to_string().into_bytes());
    session.run(sql).await?;
    let mut sql = Sql::new("UPDATE partitions SET epoch = ?");
    sql.bind(next);
    session.run(sql).await?;
    session.commit().await?;
    Ok(EpochRaised::Ours(next))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != N * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_read_back() {
        let secret: [u8; 32] = rand::random();
        assert_eq!(unhex(&hex(&secret)), Some(secret));
        for bad in ["", "0", "zz", "+1", "ä", "000"] {
            assert_eq!(unhex::<1>(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_told_by_name() {
        let whole: Rows = first_rows([7; 16], 3)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        assert_eq!(store(&whole).map(|store| store.partitions).ok(), Some(3));
        for name in NAMES {
            let mut rows = whole.clone();
            rows.remove(name);
            let missing = store(&rows).map(|_| ()).unwrap_err().to_string();
            assert!(missing.contains(name), "{missing}");
            rows.insert(name.to_owned(), "x".to_owned());
            let wrong = store(&rows).map(|_| ()).unwrap_err().to_string();
            assert!(wrong.contains(name), "{wrong}");
        }
        let mut newer = whole;
        newer.insert("format".to_owned(), "2".to_owned());
        let refused = store(&newer).map(|_| ());
        assert!(matches!(
            refused,
            Err(LedgerError::Schema(SchemaError::Format {
                found: 2,
                known: 1
            }))
        ));
    }
}
