//! The little of Kafka's protocol that the harness speaks: what a broker knows of itself, and
//! making topics. A client library would be another 20 s of everybody's build.
//!
//! Versions are those without tagged fields that brokers of today still take.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long one request may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const ANSWER_MAX_BYTES: u32 = 16 << 20;

const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const CREATE_TOPICS: i16 = 19;
const CREATE_LIMIT_MS: i32 = 4_000;
/// The error code of success.
const NONE: i16 = 0;
const NO_LEADER: i32 = -1;
const NO_REPLICA: i32 = -1;
const LATEST: i64 = -1;

/// What a broker tells about its cluster.
#[derive(Debug)]
pub struct Metadata {
    /// The ports of the brokers that are up, at the listener that was asked.
    pub broker_ports: Vec<u16>,
    pub topics: Vec<Topic>,
}

#[derive(Debug)]
pub struct Topic {
    pub name: String,
    /// One for each partition: whether it has a leader that takes records.
    pub led: Vec<bool>,
}

/// Sends one request and gives the body of the answer.
pub async fn request(port: u16, api: i16, version: i16, body: &[u8]) -> Result<Vec<u8>, String> {
    let what = format!("request {api} of version {version} on port {port}");
    match tokio::time::timeout(ANSWER_LIMIT, exchange(port, api, version, body)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(format!("{what}: {error}")),
        Err(_) => Err(format!("{what} was not answered within {ANSWER_LIMIT:?}")),
    }
}

async fn exchange(port: u16, api: i16, version: i16, body: &[u8]) -> std::io::Result<Vec<u8>> {
    // The number of the request, which comes back, and no name of the client.
    let mut sent = Vec::new();
    sent.extend(api.to_be_bytes());
    sent.extend(version.to_be_bytes());
    sent.extend(1_i32.to_be_bytes());
    sent.extend((-1_i16).to_be_bytes());
    sent.extend(body);
    let length = u32::try_from(sent.len()).map_err(std::io::Error::other)?;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&sent).await?;

    let length = stream.read_u32().await?;
    if length > ANSWER_MAX_BYTES {
        return Err(std::io::Error::other(format!(
            "an answer of {length} bytes"
        )));
    }
    let _number = stream.read_i32().await?;
    let mut answer = vec![0; (length as usize).saturating_sub(4)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// What the broker at this port knows of brokers and all topics.
///
/// It tells of a leader a moment before that one takes requests, so each leader is asked.
pub async fn metadata(port: u16) -> Result<Metadata, String> {
    let all_topics = (-1_i32).to_be_bytes();
    let answer = request(port, METADATA, 1, &all_topics).await?;
    let early = || format!("metadata ends early: {answer:?}");
    let mut metadata = read_metadata(&mut Reader(&answer)).ok_or_else(early)?;
    for topic in &mut metadata.topics {
        let body = ends_of(&topic.name, topic.led.len())?;
        let answer = request(port, LIST_OFFSETS, 1, &body).await?;
        let early = || format!("offsets end early: {answer:?}");
        read_ends(&mut Reader(&answer), &mut topic.led).ok_or_else(early)?;
    }
    Ok(metadata)
}

/// Asks for the end of each partition, which only its leader tells.
fn ends_of(topic: &str, partitions: usize) -> Result<Vec<u8>, String> {
    let partitions = i32::try_from(partitions).map_err(|error| error.to_string())?;
    let mut body = NO_REPLICA.to_be_bytes().to_vec();
    body.extend(1_i32.to_be_bytes());
    put_text(&mut body, topic)?;
    body.extend(partitions.to_be_bytes());
    for partition in 0..partitions {
        body.extend(partition.to_be_bytes());
        body.extend(LATEST.to_be_bytes());
    }
    Ok(body)
}

fn read_ends(reader: &mut Reader<'_>, led: &mut [bool]) -> Option<()> {
    let _topics = reader.int()?;
    let _name = reader.text()?;
    for _ in 0..reader.int()? {
        let partition = usize::try_from(reader.int()?).ok()?;
        let error = reader.short()?;
        let _time_and_offset = reader.take(16)?;
        *led.get_mut(partition)? &= error == NONE;
    }
    Some(())
}

fn read_metadata(reader: &mut Reader<'_>) -> Option<Metadata> {
    let mut broker_ports = Vec::new();
    for _ in 0..reader.int()? {
        let _node = reader.int()?;
        let _host = reader.text()?;
        broker_ports.push(u16::try_from(reader.int()?).ok()?);
        let _rack = reader.text()?;
    }
    let _controller = reader.int()?;
    let mut topics = Vec::new();
    for _ in 0..reader.int()? {
        let _error = reader.short()?;
        let name = reader.text()?;
        let _internal = reader.take(1)?;
        let mut led = Vec::new();
        for _ in 0..reader.int()? {
            let error = reader.short()?;
            let _partition = reader.int()?;
            led.push(reader.int()? != NO_LEADER && error == NONE);
            for _replicas_and_those_in_sync in 0..2 {
                let nodes = usize::try_from(reader.int()?).ok()?;
                reader.take(nodes.checked_mul(4)?)?;
            }
        }
        topics.push(Topic { name, led });
    }
    Some(Metadata {
        broker_ports,
        topics,
    })
}

/// Makes a topic.
pub async fn create_topic(port: u16, name: &str, partitions: i32) -> Result<(), String> {
    let mut body = Vec::new();
    body.extend(1_i32.to_be_bytes());
    put_text(&mut body, name)?;
    body.extend(partitions.to_be_bytes());
    let one_replica = 1_i16;
    body.extend(one_replica.to_be_bytes());
    let (no_assignments, no_configuration) = (0_i32, 0_i32);
    body.extend(no_assignments.to_be_bytes());
    body.extend(no_configuration.to_be_bytes());
    body.extend(CREATE_LIMIT_MS.to_be_bytes());
    let only_validate = 0;
    body.push(only_validate);

    let answer = request(port, CREATE_TOPICS, 2, &body).await?;
    let mut reader = Reader(&answer);
    let read = || {
        let _throttled_ms = reader.int()?;
        let _topics = reader.int()?;
        let _name = reader.text()?;
        Some((reader.short()?, reader.text()?))
    };
    match { read }() {
        Some((NONE, _)) => Ok(()),
        Some((error, message)) => Err(format!("topic {name}: error {error} {message}")),
        None => Err(format!("the answer ends early: {answer:?}")),
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) -> Result<(), String> {
    let length = i16::try_from(text.len()).map_err(|_| format!("{text:?} is too long"))?;
    bytes.extend(length.to_be_bytes());
    bytes.extend(text.as_bytes());
    Ok(())
}

/// What is left of an answer.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(length)?;
        self.0 = left;
        Some(taken)
    }

    fn short(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn int(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A text; none is as good as an empty one here.
    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.short()?).unwrap_or(0);
        Some(String::from_utf8_lossy(self.take(length)?).into_owned())
    }
}
