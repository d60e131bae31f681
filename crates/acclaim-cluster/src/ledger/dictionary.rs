//! The numbers that stand for kinds and target types in the ledger's rows and in the journals.
//!
//! A number is given once and never changes or passes to another name, so it is cached for ever.
//! New ones are given under one locked row, so two nodes give a name one number and no number to
//! two names.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use acclaim_core::TargetType;
use acclaim_core::kind::MAX_KIND_NAME_BYTES;
use acclaim_core::limits::MAX_TARGET_TYPES;
use parking_lot::RwLock;
use sqlx::Row;
use tokio::sync::Mutex;

use super::error::{Failure, LedgerError};
use super::moving::DICTIONARY_IS_CLOSED;
use super::pools::Ledger;
use super::session::{Session, Sql, give_up};

/// Kinds that a ledger knows: those that were ever configured.
pub const MAX_LEDGER_KINDS: usize = 4_096;

/// The number of a kind, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KindNo(pub u16);

/// The number of a target type, from 1. In `daily`, 0 stands for all types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeNo(pub u16);

/// Why a name has no number.
#[derive(Debug, thiserror::Error)]
pub enum DictionaryError {
    /// There are as many names as there may be.
    #[error("the ledger knows {limit} {what}, which is the limit; {given} would be a new one")]
    Full {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
        /// The new name.
        given: String,
    },
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

#[derive(Debug, Default)]
pub(super) struct Dictionary {
    kinds: RwLock<Names>,
    types: RwLock<Names>,
    looks_at_kinds: Looks,
    looks_at_types: Looks,
}

/// Looks at all names of a sort, one at a time.
#[derive(Debug, Default)]
struct Looks {
    begun: AtomicU64,
    last: Mutex<Look>,
}

/// A look that ended.
#[derive(Debug, Default)]
struct Look {
    /// From 1.
    number: u64,
    failure: Option<String>,
}

#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<String, u16>,
    names: HashMap<u16, String>,
}

impl Names {
    fn learn(&mut self, no: u16, name: String) {
        self.names.insert(no, name.clone());
        self.numbers.insert(name, no);
    }
}

#[derive(Clone, Copy)]
enum Of {
    Kinds,
    Types,
}

impl Of {
    fn what(self) -> &'static str {
        match self {
            Self::Kinds => "kinds",
            Self::Types => "target types",
        }
    }

    fn limit(self) -> usize {
        match self {
            Self::Kinds => MAX_LEDGER_KINDS,
            Self::Types => MAX_TARGET_TYPES,
        }
    }

    fn all(self) -> &'static str {
        match self {
            Self::Kinds => "SELECT no, name FROM kinds",
            Self::Types => "SELECT no, name FROM target_types",
        }
    }

    fn add(self) -> &'static str {
        match self {
            Self::Kinds => "INSERT INTO kinds (no, name) VALUES (?, ?)",
            Self::Types => "INSERT INTO target_types (no, name) VALUES (?, ?)",
        }
    }
}

impl Ledger {
    /// The number of a kind by its name, given now if it has none.
    ///
    /// # Errors
    /// [`DictionaryError`].
    pub async fn kind_no(&self, name: &str) -> Result<KindNo, DictionaryError> {
        debug_assert!(name.len() <= MAX_KIND_NAME_BYTES);
        self.number(Of::Kinds, name).await.map(KindNo)
    }

    /// The number of a target type, given now if it has none.
    ///
    /// # Errors
    /// [`DictionaryError`].
    pub async fn type_no(&self, target_type: &TargetType) -> Result<TypeNo, DictionaryError> {
        self.number(Of::Types, target_type.as_str())
            .await
            .map(TypeNo)
    }

