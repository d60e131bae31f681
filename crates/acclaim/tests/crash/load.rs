//! Load from many connections, each of which notes everything it sent and what came back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use acclaim_core::port::{Count, Status};
use acclaim_core::{Action, EdgeState, Rev, Transition};
use acclaim_testkit::linear::{Answer, Call, Slot};
use hyper::Method;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{Answered, Client, Lost, Sent};
use crate::round::{Place, Round, USERS};

const CONNECTIONS: u64 = 12;
/// Calls of one connection; bounds the work of judging them.
const MAX_CALLS: usize = 1_500;

/// A request, when it was under way, and what came of it.
#[derive(Clone, Debug)]
pub struct Record {
    pub sent: Sent,
    pub calls: Vec<(Place, Call)>,
    pub start: u64,
    pub end: u64,
    pub outcome: Outcome,
}

#[derive(Clone, Debug)]
pub enum Outcome {
    /// One answer a call.
    Answered(Vec<Answer>),
    /// It may have happened or not.
    Unknown,
    /// It did not happen: never sent, or refused as the contract says.
    Nothing,
}

/// The load of one round.
pub struct Load {
    tasks: JoinSet<Vec<Record>>,
    records: Vec<Record>,
    pub ticks: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
}

impl Load {
    /// Begins. Each connection goes on until the server is gone, it is told to end, or it did all
    /// its calls.
    pub fn begin(address: SocketAddr, round: Round, chance: &mut StdRng) -> Self {
        let (ticks, end) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let refused = Arc::<AtomicU64>::default();
        let mut tasks = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let caller = Caller {
                client: Client::new(address),
                round,
                connection,
                chance: StdRng::seed_from_u64(chance.random()),
                ticks: ticks.clone(),
                end: end.clone(),
                refused: refused.clone(),
            };
            tasks.spawn(caller.run());
        }
        Self {
            tasks,
            records: Vec::new(),
            ticks,
            end,
            refused,
        }
    }

    /// How many calls began and ended so far, together.
    pub fn progress(&self) -> u64 {
        self.ticks.load(Ordering::SeqCst)
    }

    /// How many calls were refused with 503 so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// Tells the connections to end after the call that is under way.
    pub fn end(&self) {
        self.end.store(true, Ordering::SeqCst);
    }

    /// Waits for all connections. May be given up and called again.
    pub async fn run_out(&mut self) {
        while let Some(records) = self.tasks.join_next().await {
            self.records.extend(records.unwrap());
        }
    }

    /// Waits for all connections, and answers what they noted.
    pub async fn records(mut self) -> Vec<Record> {
        self.run_out().await;
        self.records
    }
}

struct Caller {
    client: Client,
    round: Round,
    connection: u64,
    chance: StdRng,
    ticks: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
}

impl Caller {
    async fn run(mut self) -> Vec<Record> {
        let mut records = Vec::new();
        for call in 0..MAX_CALLS {
            if self.end.load(Ordering::SeqCst) {
                break;
            }
            let (mut sent, calls) = self.draw();
            if sent.method != Method::GET && self.chance.random_ratio(1, 4) {
                sent.key = Some(format!("{}-{}-{call}", self.round.0, self.connection));
            }
            let start = self.ticks.fetch_add(1, Ordering::SeqCst);
            let answered = self.client.call(&sent).await;
            let end = self.ticks.fetch_add(1, Ordering::SeqCst);
            let gone = answered.is_err();
            let outcome = outcome(&calls, answered);
            if matches!(outcome, Outcome::Nothing) && !gone {
                self.refused.fetch_add(1, Ordering::SeqCst);
            }
            records.push(Record {
                sent,
                calls,
                start,
                end,
                outcome,
            });
            if gone {
                break;
            }
        }
        records
    }

    fn edge(&mut self) -> (Place, Slot) {
        loop {
            let places: Vec<Place> = Round::places().collect();
            let place = places[self.chance.random_range(0..places.len())];
            let kind = self.chance.random_range(0..place.kinds().len() as u8);
            let user = self.chance.random_range(0..USERS);
            let slot = Slot { kind, user };
            if Round::is_allowed(place, slot) {
                return (place, slot);
            }
        }
    }

    fn action(&mut self) -> Action {
        let actions = [Action::Set, Action::Unset, Action::Toggle, Action::Toggle];
        actions[self.chance.random_range(0..actions.len())]
    }

    fn draw(&mut self) -> (Sent, Vec<(Place, Call)>) {
        let (place, slot) = self.edge();
        match self.chance.random_range(0..12) {
            0 => (
                status(self.round, place, slot),
                vec![(place, Call::Status(slot))],
            ),
            1 => {
                let sent = count(self.round, place, slot.kind);
                (sent, vec![(place, Call::Count(slot.kind))])
            }
            2 => self.batch(place, slot),
            _ => {
                let action = self.action();
                let sent = write(self.round, place, slot, action);
                (sent, vec![(place, Call::Write(action, slot))])
            }
        }
    }

