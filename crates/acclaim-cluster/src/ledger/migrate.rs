//! How the tables come to be: one node at a time, each migration once, what stopped half-way told.
//!
//! The lock is `GET_LOCK` with a positive timeout (MariaDB answers NULL to a negative one) and
//! belongs to the connection, so a node that dies lets it go. DDL commits by itself, statement by
//! statement: so before each statement the migration says which one begins, and when it was
//! running the row stays marked as stopped. Whether that one statement took effect only a person
//! can say; nothing goes on before somebody did.

use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::{ConnectOptions, Connection, Executor, Row};

use super::error::{Failure, LedgerError, SchemaError};
use super::pools::Ledger;
use super::schema::{MIGRATIONS, Migration, VERSIONS};

/// What a migration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The version before, 0 for an empty database.
    pub from: u32,
    /// The version now.
    pub to: u32,
}

/// Names of locks belong to the server, not to the database.
const LOCK_NAME: &str = "CONCAT('acclaim_migrate_', MD5(DATABASE()))";

impl Ledger {
    /// Brings the schema to this program's version. Does nothing where it is.
    ///
    /// # Errors
    /// [`SchemaError`] when it is newer, stopped half-way, or another node holds the lock for
    /// longer than [`super::pools::Bounds::migrate_timeout`].
    pub async fn migrate(&self) -> Result<Migrated, LedgerError> {
        self.migrate_with(MIGRATIONS).await
    }

    /// As [`Ledger::migrate`], to other tables: for tests of how it ends.
    ///
    /// # Errors
    /// As [`Ledger::migrate`].
    #[doc(hidden)]
    pub async fn migrate_with(
        &self,
        migrations: &'static [Migration],
    ) -> Result<Migrated, LedgerError> {
        // Not tried again: a lost connection may have left a statement half-way, and that is told.
        // A connection of its own, without a limit on its statements: an index may take hours.
        let migrated = async {
            let mut conn = self.shared.options.connect().await?;
            lock(&mut conn, self.shared.bounds.migrate_timeout).await?;
            let migrated = run(&mut conn, migrations).await?;
            conn.close().await?;
            Ok(migrated)
        };
        once(migrated.await)
    }

    /// Whether the schema is this program's.
    ///
    /// # Errors
    /// [`SchemaError`] when it is another one.
    pub async fn check_schema(&self) -> Result<(), LedgerError> {
        let checked = async {
            let mut conn = self.shared.options.connect().await?;
            let found = version(&mut conn, MIGRATIONS).await?;
            conn.close().await?;
            let known = newest(MIGRATIONS);
            if found < known {
                return Err(Failure::Final(SchemaError::Older { found, known }.into()));
            }
            Ok(())
        };
        once(checked.await)
    }
}

fn once<T>(outcome: Result<T, Failure>) -> Result<T, LedgerError> {
    outcome.map_err(|failure| match failure {
        Failure::Final(error) => error,
        Failure::Again(_, last) => LedgerError::Unavailable { attempts: 1, last },
    })
}

fn newest(migrations: &[Migration]) -> u32 {
    migrations.last().map_or(0, |migration| migration.version)
}

async fn lock(conn: &mut MySqlConnection, timeout: Duration) -> Result<(), Failure> {
    let sql = sqlx::AssertSqlSafe(format!("SELECT GET_LOCK({LOCK_NAME}, ?)"));
    let row = sqlx::query(sql)
        .bind(timeout.as_secs().max(1))
        .fetch_one(conn)
        .await?;
    match row.try_get::<Option<i64>, _>(0)? {
        Some(1) => Ok(()),
        _ => Err(Failure::Final(SchemaError::Locked(timeout).into())),
    }
}

/// The newest version of the schema, 0 where there is none.
async fn version(
    conn: &mut MySqlConnection,
    migrations: &'static [Migration],
) -> Result<u32, Failure> {
    let there = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() \
                 AND table_name = 'schema_versions'";
    let (tables,): (i64,) = sqlx::query_as(there).fetch_one(&mut *conn).await?;
    if tables == 0 {
        return Ok(0);
    }
    let known = newest(migrations);
    let versions = "SELECT version, statements, stopped FROM schema_versions ORDER BY version";
    let rows: Vec<(u32, u32, bool)> = sqlx::query_as(versions).fetch_all(conn).await?;
    let found = rows.last().map_or(0, |row| row.0);
    if found > known {
        return Err(Failure::Final(SchemaError::Newer { found, known }.into()));
    }
    for (version, statements, stopped) in rows {
        let migration = migrations
            .iter()
            .find(|migration| migration.version == version);
        if let Some(migration) = migration.filter(|_| stopped) {
            return Err(Failure::Final(half_applied(migration, statements).into()));
        }
    }
    Ok(found)
}

fn half_applied(migration: &Migration, done: u32) -> SchemaError {
    let text = migration
        .statements
        .get(done as usize)
        .copied()
        .unwrap_or_default();
    SchemaError::HalfApplied {
        version: migration.version,
        name: migration.name,
        statement: done + 1,
        statements: migration.statements.len() as u32,
        text: text.lines().next().unwrap_or_default().to_owned(),
    }
}

async fn run(
    conn: &mut MySqlConnection,
    migrations: &'static [Migration],
) -> Result<Migrated, Failure> {
    conn.execute(VERSIONS).await?;
    let from = version(conn, migrations).await?;
    for migration in migrations {
        apply(conn, migration).await?;
    }
    Ok(Migrated {
        from,
        to: newest(migrations),
    })
}

/// Runs what is left of a migration: nothing, if all its statements are done.
async fn apply(conn: &mut MySqlConnection, migration: &Migration) -> Result<(), Failure> {
    let add = "INSERT IGNORE INTO schema_versions (version, name, statements, stopped, at) \
               VALUES (?, ?, 0, 0, UTC_TIMESTAMP(6))";
    sqlx::query(add)
        .bind(migration.version)
        .bind(migration.name)
        .execute(&mut *conn)
        .await?;
    let read = "SELECT statements FROM schema_versions WHERE version = ?";
    let (done,): (u32,) = sqlx::query_as(read)
        .bind(migration.version)
        .fetch_one(&mut *conn)
        .await?;
    for (n, statement) in (0u32..).zip(migration.statements).skip(done as usize) {
        mark(conn, migration, n, true).await?;
        conn.execute(*statement).await?;
        mark(conn, migration, n + 1, false).await?;
    }
    Ok(())
}

async fn mark(
    conn: &mut MySqlConnection,
    migration: &Migration,
    statements: u32,
    stopped: bool,
) -> Result<(), Failure> {
    let sql = "UPDATE schema_versions SET statements = ?, stopped = ?, at = UTC_TIMESTAMP(6) \
               WHERE version = ?";
    let query = sqlx::query(sql)
        .bind(statements)
        .bind(stopped)
        .bind(migration.version);
    query.execute(conn).await?;
    Ok(())
}
