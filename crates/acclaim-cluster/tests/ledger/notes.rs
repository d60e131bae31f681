//! The records of notifications, and the duty.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use acclaim_cluster::ledger::notes::{MAX_KEY_BYTES, MAX_VALUE_BYTES, Noted};
use acclaim_cluster::ledger::{Bounds, Ledger, LedgerError};
use acclaim_core::notify::{Batch, Duty, Key, Record};
use acclaim_servers::Direction;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use crate::sql::{Sql, on_each_server};

const LENGTH: Duration = Duration::from_secs(10);

async fn ledger(sql: Sql) -> Ledger {
    let ledger = Ledger::new(&sql.database().await, Bounds::default()).unwrap();
    ledger.migrate().await.unwrap();
    ledger
}

fn key(text: &str) -> Key {
    text.as_bytes().to_vec()
}

fn put(text: &str, value: &str) -> (Key, Option<Vec<u8>>) {
    (key(text), Some(value.as_bytes().to_vec()))
}

async fn all(ledger: &Ledger) -> Vec<Record> {
    ledger.notes_after(b"", None, usize::MAX).await.unwrap()
}

async fn write(ledger: &Ledger, batch: Batch) -> Noted {
    ledger.write_notes(batch).await.unwrap()
}

#[derive(Clone, Debug)]
struct Step {
    expected: Vec<(Key, bool)>,
    writes: Vec<(Key, Option<Vec<u8>>)>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = prop::collection::vec(prop_oneof![Just(0u8), Just(b'a'), Just(0xff)], 1..4);
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..4));
    let step = (
        prop::collection::vec((key.clone(), prop::bool::weighted(0.9)), 0..3),
        prop::collection::vec((key, value), 0..6),
    );
    let step = step.prop_map(|(expected, writes)| Step { expected, writes });
    prop::collection::vec(step, 1..25)
}

/// Batches do what they do to a plain map; scans and look-ups see what that holds.
async fn records_are_a_sorted_map(sql: Sql) {
    let ledger = ledger(sql).await;
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..6 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let gone = all(&ledger).await.into_iter();
        write(
            &ledger,
            Batch::of(gone.map(|(key, _)| (key, None)).collect()),
        )
        .await;
        let mut plain: BTreeMap<Key, Vec<u8>> = BTreeMap::new();
        for step in steps {
            let mut holds = true;
            let mut seen: BTreeMap<Key, bool> = BTreeMap::new();
            let expected = step.expected.into_iter().map(|(key, is_so)| {
                // Of one record the same is expected each time.
                let is_so = *seen.entry(key.clone()).or_insert(is_so);
                holds &= is_so;
                let value = plain.get(&key).cloned();
                let other = value.is_none().then(|| b"other".to_vec());
                (key, if is_so { value } else { other })
            });
            let batch = Batch {
                expected: expected.collect(),
                writes: step.writes.clone(),
                ..Batch::default()
            };
            let noted = write(&ledger, batch.clone()).await;
            let as_it_should = if holds {
                Noted::Written(None)
            } else {
                Noted::Conflict
            };
            assert_eq!(noted, as_it_should, "{batch:?} over {plain:?}");
            if holds {
                for (key, value) in step.writes {
                    match value {
                        Some(value) => plain.insert(key, value),
                        None => plain.remove(&key),
                    };
                }
            }
        }
        let listed: Vec<Record> = plain.clone().into_iter().collect();
        assert_eq!(all(&ledger).await, listed);
        let keys: Vec<Key> = listed.iter().map(|(key, _)| key.clone()).collect();
        let asked: Vec<Key> = keys.iter().cloned().chain([key("none")]).collect();
        let found = ledger.notes(&asked).await.unwrap();
        let mut values: Vec<_> = listed
            .iter()
            .map(|(_, value)| Some(value.clone()))
            .collect();
        values.push(None);
        assert_eq!(found, values);
        for prefix in [&b"a"[..], b"\xff", b"\x00a", b"a\xff"] {
            let mut walked: Vec<Record> = Vec::new();
            loop {
                let after = walked.last().map(|(key, _)| key.clone());
                let page = ledger
                    .notes_after(prefix, after.as_deref(), 2)
                    .await
                    .unwrap();
                if page.is_empty() {
                    break;
                }
                walked.extend(page);
            }
            let of_prefix = listed.iter().filter(|(key, _)| key.starts_with(prefix));
            assert_eq!(walked, of_prefix.cloned().collect::<Vec<_>>());
        }
    }
}

