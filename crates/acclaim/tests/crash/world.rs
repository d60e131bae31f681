//! What the store must hold: judged after a crash, kept for every later look.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use acclaim_core::Rev;
use acclaim_testkit::concurrent::revs_follow_time;
use acclaim_testkit::linear::{self, Answer, Call, Span};
use serde_json::Value;

use crate::client::{Client, Lost};
use crate::kill::{BATCHES_ARE_WHOLE, OTHERS_TYPE};
use crate::load::{self, Outcome, Record};
use crate::round::{GROUPS, Place, Round, USERS};

/// Entries of one page in the walks: small, so that lists have several pages.
const PAGE_SIZE: usize = 3;

/// An edge by its names: kind, user, target type, target id.
type Edge = (String, String, String, String);

/// Every edge that must be there, and none else, with the time since when.
#[derive(Clone, Debug, Default)]
pub struct World {
    edges: BTreeMap<Edge, Rev>,
    rounds: Vec<Round>,
}

/// A tally of what was judged, for the figures in the documents.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub acknowledged: u64,
    pub unknown: u64,
    pub repeated: u64,
}

impl World {
    /// Judges a round after the server came back, and takes its edges over.
    ///
    /// Everything acknowledged must show, what is unknown may have happened once, nothing else may
    /// have; lists, counts and numbers must tell the same story.
    pub async fn judge(
        &mut self,
        address: SocketAddr,
        round: Round,
        records: Vec<Record>,
        ticks: &AtomicU64,
    ) -> Tally {
        let mut client = Client::new(address);
        let mut tally = Tally::default();
        let mut spans = Vec::new();
        for record in &records {
            tally.count(record);
            spans.extend(repeat(&mut client, record, ticks, &mut tally).await);
        }
        spans.extend(look(&mut client, round, ticks).await);
        self.judge_spans(round, &spans);
        self.rounds.push(round);
        self.lists(&mut client, round).await;
        tally
    }

    fn judge_spans(&mut self, round: Round, spans: &[(Place, Span)]) {
        for place in Round::places() {
            let here = spans.iter().filter(|(of, _)| *of == place);
            let here: Vec<Span> = here.map(|(_, span)| *span).collect();
            if let Err(fault) = linear::check(place.object(), &here) {
                let fitting: Vec<_> = fault.fitting.iter().map(|n| &here[*n]).collect();
                let end = &fitting[fitting.len().saturating_sub(12)..];
                panic!(
                    "{:?} {place:?} could not have become what it is\nthe end of what fits: \
                     {end:#?}\nnone of these can follow: {:#?}",
                    round.target(place),
                    fault.stuck
                );
            }
            self.take_over(round, place, &here);
        }
        let changes: Vec<Span> = spans.iter().map(|(_, span)| *span).collect();
        revs_follow_time(&changes);
    }

    /// The last look at each edge is what it is from now on.
    fn take_over(&mut self, round: Round, place: Place, spans: &[Span]) {
        for slot in Round::slots(place) {
            let looks = spans.iter().filter(|span| span.call == Call::Status(slot));
            let Some(Answer::Status(status)) = looks.max_by_key(|s| s.end).map(|s| s.answer) else {
                panic!("{slot:?} of {place:?} was looked at")
            };
            let (target_type, target_id) = round.target(place);
            let user = round.user(usize::from(slot.user));
            let edge = (
                place.kind(slot).to_owned(),
                user,
                target_type.to_owned(),
                target_id,
            );
            if status.edge.active {
                self.edges.insert(edge, status.edge.rev);
            } else {
                self.edges.remove(&edge);
            }
        }
    }

    /// Takes the store as it is for a round, where loss was accepted.
    pub async fn accept(&mut self, address: SocketAddr, round: Round) {
        let mut client = Client::new(address);
        let spans = look(&mut client, round, &AtomicU64::new(0)).await;
        for place in Round::places() {
            let here = spans.iter().filter(|(of, _)| *of == place);
            let here: Vec<Span> = here.map(|(_, span)| *span).collect();
            self.take_over(round, place, &here);
        }
        if !self.rounds.contains(&round) {
            self.rounds.push(round);
        }
        self.lists(&mut client, round).await;
    }

