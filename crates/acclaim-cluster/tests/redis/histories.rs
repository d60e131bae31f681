//! Random histories through a real Redis, held against the reference model: every answer, every
//! count, every edge and the journal, while keys are evicted and loaded.

use std::sync::Arc;

use acclaim_core::{Action, Op, Origin, Rev};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::servers::Servers;
use crate::stage::{Stage, edge};

const USERS: [&str; 6] = ["1", "2", "18446744073709551615", "anna", "01", "b:c.d-e_f"];
const TARGETS: [&str; 4] = ["POST:1", "POST:x:y", "USER:2", "VIDEO:9007199254740993"];
const SECOND: u64 = 1_000_000;

#[derive(Clone, Debug)]
struct Small {
    action: Action,
    minutes_ago: Option<u64>,
    kind: u8,
    user: usize,
    target: usize,
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Small>),
    /// So many users, from one on, do it to one target.
    Crowd(Action, usize, usize, usize),
    Pass(u64),
    SetBack(u64),
    Commit(usize),
    Mark,
    Evict(u32),
    Flush,
    Compare,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Set), Just(Action::Unset), Just(Action::Toggle)]
}

fn small() -> impl Strategy<Value = Small> {
    let import = prop_oneof![4 => Just(None), 1 => (0u64..5).prop_map(Some)];
    (action(), import, 0u8..4, 0..USERS.len(), 0..TARGETS.len()).prop_map(
        |(action, minutes_ago, kind, user, target)| Small {
            action,
            minutes_ago,
            kind,
            user,
            target,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(small(), 1..12).prop_map(Step::Write),
        4 => (action(), 0usize..1_200, 1usize..250, 0..TARGETS.len())
            .prop_map(|(action, from, many, target)| Step::Crowd(action, from, many, target)),
        2 => (1..100 * SECOND).prop_map(Step::Pass),
        1 => (1..100 * SECOND).prop_map(Step::SetBack),
        3 => (1usize..600).prop_map(Step::Commit),
        3 => Just(Step::Mark),
        4 => (10u32..=100).prop_map(Step::Evict),
        1 => Just(Step::Flush),
        1 => Just(Step::Compare),
    ]
}

fn op(stage: &Stage, small: &Small) -> Op {
    let edge = edge(small.kind, USERS[small.user], TARGETS[small.target]);
    let mut op = Op::new(small.action, edge);
    if let Some(minutes) = small.minutes_ago {
        op.action = Action::Set;
        op.at = Some(Rev(stage.now.0 - minutes * 60 * SECOND));
    }
    op.origin = small.user.is_multiple_of(2).then(|| {
        Box::new(Origin {
            device_type: Some("a phone".into()),
            ip_address: None,
        })
    });
    op
}

async fn take(stage: &mut Stage, step: Step) {
    match step {
        Step::Write(ops) => {
            let ops = ops.iter().map(|small| op(stage, small)).collect();
            stage.apply(ops).await;
        }
        Step::Crowd(action, from, many, target) => {
            let users = (from..from + many).map(|user| user.to_string());
            let ops = users.map(|user| Op::new(action, edge(0, &user, TARGETS[target])));
            stage.apply(ops.collect()).await;
        }
        Step::Pass(micros) => stage.now.0 += micros,
        Step::SetBack(micros) => stage.now.0 -= micros,
        Step::Commit(most) => stage.commit(most).await,
        Step::Mark => {
            stage.mark().await;
        }
        Step::Evict(percent) => {
            stage.evict(percent).await;
        }
        Step::Flush => {
            stage.drain().await;
            stage.flush().await;
        }
        Step::Compare => stage.compare().await,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

async fn play(mut stage: Stage, steps: Vec<Step>) {
    let half = steps.len() / 2;
    for (place, step) in steps.into_iter().enumerate() {
        if place == half {
            stage.fail_over().await;
        }
        take(&mut stage, step).await;
    }
    stage.compare().await;
    stage.drain().await;
    stage.flush().await;
    stage.compare().await;
}

/// One Cluster for all histories; in the middle of each a replica takes over.
#[test]
fn a_real_cluster_agrees_with_the_model() {
    let runtime = runtime();
    let servers = Arc::new(runtime.block_on(Servers::cluster()));
    let config = ProptestConfig {
        cases: 12,
        max_shrink_iters: 20,
        ..ProptestConfig::default()
    };
    let steps = prop::collection::vec(step(), 1..40);
    let played = TestRunner::new(config).run(&steps, |steps| {
        runtime.block_on(async {
            play(Stage::open_on(Arc::clone(&servers)).await, steps).await;
        });
        Ok(())
    });
    played.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_real_redis_agrees_with_the_model(steps in prop::collection::vec(step(), 1..40)) {
        runtime().block_on(async { play(Stage::open().await, steps).await });
    }
}
