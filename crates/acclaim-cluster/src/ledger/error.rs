//! What can go wrong with the ledger, and which of it is worth another try.

use std::time::Duration;

use sqlx::mysql::MySqlDatabaseError;

use super::blob::BadBlob;
use super::codec::BadKey;

/// Why the ledger did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The server could not be reached, or ended the connection, and no try of those allowed
    /// succeeded. Whatever was asked may be asked again.
    #[error("the ledger did not answer in {attempts} attempts; the last one: {last}")]
    Unavailable {
        /// How often it was tried.
        attempts: u32,
        /// How the last try ended.
        last: String,
    },
    /// Others held what was needed for longer than all tries lasted.
    #[error("{attempts} attempts ended in deadlocks or lock waits; the last one: {last}")]
    Contended {
        /// How often it was tried.
        attempts: u32,
        /// How the last try ended.
        last: String,
    },
    /// The lease of the partition is somebody else's by now. Nothing was written.
    #[error(
        "partition {partition} is no longer ours: our fence is {ours}, the ledger's is {found}; stop and take a new lease"
    )]
    Fenced {
        /// The partition.
        partition: u16,
        /// The fence that the caller holds.
        ours: u64,
        /// The fence in the ledger.
        found: u64,
    },
    /// There is no such partition.
    #[error("partition {partition} is not one of this store, which has {partitions}")]
    NoPartition {
        /// What was asked for.
        partition: u16,
        /// How many there are.
        partitions: u16,
    },
    /// The batch belongs to an epoch that the ledger is not in.
    #[error("the batch is of epoch {batch} and the ledger is at {ledger}")]
    FutureEpoch {
        /// The batch's.
        batch: u32,
        /// The ledger's.
        ledger: u32,
    },
    /// The ledger is being moved to another one, or was moved. Nothing was written.
    #[error(
        "this ledger is being moved or was moved to another one by `acclaim migrate`; once it was \
         moved, start every node with the new one"
    )]
    Moved,
    /// It could not be done in the time that was given for it. Nothing was written.
    #[error("it was not done within {0:?} and was given up; nothing was written")]
    TooLate(Duration),
    /// More than one statement or one transaction may carry.
    #[error("{given} {what} were given; at most {limit} are possible at once")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        given: usize,
        /// The limit.
        limit: usize,
    },
    /// The server refused a statement. Another try would end the same.
    #[error("the ledger refused: {0}")]
    Refused(String),
    /// A row holds what this program never writes.
    #[error("the ledger holds what cannot be read: {0}")]
    Corrupt(String),
    /// The schema is not one that this program can use.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// Why the schema of the ledger cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A newer program was here.
    #[error(
        "the ledger's schema is of version {found} and this program knows {known}; run the newer program"
    )]
    Newer {
        /// In the ledger.
        found: u32,
        /// In this program.
        known: u32,
    },
    /// The schema is older than the program needs and nobody migrated it.
    #[error("the ledger's schema is of version {found} and this program needs {known}; migrate it")]
    Older {
        /// In the ledger, 0 for an empty database.
        found: u32,
        /// In this program.
        known: u32,
    },
    /// A migration began and did not end. DDL is not transactional, so what it did is there.
    #[error(
        "migration {version} ({name}) stopped in statement {statement} of {statements}: {text:?}. \
         Look whether that statement took effect; if it did, run `UPDATE schema_versions SET \
         statements = {statement} WHERE version = {version}`, then in both cases `UPDATE \
         schema_versions SET stopped = 0 WHERE version = {version}` and migrate again"
    )]
    HalfApplied {
        /// Which one.
        version: u32,
        /// Its name.
        name: &'static str,
        /// The statement that began and did not end, from 1.
        statement: u32,
        /// How many it has.
        statements: u32,
        /// The statement's first line.
        text: String,
    },
    /// Another node has been migrating all the while.
    #[error("another node held the migration lock for {0:?}; try again when it is done")]
    Locked(Duration),
    /// The store was made with other settings.
    #[error(
        "the ledger's store has {found} partitions and the configuration asks for {asked}; their \
         number is fixed when a store is made: set it to {found}, or use an empty database"
    )]
    Partitions {
        /// In the ledger.
        found: u16,
        /// Asked for.
        asked: u16,
    },
    /// The store lives in another ledger now.
    #[error(
        "this ledger's store was moved to another ledger by `acclaim migrate ledger switch`; set \
         cluster.ledger to the new one"
    )]
    MovedAway,
    /// The store is still being copied to here.
    #[error(
        "this ledger is a copy that is not complete; end it with `acclaim migrate ledger switch` \
         before anything uses it"
    )]
    Incomplete,
    /// The store is still coming back from the bus.
    #[error("this ledger is being rebuilt by `acclaim replay`; run that to its end first")]
    Rebuilt,
    /// The store is laid out in a way that this program does not know.
    #[error(
        "the ledger's store is of format {found} and this program knows {known}; run the program \
         that made it, or a newer one"
    )]
    Format {
        /// In the ledger.
        found: u32,
        /// In this program.
        known: u32,
    },
}

