//! Audit, checks and jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use acclaim_cluster::ledger::journals::checks::MAX_FINDINGS;
use acclaim_cluster::ledger::journals::jobs::{MAX_OPEN_JOBS, MAX_PROGRESS_BYTES, Work};
use acclaim_cluster::ledger::{Bounds, Ledger};
use acclaim_core::port::{CheckReport, Finding, Invariant, JobSpec, JobState};
use acclaim_core::{Id, Kinds, Rev};

use crate::sql::{Sql, on_each_server};
use crate::stage::{kind, target};

const HOUR: u64 = 3_600_000_000;
const LENGTH: Duration = Duration::from_secs(10);

async fn ledger(sql: Sql) -> (Ledger, Arc<AtomicU64>) {
    let clock = Arc::new(AtomicU64::new(1_000 * HOUR));
    let url = sql.database().await;
    let ledger = Ledger::with_clock(&url, Bounds::default(), Some(Arc::clone(&clock))).unwrap();
    ledger.migrate().await.unwrap();
    (ledger, clock)
}

async fn the_audit_is_read_newest_first_and_by_hours(sql: Sql) {
    let (ledger, clock) = ledger(sql).await;
    ledger.write_audit("erase", "user 1; '\"--").await.unwrap();
    clock.fetch_add(2 * HOUR, Ordering::SeqCst);
    ledger
        .write_audit("recover", &"ä".repeat(9_000))
        .await
        .unwrap();
    let all = ledger.audit(3).await.unwrap();
    let actions: Vec<&str> = all.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["recover", "erase"]);
    assert_eq!(all[0].detail.chars().count(), 4_096);
    assert_eq!(
        (all[1].detail.as_str(), all[1].at),
        ("user 1; '\"--", Rev(1_000 * HOUR))
    );
    assert_eq!(ledger.audit(1).await.unwrap().len(), 1);
}

async fn checks_are_summed_by_hours(sql: Sql) {
    let (ledger, clock) = ledger(sql).await;
    let finding = Finding {
        invariant: Invariant::TargetCount,
        subject: "likes POST:1".to_owned(),
        expected: "1".to_owned(),
        found: "2".to_owned(),
        repaired: true,
    };
    let report = CheckReport {
        checked: 10,
        mismatches: 1,
        repaired: 1,
        findings: vec![finding.clone(); MAX_FINDINGS + 1],
    };
    ledger.write_check(&report).await.unwrap();
    clock.fetch_add(2 * HOUR, Ordering::SeqCst);
    ledger
        .write_check(&CheckReport {
            findings: vec![finding],
            ..report
        })
        .await
        .unwrap();
    let both = ledger.check_reports(2).await.unwrap();
    assert_eq!((both.checked, both.mismatches, both.repaired), (20, 2, 2));
    assert_eq!(both.findings.len(), MAX_FINDINGS);
    let newest = ledger.check_reports(1).await.unwrap();
    assert_eq!((newest.checked, newest.findings.len()), (10, 1));
}

async fn a_job_goes_on_where_another_node_left_it(sql: Sql) {
    let (ledger, clock) = ledger(sql).await;
    let kinds = Kinds::default();
    let specs = [
        JobSpec::EraseUser(Id::parse("a-b").unwrap()),
        JobSpec::EraseTarget(target("POST:x:y")),
        JobSpec::Recover(kind(1)),
    ];
    let mut ids = Vec::new();
    for spec in &specs {
        ids.push(ledger.queue_job(spec, &kinds).await.unwrap().unwrap());
    }
    let words = ledger.job(ids[0]).await.unwrap().unwrap();
    assert_eq!(
        (words.job.as_str(), words.state),
        ("erase user a-b", JobState::Queued)
    );
    assert_eq!(ledger.job(999).await.unwrap(), None);

    let mut first = ledger
        .take_job("one", LENGTH, &kinds)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (first.id, &first.work),
        (ids[0], &Work::Job(specs[0].clone()))
    );
    let second = ledger
        .take_job("other", LENGTH, &kinds)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(second.work, Work::Job(specs[1].clone()));
    first.done = 5;
    first.progress = vec![7; MAX_PROGRESS_BYTES];
    assert!(ledger.note_progress(&first, LENGTH).await.unwrap());
    clock.fetch_add(LENGTH.as_micros() as u64, Ordering::SeqCst);
    let taken = ledger
        .take_job("other", LENGTH, &kinds)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (taken.id, taken.done, taken.progress.len()),
        (ids[0], 5, MAX_PROGRESS_BYTES)
    );
    assert!(
        !ledger.note_progress(&first, LENGTH).await.unwrap(),
        "it is the other's by now"
    );
    assert!(!ledger.end_job(&first, None).await.unwrap());
    assert!(ledger.end_job(&taken, Some("no more room")).await.unwrap());
    let ended = ledger.job(ids[0]).await.unwrap().unwrap();
    assert_eq!(
        (ended.state, ended.error.as_deref()),
        (JobState::Failed, Some("no more room"))
    );
    first.progress.push(0);
    assert!(ledger.note_progress(&first, LENGTH).await.is_err());
}

async fn jobs_do_not_queue_for_ever(sql: Sql) {
    let (ledger, _) = ledger(sql).await;
    let kinds = Kinds::default();
    let spec = JobSpec::Recover(kind(0));
    for _ in 0..MAX_OPEN_JOBS {
        assert!(ledger.queue_job(&spec, &kinds).await.unwrap().is_some());
    }
    assert_eq!(ledger.queue_job(&spec, &kinds).await.unwrap(), None);
}

on_each_server!(
    the_audit_is_read_newest_first_and_by_hours,
    checks_are_summed_by_hours,
    a_job_goes_on_where_another_node_left_it,
    jobs_do_not_queue_for_ever,
);
