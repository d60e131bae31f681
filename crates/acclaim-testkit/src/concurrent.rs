//! Concurrent histories: many tasks on few edges, judged by [`crate::linear`].
//!
//! Each task draws ops from its own seeded source and notes when each began and ended on a counter
//! that all share. One more task reads the journal meanwhile, which must come to the same as
//! reading it when all is over. The seed fixes what is asked; how the tasks meet is up to the machine, so a
//! failure prints the history itself.
//!
//! - `ACCLAIM_CONCURRENT_SECONDS`: how long to go on, 3 by default.
//! - `ACCLAIM_SEED`: where to begin, by default chosen by chance.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use acclaim_core::model::Partitions;
use acclaim_core::port::{Event, Place as JournalPlace, Write};
use acclaim_core::{Action, EdgeKey, Engine, KindId, Op, Rev};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use crate::ManualClock;
use crate::conformance::{
    CLAPS, DISLIKES, Harness, LIKES, SHRUGS, START, compare, edge, kinds, target, user_key,
};
use crate::linear::{self, Answer, Call, Object, Slot, Span};
use crate::settings;

const TASKS: u64 = 8;
const CALLS_A_TASK: usize = 60;
const USERS: [&str; 3] = ["1", "2", "u"];
const TARGETS: [&str; 2] = ["POST:1", "POST:u"];
/// Kinds that exclude each other are judged together, others alone.
const GROUPS: [&[KindId]; 2] = [&[CLAPS], &[LIKES, DISLIKES, SHRUGS]];

/// What is judged together: a target under a group of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    group: usize,
    target: usize,
}

impl Place {
    fn edge(self, slot: Slot) -> EdgeKey {
        let kind = GROUPS[self.group][usize::from(slot.kind)];
        edge(kind, USERS[usize::from(slot.user)], TARGETS[self.target])
    }
}

/// Runs concurrent histories on engines of a harness until the time is over.
///
/// # Panics
/// When a history could not have happened one op at a time, or the engine is not sound after it.
pub fn run<H: Harness>() {
    let seed = settings::seed();
    let end = Instant::now() + settings::seconds("ACCLAIM_CONCURRENT_SECONDS", 3);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let mut rounds = 0u64;
    while rounds == 0 || Instant::now() < end {
        runtime.block_on(round::<H>(seed.wrapping_add(rounds)));
        rounds += 1;
    }
}

async fn round<H: Harness>(seed: u64) {
    let clock = ManualClock::at(START);
    let harness = H::open(kinds(), clock.clone()).await;
    let ticks = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let follower = tokio::spawn(follow(harness.engine(), Arc::clone(&over)));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let caller = Caller {
            engine: harness.engine(),
            clock: clock.clone(),
            ticks: ticks.clone(),
            chance: StdRng::seed_from_u64(seed.wrapping_mul(TASKS).wrapping_add(task)),
            spans: Vec::new(),
        };
        tasks.spawn(caller.run());
    }
    let history: Vec<(Place, Span)> = tasks.join_all().await.into_iter().flatten().collect();
    over.store(true, Ordering::SeqCst);
    let followed = follower.await.expect("the journal can be followed");
    judge(seed, &history, &harness.partitions());
    journal_was_final(harness.engine().as_ref(), &followed, &history).await;
    harness.settle().await;
    counts_equal_edges(harness.engine().as_ref()).await;
}

fn judge(seed: u64, history: &[(Place, Span)], partitions: &Partitions) {
    for (group, kinds) in GROUPS.iter().enumerate() {
        for target in 0..TARGETS.len() {
            let here = Place { group, target };
            let spans = history.iter().filter(|(place, _)| *place == here);
            let spans: Vec<Span> = spans.map(|(_, span)| *span).collect();
            let object = Object {
                kinds: u8::try_from(kinds.len()).expect("few kinds"),
                users: u8::try_from(USERS.len()).expect("few users"),
                revs_when_inactive: true,
            };
            if let Err(fault) = linear::check(object, &spans) {
                let fitting = fault.fitting.iter().map(|n| &spans[*n]).collect::<Vec<_>>();
                let before = &fitting[fitting.len().saturating_sub(20)..];
                panic!(
                    "ACCLAIM_SEED={seed}: {here:?} is not linear\n\
                     the end of what fits: {before:#?}\nnone of these can follow: {:#?}",
                    fault.stuck
                );
            }
        }
    }
    let partition = |place: Place| partitions.of(&target(TARGETS[place.target]));
    for number in 0..partitions.count() {
        let spans = history.iter().filter(|(at, _)| partition(*at) == number);
        let spans: Vec<Span> = spans.map(|(_, span)| *span).collect();
        revs_follow_time(&spans);
    }
}

/// Reads the journal from its beginning, over and over, until all is written.
async fn follow(engine: Arc<dyn Engine>, over: Arc<AtomicBool>) -> Vec<Event> {
    const EVENTS_AT_ONCE: usize = 7;
    let mut events: Vec<Event> = Vec::new();
    loop {
        // Looked at first: what was written before it was set is read below.
        let last_time = over.load(Ordering::SeqCst);
        let after = events
            .last()
            .map_or(JournalPlace::START, |event| event.place);
        let more = engine.journal_after(after, EVENTS_AT_ONCE).await;
        let more = more.expect("the journal can be read");
        if more.is_empty() && last_time {
            return events;
        }
        if more.is_empty() {
            // Its end and what is written after it are on either side of it.
            let end = engine.journal_end().await.expect("the journal has an end");
            assert!(end >= after, "{end} is before {after}");
            tokio::task::yield_now().await;
        }
        events.extend(more);
    }
}

