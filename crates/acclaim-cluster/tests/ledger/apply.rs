//! What a batch may hold, and what becomes of what cannot be applied.

use acclaim_cluster::ledger::{Entry, LedgerError, LedgerEvent, MAX_BATCH_EVENTS};
use acclaim_core::Rev;
use acclaim_core::port::{Event, Place};
use bytes::Bytes;

use crate::sql::{Sql, connect, on_each_server};
use crate::stage::{BASE, Stage, edge};

fn event(seq: u64, user: &str, to: &str, active: bool, count: u64) -> Event {
    Event {
        place: Place::unpartitioned(Rev(seq)),
        edge: edge(0, user, to),
        active,
        rev: Rev(seq),
        count,
    }
}

async fn what_cannot_be_applied_becomes_a_dead_letter_and_the_rest_goes_on(sql: Sql) {
    let stage = Stage::new(sql).await;
    let mut entries = Vec::new();
    for (n, user) in (0..7).zip(["1", "2", "300", "01", "u", "9", "10"]) {
        entries.push(
            stage
                .entry(&event(BASE + n, user, "POST:1", true, n + 1))
                .await,
        );
    }
    let change = |entry: &mut Entry, f: &dyn Fn(&mut LedgerEvent)| {
        f(entry.event.as_mut().unwrap());
    };
    change(&mut entries[1], &|event| event.count = Rev::MAX.0 + 1);
    change(&mut entries[2], &|event| event.kind.0 = 999);
    change(&mut entries[3], &|event| event.target_type.0 = 998);
    change(&mut entries[4], &|event| event.rev = Rev(Rev::MAX.0 + 1));
    entries[5].event = Err("no known version of an event".to_owned());
    entries[5].payload = Bytes::from_static(&[0xff, 0, 0xfe]);
    let batch = stage.batch(0, entries);
    for _ in 0..2 {
        let applied = stage.ledger.apply(&batch).await.unwrap();
        assert_eq!(applied.refused, 5);
        assert_eq!(applied.applied, Rev(BASE + 6));
    }
    let letters = stage.ledger.dead_letters(0, 100).await.unwrap();
    let reasons: Vec<&str> = letters
        .iter()
        .map(|letter| letter.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "count 9007199254740992 is over 9007199254740991",
            "kind number 999 was never given",
            "target type number 998 was never given",
            "rev 9007199254740992 is outside 1 to 9007199254740991",
            "no known version of an event",
        ]
    );
    assert_eq!(letters[4].payload, [0xff, 0, 0xfe]);
    assert_eq!(
        (letters[4].seq, letters[4].partition, letters[4].epoch),
        (Rev(BASE + 5), 0, 1)
    );
    assert_eq!(
        stage
            .ledger
            .dead_letter(letters[0].id)
            .await
            .unwrap()
            .as_ref(),
        Some(&letters[0])
    );
    assert!(
        stage
            .ledger
            .remove_dead_letter(letters[0].id)
            .await
            .unwrap()
    );
    assert!(
        !stage
            .ledger
            .remove_dead_letter(letters[0].id)
            .await
            .unwrap()
    );
    let left = stage.ledger.dead_letters(letters[1].id, 2).await.unwrap();
    assert_eq!(left, letters[2..4]);
    let mut conn = connect(&stage.url).await;
    let (edges,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM edges")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(edges, 2);
}

async fn a_batch_has_an_end(sql: Sql) {
    let stage = Stage::new(sql).await;
    let entry = stage.entry(&event(BASE, "1", "POST:1", true, 1)).await;
    let entries = vec![entry; MAX_BATCH_EVENTS + 1];
    let outcome = stage.ledger.apply(&stage.batch(0, entries.clone())).await;
    let Err(LedgerError::TooMany { given, limit, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((given, limit), (MAX_BATCH_EVENTS + 1, MAX_BATCH_EVENTS));
    let applied = stage
        .ledger
        .apply(&stage.batch(0, entries[1..].to_vec()))
        .await
        .unwrap();
    assert_eq!((applied.flips, applied.stale), (1, MAX_BATCH_EVENTS - 1));
}

async fn the_journal_of_an_older_epoch_is_applied_and_moves_nothing_on(sql: Sql) {
    let stage = Stage::new(sql).await;
    let mut conn = connect(&stage.url).await;
    sqlx::query("UPDATE partitions SET epoch = 2, applied = 7")
        .execute(&mut conn)
        .await
        .unwrap();
    let entry = stage.entry(&event(BASE, "1", "POST:1", true, 1)).await;
    let applied = stage
        .ledger
        .apply(&stage.batch(0, vec![entry.clone()]))
        .await
        .unwrap();
    assert_eq!((applied.flips, applied.applied), (1, Rev(7)));
    let mut ahead = stage.batch(0, vec![entry]);
    ahead.epoch = 3;
    let outcome = stage.ledger.apply(&ahead).await;
    assert!(
        matches!(
            outcome,
            Err(LedgerError::FutureEpoch {
                batch: 3,
                ledger: 2
            })
        ),
        "{outcome:?}"
    );
}

on_each_server!(
    what_cannot_be_applied_becomes_a_dead_letter_and_the_rest_goes_on,
    a_batch_has_an_end,
    the_journal_of_an_older_epoch_is_applied_and_moves_nothing_on,
);