/// Of those who expect the same, one is right, also where nothing is there yet.
async fn one_of_many_who_expect_the_same_writes(sql: Sql) {
    let ledger = ledger(sql).await;
    for round in 0..10 {
        let before = ledger.notes(&[key("one")]).await.unwrap().remove(0);
        let tries = (0..6).map(|n| {
            let ledger = ledger.clone();
            let batch = Batch::of(vec![
                put("one", &format!("{round}.{n}")),
                put(&format!("by{n}"), ""),
            ]);
            let batch = batch.expecting(key("one"), before.clone());
            tokio::spawn(async move { write(&ledger, batch).await })
        });
        let mut written = Vec::new();
        for (n, task) in tries.collect::<Vec<_>>().into_iter().enumerate() {
            match task.await.unwrap() {
                Noted::Written(_) => written.push(n),
                noted => assert_eq!(noted, Noted::Conflict),
            }
        }
        assert_eq!(written.len(), 1, "{written:?}");
        let by = all(&ledger).await;
        let by: Vec<_> = by
            .iter()
            .filter(|(key, _)| key.starts_with(b"by"))
            .collect();
        assert_eq!(by.len(), 1, "the others left nothing");
        let gone = vec![(by[0].0.clone(), None)];
        write(&ledger, Batch::of(gone)).await;
    }
}

/// What is only expected not to be there is not there afterwards, and keeps others out meanwhile.
async fn what_is_not_there_can_be_expected(sql: Sql) {
    let ledger = ledger(sql).await;
    let batch = Batch::of(vec![put("a", "1")]).expecting(key("epoch"), None);
    assert_eq!(write(&ledger, batch.clone()).await, Noted::Written(None));
    assert_eq!(all(&ledger).await, [(key("a"), b"1".to_vec())]);
    write(&ledger, Batch::of(vec![put("epoch", "1")])).await;
    assert_eq!(write(&ledger, batch).await, Noted::Conflict);
}

async fn bounds_have_edges(sql: Sql) {
    let ledger = ledger(sql).await;
    let batch = |key: usize, value: usize| Batch::of(vec![(vec![b'k'; key], Some(vec![0; value]))]);
    write(&ledger, batch(MAX_KEY_BYTES, MAX_VALUE_BYTES)).await;
    let found = ledger.notes(&[vec![b'k'; MAX_KEY_BYTES]]).await.unwrap();
    assert_eq!(found[0].as_ref().map(Vec::len), Some(MAX_VALUE_BYTES));
    for (key, value) in [(MAX_KEY_BYTES + 1, 0), (1, MAX_VALUE_BYTES + 1)] {
        let refused = ledger.write_notes(batch(key, value)).await.unwrap_err();
        assert!(
            matches!(refused.error, LedgerError::TooMany { .. }),
            "{refused:?}"
        );
        assert!(!refused.is_open);
    }
    assert_eq!(all(&ledger).await.len(), 1);
}

async fn who_wakes_counts(sql: Sql) {
    let ledger = ledger(sql).await;
    for count in 1..4 {
        let noted = write(&ledger, Batch::default().waking()).await;
        assert_eq!(noted, Noted::Written(Some(count)));
        assert_eq!(ledger.wakes().await.unwrap(), count);
    }
}

