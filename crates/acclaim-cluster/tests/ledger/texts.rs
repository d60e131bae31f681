//! The texts of imports: room, pieces, their jobs, and when they go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use acclaim_cluster::ledger::journals::imports::{ImportProgress, ImportWork};
use acclaim_cluster::ledger::journals::jobs::Work;
use acclaim_cluster::ledger::journals::texts::{PIECE_BYTES, Room, TextId};
use acclaim_cluster::ledger::{Bounds, Ledger};
use acclaim_core::port::{JobSpec, JobState};
use acclaim_core::transfer::Format;
use acclaim_core::{Kinds, Rev};

use crate::sql::{Sql, on_each_server};
use crate::stage::kind;

const IDLE: Duration = Duration::from_secs(60);
const LENGTH: Duration = Duration::from_secs(10);

async fn ledger(sql: Sql) -> (Ledger, Arc<AtomicU64>) {
    let clock = Arc::new(AtomicU64::new(1_000_000_000));
    let url = sql.database().await;
    let ledger = Ledger::with_clock(&url, Bounds::default(), Some(Arc::clone(&clock))).unwrap();
    ledger.migrate().await.unwrap();
    (ledger, clock)
}

fn work(text: TextId) -> ImportWork {
    ImportWork {
        text,
        format: Format::Csv,
        kind: Some("likes".to_owned()),
        target_type: None,
        taken: Rev(5),
        step_lines: 10,
    }
}

async fn all_texts_share_their_room(sql: Sql) {
    let (ledger, _) = ledger(sql).await;
    let (one, two) = (TextId::new(), TextId::new());
    for text in [one, two] {
        assert!(ledger.begin_text(text).await.unwrap());
    }
    let room = async |text, bytes| ledger.take_room(text, bytes, 1_000).await.unwrap();
    assert_eq!(room(one, 600).await, Room::Taken);
    assert_eq!(room(two, 401).await, Room::Full { held: 600 });
    assert_eq!(room(two, 400).await, Room::Taken);
    assert_eq!(room(one, 600).await, Room::Taken, "asked for again");
    assert_eq!(room(one, 601).await, Room::Full { held: 1_000 });
    ledger.give_up_text(two, Duration::ZERO).await.unwrap();
    assert_eq!(room(one, 1_000).await, Room::Taken);
    assert_eq!(room(two, 0).await, Room::Gone);
}

async fn a_text_is_read_by_pieces_and_goes(sql: Sql) {
    let (ledger, _) = ledger(sql).await;
    let text = TextId::new();
    assert!(ledger.begin_text(text).await.unwrap());
    let bytes = 40 * PIECE_BYTES as u64;
    ledger.take_room(text, bytes, bytes).await.unwrap();
    for number in [0, 15, 16, 39] {
        let piece = vec![number as u8; PIECE_BYTES];
        for _ in 0..2 {
            ledger.write_piece(text, number, &piece).await.unwrap();
        }
        assert_eq!(ledger.piece(text, number).await.unwrap(), Some(piece));
    }
    assert_eq!(ledger.piece(text, 1).await.unwrap(), None);
    ledger.remove_text(text).await.unwrap();
    for number in [0, 15, 16, 39] {
        assert_eq!(ledger.piece(text, number).await.unwrap(), None);
    }
    ledger.remove_text(text).await.unwrap();
}

