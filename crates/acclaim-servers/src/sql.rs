//! What MariaDB and TiDB have in common for a test: databases, and how to ask whether one answers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{ConnectOptions, Connection, MySqlConnection};

/// How long one attempt at a start may take.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(5);

static NEXT_DATABASE: AtomicU32 = AtomicU32::new(1);

/// A database that nobody else uses. It goes with its server.
#[derive(Clone, Debug)]
pub struct Database {
    name: String,
    url: String,
}

impl Database {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `mysql://root@127.0.0.1:port/name`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its URL by another port: that of a [`crate::Proxy`] in front of the server.
    pub fn url_by(&self, port: u16) -> String {
        url(port, &self.name)
    }
}

fn url(port: u16, database: &str) -> String {
    format!("mysql://root@127.0.0.1:{port}/{database}?ssl-mode=disabled")
}

pub(crate) async fn try_connect(port: u16) -> sqlx::Result<MySqlConnection> {
    let options = MySqlConnectOptions::new()
        .host("127.0.0.1")
        .port(port)
        .username("root")
        .ssl_mode(MySqlSslMode::Disabled);
    options.connect().await
}

/// Runs a statement.
pub(crate) async fn execute(port: u16, statement: &str) -> sqlx::Result<()> {
    let mut connection = try_connect(port).await?;
    // In plain text: not every statement can be prepared.
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(&mut connection)
        .await?;
    connection.close().await
}

/// One attempt to be answered.
pub(crate) async fn ask(port: u16) -> Result<(), String> {
    let asking = async {
        let mut connection = try_connect(port).await?;
        sqlx::query("SELECT 1").execute(&mut connection).await?;
        connection.close().await
    };
    match tokio::time::timeout(ATTEMPT_LIMIT, asking).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("SELECT 1: {error}")),
        Err(_) => Err(format!(
            "SELECT 1 was not answered within {ATTEMPT_LIMIT:?}"
        )),
    }
}

/// Makes a fresh, empty database.
pub(crate) async fn create_database(port: u16) -> sqlx::Result<Database> {
    let name = format!("test_{}", NEXT_DATABASE.fetch_add(1, Ordering::Relaxed));
    let mut connection = try_connect(port).await?;
    let create = format!("CREATE DATABASE {name} DEFAULT CHARACTER SET utf8mb4");
    sqlx::query(sqlx::AssertSqlSafe(create))
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    let url = url(port, &name);
    Ok(Database { name, url })
}
