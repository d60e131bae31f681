use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn event(bus_partition: u32, position: u64) -> Received {
    Received {
        bus_partition,
        position,
        published_at_millis: position * 10,
        key: Bytes::new(),
        payload: Bytes::new(),
        attempt: 0,
        delivery: 0,
    }
}

/// Two lines with five events each.
fn held() -> Held {
    let mut held = Held::default();
    for line in 0..2 {
        held.begin(line);
        (0..5).for_each(|position| held.take(event(line, position)));
    }
    held
}

fn places(events: &[Received]) -> Vec<(u32, u64)> {
    events
        .iter()
        .map(|event| (event.bus_partition, event.position))
        .collect()
}

#[test]
fn what_is_not_ours_is_not_taken() {
    let mut held = held();
    held.take(event(7, 0));
    held.take(event(0, 4));
    held.take(event(0, 2));
    assert_eq!(held.events(), 10);
    held.end(0);
    assert_eq!(
        (held.events(), held.bus_partitions().collect::<Vec<_>>()),
        (5, vec![1])
    );
}

#[test]
fn only_the_front_is_finished() {
    let mut held = held();
    let out = held.deliver(5, Instant::now());
    assert_eq!(held.finish(&out[1..3]).events, 2);
    assert_eq!(held.finished(), []);
    held.finish(&out[..1]);
    assert_eq!(held.finished(), [(0, 2)]);
    // Until the bus has it, it can be finished again.
    assert_eq!(held.finish(&out[..1]).events, 1);
    held.forget(&[(0, 2)]);
    assert_eq!((held.finished(), held.events()), (vec![], 7));
    assert_eq!(held.finish(&out[..1]), Acknowledged { events: 0, lost: 1 });
    let age = held.lag(0, 1).oldest_millis.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(now.as_millis() - u128::from(age) >= 30);
    assert_eq!(held.lag(0, 0).oldest_millis, Some(0));
    assert_eq!(held.lag(9, 1).oldest_millis, None);
}

#[test]
fn a_line_waits_as_a_whole() {
    let mut held = held();
    let now = Instant::now();
    let out = held.deliver(10, now);
    let due = now + Duration::from_secs(1);
    let returned = held.give_back(&out[1..2], 3, |_| due);
    assert_eq!(
        (returned.again, returned.lost, returned.exhausted.len()),
        (1, 0, 0)
    );
    assert_eq!(held.next_due(now), Some(due));
    assert_eq!(held.held_back(now).collect::<Vec<_>>(), [0]);
    assert_eq!(held.deliver(10, now), []);
    assert_eq!(held.finish(&out[2..5]).lost, 3);
    assert_eq!(
        held.finish(&out[..1]).events + held.finish(&out[5..]).events,
        6
    );
    let again = held.deliver(10, due);
    assert_eq!(places(&again), [(0, 1), (0, 2), (0, 3), (0, 4)]);
    let attempts: Vec<u32> = again.iter().map(|event| event.attempt).collect();
    assert_eq!(attempts, [2, 1, 1, 1]);
    assert_eq!(held.next_due(due), None);
}

#[test]
fn the_last_try_ends_out() {
    let mut held = held();
    let now = Instant::now();
    let out = held.deliver(3, now);
    let returned = held.give_back(&out, 1, |_| now);
    assert_eq!(places(&returned.exhausted), [(0, 0), (0, 1), (0, 2)]);
    // Nothing came back: the rest of the line goes on.
    assert_eq!(places(&held.deliver(1, now)), [(0, 3)]);
    assert_eq!(held.finish(&returned.exhausted).events, 3);
    assert_eq!(held.finished(), [(0, 2)]);
}

#[test]
fn what_never_arrived_is_no_failure() {
    let mut held = held();
    let now = Instant::now();
    let out = held.deliver(3, now);
    held.take_back(&out[1..], None);
    let again = held.deliver(2, now);
    assert_eq!(places(&again), [(0, 1), (0, 2)]);
    assert_eq!(again[0].attempt, 1);
    assert_eq!(held.finish(&out[1..]).lost, 2, "another delivery");
}

#[derive(Clone, Debug)]
enum Step {
    Take(u32),
    Deliver(usize),
    Finish(usize, usize),
    GiveBack(usize, usize),
    TakeBack(usize, usize),
    Acknowledge,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_u32).prop_map(Step::Take),
        (0..6_usize).prop_map(Step::Deliver),
        (0..20_usize, 0..5_usize).prop_map(|(at, n)| Step::Finish(at, n)),
        (0..20_usize, 0..5_usize).prop_map(|(at, n)| Step::GiveBack(at, n)),
        (0..20_usize, 0..5_usize).prop_map(|(at, n)| Step::TakeBack(at, n)),
        Just(Step::Acknowledge),
    ]
}

proptest! {
    /// Whatever happens, the bus is never told that something is done which nobody finished,
    /// nothing overtakes, and in the end everything was delivered.
    #[test]
    fn order_is_kept_and_nothing_lost(steps in proptest::collection::vec(steps(), 0..200)) {
        let now = Instant::now();
        let mut held = Held::default();
        (0..3).for_each(|line| held.begin(line));
        let mut next = [0_u64; 3];
        let mut out: Vec<Received> = Vec::new();
        let mut done: BTreeSet<(u32, u64)> = BTreeSet::new();
        let piece = |out: &[Received], at: usize, n: usize| -> Vec<Received> {
            out.iter().skip(at).take(n).cloned().collect()
        };
        for step in steps {
            match step {
                Step::Take(line) => {
                    held.take(event(line, next[line as usize]));
                    next[line as usize] += 1;
                }
                Step::Deliver(n) => {
                    let delivered = held.deliver(n, now);
                    prop_assert!(delivered.len() <= n);
                    for event in delivered {
                        // Everything before it in its line is out or done.
                        for position in 0..event.position {
                            let place = (event.bus_partition, position);
                            let is_out = held.lines[&place.0].events.iter().any(|entry| {
                                entry.event.position == position && entry.state == State::Out
                            });
                            prop_assert!(is_out || done.contains(&place), "{place:?}");
                        }
                        out.push(event);
                    }
                }
                Step::Finish(at, n) => {
                    for event in piece(&out, at, n) {
                        if held.finish(std::slice::from_ref(&event)).events == 1 {
                            done.insert((event.bus_partition, event.position));
                        }
                    }
                }
                Step::GiveBack(at, n) => {
                    let exhausted = held.give_back(&piece(&out, at, n), 3, |_| now).exhausted;
                    prop_assert_eq!(held.finish(&exhausted).lost, 0);
                    done.extend(places(&exhausted));
                }
                Step::TakeBack(at, n) => held.take_back(&piece(&out, at, n), None),
                Step::Acknowledge => {
                    let finished = held.finished();
                    for (line, position) in &finished {
                        let all = (0..=*position).all(|p| done.contains(&(*line, p)));
                        prop_assert!(all, "{line} {position}");
                    }
                    held.forget(&finished);
                }
            }
        }
        // What is still out goes back, and then all of it comes.
        held.take_back(&out, None);
        for event in held.deliver(usize::MAX, now) {
            done.insert((event.bus_partition, event.position));
        }
        let all: u64 = next.iter().sum();
        prop_assert_eq!(done.len() as u64, all);
    }
}
