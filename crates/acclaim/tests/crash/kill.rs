//! `kill -9` under load, again and again on one directory.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rand::Rng;

use crate::load::Load;
use crate::round::Round;
use crate::server::{ENVIRONMENT, Server, binary, check_is_clean};
use crate::world::{Tally, World};
use crate::{edges_before, rounds, seeded};

/// A start on so small a store takes no longer, in a debug build too.
const START_LIMIT: Duration = Duration::from_secs(10);

/// The target type of edges that no round makes.
pub const OTHERS_TYPE: &str = "TRACK";

/// A batch happens as a whole or not at all.
pub const BATCHES_ARE_WHOLE: bool = true;

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    seeded(async |_, mut chance| {
        let rounds = rounds();
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let before = edges_before();
        import_others(home.path(), &data, before);
        let (mut world, mut tally) = (World::default(), Tally::default());
        let mut slowest = Duration::ZERO;
        for round in (1..=rounds).map(Round) {
            let server = Server::start(&data);
            let load = Load::begin(server.address, round, &mut chance);
            // The moment of death is drawn: from the first calls on to the midst of many.
            tokio::time::sleep(Duration::from_millis(chance.random_range(1..500))).await;
            server.kill();
            let ticks = load.ticks.clone();
            let records = load.records().await;
            let server = Server::start(&data);
            slowest = slowest.max(server.started_in);
            tally.add(world.judge(server.address, round, records, &ticks).await);
            if chance.random() {
                server.kill();
            } else {
                server.stop_cleanly();
                // Of many edges once, at the end.
                if before == 0 {
                    check_is_clean(&data);
                }
            }
        }
        let server = Server::start(&data);
        world.look_again(server.address).await;
        server.stop_cleanly();
        check_is_clean(&data);
        assert!(tally.acknowledged > 0, "the load wrote something");
        assert!(slowest < START_LIMIT, "a start took {slowest:?}");
        report(rounds, tally, slowest);
    });
}

/// Edges of others, which are in the way of nobody: ten a user, a hundred a target.
fn import_others(home: &Path, data: &Path, edges: u64) {
    const FIRST_USER: u64 = 1 << 40;
    if edges == 0 {
        return;
    }
    let path = home.join("others.csv");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    writeln!(file, "userId,targetId").unwrap();
    for n in 0..edges {
        // Rising users, targets in no order: an odd number steps through all of them.
        let target = (n * 7_368_787) % edges.div_ceil(100);
        writeln!(file, "{},{target}", FIRST_USER + n / 10).unwrap();
    }
    file.flush().unwrap();
    let mut import = Command::new(binary());
    import.args([
        "import",
        "--kind",
        "likes",
        "--target-type",
        "TRACK",
        "--data",
    ]);
    let imported = import.arg(data).arg(&path).envs(ENVIRONMENT).output();
    let imported = imported.unwrap();
    assert!(imported.status.success(), "{imported:?}");
    std::fs::remove_file(&path).unwrap();
}

#[allow(
    clippy::print_stdout,
    reason = "the figures of a long run are what it is run for"
)]
fn report(rounds: u64, tally: Tally, slowest: Duration) {
    let Tally {
        acknowledged,
        unknown,
        repeated,
    } = tally;
    println!(
        "{rounds} kills: {acknowledged} writes acknowledged, none lost; {unknown} unknown, \
         {repeated} repeated under their keys; the slowest start took {slowest:?}"
    );
}
