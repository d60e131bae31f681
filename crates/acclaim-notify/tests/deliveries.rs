//! Deliveries in virtual time: retries, order, pauses, tests, dead letters, limits.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acclaim_core::notify::desk::{Desk, WebhookForm, WebhookView};
use acclaim_core::notify::endpoint::State;
use acclaim_core::notify::ownership::Ownership;
use acclaim_core::notify::{Settings, WebhookLimits};
use acclaim_core::port::{Clock, DeadLetter, Resent, Write};
use acclaim_core::{Action, EdgeKey, Engine, Id, Kinds, Op, Rev, Target, TargetType};
use acclaim_notify::{Message, Metrics, Notifier, Outcome, Sender};
use acclaim_testkit::ModelEngine;
use async_trait::async_trait;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::Instant;

/// 2026-11-20T10:00:00Z.
const NOW: u64 = 1_795_168_800_000_000;

/// The time of the runtime, which passes by itself when nobody works.
struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    fn now(&self) -> Rev {
        Rev(NOW + self.0.elapsed().as_micros() as u64)
    }
}

/// A sent message: when, and what its body says.
#[derive(Clone, Debug)]
struct Sent {
    after: Duration,
    id: String,
    url: String,
    body: serde_json::Value,
}

impl Sent {
    fn target(&self) -> &str {
        self.body["data"]["targetId"].as_str().unwrap_or_default()
    }
}

/// Answers as it is told, and keeps what was sent.
struct Script {
    begun: Instant,
    answers: Mutex<VecDeque<Outcome>>,
    sent: watch::Sender<Vec<Sent>>,
}

#[async_trait]
impl Sender for Script {
    async fn send(&self, message: Message) -> Outcome {
        let sent = Sent {
            after: self.begun.elapsed(),
            id: message.id,
            url: message.url,
            body: serde_json::from_str(&message.body).unwrap(),
        };
        self.sent.send_modify(|all| all.push(sent));
        let answer = self.answers.lock().unwrap().pop_front();
        answer.unwrap_or(Outcome::Taken(204))
    }
}

fn failed() -> Outcome {
    Outcome::Failed {
        status: Some(500),
        error: "it answered 500".to_owned(),
        retry_after: None,
    }
}

struct World {
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    script: Arc<Script>,
    notifier: Option<Notifier>,
}

impl World {
    async fn new(webhooks: WebhookLimits, answers: Vec<Outcome>) -> Self {
        let begun = Instant::now();
        let clock: Arc<dyn Clock> = Arc::new(RuntimeClock(begun));
        let kinds = Kinds::new([]).unwrap();
        let engine: Arc<dyn Engine> = Arc::new(ModelEngine::new(kinds, clock.clone()));
        let settings = Settings {
            webhooks,
            ..Settings::default()
        };
        let script = Arc::new(Script {
            begun,
            answers: Mutex::new(answers.into()),
            sent: watch::Sender::default(),
        });
        let mut world = Self {
            engine,
            clock,
            settings,
            script,
            notifier: None,
        };
        world.put("a", None).await;
        world.start();
        world
    }

    fn start(&mut self) {
        let metrics = Metrics::register(&mut Registry::default());
        let sender: Arc<dyn Sender> = self.script.clone();
        let notifier = Notifier::start(&self.engine, &self.settings, &self.clock, sender, &metrics);
        self.notifier = Some(notifier);
    }

    async fn stop(&mut self) {
        self.notifier.take().unwrap().stop().await;
    }

