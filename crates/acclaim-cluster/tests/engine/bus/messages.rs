//! What else may be on a topic: duplicates, garbage, events of others.

use acclaim_bus::event::Event;
use acclaim_bus::port::Outgoing;
use acclaim_core::Kinds;
use acclaim_core::port::{Admin, Resent};
use acclaim_servers::{Kafka, until};
use acclaim_testkit::conformance::kinds;
use bytes::Bytes;

use super::stage::{bus, messages, slip_in, watch, with_bus};
use crate::faults::load::LIMIT;
use crate::faults::stage::Stage;
use crate::servers::{RedisSide, database};

/// All that was published comes again, forwards, backwards and in part, while more is decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicates_change_nothing() {
    let (kafka, side, database) = tokio::join!(Kafka::shared(), RedisSide::single(), database());
    let bus = bus(kafka);
    let mut stage = Stage::begin(with_bus(&side, database.url(), &bus), None).await;
    stage.progress(100).await;
    stage.rest().await;
    let before = messages(&bus, &bus.url.topic).await;
    stage.go_on();
    slip_in(&bus, &before).await;
    stage.progress(50).await;
    let backwards: Vec<Outgoing> = before.iter().rev().cloned().collect();
    slip_in(&bus, &backwards).await;
    let third: Vec<Outgoing> = before.iter().step_by(3).cloned().collect();
    slip_in(&bus, &third).await;
    stage.progress(50).await;
    let enough = before.len() as u64;
    watch(&stage, "duplicates", |numbers| numbers.stale > enough).await;
    stage.finish(&side).await;
}

/// Garbage, another version, an unknown kind, another store's events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_is_put_aside_and_the_rest_goes_on() {
    let (kafka, side, database) = tokio::join!(Kafka::shared(), RedisSide::single(), database());
    let bus = bus(kafka);
    let mut stage = Stage::begin(with_bus(&side, database.url(), &bus), None).await;
    stage.rest().await;
    let like = messages(&bus, &bus.url.topic).await.remove(0);
    let like = Event::read(&like.payload, &kinds()).unwrap();
    let partition = like.place.partition;
    let with = |change: &dyn Fn(&mut Event)| {
        let mut event = like.clone();
        change(&mut event);
        String::from_utf8(event.write()).unwrap()
    };
    let texts = [
        "garbage".to_owned(),
        // A letter's place is its key.
        with(&|event| event.place.seq.0 -= 1)
            .replace("acclaim.transition.v1", "acclaim.transition.v2"),
        // An edge of its own, of a kind that this process does not know.
        with(&|event| event.kind = "nosuch".into()),
        with(&|event| event.store = "another-store".into()),
        with(&|event| event.place.partition = 4_000),
    ];
    let poison = texts.map(|text| Outgoing {
        partition,
        id: "poison".to_owned(),
        payload: Bytes::from(text),
    });
    slip_in(&bus, &poison).await;
    stage.go_on();
    stage.progress(100).await;
    let numbers = watch(&stage, "dead letters", |numbers| numbers.dead_on_bus >= 4).await;
    assert_eq!(numbers.dead_on_bus, 4, "another store's is none");
    stage.rest().await;
    let engine = stage.engine();
    let letters = engine.dead_letters(0, 100).await.unwrap();
    let reasons: Vec<&str> = letters
        .iter()
        .map(|letter| letter.reason.as_str())
        .collect();
    for expected in [
        "not a JSON object",
        "version \"v2\"",
        "\"nosuch\"",
        "partition 4000",
    ] {
        let is_there = reasons.iter().any(|reason| reason.contains(expected));
        assert!(is_there, "{expected} in {reasons:?}");
    }
    assert_eq!(letters.len(), 4, "{reasons:?}");
    let dead = messages(&bus, &bus.url.dead_topic).await;
    assert_eq!(dead.len(), 4);
    // It is refused again, until somebody knows the kind.
    let unknown = letters
        .iter()
        .find(|letter| letter.reason.contains("nosuch"));
    let again = engine.retry_dead_letter(unknown.unwrap().id).await.unwrap();
    assert!(matches!(again, Some(Resent::Refused(_))), "{again:?}");
    let known: Vec<_> = kinds().iter().map(|(_, kind)| kind.clone()).collect();
    let known = known
        .into_iter()
        .filter(|kind| !["likes", "follows"].contains(&kind.name.as_str()));
    let nosuch = acclaim_core::Kind::open("nosuch");
    let known = Kinds::new(known.chain([nosuch])).unwrap();
    let (redis, ledger) = (engine.redis(), engine.ledger());
    let again = until(LIMIT, "the letter to be taken", || async {
        let id = unknown.unwrap().id;
        let again = acclaim_cluster::worker::dead_letters::retry(redis, ledger, &known, id).await;
        again.map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(again, Some(Resent::Applied));
    assert_eq!(engine.dead_letters(0, 100).await.unwrap().len(), 3);
    // What it did not have an edge for before it would be a finding of the check: it goes again.
    drop(stage);
}