    /// The number of a target type that has one: what nobody ever used has no rows.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn known_type_no(
        &self,
        target_type: &TargetType,
    ) -> Result<Option<TypeNo>, LedgerError> {
        if let Some(no) = self.cached(Of::Types, target_type.as_str()) {
            return Ok(Some(TypeNo(no)));
        }
        self.refresh(Of::Types).await?;
        Ok(self.cached(Of::Types, target_type.as_str()).map(TypeNo))
    }

    /// The number of a target type that this process has met.
    #[must_use]
    pub fn met_type_no(&self, target_type: &TargetType) -> Option<TypeNo> {
        self.cached(Of::Types, target_type.as_str()).map(TypeNo)
    }

    /// The name of a kind, if the number was given.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn kind_name(&self, no: KindNo) -> Result<Option<String>, LedgerError> {
        self.name(Of::Kinds, no.0).await
    }

    /// The target type of a number, if it was given.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn type_name(&self, no: TypeNo) -> Result<Option<TargetType>, LedgerError> {
        let Some(name) = self.name(Of::Types, no.0).await? else {
            return Ok(None);
        };
        let read = TargetType::parse(&name);
        read.map(Some)
            .map_err(|error| LedgerError::Corrupt(format!("target type {name:?} {error}")))
    }

    /// Makes sure that a kind has this number, which is given to it if neither is taken. `false`
    /// where one of both belongs to another.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn agree_on_kind(&self, name: &str, no: KindNo) -> Result<bool, LedgerError> {
        self.agree(Of::Kinds, name, no.0).await
    }

    /// The same for a target type.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn agree_on_type(
        &self,
        target_type: &TargetType,
        no: TypeNo,
    ) -> Result<bool, LedgerError> {
        self.agree(Of::Types, target_type.as_str(), no.0).await
    }

    async fn agree(&self, of: Of, name: &str, no: u16) -> Result<bool, LedgerError> {
        if let Some(known) = self.cached(of, name) {
            return Ok(known == no);
        }
        let rows = self
            .retried(|| async move {
                let mut session = self.writing().await?;
                let outcome = give_this(&mut session, of, name, no).await;
                give_up(&mut session, outcome).await
            })
            .await?;
        self.learn(of, rows);
        Ok(self.cached(of, name) == Some(no))
    }

    fn names(&self, of: Of) -> &RwLock<Names> {
        match of {
            Of::Kinds => &self.shared.dictionary.kinds,
            Of::Types => &self.shared.dictionary.types,
        }
    }

    fn cached(&self, of: Of, name: &str) -> Option<u16> {
        self.names(of).read().numbers.get(name).copied()
    }

    async fn name(&self, of: Of, no: u16) -> Result<Option<String>, LedgerError> {
        let cached = self.names(of).read().names.get(&no).cloned();
        if cached.is_some() {
            return Ok(cached);
        }
        self.refresh(of).await?;
        Ok(self.names(of).read().names.get(&no).cloned())
    }

    /// Looks at all names. A name may be asked for that nobody ever gives a number, again and
    /// again, so those who wait for a look share the next one: one that began after they came.
    async fn refresh(&self, of: Of) -> Result<(), LedgerError> {
        let looks = match of {
            Of::Kinds => &self.shared.dictionary.looks_at_kinds,
            Of::Types => &self.shared.dictionary.looks_at_types,
        };
        let begun_before = looks.begun.load(Ordering::SeqCst);
        let mut last = looks.last.lock().await;
        if last.number > begun_before {
            return match &last.failure {
                None => Ok(()),
                Some(failure) => Err(LedgerError::Unavailable {
                    attempts: 1,
                    last: failure.clone(),
                }),
            };
        }
        let number = looks.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let rows = self
            .retried(|| async move { load(&mut self.writing().await?, of).await })
            .await;
        let failure = rows.as_ref().err().map(ToString::to_string);
        *last = Look { number, failure };
        self.learn(of, rows?);
        Ok(())
    }

    fn learn(&self, of: Of, rows: Vec<(u16, String)>) {
        let mut names = self.names(of).write();
        for (no, name) in rows {
            names.learn(no, name);
        }
    }

    async fn number(&self, of: Of, name: &str) -> Result<u16, DictionaryError> {
        if let Some(no) = self.cached(of, name) {
            return Ok(no);
        }
        let rows = self
            .retried(|| async move {
                let mut session = self.writing().await?;
                let outcome = add(&mut session, of, name).await;
                give_up(&mut session, outcome).await
            })
            .await?;
        self.learn(of, rows);
        let full = || DictionaryError::Full {
            what: of.what(),
            limit: of.limit(),
            given: name.to_owned(),
        };
        self.cached(of, name).ok_or_else(full)
    }
}

