//! What a check finds, and what it mends.

use std::time::Duration;

use acclaim_cluster::ledger::bulk::{Bulk, BulkEdge, Excludes};
use acclaim_cluster::ledger::check::{CheckPlace, CheckSpec};
use acclaim_core::port::{Event, Invariant, Place};
use acclaim_core::{Id, Rev, TargetType};
use sqlx::Executor;

use crate::sql::{Sql, connect, on_each_server};
use crate::stage::{BASE, Stage, edge};

type Found = (Invariant, String, String, String);

/// All that a check finds, from the beginning to the end; each place as a job would keep it.
pub async fn findings(stage: &Stage, spec: &CheckSpec) -> Vec<Found> {
    walk(stage, spec, false).await.0
}

async fn walk(stage: &Stage, spec: &CheckSpec, repair: bool) -> (Vec<Found>, u64, u64) {
    let (mut found, mut checked, mut steps) = (Vec::new(), 0, 0);
    let mut place = Some(CheckPlace::default());
    while let Some(at) = place {
        let kept: CheckPlace = at.to_string().parse().unwrap();
        let mut step = stage.ledger.check_step(spec, &kept).await.unwrap();
        if repair {
            stage.ledger.repair(&mut step, |_, _| 0).await.unwrap();
            assert_eq!(step.report.repaired, step.mendable);
        }
        assert_eq!(step.report.mismatches as usize, step.report.findings.len());
        for finding in step.report.findings {
            let mendable = !matches!(finding.invariant, Invariant::Exclusion | Invariant::Record);
            assert_eq!(finding.repaired, repair && mendable);
            let (invariant, subject) = (finding.invariant, finding.subject);
            found.push((invariant, subject, finding.expected, finding.found));
        }
        checked += step.report.checked;
        steps += 1;
        place = step.next;
    }
    (found, checked, steps)
}

/// Two users who follow each other and a third who does not, and some likes.
async fn told(sql: Sql) -> Stage {
    let stage = Stage::new(sql).await;
    let edges = [
        (1, "1", "USER:2"),
        (1, "2", "USER:1"),
        (1, "x", "USER:1"),
        (0, "1", "POST:1"),
        (0, "2", "POST:1"),
        (0, "x", "POST:x"),
    ];
    let mut entries = Vec::new();
    for (n, (kind, user, to)) in (0..).zip(edges) {
        let earlier = edges[..n as usize]
            .iter()
            .filter(|e| (e.0, e.2) == (kind, to));
        let event = Event {
            place: Place::unpartitioned(Rev(BASE + n)),
            edge: edge(kind, user, to),
            active: true,
            rev: Rev(BASE + n),
            count: earlier.count() as u64 + 1,
        };
        entries.push(stage.entry(&event).await);
    }
    stage.ledger.apply(&stage.batch(0, entries)).await.unwrap();
    stage
}

