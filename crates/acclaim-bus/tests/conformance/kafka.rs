//! The cases on a real Kafka, and what only Kafka has.

use std::time::Duration;

use acclaim_bus::{Limits, OpenError};
use acclaim_servers::{Kafka, KafkaOptions};

use crate::harness::{Rig, limits};
use crate::trust::{authority, is_known, is_refused};

harness! {
    Kafka;

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
    let ca = authority(server.certificates());
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
    is_known(&right).await;

    for (user, tls) in [
        ("anna:wrongPassword@", trusted.as_str()),
        ("ben:rightPassword@", trusted.as_str()),
        // A certificate that nobody here trusts.
        ("anna:rightPassword@", "&tls=yes"),
    ] {
        let within = Duration::from_secs(8);
        is_refused(&rig(user, tls), &address, &["Password"], within).await;
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