    /// Looks at every round again: all edges are there, and nothing but them.
    pub async fn look_again(&self, address: SocketAddr) {
        let mut client = Client::new(address);
        for round in &self.rounds {
            self.lists(&mut client, *round).await;
        }
        for kind in GROUPS.iter().copied().flatten() {
            let exported = client.ask(&format!("/export?kind={kind}")).await.text;
            let lines = exported
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .filter(|line: &Value| line["targetType"] != OTHERS_TYPE);
            let exported: BTreeMap<Edge, Rev> = lines
                .map(|line: Value| {
                    let edge = (
                        text(&line["kind"]),
                        text(&line["userId"]),
                        text(&line["targetType"]),
                        text(&line["targetId"]),
                    );
                    (edge, load::time(&line["at"]))
                })
                .collect();
            let of_kind = self.edges.iter().filter(|(edge, _)| edge.0 == **kind);
            let expected: BTreeMap<Edge, Rev> = of_kind.map(|(e, at)| (e.clone(), *at)).collect();
            assert_eq!(exported, expected, "the export of {kind}");
        }
    }

    /// Lists of both directions, counts and numbers equal the edges.
    async fn lists(&self, client: &mut Client, round: Round) {
        for place in Round::places() {
            let (target_type, target_id) = round.target(place);
            for kind in place.kinds() {
                let expected = self.newest_first(|edge| {
                    (&*edge.0, &*edge.2, &edge.3) == (*kind, target_type, &target_id)
                });
                let expected: Vec<_> = expected
                    .into_iter()
                    .map(|(edge, at)| (edge.1, at))
                    .collect();
                let query = format!("/{kind}/users?{}", load::of_target(round, place));
                let listed = walk(client, &query, |item| text(&item["userId"])).await;
                assert_eq!(listed, expected, "{query}");
                let query = format!("/{kind}/count?{}", load::of_target(round, place));
                let count = client.ask(&query).await.json()["count"].as_u64();
                assert_eq!(count, Some(expected.len() as u64), "{query}");
            }
        }
        for user in 0..usize::from(USERS) {
            for kind in GROUPS.iter().copied().flatten() {
                self.of_user(client, kind, &round.user(user)).await;
            }
        }
    }

    async fn of_user(&self, client: &mut Client, kind: &str, user: &str) {
        let did = self.newest_first(|edge| (&*edge.0, &*edge.1) == (kind, user));
        let query = format!("/{kind}/targets?userId={user}");
        let target =
            |item: &Value| format!("{}:{}", text(&item["targetType"]), text(&item["targetId"]));
        let listed = walk(client, &query, target).await;
        let named = |edge: &Edge| format!("{}:{}", edge.2, edge.3);
        let expected: Vec<_> = did.iter().map(|(edge, at)| (named(edge), *at)).collect();
        assert_eq!(listed, expected, "{query}");
        let query = format!("/{kind}/statistics?userId={user}");
        let numbers = client.ask(&query).await.json();
        assert_eq!(numbers["given"].as_u64(), Some(did.len() as u64), "{query}");
        let to_me = |edge: &Edge| (&*edge.0, &*edge.2, &*edge.3) == (kind, "USER", user);
        let received = self.edges.keys().filter(|edge| to_me(edge)).count();
        assert_eq!(
            numbers["received"].as_u64(),
            Some(received as u64),
            "{query}"
        );
        if kind == "follows" {
            let back = |edge: &Edge| {
                let back = (
                    edge.0.clone(),
                    edge.3.clone(),
                    "USER".to_owned(),
                    edge.1.clone(),
                );
                self.edges.contains_key(&back)
            };
            let mutual = did.iter().filter(|(edge, _)| back(edge)).count();
            assert_eq!(numbers["mutual"].as_u64(), Some(mutual as u64), "{query}");
        }
    }

    fn newest_first(&self, concerns: impl Fn(&Edge) -> bool) -> Vec<(Edge, Rev)> {
        let edges = self.edges.iter().filter(|(edge, _)| concerns(edge));
        let mut edges: Vec<_> = edges.map(|(edge, at)| (edge.clone(), *at)).collect();
        edges.sort_by_key(|(_, at)| std::cmp::Reverse(*at));
        edges
    }
}