impl From<BadKey> for LedgerError {
    fn from(error: BadKey) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl From<BadBlob> for LedgerError {
    fn from(error: BadBlob) -> Self {
        Self::Corrupt(error.to_string())
    }
}

/// How one attempt ended.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Worth another try: nothing of it is in the ledger.
    Again(Class, String),
    /// Another try would end the same.
    Final(LedgerError),
}

/// What kind of trouble an attempt met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The server chose this transaction as the victim of a deadlock (1213, and TiDB's write
    /// conflicts).
    Deadlock,
    /// A lock was not to be had in time (1205).
    LockWait,
    /// The connection is gone or silent.
    Lost,
    /// The server ended the statement after its time.
    Timeout,
    /// Another transaction added a row that was not there a moment before.
    Overtaken,
    /// The connection was lost at COMMIT; the transaction turned out not to be there.
    NotCommitted,
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Final(error)
    }
}

impl From<BadKey> for Failure {
    fn from(error: BadKey) -> Self {
        Self::Final(error.into())
    }
}

impl From<BadBlob> for Failure {
    fn from(error: BadBlob) -> Self {
        Self::Final(error.into())
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match class(&error) {
            Some(class) => Self::Again(class, error.to_string()),
            None => Self::Final(LedgerError::Refused(error.to_string())),
        }
    }
}

/// What TiDB says when others took a lock before this transaction again and again.
const LOCK_RETRIES_OVER: &str = "pessimistic lock retry limit reached";

/// What kind of trouble an error is, or `None` where another try would end the same.
pub(crate) fn class(error: &sqlx::Error) -> Option<Class> {
    match error {
        sqlx::Error::Database(error) => {
            let error = error.try_downcast_ref::<MySqlDatabaseError>()?;
            match class_of_number(error.number()) {
                // TiDB has no number of its own for it.
                None if error.message().contains(LOCK_RETRIES_OVER) => Some(Class::LockWait),
                class => class,
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => Some(Class::Lost),
        _ => None,
    }
}

fn class_of_number(number: u16) -> Option<Class> {
    match number {
        // ER_LOCK_DEADLOCK; TiDB: retryable transaction conflicts, write conflict.
        1213 | 8002 | 8022 | 9007 => Some(Class::Deadlock),
        // ER_LOCK_WAIT_TIMEOUT.
        1205 => Some(Class::LockWait),
        // Too many connections, shutting down, read only (a demoted primary), connection killed;
        // TiDB: its store is away or busy, the schema just changed.
        1040 | 1053 | 1290 | 1836 | 1927 | 8027 | 8028 | 9001..=9005 => Some(Class::Lost),
        // Interrupted (KILL QUERY), max_statement_time (MariaDB), max_execution_time (MySQL, TiDB).
        1317 | 1969 | 3024 => Some(Class::Timeout),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_tried_again_is_known_by_number() {
        assert_eq!(class_of_number(1213), Some(Class::Deadlock));
        assert_eq!(class_of_number(1205), Some(Class::LockWait));
        assert_eq!(class_of_number(1927), Some(Class::Lost));
        assert_eq!(class_of_number(1969), Some(Class::Timeout));
        assert_eq!(class_of_number(1062), None, "a duplicate key stays one");
    }
}
