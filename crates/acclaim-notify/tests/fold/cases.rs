//! The fold of the journal into notifications, against a plain model; its limits at their edges.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use acclaim_core::notify::consume::{Consumer, Stepped};
use acclaim_core::notify::desk::{Desk, Notification};
use acclaim_core::notify::ownership::Ownership;
use acclaim_core::notify::{Batch, Duty, Key, NotificationLimits, Settings, keys};
use acclaim_core::port::{Clock, Event, JobSpec, JobState, Place, Write};
use acclaim_core::{Action, EdgeKey, Engine, Id, Kinds, Op, Rev, Target, TargetType};
use acclaim_testkit::ManualClock;
use proptest::prelude::*;

use super::engines;

/// 2026-11-20T10:00:00Z.
pub const NOW: Rev = Rev(1_795_168_800_000_000);
const HOUR_MICROS: u64 = 3_600_000_000;

pub struct World {
    pub engine: Arc<dyn Engine>,
    pub kept: engines::Kept,
    pub clock: Arc<ManualClock>,
    pub settings: Settings,
    duty: Duty,
    pub consumer: Consumer,
}

fn target(id: u64) -> Target {
    Target {
        target_type: TargetType::parse("POST").unwrap(),
        id: Id::Number(id),
    }
}

impl World {
    pub async fn new(limits: NotificationLimits) -> Self {
        let clock = ManualClock::at(NOW);
        let opened = engines::open(Kinds::new([]).unwrap(), clock.clone()).await;
        Self::over(opened, clock, limits).await
    }

    pub async fn over(
        (engine, kept): (Arc<dyn Engine>, engines::Kept),
        clock: Arc<ManualClock>,
        limits: NotificationLimits,
    ) -> Self {
        let settings = Settings {
            notifications: limits,
            ..Settings::default()
        };
        let duty = engine.notes().unwrap().take_duty().await.unwrap().unwrap();
        let consumer = load(&engine, &settings, &clock, duty).await;
        Self {
            engine,
            kept,
            clock,
            settings,
            duty,
            consumer,
        }
    }

    pub fn desk(&self) -> Desk<'_> {
        Desk::of(self.engine.as_ref(), &self.settings, self.clock.now()).unwrap()
    }

    pub async fn own(&self, id: u64, owner: u64) {
        let ownership = Ownership::of(Id::Number(owner));
        self.desk().own(&target(id), &ownership).await.unwrap();
    }

    async fn act(&self, action: Action, user: u64, target: Target) {
        self.clock.advance(1_000);
        let edge = EdgeKey {
            kind: self.engine.kinds().find("likes").unwrap(),
            user: Id::Number(user),
            target,
        };
        let write = Write::plain(vec![Op::new(action, edge)]);
        self.engine.apply(write).await.unwrap();
    }

    pub async fn like(&self, user: u64, id: u64) {
        self.act(Action::Set, user, target(id)).await;
    }

    async fn unlike(&self, user: u64, id: u64) {
        self.act(Action::Unset, user, target(id)).await;
    }

    /// Waits until everything that was decided is recorded.
    pub async fn settle(&self) {
        self.kept.settle().await;
    }

    pub async fn fold(&mut self) -> u64 {
        self.settle().await;
        let mut told = 0;
        loop {
            match self.consumer.step().await.unwrap() {
                Stepped::Idle => return told,
                Stepped::Folded(done) => told += done.tally.told,
                Stepped::Overtaken | Stepped::Trimmed { .. } => {}
            }
        }
    }

    /// Erases, and waits until that is done.
    async fn erase(&self, spec: JobSpec) {
        let id = self.engine.start_job(spec).await.unwrap();
        loop {
            let job = self.engine.job(id).await.unwrap().unwrap();
            match job.state {
                JobState::Done => return,
                JobState::Failed => panic!("{job:?}"),
                JobState::Queued | JobState::Running => {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        }
    }

    pub async fn list(&self, owner: u64) -> Vec<Notification> {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let desk = self.desk();
            let page = desk
                .list(&Id::Number(owner), 3, cursor.as_deref())
                .await
                .unwrap();
            all.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return all;
            }
        }
    }

    async fn unread(&self, owner: u64) -> u64 {
        self.desk()
            .list(&Id::Number(owner), 1, None)
            .await
            .unwrap()
            .unread
    }

    async fn records(&self, prefix: Key) -> Vec<(Key, Vec<u8>)> {
        self.engine
            .notes()
            .unwrap()
            .scan(prefix, None, usize::MAX)
            .await
            .unwrap()
    }
}

