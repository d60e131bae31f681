//! Stopping under load, and a second server on the same directory.

use std::time::Duration;

use rand::Rng;

use crate::client::Client;
use crate::load::Load;
use crate::round::Round;
use crate::seeded;
use crate::server::{Server, check_is_clean};
use crate::world::World;

const STOP_LIMIT: Duration = Duration::from_secs(10);

#[test]
fn a_stop_under_load_is_clean() {
    seeded(async |_, mut chance| {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let mut world = World::default();
        for round in (1..=3).map(Round) {
            let server = Server::start(&data);
            world.look_again(server.address).await;
            let load = Load::begin(server.address, round, &mut chance);
            tokio::time::sleep(Duration::from_millis(chance.random_range(20..400))).await;
            let stopped = tokio::task::spawn_blocking(|| server.stop()).await;
            let (status, took) = stopped.unwrap();
            assert!(status.success(), "{status}");
            assert!(took <= STOP_LIMIT, "the stop took {took:?}");
            let ticks = load.ticks.clone();
            let records = load.records().await;
            check_is_clean(&data);
            let server = Server::start(&data);
            world.judge(server.address, round, records, &ticks).await;
            server.stop_cleanly();
        }
    });
}

#[test]
fn a_second_server_is_refused() {
    seeded(async |_, _| {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let mut first = Server::start(&data);
        let refusal = Server::try_start(&data, &[]).map(|_| ()).unwrap_err();
        assert!(!refusal.status.success(), "{refusal:?}");
        let place = data.to_string_lossy();
        assert!(
            refusal.errors.contains(&*place),
            "names the directory: {refusal:?}"
        );
        assert!(first.runs(), "{}", first.errors());
        Client::new(first.address)
            .ask("/likes/count?targetType=POST&targetId=1")
            .await;
        first.kill();
        // The lock dies with its holder.
        Server::start(&data).stop_cleanly();
    });
}
