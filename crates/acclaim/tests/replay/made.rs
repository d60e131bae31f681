//! Topics that were made by hand: gaps, what cannot be read, what comes too late, other stores.

use acclaim_bus::event::{Barrier, Event, Numbers};
use acclaim_bus::port::Outgoing;
use acclaim_bus::{BusUrl, Limits};
use acclaim_core::port::Place;
use acclaim_core::{Id, Rev, Target, TargetType};
use bytes::Bytes;

use crate::stage::{Stage, database, ended, held, number, refused};

const STORE: &str = "000102030405060708090a0b0c0d0e0f";
/// 2026-11-20T10:00:00Z.
const FIRST: u64 = 1_795_168_800_000_000;
const PARTITIONS: u16 = 4;

/// A target of that type number in that partition.
fn target(partition: u16) -> Target {
    let lies = |id: &u64| {
        let name = acclaim_cluster::redis::keys::TargetName {
            kind: 1,
            target_type: 2,
            id: Id::Number(*id),
        };
        name.partition(PARTITIONS) == partition
    };
    Target {
        target_type: TargetType::parse("POST").unwrap(),
        id: Id::Number((1..).find(lies).unwrap()),
    }
}

/// The `step`th event of a partition, in which users like one target one after the other.
fn event(partition: u16, step: u64, turn: u32) -> Event {
    let seq = |step: u64| Rev(FIRST + step * 1_000);
    Event {
        store: STORE.into(),
        place: Place {
            seq: seq(step),
            partition,
        },
        previous: (step > 0).then(|| seq(step - 1)),
        epoch: 1,
        life: 0,
        turn: Some(turn),
        numbers: Some(Numbers {
            kind: 7,
            target_type: 2,
        }),
        kind: "likes".into(),
        user: Id::Number(step + 1),
        target: target(partition),
        active: true,
        rev: seq(step),
        count: step + 1,
        origin: None,
    }
}

async fn publish(bus: &str, messages: Vec<(u16, Vec<u8>)>) {
    let bus = acclaim_bus::open(&BusUrl::parse(bus).unwrap(), &Limits::default()).unwrap();
    bus.check().await.unwrap();
    let publisher = bus.publisher().await.unwrap();
    let outgoing = messages
        .into_iter()
        .map(|(partition, payload)| Outgoing {
            partition,
            id: String::new(),
            payload: Bytes::from(payload),
        })
        .collect::<Vec<_>>();
    publisher.publish(&outgoing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_or_refused_is_named() {
    let stage = Stage::on_kafka().await;
    let ledger = database().await;
    let config = stage.configure("acclaim.toml", &ledger);
    let of = |partition, steps: &[u64]| -> Vec<(u16, Vec<u8>)> {
        let write = |step: &u64| (partition, event(partition, *step, 1).write());
        steps.iter().map(write).collect()
    };
    // An empty topic is no ledger, and leaves nothing behind.
    refused(&stage.replay(&config, &[]), "no event");
    let mut other = event(3, 0, 1);
    other.store = "another".into();
    let unknown = String::from_utf8(event(1, 3, 1).write()).unwrap();
    let unknown = unknown.replace("\"likes\"", "\"nosuch\"");
    let newer = String::from_utf8(event(1, 4, 1).write()).unwrap();
    let newer = newer.replace("transition.v1", "transition.v2");
    let mut elsewhere = event(1, 5, 1);
    elsewhere.target = target(2);
    let barrier = Barrier {
        store: STORE.into(),
        partition: 2,
        turn: 5,
    };
    let messages = [
        vec![(3, other.write()), (0, b"garbage".to_vec())],
        // The first two are not on the bus any more, and one in the middle.
        of(0, &[2, 3, 5, 6]),
        of(1, &[0, 1, 2]),
        vec![
            (1, unknown.into_bytes()),
            (1, newer.into_bytes()),
            (1, elsewhere.write()),
        ],
        of(1, &[6]),
        // What came too late was not recorded then; what came again is no gap.
        of(2, &[0, 2]),
        of(2, &[0, 1, 2]),
        vec![(2, barrier.write())],
        of(2, &[3]),
        vec![(2, event(2, 3, 5).write())],
    ];
    publish(&stage.bus, messages.concat()).await;
    let missing = "missing: partition 0: everything up to 1795168800001000 of \
                   2026-11-20T10:00:00.001000Z\n\
                   missing: partition 0: after 1795168800003000 up to 1795168800004000 of \
                   2026-11-20T10:00:00.004000Z\n";
    for (more, sum) in [
        (
            &["--dry-run"][..],
            "19 events would be replayed; 3 refused, 2 gaps",
        ),
        (
            &[],
            "19 events: 12 applied, 2 known, 1 too late as before, 4 refused; 2 gaps",
        ),
    ] {
        let ran = stage.replay(&config, more);
        ended(&ran, 1, sum);
        assert!(ran.out.starts_with(missing), "{}", ran.out);
        let told = [
            "1795168800003000-1: ",
            "nosuch",
            "1795168800004000-1: ",
            "v2",
            "garbage",
        ];
        for told in told {
            assert!(ran.out.contains(told), "{told}: {}", ran.out);
        }
        assert!(ran.err.contains("other stores"), "{}", ran.err);
    }
    let letters = "SELECT COUNT(*) FROM dead_letters";
    assert_eq!(number(&ledger, letters).await, 4);
    let kinds = held(&ledger).await;
    assert_eq!(
        (&kinds["kinds"][..], &kinds["target_types"][..]),
        (&["7 likes".to_owned()][..], &["2 POST".to_owned()][..])
    );
    assert!(
        kinds["store"].contains(&format!("store {STORE}")),
        "{:?}",
        kinds["store"]
    );
    // The ledger is open, and what is missing in it was told.
    let ran = stage.replay(&config, &[]);
    ended(
        &ran,
        1,
        "19 events: 0 applied, 14 known, 1 too late as before, 4 refused; 0 gaps",
    );
    assert_eq!(number(&ledger, letters).await, 4);
}

#[test]
fn flags_that_do_not_fit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = |name: &str, bus: &str| {
        let text = format!(
            "[server]\nengine = \"cluster\"\n[cluster]\nredis = \"redis://127.0.0.1:1\"\nledger = \
             \"mysql://127.0.0.1:1/a\"\n[bus]\nurl = \"{bus}\"\n"
        );
        crate::program::file(dir.path(), name, text)
    };
    let (with, without) = (
        config("a.toml", "kafka://127.0.0.1:1"),
        config("b.toml", ""),
    );
    let embedded = crate::program::file(dir.path(), "c.toml", "");
    for (config, more, why) in [
        (&embedded, &[][..], "server.engine"),
        (&without, &[], "bus.url"),
        (&with, &["--from", "yesterday"], "RFC 3339"),
        (&with, &["--from", "-1h", "--to", "-2h"], "is after"),
        (&with, &["--group", "g"], "--into consumer"),
        (&with, &["--into", "consumer"], "--group"),
        (
            &with,
            &["--into", "consumer", "--group", "g", "--to", "now"],
            "--to has no meaning",
        ),
        (&with, &["--rate", "0"], "--rate"),
        (&with, &[], "Kafka"),
    ] {
        let ran = crate::program::run(&[&["replay", "--config", config], more].concat());
        refused(&ran, why);
    }
}
