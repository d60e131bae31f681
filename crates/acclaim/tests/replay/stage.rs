//! A cluster with a bus, load on it, and what its ledger holds.

use std::collections::BTreeMap;
use std::time::Duration;

use acclaim_servers::{Database, Kafka, MariaDb, Pulsar, Redis, until};
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, Row as _};

use crate::program::{Ran, Server, acclaim, file, finish, path};

/// Long enough for anything that must happen, on a busy machine.
pub const SOON: Duration = Duration::from_secs(120);
/// The users and targets of the load.
const USERS: u64 = 40;
const TARGETS: u64 = 6;

/// Servers of a test, and a directory in which commands run.
pub struct Stage {
    redis: Redis,
    pub bus: String,
    pub dir: tempfile::TempDir,
}

impl Stage {
    pub async fn on_kafka() -> Self {
        let kafka = Kafka::shared().await;
        Self::open(&kafka.url(), &kafka.topic()).await
    }

    /// Pulsar throws away what every group has, unless the namespace keeps it.
    pub async fn on_pulsar() -> Self {
        let pulsar = Pulsar::shared().await;
        let keep = r#"{"retentionTimeInMinutes":60,"retentionSizeInMB":64}"#;
        let path = "/admin/v2/namespaces/public/default/retention";
        let (status, body) = pulsar.try_request("POST", path, keep).await.unwrap();
        assert!((200..300).contains(&status), "{status} {body}");
        let admin = pulsar.admin_url();
        let admin = admin.trim_start_matches("http://");
        let mut stage = Self::open(&pulsar.url(), &pulsar.topic()).await;
        stage.bus.push_str(&format!("&admin={admin}"));
        stage
    }

