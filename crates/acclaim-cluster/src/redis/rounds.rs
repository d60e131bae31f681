//! Rounds: calls find their server, are bounded in time, and are sent again only where that is safe.
//!
//! A call is sent again when its server said that it did nothing with it: it had no such script, the
//! slot is another's, it is a replica, it is loading, the cluster is down; or when there was no
//! connection to send it by. All within the call's time. A call that got no answer or lost its
//! connection is sent again only if it may be carried out twice; for the others the outcome is
//! unknown and the caller is told so, because a toggle carried out twice would be worse.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rand::Rng;
use redis::{Cmd, Value};
use tokio::time::Instant;

use super::connection::Redis;
use super::error::RedisError;
use super::keys::Partition;
use super::node::Node;
use super::refusal::Refusal;
use super::script::{Call, Script};

/// The pause before a call is sent again the first time; it doubles each time.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// So many redirections are followed at once, then each comes after a pause.
const QUICK_ROUNDS: u32 = 3;

/// What is asked of a server.
struct Question<'a> {
    partition: Partition,
    cmd: &'a Cmd,
    /// The script that it calls.
    script: Option<&'static Script>,
    /// Whether it does no harm to carry it out twice.
    is_repeatable: bool,
}

/// For replicas to have what was written: so many, for at most so long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub replicas: u32,
    pub patience: Duration,
}

impl<'a> Question<'a> {
    fn of_call(call: &'a Call) -> Self {
        Self {
            partition: call.partition,
            cmd: &call.cmd,
            script: Some(call.script),
            is_repeatable: call.script.is_repeatable,
        }
    }