impl Tally {
    fn count(&mut self, record: &Record) {
        match &record.outcome {
            Outcome::Answered(answers) => {
                let written = |answer: &&Answer| matches!(answer, Answer::Written(_));
                self.acknowledged += answers.iter().filter(written).count() as u64;
            }
            Outcome::Unknown => self.unknown += record.calls.len() as u64,
            Outcome::Nothing => {}
        }
    }

    pub fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.repeated += other.repeated;
    }
}

/// The spans of a record. One that was sent under a key is sent again: the first answer comes back,
/// also where it was lost on its way; what had not happened happens now.
async fn repeat(
    client: &mut Client,
    record: &Record,
    ticks: &AtomicU64,
    tally: &mut Tally,
) -> Vec<(Place, Span)> {
    let spans = |answers: &[Answer], start, end| -> Vec<(Place, Span)> {
        let calls = record.calls.iter().zip(answers);
        let span = |(&(place, call), &answer): (&(Place, Call), &Answer)| {
            let span = Span {
                start,
                end,
                call,
                answer,
            };
            (place, span)
        };
        calls.map(span).collect()
    };
    let (start, end) = (record.start, record.end);
    if record.sent.key.is_none() {
        return match &record.outcome {
            Outcome::Answered(answers) => spans(answers, start, end),
            Outcome::Unknown => spans(&vec![Answer::Unknown; record.calls.len()], start, end),
            Outcome::Nothing => Vec::new(),
        };
    }
    tally.repeated += 1;
    let again = ticks.fetch_add(1, Ordering::SeqCst);
    let answered = client.call(&record.sent).await;
    let ended = ticks.fetch_add(1, Ordering::SeqCst);
    let replayed = answered.as_ref().is_ok_and(|answered| answered.replayed);
    let Outcome::Answered(now) = load::outcome(&record.calls, answered) else {
        panic!("{:?} was not answered again", record.sent)
    };
    match (&record.outcome, replayed) {
        (Outcome::Answered(first), true) => {
            assert_eq!(*first, now, "the same answer to {:?}", record.sent);
            spans(first, start, end)
        }
        (Outcome::Answered(_), false) => {
            panic!("{:?} was acknowledged and is forgotten", record.sent)
        }
        (Outcome::Unknown, true) => spans(&now, start, end),
        (Outcome::Nothing, true) => panic!("{:?} was refused and yet decided", record.sent),
        // Some of it happened the first time, some now.
        (Outcome::Unknown, false) if !BATCHES_ARE_WHOLE => spans(&now, start, ended),
        (_, false) => spans(&now, again, ended),
    }
}

/// Every edge and count of a round as they are now.
async fn look(client: &mut Client, round: Round, ticks: &AtomicU64) -> Vec<(Place, Span)> {
    let mut spans = Vec::new();
    for place in Round::places() {
        let statuses =
            Round::slots(place).map(|slot| (load::status(round, place, slot), Call::Status(slot)));
        let kinds = 0..place.kinds().len() as u8;
        let counts = kinds.map(|kind| (load::count(round, place, kind), Call::Count(kind)));
        for (sent, call) in statuses.chain(counts) {
            let start = ticks.fetch_add(1, Ordering::SeqCst);
            let answered: Result<_, Lost> = client.call(&sent).await;
            let outcome = load::outcome(&[(place, call)], answered);
            let Outcome::Answered(answers) = outcome else {
                panic!("{sent:?} was not answered")
            };
            let end = ticks.fetch_add(1, Ordering::SeqCst);
            let answer = answers[0];
            spans.push((
                place,
                Span {
                    start,
                    end,
                    call,
                    answer,
                },
            ));
        }
    }
    spans
}

/// A list, walked in pages by its cursors: names with times, and the total that each page tells.
async fn walk(
    client: &mut Client,
    query: &str,
    name: impl Fn(&Value) -> String,
) -> Vec<(String, Rev)> {
    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = format!("{query}&size={PAGE_SIZE}{cursor}");
        let page = client.ask(&page).await.json();
        let items = page["items"].as_array().unwrap();
        listed.extend(
            items
                .iter()
                .map(|item| (name(item), load::time(&item["at"]))),
        );
        match page.get("nextCursor").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => {
                assert_eq!(page["total"].as_u64(), Some(listed.len() as u64), "{query}");
                return listed;
            }
        }
    }
}

/// An id in a response, number or text.
fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