pub async fn load(
    engine: &Arc<dyn Engine>,
    settings: &Settings,
    clock: &Arc<ManualClock>,
    duty: Duty,
) -> Consumer {
    let loaded = Consumer::load(engine.clone(), settings.clone(), clock.clone(), duty).await;
    loaded.unwrap().expect("the engine keeps notes")
}

pub fn shown(list: &[Notification]) -> Vec<(String, Vec<u64>, u64)> {
    let names = |n: &Notification| {
        let ids = n.actors.iter().map(|actor| match actor.user {
            Id::Number(number) => number,
            Id::Text(_) => panic!("users are numbers here"),
        });
        ids.collect()
    };
    list.iter()
        .map(|n| (n.key.target.to_string(), names(n), n.others))
        .collect()
}

/// What an owner should see, told from the events alone.
#[derive(Default)]
struct Plain {
    groups: BTreeMap<(u64, u64), PlainGroup>,
    told: BTreeMap<(u64, u64), u32>,
}

#[derive(Default)]
struct PlainGroup {
    since: BTreeMap<u64, Rev>,
    ever: BTreeSet<u64>,
    told: Option<Place>,
}

impl Plain {
    fn of(events: &[Event], owner_of: impl Fn(u64) -> Option<u64>, cap: u32) -> Self {
        let mut plain = Self::default();
        for event in events {
            let (Id::Number(user), Id::Number(about)) = (&event.edge.user, &event.edge.target.id)
            else {
                panic!("ids are numbers here");
            };
            let Some(owner) = owner_of(*about).filter(|owner| owner != user) else {
                continue;
            };
            let group = plain.groups.entry((owner, *about)).or_default();
            if !event.active {
                group.since.remove(user);
                continue;
            }
            group.since.insert(*user, event.rev);
            let told = plain
                .told
                .entry((owner, event.rev.0 / HOUR_MICROS))
                .or_default();
            if group.ever.insert(*user) && *told < cap {
                *told += 1;
                group.told = Some(event.place);
            }
        }
        plain
    }

    fn list(&self, owner: u64) -> Vec<(String, Vec<u64>, u64)> {
        let of_owner = self.groups.iter().filter(|((whose, _), _)| *whose == owner);
        let mut shown: Vec<_> = of_owner
            .filter(|(_, group)| !group.since.is_empty())
            .filter_map(|((_, about), group)| Some((group.told?, about, group)))
            .collect();
        shown.sort_by_key(|(told, ..)| std::cmp::Reverse(*told));
        let item = |(_, about, group): (Place, &u64, &PlainGroup)| {
            let mut users: Vec<_> = group.since.iter().collect();
            users.sort_by_key(|(_, since)| std::cmp::Reverse(**since));
            let named: Vec<u64> = users.iter().take(3).map(|(user, _)| **user).collect();
            let others = (users.len() - named.len()) as u64;
            (target(*about).to_string(), named, others)
        };
        shown.into_iter().map(item).collect()
    }
}

#[derive(Clone, Debug)]
pub enum Move {
    Toggle { user: u64, about: u64 },
    Fold,
    Hour,
    Restart,
}

pub fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        12 => (1u64..9, 1u64..5).prop_map(|(user, about)| Move::Toggle { user, about }),
        2 => Just(Move::Fold),
        1 => Just(Move::Hour),
        1 => Just(Move::Restart),
    ];
    prop::collection::vec(one, 1..150)
}

/// Posts 1 and 2 belong to user 1, post 3 to user 2, post 4 to nobody.
fn owner_of(about: u64) -> Option<u64> {
    [None, Some(1), Some(1), Some(2), None][about as usize]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(engines::HISTORIES))]

    #[test]
    fn the_fold_agrees_with_a_plain_model(
        moves in moves(), batch in 1usize..20, cap in 1u32..12, rewind in 0usize..150,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let opened = open_world(batch, cap).await;
            agrees(opened, moves, cap, rewind).await
        })?;
    }
}

pub fn limits(batch: usize, cap: u32) -> NotificationLimits {
    NotificationLimits {
        batch_max_events: batch,
        max_told_per_hour: cap,
        ..NotificationLimits::default()
    }
}

