//! Notifications through kills: whoever was answered is told of, in the list and by the webhook.

use std::time::Duration;

use rand::Rng;

use crate::client::Client;
use crate::server::{Server, check_is_clean};
use crate::told::{Likes, all_are_told, receiver, set_up, write};
use crate::{rounds, seeded};

const WRITERS: u64 = 4;
/// Likes of one writer in one round.
const LIKES: u64 = 200;
const ENVIRONMENT: [(&str, &str); 4] = [
    ("ACCLAIM_WEBHOOKS__ALLOW_PRIVATE_ADDRESSES", "true"),
    ("ACCLAIM_WEBHOOKS__QUEUE_MAX_DELIVERIES", "1000000"),
    ("ACCLAIM_WEBHOOKS__RETRY_FIRST_MILLIS", "50"),
    ("ACCLAIM_NOTIFICATIONS__MAX_TOLD_PER_HOUR", "1000000"),
];

fn start(data: &std::path::Path) -> Server {
    let started = Server::try_start(data, &ENVIRONMENT);
    started.unwrap_or_else(|refusal| panic!("no start: {refusal:#?}"))
}

#[test]
fn kills_lose_no_notification_and_no_delivery() {
    seeded(async |_, mut chance| {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let (hook, told) = receiver().await;
        let server = start(&data);
        set_up(server.address, hook).await;
        server.kill();
        let mut answered = Likes::new();
        for round in 0..rounds() {
            let server = start(&data);
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let first_user = 1_000 + (round * WRITERS + writer) * LIKES;
                    tokio::spawn(write(server.address, first_user, LIKES))
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(chance.random_range(10..300))).await;
            server.kill();
            for writer in writers {
                answered.extend(writer.await.unwrap());
            }
        }
        assert!(!answered.is_empty(), "somebody was answered");
        let server = start(&data);
        let mut client = Client::new(server.address);
        all_are_told(&mut client, &answered, &told).await;
        server.stop_cleanly();
        check_is_clean(&data);
    });
}
