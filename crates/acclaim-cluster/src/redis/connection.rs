//! All of Redis: calls find their server, are bounded in time, and are sent again only where that
//! is safe.
//!
//! A call is sent again when its server said that it did nothing with it: it had no such script, the
//! slot is another's, it is a replica, it is loading, the cluster is down; or when there was no
//! connection to send it by. All within the call's time. A call that got no answer or lost its
//! connection is sent again only if it may be carried out twice; for the others the outcome is
//! unknown and the caller is told so, because a toggle carried out twice would be worse.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use acclaim_core::Rev;
use futures::future::join_all;
use rand::Rng;
use redis::{Cmd, Value};
use tokio::time::Instant;

use super::address::{Address, RedisUrl};
use super::error::RedisError;
use super::keys::Partition;
pub use super::limits::RedisLimits;
use super::node::Node;
use super::refusal::Refusal;
use super::script::{Call, Script};
use super::topology::{self, Topology};

/// The pause before a call is sent again the first time; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// So many redirections are followed at once, then each comes after a pause.
const QUICK_ROUNDS: u32 = 3;

/// One Redis, a master behind Sentinels, or a Cluster.
pub struct Redis {
    topology: Arc<Topology>,
    limits: RedisLimits,
    watching: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(watching) = &self.watching {
            watching.abort();
        }
    }
}

/// What is asked of a server.
struct Question<'a> {
    partition: Partition,
    cmd: &'a Cmd,
    /// The script that it calls.
    script: Option<&'static Script>,
    /// Whether it does no harm to carry it out twice.
    is_repeatable: bool,
    /// What is waited for after it. Such a question is asked alone.
    wait: Option<Wait>,
}

/// For replicas to have what was written.
#[derive(Clone, Copy)]
struct Wait {
    replicas: u32,
    patience: Duration,
}

impl<'a> Question<'a> {
    fn of_call(call: &'a Call) -> Self {
        Self {
            partition: call.partition,
            cmd: &call.cmd,
            script: Some(call.script),
            is_repeatable: call.script.is_repeatable,
            wait: None,
        }
    }

    fn of_command(partition: Partition, cmd: &'a Cmd) -> Self {
        Self {
            partition,
            cmd,
            script: None,
            is_repeatable: true,
            wait: None,
        }
    }
}

/// A question that has no answer yet.
struct Pending {
    /// Its place among the questions.
    place: usize,
    /// The server that another has named for it.
    server: Option<Arc<Node>>,
    /// What was said instead of an answer.
    refusal: Option<Refusal>,
}

impl Pending {
    fn new(place: usize) -> Self {
        Self {
            place,
            server: None,
            refusal: None,
        }
    }

    /// The time is over.
    fn give_up(self) -> (usize, Answer) {
        let refusal = self.refusal.unwrap_or(Refusal::NoScript);
        (self.place, Err(refusal.into()))
    }
}

type Answer = Result<Value, RedisError>;

impl Redis {
    /// Takes Redis as a URL names it ([`RedisUrl`] says which there are). Servers are connected to
    /// when they are called; while none answers, each call says so when its time is over.
    ///
    /// # Errors
    /// [`RedisError::Url`] names the part of the URL that is wrong.
    pub async fn open(url: &str, limits: RedisLimits) -> Result<Self, RedisError> {
        Self::open_trusting(url, limits, None).await
    }