async fn open_world(batch: usize, cap: u32) -> World {
    World::new(limits(batch, cap)).await
}

/// What a history leaves is what the plain model says, also after it was read again from any place.
pub async fn agrees(
    mut world: World,
    moves: Vec<Move>,
    cap: u32,
    rewind: usize,
) -> Result<(), TestCaseError> {
    for about in 1..5 {
        if let Some(owner) = owner_of(about) {
            world.own(about, owner).await;
        }
    }
    for step in moves {
        match step {
            Move::Toggle { user, about } => world.act(Action::Toggle, user, target(about)).await,
            Move::Fold => {
                world.consumer.step().await.unwrap();
            }
            Move::Hour => world.clock.advance(HOUR_MICROS),
            Move::Restart => {
                world.consumer =
                    load(&world.engine, &world.settings, &world.clock, world.duty).await;
            }
        }
    }
    world.fold().await;
    let events = world
        .engine
        .journal_after(Place::START, 1_000)
        .await
        .unwrap();
    let plain = Plain::of(&events, owner_of, cap);
    for owner in 1..3 {
        let list = world.list(owner).await;
        prop_assert_eq!(shown(&list), plain.list(owner));
        prop_assert_eq!(world.unread(owner).await, list.len() as u64);
    }
    // Everything from some place on once more: nothing changes, nobody is told.
    world.consumer.settle().await.unwrap();
    let before = world.records(Vec::new()).await;
    let from = events
        .get(rewind % (events.len() + 1))
        .map_or(Place::START, |event| event.place);
    let text = format!("\"{from}\"").into_bytes();
    let back = Batch::of(vec![(keys::position(), Some(text))]);
    world.engine.notes().unwrap().commit(back).await.unwrap();
    world.consumer = load(&world.engine, &world.settings, &world.clock, world.duty).await;
    prop_assert_eq!(world.fold().await, 0);
    world.consumer.settle().await.unwrap();
    let after = world.records(Vec::new()).await;
    if events.is_empty() || from >= events[events.len() - 1].place {
        return Ok(());
    }
    prop_assert_eq!(after, before);
    Ok(())
}

#[tokio::test]
async fn a_user_is_told_of_followers_and_not_of_themself() {
    let mut world = World::new(NotificationLimits::default()).await;
    let me = Target::user(Id::Number(7));
    world.act(Action::Set, 7, me.clone()).await;
    world.act(Action::Set, 8, me).await;
    assert_eq!(world.fold().await, 1);
    let list = world.list(7).await;
    assert_eq!(shown(&list), [("USER:7".to_owned(), vec![8], 0)]);
}

#[tokio::test]
async fn reading_marks_what_was_there_and_not_what_comes() {
    let mut world = World::new(NotificationLimits::default()).await;
    let me = Id::Number(1);
    for about in 1..4 {
        world.own(about, 1).await;
        world.like(9, about).await;
    }
    world.fold().await;
    assert_eq!(world.unread(1).await, 3);
    let second = world.list(1).await[1].id;
    assert_eq!(world.desk().mark_read(&me, second).await, Ok(1));
    let read: Vec<bool> = world.list(1).await.iter().map(|n| n.is_read).collect();
    assert_eq!(read, [false, true, true]);
    assert_eq!(
        world.desk().mark_read(&me, Place::START).await,
        Ok(1),
        "it never goes back"
    );
    assert_eq!(world.desk().mark_read(&me, Place::MAX).await, Ok(0));
    world.like(10, 1).await;
    world.fold().await;
    assert_eq!(world.unread(1).await, 1, "the future is unread");
    assert_eq!(world.list(1).await[0].key.target, target(1));
    world.unlike(9, 2).await;
    world.fold().await;
    assert_eq!(world.list(1).await.len(), 2, "nobody does it any more");
}

#[tokio::test]
async fn an_owner_keeps_as_many_as_the_limit_says() {
    let most = 20;
    let mut world = World::new(NotificationLimits {
        max_per_owner: most,
        batch_max_events: 3,
        ..NotificationLimits::default()
    })
    .await;
    for about in 1..=60 {
        world.own(about, 1_000).await;
        world.like(9, about).await;
        world.fold().await;
        let list = world.list(1_000).await;
        assert_eq!(list.len(), most.min(about as usize));
        assert_eq!(list[0].key.target, target(about));
    }
    let groups = world
        .records(keys::of(keys::tag::GROUP, &1_000))
        .await
        .len();
    assert!((most..=most + most / 10).contains(&groups), "{groups}");
    let index = world
        .records(keys::of(keys::tag::INDEX, &1_000))
        .await
        .len();
    assert_eq!(groups, index);
}

