//! The cases on a real Redis, and what only Redis Streams have.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use acclaim_bus::port::{Acknowledged, SeekTo};
use acclaim_bus::{ConsumeError, Limits, OpenError};
use acclaim_servers::{AppendFsync, Redis, RedisCluster, RedisOptions, RedisSentinel, until};
use redis::cmd;
use tokio::sync::OnceCell;

use crate::harness::{
    GROUP, Harness, Rig, event, events, gather, limits, nothing_comes, read, read_all,
};
use crate::trust::{authority, is_known, is_refused};

/// Keeps what it acknowledged through `kill -9`, also on a slow disk: there a file that is flushed
/// every second is written late, too.
fn options() -> RedisOptions {
    RedisOptions::default().append_only(AppendFsync::Always)
}

harness! {
    Redis;

    async fn shared() -> &'static Self {
        static SHARED: OnceCell<Redis> = OnceCell::const_new();
        SHARED.get_or_init(Self::private).await
    }

    async fn private() -> Self {
        Self::start_with(options()).await
    }

    fn topic(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("topic-{}", NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

every_case!(Redis);

fn now_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

async fn length(server: &Redis, stream: &str) -> u64 {
    server.query(cmd("XLEN").arg(stream)).await
}

/// What a group had not received when it was thrown away is told, with how much it is, and the rest
/// goes on. A group that is new has lost nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_thrown_away_is_said() {
    let server = <Redis as Harness>::shared().await;
    let limits = Limits {
        stream_max_events: 1_000,
        ..limits()
    };
    let rig = Rig::new(server, limits);
    let publisher = rig.publisher().await;
    for begin in (0..4_000).step_by(500) {
        let published = publisher.publish(&events(0, begin..begin + 500)).await;
        published.unwrap();
    }
    let stream = format!("{}:0", rig.url.topic);
    let kept = usize::try_from(length(server, &stream).await).unwrap();
    // Whole nodes go; one has a hundred entries at most.
    assert!((1_000..=1_100).contains(&kept), "{kept}");

    let mut consumer = rig.consumer().await;
    has_some(&mut consumer).await;
    let mut told = None;
    while told.is_none() {
        match consumer.receive(1, Duration::from_secs(5)).await {
            Ok(batch) => assert_eq!(read_all(&batch), [], "it comes before the rest"),
            Err(error) => told = Some(error),
        }
    }
    let gone = 4_000 - kept;
    match told.unwrap() {
        ConsumeError::Gone {
            bus_partition: 0,
            events,
            before,
            ..
        } => {
            assert_eq!(events, gone as u64);
            let rest = gather(&mut consumer, kept).await;
            assert_eq!((read(&rest[0]), rest[0].position), ((0, gone), before));
            assert_eq!(consumer.acknowledge(&rest).await.unwrap().events, kept);
        }
        error => panic!("{error}"),
    }
    assert_eq!(consumer.lag().await.unwrap()[0].events, 0);
    drop(consumer);

    let mut new = rig.bus.consumer("new").await.unwrap();
    let all = gather(&mut new, kept).await;
    assert_eq!(read(&all[0]), (0, gone));
    assert_eq!(new.lag().await.unwrap()[0].events, kept as u64);
}

/// Waits until a consumer has bus partitions; events may be there.
async fn has_some(consumer: &mut Box<dyn acclaim_bus::Consumer>) {
    acclaim_servers::until(crate::harness::PATIENCE, "bus partitions", || {
        let lag = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(consumer.lag())
        });
        let outcome = match lag {
            Ok(lag) if lag.is_empty() => Err("none".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        async { outcome }
    })
    .await;
}

/// What is older than its time goes with the next that is published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_events_go() {
    let server = <Redis as Harness>::shared().await;
    let limits = Limits {
        stream_keep_millis: 1,
        ..limits()
    };
    let rig = Rig::new(server, limits);
    let publisher = rig.publisher().await;
    publisher.publish(&events(0, 0..1_000)).await.unwrap();
    let end = now_millis() + 3;
    while now_millis() < end {
        tokio::task::yield_now().await;
    }
    publisher.publish(&[event(0, 1_000)]).await.unwrap();
    let left = length(server, &format!("{}:0", rig.url.topic)).await;
    assert!((1..=101).contains(&left), "{left}");
}