    async fn open(bus: &str, topic: &str) -> Self {
        Self {
            redis: Redis::start().await,
            bus: format!("{bus}?topic={topic}&partitions=2"),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Writes a configuration with this ledger; its name.
    pub fn configure(&self, name: &str, ledger: &Database) -> String {
        let (redis, bus, ledger) = (self.redis.url(), &self.bus, ledger.url());
        let text = format!(
            r#"[server]
engine = "cluster"
[cluster]
redis = "{redis}"
ledger = "{ledger}"
partitions = 4
start_wait_seconds = 60
[worker]
lease_millis = 2000
lease_renew_millis = 200
lease_retry_millis = 50
[bus]
url = "{bus}"
[kinds.claps]
"#
        );
        file(self.dir.path(), name, text);
        name.to_owned()
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        finish(acclaim(args).current_dir(self.dir.path()))
    }

    pub fn replay(&self, config: &str, more: &[&str]) -> Ran {
        self.run(&[&["replay", "--config", config], more].concat())
    }

    pub fn serve(&self, config: &str) -> Server {
        let config = path(self.dir.path(), config);
        Server::launch(&["serve", "--listen", "127.0.0.1:0", "--config", &config])
    }

    pub fn is_clean(&self, config: &str) {
        let ran = self.run(&["check", "--config", config]);
        assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    }
}

pub async fn database() -> Database {
    MariaDb::shared().await.database().await
}

/// A command came to this.
pub fn ended(ran: &Ran, code: i32, told: &str) {
    assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains(told), "{told:?}: {}{}", ran.out, ran.err);
}

/// A command could not run, for this reason.
pub fn refused(ran: &Ran, why: &str) {
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    assert!(ran.err.contains(why), "{why:?}: {}", ran.err);
}

/// The body of an answer, or nothing where it was none.
fn call(server: &Server, path: &str, body: &str) -> Option<String> {
    let answer = std::panic::catch_unwind(|| server.send("POST", path, body)).ok()?;
    let is_ok = answer.starts_with("HTTP/1.1 200") && answer.ends_with('}');
    is_ok.then_some(answer)
}

/// Toggles of several users at once, `from` the given number on: likes of posts, claps of other
/// things, users who follow each other; some are taken back. Ends early where the server does.
/// Answers how many were acknowledged.
pub fn load(server: &Server, numbers: std::ops::Range<u64>) -> u64 {
    let one = |number: u64| {
        let (user, round) = (number % USERS, number / USERS);
        let target = (number + round * 3) % TARGETS;
        // Never themselves.
        let other = (user + 1 + round * 7 % (USERS - 1)) % USERS;
        let (kind, what, id) = match number % 5 {
            0 => ("claps", "VIDEO", format!("\"v-{target}\"")),
            1 | 2 => ("follows", "USER", other.to_string()),
            _ => ("likes", "POST", target.to_string()),
        };
        let body = format!(r#"{{"userId":{user},"targetType":"{what}","targetId":{id}}}"#);
        call(server, &format!("/api/v2/{kind}/toggle"), &body).is_some()
    };
    let lanes = 4;
    std::thread::scope(|scope| {
        let lane = |lane: u64| {
            let numbers = numbers.clone().filter(move |number| number % lanes == lane);
            scope.spawn(move || numbers.take_while(|number| one(*number)).count() as u64)
        };
        let threads: Vec<_> = (0..lanes).map(lane).collect();
        threads.into_iter().map(|one| one.join().unwrap()).sum()
    })
}

/// What must be the same in two ledgers, by table. Rows of kinds and types that nothing is of are
/// none; which shard a day lies in is chance.
pub async fn held(ledger: &Database) -> BTreeMap<&'static str, Vec<String>> {
    let queries = [
        ("edges", "SELECT * FROM edges ORDER BY 1, 2, 3, 4, 5"),
        (
            "targets",
            "SELECT kind, target_type, target, count_place, seq, edges, last_day FROM targets \
             ORDER BY 1, 2, 3",
        ),
        (
            "users",
            "SELECT kind, user, given, mutual, types FROM users ORDER BY 1, 2",
        ),
        (
            "daily",
            "SELECT kind, target_type, day, CAST(SUM(sets) AS UNSIGNED), \
             CAST(SUM(unsets) AS UNSIGNED), CAST(SUM(users) AS UNSIGNED) FROM daily \
             GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        ),
        (
            "kinds",
            "SELECT no, name FROM kinds WHERE no IN (SELECT kind FROM edges) ORDER BY 1",
        ),
        (
            "target_types",
            "SELECT no, name FROM target_types ORDER BY 1",
        ),
        (
            "store",
            "SELECT name, value FROM meta WHERE name IN ('store', 'epoch', 'partitions') ORDER BY 1",
        ),
    ];
    let mut sql = MySqlConnection::connect(ledger.url()).await.unwrap();
    let mut held = BTreeMap::new();
    for (table, query) in queries {
        let rows = sqlx::query(query).fetch_all(&mut sql).await.unwrap();
        held.insert(table, rows.iter().map(shown).collect());
    }
    held
}

fn shown(row: &MySqlRow) -> String {
    let cell = |at: usize| {
        let number = row.try_get_unchecked::<u64, _>(at);
        let bytes = row.try_get::<Vec<u8>, _>(at);
        match (bytes, number) {
            (Ok(bytes), _) => bytes.escape_ascii().to_string(),
            (Err(_), number) => number.unwrap().to_string(),
        }
    };
    let cells: Vec<String> = (0..row.len()).map(cell).collect();
    cells.join(" ")
}

/// Panics where two ledgers differ, with the first rows that do.
pub async fn same(one: &Database, other: &Database) {
    let (one, other) = (held(one).await, held(other).await);
    for (table, rows) in &one {
        let others = &other[table];
        let differing = rows.iter().zip(others).find(|(a, b)| a != b);
        assert_eq!(differing, None, "{table}");
        assert_eq!(rows.len(), others.len(), "{table}");
    }
    assert!(!one["edges"].is_empty());
}

/// One number that a ledger answers.
pub async fn number(ledger: &Database, query: &str) -> u64 {
    let mut sql = MySqlConnection::connect(ledger.url()).await.unwrap();
    let number: i64 = sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
        .fetch_one(&mut sql)
        .await
        .unwrap();
    number.unsigned_abs()
}

/// How often edges flipped, as a ledger has it; `None` while it has no tables.
pub async fn flips(ledger: &Database) -> Option<u64> {
    let mut sql = MySqlConnection::connect(ledger.url()).await.unwrap();
    let flips = "SELECT CAST(COALESCE(SUM(sets + unsets), 0) AS SIGNED) FROM daily \
                 WHERE target_type = 0";
    let flips = sqlx::query_scalar::<_, i64>(flips)
        .fetch_one(&mut sql)
        .await;
    flips.ok().map(i64::unsigned_abs)
}

/// Waits until a ledger has at least so many flips; how many it has.
pub async fn recorded(ledger: &Database, least: u64) -> u64 {
    until(SOON, "the ledger has them", || async {
        match flips(ledger).await {
            Some(flips) if flips >= least => Ok(flips),
            flips => Err(format!("{flips:?} of {least}")),
        }
    })
    .await
}

/// Copies all tables of a quiet ledger into an empty database, as a backup would.
pub async fn back_up(ledger: &Database) -> Database {
    let copy = database().await;
    let mut sql = MySqlConnection::connect(copy.url()).await.unwrap();
    let tables = format!(
        "SELECT CAST(table_name AS BINARY) FROM information_schema.tables WHERE table_schema = '{}'",
        ledger.name()
    );
    let tables: Vec<Vec<u8>> = sqlx::query_scalar(AssertSqlSafe(tables))
        .fetch_all(&mut sql)
        .await
        .unwrap();
    for table in tables {
        let (table, from) = (String::from_utf8(table).unwrap(), ledger.name());
        for statement in [
            format!("CREATE TABLE {table} LIKE {from}.{table}"),
            format!("INSERT INTO {table} SELECT * FROM {from}.{table}"),
        ] {
            let statement = sqlx::query(AssertSqlSafe(statement));
            statement.execute(&mut sql).await.unwrap();
        }
    }
    copy
}