    fn desk(&self) -> Desk<'_> {
        Desk::of(self.engine.as_ref(), &self.settings, self.clock.now()).unwrap()
    }

    async fn put(&self, name: &str, kinds: Option<&str>) {
        let form = WebhookForm {
            url: format!("https://example.org/{name}"),
            kinds: kinds.map(|kind| vec![kind.into()]),
            target_types: None,
        };
        self.desk()
            .put_webhook(name, &form, &[7; 32])
            .await
            .unwrap();
    }

    async fn like(&self, user: u64, id: u64) {
        self.like_owned_by(1, user, id).await;
    }

    async fn like_owned_by(&self, owner: u64, user: u64, id: u64) {
        let target = Target {
            target_type: TargetType::parse("POST").unwrap(),
            id: Id::Number(id),
        };
        let ownership = Ownership::of(Id::Number(owner));
        self.desk().own(&target, &ownership).await.unwrap();
        let edge = EdgeKey {
            kind: self.engine.kinds().find("likes").unwrap(),
            user: Id::Number(user),
            target,
        };
        let write = Write::plain(vec![Op::new(Action::Set, edge)]);
        self.engine.apply(write).await.unwrap();
    }

    async fn sent(&self, count: usize) -> Vec<Sent> {
        let mut sent = self.script.sent.subscribe();
        sent.wait_for(|all| all.len() >= count)
            .await
            .unwrap()
            .clone()
    }

    async fn webhook(&self) -> WebhookView {
        self.desk().webhooks().await.unwrap().remove(0)
    }

    /// The webhook, once it is as wanted.
    async fn webhook_when(&self, wanted: impl Fn(&WebhookView) -> bool) -> WebhookView {
        loop {
            let view = self.webhook().await;
            if wanted(&view) {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until the owner was told of a target.
    async fn told_of(&self, id: u64) {
        loop {
            let page = self.desk().list(&Id::Number(1), 1, None).await.unwrap();
            if page
                .items
                .iter()
                .any(|item| item.key.target.id == Id::Number(id))
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn letters(&self, count: usize) -> Vec<DeadLetter> {
        loop {
            let letters = self.desk().dead_letters(0, 1_000).await.unwrap();
            if letters.len() >= count {
                return letters;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_delivery_is_tried_for_hours_and_then_a_dead_letter() {
    let limits = WebhookLimits {
        pause_after_failures: 1_000,
        ..WebhookLimits::default()
    };
    let world = World::new(limits.clone(), vec![failed(); 10]).await;
    world.like(9, 1).await;
    let sent = world.sent(10).await;
    let ids: Vec<&str> = sent.iter().map(|sent| sent.id.as_str()).collect();
    assert!(
        ids.iter().all(|id| *id == ids[0] && id.starts_with("ntf_")),
        "{ids:?}"
    );
    let longest = [5, 20, 80, 320, 1_280, 5_120, 14_400, 14_400, 14_400];
    for (pair, most) in sent.windows(2).zip(longest) {
        let waited = (pair[1].after - pair[0].after).as_secs_f64();
        let most = f64::from(most);
        assert!(
            (most * 0.499..=most + 1.1).contains(&waited),
            "{waited} of {most}"
        );
    }
    let letter = world.letters(1).await.remove(0);
    assert_eq!(
        letter.reason,
        "webhook a: given up after 10 tries; the last: it answered 500"
    );
    assert!(
        letter.event.contains("\"targetId\":\"1\""),
        "{}",
        letter.event
    );
    assert_eq!(world.webhook().await.waiting, 0);
    // Sent again, with the id that it had.
    assert_eq!(
        world.desk().retry_dead_letter(letter.id).await,
        Ok(Some(Resent::Applied))
    );
    assert_eq!(world.sent(11).await[10].id, sent[0].id);
    assert_eq!(world.desk().retry_dead_letter(letter.id).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn order_holds_for_each_target_and_others_go_on() {
    let world = World::new(WebhookLimits::default(), vec![failed(), failed()]).await;
    world.like(9, 1).await;
    world.sent(1).await;
    world.like(10, 1).await;
    world.like(9, 2).await;
    let sent = world.sent(5).await;
    let of = |id: &str| -> Vec<String> {
        let of_target = sent.iter().filter(|sent| sent.target() == id);
        of_target
            .map(|sent| sent.body["data"]["actors"][0]["userId"].to_string())
            .collect()
    };
    let first = of("1");
    assert_eq!(first.last().unwrap(), "10", "{first:?}");
    assert!(
        first[..first.len() - 1].iter().all(|user| user == "9"),
        "{first:?}"
    );
    assert!(first.len() + of("2").len() == 5 && of("2").len() < 3);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_keeps_failing_is_paused_and_says_so() {
    let limits = WebhookLimits {
        pause_after_failures: 3,
        pause_seconds: 3_600,
        ..WebhookLimits::default()
    };
    let world = World::new(limits, vec![failed(); 4]).await;
    world.like(9, 1).await;
    world.sent(3).await;
    let view = world.webhook_when(|view| view.state == State::Paused).await;
    assert_eq!(view.failures, 3);
    assert_eq!(view.waiting, 1);
    let last = view.last.unwrap();
    assert_eq!(
        (last.status, last.error.as_deref()),
        (Some(500), Some("it answered 500"))
    );
    assert!(view.paused_until.unwrap() > world.clock.now());
    // The pause over, one is tried, and the next pause is twice as long.
    let sent = world.sent(4).await;
    assert!(sent[3].after - sent[2].after >= Duration::from_secs(3_600));
    let sent = world.sent(5).await;
    assert!(sent[4].after - sent[3].after >= Duration::from_secs(7_200));
    let view = world.webhook_when(|view| view.state == State::Active).await;
    assert_eq!(
        (view.failures, view.waiting, view.paused_until),
        (0, 0, None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_test_goes_through_a_pause_and_ends_it() {
    let limits = WebhookLimits {
        pause_after_failures: 1,
        pause_seconds: 3_600,
        ..WebhookLimits::default()
    };
    let world = World::new(limits, vec![failed(), failed()]).await;
    world.like(9, 1).await;
    world.webhook_when(|view| view.state == State::Paused).await;
    let id = world.desk().test_webhook("a").await.unwrap();
    let sent = world.sent(2).await;
    assert_eq!(
        (sent[1].id.as_str(), &sent[1].body["type"]),
        (id.as_str(), &"acclaim.test".into())
    );
    world
        .webhook_when(|view| view.failures == 2 && view.waiting == 1)
        .await;
    world.desk().test_webhook("a").await.unwrap();
    let sent = world.sent(4).await;
    assert!(
        sent[3].after < Duration::from_secs(60),
        "the rest goes on at once"
    );
    assert_eq!(sent[3].target(), "1");
    assert!(world.desk().dead_letters(0, 10).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_gone_is_disabled_until_it_is_put_again() {
    let limits = WebhookLimits {
        max_in_flight_per_endpoint: 1,
        ..WebhookLimits::default()
    };
    let world = World::new(limits, vec![failed(), Outcome::Gone]).await;
    world.like(9, 1).await;
    world.like(9, 2).await;
    world.like(9, 3).await;
    let letters = world.letters(2).await;
    assert!(
        letters.iter().all(|letter| letter.reason.contains("410")),
        "{letters:?}"
    );
    let view = world
        .webhook_when(|view| view.state == State::Disabled && view.waiting == 0)
        .await;
    assert_eq!(view.last.unwrap().status, Some(410));
    world.like(9, 4).await;
    world.told_of(4).await;
    let so_far = world.script.sent.borrow().len();
    world.put("a", None).await;
    assert_eq!(world.webhook().await.state, State::Active);
    world.like(9, 5).await;
    let sent = world.sent(so_far + 1).await;
    assert_eq!(
        sent[so_far].target(),
        "5",
        "what came meanwhile is not delivered"
    );
}

#[tokio::test(start_paused = true)]
async fn endpoints_hear_of_their_kinds_only() {
    let world = World::new(WebhookLimits::default(), Vec::new()).await;
    world.put("b", Some("follows")).await;
    world.like(9, 1).await;
    world.put("c", Some("likes")).await;
    world.like(9, 2).await;
    let sent = world.sent(3).await;
    assert!(
        sent.iter().all(|sent| !sent.url.ends_with("/b")),
        "{sent:?}"
    );
    let to_c: Vec<&str> = sent
        .iter()
        .filter(|sent| sent.url.ends_with("/c"))
        .map(Sent::target)
        .collect();
    assert_eq!(to_c.last(), Some(&"2"));
}

#[tokio::test(start_paused = true)]
async fn what_waits_survives_a_restart() {
    let mut world = World::new(WebhookLimits::default(), vec![failed(), failed()]).await;
    world.like(9, 1).await;
    world.sent(1).await;
    world.webhook_when(|view| view.failures == 1).await;
    world.stop().await;
    world.like(9, 2).await;
    world.start();
    let sent = world.sent(4).await;
    let mut targets: Vec<&str> = sent.iter().map(Sent::target).collect();
    targets.sort_unstable();
    targets.dedup();
    assert_eq!(targets, ["1", "2"]);
    world.webhook_when(|view| view.waiting == 0).await;
}

#[tokio::test(start_paused = true)]
async fn more_may_wait_than_is_held_in_memory() {
    // One more than is held; and as many again and one, so that more is read twice.
    for waiting in [1_001, 2_001] {
        let mut world = World::new(WebhookLimits::default(), Vec::new()).await;
        world.stop().await;
        for id in 0..waiting {
            world.like_owned_by(10_000 + id, 9, id).await;
        }
        world.start();
        world.sent(waiting as usize).await;
        world.webhook_when(|view| view.waiting == 0).await;
        let mut targets: Vec<u64> = world
            .sent(waiting as usize)
            .await
            .iter()
            .map(|sent| sent.target().parse().unwrap())
            .collect();
        targets.sort_unstable();
        assert_eq!(targets, (0..waiting).collect::<Vec<_>>(), "each once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_makes_dead_letters_and_those_have_a_limit_too() {
    let limits = WebhookLimits {
        queue_max_deliveries: 5,
        max_dead_letters: 10,
        pause_after_failures: 1,
        pause_seconds: 1_000_000,
        retry_max_seconds: 1_000_000,
        ..WebhookLimits::default()
    };
    let world = World::new(limits, vec![failed(); 5]).await;
    world.like(9, 0).await;
    world.webhook_when(|view| view.state == State::Paused).await;
    for id in 1..5 {
        world.like(9, id).await;
    }
    world.webhook_when(|view| view.waiting == 5).await;
    assert!(
        world.desk().dead_letters(0, 10).await.unwrap().is_empty(),
        "five fit"
    );
    for id in 5..40 {
        world.like(9, id).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let letters = world.letters(10).await;
    assert!((10..=11).contains(&letters.len()), "{}", letters.len());
    let last = letters.last().unwrap();
    assert!(
        last.event.contains("\"targetId\":\"39\""),
        "the newest are kept: {}",
        last.event
    );
    assert!(
        last.reason.contains("5 deliveries waited"),
        "{}",
        last.reason
    );
    let world_view = world.webhook().await;
    assert_eq!(world_view.waiting, 5);
    assert_eq!(world.desk().delete_webhook("a").await, Ok(5));
    let refused = world.desk().retry_dead_letter(last.id).await.unwrap();
    assert!(matches!(refused, Some(Resent::Refused(_))), "{refused:?}");
}