#[tokio::test]
async fn what_is_too_old_goes() {
    let mut world = World::new(NotificationLimits {
        max_age_days: 2,
        ..NotificationLimits::default()
    })
    .await;
    world.own(1, 1).await;
    world.own(2, 1).await;
    world.like(9, 1).await;
    let day = 24 * HOUR_MICROS;
    world.clock.advance(day);
    world.like(9, 2).await;
    world.fold().await;
    world.clock.advance(day - 2_000);
    assert_eq!(world.consumer.sweep(None).await, Ok((None, 0)));
    assert_eq!(world.list(1).await.len(), 2);
    world.clock.advance(2_000);
    assert_eq!(
        world.list(1).await.len(),
        1,
        "not shown, though it is there"
    );
    assert_eq!(world.consumer.sweep(None).await, Ok((None, 1)));
    assert_eq!(world.records(keys::of(keys::tag::GROUP, &1)).await.len(), 1);
    assert_eq!(world.records(keys::of(keys::tag::INDEX, &1)).await.len(), 1);
}

#[tokio::test]
async fn another_owner_takes_over() {
    let mut world = World::new(NotificationLimits::default()).await;
    world.own(1, 1).await;
    world.like(9, 1).await;
    world.fold().await;
    assert_eq!(world.list(1).await.len(), 1);
    world.own(1, 2).await;
    assert_eq!(world.list(1).await.len(), 0, "it is another's now");
    world.like(10, 1).await;
    world.fold().await;
    let list = world.list(2).await;
    assert_eq!(shown(&list), [("POST:1".to_owned(), vec![10], 1)]);
    let desk = world.desk();
    desk.claim(&[(&target(1), &Id::Number(1)), (&target(1), &Id::Number(1))])
        .await
        .unwrap();
    assert_eq!(world.list(2).await.len(), 0);
}

#[tokio::test]
async fn who_is_erased_is_forgotten_however_far_the_fold_is() {
    for folded_before in [true, false] {
        let mut world = World::new(NotificationLimits::default()).await;
        world.own(1, 1).await;
        world.own(2, 2).await;
        world.like(9, 1).await;
        world.like(1, 2).await;
        world.like(9, 2).await;
        world.act(Action::Set, 9, Target::user(Id::Number(1))).await;
        if folded_before {
            world.fold().await;
        }
        world.erase(JobSpec::EraseUser(Id::Number(1))).await;
        assert_eq!(world.list(1).await.len(), 0);
        world.fold().await;
        world.consumer.settle().await.unwrap();
        assert_eq!(world.list(1).await.len(), 0);
        let list = world.list(2).await;
        assert_eq!(shown(&list), [("POST:2".to_owned(), vec![9], 0)]);
        let all = world.records(Vec::new()).await;
        for tag in [
            keys::tag::GROUP,
            keys::tag::INDEX,
            keys::tag::INBOX,
            keys::tag::OWNED,
        ] {
            let prefix = keys::of(tag, &1);
            assert!(
                !all.iter().any(|(key, _)| key.starts_with(&prefix)),
                "{tag}"
            );
        }
        let ownership = keys::ownership(&target(1));
        assert!(!all.iter().any(|(key, _)| *key == ownership));
        world.like(9, 2).await;
        world.unlike(9, 2).await;
        world.fold().await;
        world.clock.advance(2_000_000);
        world.consumer.settle().await.unwrap();
        let marks = world.records(keys::all(keys::tag::ERASED)).await;
        assert!(marks.is_empty(), "{marks:?}");
    }
}

#[tokio::test]
async fn an_erased_target_takes_its_notification_along() {
    let mut world = World::new(NotificationLimits::default()).await;
    for about in 1..3 {
        world.own(about, 1).await;
        world.like(9, about).await;
    }
    world.fold().await;
    world.erase(JobSpec::EraseTarget(target(1))).await;
    world.fold().await;
    let list = world.list(1).await;
    assert_eq!(shown(&list), [("POST:2".to_owned(), vec![9], 0)]);
    world.like(10, 1).await;
    world.fold().await;
    assert_eq!(world.list(1).await.len(), 1, "nobody owns it");
}