async fn load(session: &mut Session, of: Of) -> Result<Vec<(u16, String)>, Failure> {
    let rows = session.all(Sql::new(of.all())).await?;
    let read = |row: &sqlx::mysql::MySqlRow| {
        let name: Vec<u8> = row.try_get(1)?;
        let name = String::from_utf8(name)
            .map_err(|error| LedgerError::Corrupt(format!("a name of {}: {error}", of.what())))?;
        Ok((row.try_get(0)?, name))
    };
    rows.iter().map(read).collect()
}

/// Gives a number if the name has none and there is room. Answers all names.
async fn add(session: &mut Session, of: Of, name: &str) -> Result<Vec<(u16, String)>, Failure> {
    session.begin("START TRANSACTION").await?;
    session
        .run(Sql::new(
            "INSERT IGNORE INTO meta (name, value) VALUES ('dictionary', '')",
        ))
        .await?;
    let mut sql = Sql::new("SELECT CAST(");
    sql.push(DICTIONARY_IS_CLOSED)
        .push(" AS UNSIGNED) FROM meta WHERE name = 'dictionary' FOR UPDATE");
    let closed = session.first(sql).await?;
    let is_closed = closed.map_or(Ok(0), |row| row.try_get::<u64, _>(0))? != 0;
    let mut rows = load(session, of).await?;
    let there = rows.iter().any(|(_, known)| known == name);
    if !there && is_closed {
        return Err(LedgerError::Moved.into());
    }
    if !there && rows.len() < of.limit() {
        let last = rows.iter().map(|(no, _)| *no).max().unwrap_or(0);
        let no = last + 1;
        let mut sql = Sql::new(of.add());
        sql.bind(no).bind(name.as_bytes());
        session.run(sql).await?;
        rows.push((no, name.to_owned()));
    }
    session.commit().await?;
    Ok(rows)
}

/// Gives a name this number if neither is taken.
async fn give_this(
    session: &mut Session,
    of: Of,
    name: &str,
    no: u16,
) -> Result<Vec<(u16, String)>, Failure> {
    session.begin("START TRANSACTION").await?;
    let mut rows = load(session, of).await?;
    let is_taken = rows
        .iter()
        .any(|(taken, known)| *taken == no || known == name);
    if !is_taken && no > 0 && rows.len() < of.limit() {
        let mut sql = Sql::new(of.add());
        sql.bind(no).bind(name.as_bytes());
        session.run(sql).await?;
        rows.push((no, name.to_owned()));
    }
    session.commit().await?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use acclaim_servers::MariaDb;
    use futures::future::join_all;

    use super::*;
    use crate::ledger::Bounds;

    async fn ledger(url: &str) -> Ledger {
        let ledger = Ledger::new(url, Bounds::default()).unwrap();
        ledger.migrate().await.unwrap();
        ledger
    }

    /// Names without a number may be asked for by everybody at once.
    #[tokio::test]
    async fn those_who_wait_for_a_look_share_the_next() {
        let server = Box::pin(MariaDb::shared()).await;
        let database = Box::pin(server.database()).await;
        let (ledger, other) = (
            ledger(database.url()).await,
            self::ledger(database.url()).await,
        );
        let post = TargetType::parse("POST").unwrap();
        let asked = (0..100).map(|_| ledger.known_type_no(&post));
        for found in join_all(asked).await {
            assert_eq!(found.unwrap(), None);
        }
        let begun = || {
            let looks = &ledger.shared.dictionary.looks_at_types;
            looks.begun.load(Ordering::SeqCst)
        };
        // The first began before the others came.
        assert_eq!(begun(), 2);
        // A number that another node gave is found by whoever asks after that.
        let given = other.type_no(&post).await.unwrap();
        assert_eq!(ledger.known_type_no(&post).await.unwrap(), Some(given));
        assert_eq!(begun(), 3);
        assert_eq!(ledger.known_type_no(&post).await.unwrap(), Some(given));
        assert_eq!(begun(), 3);
    }
}
