use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use acclaim_servers::{Kafka, KafkaOptions};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::SHORT;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const SASL_HANDSHAKE: i16 = 17;
const SASL_AUTHENTICATE: i16 = 36;

fn text(text: &str) -> Vec<u8> {
    let length = i16::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

fn bytes(bytes: &[u8]) -> Vec<u8> {
    let length = i32::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes(), bytes].concat()
}

/// An array of one.
fn one(element: &[u8]) -> Vec<u8> {
    [&1_i32.to_be_bytes(), element].concat()
}

/// A number as records have it: small ones, of one byte.
fn small(number: usize) -> u8 {
    u8::try_from(number * 2).unwrap()
}

/// A batch of one record with this payload.
fn batch(payload: &str) -> Vec<u8> {
    let no_key = 1;
    let mut record = vec![0, 0, 0, no_key, small(payload.len())];
    record.extend(payload.as_bytes());
    record.push(0);

    let mut checked = Vec::new();
    checked.extend([0; 2 + 4]);
    checked.extend([0; 8 + 8]);
    // No producer, no epoch, no sequence.
    checked.extend([0xFF; 8 + 2 + 4]);
    checked.extend(one(&[]));
    checked.push(small(record.len()));
    checked.extend(record);

    let mut versioned = (-1_i32).to_be_bytes().to_vec();
    versioned.push(2);
    let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&checked);
    versioned.extend(sum.to_be_bytes());
    versioned.extend(checked);
    [vec![0; 8], bytes(&versioned)].concat()
}

async fn produce(server: &Kafka, topic: &str, payload: &str) -> Result<(), String> {
    let first_partition = 0_i32.to_be_bytes();
    let records = [&first_partition[..], &bytes(&batch(payload))].concat();
    let body = [
        // No transaction, acknowledged by all, within 5 s.
        &(-1_i16).to_be_bytes()[..],
        &(-1_i16).to_be_bytes(),
        &5_000_i32.to_be_bytes(),
        &one(&[text(topic), one(&records)].concat()),
    ];
    let answer = server.try_request(PRODUCE, 3, &body.concat()).await?;
    let error = &answer[4 + text(topic).len() + 4 + 4..][..2];
    assert_eq!(error, [0, 0], "{answer:?}");
    Ok(())
}

/// What a fetch from the beginning brings, as it comes.
async fn fetch(server: &Kafka, topic: &str) -> String {
    let (max_wait_ms, min_bytes, max_bytes) = (1_000_i32, 1_i32, 1_i32 << 20);
    let partition = [
        &0_i32.to_be_bytes()[..],
        &0_i64.to_be_bytes(),
        &max_bytes.to_be_bytes(),
    ];
    let body = [
        &(-1_i32).to_be_bytes()[..],
        &max_wait_ms.to_be_bytes(),
        &min_bytes.to_be_bytes(),
        &max_bytes.to_be_bytes(),
        &[0],
        &one(&[text(topic), one(&partition.concat())].concat()),
    ];
    let answer = server.try_request(FETCH, 4, &body.concat()).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn comes_back_after_a_kill_with_what_it_acknowledged() {
    let server = Kafka::start().await;
    let address = server.address();
    assert_eq!(server.url(), format!("kafka://{address}"));
    let topic = server.topic();
    server.make_topic(&topic, 2).await;
    produce(&server, &topic, "the first of them").await.unwrap();
    server.kill();
    assert!(produce(&server, &topic, "nobody there").await.is_err());

    server.restart().await;
    assert_eq!(server.address(), address);
    assert_eq!(server.partitions(&topic).await, Ok(Some(2)));
    produce(&server, &topic, "the second").await.unwrap();
    let fetched = fetch(&server, &topic).await;
    assert!(fetched.contains("the first of them"), "{fetched}");
    assert!(fetched.contains("the second"), "{fetched}");
    assert!(!fetched.contains("nobody there"), "{fetched}");

    server.pause().await;
    {
        let answer = server.partitions(&topic);
        tokio::pin!(answer);
        assert!(tokio::time::timeout(SHORT, &mut answer).await.is_err());
        server.resume();
        assert_eq!(answer.await, Ok(Some(2)));
    }
    server.restart().await;
    assert!(fetch(&server, &topic).await.contains("the second"));
    server.shut_down().await;
}

#[tokio::test]
async fn topics_of_the_shared_one_are_apart() {
    let server = Kafka::shared().await;
    let (one, other) = (server.topic(), server.topic());
    assert_ne!(one, other);
    server.make_topic(&one, 3).await;
    assert_eq!(server.partitions(&one).await, Ok(Some(3)));
    assert_eq!(server.partitions(&other).await, Ok(None));
}

/// One request on a connection that stays.
fn tell(stream: &mut impl ReadAndWrite, api: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let head = [api.to_be_bytes(), version.to_be_bytes()].concat();
    let sent = [&head, &1_i32.to_be_bytes()[..], &[0xFF, 0xFF], body].concat();
    stream.write_all(&bytes(&sent)).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    answer.split_off(4)
}

trait ReadAndWrite: Read + Write {}
impl<T: Read + Write> ReadAndWrite for T {}

/// Tells who we are, and gives the error code of the answer.
fn authenticate(server: &Kafka, password: &str) -> i16 {
    let mut roots = RootCertStore::empty();
    let authority = server.certificates().unwrap().authority_pem();
    let authority = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
    roots.add(authority).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "127.0.0.1".try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(server.address()).unwrap());

    let answer = tell(&mut stream, SASL_HANDSHAKE, 1, &text("PLAIN"));
    assert_eq!(answer[..2], [0, 0], "{answer:?}");
    let credentials = bytes(format!("\0anna\0{password}").as_bytes());
    let answer = tell(&mut stream, SASL_AUTHENTICATE, 0, &credentials);
    i16::from_be_bytes([answer[0], answer[1]])
}

#[tokio::test]
async fn takes_only_its_users_over_tls_and_only_topics_that_are_there() {
    const AUTHENTICATION_FAILED: i16 = 58;
    let options = KafkaOptions::default()
        .user("berta", "other")
        .user("anna", "secret")
        .tls()
        .without_auto_create();
    let server = Kafka::start_with(options).await;
    assert_eq!(authenticate(&server, "secret"), 0);
    assert_eq!(authenticate(&server, "other"), AUTHENTICATION_FAILED);

    // Asked for by its name it would come into being otherwise.
    const METADATA: i16 = 3;
    const UNKNOWN_TOPIC: [u8; 2] = [0, 3];
    let topic = server.topic();
    let body = one(&text(&topic));
    let answer = server.try_request(METADATA, 1, &body).await.unwrap();
    let told = [&UNKNOWN_TOPIC[..], &text(&topic)].concat();
    assert!(answer.windows(told.len()).any(|part| part == told));
    assert_eq!(server.partitions(&topic).await, Ok(None));
}

#[tokio::test]
async fn a_setting_that_is_wrong_fails_and_says_which() {
    let options = KafkaOptions::default().set("num.partitions", "many");
    let failure = Kafka::try_start(options).await.unwrap_err().to_string();
    assert!(failure.contains("kafka did not start"), "{failure}");
    assert!(
        failure.contains("many for configuration num.partitions"),
        "{failure}"
    );
}
