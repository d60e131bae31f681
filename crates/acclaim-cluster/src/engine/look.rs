//! Looking edges and counts up in Redis: questions that wait for the same server go together, see
//! [`crate::gather`]. Most targets are small, and one plain command answers for them; what it does
//! not answer the script does.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use super::shared::Shared;
use super::statuses::Wanted;
use crate::gather::Gather;
use crate::redis::error::RedisError;
use crate::redis::keys::TargetName;
use crate::redis::read::{Asked, Found, Peeked};

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

/// Slots of [`Large`]; 512 KiB of them.
const LARGE_SLOTS: usize = 1 << 16;

/// Targets whose entries lie in buckets, as far as is remembered: asking plainly for an entry of
/// those is in vain. Each has one slot, which the next one takes over; who is forgotten or mistaken
/// for another costs a call and nothing else.
pub struct Large {
    hashes: RandomState,
    slots: Box<[AtomicU64]>,
}

impl Default for Large {
    fn default() -> Self {
        Self {
            hashes: RandomState::new(),
            slots: (0..LARGE_SLOTS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Large {
    fn has(&self, name: &TargetName) -> bool {
        let (hash, slot) = self.slot(name);
        slot.load(Ordering::Relaxed) == hash
    }

    fn note(&self, name: &TargetName) {
        let (hash, slot) = self.slot(name);
        slot.store(hash, Ordering::Relaxed);
    }

    fn slot(&self, name: &TargetName) -> (u64, &AtomicU64) {
        let hash = self.hashes.hash_one(name);
        // A remainder by LARGE_SLOTS fits a usize.
        (hash, &self.slots[(hash % LARGE_SLOTS as u64) as usize])
    }
}

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

    pub(super) async fn find_all(self: Arc<Self>, key: Option<u64>) {
        loop {
            let questions = self.questions.next(&key, take);
            if questions.is_empty() {
                return;
            }
            self.ask_together(questions).await;
        }
    }

    /// Asks plainly where that is likely enough, and by the script else. Returns when all was
    /// answered that is answered at once.
    async fn ask_together(self: &Arc<Self>, questions: Vec<Question>) {
        let is_large = |question: &Question| {
            let mut names = question.wanted.iter();
            names.any(|(name, user)| user.is_some() && self.large.has(name))
        };
        let (large, others): (Vec<_>, Vec<_>) = questions.into_iter().partition(is_large);
        let ask_large = async {
            if !large.is_empty() {
                Box::pin(self.ask_script(large)).await;
            }
        };
        let ((), left) = tokio::join!(ask_large, self.peek(others));
        if !left.is_empty() {
            let shared = Arc::clone(self);
            tokio::spawn(async move { shared.ask_script(left).await });
        }
    }

    /// Asks plainly, and answers with the questions that need the script.
    async fn peek(&self, questions: Vec<Question>) -> Vec<Question> {
        let asked = questions.iter().flat_map(|question| {
            let partition = self.partition(question.partition);
            let wanted = question.wanted.iter();
            wanted.map(move |(name, user)| (partition, name, user.as_ref()))
        });
        let asked: Vec<_> = asked.collect();
        if asked.is_empty() {
            return Vec::new();
        }
        let peeked = self.redis.peek(&asked).await;
        for ((_, name, _), peeked) in asked.iter().zip(&peeked) {
            if *peeked == Peeked::InBucket {
                self.large.note(name);
            }
        }
        let mut peeked = peeked.into_iter();
        let mut left = Vec::new();
        for question in questions {
            let found = peeked.by_ref().take(question.wanted.len());
            let found = found.map(|peeked| match peeked {
                Peeked::Found(found) => Some(found),
                Peeked::InBucket | Peeked::Unknown => None,
            });
            // All of them are taken, so that the next question finds its own.
            let found: Vec<Option<Found>> = found.collect();
            match found.into_iter().collect() {
                Some(found) => {
                    // Nobody may be waiting any more.
                    let _ = question.answer.send(Ok(found));
                }
                None => left.push(question),
            }
        }
        left
    }

    /// One pipeline of the script. Returns when all was answered that is answered at once.
    async fn ask_script(self: &Arc<Self>, questions: Vec<Question>) {
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