    /// Several ops of one kind.
    fn batch(&mut self, place: Place, slot: Slot) -> (Sent, Vec<(Place, Call)>) {
        let kind = place.kind(slot);
        let mut calls = Vec::new();
        while calls.len() < 5 {
            let (place, slot) = self.edge();
            if place.kind(slot) == kind {
                calls.push((place, Call::Write(self.action(), slot)));
            }
        }
        let ops = calls.iter().map(|(place, call)| {
            let Call::Write(action, slot) = call else {
                unreachable!("a batch has writes alone")
            };
            let mut op = body(self.round, *place, *slot);
            op["op"] = match action {
                Action::Set => "set".into(),
                Action::Unset => "unset".into(),
                Action::Toggle => "toggle".into(),
            };
            op
        });
        let sent = Sent {
            method: Method::POST,
            path: format!("/{kind}/batch"),
            body: Some(json!({ "ops": ops.collect::<Vec<_>>() })),
            key: None,
        };
        (sent, calls)
    }
}

fn body(round: Round, place: Place, slot: Slot) -> Value {
    let (target_type, target_id) = round.target(place);
    let user = round.user(usize::from(slot.user));
    json!({ "userId": user, "targetType": target_type, "targetId": target_id })
}

fn write(round: Round, place: Place, slot: Slot, action: Action) -> Sent {
    let kind = place.kind(slot);
    let (method, path, body) = match action {
        Action::Set => (
            Method::PUT,
            format!("/{kind}"),
            Some(body(round, place, slot)),
        ),
        Action::Toggle => {
            let body = body(round, place, slot);
            (Method::POST, format!("/{kind}/toggle"), Some(body))
        }
        Action::Unset => {
            let path = format!("/{kind}?{}", of_edge(round, place, slot));
            (Method::DELETE, path, None)
        }
    };
    Sent {
        method,
        path,
        body,
        key: None,
    }
}

fn of_edge(round: Round, place: Place, slot: Slot) -> String {
    let user = round.user(usize::from(slot.user));
    format!("userId={user}&{}", of_target(round, place))
}

/// A target as a query.
pub fn of_target(round: Round, place: Place) -> String {
    let (target_type, target_id) = round.target(place);
    format!("targetType={target_type}&targetId={target_id}")
}

/// The question for the status of an edge.
pub fn status(round: Round, place: Place, slot: Slot) -> Sent {
    let kind = place.kind(slot);
    Sent::get(format!("/{kind}/status?{}", of_edge(round, place, slot)))
}

/// The question for a count.
pub fn count(round: Round, place: Place, kind: u8) -> Sent {
    let name = place.kinds()[usize::from(kind)];
    Sent::get(format!("/{name}/count?{}", of_target(round, place)))
}

/// What an answer means for each of the calls of its request.
pub fn outcome(calls: &[(Place, Call)], answered: Result<Answered, Lost>) -> Outcome {
    let answered = match answered {
        Ok(answered) => answered,
        Err(Lost::Unknown) => return Outcome::Unknown,
        Err(Lost::NotSent) => return Outcome::Nothing,
    };
    match answered.status {
        200 => {}
        503 => {
            let code = answered.code();
            assert!(
                matches!(&*code, "unavailable" | "overloaded"),
                "{answered:?}"
            );
            return Outcome::Nothing;
        }
        504 => return Outcome::Unknown,
        _ => panic!("{calls:?} were answered {answered:?}"),
    }
    let json = answered.json();
    let answers = match (calls, json.get("results")) {
        (calls, Some(results)) => {
            let results = results.as_array().unwrap();
            assert_eq!(results.len(), calls.len(), "one result an op: {json}");
            results.iter().map(transition).collect()
        }
        ([(_, Call::Write(..))], None) => vec![transition(&json)],
        ([(_, Call::Status(_))], None) => vec![status_of(&json)],
        ([(_, Call::Count(_))], None) => vec![Answer::Count(Count {
            count: number(&json, "count"),
            rev: Rev(number(&json, "rev")),
        })],
        _ => panic!("{calls:?} were answered {json}"),
    };
    Outcome::Answered(answers)
}

fn number(json: &Value, field: &str) -> u64 {
    let value = json[field].as_u64();
    value.unwrap_or_else(|| panic!("no number {field} in {json}"))
}

fn flag(json: &Value, field: &str) -> bool {
    let value = json[field].as_bool();
    value.unwrap_or_else(|| panic!("no boolean {field} in {json}"))
}

/// A time in a response.
pub fn time(json: &Value) -> Rev {
    let text = json.as_str();
    let text = text.unwrap_or_else(|| panic!("{json} is no time"));
    Rev::parse_time(text).unwrap()
}

fn transition(json: &Value) -> Answer {
    Answer::Written(Transition {
        active: flag(json, "active"),
        changed: flag(json, "changed"),
        count: number(json, "count"),
        rev: Rev(number(json, "rev")),
    })
}

fn status_of(json: &Value) -> Answer {
    let active = flag(json, "active");
    let rev = if active {
        time(&json["since"])
    } else {
        Rev::ZERO
    };
    Answer::Status(Status {
        edge: EdgeState { active, rev },
        count: number(json, "count"),
    })
}
