//! One connection to a name server or broker: requests with their answers (RocketMQ's remoting
//! protocol, headers in JSON).
//!
//! Dropping a connection closes it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::failure::{Failure, SUCCESS};

/// The longest frame that is read. Brokers send a quarter of a megabyte at once.
const MAX_FRAME_BYTES: u32 = 64 << 20;
/// That of 5.0.0; older ones are not given messages of newer kinds.
const VERSION: i32 = 413;
/// The flag of an answer.
const IS_ANSWER: i32 = 1;
/// A broker's word that the members of a group are others now.
const MEMBERS_CHANGED: i32 = 40;

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Fields of a request or an answer.
pub type Fields = BTreeMap<String, String>;

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
    fields: Option<Fields>,
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub code: i32,
    pub fields: Fields,
    pub body: Vec<u8>,
}

impl Request {
    /// One without a body.
    pub fn new<const N: usize>(code: i32, fields: [(&str, String); N]) -> Self {
        let fields = fields.into_iter();
        Self {
            code,
            fields: fields
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            body: Vec::new(),
        }
    }

    /// The same with a body.
    pub fn body(self, body: Vec<u8>) -> Self {
        Self { body, ..self }
    }
}

/// An answer, whatever its code.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub remark: String,
    pub fields: Fields,
    pub body: Vec<u8>,
}

impl Answer {
    /// The answer, if it is one of success.
    pub fn success(self) -> Result<Self, Failure> {
        match self.code {
            SUCCESS => Ok(self),
            code => Err(Failure::Refused {
                code,
                remark: self.remark,
            }),
        }
    }

    /// A field that is a number.
    pub fn number(&self, field: &str) -> Result<u64, Failure> {
        let number = self
            .fields
            .get(field)
            .and_then(|text| text.parse::<i64>().ok());
        // Places before the first are told as -1.
        let number = number.map(|number| u64::try_from(number).unwrap_or(0));
        number.ok_or_else(|| Failure::Unreadable(format!("an answer without {field}")))
    }
}

#[derive(Default)]
struct Open {
    broken: Option<String>,
    requests: HashMap<i32, oneshot::Sender<Answer>>,
}

/// A connection.
pub struct Connection {
    // Bounded by whoever sends: a publisher by its queue, a member by one request a queue.
    outbound: mpsc::UnboundedSender<Vec<u8>>,
    open: Arc<Mutex<Open>>,
    last_opaque: AtomicI32,
    _tasks: JoinSet<()>,
}

impl Connection {
    /// Takes over a stream of bytes. `members_changed` is told when a broker says so.
    pub fn new(stream: Box<dyn Stream>, members_changed: Arc<Notify>) -> Self {
        let (source, sink) = tokio::io::split(stream);
        let (outbound, queue) = mpsc::unbounded_channel();
        let open = Arc::<Mutex<Open>>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(write(sink, queue));
        tasks.spawn(read(source, Arc::clone(&open), members_changed));
        Self {
            outbound,
            open,
            last_opaque: AtomicI32::new(0),
            _tasks: tasks,
        }
    }

    /// Whether it is of no use any more.
    pub fn is_broken(&self) -> bool {
        self.open.lock().broken.is_some()
    }

    /// Ends it for everybody who waits for an answer: the other side is silent.
    pub fn give_up(&self) {
        end(&mut self.open.lock(), "the other side was silent");
    }

    /// Sends a request and waits for its answer.
    pub async fn ask(&self, request: &Request, deadline: Instant) -> Result<Answer, Failure> {
        let opaque = self.last_opaque.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        {
            let mut open = self.open.lock();
            if let Some(why) = &open.broken {
                return Err(Failure::Broken(why.clone()));
            }
            open.requests.insert(opaque, reply);
        }
        let frame = frame(request, opaque).map_err(|error| Failure::Broken(error.to_string()))?;
        // A writer that has ended is noticed by the reader.
        let _ = self.outbound.send(frame);
        match timeout_at(deadline.into(), answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_gone)) => {
                let why = self.open.lock().broken.clone();
                Err(Failure::Broken(
                    why.unwrap_or_else(|| "the connection ended".to_owned()),
                ))
            }
            Err(_elapsed) => {
                self.open.lock().requests.remove(&opaque);
                Err(Failure::Silent)
            }
        }
    }
}

