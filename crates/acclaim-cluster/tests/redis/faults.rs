//! One server that hangs, and connections that break at the worst moment.

use std::time::{Duration, Instant};

use acclaim_cluster::redis::connection::{Redis, RedisLimits};
use acclaim_cluster::redis::decide::DecideOp;
use acclaim_cluster::redis::error::RedisError;
use acclaim_cluster::redis::read::Found;
use acclaim_core::{Action, Id};
use acclaim_servers::{Direction, Proxy, Redis as Server, RedisOptions, until};

use crate::callers::{
    decide_replicated, journal, limits, partition, partitions, target, toggle, warm,
};

const LIMIT: Duration = Duration::from_secs(30);

/// A warm partition on a server behind a proxy.
async fn behind_a_proxy(limits: RedisLimits) -> (Server, Proxy, Redis) {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let redis = Redis::open(&format!("redis://{}", proxy.address()), limits)
        .await
        .unwrap();
    warm(&redis, partition(0)).await;
    redis
        .decide(partition(0), None, &[toggle(9)])
        .await
        .unwrap();
    (server, proxy, redis)
}

async fn events(redis: &Redis) -> usize {
    journal(redis, partition(0)).await.len()
}

#[tokio::test]
async fn a_lost_answer_is_an_unknown_outcome_and_nothing_is_decided_twice() {
    let (_server, proxy, redis) = behind_a_proxy(limits()).await;
    proxy.lose_reply_to(b"EVALSHA");
    let lost = redis.decide(partition(0), None, &[toggle(1)]).await;
    let lost = lost.unwrap_err();
    assert!(matches!(lost, RedisError::Lost { .. }), "{lost:?}");
    assert!(!lost.nothing_done());
    assert_eq!(events(&redis).await, 2, "it was decided, once");
}

#[tokio::test]
async fn a_request_cut_in_the_middle_is_an_unknown_outcome_too() {
    let (_server, proxy, redis) = behind_a_proxy(limits()).await;
    proxy.cut_after(Direction::ToServer, b"EVALSHA");
    let lost = redis.decide(partition(0), None, &[toggle(1)]).await;
    assert!(!lost.unwrap_err().nothing_done());
    assert_eq!(events(&redis).await, 1, "it was not decided");
    redis
        .decide(partition(0), None, &[toggle(1)])
        .await
        .unwrap();
    assert_eq!(events(&redis).await, 2);
}

/// A read may be carried out twice, so it is.
#[tokio::test]
async fn a_read_whose_answer_was_lost_is_asked_again() {
    let (_server, proxy, redis) = behind_a_proxy(limits()).await;
    proxy.lose_reply_to(b"EVALSHA");
    let edges = [(target(), None)];
    assert_eq!(redis.read(partition(0), &edges).await.unwrap().len(), 1);
    assert_eq!(proxy.sprung(), 1);
}

/// What is known to be dead before the call is no unknown outcome.
#[tokio::test]
async fn a_connection_that_ended_while_idle_is_noticed_before_the_next_call() {
    let (_server, proxy, redis) = behind_a_proxy(limits()).await;
    proxy.cut();
    until(LIMIT, "the end of the connection to be noticed", || async {
        match redis.connected_masters() {
            0 => Ok(()),
            open => Err(format!("{open} are open")),
        }
    })
    .await;
    redis
        .decide(partition(0), None, &[toggle(1)])
        .await
        .unwrap();
    assert_eq!(events(&redis).await, 2);
}

