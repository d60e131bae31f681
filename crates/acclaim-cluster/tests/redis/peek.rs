//! Plain commands find what the script finds, or say that it is to be asked.

use acclaim_cluster::redis::connection::Redis;
use acclaim_cluster::redis::keys::TargetName;
use acclaim_cluster::redis::layout::MAX_INLINE_ENTRIES;
use acclaim_cluster::redis::read::Peeked;
use acclaim_core::Id;
use acclaim_servers::Redis as Server;

use crate::callers::{limits, partition, target, toggle, warm};

#[tokio::test]
async fn a_record_is_read_by_a_command_and_a_bucket_by_the_script() {
    let server = Server::start().await;
    let redis = Redis::open(&server.url(), limits()).await.unwrap();
    let (place, name) = (partition(0), target());
    let other = TargetName::parse("0:0:2").unwrap();
    let users = [1, MAX_INLINE_ENTRIES, MAX_INLINE_ENTRIES + 1].map(Id::Number);
    let peek = || async {
        let mut asked: Vec<_> = users
            .iter()
            .map(|user| (place, &name, Some(user)))
            .collect();
        asked.extend([(place, &name, None), (place, &other, Some(&users[0]))]);
        redis.peek(&asked).await
    };
    // Nothing is there.
    assert_eq!(peek().await, vec![Peeked::Unknown; 5]);
    warm(&redis, place).await;
    let mut edges: Vec<_> = users
        .iter()
        .map(|user| (name.clone(), Some(user.clone())))
        .collect();
    edges.push((name.clone(), None));
    for user in 1..=MAX_INLINE_ENTRIES {
        redis.decide(place, None, &[toggle(user)]).await.unwrap();
        let found = redis.read(place, &edges).await.unwrap();
        let mut all: Vec<Peeked> = found.into_iter().map(Peeked::Found).collect();
        all.push(Peeked::Unknown);
        assert_eq!(peek().await, all, "{user}");
    }
    // One more is too many for the record.
    redis
        .decide(place, None, &[toggle(MAX_INLINE_ENTRIES + 1)])
        .await
        .unwrap();
    let count = redis.read(place, &edges[3..]).await.unwrap().remove(0);
    let mut all = vec![Peeked::InBucket; 3];
    all.extend([Peeked::Found(count), Peeked::Unknown]);
    assert_eq!(peek().await, all);
    server.kill();
    assert_eq!(peek().await, vec![Peeked::Unknown; 5]);
}
