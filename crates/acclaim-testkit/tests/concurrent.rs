//! Concurrent histories on the model, and on a model with a planted fault.

mod modelled;

use acclaim_core::{Action, Rev, Transition};
use acclaim_testkit::concurrent::{self, revs_follow_time};
use acclaim_testkit::linear::{Answer, Call, Slot, Span};

#[test]
fn concurrent_histories() {
    concurrent::run::<modelled::Modelled>();
}

#[test]
fn concurrent_histories_in_partitions() {
    concurrent::run::<modelled::Partitioned>();
}

fn change(start: u64, end: u64, rev: u64) -> Span {
    let answer = Answer::Written(Transition {
        active: true,
        changed: true,
        count: 1,
        rev: Rev(rev),
    });
    Span {
        start,
        end,
        call: Call::Write(Action::Toggle, Slot { kind: 0, user: 0 }),
        answer,
    }
}

#[test]
fn revs_may_cross_while_calls_overlap() {
    revs_follow_time(&[change(0, 9, 11), change(1, 8, 10), change(10, 11, 12)]);
}

#[test]
#[should_panic(expected = "ended before")]
fn a_rev_that_is_lower_later_is_found() {
    revs_follow_time(&[change(0, 1, 11), change(5, 20, 13), change(2, 8, 10)]);
}

#[test]
#[should_panic(expected = "given twice")]
fn a_rev_given_twice_is_found() {
    revs_follow_time(&[change(0, 9, 10), change(1, 8, 10)]);
}
