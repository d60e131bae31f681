//! Trimming the log: never before the tables have what is in it, and then at once.

use std::sync::Arc;

use acclaim_core::port::{Write, Writes};
use acclaim_core::{Action, EdgeKey, Id, KindId, Kinds, Op, Target, TargetType};
use prometheus_client::registry::Registry;
use tempfile::TempDir;

use super::super::EmbeddedEngine;
use super::super::options::Options;
use super::trim_log;
use crate::SystemClock;

fn like(user: u64, target: u64) -> Op {
    let target = Target {
        target_type: TargetType::parse("POST").unwrap(),
        id: Id::Number(target),
    };
    let edge = EdgeKey {
        kind: KindId(0),
        user: Id::Number(user),
        target,
    };
    Op::new(Action::Set, edge)
}

#[tokio::test]
async fn the_log_is_kept_until_the_tables_have_it() {
    let dir = TempDir::new().unwrap();
    let options = Options {
        log_segment_bytes: 4 << 10,
        journal_max_bytes: 0,
        ..Options::default()
    };
    let (kinds, clock) = (Kinds::default(), Arc::new(SystemClock));
    let registry = &mut Registry::default();
    let engine = EmbeddedEngine::open(dir.path(), kinds, options, clock, registry).unwrap();
    for user in 0..150 {
        let ops = (0..20).map(|target| like(user, target)).collect();
        engine.apply(Write::plain(ops)).await.unwrap();
    }
    let first_numbers = || {
        let segments = engine.shared.segments.read();
        let names = segments.iter().map(|segment| segment.name.first_number);
        names.collect::<Vec<_>>()
    };
    let all = first_numbers();
    assert!(all.len() > 5, "{all:?}");
    for in_tables in [0, 1, 20, 40] {
        trim_log(&engine.shared, in_tables);
        let kept = first_numbers();
        assert!(
            kept[0] <= in_tables + 1,
            "commit {} is gone: {kept:?}",
            in_tables + 1
        );
        assert!(
            kept[1] > in_tables + 1,
            "nobody wants the first of {kept:?}"
        );
        assert_eq!(
            kept[..],
            all[all.len() - kept.len()..],
            "only the oldest go"
        );
    }
}
