//! How the schema comes to be.

use acclaim_cluster::ledger::dictionary::DictionaryError;
use acclaim_cluster::ledger::migrate::Migrated;
use acclaim_cluster::ledger::schema::{MIGRATIONS, Migration};
use acclaim_cluster::ledger::{LedgerError, SchemaError};
use acclaim_core::TargetType;
use acclaim_core::limits::MAX_TARGET_TYPES;
use sqlx::{Connection, Executor};

use crate::sql::{Sql, connect, numbers, on_each_server};
use crate::stage::ledger;

const NEWEST: u32 = MIGRATIONS.len() as u32;

async fn nodes_that_migrate_at_once_agree(sql: Sql) {
    let url = sql.database().await;
    let before = ledger(&url).await.check_schema().await;
    let older = SchemaError::Older {
        found: 0,
        known: NEWEST,
    };
    assert!(matches!(before, Err(LedgerError::Schema(error)) if error == older));
    let nodes = (0..4).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { ledger(&url).await.migrate().await.unwrap() })
    });
    let mut froms = Vec::new();
    for node in nodes.collect::<Vec<_>>() {
        let Migrated { from, to } = node.await.unwrap();
        assert_eq!(to, NEWEST);
        froms.push(from);
    }
    froms.sort_unstable();
    assert_eq!(
        froms,
        [0, NEWEST, NEWEST, NEWEST],
        "one did it, the others found it done"
    );
    let again = ledger(&url).await.migrate().await.unwrap();
    assert_eq!(
        again,
        Migrated {
            from: NEWEST,
            to: NEWEST
        }
    );
    ledger(&url).await.check_schema().await.unwrap();
}

async fn a_newer_schema_is_refused(sql: Sql) {
    let url = sql.database().await;
    ledger(&url).await.migrate().await.unwrap();
    let mut conn = connect(&url).await;
    let add = "INSERT INTO schema_versions VALUES (999, 'later', 1, 0, UTC_TIMESTAMP(6))";
    conn.execute(add).await.unwrap();
    let newer = SchemaError::Newer {
        found: 999,
        known: NEWEST,
    };
    for outcome in [
        ledger(&url).await.migrate().await.map(|_| ()),
        ledger(&url).await.check_schema().await,
    ] {
        assert!(matches!(outcome, Err(LedgerError::Schema(error)) if error == newer));
    }
}

static BROKEN: &[Migration] = &[Migration {
    version: 1,
    name: "broken",
    statements: &[
        "CREATE TABLE one (n INT)",
        "CREATE TABLE one (m INT)",
        "CREATE TABLE two (n INT)",
    ],
}];
static MENDED: &[Migration] = &[Migration {
    version: 1,
    name: "broken",
    statements: &[
        "CREATE TABLE one (n INT)",
        "CREATE TABLE three (m INT)",
        "CREATE TABLE two (n INT)",
    ],
}];

async fn a_migration_that_stopped_half_way_is_told_and_not_gone_on_with(sql: Sql) {
    let url = sql.database().await;
    let ledger = ledger(&url).await;
    let broken = ledger.migrate_with(BROKEN).await.unwrap_err();
    assert!(broken.to_string().contains("already exists"), "{broken}");
    for migrations in [BROKEN, MENDED] {
        let outcome = ledger.migrate_with(migrations).await;
        let Err(LedgerError::Schema(SchemaError::HalfApplied {
            version: 1,
            statement: 2,
            statements: 3,
            text,
            ..
        })) = outcome
        else {
            panic!("{outcome:?}");
        };
        assert_eq!(text, migrations[0].statements[1]);
    }
    // As the message says: the statement took no effect, so it is begun again.
    let mut conn = connect(&url).await;
    conn.execute("UPDATE schema_versions SET stopped = 0 WHERE version = 1")
        .await
        .unwrap();
    let migrated = ledger.migrate_with(MENDED).await.unwrap();
    assert_eq!(migrated.to, 1);
    conn.execute("SELECT n FROM two").await.unwrap();
    conn.close().await.unwrap();
}

async fn names_get_one_number_however_many_nodes_ask(sql: Sql) {
    let url = sql.database().await;
    ledger(&url).await.migrate().await.unwrap();
    let nodes = (0..6).map(|node| {
        let url = url.clone();
        tokio::spawn(async move {
            let ledger = ledger(&url).await;
            let mut numbers = vec![Default::default(); 20];
            for n in 0..20 {
                // Each node in its own order.
                let n = (n * 7 + node * 3) % 20;
                let target_type = TargetType::parse(&format!("T{n}")).unwrap();
                let no = ledger.type_no(&target_type).await.unwrap();
                assert_eq!(ledger.type_name(no).await.unwrap(), Some(target_type));
                numbers[n] = no.0;
            }
            numbers
        })
    });
    let mut all: Vec<Vec<u16>> = Vec::new();
    for node in nodes.collect::<Vec<_>>() {
        all.push(node.await.unwrap());
    }
    all.dedup();
    assert_eq!(all.len(), 1, "{all:?}");
    let mut numbers = all.remove(0);
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<u16>>());
    let fresh = ledger(&url).await;
    assert_eq!(
        fresh
            .known_type_no(&TargetType::parse("T77").unwrap())
            .await
            .unwrap(),
        None
    );
    assert!(
        fresh
            .known_type_no(&TargetType::parse("T7").unwrap())
            .await
            .unwrap()
            .is_some()
    );
}

async fn the_dictionary_has_an_end(sql: Sql) {
    let url = sql.database().await;
    let ledger = ledger(&url).await;
    ledger.migrate().await.unwrap();
    let mut conn = connect(&url).await;
    let fill = format!(
        "INSERT INTO target_types SELECT seq, CONCAT('T', seq) FROM {}",
        numbers(MAX_TARGET_TYPES - 1)
    );
    conn.execute(sqlx::AssertSqlSafe(fill)).await.unwrap();
    ledger
        .type_no(&TargetType::parse("LAST").unwrap())
        .await
        .unwrap();
    let over = ledger.type_no(&TargetType::parse("OVER").unwrap()).await;
    assert!(
        matches!(
            over,
            Err(DictionaryError::Full {
                limit: MAX_TARGET_TYPES,
                ..
            })
        ),
        "{over:?}"
    );
}

on_each_server!(
    nodes_that_migrate_at_once_agree,
    a_newer_schema_is_refused,
    a_migration_that_stopped_half_way_is_told_and_not_gone_on_with,
    names_get_one_number_however_many_nodes_ask,
    the_dictionary_has_an_end,
);