    /// The same for servers whose certificates are signed by these (in PEM) instead of those that
    /// the system trusts.
    ///
    /// # Errors
    /// As [`Redis::open`].
    pub async fn open_trusting(
        url: &str,
        limits: RedisLimits,
        trusted_pem: Option<&[u8]>,
    ) -> Result<Self, RedisError> {
        let topology = Arc::new(Topology::new(RedisUrl::parse(url)?, trusted_pem, limits));
        let watching = topology
            .can_change()
            .then(|| tokio::spawn(topology::watch(Arc::downgrade(&topology))));
        Ok(Self {
            topology,
            limits,
            watching,
        })
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    pub(super) fn limits(&self) -> &RedisLimits {
        &self.limits
    }

    /// Calls a script.
    pub(super) async fn call(&self, call: &Call) -> Answer {
        self.one(Question::of_call(call)).await
    }

    /// Calls scripts, those of one server in one pipeline. The answers are in the order of the
    /// calls; the calls themselves may be carried out in any order.
    pub(super) async fn call_many(&self, calls: &[Call]) -> Vec<Answer> {
        let questions: Vec<_> = calls.iter().map(Question::of_call).collect();
        self.many(&questions).await
    }

    /// Sends a command about keys of a partition. It must bear being carried out twice.
    pub(super) async fn command(&self, partition: Partition, cmd: &Cmd) -> Answer {
        self.one(Question::of_command(partition, cmd)).await
    }

    async fn one(&self, question: Question<'_>) -> Answer {
        let patience = question.wait.map_or(Duration::ZERO, |wait| wait.patience);
        let questions = [question];
        let deadline = Instant::now() + self.limits.call_timeout() + patience;
        let mut answers = self.see_through(&questions, vec![0], deadline).await;
        match answers.pop() {
            Some((_, answer)) => answer,
            None => unreachable!("every question has its answer"),
        }
    }

    async fn many(&self, questions: &[Question<'_>]) -> Vec<Answer> {
        let deadline = Instant::now() + self.limits.call_timeout();
        let mut servers: BTreeMap<Option<Address>, Vec<usize>> = BTreeMap::new();
        for (place, question) in questions.iter().enumerate() {
            let node = self.topology.node_of(question.partition).ok();
            let address = node.map(|node| node.address().clone());
            servers.entry(address).or_default().push(place);
        }
        let max_calls = self.limits.max_pipeline_calls.max(1);
        let pieces = servers.values().flat_map(|places| places.chunks(max_calls));
        // Each piece goes its way alone, so that a slow server holds up no other's.
        let answers = pieces.map(|places| self.see_through(questions, places.to_vec(), deadline));
        let mut answers: Vec<_> = join_all(answers).await.into_iter().flatten().collect();
        answers.sort_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// Asks until everything is answered or the time is over.
    async fn see_through(
        &self,
        questions: &[Question<'_>],
        places: Vec<usize>,
        deadline: Instant,
    ) -> Vec<(usize, Answer)> {
        let mut answers = Vec::with_capacity(places.len());
        let mut pending: Vec<_> = places.into_iter().map(Pending::new).collect();
        for round in 0.. {
            pending = self
                .ask_round(questions, pending, deadline, &mut answers)
                .await;
            if pending.is_empty() {
                break;
            }
            let pause = pause_after(round, &pending);
            if pause > Duration::ZERO {
                self.topology.hurry();
            }
            let left = deadline.saturating_duration_since(Instant::now() + pause);
            if left < self.limits.response_timeout() {
                let end = pending.into_iter().map(Pending::give_up);
                answers.extend(end);
                break;
            }
            tokio::time::sleep(pause).await;
        }
        answers
    }

    /// Asks once, and says what is still to be asked.
    async fn ask_round(
        &self,
        questions: &[Question<'_>],
        pending: Vec<Pending>,
        deadline: Instant,
        answers: &mut Vec<(usize, Answer)>,
    ) -> Vec<Pending> {
        let mut again = Vec::new();
        let mut groups: BTreeMap<Address, (Arc<Node>, Vec<usize>)> = BTreeMap::new();
        for mut one in pending {
            let partition = questions[one.place].partition;
            let named = one.server.take().map(Ok);
            match named.unwrap_or_else(|| self.topology.node_of(partition)) {
                Ok(node) => {
                    let group = groups.entry(node.address().clone());
                    let group = group.or_insert_with(|| (node, Vec::new()));
                    group.1.push(one.place);
                }
                Err(error) => {
                    one.refusal = Some(Refusal::NotNow(error));
                    again.push(one);
                }
            }
        }
        let groups = groups.into_values().map(|(node, places)| async move {
            let cmds: Vec<&Cmd> = places.iter().map(|place| questions[*place].cmd).collect();
            let sent = match questions[places[0]].wait {
                None => node.send(&cmds, deadline).await,
                Some(wait) => {
                    let Wait { replicas, patience } = wait;
                    node.send_and_wait(cmds[0], replicas, patience, deadline)
                        .await
                }
            };
            let answers = match sent {
                Ok(answers) => answers,
                Err(refusal) => vec![Err(refusal); places.len()],
            };
            let missing = places.iter().zip(&answers);
            let missing = missing.filter(|(_, answer)| matches!(answer, Err(Refusal::NoScript)));
            let scripts = missing.filter_map(|(place, _)| questions[*place].script);
            self.load_scripts(&node, scripts.collect(), deadline).await;
            places.into_iter().zip(answers)
        });
        for (place, answer) in join_all(groups).await.into_iter().flatten() {
            let refusal = match answer {
                Ok(value) => {
                    answers.push((place, Ok(value)));
                    continue;
                }
                Err(refusal) => refusal,
            };
            if self.is_worth_another(&refusal, &questions[place]) {
                again.push(self.to_ask_again(place, refusal));
            } else {
                answers.push((place, Err(refusal.into())));
            }
        }
        again
    }

    fn is_worth_another(&self, refusal: &Refusal, question: &Question<'_>) -> bool {
        match refusal {
            Refusal::NoScript | Refusal::Moved(_) | Refusal::NotNow(_) => true,
            Refusal::Unknown(_) => {
                // Who waits for another answer or not: the server may be gone.
                self.topology.hurry();
                question.is_repeatable
            }
            Refusal::Final(_) => false,
        }
    }

    fn to_ask_again(&self, place: usize, refusal: Refusal) -> Pending {
        let server = match &refusal {
            Refusal::Moved(to) => {
                self.topology.hurry();
                Some(self.topology.node_at(to))
            }
            _ => None,
        };
        Pending {
            place,
            server,
            refusal: Some(refusal),
        }
    }

    /// Loads scripts. Where it fails, the next round finds out.
    async fn load_scripts(&self, node: &Node, mut scripts: Vec<&'static Script>, until: Instant) {
        scripts.sort_unstable_by_key(|script| script.name);
        scripts.dedup_by_key(|script| script.name);
        for script in scripts {
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(script.source);
            let _ = node.send(&[&load], until).await;
        }
    }

    /// Calls a script and waits until so many replicas of its server have what it wrote, or for so
    /// long. Answers how many have.
    ///
    /// # Errors
    /// [`RedisError`]; without an answer in time the outcome is unknown.
    pub(super) async fn call_replicated(
        &self,
        call: &Call,
        replicas: u32,
        patience: Duration,
    ) -> Result<(Value, u64), RedisError> {
        let question = Question {
            wait: Some(Wait { replicas, patience }),
            ..Question::of_call(call)
        };
        match self.one(question).await? {
            Value::Array(mut both) if both.len() == 2 => match both.pop() {
                Some(Value::Int(replicas)) => Ok((both.remove(0), replicas.unsigned_abs())),
                _ => Err(Call::unexpected(call.script, &Value::Array(both))),
            },
            other => Err(Call::unexpected(call.script, &other)),
        }
    }

    /// Masters to which a connection stands that is not known to have ended.
    #[must_use]
    pub fn connected_masters(&self) -> usize {
        let masters = self.topology.masters();
        masters.iter().filter(|node| node.is_connected()).count()
    }

    /// The time of each server that has one of the partitions.
    ///
    /// # Errors
    /// [`RedisError`] if one of them does not tell.
    pub async fn times(&self, partitions: &[Partition]) -> Result<Vec<Rev>, RedisError> {
        let mut servers: BTreeMap<Option<Address>, Partition> = BTreeMap::new();
        for partition in partitions {
            let node = self.topology.node_of(*partition).ok();
            let address = node.map(|node| node.address().clone());
            servers.entry(address).or_insert(*partition);
        }
        let time = redis::cmd("TIME");
        let asked = servers.into_values().map(|partition| {
            let time = &time;
            async move { read_time(&self.command(partition, time).await?) }
        });
        join_all(asked).await.into_iter().collect()
    }

    /// Asks every master the same, and says who answered what. Just after the start nobody may have
    /// told yet who is master; that is waited for as long as a call may take.
    pub(super) async fn ask_masters(&self, cmd: &Cmd) -> Vec<(Address, Answer)> {
        let deadline = Instant::now() + self.limits.call_timeout();
        let mut masters = self.topology.masters();
        while masters.is_empty() && Instant::now() + LONGEST_PAUSE < deadline {
            tokio::time::sleep(FIRST_PAUSE).await;
            masters = self.topology.masters();
        }
        let asked = masters.into_iter().map(|node| async move {
            let answer = node.send(&[cmd], deadline).await;
            let answer = answer.and_then(|mut answers| answers.remove(0));
            (node.address().clone(), answer.map_err(RedisError::from))
        });
        join_all(asked).await
    }
}

/// None where the others know what to do now: the script is loaded, the slot's server is named.
fn pause_after(round: u32, pending: &[Pending]) -> Duration {
    let is_mended = |one: &Pending| {
        let refusal = one.refusal.as_ref();
        matches!(refusal, Some(Refusal::NoScript | Refusal::Moved(_)))
    };
    if round < QUICK_ROUNDS && pending.iter().all(is_mended) {
        return Duration::ZERO;
    }
    let pause = FIRST_PAUSE * 2u32.saturating_pow(round);
    pause
        .min(LONGEST_PAUSE)
        .mul_f64(rand::rng().random_range(0.5..1.0))
}

/// Seconds and microseconds.
fn read_time(reply: &Value) -> Result<Rev, RedisError> {
    let part = |value: &Value| topology::text(value)?.parse::<u64>().ok();
    let time = match reply {
        Value::Array(parts) => match parts.as_slice() {
            [seconds, micros] => part(seconds).zip(part(micros)),
            _ => None,
        },
        _ => None,
    };
    let time = time.map(|(seconds, micros)| Rev(seconds * 1_000_000 + micros));
    time.ok_or_else(|| RedisError::Reply {
        script: "TIME",
        reply: format!("{reply:?}"),
    })
}
