//! The load: a few connections that write batches of likes, each as a user of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use acclaim_core::Rev;
use hyper::Method;
use rand::rngs::StdRng;
use rand::seq::index::sample;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::history::{Edge, Fact, History};
use super::recorder::{Recorded, Tape};
use crate::client::{Client, Sent};

const CONNECTIONS: u64 = 6;
/// Targets that all of them like.
const TARGETS: usize = 400;
const BATCH_OPS: usize = 100;
/// Kept in the log with each transition, so that its segments fill soon.
const DEVICE: &str = "a device whose name is as long as the name of a device may be...";

/// The writers of one life of the server.
pub struct Writers {
    tasks: JoinSet<Vec<(Edge, Fact)>>,
    answered: Arc<AtomicU64>,
}

impl Writers {
    /// Begins. Each goes on until the server is gone or it wrote so many batches.
    pub fn begin(
        tape: &Arc<Tape>,
        server: &Recorded,
        batches: usize,
        life: usize,
        chance: &mut StdRng,
    ) -> Self {
        let answered = Arc::<AtomicU64>::default();
        let mut tasks = JoinSet::new();
        for user in 1..=CONNECTIONS {
            let writer = Writer {
                client: Client::new(server.address),
                tape: Arc::clone(tape),
                user,
                life,
                answered: Arc::clone(&answered),
                chance: StdRng::seed_from_u64(chance.random()),
            };
            tasks.spawn(writer.run(batches));
        }
        Self { tasks, answered }
    }

    /// How many batches were answered so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// Waits for all of them and adds what they know.
    pub async fn end(self, history: &mut History) {
        for (edge, fact) in self.tasks.join_all().await.into_iter().flatten() {
            history.add(edge, fact);
        }
    }
}

struct Writer {
    client: Client,
    tape: Arc<Tape>,
    user: u64,
    life: usize,
    answered: Arc<AtomicU64>,
    chance: StdRng,
}

impl Writer {
    async fn run(mut self, batches: usize) -> Vec<(Edge, Fact)> {
        let mut facts = Vec::new();
        for batch in 0..batches {
            let ops = self.draw();
            let sent = Sent {
                method: Method::POST,
                path: "/likes/batch".to_owned(),
                body: Some(
                    json!({ "ops": ops.iter().map(|op| self.body(*op)).collect::<Vec<_>>() }),
                ),
                key: Some(format!("{}-{}-{batch}", self.life, self.user)),
            };
            let from = self.tape.now();
            let answer = self.client.call(&sent).await;
            let known = answer.is_ok().then(|| self.tape.now());
            let results = answer.ok().map(|answer| {
                assert_eq!(answer.status, 200, "{answer:?}");
                answer.json()["results"].as_array().unwrap().clone()
            });
            for (nth, (target, active)) in ops.into_iter().enumerate() {
                let since = results.as_ref().map(|results| &results[nth]);
                let edge = (self.user.to_string(), target.to_string());
                let fact = Fact {
                    from,
                    known,
                    active,
                    since: since.filter(|_| active).map(rev),
                };
                facts.push((edge, fact));
            }
            if known.is_none() {
                break;
            }
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
        facts
    }

    /// Targets, each once, with whether they are to be liked.
    fn draw(&mut self) -> Vec<(usize, bool)> {
        let targets = sample(&mut self.chance, TARGETS, BATCH_OPS);
        let chance = &mut self.chance;
        targets
            .into_iter()
            .map(|target| (target, chance.random_ratio(2, 3)))
            .collect()
    }

    fn body(&self, (target, active): (usize, bool)) -> Value {
        let op = if active { "set" } else { "unset" };
        json!({
            "op": op,
            "userId": self.user,
            "targetType": "POST",
            "targetId": target,
            "deviceType": DEVICE,
        })
    }
}

fn rev(result: &Value) -> Rev {
    let rev = result["rev"].as_u64();
    Rev(rev.unwrap_or_else(|| panic!("an op was refused: {result}")))
}
