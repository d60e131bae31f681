//! The little of RocketMQ's protocol that the harness speaks.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long one request may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const ANSWER_MAX_BYTES: u32 = 16 << 20;

const UPDATE_AND_CREATE_TOPIC: i32 = 17;
const UPDATE_BROKER_CONFIG: i32 = 25;
const GET_ROUTE_OF_TOPIC: i32 = 105;
const SUCCESS: i32 = 0;
const TOPIC_NOT_EXIST: i32 = 17;

/// Fields of a request or an answer.
type Fields = BTreeMap<String, String>;

/// What comes before the body.
#[derive(Debug, Deserialize, Serialize)]
struct Header {
    code: i32,
    language: String,
    version: i32,
    opaque: i32,
    flag: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remark: Option<String>,
    #[serde(default, rename = "extFields")]
    fields: Fields,
}

/// An answer, whatever its code.
#[derive(Debug)]
pub struct Answer {
    /// 0 is success.
    pub code: i32,
    /// What is said of a failure.
    pub remark: String,
    /// Its fields.
    pub fields: Fields,
    /// The rest.
    pub body: Vec<u8>,
}

/// Where a topic is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Route {
    broker_datas: Vec<BrokerData>,
    queue_datas: Vec<QueueData>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BrokerData {
    broker_addrs: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueueData {
    write_queue_nums: u16,
}

/// Sends one request and gives the answer.
pub async fn request(
    port: u16,
    code: i32,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer, String> {
    let what = format!("request {code} on port {port}");
    match tokio::time::timeout(ANSWER_LIMIT, exchange(port, code, fields, body)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(format!("{what}: {error}")),
        Err(_) => Err(format!("{what} was not answered within {ANSWER_LIMIT:?}")),
    }
}

async fn exchange(
    port: u16,
    code: i32,
    fields: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let fields = fields.iter();
    let header = serde_json::to_vec(&Header {
        code,
        language: "OTHER".to_owned(),
        // That of 5.0.0; older ones are not given messages of newer kinds.
        version: 413,
        opaque: 1,
        flag: 0,
        remark: None,
        fields: fields
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    })?;
    let length = |bytes: usize| u32::try_from(bytes).map_err(std::io::Error::other);
    let mut sent = length(4 + header.len() + body.len())?
        .to_be_bytes()
        .to_vec();
    // Its upper byte says that the header is JSON.
    sent.extend(length(header.len())?.to_be_bytes());
    sent.extend(header);
    sent.extend(body);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(&sent).await?;

    let length = stream.read_u32().await?;
    if length > ANSWER_MAX_BYTES {
        return Err(std::io::Error::other(format!(
            "an answer of {length} bytes"
        )));
    }
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer).await?;
    read(&answer).ok_or_else(|| std::io::Error::other(format!("an answer of {answer:?}")))
}

fn read(answer: &[u8]) -> Option<Answer> {
    let (length, rest) = answer.split_first_chunk()?;
    let length = u32::from_be_bytes(*length) & 0x00FF_FFFF;
    let (header, body) = rest.split_at_checked(length as usize)?;
    let header: Header = serde_json::from_slice(header).ok()?;
    Some(Answer {
        code: header.code,
        remark: header.remark.unwrap_or_default(),
        fields: header.fields,
        body: body.to_vec(),
    })
}

/// How many queues of this topic the name server sends clients to, at the broker with this port;
/// none where it does not know the topic there.
pub async fn queues(name_server: u16, broker: u16, topic: &str) -> Result<Option<u16>, String> {
    let fields = [("topic", topic), ("acceptStandardJsonOnly", "true")];
    let answer = request(name_server, GET_ROUTE_OF_TOPIC, &fields, &[]).await?;
    match answer.code {
        SUCCESS => {}
        TOPIC_NOT_EXIST => return Ok(None),
        code => return Err(format!("route of {topic}: {code} {}", answer.remark)),
    }
    let route: Route = serde_json::from_slice(&answer.body)
        .map_err(|error| format!("{error} in {}", String::from_utf8_lossy(&answer.body)))?;
    let address = format!("127.0.0.1:{broker}");
    let mut brokers = route.broker_datas.iter();
    let is_there = brokers.any(|data| data.broker_addrs.values().any(|one| *one == address));
    let queues = route.queue_datas.first().map(|data| data.write_queue_nums);
    Ok(queues.filter(|_| is_there))
}

/// Has the broker tell the name server of itself and its topics: any change of its configuration
/// does, also to what it is. By itself it does so at its start, which can get lost, and then not
/// for 10 s.
pub async fn announce(broker: u16) -> Result<(), String> {
    let configuration = b"brokerPermission=6";
    let answer = request(broker, UPDATE_BROKER_CONFIG, &[], configuration).await?;
    success(answer, "brokerPermission=6")
}

/// Makes a topic.
pub async fn create_topic(broker: u16, name: &str, queues: u16) -> Result<(), String> {
    let queues = queues.to_string();
    let fields = [
        ("topic", name),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", &queues),
        ("writeQueueNums", &queues),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "false"),
    ];
    let answer = request(broker, UPDATE_AND_CREATE_TOPIC, &fields, &[]).await?;
    success(answer, name)
}

fn success(answer: Answer, what: &str) -> Result<(), String> {
    match answer.code {
        SUCCESS => Ok(()),
        code => Err(format!("{what}: {code} {}", answer.remark)),
    }
}
