//! What a bus is not: there, ours, allowed.

use std::time::{Duration, Instant};

#[cfg(not(feature = "rocketmq"))]
use acclaim_bus::open;
use acclaim_bus::port::Checked;
use acclaim_bus::{BusUrl, Limits, OpenError, TopicAt};

use crate::harness::{BUS_PARTITIONS, Harness, Rig, limits};

pub async fn topics_are_made_where_that_is_asked_for<H: Harness>() {
    let harness = H::shared().await;
    let rig = Rig::new(harness, limits());
    let forbidding = |topic: &str| {
        let url = format!(
            "{}?topic={topic}&create=no{}",
            harness.url(),
            harness.options()
        );
        Rig::of(&url, limits())
    };
    let none = forbidding(&rig.url.topic);
    let at = TopicAt::events(&none.url);
    let refused = none.bus.check().await;
    assert_eq!(refused, Err(OpenError::NoTopic { at: at.clone() }));
    let error = none.bus.consumer("group").await.map(|_| ()).unwrap_err();
    assert_eq!(error, OpenError::NoTopic { at });
    let (address, topic) = (rig.url.host_list(), &rig.url.topic);
    assert!(
        error
            .to_string()
            .contains(&format!("{address}, topic {topic:?}")),
        "{error}"
    );

    let checked = Checked {
        bus_partitions: BUS_PARTITIONS,
        made: true,
    };
    assert_eq!(rig.bus.check().await, Ok(checked));
    let checked = Checked {
        made: false,
        ..checked
    };
    assert_eq!(rig.bus.check().await, Ok(checked));
    assert_eq!(forbidding(topic).bus.check().await, Ok(checked));
}

pub async fn nobody_is_at_a_wrong_address<H: Harness>() {
    let good = BusUrl::parse(&H::shared().await.url()).unwrap();
    // A port of this machine that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let url = format!("{}://127.0.0.1:{port}?topic=any", good.kind.scheme());
    let rig = Rig::of(
        &url,
        Limits {
            call_timeout_millis: 1_500,
            ..limits()
        },
    );
    let begin = Instant::now();
    let error = rig.bus.check().await.unwrap_err();
    assert!(
        begin.elapsed() < Duration::from_millis(2_500),
        "{:?}",
        begin.elapsed()
    );
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{port}")),
        "{error}"
    );
}

pub async fn a_group_has_a_name<H: Harness>() {
    let rig = Rig::new(H::shared().await, limits());
    for name in ["", "a b", "a/b", "a.b", &"x".repeat(128)] {
        let error = rig.bus.consumer(name).await.map(|_| ()).unwrap_err();
        let given = name.to_owned();
        assert_eq!(error, OpenError::Group { given });
    }
    rig.bus.consumer(&"x".repeat(127)).await.unwrap();
}

#[cfg(not(feature = "rocketmq"))]
#[test]
fn a_bus_without_a_client_is_refused() {
    let url = BusUrl::parse("rocketmq://127.0.0.1").unwrap();
    let refused = open(&url, &limits()).map(|_| ()).unwrap_err();
    assert_eq!(refused, OpenError::NotBuilt(url.kind));
}