async fn a_text_has_one_job(sql: Sql) {
    let (ledger, clock) = ledger(sql).await;
    let text = TextId::new();
    assert_eq!(ledger.queue_import(&work(text)).await.unwrap(), None);
    assert!(ledger.begin_text(text).await.unwrap());
    ledger.take_room(text, 70, 1_000).await.unwrap();
    let id = ledger.queue_import(&work(text)).await.unwrap();
    assert!(id.is_some());
    assert_eq!(ledger.queue_import(&work(text)).await.unwrap(), id);
    let queued = ledger.job(id.unwrap()).await.unwrap().unwrap();
    assert_eq!((queued.job.as_str(), queued.total), ("import text/csv", 70));
    assert_eq!(queued.import, Some(Default::default()));

    let kinds = Kinds::default();
    let taken = ledger.take_job("one", LENGTH, &kinds).await.unwrap();
    let mut taken = taken.unwrap();
    assert_eq!(taken.work, Work::Import(work(text)));
    let mut progress = ImportProgress::default();
    progress.summary.lines = 3;
    let noted = ledger.note_import(&mut taken, &progress, Some(LENGTH));
    assert!(noted.await.unwrap());
    // While it runs its text stays, however long nobody sent anything.
    clock.fetch_add(10 * IDLE.as_micros() as u64, Ordering::SeqCst);
    ledger.give_up_text(text, Duration::ZERO).await.unwrap();
    assert_eq!(ledger.idle_texts(IDLE).await.unwrap(), []);
    let stolen = ledger.take_job("other", LENGTH, &kinds).await.unwrap();
    let mut stolen = stolen.unwrap();
    let read = ImportProgress::unpack(&stolen.progress, &stolen.rejections);
    assert_eq!(read.unwrap(), progress);
    assert!(
        !ledger
            .note_import(&mut taken, &progress, None)
            .await
            .unwrap()
    );
    for _ in 0..2 {
        assert!(
            ledger
                .note_import(&mut stolen, &progress, None)
                .await
                .unwrap()
        );
    }
    let done = ledger.job(stolen.id).await.unwrap().unwrap();
    assert_eq!((done.state, done.done), (JobState::Done, 70));
    assert_eq!(done.import.unwrap().lines, 3);
    assert_eq!(ledger.idle_texts(IDLE).await.unwrap(), [(text, false)]);
}

async fn a_silent_text_is_found(sql: Sql) {
    let (ledger, clock) = ledger(sql).await;
    let text = TextId::new();
    assert!(ledger.begin_text(text).await.unwrap());
    let advance = |micros| clock.fetch_add(micros, Ordering::SeqCst);
    let idle = IDLE.as_micros() as u64;
    advance(idle - 1);
    assert_eq!(ledger.idle_texts(IDLE).await.unwrap(), []);
    advance(1);
    assert_eq!(ledger.idle_texts(IDLE).await.unwrap(), [(text, true)]);
    assert!(ledger.touch_text(text).await.unwrap());
    // Somebody sent something of it meanwhile.
    ledger.give_up_text(text, IDLE).await.unwrap();
    assert!(ledger.touch_text(text).await.unwrap());
    advance(idle);
    ledger.give_up_text(text, IDLE).await.unwrap();
    assert!(!ledger.touch_text(text).await.unwrap());
    assert_eq!(ledger.queue_import(&work(text)).await.unwrap(), None);
}

async fn texts_under_way_count_as_jobs(sql: Sql) {
    use acclaim_cluster::ledger::journals::jobs::MAX_OPEN_JOBS;
    let (ledger, _) = ledger(sql).await;
    let kinds = Kinds::default();
    let spec = JobSpec::Recover(kind(0));
    for _ in 1..MAX_OPEN_JOBS {
        assert!(ledger.queue_job(&spec, &kinds).await.unwrap().is_some());
    }
    let text = TextId::new();
    assert!(ledger.begin_text(text).await.unwrap());
    assert!(!ledger.begin_text(TextId::new()).await.unwrap());
    assert_eq!(ledger.queue_job(&spec, &kinds).await.unwrap(), None);
    assert!(ledger.queue_import(&work(text)).await.unwrap().is_some());
    assert!(!ledger.begin_text(TextId::new()).await.unwrap());
}

on_each_server!(
    all_texts_share_their_room,
    a_text_is_read_by_pieces_and_goes,
    a_text_has_one_job,
    a_silent_text_is_found,
    texts_under_way_count_as_jobs,
);
