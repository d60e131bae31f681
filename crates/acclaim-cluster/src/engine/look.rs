//! Looking edges and counts up in Redis: questions that wait for the same server go together, see
//! [`super::gather`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::gather::Gather;
use super::shared::Shared;
use super::statuses::Wanted;
use crate::redis::error::RedisError;
use crate::redis::read::{Asked, Found};

/// Edges that one pipeline asks for, unless one question has more.
const PIPELINE_MAX_EDGES: usize = 1_024;

type Answer = Result<Vec<Found>, RedisError>;

/// What one read wants of one partition.
pub struct Question {
    partition: u16,
    wanted: Vec<Wanted>,
    answer: oneshot::Sender<Answer>,
}

/// Questions by the number of the server that has their partition; nothing while nobody has told.
pub type Questions = Gather<Option<u64>, Question>;

impl Shared {
    /// Looks up edges of one partition; a target without a user asks for the count alone.
    pub async fn find(self: &Arc<Self>, partition: u16, wanted: Vec<Wanted>) -> Answer {
        let (answer, answered) = oneshot::channel();
        let question = Question {
            partition,
            wanted,
            answer,
        };
        let key = self.redis.server_of(self.partition(partition));
        if self.questions.put(key, |all| all.push_back(question)) {
            let shared = Arc::clone(self);
            tokio::spawn(async move { shared.find_all(key).await });
        }
        let died = || RedisError::Unavailable {
            address: "Redis".to_owned(),
            reason: "the task that asked it died".to_owned(),
        };
        answered.await.unwrap_or_else(|_| Err(died()))
    }

    async fn find_all(self: Arc<Self>, key: Option<u64>) {
        loop {
            let questions = self.questions.next(&key, take);
            if questions.is_empty() {
                return;
            }
            self.ask_together(questions).await;
        }
    }

    /// One pipeline. Returns when all was answered that is answered at once.
    async fn ask_together(self: &Arc<Self>, questions: Vec<Question>) {
        let mut calls: BTreeMap<u16, (Vec<Waiting>, Vec<Wanted>)> = BTreeMap::new();
        for question in questions {
            let (waiting, wanted) = calls.entry(question.partition).or_default();
            waiting.push((question.wanted.len(), question.answer));
            wanted.extend(question.wanted);
        }
        let (mut waiting, asked): (Vec<Vec<Waiting>>, Vec<Asked>) = calls
            .into_iter()
            .map(|(number, (waiting, wanted))| (waiting, (self.partition(number), wanted)))
            .unzip();
        let (answers, left) = self.redis.read_together(&asked).await;
        for (place, answer) in answers {
            hand_out(std::mem::take(&mut waiting[place]), answer);
        }
        if let Some(left) = left {
            let shared = Arc::clone(self);
            tokio::spawn(async move {
                for (place, answer) in shared.redis.finish_reading(left).await {
                    hand_out(std::mem::take(&mut waiting[place]), answer);
                }
            });
        }
    }
}

/// How many edges of a call one question has, and where it waits.
type Waiting = (usize, oneshot::Sender<Answer>);

/// Parts the answer of a call. Nobody may be waiting any more.
fn hand_out(waiting: Vec<Waiting>, answer: Answer) {
    match answer {
        Ok(found) => {
            let mut found = found.into_iter();
            for (edges, sender) in waiting {
                let _ = sender.send(Ok(found.by_ref().take(edges).collect()));
            }
        }
        Err(error) => {
            for (_, sender) in waiting {
                let _ = sender.send(Err(error.clone()));
            }
        }
    }
}

/// The next questions, in order, and at most [`PIPELINE_MAX_EDGES`] unless the first has more.
/// Those whose asker went away are left out.
fn take(questions: &mut VecDeque<Question>) -> Vec<Question> {
    let mut taken = Vec::new();
    let mut edges = 0;
    while let Some(question) = questions.pop_front() {
        if question.answer.is_closed() {
            continue;
        }
        if edges > 0 && edges + question.wanted.len() > PIPELINE_MAX_EDGES {
            questions.push_front(question);
            break;
        }
        edges += question.wanted.len();
        taken.push(question);
    }
    taken
}