#[tokio::test]
async fn without_a_connection_nothing_was_done() {
    let (_server, proxy, redis) = behind_a_proxy(limits()).await;
    proxy.refuse().await;
    proxy.cut();
    let refused = until(LIMIT, "a refusal", || async {
        match redis.decide(partition(0), None, &[toggle(1)]).await {
            Err(error) if error.nothing_done() => Ok(error),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(matches!(refused, RedisError::Unavailable { .. }));
    proxy.accept().await;
    redis
        .decide(partition(0), None, &[toggle(1)])
        .await
        .unwrap();
}

/// After some timeouts in a row the connection is given up; then it is certain that nothing is done.
#[tokio::test]
async fn a_hung_server_is_given_up_and_comes_back() {
    let server = Server::start().await;
    let redis = Redis::open(&server.url(), limits()).await.unwrap();
    warm(&redis, partition(0)).await;
    server.pause().await;
    let mut unknown = 0;
    loop {
        let begun = Instant::now();
        let error = redis.decide(partition(0), None, &[toggle(1)]).await;
        let error = error.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(4), "{error}");
        if error.nothing_done() {
            break;
        }
        unknown += 1;
    }
    assert_eq!(unknown, limits().max_timeouts_in_row);
    server.resume();
    until(LIMIT, "an answer", || async {
        let decided = redis.decide(partition(0), None, &[toggle(2)]).await;
        decided.map_err(|error| error.to_string())
    })
    .await;
    let all = journal(&redis, partition(0)).await;
    let late = all.iter().filter(|event| event.user == Id::Number(1));
    assert!(late.count() <= unknown as usize, "none was decided twice");
}

#[tokio::test]
async fn no_more_calls_than_allowed_are_under_way() {
    let few = RedisLimits {
        max_in_flight_calls: 2,
        response_timeout_millis: 1_000,
        call_timeout_millis: 2_000,
        ..limits()
    };
    let (_server, proxy, redis) = behind_a_proxy(few).await;
    proxy.stall(Direction::ToClient);
    let ops = [1, 2, 3].map(|user| [toggle(user)]);
    let (one, two, three) = tokio::join!(
        redis.decide(partition(0), None, &ops[0]),
        redis.decide(partition(0), None, &ops[1]),
        redis.decide(partition(0), None, &ops[2]),
    );
    assert!(!one.unwrap_err().nothing_done());
    assert!(!two.unwrap_err().nothing_done());
    let three = three.unwrap_err();
    assert!(three.nothing_done(), "{three}");
}

#[tokio::test]
async fn passwords_users_databases_and_tls() {
    for options in [
        RedisOptions::default().password("secret7"),
        RedisOptions::default().user("anna", "secret7"),
        RedisOptions::default().user("anna", "secret7").tls(),
    ] {
        let server = Server::start_with(options).await;
        let trusted = server
            .certificates()
            .map(|all| all.authority_pem().as_bytes());
        let url = format!("{}/3", server.url());
        let redis = Redis::open_trusting(&url, limits(), trusted).await.unwrap();
        warm(&redis, partition(0)).await;
        redis
            .decide(partition(0), None, &[toggle(1)])
            .await
            .unwrap();
        let keys: String = server.query(redis::cmd("INFO").arg("keyspace")).await;
        assert!(keys.contains("db3:") && !keys.contains("db0:"), "{keys}");

        let wrong = url.replace("secret7", "other8");
        let redis = Redis::open_trusting(&wrong, limits(), trusted)
            .await
            .unwrap();
        let refused = redis.decide(partition(0), None, &[toggle(1)]).await;
        let refused = refused.unwrap_err();
        assert!(refused.nothing_done());
        assert!(!refused.to_string().contains("other8"), "{refused}");
    }
}

#[tokio::test]
async fn a_call_ends_when_its_time_is_over() {
    let (_server, proxy, _) = behind_a_proxy(limits()).await;
    proxy.refuse().await;
    let redis = Redis::open(&format!("redis://{}", proxy.address()), limits())
        .await
        .unwrap();
    let begun = Instant::now();
    let refused = redis.decide(partition(0), None, &[toggle(1)]).await;
    assert!(refused.unwrap_err().nothing_done());
    let limit = Duration::from_millis(limits().call_timeout_millis);
    assert!(begun.elapsed() <= limit, "{:?}", begun.elapsed());
}

/// Answers come in the order of the questions, whether they go in one pipeline or in several.
#[tokio::test]
async fn a_pipeline_is_no_longer_than_allowed() {
    let server = Server::start().await;
    for max_pipeline_calls in [1, 2, 100] {
        let limits = RedisLimits {
            max_pipeline_calls,
            ..limits()
        };
        let redis = Redis::open(&server.url(), limits).await.unwrap();
        let mut asked = Vec::new();
        for place in partitions() {
            warm(&redis, place).await;
            for user in 0..u64::from(place.number) {
                let set = DecideOp::new(Action::Set, target(), Id::Number(user));
                redis.decide(place, None, &[set]).await.unwrap();
            }
            asked.push((place, vec![(target(), None)]));
        }
        for ((place, _), found) in asked.iter().zip(redis.read_many(&asked).await) {
            match &found.unwrap()[..] {
                [Found::Here { count, .. }] => assert_eq!(count.count, u64::from(place.number)),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn without_replicas_nobody_else_has_a_write() {
    let server = Server::start().await;
    let redis = Redis::open(&server.url(), limits()).await.unwrap();
    warm(&redis, partition(0)).await;
    let patience = Duration::from_millis(50);
    let decided = decide_replicated(&redis, partition(0), &[toggle(1)], patience).await;
    let (decided, has_replica) = decided.unwrap();
    assert_eq!((decided.len(), has_replica), (1, false));
    assert_eq!(events(&redis).await, 1);
}
