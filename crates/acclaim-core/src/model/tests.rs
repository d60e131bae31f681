//! What partitions may change, and what not.

use proptest::prelude::*;

use super::*;
use crate::edge::Action;

const LIKES: KindId = KindId(0);

/// Two kinds that exclude each other.
fn kinds() -> Kinds {
    use crate::kind::Kind;
    let dislikes = Kind {
        excludes: ["likes".into()].into_iter().collect(),
        ..Kind::open("dislikes")
    };
    Kinds::new([dislikes]).unwrap()
}

fn number(target: &Target) -> u64 {
    match target.id {
        Id::Number(number) => number,
        Id::Text(_) => unreachable!("targets of these tests are numbers"),
    }
}

fn partitioned(count: u16) -> Model {
    let of = move |target: &Target| (number(target) % u64::from(count)) as u16;
    Model::partitioned(kinds(), Partitions::new(count, of))
}

fn op(kind: KindId, action: Action, user: u64, target: u64) -> Op {
    let edge = EdgeKey {
        kind,
        user: Id::Number(user),
        target: Target {
            target_type: TargetType::parse("POST").unwrap(),
            id: Id::Number(target),
        },
    };
    Op::new(action, edge)
}

#[derive(Clone, Debug)]
enum Step {
    Write(Op),
    /// The clock shows this many microseconds.
    Clock(u64),
    /// The journal is read to its end.
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    let action = prop_oneof![
        2 => Just(Action::Set),
        1 => Just(Action::Unset),
        2 => Just(Action::Toggle),
    ];
    // The kind that excludes is the last one that was given.
    let kind = prop_oneof![Just(LIKES), Just(KindId(2))];
    let write = (kind, action, 0u64..4, 0u64..9);
    prop_oneof![
        8 => write.prop_map(|(kind, action, user, target)| {
            Step::Write(op(kind, action, user, target))
        }),
        1 => (1u64..2_000).prop_map(Step::Clock),
        1 => Just(Step::Read),
    ]
}

#[test]
fn a_partition_counts_by_itself_until_it_is_sealed() {
    let mut model = partitioned(2);
    let set = |model: &mut Model, user, target, now| {
        model
            .apply(&op(LIKES, Action::Set, user, target), Rev(now))
            .rev
    };
    assert_eq!(set(&mut model, 1, 0, 100), Rev(100));
    assert_eq!(set(&mut model, 1, 1, 50), Rev(50));
    assert_eq!(set(&mut model, 2, 0, 50), Rev(101));
    assert_eq!(set(&mut model, 2, 1, 50), Rev(51));
    let end = Place {
        seq: Rev(101),
        partition: 1,
    };
    assert_eq!(model.seal(), end);
    assert_eq!(set(&mut model, 3, 1, 50), Rev(102));
    assert_eq!(set(&mut model, 3, 0, 50), Rev(102));
    let places: Vec<String> = model
        .journal_after(Place::START)
        .iter()
        .map(|event| event.place.to_string())
        .collect();
    assert_eq!(places, ["50-1", "51-1", "100", "101", "102", "102-1"]);
    assert_eq!(model.newest_event().to_string(), "102-1");
}

#[test]
#[should_panic(expected = "partition 7 of 2")]
fn a_partition_that_is_not_there_is_told() {
    let mut model = Model::partitioned(kinds(), Partitions::new(2, |_| 7));
    model.apply(&op(LIKES, Action::Set, 1, 1), Rev(1));
}

proptest! {
    /// A reader who asks again and again has the whole journal in the end, in order.
    #[test]
    fn sealed_parts_are_the_whole_journal(
        count in 1u16..6, steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut model = partitioned(count);
        let (mut now, mut read) = (Rev(1_000), Vec::<Event>::new());
        for step in steps.iter().chain([&Step::Read]) {
            match step {
                Step::Write(op) => {
                    model.apply(op, now);
                }
                Step::Clock(micros) => now = Rev(*micros),
                Step::Read => {
                    let after = read.last().map_or(Place::START, |event| event.place);
                    let end = model.seal();
                    let part = model.journal_after(after);
                    prop_assert!(part.iter().all(|event| event.place <= end));
                    prop_assert!(model.journal_after(end).is_empty());
                    read.extend(part);
                }
            }
        }
        prop_assert!(read.windows(2).all(|pair| pair[0].place < pair[1].place));
        prop_assert_eq!(read, model.journal_after(Place::START));
    }

    /// How a store is cut into partitions changes revs and nothing else.
    #[test]
    fn partitions_change_no_state(
        count in 2u16..6, steps in prop::collection::vec(step(), 1..80)
    ) {
        let (mut whole, mut cut, mut now) = (Model::new(kinds()), partitioned(count), Rev(1_000));
        for step in &steps {
            match step {
                Step::Write(op) => {
                    let answers = (whole.apply(op, now), cut.apply(op, now));
                    let said = |answer: Transition| (answer.active, answer.changed, answer.count);
                    prop_assert_eq!(said(answers.0), said(answers.1));
                }
                Step::Clock(micros) => now = Rev(*micros),
                Step::Read => {
                    let end = whole.journal_end();
                    prop_assert_eq!(whole.seal(), end);
                    prop_assert_eq!(end, whole.newest_event());
                    cut.seal();
                }
            }
        }
        let exported = |model: &Model| {
            let edges = model.export(LIKES).into_iter();
            edges.map(|exported| exported.edge).collect::<Vec<_>>()
        };
        prop_assert_eq!(exported(&whole), exported(&cut));
    }
}
