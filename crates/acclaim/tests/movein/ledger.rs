//! From one ledger to another.

use acclaim_servers::TiDb;

use crate::stage::{Stage, body, ok, toggle};

/// What docs/migration.md calls the new ledger.
const NEW_LEDGER: &str = "mysql://acclaim:secret@127.0.0.1:4000/acclaim";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_moves_to_tidb_while_its_nodes_serve() {
    let (stage, tidb) = tokio::join!(Stage::open(), TiDb::shared());
    let new = tidb.database().await;
    let node = stage.serve("acclaim.toml");
    for user in 1..=300 {
        toggle(&node, user, user % 5);
    }
    let step = |step: &str, more: &str| {
        let to = format!("acclaim migrate ledger {step} --to {NEW_LEDGER}");
        let command = format!("{to} --config acclaim.toml{more}");
        stage.documented(&command, &[(NEW_LEDGER, new.url())])
    };
    ok(&step("copy", ""), "edges: ");
    stage.configure("new.toml", new.url());
    let early = stage.run(&["check", "--config", "new.toml"]);
    assert_eq!(early.code, 2, "{}", early.err);
    assert!(early.err.contains("migrate ledger switch"), "{}", early.err);
    for user in 1..=50 {
        toggle(&node, user, user % 5);
    }
    toggle(&node, 1_000, 77);
    ok(&step("changes", ""), "targets: ");
    // While it serves there may be differences, or none.
    let compared = step("compare", "");
    assert!(compared.code < 2, "{}", compared.err);
    assert!(compared.err.contains("edges: 30"), "{}", compared.err);
    let switch = step("switch", " --max-pause-seconds 60");
    ok(&switch, "the ledger is moved");
    // The node goes on: it decides, and the journals keep it.
    toggle(&node, 2_000, 1);
    toggle(&node, 2, 2);
    let refused = stage.run(&["check", "--config", "acclaim.toml"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(
        refused.err.contains("moved to another ledger"),
        "{}",
        refused.err
    );
    let again = step("switch", " --max-pause-seconds 60");
    assert_eq!(again.code, 2, "{}", again.err);
    assert!(
        again.err.contains("has a store of its own"),
        "{}",
        again.err
    );
    node.stop("-TERM");
    let node = stage.serve("new.toml");
    let count = |target: u64| {
        let path = format!("/api/v2/likes/count?targetType=POST&targetId={target}");
        body(&node, &path)["count"].as_u64().unwrap()
    };
    // 60 each; 10 of each were taken back; then one came, and one of those came again.
    assert_eq!([count(1), count(2), count(3)], [51, 51, 50]);
    assert_eq!(count(77), 1);
    let listed = body(&node, "/api/v2/likes/users?targetType=POST&targetId=1");
    assert_eq!(listed["total"], 51);
    assert_eq!(listed["items"][0]["userId"], 2_000);
    node.stop("-TERM");
    stage.is_clean("new.toml");
}
