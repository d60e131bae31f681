//! The cases on a real Kafka, and what only Kafka has.

use std::time::{Duration, Instant};

use acclaim_bus::{Limits, OpenError};
use acclaim_servers::{Kafka, KafkaOptions};
use async_trait::async_trait;

use crate::harness::{Harness, Rig, event, gather, limits, read};

#[async_trait]
impl Harness for Kafka {
    async fn shared() -> &'static Self {
        Self::shared().await
    }

    async fn private() -> Self {
        Self::start().await
    }

    fn url(&self) -> String {
        self.url()
    }

    fn topic(&self) -> String {
        self.topic()
    }

    fn kill(&self) {
        self.kill();
    }

    async fn restart(&self) {
        self.restart().await;
    }

    async fn pause(&self) {
        self.pause().await;
    }

    fn resume(&self) {
        self.resume();
    }
}

every_case!(Kafka);

/// More copies than there are brokers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_the_broker_does_not_make() {
    let server = Kafka::shared().await;
    let url = format!("{}?topic={}&replicas=2", server.url(), server.topic());
    let error = Rig::of(&url, limits()).bus.check().await.unwrap_err();
    assert!(matches!(error, OpenError::CannotMake { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains(server.url().trim_start_matches("kafka://")),
        "{text}"
    );
}

/// A broker that takes known users over TLS only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_tls() {
    let options = KafkaOptions::default().user("anna", "rightPassword").tls();
    let server = Kafka::start_with(options).await;
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), server.certificates().unwrap().authority_pem()).unwrap();
    let address = server.url().trim_start_matches("kafka://").to_owned();
    let topic = server.topic();
    let limits = || Limits {
        call_timeout_millis: 8_000,
        ..limits()
    };
    let rig = |user: &str, tls: &str| {
        let url = format!("kafka://{user}{address}?topic={topic}&partitions=1{tls}");
        Rig::of(&url, limits())
    };
    let trusted = format!("&tls=yes&ca={}", ca.path().display());
    let right = rig("anna:rightPassword@", &trusted);
    right
        .publisher()
        .await
        .publish(&[event(0, 1)])
        .await
        .unwrap();
    let received = gather(&mut right.consumer().await, 1).await;
    assert_eq!(read(&received[0]), (0, 1));

    for (user, tls) in [
        ("anna:wrongPassword@", trusted.as_str()),
        ("ben:rightPassword@", trusted.as_str()),
        // A certificate that nobody here trusts.
        ("anna:rightPassword@", "&tls=yes"),
    ] {
        let begin = Instant::now();
        let error = rig(user, tls).bus.check().await.unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, OpenError::Credentials { .. }),
            "{user} {tls}: {text}"
        );
        assert!(
            text.contains(&address) && !text.contains("Password"),
            "{text}"
        );
        assert!(
            begin.elapsed() < Duration::from_secs(8),
            "as soon as it is refused"
        );
    }
    // Kafka says nothing to somebody who does not speak TLS.
    let error = rig("anna:rightPassword@", "")
        .bus
        .check()
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        OpenError::Unreachable { .. } | OpenError::Credentials { .. }
    ));
}
