//! The cases on a real Pulsar, and what only Pulsar has.

use std::time::Duration;

use ::pulsar::producer::ProducerOptions;
use acclaim_bus::{Limits, OpenError};
use acclaim_servers::{Pulsar, PulsarOptions};

use crate::harness::{Harness, Rig, event, gather, limits, read};
use crate::trust::{authority, is_known, is_refused};

/// So that what is acknowledged of a batch does not come again.
fn options() -> PulsarOptions {
    PulsarOptions::default().set("acknowledgmentAtBatchIndexLevelEnabled", "true")
}

harness! {
    Pulsar;

    async fn shared() -> &'static Self {
        static SHARED: tokio::sync::OnceCell<Pulsar> = tokio::sync::OnceCell::const_new();
        SHARED.get_or_init(Self::private).await
    }

    async fn private() -> Self {
        Self::start_with(options()).await
    }

    fn options(&self) -> String {
        format!("&admin={}", self.admin_url().trim_start_matches("http://"))
    }

    fn topic(&self) -> String {
        self.topic()
    }
}

every_case!(Pulsar);

/// A topic of the name that has no partitions, and an administration that is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_cannot_be_made() {
    let server = <Pulsar as Harness>::shared().await;
    let topic = server.topic();
    let path = format!("/admin/v2/persistent/public/default/{topic}");
    let (status, answer) = server.try_request("PUT", &path, "").await.unwrap();
    assert_eq!(status, 204, "{answer}");
    for (topic, admin) in [
        (topic, Harness::options(server)),
        (server.topic(), "&admin=127.0.0.1:1".to_owned()),
    ] {
        let url = format!("{}?topic={topic}{admin}", server.url());
        let error = Rig::of(&url, limits()).bus.check().await.unwrap_err();
        assert!(matches!(error, OpenError::CannotMake { .. }), "{error}");
        assert!(error.to_string().contains(&topic), "{error}");
    }
}

/// A batch of others that is longer than is understood comes as one message, and what comes behind
/// it comes too: the broker has counted as many messages as the batch says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_others_come_too() {
    let server = <Pulsar as Harness>::shared().await;
    let rig = Rig::new(server, limits());
    let publisher = rig.publisher().await;
    let mut consumer = rig.consumer().await;
    publisher.publish(&[event(0, 0)]).await.unwrap();
    assert_eq!(read(&gather(&mut consumer, 1).await[0]), (0, 0));

    let messages = 2_000;
    let others = ::pulsar::Pulsar::builder(server.url(), ::pulsar::TokioExecutor);
    let others = others.build().await.unwrap();
    let mut producer = others
        .producer()
        .with_topic(format!("{}-partition-0", rig.url.topic))
        .with_options(ProducerOptions {
            batch_size: Some(messages),
            ..ProducerOptions::default()
        })
        .build()
        .await
        .unwrap();
    let mut stored = Vec::new();
    for _ in 0..messages {
        stored.push(producer.send_non_blocking("theirs").await.unwrap());
    }
    for stored in stored {
        stored.await.unwrap();
    }
    let batch = &gather(&mut consumer, 1).await[0];
    assert!(batch.payload.ends_with(b"theirs"), "{batch:?}");

    publisher.publish(&[event(0, 1)]).await.unwrap();
    assert_eq!(read(&gather(&mut consumer, 1).await[0]), (0, 1));
}

/// A broker that takes known users, over TLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_tls() {
    let server = Pulsar::start_with(options().user("anna").tls()).await;
    let ca = authority(server.certificates());
    let (address, admin) = server.tls_addresses();
    let topic = server.topic();
    let limits = || Limits {
        call_timeout_millis: 8_000,
        ..limits()
    };
    let rig = |token: &str, tls: &str| {
        let common = format!("?topic={topic}&partitions=1&admin={admin}");
        Rig::of(
            &format!("pulsar://:{token}@{address}{common}{tls}"),
            limits(),
        )
    };
    let trusted = format!("&tls=yes&ca={}", ca.path().display());
    let right = rig(&Pulsar::token("anna"), &trusted);
    right.bus.check().await.unwrap();
    right.bus.keep_for("group").await.unwrap();
    is_known(&right).await;

    for (token, tls) in [
        (Pulsar::forged_token("anna"), trusted.as_str()),
        ("nonsense".to_owned(), trusted.as_str()),
        // Known, and allowed nothing.
        (Pulsar::token("ben"), trusted.as_str()),
        // A certificate that nobody here trusts.
        (Pulsar::token("anna"), "&tls=yes"),
    ] {
        let within = Duration::from_secs(8);
        is_refused(&rig(&token, tls), &address, &[&token], within).await;
    }
}