/// The answer to a COMMIT that is lost does not make a conflict of what was written.
async fn a_commit_whose_answer_is_lost_is_found(sql: Sql) {
    let url = sql.database().await;
    let direct = Ledger::new(&url, Bounds::default()).unwrap();
    direct.migrate().await.unwrap();
    let (proxy, by) = sql.proxy(&url).await;
    let ledger = Ledger::new(&by, Bounds::default()).unwrap();
    write(&ledger, Batch::of(vec![put("a", "1")])).await;
    proxy.lose_reply_to(b"\x03COMMIT");
    let batch = Batch::of(vec![put("a", "2"), put("b", "1")]);
    let batch = batch.expecting(key("a"), Some(b"1".to_vec()));
    assert_eq!(write(&ledger, batch).await, Noted::Written(None));
    let there = [(key("a"), b"2".to_vec()), (key("b"), b"1".to_vec())];
    assert_eq!(all(&direct).await, there);
    proxy.cut_after(Direction::ToServer, b"\x03COMMI");
    let batch = Batch::of(vec![put("a", "3")]).expecting(key("a"), Some(b"2".to_vec()));
    assert_eq!(write(&ledger, batch).await, Noted::Written(None));
    let found = direct.notes(&[key("a")]).await.unwrap();
    assert_eq!(found, [Some(b"3".to_vec())]);
}

/// One has the duty; whoever had it before writes nothing more, whatever it believes.
async fn a_duty_believed_by_two_is_one_s(sql: Sql) {
    let url = sql.database().await;
    let clock = Arc::new(AtomicU64::new(1_000_000_000));
    let node = || Ledger::with_clock(&url, Bounds::default(), Some(Arc::clone(&clock))).unwrap();
    let (one, other) = (node(), node());
    one.migrate().await.unwrap();
    let pass = |length: Duration| clock.fetch_add(length.as_micros() as u64, Ordering::SeqCst);
    assert!(
        !one.duty().await.unwrap().is_done(LENGTH),
        "nobody ever had it"
    );
    let first = one.take_duty("one", LENGTH).await.unwrap().unwrap();
    assert_eq!(other.take_duty("other", LENGTH).await.unwrap(), None);
    pass(LENGTH / 2);
    assert!(one.keep_duty(first, LENGTH).await.unwrap());
    pass(LENGTH / 2);
    assert_eq!(other.take_duty("other", LENGTH).await.unwrap(), None);
    let on = |fence| {
        Batch::of(vec![put("a", &format!("{fence}"))]).on(Duty {
            fence,
            lasts: Some(LENGTH),
        })
    };
    assert_eq!(write(&one, on(first)).await, Noted::Written(None));
    pass(LENGTH / 2);
    // It is over and nobody's: no harm is done.
    assert_eq!(write(&one, on(first)).await, Noted::Written(None));
    let second = other.take_duty("other", LENGTH).await.unwrap().unwrap();
    assert!(second > first);
    assert_eq!(write(&one, on(first)).await, Noted::Displaced);
    assert!(!one.keep_duty(first, LENGTH).await.unwrap());
    one.leave_duty(first).await.unwrap();
    assert_eq!(write(&other, on(second)).await, Noted::Written(None));
    let state = one.duty().await.unwrap();
    assert_eq!((state.owner.as_str(), state.fence), ("other", second));
    assert_eq!(state.left, LENGTH, "not ended by the one before");
    other.leave_duty(second).await.unwrap();
    assert_eq!(
        one.take_duty("one", LENGTH).await.unwrap(),
        Some(second + 1)
    );
    let found = one.notes(&[key("a")]).await.unwrap();
    assert_eq!(found, [Some(second.to_string().into_bytes())]);
}

on_each_server!(
    records_are_a_sorted_map,
    one_of_many_who_expect_the_same_writes,
    what_is_not_there_can_be_expected,
    bounds_have_edges,
    who_wakes_counts,
    a_commit_whose_answer_is_lost_is_found,
    a_duty_believed_by_two_is_one_s,
);
