//! Events that cannot be applied.

use acclaim_cluster::redis::keys::TargetName;
use acclaim_cluster::redis::read::Found;
use acclaim_cluster::worker::WorkerLimits;
use acclaim_cluster::worker::dead_letters::{list, retry};
use acclaim_core::port::Resent;
use acclaim_core::{Id, Kinds};

use crate::stage::{Stage, limits, watch};

fn kinds() -> Kinds {
    Kinds::new([]).unwrap()
}

/// Puts an entry into the journal of partition 0 that no script of ours would.
async fn slip_in(stage: &Stage, text: &str) {
    let mut get = redis::cmd("GET");
    let last: u64 = stage.server.query(get.arg("{p1.0}:l")).await;
    let seq = last + 1;
    let mut add = redis::cmd("XADD");
    add.arg("{p1.0}:j")
        .arg(format!("{seq}-0"))
        .arg("e")
        .arg(text);
    stage.server.query::<String>(&add).await;
    let mut set = redis::cmd("SET");
    stage.server.query::<()>(set.arg("{p1.0}:l").arg(seq)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_is_put_away_and_the_rest_goes_on() {
    let mut stage = Stage::with(1).await;
    stage.toggle(1..=3, 1..=5).await;
    slip_in(&stage, "this is no event").await;
    slip_in(&stage, &format!("9999:{}:1 7 + 1", stage.target_type)).await;
    stage.toggle(1..=3, 4..=8).await;
    let worker = stage.start("one", limits());
    stage.drained().await;
    stage.compare().await;
    watch(&worker, "two letters", |n| n.buried == 2).await;
    let letters = stage.ledger.dead_letters(0, 10).await.unwrap();
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0].payload, b"this is no event");
    let listed = list(&stage.ledger, letters[0].id, 10).await.unwrap();
    assert_eq!((listed.len(), listed[0].id), (1, letters[1].id));
    assert!(listed[0].event.starts_with("9999:"), "{}", listed[0].event);
    assert!(
        letters[0].reason.contains("not a transition"),
        "{}",
        letters[0].reason
    );
    assert!(letters[1].reason.contains("9999"), "{}", letters[1].reason);

    // The first stays what it is. The second is one when its kind is known, also while the worker
    // goes on.
    let (redis, ledger) = (&stage.redis, &stage.ledger);
    let still = retry(redis, ledger, &kinds(), letters[0].id).await.unwrap();
    assert!(matches!(still, Some(Resent::Refused(reason)) if reason.contains("not a transition")));
    let still = retry(redis, ledger, &kinds(), letters[1].id).await.unwrap();
    assert!(matches!(still, Some(Resent::Refused(_))), "{still:?}");
    stage
        .execute("INSERT INTO kinds (no, name) VALUES (9999, 'later')")
        .await;
    assert_eq!(
        retry(redis, ledger, &kinds(), letters[1].id).await.unwrap(),
        Some(Resent::Applied)
    );
    assert_eq!(
        retry(redis, ledger, &kinds(), letters[1].id).await.unwrap(),
        None
    );
    assert_eq!(
        stage
            .number("SELECT COUNT(*) FROM edges WHERE kind = 9999")
            .await,
        1
    );
    assert_eq!(stage.ledger.dead_letters(0, 10).await.unwrap().len(), 1);
    stage.compare().await;
    worker.stop().await;
}

/// A transaction that is refused as a whole because of one event.
#[tokio::test(flavor = "multi_thread")]
async fn the_event_that_a_batch_is_refused_for_is_found() {
    let mut stage = Stage::with(1).await;
    stage
        .execute(
            "CREATE TRIGGER poison BEFORE INSERT ON edges FOR EACH ROW IF HEX(NEW.user) LIKE \
             '%0BAD' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF",
        )
        .await;
    stage.toggle(1..=5, 1..=40).await;
    stage.toggle(3..=3, 0x0BAD..=0x0BAD).await;
    stage.toggle(1..=5, 20..=60).await;
    let worker = stage.start("one", limits());
    stage.drained().await;
    let numbers = watch(&worker, "one letter", |n| n.buried == 1).await;
    assert_eq!(numbers.refused_batches, 4, "the fifth time was the last");
    let letters = stage.ledger.dead_letters(0, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert!(
        letters[0].reason.contains("not this one"),
        "{}",
        letters[0].reason
    );
    let still = retry(&stage.redis, &stage.ledger, &kinds(), letters[0].id)
        .await
        .unwrap();
    assert!(matches!(still, Some(Resent::Refused(reason)) if reason.contains("not this one")));

    stage.execute("DROP TRIGGER poison").await;
    // What Redis has of the target may have been loaded without the event.
    let target: TargetName = stage.post(3);
    let sent = retry(&stage.redis, &stage.ledger, &kinds(), letters[0].id)
        .await
        .unwrap();
    assert_eq!(sent, Some(Resent::Applied));
    let edge = [(target.clone(), Some(Id::Number(0x0BAD)))];
    let found = stage.redis.read(stage.journal(0), &edge).await.unwrap();
    assert!(matches!(found[0], Found::Cold(_)), "{found:?}");
    stage.compare().await;
    worker.stop().await;
}

/// A ledger that refuses everything is at fault itself: nothing is put away, everything waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_refuses_everything_buries_nothing() {
    let mut stage = Stage::with(1).await;
    stage
        .execute(
            "CREATE TRIGGER poison BEFORE INSERT ON edges FOR EACH ROW \
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'none at all'",
        )
        .await;
    stage.toggle(1..=5, 1..=40).await;
    let hasty = WorkerLimits {
        poison_attempts: 2,
        ..limits()
    };
    let worker = stage.start("one", hasty);
    let numbers = watch(&worker, "many refusals", |n| n.refused_batches >= 6).await;
    assert_eq!((numbers.buried, numbers.events), (0, 0));
    watch(&worker, "the backlog to be seen", |n| {
        n.backlog_events == 200
    })
    .await;
    stage.execute("DROP TRIGGER poison").await;
    stage.drained().await;
    stage.compare().await;
    assert_eq!(stage.ledger.dead_letters(0, 10).await.unwrap(), []);
    worker.stop().await;
}
