//! What a member of a group says to the brokers and asks them: who the members are, whose a queue
//! is, where the group goes on, and messages.
//!
//! Nothing here remembers anything between two calls; that is `source.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::Client;
use super::connection::Request;
use super::failure::{Failure, PULL_AGAIN, PULL_MOVED, PULL_NOT_FOUND, QUERY_NOT_FOUND, SUCCESS};
use super::message;
use super::route::Queue;
use crate::limits::Limits;
use crate::persist::Passing;
use crate::port::{Received, SeekTo};

const PULL: i32 = 11;
const QUERY_PLACE: i32 = 14;
const UPDATE_PLACE: i32 = 15;
const SEARCH_TIME: i32 = 29;
const END: i32 = 30;
const BEGINNING: i32 = 31;
const HEARTBEAT: i32 = 34;
const LEAVE: i32 = 35;
const MEMBERS: i32 = 38;
const LOCK: i32 = 41;
const UNLOCK: i32 = 42;

/// How long a broker is asked to hold back the answer to a pull that finds nothing.
const PULL_WAIT: Duration = Duration::from_millis(1_000);
/// How much longer it may do so: it looks only every five seconds whether the time is over.
const PULL_WAIT_MORE: Duration = Duration::from_millis(6_000);
/// The rest of a pull's flags: it may wait, and brings its subscription along.
const PULL_FLAGS: i32 = 2 | 4;

/// A queue in the body of a lock.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
struct Name {
    topic: String,
    broker_name: String,
    queue_id: u32,
}

#[derive(Deserialize)]
struct Locked {
    #[serde(rename = "lockOKMQSet")]
    locked: BTreeSet<Name>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MemberList {
    consumer_id_list: BTreeSet<String>,
}

/// What came of the wish to have a queue.
#[derive(Debug)]
pub enum Wish {
    /// It stays ours.
    Renewed,
    /// It is ours now; the group goes on here.
    Begins(u64),
    /// It is another's who is gone; the group goes on here.
    Left(u64),
    /// It is another's.
    Refused,
    /// Nobody knows.
    Unclear(Failure),
}

/// A queue that is wished for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The number of its line.
    pub line: u32,
    pub queue: Queue,
    /// Whether it is ours already.
    pub ours: bool,
    /// Whether who has it locked must have let go of it.
    pub left: bool,
}

/// A member of a group.
pub struct Seat {
    pub client: Client,
    pub limits: Limits,
    topic: String,
    group: String,
    /// This member's name.
    pub name: String,
}