/// Somebody else had the bus partition meanwhile: whoever had it before moves nothing any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_the_lease_does_not_acknowledge() {
    let server = <Redis as Harness>::shared().await;
    let rig = Rig::new(server, limits());
    rig.publisher()
        .await
        .publish(&events(0, 0..10))
        .await
        .unwrap();
    let mut consumer = rig.consumer().await;
    let batch = gather(&mut consumer, 10).await;
    assert_eq!(consumer.acknowledge(&batch[..2]).await.unwrap().events, 2);
    // What an owner leaves behind that came and went in between.
    let key = format!("{{{}:0}}:group", rig.url.topic);
    let mut taken = redis::pipe();
    taken.cmd("INCR").arg(format!("{key}:fence")).ignore();
    taken.cmd("DEL").arg(format!("{key}:lease")).ignore();
    let mut connection = server.try_connect().await.unwrap();
    taken.exec_async(&mut connection).await.unwrap();

    match consumer.acknowledge(&batch[2..]).await {
        Err(error) => assert!(error.to_string().contains("another consumer"), "{error}"),
        // It had noticed itself.
        Ok(acknowledged) => assert_eq!(acknowledged, Acknowledged { events: 0, lost: 8 }),
    }
    let again = gather(&mut consumer, 8).await;
    assert_eq!(read(&again[0]), (0, 2));
    assert_eq!(consumer.acknowledge(&again).await.unwrap().events, 8);
    nothing_comes(&mut consumer).await;
}

/// Ids are full of a millisecond that is yet to come: they go on in the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_rise_where_the_clock_went_back() {
    let server = <Redis as Harness>::shared().await;
    let rig = Rig::new(server, limits());
    let publisher = rig.publisher().await;
    let ahead = now_millis() + 3_600_000;
    let mut add = cmd("XADD");
    add.arg(format!("{}:0", rig.url.topic));
    add.arg(format!("{ahead}-4194302")).arg("strange").arg("1");
    server.query::<String>(&add).await;
    publisher.publish(&events(0, 0..3)).await.unwrap();
    let mut consumer = rig.consumer().await;
    let all = gather(&mut consumer, 4).await;
    assert_eq!(all[0].payload.len(), 0, "somebody else's");
    assert_eq!(read_all(&all[1..]), [(0, 0), (0, 1), (0, 2)]);
    let times: Vec<_> = all.iter().map(|e| e.published_at_millis - ahead).collect();
    assert_eq!(times, [0, 0, 1, 1]);
    assert!(all.is_sorted_by_key(|event| event.position));
    consumer.acknowledge(&all).await.unwrap();
    assert_eq!(consumer.lag().await.unwrap()[0].events, 0);
    // A time is a place between two events.
    consumer.seek(&SeekTo::Time(ahead + 1)).await.unwrap();
    let later = gather(&mut consumer, 2).await;
    assert_eq!(read_all(&later), [(0, 1), (0, 2)]);
    assert_eq!(consumer.lag().await.unwrap()[0].events, 2);
}

/// A full server takes nothing and says so; when there is room, what was given is there once, in
/// order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_waits_for_room() {
    let server = Redis::start_with(options()).await;
    let rig = Rig::new(
        &server,
        Limits {
            publish_timeout_millis: 1_000,
            ..limits()
        },
    );
    let publisher = rig.publisher().await;
    publisher.publish(&events(0, 0..5)).await.unwrap();
    let memory = |bytes: &'static str| {
        let mut set = cmd("CONFIG");
        set.arg("SET").arg("maxmemory").arg(bytes);
        set
    };
    server.query::<()>(&memory("1")).await;
    let failed = publisher.publish(&events(0, 5..1_005)).await.unwrap_err();
    assert!(failed.to_string().contains("maxmemory"), "{failed}");
    let waits = events(0, 5..1_005);
    let (published, ()) = tokio::join!(publisher.publish(&waits), async {
        server.query::<()>(&memory("0")).await;
    });
    published.unwrap();
    let mut consumer = rig.consumer().await;
    let expected: Vec<_> = (0..1_005).map(|number| (0, number)).collect();
    assert_eq!(read_all(&gather(&mut consumer, 1_005).await), expected);
    nothing_comes(&mut consumer).await;
}

/// The number of bus partitions is the topic's, whatever a URL says later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_keeps_its_partitions() {
    let server = <Redis as Harness>::shared().await;
    let topic = Harness::topic(server);
    for partitions in [5, 7] {
        let url = format!("{}?topic={topic}&partitions={partitions}", server.url());
        let checked = Rig::of(&url, limits()).bus.check().await.unwrap();
        assert_eq!(checked.bus_partitions, 5);
    }
    let mut set = cmd("SET");
    set.arg(format!("{topic}:partitions")).arg("many");
    server.query::<()>(&set).await;
    let url = format!("{}?topic={topic}", server.url());
    let error = Rig::of(&url, limits()).bus.check().await.unwrap_err();
    assert!(error.to_string().contains("\"many\""), "{error}");
}

