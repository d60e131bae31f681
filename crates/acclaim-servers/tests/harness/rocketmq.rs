use acclaim_servers::{RocketMq, RocketMqOptions};

use crate::SHORT;

const SEND_MESSAGE: i32 = 10;
const PULL_MESSAGE: i32 = 11;
const SUCCESS: i32 = 0;
const NO_PERMISSION: i32 = 16;
const TOPIC_NOT_EXIST: i32 = 17;

/// Sends a message to the first queue, and gives the code of the answer.
async fn send(server: &RocketMq, topic: &str, payload: &str) -> Result<i32, String> {
    let fields = [
        ("producerGroup", "harness"),
        ("topic", topic),
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "1"),
        ("queueId", "0"),
        ("sysFlag", "0"),
        ("bornTimestamp", "1"),
        ("flag", "0"),
        ("properties", ""),
        ("reconsumeTimes", "0"),
        ("unitMode", "false"),
        ("batch", "false"),
    ];
    let sent = server.try_request(SEND_MESSAGE, &fields, payload.as_bytes());
    Ok(sent.await?.code)
}

/// What the first queue has, as it comes.
async fn pull(server: &RocketMq, topic: &str) -> String {
    let with_subscription = "4";
    let fields = [
        ("consumerGroup", "harness"),
        ("topic", topic),
        ("queueId", "0"),
        ("queueOffset", "0"),
        ("maxMsgNums", "32"),
        ("sysFlag", with_subscription),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "0"),
        ("subscription", "*"),
        ("subVersion", "0"),
        ("expressionType", "TAG"),
    ];
    let answer = server.try_request(PULL_MESSAGE, &fields, &[]).await;
    let answer = answer.unwrap();
    assert_eq!(answer.code, SUCCESS, "{answer:?}");
    String::from_utf8_lossy(&answer.body).into_owned()
}

#[tokio::test]
async fn comes_back_after_a_kill_with_what_it_acknowledged() {
    let options = RocketMqOptions::default().without_auto_create();
    let server = RocketMq::start_with(options).await;
    let address = server.address();
    assert_eq!(server.url(), format!("rocketmq://{address}"));
    let topic = server.topic();
    let sent = send(&server, &topic, "too early").await;
    assert_eq!(sent, Ok(TOPIC_NOT_EXIST));
    server.make_topic(&topic, 2).await;
    let sent = send(&server, &topic, "the first of them").await;
    assert_eq!(sent, Ok(SUCCESS));
    server.kill();
    assert!(send(&server, &topic, "nobody there").await.is_err());

    server.restart().await;
    assert_eq!(server.address(), address);
    assert_eq!(server.queues(&topic).await, Ok(Some(2)));
    assert_eq!(send(&server, &topic, "the second").await, Ok(SUCCESS));
    let pulled = pull(&server, &topic).await;
    assert!(pulled.contains("the first of them"), "{pulled}");
    assert!(pulled.contains("the second"), "{pulled}");
    assert!(!pulled.contains("nobody there"), "{pulled}");

    server.pause().await;
    {
        let answer = server.queues(&topic);
        tokio::pin!(answer);
        assert!(tokio::time::timeout(SHORT, &mut answer).await.is_err());
        server.resume();
        assert_eq!(answer.await, Ok(Some(2)));
    }
    // The broker alone, which the name server hears of again.
    server.broker().kill();
    server.broker().restart().await;
    assert_eq!(server.queues(&topic).await, Ok(Some(2)));
    assert!(pull(&server, &topic).await.contains("the second"));
    // Takes 15 s of which it needs nothing.
    server.shut_down().await;
}

#[tokio::test]
async fn topics_of_the_shared_one_are_apart_and_come_into_being() {
    let server = RocketMq::shared().await;
    let (one, other) = (server.topic(), server.topic());
    assert_ne!(one, other);
    server.make_topic(&one, 3).await;
    assert_eq!(server.queues(&one).await, Ok(Some(3)));
    assert_eq!(server.queues(&other).await, Ok(None));
    assert_eq!(send(server, &other, "first").await, Ok(SUCCESS));
    assert!(pull(server, &other).await.contains("first"));
}

#[tokio::test]
async fn takes_only_its_user() {
    let options = RocketMqOptions::default().user("anna", "secret");
    let server = RocketMq::start_with(options).await;
    let topic = server.topic();
    server.make_topic(&topic, 1).await;
    assert_eq!(send(&server, &topic, "nobody").await, Ok(NO_PERMISSION));
}
