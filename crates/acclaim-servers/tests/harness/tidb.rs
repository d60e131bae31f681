use std::path::Path;

use acclaim_servers::TiDb;
use sqlx::{Connection, Executor, MySqlConnection};

use crate::SHORT;

#[tokio::test]
async fn comes_back_after_a_kill_with_what_was_committed() {
    let server = TiDb::start().await;
    let database = server.database().await;
    let address = server.address();
    let mut connection = MySqlConnection::connect(database.url()).await.unwrap();
    let (version,): (String,) = sqlx::query_as("SELECT VERSION()")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(version.contains("TiDB"), "{version}");
    connection
        .execute("CREATE TABLE t (a BIGINT PRIMARY KEY)")
        .await
        .unwrap();
    connection
        .execute("INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    connection.execute("BEGIN").await.unwrap();
    connection
        .execute("INSERT INTO t VALUES (2)")
        .await
        .unwrap();
    server.kill();
    assert!(connection.execute("COMMIT").await.is_err());
    assert!(MySqlConnection::connect(database.url()).await.is_err());

    server.restart().await;
    assert_eq!(server.address(), address);
    let mut connection = MySqlConnection::connect(database.url()).await.unwrap();
    let rows: Vec<(i64,)> = sqlx::query_as("SELECT a FROM t")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(rows, [(1,)]);

    server.pause().await;
    {
        let answer = connection.ping();
        tokio::pin!(answer);
        assert!(tokio::time::timeout(SHORT, &mut answer).await.is_err());
        server.resume();
        answer.await.unwrap();
    }
    server.restart().await;
    server.shut_down().await;
}

#[tokio::test]
async fn databases_of_the_shared_one_are_apart_and_a_private_one_is_another() {
    let (shared, private) = tokio::join!(TiDb::shared(), TiDb::start());
    assert_ne!(shared.address(), private.address());
    let (one, other) = tokio::join!(shared.database(), shared.database());
    for database in [one, other, private.database().await] {
        let mut connection = MySqlConnection::connect(database.url()).await.unwrap();
        connection
            .execute("CREATE TABLE t (a BIGINT PRIMARY KEY)")
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_missing_program_fails_and_says_where_it_comes_from() {
    let nowhere = Path::new("/nowhere/tidb-server");
    let failure = TiDb::try_start(nowhere).await.unwrap_err().to_string();
    assert!(
        failure.contains("/nowhere/tidb-server is not there"),
        "{failure}"
    );
    assert!(failure.contains("bash .ci/servers"), "{failure}");
}
