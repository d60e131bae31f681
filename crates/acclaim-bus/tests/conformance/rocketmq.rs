//! The cases on a real RocketMQ, and what only RocketMQ has.

use std::time::{Duration, Instant};

use acclaim_bus::{Limits, OpenError};
use acclaim_servers::{RocketMq, RocketMqOptions};

use crate::harness::{
    BUS_PARTITIONS, Harness, Rig, event, gather, has_partitions, limits, nothing_comes, read,
};
use crate::trust::{authority, is_known, is_refused};

const SEND_MESSAGE: i32 = 10;
const MAKE_GROUP: i32 = 200;

harness! {
    RocketMq;

    async fn shared() -> &'static Self {
        Self::shared().await
    }

    async fn private() -> Self {
        Self::start().await
    }

    fn topic(&self) -> String {
        self.topic()
    }
}

every_case!(RocketMq);

/// A name that brokers keep for themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_the_broker_does_not_make() {
    let server = <RocketMq as Harness>::shared().await;
    let url = format!("{}?topic=RMQ_SYS_TRACE_TOPIC", server.url());
    let error = Rig::of(&url, limits()).bus.check().await.unwrap_err();
    assert!(matches!(error, OpenError::CannotMake { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&server.address().to_string()), "{text}");
    assert!(text.contains("\"RMQ_SYS_TRACE_TOPIC\""), "{text}");
}

/// What somebody else puts on the topic comes as it is, whatever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_others_come_too() {
    let server = <RocketMq as Harness>::shared().await;
    let rig = Rig::new(server, limits());
    rig.publisher().await.publish(&[event(0, 0)]).await.unwrap();
    let fields = [
        ("producerGroup", "others"),
        ("topic", rig.url.topic.as_str()),
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "1"),
        ("queueId", "0"),
        ("sysFlag", "0"),
        ("bornTimestamp", "1"),
        ("flag", "7"),
        ("properties", "TAGS\u{1}red\u{2}"),
        ("reconsumeTimes", "0"),
        ("unitMode", "false"),
        ("batch", "false"),
    ];
    let garbage = b"\x00\xff not an event";
    let sent = server.try_request(SEND_MESSAGE, &fields, garbage).await;
    assert_eq!(sent.unwrap().code, 0);
    let mut consumer = rig.consumer().await;
    let received = gather(&mut consumer, 2).await;
    assert_eq!(read(&received[0]), (0, 0));
    let other = &received[1];
    assert_eq!(
        (&other.payload[..], &other.key[..]),
        (&garbage[..], &b""[..])
    );
    consumer.bury(other, "not an event").await.unwrap();
    let letters = gather(&mut rig.dead().consumer().await, 1).await;
    assert_eq!(letters[0].payload, other.payload);
}

/// A broker that takes a known user only, over TLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_tls() {
    let options = RocketMqOptions::default()
        .user("anna", "rightPassword")
        .tls();
    let server = RocketMq::start_with(options).await;
    let ca = authority(server.certificates());
    let (address, topic) = (server.address().to_string(), server.topic());
    let limits = || Limits {
        call_timeout_millis: 8_000,
        ..limits()
    };
    let rig = |user: &str, tls: &str| {
        let url = format!("rocketmq://{user}{address}?topic={topic}&partitions=1{tls}");
        Rig::of(&url, limits())
    };
    let trusted = format!("&tls=yes&ca={}", ca.path().display());
    let right = rig("anna:rightPassword@", &trusted);
    let (mut consumer, received) = is_known(&right).await;
    assert_eq!(consumer.acknowledge(&received).await.unwrap().events, 1);

    for (user, tls) in [
        ("anna:wrongPassword@", trusted.as_str()),
        ("ben:rightPassword@", trusted.as_str()),
        // Nobody, where the topics are there.
        ("", trusted.as_str()),
        // A certificate that nobody here trusts.
        ("anna:rightPassword@", "&tls=yes"),
    ] {
        let within = Duration::from_secs(8);
        is_refused(&rig(user, tls), &address, &["Password"], within).await;
    }
}

/// Where nothing comes into being by being named, the group is made, unless that is forbidden.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_made_where_that_is_asked_for() {
    let options = RocketMqOptions::default()
        .without_auto_create()
        .without_auto_create_of_groups();
    let server = RocketMq::start_with(options).await;
    let rig = Rig::new(&server, limits());
    rig.publisher().await.publish(&[event(0, 1)]).await.unwrap();
    let topic = &rig.url.topic;
    let forbidding = Rig::of(
        &format!("{}?topic={topic}&create=no", server.url()),
        limits(),
    );
    let refused = forbidding
        .bus
        .consumer("sum")
        .await
        .map(|_| ())
        .unwrap_err();
    let text = refused.to_string();
    let name = format!("no group \"{topic}%sum\"");
    assert!(
        text.contains(&name) && text.contains("create=yes"),
        "{text}"
    );
    let made = format!(r#"{{"groupName":"{topic}%sum"}}"#);
    let made = server.try_request(MAKE_GROUP, &[], made.as_bytes()).await;
    assert_eq!(made.unwrap().code, 0);
    let mut consumer = forbidding.bus.consumer("sum").await.unwrap();
    assert_eq!(gather(&mut consumer, 1).await.len(), 1);
    assert_eq!(gather(&mut rig.consumer().await, 1).await.len(), 1);
    // The longest names are cut for the broker, each to a name of its own.
    for last in ["x", "y"] {
        let long = "x".repeat(126) + last;
        let mut consumer = rig.bus.consumer(&long).await.unwrap();
        let received = gather(&mut consumer, 1).await;
        consumer.acknowledge(&received).await.unwrap();
        nothing_comes(&mut consumer).await;
    }
}

/// Members that end without a word: what they had others get when the session is over, though the
/// broker keeps it locked for a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_killed_members_had_goes_to_others() {
    let all = BUS_PARTITIONS as usize;
    let server = <RocketMq as Harness>::shared().await;
    let rig = Rig::new(server, limits());
    rig.bus.check().await.unwrap();
    let session = Duration::from_millis(rig.limits.session_timeout_millis);
    // One that has seen it live, and one that has not.
    for witness in [true, false] {
        let killed = member_with_everything(&rig).await;
        let mut other = None;
        if witness {
            has_partitions(other.insert(rig.consumer().await), 1..all).await;
        }
        // Nothing that it would still say is said.
        killed.shutdown_background();
        let begin = Instant::now();
        let mut other = match other {
            Some(other) => other,
            None => rig.consumer().await,
        };
        has_partitions(&mut other, all..all + 1).await;
        assert!(begin.elapsed() >= session / 2, "{:?}", begin.elapsed());
    }
}

/// On a runtime of its own.
async fn member_with_everything(rig: &Rig) -> tokio::runtime::Runtime {
    let all = BUS_PARTITIONS as usize;
    let (url, limits) = (rig.url.clone(), rig.limits.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (tell, has_all) = tokio::sync::oneshot::channel();
    runtime.spawn(async move {
        let bus = acclaim_bus::open(&url, &limits).unwrap();
        let mut first = bus.consumer("group").await.unwrap();
        has_partitions(&mut first, all..all + 1).await;
        tell.send(()).unwrap();
        std::future::pending::<()>().await;
    });
    has_all.await.unwrap();
    runtime
}