    fn of_command(partition: Partition, cmd: &'a Cmd) -> Self {
        Self {
            partition,
            cmd,
            script: None,
            is_repeatable: true,
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

pub(super) type Answer = Result<Value, RedisError>;

/// Calls that were sent together and are not answered yet: their server named another, or was not
/// there.
pub(super) struct Unanswered {
    calls: Vec<Call>,
    wait: Option<Wait>,
    pending: Vec<Pending>,
    deadline: Instant,
}

impl Unanswered {
    /// Whether replicas are waited for.
    pub(super) fn waits(&self) -> bool {
        self.wait.is_some()
    }
}

impl Redis {
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

    /// Sends calls, those of one server in one pipeline, and answers what was answered at once, each
    /// with its place among the calls. What needs another try is given back, so that it holds up
    /// nothing else. With a wait, each answer is a pair: the answer and how many replicas have it.
    pub(super) async fn call_together(
        &self,
        calls: Vec<Call>,
        wait: Option<Wait>,
    ) -> (Vec<(usize, Answer)>, Option<Unanswered>) {
        let deadline = self.deadline(wait);
        let questions: Vec<_> = calls.iter().map(Question::of_call).collect();
        let pending = (0..calls.len()).map(Pending::new).collect();
        let mut answers = Vec::with_capacity(calls.len());
        let pending = self
            .ask_round(&questions, wait, pending, deadline, &mut answers)
            .await;
        drop(questions);
        let unanswered = (!pending.is_empty()).then_some(Unanswered {
            calls,
            wait,
            pending,
            deadline,
        });
        (answers, unanswered)
    }

    /// Asks again until these are answered too or their time is over.
    pub(super) async fn finish(&self, unanswered: Unanswered) -> Vec<(usize, Answer)> {
        let questions: Vec<_> = unanswered.calls.iter().map(Question::of_call).collect();
        let mut answers = Vec::with_capacity(unanswered.pending.len());
        let (pending, deadline) = (unanswered.pending, unanswered.deadline);
        self.ask_again(&questions, unanswered.wait, pending, deadline, &mut answers)
            .await;
        answers
    }

    fn deadline(&self, wait: Option<Wait>) -> Instant {
        let patience = wait.map_or(Duration::ZERO, |wait| wait.patience);
        Instant::now() + self.limits().call_timeout() + patience
    }

    /// Sends commands about keys of partitions, those of one server in one pipeline. They must bear
    /// being carried out twice. The answers are in the order of the commands.
    pub(super) async fn command_many(&self, commands: &[(Partition, Cmd)]) -> Vec<Answer> {
        let questions = commands.iter();
        let questions = questions.map(|(partition, cmd)| Question::of_command(*partition, cmd));
        self.many(&questions.collect::<Vec<_>>()).await
    }

    /// The same, once: nothing where it was refused or failed.
    pub(super) async fn try_commands(&self, commands: &[(Partition, Cmd)]) -> Vec<Option<Value>> {
        let questions = commands.iter();
        let questions = questions.map(|(partition, cmd)| Question::of_command(*partition, cmd));
        let questions: Vec<_> = questions.collect();
        let pending = (0..questions.len()).map(Pending::new).collect();
        let (deadline, mut answers) = (self.deadline(None), Vec::new());
        self.ask_round(&questions, None, pending, deadline, &mut answers)
            .await;
        let mut values = vec![None; questions.len()];
        for (place, answer) in answers {
            values[place] = answer.ok();
        }
        values
    }

    async fn one(&self, question: Question<'_>) -> Answer {
        let questions = [question];
        let deadline = self.deadline(None);
        let mut answers = self.see_through(&questions, vec![0], deadline).await;
        match answers.pop() {
            Some((_, answer)) => answer,
            None => unreachable!("every question has its answer"),
        }
    }

    async fn many(&self, questions: &[Question<'_>]) -> Vec<Answer> {
        let deadline = self.deadline(None);
        let mut servers: BTreeMap<Option<u64>, Vec<usize>> = BTreeMap::new();
        for (place, question) in questions.iter().enumerate() {
            let server = self.server_of(question.partition);
            servers.entry(server).or_default().push(place);
        }
        // Each server's go their way alone, so that a slow one holds up no other's.
        let servers = servers.into_values();
        let answers = servers.map(|places| self.see_through(questions, places, deadline));
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
        let pending = places.into_iter().map(Pending::new).collect();
        let pending = self
            .ask_round(questions, None, pending, deadline, &mut answers)
            .await;
        if !pending.is_empty() {
            let again = self.ask_again(questions, None, pending, deadline, &mut answers);
            Box::pin(again).await;
        }
        answers
    }

    /// Asks what a first round left open.
    async fn ask_again(
        &self,
        questions: &[Question<'_>],
        wait: Option<Wait>,
        mut pending: Vec<Pending>,
        deadline: Instant,
        answers: &mut Vec<(usize, Answer)>,
    ) {
        for round in 0.. {
            if pending.is_empty() {
                return;
            }
            let pause = pause_after(round, &pending);
            if pause > Duration::ZERO {
                self.topology().hurry();
            }
            let left = deadline.saturating_duration_since(Instant::now() + pause);
            if left < self.limits().response_timeout() {
                answers.extend(pending.into_iter().map(Pending::give_up));
                return;
            }
            tokio::time::sleep(pause).await;
            pending = self
                .ask_round(questions, wait, pending, deadline, answers)
                .await;
        }
    }

    /// Asks once, and says what is still to be asked.
    async fn ask_round(
        &self,
        questions: &[Question<'_>],
        wait: Option<Wait>,
        pending: Vec<Pending>,
        deadline: Instant,
        answers: &mut Vec<(usize, Answer)>,
    ) -> Vec<Pending> {
        let mut again = Vec::new();
        let mut groups: BTreeMap<u64, (Arc<Node>, Vec<usize>)> = BTreeMap::new();
        for mut one in pending {
            let partition = questions[one.place].partition;
            let named = one.server.take().map(Ok);
            match named.unwrap_or_else(|| self.topology().node_of(partition)) {
                Ok(node) => {
                    let group = groups.entry(node.number());
                    let group = group.or_insert_with(|| (node, Vec::new()));
                    group.1.push(one.place);
                }
                Err(error) => {
                    one.refusal = Some(Refusal::NotNow(error));
                    again.push(one);
                }
            }
        }
        let max_calls = self.limits().max_pipeline_calls.max(1);
        let pieces = groups.values().flat_map(|(node, places)| {
            let pieces = places.chunks(max_calls);
            pieces.map(move |places| (node, places))
        });
        let asked = pieces.map(|(node, places)| async move {
            let cmds: Vec<&Cmd> = places.iter().map(|place| questions[*place].cmd).collect();
            let about = places.iter().map(|place| questions[*place].partition);
            let about: Vec<Partition> = about.collect();
            let sent = match wait {
                None => node.send(&cmds, &about, deadline).await,
                Some(Wait { replicas, patience }) => {
                    let wait = (replicas, patience);
                    Box::pin(node.send_and_wait(&cmds, &about, wait, deadline)).await
                }
            };
            let answers = match sent {
                Ok(answers) => answers,
                Err(refusal) => vec![Err(refusal); places.len()],
            };
            let missing = places.iter().zip(&answers);
            let missing = missing.filter(|(_, answer)| matches!(answer, Err(Refusal::NoScript)));
            let scripts = missing.filter_map(|(place, _)| questions[*place].script);
            let scripts: Vec<_> = scripts.collect();
            if !scripts.is_empty() {
                Box::pin(self.load_scripts(node, scripts, deadline)).await;
            }
            places.iter().copied().zip(answers)
        });
        for (place, answer) in join_all(asked).await.into_iter().flatten() {
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
                self.topology().hurry();
                question.is_repeatable
            }
            Refusal::Final(_) => false,
        }
    }

    fn to_ask_again(&self, place: usize, refusal: Refusal) -> Pending {
        let server = match &refusal {
            Refusal::Moved(to) => {
                self.topology().hurry();
                Some(self.topology().node_at(to))
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
            let _ = node.send(&[&load], &[], until).await;
        }
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