/// Servers that cannot be a bus: a node of a Cluster, one that evicts whole topics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_refused() {
    let evicting = Redis::start_with(options().max_memory(1 << 30, "allkeys-lru")).await;
    let cluster = RedisCluster::start().await;
    for (server, says) in [
        (&evicting, "allkeys-lru"),
        (&cluster.nodes()[0], "mode cluster"),
    ] {
        let error = Rig::new(server, limits()).bus.check().await.unwrap_err();
        assert!(matches!(error, OpenError::Other { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// The master dies, and the replica goes on with what it had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_name_another_master() {
    let servers = RedisSentinel::start().await;
    let sentinels = servers.sentinels().iter();
    let hosts: Vec<_> = sentinels.map(|one| one.address().to_string()).collect();
    let url = |name: &str| {
        let hosts = hosts.join(",");
        format!("redis+sentinel://{hosts}/{name}?topic=likes&partitions=1")
    };
    let rig = Rig::of(&url(RedisSentinel::MASTER_NAME), limits());
    let publisher = rig.publisher().await;
    let mut consumer = rig.consumer().await;
    publisher.publish(&events(0, 0..10)).await.unwrap();
    let first = gather(&mut consumer, 10).await;
    assert_eq!(consumer.acknowledge(&first[..6]).await.unwrap().events, 6);
    let (master, replica) = (servers.master().await, servers.replica().await);
    until(
        crate::harness::PATIENCE,
        "the replica to have it",
        || async {
            let groups: Vec<redis::Value> = replica
                .try_query(cmd("XINFO").arg("GROUPS").arg("likes:0"))
                .await
                .map_err(|error| error.to_string())?;
            let told = format!("{groups:?}");
            let has = length(replica, "likes:0").await == 10 && told.contains("int(6)");
            has.then_some(()).ok_or(told)
        },
    )
    .await;
    let before = master.address();
    master.kill();
    servers.await_master_other_than(before).await;
    // The first call may meet the connection to the one that is gone.
    while publisher.publish(&events(0, 10..20)).await.is_err() {}
    let mut seen = Vec::new();
    while !seen.contains(&(0, 19)) {
        seen.extend(read_all(&gather(&mut consumer, 1).await));
    }
    let expected: Vec<_> = (0..20).map(|number| (0, number)).collect();
    // Whether its lease was kept over the change is not said: what was not acknowledged may come
    // again.
    assert!(expected.ends_with(&seen), "{seen:?}");
    assert!(seen[0].1 == 6 || seen[0].1 == 10, "{seen:?}");
    drop(consumer);
    let mut next = rig.consumer().await;
    assert_eq!(read(&gather(&mut next, 1).await[0]), (0, 6));

    let hasty = Limits {
        call_timeout_millis: 2_000,
        ..limits()
    };
    let error = Rig::of(&url("another"), hasty).bus.check().await;
    let error = error.unwrap_err();
    assert!(error.to_string().contains("\"another\""), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_tls() {
    let server = Redis::start_with(options().user("anna", "rightPassword").tls()).await;
    let ca = authority(server.certificates());
    let address = server.address().to_string();
    let topic = Harness::topic(&server);
    let limits = || Limits {
        call_timeout_millis: 8_000,
        ..limits()
    };
    let rig = |scheme: &str, user: &str, more: &str| {
        let url = format!("{scheme}://{user}{address}?topic={topic}&partitions=1{more}");
        Rig::of(&url, limits())
    };
    let trusted = format!("&ca={}", ca.path().display());
    let right = rig("rediss", "anna:rightPassword@", &trusted);
    is_known(&right).await;

    for (user, more) in [
        ("anna:wrongPassword@", trusted.as_str()),
        ("ben:rightPassword@", trusted.as_str()),
        ("", trusted.as_str()),
        // A certificate that nobody here trusts.
        ("anna:rightPassword@", ""),
    ] {
        let within = Duration::from_secs(6);
        is_refused(
            &rig("rediss", user, more),
            &address,
            &["tPassword", "gPassword"],
            within,
        )
        .await;
    }
    let missing = rig("rediss", "anna:rightPassword@", "&ca=/no/such/file");
    let error = missing.bus.check().await.unwrap_err();
    assert!(matches!(error, OpenError::Settings { .. }), "{error}");
}

/// A group that is let go leaves nothing but the topic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_forgotten_whole() {
    let server = Redis::start().await;
    let topic = Harness::topic(&server);
    let rig = Rig::of(
        &format!("{}?topic={topic}&partitions=2", server.url()),
        limits(),
    );
    rig.publisher().await.publish(&[event(0, 1)]).await.unwrap();
    let mut consumer = rig.consumer().await;
    let received = gather(&mut consumer, 1).await;
    consumer.acknowledge(&received).await.unwrap();
    drop(consumer);
    let left = async || {
        let keys: Vec<String> = server.query(cmd("KEYS").arg(format!("*:{GROUP}:*"))).await;
        let mut groups = cmd("XINFO");
        groups.arg("GROUPS").arg(format!("{topic}:0"));
        let groups: Vec<redis::Value> = server.query(&groups).await;
        (keys, groups.len())
    };
    let (keys, groups) = left().await;
    assert!(!keys.is_empty() && groups == 1, "{keys:?} {groups}");
    // The consumer is on its way out, and may say so once more.
    until(Duration::from_secs(20), "nothing of the group", || async {
        rig.bus.forget_group(GROUP).await.unwrap();
        match left().await {
            (keys, 0) if keys.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        }
    })
    .await;
}
