//! The cached beginning of a large target's list.

use acclaim_cluster::redis::keys::TargetName;
use acclaim_cluster::redis::list::Newest;
use acclaim_core::{Action, Op, Rev};

use crate::stage::{PARTITION, Stage, edge};

fn crowd(action: Action, from: u64, many: u64) -> Vec<Op> {
    let users = from..from + many;
    users
        .map(|user| Op::new(action, edge(3, &user.to_string(), "POST:1")))
        .collect()
}

async fn cached(stage: &Stage) -> usize {
    let target = TargetName::parse("3:0:1").unwrap();
    match stage.redis.newest(PARTITION, &target).await.unwrap() {
        Newest::Beginning(_, entries) => entries.len(),
        Newest::Missing(_) => 0,
        other => panic!("{other:?}"),
    }
}

/// A target with 1,600 edges whose list is cached.
async fn large() -> Stage {
    let mut stage = Stage::open().await;
    for from in (0..1_600).step_by(200) {
        stage.apply(crowd(Action::Set, from, 200)).await;
        stage.now.0 += 1_000_000;
    }
    assert_eq!(cached(&stage).await, 0);
    stage.compare().await;
    assert_eq!(cached(&stage).await, 1_000);
    stage
}

#[tokio::test]
async fn transitions_keep_it() {
    let mut stage = large().await;
    stage.apply(crowd(Action::Toggle, 1_500, 200)).await;
    assert!(cached(&stage).await > 900);
    stage.compare().await;
    stage.apply(crowd(Action::Unset, 0, 50)).await;
    stage.compare().await;
}

#[tokio::test]
async fn it_is_cut_to_its_share_only_where_the_ledger_has_the_rest() {
    let mut stage = large().await;
    stage.apply(crowd(Action::Set, 2_000, 10)).await;
    assert_eq!(cached(&stage).await, 1_010, "the ledger has nothing yet");
    stage.drain().await;
    stage.apply(crowd(Action::Set, 3_000, 1)).await;
    assert_eq!(cached(&stage).await, 1_611 / 8);
    stage.compare().await;
}

#[tokio::test]
async fn an_import_drops_it() {
    let mut stage = large().await;
    let mut op = crowd(Action::Set, 5_000, 1).remove(0);
    op.at = Some(Rev(stage.now.0 - 1_500_000));
    stage.apply(vec![op]).await;
    assert_eq!(cached(&stage).await, 0);
    stage.compare().await;
}

#[tokio::test]
async fn what_was_gathered_before_a_transition_is_not_installed() {
    let mut stage = large().await;
    let target = TargetName::parse("3:0:1").unwrap();
    let Newest::Beginning(count, entries) = stage.redis.newest(PARTITION, &target).await.unwrap()
    else {
        panic!("it is cached");
    };
    stage.apply(crowd(Action::Set, 5_000, 1)).await;
    let keep = std::time::Duration::from_secs(60);
    let installed = stage
        .redis
        .install_newest(PARTITION, &target, count, &entries, keep)
        .await;
    assert_eq!(installed, Ok(false));
    stage.compare().await;
}