impl Seat {
    /// One that has said nothing yet.
    pub fn new(client: Client, limits: &Limits, topic: &str, group: &str) -> Self {
        Self {
            client,
            limits: limits.clone(),
            topic: topic.to_owned(),
            group: group.to_owned(),
            name: format!("acclaim-{:032x}", rand::random::<u128>()),
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.limits.call_timeout()
    }

    fn name_of(&self, queue: &Queue) -> Name {
        Name {
            topic: self.topic.clone(),
            broker_name: queue.broker.clone(),
            queue_id: queue.number,
        }
    }

    /// What asks about one queue.
    fn about(&self, code: i32, queue: &Queue) -> Request {
        let fields = [
            ("topic", self.topic.clone()),
            ("queueId", queue.number.to_string()),
            ("bname", queue.broker.clone()),
            ("consumerGroup", self.group.clone()),
        ];
        Request::new(code, fields)
    }

    async fn number(
        &self,
        queue: &Queue,
        request: Request,
        deadline: Instant,
    ) -> Result<u64, Failure> {
        let answer = self.client.ask(&queue.broker, request, deadline).await?;
        answer.success()?.number("offset")
    }

    fn heartbeat(&self) -> Request {
        let body = json!({
            "clientID": self.name,
            "producerDataSet": [],
            "consumerDataSet": [{
                "groupName": self.group,
                "consumeType": "CONSUME_PASSIVELY",
                "messageModel": "CLUSTERING",
                "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET",
                "subscriptionDataSet": [{
                    "topic": self.topic,
                    "subString": "*",
                    "tagsSet": [],
                    "codeSet": [],
                    "subVersion": 0,
                    "expressionType": "TAG",
                    "classFilterMode": false,
                }],
                "unitMode": false,
            }],
        });
        Request::new(HEARTBEAT, []).body(body.to_string().into_bytes())
    }

    /// Tells a broker that this member lives, and asks it who does.
    async fn members_at(&self, broker: &str) -> Result<BTreeSet<String>, Failure> {
        let deadline = self.deadline();
        let answer = self.client.ask(broker, self.heartbeat(), deadline).await?;
        answer.success()?;
        let request = Request::new(MEMBERS, [("consumerGroup", self.group.clone())]);
        let answer = self
            .client
            .ask(broker, request, deadline)
            .await?
            .success()?;
        let list: MemberList = serde_json::from_slice(&answer.body)
            .map_err(|error| Failure::Unreadable(format!("the members cannot be read: {error}")))?;
        Ok(list.consumer_id_list)
    }

    /// The members, as those brokers know them that answer: one that was started again may not know
    /// all of them yet.
    pub async fn members(&self, brokers: &BTreeSet<String>) -> Result<BTreeSet<String>, Failure> {
        let lists = brokers.iter().map(|broker| self.members_at(broker));
        let mut members = BTreeSet::new();
        let mut failure = None;
        for list in join_all(lists).await {
            match list {
                Ok(list) => members.extend(list),
                Err(error) if error.may_pass() => failure = Some(error),
                Err(error) => return Err(error),
            }
        }
        match failure {
            Some(failure) if members.is_empty() => Err(failure),
            _ => Ok(members),
        }
    }

    /// Locks or unlocks queues of one broker. Answers with those that are locked.
    async fn lock(
        &self,
        code: i32,
        broker: &str,
        names: &[Name],
    ) -> Result<BTreeSet<Name>, Failure> {
        let body = json!({
            "consumerGroup": self.group,
            "clientId": self.name,
            "mqSet": names,
            "onlyThisBroker": false,
        });
        let request = Request::new(code, []).body(body.to_string().into_bytes());
        let deadline = self.deadline();
        let answer = self
            .client
            .ask(broker, request, deadline)
            .await?
            .success()?;
        if code == UNLOCK {
            return Ok(BTreeSet::new());
        }
        let locked: Locked = serde_json::from_slice(&answer.body)
            .map_err(|error| Failure::Unreadable(format!("the locks cannot be read: {error}")))?;
        Ok(locked.locked)
    }

    fn by_broker<'a>(
        &self,
        queues: impl IntoIterator<Item = &'a Queue>,
    ) -> BTreeMap<&'a str, Vec<Name>> {
        let mut names = BTreeMap::<&str, Vec<Name>>::new();
        for queue in queues {
            let of_broker = names.entry(&queue.broker).or_default();
            of_broker.push(self.name_of(queue));
        }
        names
    }

    /// Lets go of queues. Those of others stay as they are.
    async fn unlock(&self, queues: &[Queue]) {
        let by_broker = self.by_broker(queues);
        let unlock = by_broker
            .iter()
            .map(|(broker, names)| self.lock(UNLOCK, broker, names));
        for result in join_all(unlock).await {
            if let Err(failure) = result {
                tracing::debug!("RocketMQ: queues not unlocked: {failure}");
            }
        }
    }

    /// Lets go of some queues and locks others, and asks where the group goes on in what is new.
    pub async fn exchange(&self, leave: Vec<Queue>, want: Vec<Wanted>) -> Vec<(u32, Wish)> {
        self.unlock(&leave).await;
        let by_broker = self.by_broker(want.iter().map(|wanted| &wanted.queue));
        let lock = by_broker
            .iter()
            .map(|(broker, names)| async move { (*broker, self.lock(LOCK, broker, names).await) });
        let locked: BTreeMap<_, _> = join_all(lock).await.into_iter().collect();
        let deadline = self.deadline();
        let wishes = want.iter().map(|wanted| {
            let locked = locked.get(wanted.queue.broker.as_str());
            async move {
                let wish = match locked {
                    Some(Ok(names)) => {
                        let locked = names.contains(&self.name_of(&wanted.queue));
                        self.fulfil(wanted, locked, deadline).await
                    }
                    Some(Err(failure)) => Wish::Unclear(failure.clone()),
                    None => Wish::Unclear(Failure::Silent),
                };
                (wanted.line, wish)
            }
        });
        join_all(wishes).await
    }

    async fn fulfil(&self, wanted: &Wanted, locked: bool, deadline: Instant) -> Wish {
        let begins = match (locked, wanted.ours, wanted.left) {
            (true, true, _) => return Wish::Renewed,
            (true, false, _) => Wish::Begins,
            (false, false, true) => Wish::Left,
            (false, ..) => return Wish::Refused,
        };
        let place = self.place(&wanted.queue, deadline).await;
        place.map_or_else(Wish::Unclear, begins)
    }

    /// Leaves the group, so that the others need not wait for the locks to be forgotten.
    pub async fn leave(&self, queues: &[Queue]) {
        self.unlock(queues).await;
        let fields = || {
            let name = ("clientID", self.name.clone());
            [name, ("consumerGroup", self.group.clone())]
        };
        let brokers: BTreeSet<&str> = queues.iter().map(|queue| queue.broker.as_str()).collect();
        let leave = brokers.into_iter().map(|broker| {
            let request = Request::new(LEAVE, fields());
            self.client.ask(broker, request, self.deadline())
        });
        join_all(leave).await;
    }

    /// Where the group goes on in a queue: at its beginning where nothing is known.
    pub async fn place(&self, queue: &Queue, deadline: Instant) -> Result<u64, Failure> {
        let request = self.about(QUERY_PLACE, queue);
        let answer = self.client.ask(&queue.broker, request, deadline).await?;
        if answer.code != QUERY_NOT_FOUND {
            return answer.success()?.number("offset");
        }
        self.number(queue, self.about(BEGINNING, queue), deadline)
            .await
    }

    /// Behind the last message of a queue.
    pub async fn end(&self, queue: &Queue, deadline: Instant) -> Result<u64, Failure> {
        self.number(queue, self.about(END, queue), deadline).await
    }

    /// Says where the group goes on.
    pub async fn update(&self, queue: &Queue, next: u64, deadline: Instant) -> Result<(), Failure> {
        let mut request = self.about(UPDATE_PLACE, queue);
        request
            .fields
            .insert("commitOffset".to_owned(), next.to_string());
        let answer = self.client.ask(&queue.broker, request, deadline).await?;
        answer.success().map(|_| ())
    }

    /// Where a seek goes in a queue.
    pub async fn target(
        &self,
        queue: &Queue,
        to: &SeekTo,
        given: Option<u64>,
        deadline: Instant,
    ) -> Result<u64, Failure> {
        let request = match (to, given) {
            (_, Some(position)) => return Ok(position),
            (SeekTo::End, None) => self.about(END, queue),
            (SeekTo::Time(millis), None) => {
                let mut request = self.about(SEARCH_TIME, queue);
                // Brokers count times by i64.
                let millis = (*millis).min(i64::MAX.unsigned_abs()).to_string();
                request.fields.insert("timestamp".to_owned(), millis);
                request
            }
            _ => self.about(BEGINNING, queue),
        };
        self.number(queue, request, deadline).await
    }

    /// One pull: messages, and where the next one begins.
    pub async fn pull(
        &self,
        line: u32,
        queue: &Queue,
        from: u64,
        count: usize,
    ) -> Result<(Vec<Received>, u64), Failure> {
        let mut request = self.about(PULL, queue);
        for (name, value) in [
            ("queueOffset", from.to_string()),
            ("maxMsgNums", count.to_string()),
            ("sysFlag", PULL_FLAGS.to_string()),
            ("commitOffset", "0".to_owned()),
            ("suspendTimeoutMillis", PULL_WAIT.as_millis().to_string()),
            ("subscription", "*".to_owned()),
            ("subVersion", "0".to_owned()),
            ("expressionType", "TAG".to_owned()),
        ] {
            request.fields.insert(name.to_owned(), value);
        }
        let deadline = self.deadline() + PULL_WAIT + PULL_WAIT_MORE;
        let answer = self.client.ask(&queue.broker, request, deadline).await?;
        match answer.code {
            SUCCESS => {
                let next = answer.number("nextBeginOffset")?;
                let received = message::read(line, answer.body.into());
                let unclear = || {
                    Failure::Unreadable(format!(
                        "queue {} of {}: messages from {from} on cannot be read",
                        queue.number, queue.broker
                    ))
                };
                Ok((received.ok_or_else(unclear)?, next))
            }
            PULL_NOT_FOUND | PULL_AGAIN | PULL_MOVED => {
                Ok((Vec::new(), answer.number("nextBeginOffset")?))
            }
            _ => answer.success().map(|_| (Vec::new(), from)),
        }
    }
}