async fn every_kind_of_harm_is_found_and_what_can_be_is_mended(sql: Sql) {
    let stage = told(sql).await;
    let likes = stage.ledger.kind_no("likes").await.unwrap();
    let dislikes = stage.ledger.kind_no("dislikes").await.unwrap();
    let follows = stage.ledger.kind_no("follows").await.unwrap();
    let spec = CheckSpec {
        exclusions: vec![(likes, dislikes), (dislikes, follows)],
    };
    let (found, checked, _) = walk(&stage, &spec, false).await;
    assert_eq!(found, []);
    assert!(checked >= 4 + 6, "{checked}");
    let mut conn = connect(&stage.url).await;
    let (l, d, f) = (likes.0, dislikes.0, follows.0);
    let post = TargetType::parse("POST").unwrap();
    let post = stage.ledger.type_no(&post).await.unwrap().0;
    for harm in [
        format!(
            "UPDATE targets SET count_place = count_place - 1 WHERE kind = {l} AND target = x'0201'"
        ),
        format!("DELETE FROM targets WHERE kind = {l} AND target = x'FE78'"),
        format!("INSERT INTO targets VALUES ({l}, {post}, x'0209', 1, 1, 3, 0, '')"),
        format!("UPDATE users SET given = 7 WHERE kind = {l} AND user = x'0201'"),
        format!("UPDATE users SET types = '' WHERE kind = {l} AND user = x'0202'"),
        format!("DELETE FROM users WHERE kind = {l} AND user = x'FE78'"),
        format!("UPDATE users SET mutual = 5 WHERE kind = {f} AND user = x'0202'"),
        format!("UPDATE edges SET user_hash = 1 WHERE kind = {f} AND user = x'FE78'"),
        format!(
            "INSERT INTO edges SELECT {d}, target_type, target, user_hash, user, active, place + 1 \
             FROM edges WHERE kind = {l} AND user = x'0202'"
        ),
    ] {
        let done = conn
            .execute(sqlx::AssertSqlSafe(harm.clone()))
            .await
            .unwrap();
        assert_eq!(done.rows_affected(), 1, "{harm}");
    }
    let (found, ..) = walk(&stage, &spec, false).await;
    let mut short: Vec<(Invariant, &str)> = Vec::new();
    for (invariant, subject, ..) in &found {
        short.push((*invariant, subject));
    }
    short.sort_by_key(|(invariant, subject)| (format!("{invariant:?}"), *subject));
    assert_eq!(
        short,
        [
            (Invariant::Exclusion, "likes POST:1 by 2"),
            (Invariant::MutualCount, "follows by 2"),
            (Invariant::Record, "follows USER:1 by x"),
            (Invariant::TargetCount, "dislikes POST:1"),
            (Invariant::TargetCount, "likes POST:1"),
            (Invariant::TargetCount, "likes POST:9"),
            (Invariant::TargetCount, "likes POST:x"),
            (Invariant::UserCount, "dislikes by 2"),
            (Invariant::UserCount, "likes by 1"),
            (Invariant::UserCount, "likes by 2"),
            (Invariant::UserCount, "likes by x"),
        ],
        "{found:#?}"
    );
    assert!(
        found
            .iter()
            .all(|(_, _, expected, found)| expected != found)
    );
    walk(&stage, &spec, true).await;
    let (left, ..) = walk(&stage, &spec, false).await;
    let mut left: Vec<Invariant> = left.into_iter().map(|finding| finding.0).collect();
    left.sort_by_key(|invariant| format!("{invariant:?}"));
    assert_eq!(left, [Invariant::Exclusion, Invariant::Record]);
}

/// Targets with more edges than a statement reads, and a user with as many.
async fn large_targets_and_users_are_checked_in_steps(sql: Sql) {
    const MANY: u64 = 10_400;
    let stage = Stage::new(sql).await;
    let kind = stage.ledger.kind_no("likes").await.unwrap();
    let post = TargetType::parse("POST").unwrap();
    let target_type = stage.ledger.type_no(&post).await.unwrap();
    let edge = |target, user| BulkEdge {
        kind,
        target_type,
        target: Id::Number(target),
        user: Id::Number(user),
        at: Rev(BASE),
    };
    let mut edges: Vec<BulkEdge> = (0..MANY).map(|user| edge(1, user)).collect();
    edges.extend((0..MANY).map(|user| edge(2, user)));
    edges.extend((3..MANY).map(|target| edge(target, 77)));
    for edges in edges.chunks(5_000) {
        let bulk = Bulk {
            partition: 0,
            epoch: 1,
            edges,
            excludes: &Excludes::new(),
            now: Rev(BASE),
            limit: Duration::from_secs(300),
        };
        stage.ledger.import_bulk(&bulk).await.unwrap();
    }
    let (found, checked, steps) = walk(&stage, &CheckSpec::default(), false).await;
    assert_eq!(found, []);
    assert_eq!(checked, MANY - 1 + MANY);
    assert!(steps > 10, "{steps}");
    let mut conn = connect(&stage.url).await;
    for harm in [
        "UPDATE targets SET edges = 1 WHERE target = x'0202'",
        "UPDATE users SET given = 1 WHERE user = x'024D'",
    ] {
        conn.execute(harm).await.unwrap();
    }
    let (found, ..) = walk(&stage, &CheckSpec::default(), true).await;
    let subjects: Vec<&str> = found.iter().map(|finding| finding.1.as_str()).collect();
    assert_eq!(subjects, ["likes POST:2", "likes by 77"]);
    assert_eq!(findings(&stage, &CheckSpec::default()).await, []);
}

on_each_server!(
    every_kind_of_harm_is_found_and_what_can_be_is_mended,
    large_targets_and_users_are_checked_in_steps,
);