/// What was read while others wrote is what is there when they are done: no event came to stand
/// before one that had been handed out, and each change is one event.
async fn journal_was_final(engine: &dyn Engine, followed: &[Event], history: &[(Place, Span)]) {
    let whole = compare::journal_from(engine, JournalPlace::START).await;
    assert_eq!(
        followed, whole,
        "the journal as it grew, and the whole of it"
    );
    let in_order = |pair: &[Event]| pair[0].place < pair[1].place;
    assert!(whole.windows(2).all(in_order), "places rise");
    let told: BTreeSet<_> = whole
        .iter()
        .map(|event| (event.edge.clone(), event.rev))
        .collect();
    for (place, span) in history {
        if let (Call::Write(_, slot), Answer::Written(answer)) = (span.call, span.answer)
            && answer.changed
        {
            let change = (place.edge(slot), answer.rev);
            assert!(told.contains(&change), "{change:?} is in no event");
        }
    }
}

/// In one partition a transition that began after another had ended has a higher rev, whatever the
/// edges; and no rev is given twice.
///
/// # Panics
/// When it is not so.
pub fn revs_follow_time(spans: &[Span]) {
    let changes = spans.iter().filter_map(|span| match span.answer {
        Answer::Written(answer) if answer.changed => Some((answer.rev, span)),
        _ => None,
    });
    let mut by_rev: Vec<(Rev, &Span)> = changes.collect();
    by_rev.sort_by_key(|(rev, _)| *rev);
    // Whoever has a higher rev must not have ended before one with a lower rev began.
    let mut latest_start: Option<(u64, &Span)> = None;
    for pair in by_rev.windows(2) {
        assert_ne!(pair[0].0, pair[1].0, "a rev was given twice: {pair:?}");
    }
    for (_, span) in by_rev {
        if let Some((start, lower)) = latest_start {
            assert!(span.end > start, "{span:?} ended before {lower:?} began");
        }
        if latest_start.is_none_or(|(start, _)| span.start > start) {
            latest_start = Some((span.start, span));
        }
    }
}

async fn counts_equal_edges(engine: &dyn Engine) {
    for kind in GROUPS.into_iter().flatten() {
        let exported = compare::walk_export(engine, *kind, 100).await;
        for target in TARGETS {
            let key = crate::conformance::target_key(*kind, target);
            let edges = exported.iter().filter(|e| e.edge.target == key.target);
            let edges = edges.count();
            let listed = compare::walk_users(engine, &key, 2).await.len();
            let count = engine.counts(vec![key]).await.expect("a count")[0].count;
            assert_eq!((count, listed), (edges as u64, edges), "{kind:?} {target}");
        }
        for user in USERS {
            let key = user_key(*kind, user);
            let edges = exported.iter().filter(|e| e.edge.user == key.user).count();
            let listed = compare::walk_targets(engine, &key, None, 2).await.len();
            let given = engine.numbers(key).await.expect("numbers").given;
            assert_eq!((given, listed), (edges as u64, edges), "{kind:?} {user}");
        }
    }
    compare::check_is_clean(engine).await;
}

struct Caller {
    engine: Arc<dyn Engine>,
    clock: Arc<ManualClock>,
    ticks: Arc<AtomicU64>,
    chance: StdRng,
    spans: Vec<(Place, Span)>,
}

impl Caller {
    async fn run(mut self) -> Vec<(Place, Span)> {
        for _ in 0..CALLS_A_TASK {
            if self.chance.random_ratio(1, 4) {
                self.clock.advance(self.chance.random_range(0..3));
            }
            match self.chance.random_range(0..10) {
                0..6 => self.write(1).await,
                6 => self.write(4).await,
                7 | 8 => self.status().await,
                _ => self.count().await,
            }
        }
        self.spans
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    fn place(&mut self) -> (Place, Slot) {
        let group = self.chance.random_range(0..GROUPS.len());
        let place = Place {
            group,
            target: self.chance.random_range(0..TARGETS.len()),
        };
        let kinds = u8::try_from(GROUPS[group].len()).expect("few kinds");
        let slot = Slot {
            kind: self.chance.random_range(0..kinds),
            user: self.chance.random_range(0..USERS.len() as u8),
        };
        (place, slot)
    }

    async fn write(&mut self, ops: usize) {
        let actions = [Action::Set, Action::Unset, Action::Toggle, Action::Toggle];
        let drawn: Vec<_> = (0..ops)
            .map(|_| {
                let (place, slot) = self.place();
                (actions[self.chance.random_range(0..4)], place, slot)
            })
            .collect();
        let ops = drawn
            .iter()
            .map(|(action, place, slot)| Op::new(*action, place.edge(*slot)));
        let write = Write::plain(ops.collect());
        let start = self.tick();
        let applied = self.engine.apply(write).await.expect("a write is taken");
        let end = self.tick();
        for ((action, place, slot), answer) in drawn.into_iter().zip(applied.transitions) {
            let span = Span {
                start,
                end,
                call: Call::Write(action, slot),
                answer: Answer::Written(answer),
            };
            self.spans.push((place, span));
        }
    }

    async fn status(&mut self) {
        let (place, slot) = self.place();
        let start = self.tick();
        let statuses = self.engine.statuses(vec![place.edge(slot)]).await;
        let status = statuses.expect("a status")[0];
        self.note(place, start, Call::Status(slot), Answer::Status(status));
    }

    async fn count(&mut self) {
        let (place, slot) = self.place();
        let start = self.tick();
        let counts = self
            .engine
            .counts(vec![place.edge(slot).target_key()])
            .await;
        let count = counts.expect("a count")[0];
        self.note(place, start, Call::Count(slot.kind), Answer::Count(count));
    }

    fn note(&mut self, place: Place, start: u64, call: Call, answer: Answer) {
        let end = self.tick();
        self.spans.push((
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
