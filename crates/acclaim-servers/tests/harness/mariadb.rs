use acclaim_servers::{MariaDb, MariaDbOptions};
use sqlx::{Connection, Executor, MySqlConnection};

use crate::SHORT;

#[tokio::test]
async fn databases_of_the_shared_one_are_apart() {
    let (one, other) = tokio::join!(async { MariaDb::shared().await.database().await }, async {
        MariaDb::shared().await.database().await
    });
    assert_ne!(one.name(), other.name());
    assert!(one.url().contains(one.name()));
    for database in [one, other] {
        let mut connection = MySqlConnection::connect(database.url()).await.unwrap();
        connection
            .execute("CREATE TABLE t (a BIGINT PRIMARY KEY)")
            .await
            .unwrap();
        connection
            .execute("INSERT INTO t VALUES (1)")
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn the_shared_one_serves_tests_on_other_runtimes_too() {
    let address = MariaDb::shared().await.address();
    let of_others = std::thread::spawn(|| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async { MariaDb::shared().await.address() })
    });
    assert_eq!(of_others.join().unwrap(), address);
    MariaDb::shared().await.database().await;
}

#[tokio::test]
async fn comes_back_after_a_kill_with_what_was_committed() {
    let (server, neighbour) = tokio::join!(MariaDb::start(), MariaDb::start());
    let database = server.database().await;
    let address = server.address();
    let mut connection = MySqlConnection::connect(database.url()).await.unwrap();
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
    neighbour.database().await;

    server.restart().await;
    assert_eq!(server.address(), address);
    let mut connection = MySqlConnection::connect(database.url()).await.unwrap();
    let rows: Vec<(i64,)> = sqlx::query_as("SELECT a FROM t")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(rows, [(1,)]);
    server.restart().await;
    server.shut_down().await;
}

#[tokio::test]
async fn a_paused_one_hangs_and_goes_on() {
    let server = MariaDb::start().await;
    let database = server.database().await;
    let mut connection = MySqlConnection::connect(database.url()).await.unwrap();
    server.pause().await;
    let answer = connection.ping();
    tokio::pin!(answer);
    assert!(tokio::time::timeout(SHORT, &mut answer).await.is_err());
    server.resume();
    answer.await.unwrap();
}

#[tokio::test]
async fn takes_variables_and_says_which_it_does_not_know() {
    let options = MariaDbOptions::default().set("innodb-lock-wait-timeout", "7");
    let server = MariaDb::start_with(options).await;
    let database = server.database().await;
    let mut connection = MySqlConnection::connect(database.url()).await.unwrap();
    let (seconds,): (u64,) = sqlx::query_as("SELECT @@innodb_lock_wait_timeout")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(seconds, 7);

    let options = MariaDbOptions::default().set("no-such-variable", "1");
    let failure = MariaDb::try_start(options).await.unwrap_err().to_string();
    assert!(
        failure.contains("mariadb did not start: it ended with"),
        "{failure}"
    );
    assert!(
        failure.contains("unknown variable 'no-such-variable=1'"),
        "{failure}"
    );
}
