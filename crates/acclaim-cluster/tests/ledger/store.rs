//! What a store is, and who makes it.

use acclaim_cluster::ledger::store::{DEFAULT_PARTITIONS, FIRST_EPOCH};
use acclaim_cluster::ledger::{Batch, EpochRaised, LedgerError, SchemaError, Store, StoreSpec};
use acclaim_core::page::Position;
use acclaim_core::{Id, Rev};
use sqlx::Executor;

use crate::sql::{Sql, connect, on_each_server};
use crate::stage::{PARTITIONS, ledger};

const SPEC: StoreSpec = StoreSpec {
    partitions: PARTITIONS,
};

fn cursor(store: &Store) -> String {
    let position = Position {
        rev: Rev(7),
        key: Id::Number(8),
    };
    store.cursor_key.sign("a list", &position)
}

async fn nodes_that_make_the_store_at_once_agree(sql: Sql) {
    let url = sql.database().await;
    ledger(&url).await.migrate().await.unwrap();
    assert!(ledger(&url).await.open_store().await.unwrap().is_none());
    let nodes = (0..6).map(|_| {
        let url = url.clone();
        tokio::spawn(async move {
            let spec = StoreSpec::default();
            let ledger = ledger(&url).await;
            ledger.create_or_open_store(&spec).await.unwrap()
        })
    });
    let mut stores = Vec::new();
    for node in nodes.collect::<Vec<_>>() {
        stores.push(node.await.unwrap());
    }
    let reopened = ledger(&url).await.open_store().await.unwrap();
    stores.extend(reopened);
    assert_eq!(stores.len(), 7);
    for store in &stores {
        assert_eq!(store.id, stores[0].id);
        assert_eq!(cursor(store), cursor(&stores[0]));
        assert_eq!(
            (store.partitions, store.epoch),
            (DEFAULT_PARTITIONS, FIRST_EPOCH)
        );
    }
    let partitions = ledger(&url).await.partitions().await.unwrap();
    let numbers: Vec<u16> = partitions.iter().map(|one| one.partition).collect();
    assert_eq!(numbers, (0..DEFAULT_PARTITIONS).collect::<Vec<u16>>());
    assert!(partitions.iter().all(|one| one.epoch == FIRST_EPOCH));

    let other = sql.database().await;
    ledger(&other).await.migrate().await.unwrap();
    let other = ledger(&other).await.create_or_open_store(&SPEC).await;
    let other = other.unwrap();
    assert_ne!(other.id, stores[0].id);
    assert_ne!(cursor(&other), cursor(&stores[0]));
}

async fn the_number_of_partitions_is_fixed(sql: Sql) {
    let url = sql.database().await;
    let ledger = ledger(&url).await;
    ledger.migrate().await.unwrap();
    ledger.create_or_open_store(&SPEC).await.unwrap();
    let more = StoreSpec {
        partitions: PARTITIONS + 1,
    };
    let refused = ledger.create_or_open_store(&more).await.unwrap_err();
    let expected = SchemaError::Partitions {
        found: PARTITIONS,
        asked: PARTITIONS + 1,
    };
    assert!(matches!(&refused, LedgerError::Schema(error) if *error == expected));
    assert!(refused.to_string().contains("set it to 4"), "{refused}");
    for bad in [0, 4_097] {
        let spec = StoreSpec { partitions: bad };
        let refused = ledger.create_or_open_store(&spec).await.unwrap_err();
        assert!(matches!(&refused, LedgerError::Refused(_)), "{refused}");
    }
    ledger.create_or_open_store(&SPEC).await.unwrap();
    let beyond = Batch {
        partition: PARTITIONS,
        epoch: 1,
        fence: 1,
        entries: Vec::new(),
    };
    let outcome = ledger.apply(&beyond).await;
    let expected = matches!(
        outcome,
        Err(LedgerError::NoPartition {
            partition: PARTITIONS,
            partitions: PARTITIONS
        })
    );
    assert!(expected, "{outcome:?}");
}

async fn a_store_may_have_as_many_partitions_as_the_limit(sql: Sql) {
    let url = sql.database().await;
    let ledger = ledger(&url).await;
    ledger.migrate().await.unwrap();
    let spec = StoreSpec { partitions: 4_096 };
    let store = ledger.create_or_open_store(&spec).await.unwrap();
    assert_eq!(store.partitions, 4_096);
    assert_eq!(ledger.partitions().await.unwrap().len(), 4_096);
}

async fn one_node_raises_the_epoch(sql: Sql) {
    let url = sql.database().await;
    let first = ledger(&url).await;
    first.migrate().await.unwrap();
    first.create_or_open_store(&SPEC).await.unwrap();
    let nodes = (0..4).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { ledger(&url).await.raise_epoch(1).await.unwrap() })
    });
    let mut raised = Vec::new();
    for node in nodes.collect::<Vec<_>>() {
        raised.push(node.await.unwrap());
    }
    raised.sort_by_key(|outcome| matches!(outcome, EpochRaised::Theirs(_)));
    assert_eq!(raised[0], EpochRaised::Ours(2));
    assert_eq!(raised[1..], [EpochRaised::Theirs(2); 3]);
    let store = first.open_store().await.unwrap().unwrap();
    assert_eq!(store.epoch, 2);
    let partitions = first.partitions().await.unwrap();
    assert!(partitions.iter().all(|one| one.epoch == 2));
}

async fn a_store_that_lacks_something_is_not_made_anew(sql: Sql) {
    let url = sql.database().await;
    let ledger = ledger(&url).await;
    ledger.migrate().await.unwrap();
    ledger.create_or_open_store(&SPEC).await.unwrap();
    let mut conn = connect(&url).await;
    conn.execute("DELETE FROM meta WHERE name = 'cursor_key'")
        .await
        .unwrap();
    let refused = ledger.create_or_open_store(&SPEC).await.unwrap_err();
    assert!(matches!(&refused, LedgerError::Corrupt(_)), "{refused}");
    assert!(refused.to_string().contains("cursor_key"), "{refused}");
    conn.execute("UPDATE meta SET value = '2' WHERE name = 'format'")
        .await
        .unwrap();
    let refused = ledger.create_or_open_store(&SPEC).await.unwrap_err();
    assert!(refused.to_string().contains("format 2"), "{refused}");
}

on_each_server!(
    nodes_that_make_the_store_at_once_agree,
    the_number_of_partitions_is_fixed,
    a_store_may_have_as_many_partitions_as_the_limit,
    one_node_raises_the_epoch,
    a_store_that_lacks_something_is_not_made_anew,
);
