//! The checker passes what could have happened, and finds planted faults.

use acclaim_core::port::{Count, Status};
use acclaim_core::{Action, EdgeState, Rev, Transition};
use acclaim_testkit::linear::{Answer, Call, NotLinear, Object, Slot, Span, check};

const ONE_KIND: Object = Object {
    kinds: 1,
    users: 2,
    revs_when_inactive: true,
};
const A: Slot = Slot { kind: 0, user: 0 };
const B: Slot = Slot { kind: 0, user: 1 };

fn wrote(span: (u64, u64), action: Action, slot: Slot, answer: (bool, bool, u64, u64)) -> Span {
    let (active, changed, count, rev) = answer;
    let answer = Answer::Written(Transition {
        active,
        changed,
        count,
        rev: Rev(rev),
    });
    Span {
        start: span.0,
        end: span.1,
        call: Call::Write(action, slot),
        answer,
    }
}

fn saw(span: (u64, u64), slot: Slot, active: bool, rev: u64, count: u64) -> Span {
    let edge = EdgeState {
        active,
        rev: Rev(rev),
    };
    Span {
        start: span.0,
        end: span.1,
        call: Call::Status(slot),
        answer: Answer::Status(Status { edge, count }),
    }
}

fn counted(span: (u64, u64), kind: u8, count: u64, rev: u64) -> Span {
    Span {
        start: span.0,
        end: span.1,
        call: Call::Count(kind),
        answer: Answer::Count(Count {
            count,
            rev: Rev(rev),
        }),
    }
}

fn unknown(span: (u64, u64), action: Action, slot: Slot) -> Span {
    Span {
        start: span.0,
        end: span.1,
        call: Call::Write(action, slot),
        answer: Answer::Unknown,
    }
}

fn on_one_kind(history: &[Span]) -> Result<(), NotLinear> {
    check(ONE_KIND, history)
}

#[test]
fn one_after_the_other() {
    let history = [
        wrote((0, 1), Action::Set, A, (true, true, 1, 10)),
        wrote((2, 3), Action::Set, A, (true, false, 1, 10)),
        wrote((4, 5), Action::Toggle, B, (true, true, 2, 11)),
        saw((6, 7), A, true, 10, 2),
        counted((8, 9), 0, 2, 11),
        wrote((10, 11), Action::Unset, A, (false, true, 1, 12)),
        saw((12, 13), A, false, 12, 1),
    ];
    on_one_kind(&history).unwrap();
    check(ONE_KIND, &[]).unwrap();
}

#[test]
fn at_once_in_either_order() {
    // The answers say that B was before A, though A began first.
    let history = [
        wrote((0, 9), Action::Toggle, A, (true, true, 2, 11)),
        wrote((1, 8), Action::Toggle, B, (true, true, 1, 10)),
        counted((2, 7), 0, 1, 10),
        counted((3, 6), 0, 0, 0),
        saw((10, 11), A, true, 11, 2),
    ];
    on_one_kind(&history).unwrap();
}

#[test]
fn a_lost_update_is_found() {
    let both_first = [
        wrote((0, 9), Action::Set, A, (true, true, 1, 10)),
        wrote((1, 8), Action::Set, B, (true, true, 1, 11)),
    ];
    assert!(on_one_kind(&both_first).is_err());
    let toggled_twice_on = [
        wrote((0, 9), Action::Toggle, A, (true, true, 1, 10)),
        wrote((1, 8), Action::Toggle, A, (true, true, 1, 11)),
    ];
    assert!(on_one_kind(&toggled_twice_on).is_err());
}

#[test]
fn a_stale_read_is_found() {
    let set = wrote((0, 1), Action::Set, A, (true, true, 1, 10));
    assert!(on_one_kind(&[set, saw((2, 3), A, false, 0, 0)]).is_err());
    assert!(on_one_kind(&[set, counted((2, 3), 0, 0, 0)]).is_err());
    // While the write is under way both answers are right, but not the new one before the old.
    let set = wrote((0, 9), Action::Set, A, (true, true, 1, 10));
    let old_then_new = [set, counted((1, 2), 0, 0, 0), counted((3, 4), 0, 1, 10)];
    on_one_kind(&old_then_new).unwrap();
    let new_then_old = [set, counted((1, 2), 0, 1, 10), counted((3, 4), 0, 0, 0)];
    assert!(on_one_kind(&new_then_old).is_err());
}

