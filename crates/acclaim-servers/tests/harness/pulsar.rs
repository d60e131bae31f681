use acclaim_servers::{Pulsar, PulsarOptions, until};

use crate::{LIMIT, SHORT};

/// One attempt to publish a payload, over HTTP.
async fn publish(server: &Pulsar, topic: &str, payload: &str) -> Result<(), String> {
    let path = format!("/topics/persistent/public/default/{topic}");
    let body = format!(
        r#"{{"schemaVersion":-1,"producerName":"harness","messages":[{{"payload":"{payload}"}}]}}"#
    );
    let (status, answer) = server.try_request("POST", &path, &body).await?;
    match status == 200 && answer.contains(r#""errorCode":0"#) {
        true => Ok(()),
        false => Err(format!("{status} {answer}")),
    }
}

/// Makes a group that has yet to read everything. What no group has yet to read is not kept.
async fn subscribe(server: &Pulsar, topic: &str) {
    let path = format!("/admin/v2/persistent/public/default/{topic}/subscription/harness");
    let beginning = r#"{"ledgerId":-1,"entryId":-1,"partitionIndex":-1}"#;
    let (status, answer) = server.try_request("PUT", &path, beginning).await.unwrap();
    assert_eq!(status, 204, "{answer}");
}

/// A message of the first partition by its number from 1, as the answer has it.
async fn message(server: &Pulsar, topic: &str, number: u32) -> Result<String, String> {
    let path = format!(
        "/admin/v2/persistent/public/default/{topic}-partition-0/examinemessage\
         ?initialPosition=earliest&messagePosition={number}"
    );
    match server.try_request("GET", &path, "").await? {
        (200, body) => Ok(body),
        (status, body) => Err(format!("{status} {body}")),
    }
}

#[tokio::test]
async fn comes_back_after_a_kill_with_what_it_acknowledged() {
    let options = PulsarOptions::default().without_auto_create();
    let server = Pulsar::start_with(options).await;
    let address = server.address();
    assert_eq!(server.url(), format!("pulsar://{address}"));
    let topic = server.topic();
    assert_eq!(server.partitions(&topic).await, Ok(None));
    assert!(publish(&server, &topic, "nobody there").await.is_err());
    server.make_topic(&topic, 1).await;
    subscribe(&server, &topic).await;
    // Over HTTP a topic has to be loaded first.
    let sent = || publish(&server, &topic, "first");
    until(LIMIT, "the first message", sent).await;
    server.kill();
    assert!(publish(&server, &topic, "nobody there").await.is_err());

    server.restart().await;
    assert_eq!(server.address(), address);
    assert_eq!(server.partitions(&topic).await, Ok(Some(1)));
    let sent = || publish(&server, &topic, "second");
    until(LIMIT, "the second message", sent).await;
    let first = message(&server, &topic, 1).await.unwrap();
    assert!(first.contains("first"), "{first}");
    let second = message(&server, &topic, 2).await.unwrap();
    assert!(second.contains("second"), "{second}");

    server.pause().await;
    {
        let answer = server.partitions(&topic);
        tokio::pin!(answer);
        assert!(tokio::time::timeout(SHORT, &mut answer).await.is_err());
        server.resume();
        assert_eq!(answer.await, Ok(Some(1)));
    }
    server.shut_down().await;
}

#[tokio::test]
async fn topics_of_the_shared_one_are_apart() {
    let server = Pulsar::shared().await;
    let (one, other) = (server.topic(), server.topic());
    assert_ne!(one, other);
    server.make_topic(&one, 3).await;
    assert_eq!(server.partitions(&one).await, Ok(Some(3)));
    assert_eq!(server.partitions(&other).await, Ok(None));
}