fn frame(request: &Request, opaque: i32) -> std::io::Result<Vec<u8>> {
    let header = serde_json::to_vec(&Header {
        code: request.code,
        language: "OTHER".to_owned(),
        version: VERSION,
        opaque,
        flag: 0,
        remark: None,
        fields: Some(request.fields.clone()),
    })?;
    let length = |bytes: usize| u32::try_from(bytes).map_err(std::io::Error::other);
    let mut frame = length(4 + header.len() + request.body.len())?
        .to_be_bytes()
        .to_vec();
    // Its upper byte says that the header is JSON.
    frame.extend(length(header.len())?.to_be_bytes());
    frame.extend(header);
    frame.extend(&request.body);
    Ok(frame)
}

async fn write(mut sink: WriteHalf<Box<dyn Stream>>, mut queue: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(frame) = queue.recv().await {
        if sink.write_all(&frame).await.is_err() || sink.flush().await.is_err() {
            return;
        }
    }
}

/// Hands on what comes, until the connection breaks.
async fn read(
    mut source: ReadHalf<Box<dyn Stream>>,
    open: Arc<Mutex<Open>>,
    members_changed: Arc<Notify>,
) {
    let why = loop {
        let frame = match read_frame(&mut source).await {
            Ok(frame) => frame,
            Err(error) => break error.to_string(),
        };
        let Some((header, body)) = parse(&frame) else {
            break "a frame that is none of RocketMQ".to_owned();
        };
        if header.flag & IS_ANSWER == 0 {
            if header.code == MEMBERS_CHANGED {
                members_changed.notify_one();
            }
            continue;
        }
        // Nobody waits for one that was given up.
        if let Some(reply) = open.lock().requests.remove(&header.opaque) {
            let _ = reply.send(Answer {
                code: header.code,
                remark: header.remark.unwrap_or_default(),
                fields: header.fields.unwrap_or_default(),
                body: body.to_vec(),
            });
        }
    };
    end(&mut open.lock(), &why);
}

fn end(open: &mut Open, why: &str) {
    open.broken.get_or_insert_with(|| why.to_owned());
    // Whoever waits for an answer sees the end of its sender.
    open.requests.clear();
}

async fn read_frame(source: &mut ReadHalf<Box<dyn Stream>>) -> std::io::Result<Vec<u8>> {
    let length = frame_length(source.read_u32().await?)?;
    let mut frame = vec![0; length];
    source.read_exact(&mut frame).await?;
    Ok(frame)
}

/// The length of a frame that is read, before there is memory for it.
fn frame_length(said: u32) -> std::io::Result<usize> {
    if said > MAX_FRAME_BYTES {
        return Err(std::io::Error::other(format!("a frame of {said} bytes")));
    }
    Ok(said as usize)
}

fn parse(frame: &[u8]) -> Option<(Header, &[u8])> {
    let (length, rest) = frame.split_first_chunk()?;
    let length = u32::from_be_bytes(*length) & 0x00FF_FFFF;
    let (header, body) = rest.split_at_checked(length as usize)?;
    Some((serde_json::from_slice(header).ok()?, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_framed_is_parsed() {
        let request = Request::new(7, [("topic", "t".to_owned())]).body(b"body".to_vec());
        let written = frame(&request, 3).unwrap();
        let (header, body) = parse(&written[4..]).unwrap();
        assert_eq!((header.code, header.opaque, body), (7, 3, &b"body"[..]));
        assert_eq!(header.fields.unwrap()["topic"], "t");
        for short in 4..written.len() - 4 {
            assert!(parse(&written[4..short]).is_none(), "{short}");
        }
        assert!(parse(&[0xFF; 40]).is_none());
    }

    #[test]
    fn a_frame_has_a_longest_length() {
        let longest = usize::try_from(MAX_FRAME_BYTES).unwrap();
        assert_eq!(frame_length(MAX_FRAME_BYTES).unwrap(), longest);
        assert!(frame_length(MAX_FRAME_BYTES + 1).is_err());
    }
}
