//! Buses that take only whom they know, over TLS: what every one of them does then.

use std::io::Write as _;
use std::time::{Duration, Instant};

use acclaim_bus::OpenError;
use acclaim_bus::port::{Consumer, Received};
use acclaim_servers::Certificates;
use tempfile::NamedTempFile;

use crate::harness::{Rig, event, gather, read};

/// The file of who vouches for a server.
pub fn authority(certificates: Option<&Certificates>) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    let authority = certificates.unwrap().authority_pem();
    file.write_all(authority.as_bytes()).unwrap();
    file
}

/// Who is known publishes, and receives what was published.
pub async fn is_known(rig: &Rig) -> (Box<dyn Consumer>, Vec<Received>) {
    let publisher = rig.publisher().await;
    publisher.publish(&[event(0, 1)]).await.unwrap();
    let mut consumer = rig.consumer().await;
    let received = gather(&mut consumer, 1).await;
    assert_eq!(read(&received[0]), (0, 1));
    (consumer, received)
}

/// Who is not trusted, or does not trust, hears so in time, with the address and without the
/// secrets.
pub async fn is_refused(rig: &Rig, address: &str, secrets: &[&str], within: Duration) {
    let begin = Instant::now();
    let error = rig.bus.check().await.unwrap_err();
    let text = error.to_string();
    let url = &rig.url;
    assert!(
        matches!(error, OpenError::Credentials { .. }),
        "{url:?}: {text}"
    );
    assert!(text.contains(address), "{text}");
    assert!(
        !secrets.iter().any(|secret| text.contains(secret)),
        "{text}"
    );
    assert!(begin.elapsed() < within, "as soon as it is refused");
}