#[test]
fn a_double_count_is_found() {
    let twice = [
        wrote((0, 1), Action::Set, A, (true, true, 1, 10)),
        wrote((2, 3), Action::Set, A, (true, true, 2, 11)),
    ];
    assert!(on_one_kind(&twice).is_err());
    let unchanged_but_counted = [
        wrote((0, 1), Action::Set, A, (true, true, 1, 10)),
        wrote((2, 3), Action::Set, A, (true, false, 2, 10)),
    ];
    assert!(on_one_kind(&unchanged_but_counted).is_err());
}

#[test]
fn a_rev_that_goes_back_is_found() {
    let back = [
        wrote((0, 1), Action::Set, A, (true, true, 1, 10)),
        wrote((2, 3), Action::Set, B, (true, true, 2, 9)),
    ];
    assert!(on_one_kind(&back).is_err());
    let another_rev = [
        wrote((0, 1), Action::Set, A, (true, true, 1, 10)),
        saw((2, 3), A, true, 11, 1),
    ];
    assert!(on_one_kind(&another_rev).is_err());
}

#[test]
fn a_read_that_is_torn_is_found() {
    // The edge after the write with the count before it.
    let history = [
        wrote((0, 9), Action::Set, A, (true, true, 1, 10)),
        saw((1, 8), A, true, 10, 0),
    ];
    assert!(on_one_kind(&history).is_err());
}

#[test]
fn what_is_unknown_happened_once_or_not() {
    let toggle = unknown((0, 5), Action::Toggle, A);
    on_one_kind(&[toggle]).unwrap();
    on_one_kind(&[toggle, saw((6, 7), A, true, 10, 1)]).unwrap();
    on_one_kind(&[toggle, saw((6, 7), A, false, 0, 0)]).unwrap();
    let twice = [toggle, saw((6, 7), A, false, 11, 0)];
    assert!(on_one_kind(&twice).is_err(), "on and off again");
    let late = [
        toggle,
        saw((6, 7), A, false, 0, 0),
        saw((8, 9), A, true, 10, 1),
    ];
    assert!(on_one_kind(&late).is_err(), "after its end");
    let (set, after) = (
        unknown((0, 5), Action::Set, A),
        wrote((6, 7), Action::Set, A, (true, false, 1, 8)),
    );
    on_one_kind(&[set, after, saw((8, 9), A, true, 8, 1)]).unwrap();
    assert!(on_one_kind(&[set, after, saw((8, 9), A, true, 9, 1)]).is_err());
}

#[test]
fn kinds_that_exclude_each_other() {
    let object = Object {
        kinds: 2,
        ..ONE_KIND
    };
    let dislike = Slot { kind: 1, user: 0 };
    let liked = wrote((0, 1), Action::Set, A, (true, true, 1, 10));
    let disliked = wrote((2, 3), Action::Set, dislike, (true, true, 1, 12));
    let history = [
        liked,
        disliked,
        counted((4, 5), 0, 0, 11),
        saw((6, 7), A, false, 11, 0),
    ];
    check(object, &history).unwrap();
    let both = [liked, disliked, counted((4, 5), 0, 1, 10)];
    assert!(check(object, &both).is_err());
}

#[test]
fn a_fault_in_a_long_history_is_named() {
    let mut history: Vec<Span> = (0..2_000)
        .map(|n| {
            let on = n % 2 == 0;
            let answer = (on, true, u64::from(on), n + 1);
            wrote((n * 10, n * 10 + 9), Action::Toggle, A, answer)
        })
        .collect();
    on_one_kind(&history).unwrap();
    history.push(counted((15_001, 15_005), 0, 7, 1));
    let fault = on_one_kind(&history).unwrap_err();
    assert_eq!(fault.fitting.len(), 1_501);
    assert!(fault.stuck.iter().any(|span| span.call == Call::Count(0)));
}
