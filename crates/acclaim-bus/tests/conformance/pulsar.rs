//! The cases on a real Pulsar, and what only Pulsar has.

use std::time::{Duration, Instant};

use acclaim_bus::{Limits, OpenError};
use acclaim_servers::{Pulsar, PulsarOptions};
use async_trait::async_trait;

use crate::harness::{Harness, Rig, event, gather, limits, read};

/// So that what is acknowledged of a batch does not come again.
fn options() -> PulsarOptions {
    PulsarOptions::default().set("acknowledgmentAtBatchIndexLevelEnabled", "true")
}

#[async_trait]
impl Harness for Pulsar {
    async fn shared() -> &'static Self {
        static SHARED: tokio::sync::OnceCell<Pulsar> = tokio::sync::OnceCell::const_new();
        SHARED.get_or_init(Self::private).await
    }

    async fn private() -> Self {
        Self::start_with(options()).await
    }

    fn url(&self) -> String {
        self.url()
    }

    fn options(&self) -> String {
        format!("&admin={}", self.admin_url().trim_start_matches("http://"))
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

/// A broker that takes known users, over TLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_tls() {
    let server = Pulsar::start_with(options().user("anna").tls()).await;
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), server.certificates().unwrap().authority_pem()).unwrap();
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
    right
        .publisher()
        .await
        .publish(&[event(0, 1)])
        .await
        .unwrap();
    let received = gather(&mut right.consumer().await, 1).await;
    assert_eq!(read(&received[0]), (0, 1));

    for (token, tls) in [
        (Pulsar::forged_token("anna"), trusted.as_str()),
        ("nonsense".to_owned(), trusted.as_str()),
        // Known, and allowed nothing.
        (Pulsar::token("ben"), trusted.as_str()),
        // A certificate that nobody here trusts.
        (Pulsar::token("anna"), "&tls=yes"),
    ] {
        let begin = Instant::now();
        let error = rig(&token, tls).bus.check().await.unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, OpenError::Credentials { .. }),
            "{token} {tls}: {text}"
        );
        assert!(text.contains(&address) && !text.contains(&token), "{text}");
        assert!(
            begin.elapsed() < Duration::from_secs(8),
            "as soon as it is refused"
        );
    }
}
